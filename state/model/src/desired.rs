//! What git says, at one commit: resolved, and valid by construction.
//!
//! Everything here was checked by [`crate::parse`]: names exist, percentages are numbers of hosts, templates have
//! only known placeholders. Nothing here is looked up again later.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ids::{
    BackendName, CheckName, CommitId, EnvironmentName, GateName, HostName, LoadBalancerName, PackageName,
    RoleName, ServerName, ServiceName,
};
use crate::pipeline::{
    Check, ConfigAgent, EmergencyBudget, Follow, Freeze, Gate, Migrations, Promotion, Stage,
};
use crate::release::{CanaryTarget, Emergency, Exceptions, Patch};
use crate::version::Version;

/// One environment at one accepted commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// Which environment.
    pub environment: EnvironmentName,
    /// The commit that says so.
    pub commit: Commit,
    /// The version that the main track should run.
    pub target: Version,
    /// What a person said about a version that git history does not know yet.
    pub direction: Option<Direction>,
    /// What the canary track should run, and its share; none: it takes main's version, first, without a share.
    pub canary: Option<CanaryTarget>,
    /// What people take responsibility for.
    pub exceptions: Exceptions,
    /// Versions by first appearance as a target of either track in accepted history, oldest first. Rank is the position
    /// here.
    pub ranks: Vec<Version>,
    /// Hosts that are in the fleet no more while our mark is on them, in their former roles: they are brought to a safe
    /// point and let go. Never from a file: the service adds them.
    pub departed: Vec<Role>,
    /// Hosts, load balancers and rollout policy.
    pub fleet: Fleet,
}

/// A commit as people know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its id.
    pub id: CommitId,
    /// Author's name.
    pub author: String,
    /// First line of its message.
    pub subject: String,
    /// When it was committed, by its own account.
    pub at: Timestamp,
}

/// Which way a change goes. Decided by git history, never by version order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// To a version that came later.
    Forward,
    /// To a version that came earlier: roles in reverse.
    Back,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward => "forward",
            Self::Back => "back",
        })
    }
}

/// Whether the service may change anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Bring actual to desired.
    #[default]
    Reconcile,
    /// Plan and drift only; no change at all.
    Report,
}

/// The part of an environment that shares a target version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Track {
    /// Deployed first, with a small share of the traffic.
    Canary,
    /// The rest.
    #[default]
    Main,
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Canary => "canary",
            Self::Main => "main",
        })
    }
}

/// environment.toml, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// Whether anything may change.
    pub mode: Mode,
    /// In the order in which they are deployed going forward. Canary roles come first.
    pub roles: Vec<Role>,
    /// Groups of load balancer nodes.
    pub load_balancers: Vec<LoadBalancer>,
    /// Of each backend's servers per track, how many may be out at once.
    pub backend_limit: Limit,
    /// Hosts worked on at once, and steps in flight at once, in the whole environment.
    pub max_parallel: usize,
    /// How long is too long.
    pub deadlines: Deadlines,
    /// How a release moves.
    pub policy: Policy,
}

/// How a release moves through an environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// In the order of the file. Empty only in a fleet that was not parsed: see [`Fleet::stages`].
    pub stages: Vec<Stage>,
    /// By name.
    pub gates: BTreeMap<GateName, Gate>,
    /// By name.
    pub checks: BTreeMap<CheckName, Check>,
    /// Once for each version.
    pub migrations: Option<Migrations>,
    /// Paused on hosts that are being worked on.
    pub config_agent: Option<ConfigAgent>,
    /// What a version must have passed.
    pub promotion: Promotion,
    /// Commits that the service writes.
    pub follows: Vec<Follow>,
    /// Windows in which nothing starts going forward.
    pub freezes: Vec<Freeze>,
    /// Instead of the usual budget, for an emergency.
    pub emergency: EmergencyBudget,
}

/// How many of something may be out at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// A part, in percent of what is configured.
    Percent(u8),
    /// A number.
    Count(u32),
}

impl Limit {
    /// `max(1, ⌊p × configured⌋)`; a number stands for itself, at least 1.
    pub fn of(self, configured: usize) -> usize {
        match self {
            Self::Percent(percent) => (configured * usize::from(percent) / 100).max(1),
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX).max(1),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

/// How long is too long. Nothing is killed when one passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlines {
    /// A step in flight for longer is reported and blocks new hosts.
    pub step: SignedDuration,
    /// A rollout that takes longer raises an alarm.
    pub rollout: SignedDuration,
}

/// Hosts that do the same job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its name.
    pub name: RoleName,
    /// Which target it follows.
    pub track: Track,
    /// In the order of the file; work starts in this order.
    pub hosts: Vec<HostName>,
    /// Locked to one version together.
    pub packages: Vec<PackageName>,
    /// With `{version}` and optionally `{codename}` (Debian's, of the host).
    pub package_version: String,
    /// Load balancers' backends it serves in.
    pub backends: Vec<BackendId>,
    /// How many of its hosts may be out at once.
    pub max_unavailable: usize,
    /// Whether the last server of a backend may go.
    pub allow_outage: bool,
    /// Run before the install, in order.
    pub prepare: Vec<Argv>,
    /// Run after the install, in order.
    pub configure: Vec<Argv>,
    /// What runs there.
    pub services: Vec<Service>,
    /// How to tell that a host is well. Without one: every unit is active and has kept its pid for 10 s.
    pub health: Option<Health>,
}

impl Role {
    /// Packages on one host of main, which serves nobody: no backends, services, commands or probe.
    pub fn of_host(name: RoleName, host: &HostName, packages: &[PackageName], package_version: &str) -> Self {
        Self {
            name,
            track: Track::Main,
            hosts: vec![host.clone()],
            packages: packages.to_vec(),
            package_version: package_version.to_owned(),
            backends: Vec::new(),
            max_unavailable: 1,
            allow_outage: false,
            prepare: Vec::new(),
            configure: Vec::new(),
            services: Vec::new(),
            health: None,
        }
    }

    /// Whether a package's version is that of a release, on hosts of a Debian release.
    pub fn is_package_of(&self, package: &Version, release: &Version, codename: &str) -> bool {
        match self.package_version == "{version}" {
            true => package == release,
            false => self.package_version(release, codename) == *package,
        }
    }

    /// The package version that this role's hosts of a Debian release should have for `version`.
    pub fn package_version(&self, version: &Version, codename: &str) -> Version {
        if self.package_version == "{version}" {
            return version.clone();
        }
        let text =
            self.package_version.replace("{version}", version.as_str()).replace("{codename}", codename);
        Version::parse(&text).unwrap_or_else(|_| version.clone())
    }
}

/// A backend of one load balancer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BackendId {
    /// The group of nodes.
    pub load_balancer: LoadBalancerName,
    /// The backend on each of them.
    pub backend: BackendName,
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.load_balancer, self.backend)
    }
}

/// A program and its arguments; never a shell string. `{host}`, `{version}` and `{environment}` are replaced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Argv(pub Vec<String>);

impl fmt::Display for Argv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// One service of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// The unit, or the user's own name for it.
    pub name: ServiceName,
    /// Whether systemd knows it under that name.
    pub systemd: bool,
    /// How it takes up a new version.
    pub activate: Activate,
    /// Prints the version that is running.
    pub running: Option<Argv>,
}

/// How a service takes up a new version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activate {
    /// `systemctl restart`.
    Restart,
    /// `systemctl reload`.
    Reload,
    /// A command of the user's.
    Command(Argv),
    /// Nothing to do: it need not run the new version.
    None,
}

/// How to tell that a host is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What to ask.
    pub probe: Probe,
    /// How long after activation it may take.
    pub within: SignedDuration,
}

/// What to ask a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// GET answers 2xx. Asked from the deploy node. `{host}` is replaced.
    Http(String),
    /// `host:port` accepts a connection. Asked from the deploy node. `{host}` is replaced.
    Tcp(String),
    /// Ends with 0. Run on the host.
    Command(Argv),
}

/// A group of load balancer nodes with the same configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// Its name.
    pub name: LoadBalancerName,
    /// All must agree before a host counts as drained.
    pub nodes: Vec<HostName>,
    /// HAProxy's admin socket on the node.
    pub socket: String,
    /// Row name with `{host}`.
    pub server: String,
    /// Its backends that we work with.
    pub backends: BTreeMap<BackendName, DrainPolicy>,
}

impl LoadBalancer {
    /// A host's row name.
    pub fn server(&self, host: &HostName) -> ServerName {
        if self.server == "{host}" {
            return host.as_server();
        }
        ServerName::new(self.server.replace("{host}", host.as_str()))
    }
}

/// How a backend's servers are drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainPolicy {
    /// How long sessions may take to end by themselves.
    pub timeout: SignedDuration,
    /// What then.
    pub on_timeout: OnTimeout,
}

/// What to do when sessions have not ended in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnTimeout {
    /// Give the host back, come again with backoff.
    Wait,
    /// End the sessions.
    Cut,
    /// Go on, and say so.
    Proceed,
}

impl fmt::Display for OnTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wait => "wait",
            Self::Cut => "cut",
            Self::Proceed => "proceed",
        })
    }
}

impl Desired {
    /// What a track should run: canary roles take main's version when there is no `[canary]`.
    pub fn target_of(&self, track: Track) -> &Version {
        match (&self.canary, track) {
            (Some(canary), Track::Canary) => &canary.version,
            (None, Track::Canary) | (_, Track::Main) => &self.target,
        }
    }

    /// The emergency, when it is for this very version.
    pub fn emergency(&self, version: &Version) -> Option<&Emergency> {
        self.exceptions.emergency.as_ref().filter(|emergency| emergency.version == *version)
    }

    /// The patches of a role's hosts that run a release, in the order of the file.
    pub fn patches<'a>(
        &'a self,
        role: &'a RoleName,
        version: &'a Version,
    ) -> impl Iterator<Item = &'a Patch> {
        let patches = self.exceptions.patches.iter();
        patches.filter(move |patch| patch.version == *version && patch.roles.contains(role))
    }

    /// Every version that git knows as a target, oldest first, and then what the tracks want, known already or not.
    pub fn versions(&self) -> impl Iterator<Item = &Version> {
        self.ranks.iter().chain([Track::Main, Track::Canary].map(|track| self.target_of(track)))
    }

    /// The position of a version's first appearance as a target, if it ever was one.
    pub fn rank(&self, version: &Version) -> Option<usize> {
        self.ranks.iter().position(|known| known == version)
    }
}

impl Fleet {
    /// The stages of a release, in order; of a fleet without any: every role in order, the canary track first.
    pub fn stages(&self) -> Cow<'_, [Stage]> {
        if self.policy.stages.is_empty() {
            return Cow::Owned(Stage::whole_fleet(&self.roles));
        }
        Cow::Borrowed(&self.policy.stages)
    }

    /// Every managed host with its role, in order.
    pub fn hosts(&self) -> impl Iterator<Item = (&Role, &HostName)> {
        self.roles.iter().flat_map(|role| role.hosts.iter().map(move |host| (role, host)))
    }

    /// Every load balancer node.
    pub fn nodes(&self) -> BTreeSet<&HostName> {
        self.load_balancers.iter().flat_map(|lb| &lb.nodes).collect()
    }

    /// The role of a host.
    pub fn role_of(&self, host: &HostName) -> Option<&Role> {
        self.roles.iter().find(|role| role.hosts.contains(host))
    }

    /// A load balancer by name.
    pub fn load_balancer(&self, name: &LoadBalancerName) -> Option<&LoadBalancer> {
        self.load_balancers.iter().find(|lb| lb.name == *name)
    }

    /// The load balancer that a node belongs to.
    pub fn load_balancer_of(&self, node: &HostName) -> Option<&LoadBalancer> {
        self.load_balancers.iter().find(|lb| lb.nodes.contains(node))
    }
}
