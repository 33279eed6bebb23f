//! A control group for every host. Without one of its own, two hosts started from one shell would share
//! `payload`, and stopping a unit on one would stop it on the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::error::LabError;
use crate::process::Process;

const PATIENCE: Duration = Duration::from_secs(10);

const BRANCH: &str = "reconcile-lab";

/// The groups of one lab, or of one host when `host` is given: one per hierarchy that systemd uses.
pub(crate) fn groups(lab: &str, host: Option<&str>) -> Vec<PathBuf> {
    let below = Path::new(BRANCH).join(lab).join(host.unwrap_or_default());
    hierarchies().into_iter().map(|root| root.join(&below)).collect()
}

/// Where the unified hierarchy and, on older set-ups, systemd's own are mounted.
fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().filter_map(hierarchy).collect()
}

fn hierarchy(line: &str) -> Option<PathBuf> {
    let (before, after) = line.split_once(" - ")?;
    let mut kinds = after.split(' ');
    let chosen = match kinds.next()? {
        "cgroup2" => true,
        "cgroup" => after.contains("name=systemd"),
        _ => false,
    };
    let point = before.split(' ').nth(4)?;
    chosen.then(|| PathBuf::from(point))
}

/// Ends whatever still runs in the groups of a lab or of a host, and removes them; with the last lab
/// goes the branch.
pub(crate) fn remove(lab: &str, host: Option<&str>) -> Result<(), LabError> {
    for group in groups(lab, host) {
        let deadline = Instant::now() + PATIENCE;
        // A group is busy until the kernel has buried the last of its processes.
        while !remove_tree(&group) {
            if Instant::now() > deadline {
                return Err(LabError::TimedOut {
                    what: format!("the processes in {} to die", group.display()),
                    seconds: PATIENCE.as_secs(),
                    last: fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default(),
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    if host.is_none() {
        for root in hierarchies() {
            // Fails while another lab has groups, as it should.
            drop(fs::remove_dir(root.join(BRANCH)));
        }
    }
    Ok(())
}

/// Says whether the group is gone.
fn remove_tree(group: &Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for process in members.lines().filter_map(|pid| Process::find(pid.parse().ok()?)) {
        process.signal(Signal::KILL);
    }
    drop(fs::remove_dir(group));
    !group.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hierarchies_of_systemd_count() {
        let unified = "40 32 0:36 / /sys/fs/cgroup/unified rw,relatime shared:1 - cgroup2 cgroup2 rw";
        assert_eq!(hierarchy(unified), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        let named = "41 32 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd";
        assert_eq!(hierarchy(named), Some(PathBuf::from("/sys/fs/cgroup/systemd")));
        assert_eq!(hierarchy("42 32 0:38 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"), None);
    }
}
