//! What can stand between a host and its package.

use std::path::PathBuf;

use lab::Lab;
use tests::deployment::Deployment;
use tests::stories::{NEW, OLD};

use crate::{NOTICED_S, ROLLOUT_S, fault, host, long, on_a_watched_fleet, step_begins, steps};

/// In no source until [`publish`].
const UNPUBLISHED: &str = "1.5.0-1";

/// Its install script takes three seconds: time to be interrupted.
const SLOW_TO_INSTALL: &str = lab::demo::SLOW_TO_INSTALL;

/// Takes dpkg's lock as apt does, which is not the way of flock(1), and keeps it.
const HOLD_LOCK: &str = "use Fcntl; open(F, '>>', '/var/lib/dpkg/lock-frontend') || die; \
    my $l = pack('s s x4 q q i x4', F_WRLCK, 0, 0, 0, 0); fcntl(F, F_SETLK, $l) || die; sleep 1000;";

/// Somebody runs apt by hand and does not come to an end.
fn apts_lock_is_held(deployment: &mut Deployment<'_>) {
    let locked = host(deployment, "gitaly-01");
    locked.write("/root/hold.pl", HOLD_LOCK).unwrap();
    locked.expect("systemd-run --quiet --unit=somebody perl /root/hold.pl && sleep 0.5").unwrap();
    let before = deployment.last_event();
    let bump = deployment.commit(NEW);
    deployment.explains("gitaly-01", "apt's lock is held by another process", NOTICED_S);
    deployment.explains("web-01", "role storage comes first", NOTICED_S);
    assert_eq!(steps(deployment, before, "web-01", "drain"), 0);
    locked.expect("systemctl stop somebody").unwrap();
    deployment.converges(&bump, ROLLOUT_S);
}

/// The cache has no room; what runs is not touched.
fn a_disk_is_full(deployment: &mut Deployment<'_>) {
    let full = host(deployment, "web-01");
    full.expect("mount -t tmpfs -o size=64k tmpfs /var/cache/apt/archives").unwrap();
    let before = deployment.last_event();
    let revert = deployment.commit(OLD);
    deployment.explains("web-01", "disk full", NOTICED_S);
    assert_eq!(steps(deployment, before, "web-01", "drain"), 0);
    full.expect("umount /var/cache/apt/archives").unwrap();
    deployment.converges(&revert, ROLLOUT_S);
}

/// dpkg is killed while it configures: the package stays half-way, which the next attempt mends.
fn dpkg_is_interrupted(deployment: &mut Deployment<'_>) {
    let broken = host(deployment, "web-01");
    let before = deployment.last_event();
    let bump = deployment.commit(SLOW_TO_INSTALL);
    step_begins(deployment, before, "web-01", "install", 1);
    let kill = "P=$(pgrep -x shop.postinst) && kill -KILL $(pgrep -x dpkg) $P";
    deployment.wait_for("install script to kill", NOTICED_S, || broken.run(kill).unwrap().success());
    deployment.explains("web-01", "install: web-01: shop 1.4.0-1: install failed", NOTICED_S);
    deployment.explains("web-02", "web-01 failed with 1.4.0-1", NOTICED_S);
    deployment.converges(&bump, ROLLOUT_S);
    assert_eq!(steps(deployment, before, "web-01", "install"), 2);
    assert_eq!(broken.expect("dpkg --audit").unwrap(), "");
}

/// A version is announced before it is published.
fn a_version_is_in_no_source(deployment: &mut Deployment<'_>) {
    let before = deployment.last_event();
    let bump = deployment.commit(UNPUBLISHED);
    deployment.explains("gitaly-01", "version not found in any source", NOTICED_S);
    deployment.explains("web-01", "version not found in any source", NOTICED_S);
    assert!(
        deployment.steps_after(before).is_empty(),
        "nothing but downloads: {:?}",
        deployment.steps_after(before)
    );
    publish(deployment.lab, UNPUBLISHED);
    deployment.converges(&bump, ROLLOUT_S);
}

/// Builds the demo packages of another version from a good one, and publishes them.
fn publish(lab: &Lab, version: &str) {
    let folder = lab.scratch().unwrap();
    for package in ["shop", "store"] {
        let script = "set -e; cd \"$0\"; ARCH=$(dpkg --print-architecture)
            curl -fsS -o old.deb \"http://apt.lab/$1_$2_$ARCH.deb\"
            dpkg-deb --raw-extract old.deb \"$1\"
            sed -i \"s/^Version: .*/Version: $3/\" \"$1/DEBIAN/control\"
            sed -i \"s/^version=.*/version=$3/\" \"$1/usr/lib/$1/release\"
            dpkg-deb --build -Zgzip -z1 \"$1\" \"$1_$3_$ARCH.deb\"";
        let folder = folder.to_str().unwrap();
        let built = lab.exec("sh", ["-c", script, folder, package, NEW, version]).unwrap();
        assert!(built.success(), "{built:?}");
    }
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let debs: Vec<PathBuf> = files.filter(|path| path.to_string_lossy().contains(version)).collect();
    assert_eq!(debs.len(), 2, "{debs:?}");
    lab.publish(&debs).unwrap();
}

#[test]
fn what_stands_between_a_host_and_its_package_is_told_and_tried_again() {
    if long("apt's lock, a full disk, dpkg interrupted, a version in no source") {
        on_a_watched_fleet("packages", |deployment| {
            fault("apt's lock held", deployment, apts_lock_is_held);
            fault("a full disk", deployment, a_disk_is_full);
            fault("dpkg interrupted", deployment, dpkg_is_interrupted);
            fault("a version in no source", deployment, a_version_is_in_no_source);
        });
    }
}
