//! What a machine needs to hold a lab, and how to get it there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::error::LabError;
use crate::program::{command, finish, succeed};

/// Each program a lab uses and the Debian package that has it.
const PROGRAMS: [(&str, &str); 13] = [
    ("mmdebstrap", "mmdebstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("ip", "iproute2"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("socat", "socat"),
    ("dpkg-deb", "dpkg"),
    ("apt-ftparchive", "apt-utils"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
    ("gzip", "gzip"),
    ("gpgv", "gpgv"),
];

/// Makes sure that this machine can hold a lab; installs missing programs. `Unavailable` says what a
/// skipped test should say.
pub(crate) fn ensure() -> Result<(), LabError> {
    if !rustix::process::geteuid().is_root() {
        return Err(unavailable("it needs root"));
    }
    codename()?;
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.lines().any(|line| line.ends_with("\toverlay")) && !load_overlay() {
        return Err(unavailable("the kernel has no overlayfs"));
    }
    if !Path::new("/proc/self/ns/net").exists() {
        return Err(unavailable("the kernel has no network namespaces"));
    }
    install(&missing())
}

/// The Debian release of this machine, which is also that of its labs' hosts.
pub(crate) fn codename() -> Result<String, LabError> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    if value("ID").as_deref() != Some("debian") {
        return Err(unavailable("it needs Debian"));
    }
    value("VERSION_CODENAME").ok_or_else(|| unavailable("/etc/os-release names no Debian release"))
}

fn unavailable(why: &str) -> LabError {
    LabError::Unavailable { why: why.to_owned() }
}

fn load_overlay() -> bool {
    finish(&mut command("modprobe", ["overlay"]), None).is_ok_and(|output| output.success())
}

fn missing() -> Vec<&'static str> {
    let found = |program: &str| {
        ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
            .iter()
            .any(|directory| Path::new(directory).join(program).exists())
    };
    let mut packages: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !found(program)).map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

fn install(packages: &[&str]) -> Result<(), LabError> {
    if packages.is_empty() {
        return Ok(());
    }
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args(["-y", "-q", "-o", "DPkg::Lock::Timeout=300"]);
        apt
    };
    let attempt =
        |apt: &mut Command| finish(apt.args(["install", "--no-install-recommends"]).args(packages), None);
    if attempt(&mut apt())?.success() {
        return Ok(());
    }
    // The lists may be missing or old: read them once and try again.
    let why = |error: LabError| unavailable(&format!("cannot install {}: {error}", packages.join(" ")));
    succeed("read the package lists", apt().arg("update")).map_err(why)?;
    let mut last = apt();
    last.args(["install", "--no-install-recommends"]).args(packages);
    succeed("install what a lab needs", &mut last).map_err(why).map(drop)
}
