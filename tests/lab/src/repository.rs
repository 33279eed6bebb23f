//! The lab's package archive: a directory, its index, and the process that serves it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::error::LabError;
use crate::network;
use crate::place::{self, Place, create_directory, write};
use crate::program::{command, finish, succeed};

/// Starts serving the archive inside the lab's network. The process ends with the network.
pub(crate) fn serve(place: &Place, resident: &Path) -> Result<(), LabError> {
    let directory = place.file("apt");
    create_directory(&directory)?;
    let mut server = network::inside(place, resident);
    server.args(["files", "--listen", &format!("{}:80", network::BRIDGE_ADDRESS), "--root"]).arg(&directory);
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut child = server.spawn().map_err(LabError::io("start", resident))?;
    std::thread::spawn(move || drop(child.wait()));
    Ok(())
}

/// Adds packages and renews the index. A host that reads the index meanwhile sees the old one or the new
/// one, but for the instant between two renames.
pub(crate) fn publish(place: &Place, debs: &[PathBuf]) -> Result<(), LabError> {
    let directory = place.file("apt");
    let lock = place::lock(&place.file("apt.lock"))?;
    for deb in debs {
        let name = deb.file_name().unwrap_or_default();
        let target = directory.join(name);
        let partial = directory.join(format!("{}.partial", name.to_string_lossy()));
        fs::copy(deb, &partial).map_err(LabError::io("copy into the archive", deb))?;
        fs::rename(&partial, &target).map_err(LabError::io("put into place", &target))?;
    }
    index(&directory, &place.file("apt.index"))?;
    drop(lock);
    Ok(())
}

fn index(directory: &Path, staging: &Path) -> Result<(), LabError> {
    let mut packages = command("apt-ftparchive", ["packages", "."]);
    let packages = succeed("index the archive", packages.current_dir(directory))?.stdout;
    write(&staging.join("Packages"), 0o644, packages.as_bytes())?;
    let mut gzip = command("gzip", ["--keep", "--force", "--no-name"]);
    succeed("compress the index", gzip.arg(staging.join("Packages")))?;
    // Else the old one would be described by the new one.
    drop(fs::remove_file(staging.join("Release")));
    let mut release = command("apt-ftparchive", ["release", "."]);
    let release = succeed("describe the archive", release.current_dir(staging))?.stdout;
    write(&staging.join("Release"), 0o644, release.as_bytes())?;
    for name in ["Packages", "Packages.gz", "Release"] {
        let target = directory.join(name);
        fs::rename(staging.join(name), &target).map_err(LabError::io("put into place", &target))?;
    }
    Ok(())
}

/// Downloads `packages` and what they need beyond `image`, by the machine's own apt.
pub(crate) fn download(packages: &[&str], image: &Path, into: &Path) -> Result<(), LabError> {
    create_directory(&into.join("partial"))?;
    let fetch = || {
        let mut apt = command("apt-get", ["-y", "-q", "--download-only", "--no-install-recommends"]);
        let status = image.join("var/lib/dpkg/status");
        apt.args(["-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root"]);
        apt.arg("-o").arg(format!("Dir::State::status={}", status.display()));
        apt.arg("-o").arg(format!("Dir::Cache::archives={}/", into.display()));
        apt.arg("install").args(packages);
        apt
    };
    if finish(&mut fetch(), None)?.success() {
        return Ok(());
    }
    // The machine's lists may be missing or old: read them once and try again.
    succeed("read the package lists", &mut command("apt-get", ["-q", "update"]))?;
    succeed("download a package", &mut fetch()).map(drop)
}
