//! SSH keys of the lab's user and hosts, and the files with which a client trusts exactly those.

use std::path::{Path, PathBuf};

use crate::error::LabError;
use crate::place::{self, Place, create_directory};
use crate::program::{command, succeed};

/// The files a client needs.
#[derive(Debug, Clone)]
pub struct SshFiles {
    /// `ssh -F` this: names, addresses, user root, key, strict checking.
    pub config: PathBuf,
    /// Every host's real key, by name and by address.
    pub known_hosts: PathBuf,
    /// The private key that root and `deploy` accept on every host.
    pub identity: PathBuf,
}

impl SshFiles {
    pub(crate) fn of(place: &Place) -> Self {
        Self {
            config: place.file("ssh/config"),
            known_hosts: place.file("ssh/known_hosts"),
            identity: place.file("ssh/id_ed25519"),
        }
    }
}

/// Makes the client's key. Returns its public half.
pub(crate) fn create_identity(files: &SshFiles) -> Result<String, LabError> {
    generate(&files.identity, "lab")?;
    place::read(&files.identity.with_extension("pub"))
}

/// Makes a host's key at `path`. Returns its public half without the comment.
pub(crate) fn create_host_key(path: &Path) -> Result<String, LabError> {
    generate(path, "")?;
    let public = place::read(&path.with_extension("pub"))?;
    Ok(public.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned())
}

fn generate(path: &Path, comment: &str) -> Result<(), LabError> {
    if let Some(parent) = path.parent() {
        create_directory(parent)?;
    }
    let mut keygen = command("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]);
    succeed("make an SSH key", keygen.arg(path)).map(drop)
}

/// Writes the configuration and the known keys: `(name, address, public key)` of every host.
pub(crate) fn write_client_files(
    files: &SshFiles,
    hosts: &[(String, String, String)],
) -> Result<(), LabError> {
    let mut config = String::new();
    let mut known = String::new();
    for (name, address, key) in hosts {
        config.push_str(&format!("Host {name}\n    HostName {address}\n"));
        known.push_str(&format!("{name},{address} {key}\n"));
    }
    config.push_str(&format!(
        "Host *\n    User root\n    IdentityFile {}\n    IdentitiesOnly yes\n    UserKnownHostsFile {}\n    \
         GlobalKnownHostsFile /dev/null\n    StrictHostKeyChecking yes\n    UpdateHostKeys no\n    \
         BatchMode yes\n    LogLevel ERROR\n",
        files.identity.display(),
        files.known_hosts.display(),
    ));
    place::write(&files.config, 0o644, config.as_bytes())?;
    place::write(&files.known_hosts, 0o644, known.as_bytes())
}
