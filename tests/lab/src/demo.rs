//! The demo packages: `shop` behind the load balancers, `store` behind nothing, each in five versions.

use std::path::{Path, PathBuf};

use crate::deb::Deb;
use crate::error::LabError;

/// The program that the packages, the archive and the traffic run; see `resident/`.
pub(crate) const RESIDENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/resident"));

/// What a version is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    Good,
    NeverReady,
    FailsToInstall,
    SlowToInstall,
}

/// A good version.
pub const FIRST: &str = "1.0.0-1";
/// A good version above the first.
pub const SECOND: &str = "1.1.0-1";
/// Installs and starts, but its readiness answers 503 for ever.
pub const NEVER_READY: &str = "1.2.0-1";
/// Its install script fails, every time.
pub const FAILS_TO_INSTALL: &str = "1.3.0-1";
/// Its install script takes three seconds.
pub const SLOW_TO_INSTALL: &str = "1.4.0-1";

const VERSIONS: [(&str, Behaviour); 5] = [
    (FIRST, Behaviour::Good),
    (SECOND, Behaviour::Good),
    (NEVER_READY, Behaviour::NeverReady),
    (FAILS_TO_INSTALL, Behaviour::FailsToInstall),
    (SLOW_TO_INSTALL, Behaviour::SlowToInstall),
];

/// Every version of the demo packages.
pub fn versions() -> impl Iterator<Item = &'static str> {
    VERSIONS.iter().map(|(version, _)| *version)
}

/// Port and warm-up of each.
const PACKAGES: [(&str, u16, u32); 2] = [("shop", 8080, 2000), ("store", 9000, 0)];

/// Builds all of them in `directory`.
pub(crate) fn build(directory: &Path) -> Result<Vec<PathBuf>, LabError> {
    let mut built = Vec::new();
    for (name, port, warm_up) in PACKAGES {
        for (version, behaviour) in VERSIONS {
            built.push(package(name, port, warm_up, version, behaviour).build(directory)?);
        }
    }
    Ok(built)
}

fn package(name: &str, port: u16, warm_up: u32, version: &str, behaviour: Behaviour) -> Deb {
    let ready = if behaviour == Behaviour::NeverReady { "no" } else { "yes" };
    let release = format!("version={version}\nwarm_up_ms={warm_up}\nready={ready}\n");
    let configuration = format!("# Settings of {name} {version}.\n");
    Deb {
        name: name.to_owned(),
        version: version.to_owned(),
        description: "demonstration service that tells its host and version".to_owned(),
        files: vec![
            (format!("usr/lib/{name}/{name}"), 0o755, RESIDENT.to_vec()),
            (format!("usr/lib/{name}/release"), 0o644, release.into_bytes()),
            (format!("lib/systemd/system/{name}.service"), 0o644, unit(name, port).into_bytes()),
            (format!("etc/{name}/{name}.conf"), 0o644, configuration.into_bytes()),
        ],
        configuration: vec![format!("etc/{name}/{name}.conf")],
        scripts: vec![
            ("postinst".to_owned(), postinst(name, version, behaviour)),
            ("prerm".to_owned(), prerm(name)),
        ],
    }
}

fn unit(name: &str, port: u16) -> String {
    format!(
        "[Unit]\nDescription=Demonstration service {name}\nAfter=network.target\n\n\
         [Service]\nExecStart=/usr/lib/{name}/{name} app --listen 0.0.0.0:{port} --release /usr/lib/{name}/release\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    )
}

/// Counts every run of itself, then behaves as the version should. It starts the service on the first
/// install and never restarts it: whoever upgrades it decides when.
fn postinst(name: &str, version: &str, behaviour: Behaviour) -> String {
    let act = match behaviour {
        Behaviour::Good | Behaviour::NeverReady => "",
        Behaviour::FailsToInstall => "    echo 'this version cannot be installed' >&2\n    exit 1\n",
        Behaviour::SlowToInstall => "    sleep 3\n",
    };
    format!(
        "#!/bin/sh\nset -e\nif [ \"$1\" = configure ]; then\n    mkdir -p /var/lib/{name}\n    \
         echo \"{version} $(date -u +%Y-%m-%dT%H:%M:%SZ)\" >> /var/lib/{name}/installs.log\n{act}    \
         if [ -d /run/systemd/system ]; then\n        systemctl daemon-reload\n        \
         if [ -z \"$2\" ]; then systemctl enable --quiet --now {name}.service; fi\n    fi\nfi\n"
    )
}

fn prerm(name: &str) -> String {
    format!(
        "#!/bin/sh\nset -e\nif [ \"$1\" = remove ] && [ -d /run/systemd/system ]; then\n    \
         systemctl disable --quiet --now {name}.service\nfi\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_version_restarts_its_service() {
        for (version, behaviour) in VERSIONS {
            let deb = package("shop", 8080, 0, version, behaviour);
            assert!(deb.scripts.iter().all(|(_, text)| !text.contains("restart")), "{version}");
        }
    }
}
