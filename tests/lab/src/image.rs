//! The root file system that every host starts from: built once, kept, shared read-only.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::LabError;
use crate::place::{self, base, create_directory, remove_directory};
use crate::program::{command, finish, succeed};
use crate::{requirements, sources};

const PACKAGES: &str = "systemd,systemd-sysv,dbus,openssh-server,sudo,iproute2,procps,haproxy,socat,\
                        python3-minimal,curl,ca-certificates,netbase,apt-utils,patch,git";

/// Runs on this machine with the new root as its argument. Documentation is left out to save time, but
/// the rule that does so does not stay: packages installed later are whole, as on a real host.
const CUSTOMISE: &str = r#"#!/bin/sh
set -eu
root=$1
rm -f "$root/etc/machine-id" "$root/var/lib/dbus/machine-id" "$root"/etc/ssh/ssh_host_*
: > "$root/etc/machine-id"
rm -f "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap" "$root/etc/apt/apt.conf.d/99mmdebstrap"
# Nothing may change a host by itself.
for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer dpkg-db-backup.timer \
            e2scrub_reap.service systemd-pstore.service getty.target console-getty.service \
            systemd-networkd-wait-online.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
chroot "$root" systemctl enable systemd-networkd.service
chroot "$root" systemctl disable haproxy.service
chroot "$root" useradd --create-home --shell /bin/bash deploy
echo 'deploy ALL=(ALL) NOPASSWD: ALL' > "$root/etc/sudoers.d/deploy"
chmod 440 "$root/etc/sudoers.d/deploy"
rm -rf "$root"/etc/apt/sources.list.d/* "$root"/var/lib/apt/lists/*
echo 'deb [trusted=yes] http://apt.lab/ ./' > "$root/etc/apt/sources.list"
"#;

/// The cached root file system, built first if it is not there. Several processes may ask at once: one
/// builds, the others wait.
pub(crate) fn ensure() -> Result<PathBuf, LabError> {
    let codename = requirements::codename()?;
    let entries = sources::of_this_machine(&codename)?;
    let recipe = format!("1\n{codename}\n{PACKAGES}\n{CUSTOMISE}\n{}", entries.join("\n"));
    let image = base().join(format!("image-{:016x}", fingerprint(&recipe)));
    create_directory(&base())?;
    let lock = place::lock(&base().join("image.lock"))?;
    if !image.exists() {
        build(&image, &codename, &entries)?;
    }
    drop(lock);
    Ok(image)
}

/// Removes every cached root file system. Refused while a lab stands on one.
pub(crate) fn remove_cache() -> Result<(), LabError> {
    let names = place::lab_names();
    if !names.is_empty() {
        return Err(LabError::CacheInUse { labs: names.join(", ") });
    }
    remove_where(|name| name.starts_with("image-") || name.starts_with("layer-"))?;
    for name in ["image.lock", "image.customise", "layer.lock"] {
        drop(fs::remove_file(base().join(name)));
    }
    // These fail while a lab is up, as they should.
    drop(fs::remove_dir(base().join("labs")));
    drop(fs::remove_dir(base()));
    Ok(())
}

pub(crate) fn remove_where(chosen: impl Fn(&str) -> bool) -> Result<(), LabError> {
    let entries = fs::read_dir(base()).into_iter().flatten().flatten();
    let mut directories = entries.filter(|entry| entry.file_name().to_str().is_some_and(&chosen));
    directories.try_for_each(|entry| remove_directory(&entry.path()))
}

fn build(image: &Path, codename: &str, entries: &[String]) -> Result<(), LabError> {
    eprintln!("lab: building the root file system of the hosts, about a minute, once");
    // We hold the lock: any other partial one is what a killed builder left, or is still writing.
    remove_where(|name| name.starts_with("image-") && name.contains(".partial-"))?;
    let partial = image.with_extension(format!("partial-{}", std::process::id()));
    let script = base().join("image.customise");
    place::write(&script, 0o755, CUSTOMISE.as_bytes())?;
    let mut mmdebstrap =
        command("mmdebstrap", ["--quiet", "--mode=root", "--variant=minbase", "--format=directory"]);
    mmdebstrap.arg(format!("--include={PACKAGES}"));
    mmdebstrap.arg(format!("--customize-hook={}", script.display()));
    for left_out in ["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*"] {
        mmdebstrap.arg(format!("--dpkgopt=path-exclude={left_out}"));
    }
    for option in transport_options() {
        mmdebstrap.arg(format!("--aptopt={option}"));
    }
    mmdebstrap.arg(codename).arg(&partial).args(entries);
    let built = succeed("build the root file system of the hosts", &mut mmdebstrap);
    if let Err(error) = built {
        remove_directory(&partial)?;
        return Err(error);
    }
    fs::rename(&partial, image).map_err(LabError::io("put into place", image))
}

/// How this machine reaches its archives: proxies, and what it does not check.
fn transport_options() -> Vec<String> {
    let dump = finish(&mut command("apt-config", ["dump", "Acquire"]), None).map(|output| output.stdout);
    let dump = dump.unwrap_or_default();
    let wanted = ["Acquire::http", "Acquire::https", "Acquire::Check-"];
    let lines = dump.lines().filter(|line| wanted.iter().any(|start| line.starts_with(start)));
    lines.map(str::to_owned).chain(["Acquire::Retries \"3\";".to_owned()]).collect()
}

/// FNV-1a: a name for the recipe, not a proof against malice.
pub(crate) fn fingerprint(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
