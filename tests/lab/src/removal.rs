//! Takes a lab away, from its name alone: whoever started it may be gone.

use std::fs;
use std::path::Path;

use crate::cgroup;
use crate::error::LabError;
use crate::host::Host;
use crate::network;
use crate::place::{self, Place, create_directory, lab_names, remove_directory};
use crate::process::Process;
use crate::spec::{HostKind, HostSpec, LabSpec};

/// The file with the process that removes the lab when it ends.
const OWNER: &str = "owner";

/// Takes the name for this process: removes what an unowned or orphaned lab left, refuses a living one.
pub(crate) fn claim(place: &Place) -> Result<(), LabError> {
    refuse_if_owned(place)?;
    remove(place)?;
    create_directory(&place.directory)?;
    let myself = Process::myself().map(|process| process.to_string()).unwrap_or_default();
    place::write(&place.file(OWNER), 0o644, myself.as_bytes())
}

/// Removes labs whose owner has died without removing them. Labs without an owner are meant to stay.
pub(crate) fn sweep() {
    for name in lab_names() {
        let place = Place::of(&name);
        if owner(&place).is_some_and(|owner| !owner.is_alive()) {
            if let Err(error) = remove(&place) {
                eprintln!("lab {name}: its owner died, but not all of it could be removed: {error}");
            }
        }
    }
}

pub(crate) fn owner(place: &Place) -> Option<Process> {
    fs::read_to_string(place.file(OWNER)).ok()?.parse().ok()
}

/// Lets the lab outlive this process.
pub(crate) fn disown(place: &Place) -> Result<(), LabError> {
    let path = place.file(OWNER);
    fs::remove_file(&path).map_err(LabError::io("remove", &path))
}

pub(crate) fn refuse_if_owned(place: &Place) -> Result<(), LabError> {
    match owner(place).filter(|owner| owner.is_alive()) {
        Some(owner) => Err(LabError::InUse { name: place.name.clone(), pid: owner.pid }),
        None => Ok(()),
    }
}

/// Ends all processes of a lab and removes all its files, in any state that it may have been left in.
pub(crate) fn remove(place: &Place) -> Result<(), LabError> {
    let hosts: Vec<Host> = host_names(place).into_iter().map(|name| handle(place, name)).collect();
    let killed = crate::lab::in_parallel(&hosts, Host::kill);
    network::end_processes(place);
    network::remove(place)?;
    cgroup::remove(&place.name, None)?;
    for host in &hosts {
        // Left by a container whose supervisor was killed, too.
        let leftover = Path::new("/run/systemd/nspawn/propagate").join(place.machine(host.name()));
        drop(fs::remove_dir(leftover));
    }
    remove_directory(&place.directory)?;
    killed
}

fn host_names(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.file("hosts")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Enough of a host to end it.
fn handle(place: &Place, name: String) -> Host {
    let spec = HostSpec { name, kind: HostKind::Plain, environment: String::new() };
    Host { spec, address: LabSpec::address(0), place: place.clone(), layers: Vec::new() }
}
