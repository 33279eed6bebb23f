//! The lab's network: one namespace with a bridge, and the way into it.

use std::ffi::OsStr;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::error::LabError;
use crate::place::Place;
use crate::process::{self, Process};
use crate::program::{command, succeed};

/// Where the lab's own programs listen.
pub(crate) const BRIDGE_ADDRESS: &str = "10.77.0.1";

pub(crate) const BRIDGE: &str = "br0";

pub(crate) const PREFIX_LENGTH: u8 = 24;

/// Creates the namespace, with no way out of it.
pub(crate) fn create(place: &Place) -> Result<(), LabError> {
    let netns = place.netns();
    let ip =
        |arguments: &[&str]| succeed("set up the lab's network", &mut command("ip", arguments)).map(drop);
    ip(&["netns", "add", &netns])?;
    ip(&["-n", &netns, "link", "set", "lo", "up"])?;
    ip(&["-n", &netns, "link", "add", BRIDGE, "type", "bridge"])?;
    let address = format!("{BRIDGE_ADDRESS}/{PREFIX_LENGTH}");
    ip(&["-n", &netns, "addr", "add", &address, "dev", BRIDGE])?;
    ip(&["-n", &netns, "link", "set", BRIDGE, "up"])
}

/// A command line that runs `program` of this machine inside the namespace, with the lab's names
/// resolvable. Every step of it is an exec: the process started is `program` itself.
pub(crate) fn inside(place: &Place, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", place.netns_file().display()));
    command.args(["unshare", "--mount", "sh", "-c", r#"mount --bind "$0" /etc/hosts && exec "$@""#]);
    command.arg(place.file("hosts.txt")).arg(program);
    command
}

/// Ends every process in the namespace, whoever started it there.
pub(crate) fn end_processes(place: &Place) {
    let Some(namespace) = identity(place) else { return };
    let myself = std::process::id();
    for _ in 0..20 {
        let inside =
            |process: Process| process.pid != myself && process.namespace("net").as_ref() == Some(&namespace);
        let found = process::all_where(inside);
        if found.is_empty() {
            return;
        }
        for process in &found {
            process.signal(Signal::KILL);
        }
        for process in found {
            process.wait(Duration::from_secs(1));
        }
    }
}

/// What `/proc/PID/ns/net` says for a process inside.
fn identity(place: &Place) -> Option<std::path::PathBuf> {
    use std::os::unix::fs::MetadataExt;
    // Before the name is bound to a namespace it is an empty file of an ordinary file system: its inode
    // number is nobody's namespace then.
    let inode = std::fs::metadata(place.netns_file()).ok()?.ino();
    Some(format!("net:[{inode}]").into())
}

/// Removes the namespace; one that does not exist is fine.
pub(crate) fn remove(place: &Place) -> Result<(), LabError> {
    if place.netns_file().exists() {
        succeed("remove the lab's network", &mut command("ip", ["netns", "del", &place.netns()]))?;
    }
    Ok(())
}
