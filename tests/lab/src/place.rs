//! Where a lab keeps its files, and the names it takes on this machine. Everything follows from the
//! lab's name alone, so that a lab can be removed by whoever knows it.

use std::env;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::error::LabError;

/// Overrides where labs and the cached root file system are kept.
pub const DIRECTORY_VARIABLE: &str = "RECONCILE_LAB_DIR";

const DEFAULT_DIRECTORY: &str = "/var/cache/reconcile-lab";

/// The directory of all labs and of the cache.
pub(crate) fn base() -> PathBuf {
    env::var_os(DIRECTORY_VARIABLE).map_or_else(|| PathBuf::from(DEFAULT_DIRECTORY), PathBuf::from)
}

/// The files and names of one lab.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
}

impl Place {
    pub(crate) fn of(name: &str) -> Self {
        Self { name: name.to_owned(), directory: base().join("labs").join(name) }
    }

    pub(crate) fn file(&self, relative: &str) -> PathBuf {
        self.directory.join(relative)
    }

    pub(crate) fn host(&self, host: &str) -> PathBuf {
        self.directory.join("hosts").join(host)
    }

    /// The network namespace.
    pub(crate) fn netns(&self) -> String {
        format!("reconcile-lab-{}", self.name)
    }

    pub(crate) fn netns_file(&self) -> PathBuf {
        Path::new("/run/netns").join(self.netns())
    }

    /// The machine name of a host, unique on this machine.
    pub(crate) fn machine(&self, host: &str) -> String {
        format!("reconcile-lab-{}-{host}", self.name)
    }
}

/// The names of the labs that have files.
pub(crate) fn lab_names() -> Vec<String> {
    let Ok(entries) = fs::read_dir(base().join("labs")) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Holds `path` for this process until the file is dropped.
pub(crate) fn lock(path: &Path) -> Result<File, LabError> {
    let file = File::create(path).map_err(LabError::io("create", path))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|error| LabError::io("lock", path)(error.into()))?;
    Ok(file)
}

pub(crate) fn create_directory(path: &Path) -> Result<(), LabError> {
    fs::create_dir_all(path).map_err(LabError::io("create", path))
}

/// Writes a file with `mode`, and the directories above it.
pub(crate) fn write(path: &Path, mode: u32, content: &[u8]) -> Result<(), LabError> {
    if let Some(parent) = path.parent() {
        create_directory(parent)?;
    }
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(mode);
    let mut file = options.open(path).map_err(LabError::io("write", path))?;
    std::io::Write::write_all(&mut file, content).map_err(LabError::io("write", path))
}

pub(crate) fn read(path: &Path) -> Result<String, LabError> {
    fs::read_to_string(path).map_err(LabError::io("read", path))
}

/// Removes a directory and all below it; one that does not exist is fine.
pub(crate) fn remove_directory(path: &Path) -> Result<(), LabError> {
    for _ in 0..20 {
        match fs::remove_dir_all(path) {
            // A program whose parent was killed may still be writing there; without its files it ends.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => sleep(Duration::from_millis(50)),
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(LabError::io("remove", path)(error));
            }
            _ => break,
        }
    }
    if path.exists() {
        Err(LabError::io("remove", path)(ErrorKind::DirectoryNotEmpty.into()))
    } else {
        Ok(())
    }
}
