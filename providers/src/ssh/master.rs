//! The folders of control sockets, and the ssh processes that belong to them.
//!
//! A process is ours when its command line names our own folder, whose name nobody else has. That holds for a master
//! that is frozen, for an ssh that is still connecting, and for those that a killed service left behind.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Pid, Signal, kill_process};

const PREFIX: &str = "reconcile-ssh.";

/// A private folder that only this process uses; each host has a folder of its own in it.
#[derive(Debug)]
pub(super) struct ControlDir {
    path: PathBuf,
    next: AtomicU64,
}

impl ControlDir {
    /// Makes `reconcile-ssh.<pid>.<start>.<n>`: pid and start tell later whether its owner still lives.
    pub(super) fn create(parent: &Path) -> io::Result<Self> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let pid = std::process::id();
        let start = start_of(pid).unwrap_or_default();
        let path = parent.join(format!("{PREFIX}{pid}.{start}.{}", MADE.fetch_add(1, Ordering::Relaxed)));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, next: AtomicU64::new(0) })
    }

    pub(super) fn next_folder(&self) -> PathBuf {
        self.path.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Ends every ssh process of this folder.
    pub(super) fn clear(&self) {
        end(&self.path);
    }

    pub(super) fn remove(&self) {
        remove(&self.path);
    }
}

/// An empty folder, without anything of an earlier connection.
pub(super) fn fresh(folder: &Path) -> io::Result<()> {
    remove(folder);
    fs::DirBuilder::new().mode(0o700).create(folder)
}

/// Ends the ssh processes that belong to a folder. At once: the host's side notices the closed connection, and a
/// frozen process answers to nothing milder.
pub(super) fn end(folder: &Path) {
    // With the slash, folder `1` is not taken for `10`.
    let needle = format!("{}/", folder.display());
    let find = || processes().filter(|pid| is_ssh_of(*pid, &needle)).collect();
    end_all(find, |pid| {
        // It may have left meanwhile, which is what we want.
        let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
    });
}

/// Until two looks in a row find nobody new: a master that goes to the background is another process. It may have become that
/// after our look began, and the one before it may be gone when that is its turn. Whoever is being ended may be found once
/// more.
fn end_all(mut find: impl FnMut() -> BTreeSet<i32>, mut end: impl FnMut(i32)) {
    let mut ended = BTreeSet::new();
    let mut quiet = 0;
    while quiet < 2 {
        let found: Vec<i32> = find().difference(&ended).copied().collect();
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        found.iter().copied().for_each(&mut end);
        ended.extend(found);
    }
}

/// Removes the folders whose owners are gone, and ends their processes.
pub(super) fn remove_stale(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(owner_of);
        if owner.is_some_and(|(pid, start)| start_of(pid) != Some(start)) {
            tracing::debug!(folder = %entry.path().display(), "removing control sockets of a service that is gone");
            end(&entry.path());
            remove(&entry.path());
        }
    }
}

fn owner_of(rest: &str) -> Option<(u32, u64)> {
    let mut parts = rest.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(folder = %folder.display(), %error, "cannot remove");
    }
}

fn processes() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn is_ssh_of(pid: i32, needle: &str) -> bool {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    read("comm").trim_ascii_end() == b"ssh" && String::from_utf8_lossy(&read("cmdline")).contains(needle)
}

/// When a process began, in ticks since boot; none: it does not exist.
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    crate::shell::start_ticks(&stat)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whom each look finds, in order; later ones nobody. Returns who was ended.
    fn ended<const N: usize>(looks: [&[i32]; N]) -> Vec<i32> {
        let mut looks = looks.into_iter();
        let mut told = Vec::new();
        end_all(|| looks.next().into_iter().flatten().copied().collect(), |pid| told.push(pid));
        told
    }

    #[test]
    fn a_master_that_goes_to_the_background_after_the_look_began_is_ended_too() {
        assert_eq!(ended([&[7], &[8]]), [7, 8]);
    }

    #[test]
    fn a_master_that_went_to_the_background_in_the_midst_of_the_look_is_ended_too() {
        assert_eq!(ended([&[], &[8]]), [8]);
        assert_eq!(ended([&[7], &[], &[8]]), [7, 8]);
    }

    #[test]
    fn who_does_not_end_at_once_is_ended_once_and_not_waited_for() {
        assert_eq!(ended([&[7]; 10]), [7]);
    }
}
