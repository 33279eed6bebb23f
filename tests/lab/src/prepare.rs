//! The files that make one host differ from another, written before its first boot.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use crate::error::LabError;
use crate::host::Host;
use crate::place::{create_directory, write};
use crate::spec::HostKind;
use crate::{haproxy, keys, network};

/// `deploy` is the first ordinary user of the image.
const DEPLOY_USER: u32 = 1000;

/// Lines for `/etc/hosts`: every host, and the lab's package archive.
pub(crate) fn hosts_file(hosts: &[Host]) -> String {
    let mut text = format!("127.0.0.1 localhost\n::1 localhost\n{} apt.lab\n", network::BRIDGE_ADDRESS);
    for host in hosts {
        text.push_str(&format!("{} {}\n", host.address(), host.name()));
    }
    text
}

/// Writes the files of one host. Returns its public SSH key.
pub(crate) fn prepare(host: &Host, all: &[Host], client_key: &str) -> Result<String, LabError> {
    let directory = host.place.host(host.name());
    for name in ["work", "root"] {
        create_directory(&directory.join(name))?;
    }
    let upper = directory.join("upper");
    write(&upper.join("etc/hostname"), 0o644, format!("{}\n", host.name()).as_bytes())?;
    write(&upper.join("etc/hosts"), 0o644, hosts_file(all).as_bytes())?;
    let network = format!(
        "[Match]\nName=host0\n\n[Network]\nAddress={}/{}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
        host.address(),
        network::PREFIX_LENGTH
    );
    write(&upper.join("etc/systemd/network/10-host0.network"), 0o644, network.as_bytes())?;
    authorise(&upper.join("root"), 0, client_key)?;
    authorise(&upper.join("home/deploy"), DEPLOY_USER, client_key)?;
    if host.kind() == HostKind::LoadBalancer {
        let servers = all.iter().filter(|other| other.kind() == HostKind::Web);
        let servers: Vec<_> = servers.map(|web| (web.name().to_owned(), web.address().to_string())).collect();
        write(&upper.join("etc/haproxy/haproxy.cfg"), 0o644, haproxy::configuration(&servers).as_bytes())?;
    }
    let key = upper.join("etc/ssh/ssh_host_ed25519_key");
    keys::create_host_key(&key)
}

/// Lets the lab's key in. The directories shadow those of the image, so they carry its owners and modes.
fn authorise(home: &Path, user: u32, key: &str) -> Result<(), LabError> {
    write(&home.join(".ssh/authorized_keys"), 0o600, key.as_bytes())?;
    for path in [home.to_owned(), home.join(".ssh"), home.join(".ssh/authorized_keys")] {
        chown(&path, Some(user), Some(user)).map_err(LabError::io("give away", &path))?;
    }
    for path in [home.to_owned(), home.join(".ssh")] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))
            .map_err(LabError::io("protect", &path))?;
    }
    Ok(())
}
