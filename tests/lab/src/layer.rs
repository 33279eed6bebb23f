//! A second layer over the root file system, for labs with more than load balancers and demo packages: real
//! Prometheus, Alertmanager, Pushgateway, PostgreSQL and runit of Debian's packages. Built once, kept, shared
//! read-only. Nothing of it runs until a host is told to.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::LabError;
use crate::image::{fingerprint, remove_where};
use crate::place::{self, base, create_directory, remove_directory};
use crate::program::{command, succeed};
use crate::repository;

const PACKAGES: [&str; 5] =
    ["prometheus", "prometheus-alertmanager", "prometheus-pushgateway", "postgresql", "runit"];

/// Installs packages into the layer: its arguments are the overlay's options, an empty directory to mount it
/// at, and the directory with the packages.
const INSTALL: &str = r#"set -eu
mount -t overlay overlay -o "$1" "$2"
mount --bind "$3" "$2/mnt"
mount -t proc proc "$2/proc"
mount --rbind /dev "$2/dev"
printf '#!/bin/sh\nexit 101\n' > "$2/usr/sbin/policy-rc.d"
chmod 755 "$2/usr/sbin/policy-rc.d"
chroot "$2" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive sh -c '
    dpkg --install --force-unsafe-io --path-exclude="/usr/share/doc/*" --path-exclude="/usr/share/man/*" \
        --path-exclude="/usr/share/locale/*" /mnt/*.deb
    systemctl disable prometheus.service prometheus-alertmanager.service prometheus-pushgateway.service \
        postgresql.service
    # The last two only take from the few watches that all hosts of a machine share.
    for unit in runit.service runsvdir.service systemd-ask-password-console.path systemd-ask-password-wall.path; do
        ln -sf /dev/null /etc/systemd/system/$unit
    done'
rm "$2/usr/sbin/policy-rc.d"
"#;

/// The cached layer over `image`, built first if it is not there. Several processes may ask at once: one
/// builds, the others wait.
pub(crate) fn ensure(image: &Path) -> Result<PathBuf, LabError> {
    let recipe = format!("1\n{}\n{}\n{INSTALL}", image.display(), PACKAGES.join(" "));
    let layer = base().join(format!("layer-{:016x}", fingerprint(&recipe)));
    let lock = place::lock(&base().join("layer.lock"))?;
    if !layer.exists() {
        build(&layer, image)?;
    }
    drop(lock);
    Ok(layer)
}

fn build(layer: &Path, image: &Path) -> Result<(), LabError> {
    eprintln!("lab: adding monitoring, database and runit to the root file system, half a minute, once");
    // We hold the lock: any other partial one is what a killed builder left.
    remove_where(|name| name.starts_with("layer-") && name.contains(".partial-"))?;
    let partial = layer.with_extension(format!("partial-{}", std::process::id()));
    let built = fill(&partial, image).and_then(|()| {
        fs::rename(partial.join("upper"), layer).map_err(LabError::io("put into place", layer))
    });
    remove_directory(&partial)?;
    built
}

fn fill(partial: &Path, image: &Path) -> Result<(), LabError> {
    let part = |name: &str| partial.join(name);
    for name in ["upper", "work", "root"] {
        create_directory(&part(name))?;
    }
    repository::download(&PACKAGES, image, &part("debs"))?;
    let overlay = format!(
        "lowerdir={},upperdir={},workdir={}",
        image.display(),
        part("upper").display(),
        part("work").display(),
    );
    // The mounts end with the shell that made them.
    let mut install = command("unshare", ["--mount", "sh", "-c", INSTALL, "layer", &overlay]);
    install.arg(part("root")).arg(part("debs"));
    succeed("install monitoring, database and runit", &mut install).map(drop)
}
