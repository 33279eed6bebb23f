//! From what is written to what is meant: the fleet of one environment.

use std::collections::BTreeMap;
use std::fmt;

use jiff::SignedDuration;

use super::balancers;
use super::hosts::{HostRange, MAX_HOSTS};
use super::problem::{Position, Problems};
use super::raw::{Count, RawEnvironment};
use super::read::At;
use super::roles;
use crate::desired::{Deadlines, Fleet, Limit, Policy};
use crate::ids::{HostName, RoleName};

const DEFAULT_MAX_UNAVAILABLE: Limit = Limit::Percent(10);
const DEFAULT_MAX_PARALLEL: usize = 20;
const DEFAULT_STEP_DEADLINE: SignedDuration = SignedDuration::from_mins(15);
const DEFAULT_ROLLOUT_DEADLINE: SignedDuration = SignedDuration::from_hours(4);

/// A fleet, and where each host of it was written.
pub(super) struct Resolved {
    pub(super) fleet: Fleet,
    pub(super) hosts: Hosts,
}

/// Resolves everything that the fleet holds but its policy. What has a mistake is reported and left out.
pub(super) fn resolve(file: &At<RawEnvironment>, problems: &mut Problems) -> Resolved {
    check_requirement(file, problems);
    let budget = file.budget.as_ref();
    let limit = budget.and_then(|budget| budget.max_unavailable).unwrap_or(DEFAULT_MAX_UNAVAILABLE);
    let parallel = budget.and_then(|budget| budget.max_parallel);
    let mut hosts = Hosts::default();
    let load_balancers = balancers::resolve(file, problems);
    let mut roles = roles::resolve(file, &load_balancers, limit, &mut hosts, problems);
    roles::check_outages(file, &roles, limit, problems);
    balancers::check_unserved(file, &roles, problems);
    // Stable: within a track the file's order stays.
    roles.sort_by_key(|role| role.track);
    Resolved {
        fleet: Fleet {
            mode: file.mode.unwrap_or_default(),
            roles,
            load_balancers: load_balancers.groups,
            backend_limit: limit,
            max_parallel: parallel.map_or(DEFAULT_MAX_PARALLEL, |Count(count)| count),
            deadlines: deadlines(file),
            policy: Policy::default(),
        },
        hosts,
    }
}

fn check_requirement(file: &RawEnvironment, problems: &mut Problems) {
    let Some(requires) = &file.requires else { return };
    let own = env!("CARGO_PKG_VERSION");
    if semver::Version::parse(own).is_ok_and(|version| !requires.value.0.matches(&version)) {
        let message = format!("this file requires {}, and this program is {own}", requires.value.0);
        problems.add(requires.at(), message);
    }
}

fn deadlines(file: &RawEnvironment) -> Deadlines {
    let written = file.deadlines.as_ref();
    let step = written.and_then(|deadlines| deadlines.step).map(|step| step.0);
    let rollout = written.and_then(|deadlines| deadlines.rollout).map(|rollout| rollout.0);
    Deadlines {
        step: step.unwrap_or(DEFAULT_STEP_DEADLINE),
        rollout: rollout.unwrap_or(DEFAULT_ROLLOUT_DEADLINE),
    }
}

/// Whose a host is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// Without a name when that could not be read.
    Role(Option<RoleName>),
    Migrations,
    Checks,
}

impl Owner {
    pub(super) fn is_role(&self) -> bool {
        matches!(self, Self::Role(_))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(Some(name)) => write!(f, "role `{name}`"),
            Self::Role(None) => f.write_str("another role"),
            Self::Migrations => f.write_str("the migrations"),
            Self::Checks => f.write_str("the checks"),
        }
    }
}

/// Every host of an environment: whose it is, and where that is written.
#[derive(Default)]
pub(super) struct Hosts {
    pub(super) owners: BTreeMap<HostName, (Owner, Position)>,
    counted: usize,
}

impl Hosts {
    /// Expands one host or range for a role, and reports hosts that somebody owns already.
    pub(super) fn claim(
        &mut self,
        range: &At<HostRange>,
        owner: &Owner,
        problems: &mut Problems,
    ) -> Vec<HostName> {
        self.counted += range.len();
        if self.counted > MAX_HOSTS {
            if self.counted - range.len() <= MAX_HOSTS {
                problems.add(range.at(), format!("more than {MAX_HOSTS} hosts in one environment"));
            }
            return Vec::new();
        }
        let mut taken: BTreeMap<Owner, Vec<HostName>> = BTreeMap::new();
        for host in range.hosts() {
            match self.owners.get(&host) {
                Some((other, _)) => taken.entry(other.clone()).or_default().push(host),
                None => drop(self.owners.insert(host, (owner.clone(), range.at().clone()))),
            }
        }
        for (other, hosts) in taken {
            problems.add(range.at(), format!("{} already in {other}", some_of(&hosts)));
        }
        range.hosts().collect()
    }

    /// Takes a host that jobs run on: our claim on a serving host would disturb its role's budget. Others than roles
    /// share hosts.
    pub(super) fn keep_out_of_roles(
        &mut self,
        host: &At<HostName>,
        owner: Owner,
        what: &str,
        problems: &mut Problems,
    ) {
        match self.owners.get(&host.value) {
            Some((role, _)) if role.is_role() => {
                let message = format!("{what} `{}` is in {role}; it must belong to no role", host.value);
                problems.add(host.at(), message);
            }
            Some(_) => {}
            None => drop(self.owners.insert(host.value.clone(), (owner, host.at().clone()))),
        }
    }

    /// The hosts that serve a role.
    pub(super) fn in_roles(&self) -> impl Iterator<Item = &HostName> {
        self.owners.iter().filter(|(_, (owner, _))| owner.is_role()).map(|(host, _)| host)
    }
}

/// `host `a` is`, or `host `a` and 3 more are`.
pub(super) fn some_of(hosts: &[HostName]) -> String {
    match hosts {
        [] => "no host is".to_owned(),
        [host] => format!("host `{host}` is"),
        [host, rest @ ..] => format!("host `{host}` and {} more are", rest.len()),
    }
}
