//! The demo package `shop-ee`: one package for every host of an environment, whose services are runit's and not
//! systemd's, with migrations, and an install script that does far too much unless it is told not to.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::database;
use crate::deb::Deb;
use crate::demo::RESIDENT;
use crate::error::LabError;
use crate::host::Host;
use crate::spec::HostKind;

/// The package's name.
pub const RELEASE_PACKAGE: &str = "shop-ee";

const UNIT: &str = include_str!("../package/shop-runsvdir.service");
const SHOP_CTL: &str = include_str!("../package/shop-ctl");
const SHOP_MIGRATE: &str = include_str!("../package/shop-migrate");
const POSTINST: &str = include_str!("../package/postinst");
const PRERM: &str = include_str!("../package/prerm");

/// The services and their ports.
const SERVICES: [(&str, u16); 2] = [("web", 8080), ("storage", 9000)];

/// One version of `shop-ee`.
///
/// On a host: `shop-ctl` steers its services, `shop-migrate` migrates the database (`shop-migrate ready` asks
/// whether background migrations are done), `/etc/shop/skip-auto-reconfigure` keeps the install script from
/// doing both by itself, and `/opt/shop/lib/message.txt` is what its processes say, read when they start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The package's version, and what its processes answer.
    pub version: String,
    /// The line in `/opt/shop/lib/message.txt`.
    pub message: String,
    /// How long a process answers 503 after its start.
    pub warm_up_ms: u32,
    /// Whether it ever becomes ready.
    pub ready: bool,
    /// Whether its install script succeeds.
    pub installs: bool,
}

impl<S: Into<String>> From<S> for Release {
    fn from(version: S) -> Self {
        Self::new(version)
    }
}

impl Release {
    /// A good one, which warms up for a second.
    pub fn new(version: impl Into<String>) -> Self {
        Self {
            version: version.into(),
            message: "welcome to the shop".to_owned(),
            warm_up_ms: 1000,
            ready: true,
            installs: true,
        }
    }

    /// The same with another message, as one has that incorporates a patch.
    #[must_use]
    pub fn with_message(mut self, message: &str) -> Self {
        message.clone_into(&mut self.message);
        self
    }

    /// The same, but its readiness answers 503 for ever.
    #[must_use]
    pub fn never_ready(mut self) -> Self {
        self.ready = false;
        self
    }

    /// The same, but its install script fails, every time.
    #[must_use]
    pub fn fails_to_install(mut self) -> Self {
        self.installs = false;
        self
    }

    /// Builds it in `directory`; it brings the migrations of `before`, too.
    pub(crate) fn build(&self, before: &[Self], directory: &Path) -> Result<PathBuf, LabError> {
        self.package(before).build(directory)
    }

    fn package(&self, before: &[Self]) -> Deb {
        let known: String =
            before.iter().chain([self]).map(|release| format!("{}\n", release.version)).collect();
        let text = |path: &str, mode: u32, text: &str| (path.to_owned(), mode, text.as_bytes().to_vec());
        let mut files = vec![
            ("opt/shop/bin/shop".to_owned(), 0o755, RESIDENT.to_vec()),
            text("opt/shop/lib/release", 0o644, &self.facts()),
            text("opt/shop/lib/message.txt", 0o644, &format!("{}\n", self.message)),
            text("opt/shop/db/releases", 0o644, &known),
            text("usr/bin/shop-ctl", 0o755, SHOP_CTL),
            text("usr/bin/shop-migrate", 0o755, SHOP_MIGRATE),
            text("lib/systemd/system/shop-runsvdir.service", 0o644, UNIT),
        ];
        files.extend(
            SERVICES.map(|(name, port)| text(&format!("opt/shop/sv/{name}/run"), 0o755, &run_script(port))),
        );
        Deb {
            name: RELEASE_PACKAGE.to_owned(),
            version: self.version.clone(),
            description: "demonstration services that tell their host and version".to_owned(),
            files,
            configuration: Vec::new(),
            scripts: vec![("postinst".to_owned(), self.postinst()), ("prerm".to_owned(), PRERM.to_owned())],
        }
    }

    fn facts(&self) -> String {
        let ready = if self.ready { "yes" } else { "no" };
        format!("version={}\nwarm_up_ms={}\nready={ready}\n", self.version, self.warm_up_ms)
    }

    fn postinst(&self) -> String {
        let fail = "echo 'this version cannot be installed' >&2; exit 1";
        POSTINST.replace("@VERSION@", &self.version).replace("@ACT@", if self.installs { "" } else { fail })
    }
}

fn run_script(port: u16) -> String {
    format!(
        "#!/bin/sh\nexec 2>&1\nexec /opt/shop/bin/shop app --listen 0.0.0.0:{port} \
         --release /opt/shop/lib/release --message /opt/shop/lib/message.txt\n"
    )
}

/// The service a host of that kind runs, and its port.
pub(crate) fn service_of(kind: HostKind) -> Option<(&'static str, u16)> {
    match kind {
        HostKind::Web | HostKind::Canary => Some(SERVICES[0]),
        HostKind::Storage => Some(SERVICES[1]),
        _ => None,
    }
}

/// What tells the package which services a host runs, and where its database is.
pub(crate) fn host_files(host: &Host, all: &[Host]) -> Vec<(&'static str, u32, String)> {
    let service = service_of(host.kind()).map_or("", |(name, _)| name);
    let mut files = vec![("etc/shop/services", 0o644, format!("{service}\n"))];
    if let Some(database) = all.iter().find(|other| other.kind() == HostKind::Database) {
        let url = database::url(database, host.environment());
        files.push(("etc/shop/database", 0o600, format!("{url}\n")));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_knows_the_migrations_of_those_before_it() {
        let releases = ["1.0.0", "1.1.0"].map(Release::new);
        let deb = Release::new("1.1.202611220100").package(&releases);
        let (_, _, known) = deb.files.iter().find(|(path, ..)| path == "opt/shop/db/releases").expect("it");
        assert_eq!(String::from_utf8_lossy(known), "1.0.0\n1.1.0\n1.1.202611220100\n");
    }

    #[test]
    fn a_broken_install_script_says_so() {
        assert!(Release::new("2").fails_to_install().postinst().contains("cannot be installed' >&2; exit 1"));
        assert!(!Release::new("2").postinst().contains("cannot be installed"));
    }
}
