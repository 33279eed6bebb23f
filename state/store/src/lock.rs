//! The state directory is held by one service at a time.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

const LOCK_FILE: &str = "lock";

/// Proof that this process holds a state directory.
///
/// The kernel lets go when the value is dropped or the process ends, however it ends; nothing has to be cleaned up.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

/// Who holds a state directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// The machine it runs on.
    pub host: String,
    /// Since when.
    pub since: Timestamp,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, host, since } = self;
        write!(f, "process {pid} on {host}, since {since}")
    }
}

/// Why a state directory could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another service has it.
    #[error("{} is held by {}", dir.display(), by(holder.as_ref()))]
    Held {
        /// The state directory.
        dir: PathBuf,
        /// Who; none when it has only just taken it.
        holder: Option<Holder>,
    },
    /// The directory or its lock file could not be made, opened or written.
    #[error("cannot take {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn by(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "another process".to_owned(), Holder::to_string)
}

impl StateLock {
    /// Takes a state directory, and makes it when there is none. Never waits.
    ///
    /// # Errors
    /// [`LockError::Held`] names the service that has it.
    pub fn take(dir: &Path, now: Timestamp) -> Result<Self, LockError> {
        let path = dir.join(LOCK_FILE);
        let failed = |source| LockError::Io { path: path.clone(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        let mut file = open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockError::Held { dir: dir.to_owned(), holder: read_holder(&mut file) });
            }
            Err(error) => return Err(failed(error.into())),
        }
        write_holder(&mut file, now).map_err(failed)?;
        Ok(Self { _file: file })
    }

    /// Who holds a state directory at this moment, if anybody does. Takes nothing.
    ///
    /// # Errors
    /// [`LockError::Io`] when the lock file is there and cannot be read.
    pub fn holder(dir: &Path) -> Result<Option<Holder>, LockError> {
        let path = dir.join(LOCK_FILE);
        let failed = |source| LockError::Io { path: path.clone(), source };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        // A shared lock that is let go at once: a service that starts in this very moment is refused, as it would be
        // by another service, and says so.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(read_holder(&mut file)),
            Err(error) => Err(failed(error.into())),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn write_holder(file: &mut File, now: Timestamp) -> io::Result<()> {
    let holder = Holder { pid: std::process::id(), host: host_name(), since: now };
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(serde_json::to_string(&holder)?.as_bytes())?;
    file.sync_all()
}

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_service_is_told_who_holds_the_state_directory() {
        let dir = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let first = StateLock::take(dir.path(), now).unwrap();

        let refused = StateLock::take(dir.path(), now).unwrap_err();

        let LockError::Held { holder: Some(holder), .. } = &refused else { panic!("{refused:?}") };
        assert_eq!((holder.pid, holder.since), (std::process::id(), now));
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
        assert_eq!(StateLock::holder(dir.path()).unwrap().as_ref(), Some(holder));
        drop(first);
        assert_eq!(StateLock::holder(dir.path()).unwrap(), None);
        StateLock::take(dir.path(), now).unwrap();
    }

    #[test]
    fn a_directory_that_nobody_ever_took_has_no_holder() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(StateLock::holder(dir.path()).unwrap(), None);
    }
}
