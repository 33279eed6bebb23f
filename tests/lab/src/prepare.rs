//! The files that make one host differ from another, written before its first boot.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use crate::error::LabError;
use crate::haproxy::Server;
use crate::host::Host;
use crate::place::{create_directory, write};
use crate::spec::{HostKind, LabSpec};
use crate::{agent, haproxy, keys, network, release};

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
pub(crate) fn prepare(
    host: &Host,
    all: &[Host],
    spec: &LabSpec,
    client_key: &str,
) -> Result<String, LabError> {
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
        let configuration = haproxy::configuration(&servers(host.environment(), all));
        write(&upper.join("etc/haproxy/haproxy.cfg"), 0o644, configuration.as_bytes())?;
    } else {
        if spec.config_agent {
            write_all(&upper, agent::files())?;
            enable(&upper, "timers.target", agent::TIMER)?;
        }
        if !spec.releases.is_empty() {
            write_all(&upper, release::host_files(host, all))?;
        }
    }
    let key = upper.join("etc/ssh/ssh_host_ed25519_key");
    keys::create_host_key(&key)
}

/// The rows of an environment's load balancers.
fn servers(environment: &str, all: &[Host]) -> Vec<Server> {
    let mine = all.iter().filter(|host| host.environment() == environment);
    let serving = mine.filter(|host| matches!(host.kind(), HostKind::Web | HostKind::Canary));
    serving
        .map(|host| Server {
            name: host.name().to_owned(),
            address: host.address().to_string(),
            canary: host.kind() == HostKind::Canary,
        })
        .collect()
}

/// Writes files given by path below the root, mode and content.
fn write_all(upper: &Path, files: Vec<(&str, u32, String)>) -> Result<(), LabError> {
    files.into_iter().try_for_each(|(path, mode, text)| write(&upper.join(path), mode, text.as_bytes()))
}

/// Makes a unit start at boot.
fn enable(upper: &Path, target: &str, unit: &str) -> Result<(), LabError> {
    let wants = upper.join(format!("etc/systemd/system/{target}.wants"));
    create_directory(&wants)?;
    let link = wants.join(unit);
    symlink(format!("/etc/systemd/system/{unit}"), &link).map_err(LabError::io("link", &link))
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
