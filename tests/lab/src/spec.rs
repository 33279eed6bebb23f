//! Which hosts a lab has.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::demo;
use crate::error::LabError;
use crate::release::Release;

/// What a host is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKind {
    /// Runs HAProxy in front of every web and canary host of its environment.
    LoadBalancer,
    /// Serves on port 8080: by `shop`, or by the service `web` of `shop-ee`.
    Web,
    /// The same, with weight 0 in `haproxy.cfg` and rows of its own in the backend `canary_web`.
    Canary,
    /// Serves on port 9000, behind nothing: by `store`, or by the service `storage` of `shop-ee`.
    Storage,
    /// Has `shop-ee` installed for its migrations, and runs none of its services.
    Migration,
    /// Runs Prometheus, Alertmanager and the Pushgateway.
    Monitoring,
    /// Runs PostgreSQL, with one database for each environment.
    Database,
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
    /// The environment it belongs to; empty when the lab has only one, or when it serves all of them.
    #[serde(default)]
    pub environment: String,
}

/// A lab to be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabSpec {
    /// Tells labs on one machine apart. Lower-case letters, digits and dashes, at most 24.
    pub name: String,
    /// The hosts, in the order of their addresses.
    pub hosts: Vec<HostSpec>,
    /// The version of `shop` and `store`, or of `shop-ee`, installed to begin with; empty for none.
    pub version: String,
    /// The releases of `shop-ee` in the lab's archive. With one or more of them, the hosts run `shop-ee` in the
    /// place of `shop` and `store`.
    #[serde(default)]
    pub releases: Vec<Release>,
    /// Whether hosts run a configuration agent by a timer; see [`crate::agent`].
    #[serde(default)]
    pub config_agent: bool,
}

/// More hosts than this do not fit into the lab's network.
const MOST_HOSTS: usize = 200;

impl LabSpec {
    /// No host yet, and version 1.0.0-1 of the demo packages on those that get one.
    pub fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            hosts: Vec::new(),
            version: demo::FIRST.to_owned(),
            releases: Vec::new(),
            config_agent: false,
        }
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

    /// Two environments with what a whole release needs, without `shop-ee` yet: give it
    /// [`LabSpec::with_releases`].
    ///
    /// `staging`: `stg-fe-01`, `stg-web-01` and `-02`, `stg-gitaly-01`, `stg-deploy-01`. `production`: `fe-01`
    /// and `-02`, `web-01` to `-04`, `web-cny-01` and `-02`, `gitaly-01` and `-02`, `deploy-01`. For both:
    /// `mon-01`, `db-01`.
    pub fn pipeline(name: &str) -> Self {
        Self::empty(name)
            .with_hosts_in("staging", "stg-fe", 1, HostKind::LoadBalancer)
            .with_hosts_in("staging", "stg-web", 2, HostKind::Web)
            .with_hosts_in("staging", "stg-gitaly", 1, HostKind::Storage)
            .with_hosts_in("staging", "stg-deploy", 1, HostKind::Migration)
            .with_hosts_in("production", "fe", 2, HostKind::LoadBalancer)
            .with_hosts_in("production", "web", 4, HostKind::Web)
            .with_hosts_in("production", "web-cny", 2, HostKind::Canary)
            .with_hosts_in("production", "gitaly", 2, HostKind::Storage)
            .with_hosts_in("production", "deploy", 1, HostKind::Migration)
            .with_hosts("mon", 1, HostKind::Monitoring)
            .with_hosts("db", 1, HostKind::Database)
    }

    /// The same with hosts `PREFIX-01` to `PREFIX-COUNT` of `kind`, in the place of those it had with that
    /// prefix, or at the end. They belong to the only environment, or serve all.
    #[must_use]
    pub fn with_hosts(self, prefix: &str, count: usize, kind: HostKind) -> Self {
        self.with_hosts_in("", prefix, count, kind)
    }

    /// Like [`LabSpec::with_hosts`], in one of several environments.
    #[must_use]
    pub fn with_hosts_in(mut self, environment: &str, prefix: &str, count: usize, kind: HostKind) -> Self {
        let numbered = format!("{prefix}-");
        let replaced = |host: &HostSpec| {
            host.name
                .strip_prefix(&numbered)
                .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let place = self.hosts.iter().position(replaced).unwrap_or(self.hosts.len());
        self.hosts.retain(|host| !replaced(host));
        let names = (1..=count).map(|number| format!("{numbered}{number:02}"));
        let environment = environment.to_owned();
        self.hosts.splice(
            place..place,
            names.map(|name| HostSpec { name, kind, environment: environment.clone() }),
        );
        self
    }

    /// The same with these releases of `shop-ee`, oldest first; the first is installed to begin with.
    #[must_use]
    pub fn with_releases(mut self, releases: impl IntoIterator<Item = impl Into<Release>>) -> Self {
        self.releases = releases.into_iter().map(Into::into).collect();
        self.version = self.releases.first().map(|release| release.version.clone()).unwrap_or_default();
        self
    }

    /// The same with a configuration agent on every host that is not a load balancer.
    #[must_use]
    pub fn with_config_agent(mut self) -> Self {
        self.config_agent = true;
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

    /// The environments that hosts belong to, in the order of the hosts.
    pub fn environments(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for host in &self.hosts {
            if host.kind != HostKind::Monitoring && host.kind != HostKind::Database {
                let name = host.environment.as_str();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// Whether hosts need Debian's packages beyond those of the root file system.
    pub(crate) fn needs_services(&self) -> bool {
        let needy = |host: &HostSpec| matches!(host.kind, HostKind::Monitoring | HostKind::Database);
        !self.releases.is_empty() || self.hosts.iter().any(needy)
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
            if !host.environment.is_empty() {
                validate_name("environment", &host.environment)?;
            }
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
    fn a_prefix_replaces_only_its_own_hosts() {
        let spec = LabSpec::pipeline("t").with_hosts_in("production", "web", 6, HostKind::Web);
        assert_eq!(spec.of_kind(HostKind::Web).filter(|host| host.environment == "production").count(), 6);
        assert_eq!(spec.of_kind(HostKind::Canary).count(), 2, "web-cny-01 is not web-…");
        assert_eq!(spec.environments(), ["staging", "production"]);
    }

    #[test]
    fn names_that_could_be_misread_are_refused() {
        for name in ["", "-x", "x-", "a/b", "..", "A", "a b", "a23456789012345678901234567890"] {
            assert!(LabSpec::standard(name).validate().is_err(), "{name}");
        }
    }
}
