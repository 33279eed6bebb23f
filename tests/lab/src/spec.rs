//! Which hosts a lab has.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::error::LabError;

/// What a host is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKind {
    /// Runs HAProxy in front of every web host.
    LoadBalancer,
    /// Runs `shop` on port 8080.
    Web,
    /// Runs `store` on port 9000, behind nothing.
    Storage,
    /// Runs nothing but Debian.
    Plain,
}

/// One host of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSpec {
    /// Its name, inside the lab and in its DNS.
    pub name: String,
    /// What it is for.
    pub kind: HostKind,
}

/// A lab to be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabSpec {
    /// Tells labs on one machine apart. Lower-case letters, digits and dashes, at most 24.
    pub name: String,
    /// The hosts, in the order of their addresses.
    pub hosts: Vec<HostSpec>,
    /// The version of `shop` and `store` installed to begin with; empty for none.
    pub version: String,
}

/// More hosts than this do not fit into the lab's network.
const MOST_HOSTS: usize = 200;

impl LabSpec {
    /// No host yet, and version 1.0.0-1 of the demo packages on those that get one.
    pub fn empty(name: &str) -> Self {
        Self { name: name.to_owned(), hosts: Vec::new(), version: "1.0.0-1".to_owned() }
    }

    /// Two load balancers (`fe-01`, `fe-02`), four web hosts (`web-01` … `web-04`), one storage host
    /// (`gitaly-01`), one host for migrations (`deploy-01`); version 1.0.0-1 everywhere.
    pub fn standard(name: &str) -> Self {
        Self::empty(name)
            .with_hosts("fe", 2, HostKind::LoadBalancer)
            .with_hosts("web", 4, HostKind::Web)
            .with_hosts("gitaly", 1, HostKind::Storage)
            .with_hosts("deploy", 1, HostKind::Plain)
    }

    /// The same with hosts `PREFIX-01` to `PREFIX-COUNT` of `kind`, in the place of those it had with that
    /// prefix, or at the end.
    #[must_use]
    pub fn with_hosts(mut self, prefix: &str, count: usize, kind: HostKind) -> Self {
        let numbered = format!("{prefix}-");
        let place = self.hosts.iter().position(|host| host.name.starts_with(&numbered));
        self.hosts.retain(|host| !host.name.starts_with(&numbered));
        let names = (1..=count).map(|number| format!("{numbered}{number:02}"));
        let place = place.unwrap_or(self.hosts.len());
        self.hosts.splice(place..place, names.map(|name| HostSpec { name, kind }));
        self
    }

    /// The same without `shop` and `store` installed.
    #[must_use]
    pub fn without_packages(mut self) -> Self {
        self.version.clear();
        self
    }

    /// The hosts of one kind.
    pub fn of_kind(&self, kind: HostKind) -> impl Iterator<Item = &HostSpec> {
        self.hosts.iter().filter(move |host| host.kind == kind)
    }

    /// The address of the host at that place of the list.
    pub(crate) fn address(index: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, u8::try_from(index + 11).unwrap_or(u8::MAX))
    }

    pub(crate) fn validate(&self) -> Result<(), LabError> {
        validate_name("lab", &self.name)?;
        let mut seen = Vec::new();
        for host in &self.hosts {
            validate_name("host", &host.name)?;
            if seen.contains(&&host.name) {
                return Err(bad("host", &host.name, "two hosts have that name"));
            }
            seen.push(&host.name);
        }
        if self.hosts.is_empty() || self.hosts.len() > MOST_HOSTS {
            return Err(bad("lab", &self.name, "it needs between 1 and 200 hosts"));
        }
        Ok(())
    }
}

/// Names become part of file, namespace and machine names: nothing that any of them could misread.
pub(crate) fn validate_name(what: &'static str, name: &str) -> Result<(), LabError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > 24 {
        return Err(bad(what, name, "it needs between 1 and 24 characters"));
    }
    if !name.bytes().all(plain) || name.starts_with('-') || name.ends_with('-') {
        return Err(bad(what, name, "only lower-case letters, digits and inner dashes"));
    }
    Ok(())
}

fn bad(what: &'static str, name: &str, why: &'static str) -> LabError {
    LabError::BadName { what, name: name.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_fleet() {
        let spec = LabSpec::standard("t");
        let names: Vec<&str> = spec.hosts.iter().map(|host| host.name.as_str()).collect();
        assert_eq!(
            names,
            ["fe-01", "fe-02", "web-01", "web-02", "web-03", "web-04", "gitaly-01", "deploy-01"]
        );
        assert!(spec.validate().is_ok());
        let larger = spec.with_hosts("web", 9, HostKind::Web);
        assert_eq!(larger.of_kind(HostKind::Web).count(), 9);
        assert_eq!(larger.hosts.last().map(|host| host.name.as_str()), Some("deploy-01"));
    }

    #[test]
    fn names_that_could_be_misread_are_refused() {
        for name in ["", "-x", "x-", "a/b", "..", "A", "a b", "a23456789012345678901234567890"] {
            assert!(LabSpec::standard(name).validate().is_err(), "{name}");
        }
    }
}
