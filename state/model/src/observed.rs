//! What was last seen of hosts and load balancers: facts, each with its age, each possibly unknown with a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::ids::{
    BackendName, CommitId, EnvironmentName, GateName, Generation, HostName, PackageName, RowId, ServerName,
    ServiceName, StepId,
};
use crate::job::JobName;
use crate::version::Version;

/// Everything that was last seen. Absent: never looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Managed hosts.
    pub hosts: BTreeMap<HostName, Fact<HostState>>,
    /// Load balancer nodes.
    pub nodes: BTreeMap<HostName, Fact<NodeState>>,
    /// Gates.
    pub gates: BTreeMap<GateName, Fact<GateState>>,
    /// Package versions that the sources offer, of the environment's first package.
    pub versions: Option<Fact<BTreeSet<Version>>>,
    /// Hosts that are one machine with another host, by machine-id: the other one's environment and name. Found by
    /// comparing readings, never read.
    pub twins: BTreeMap<HostName, (EnvironmentName, HostName)>,
}

impl Observed {
    /// Takes in newer facts; an older fact never replaces a newer one.
    pub fn merge(&mut self, other: Self) {
        let Self { hosts, nodes, gates, versions, twins: _ } = other;
        for (host, fact) in hosts {
            merge_fact(&mut self.hosts, host, fact);
        }
        for (node, fact) in nodes {
            merge_fact(&mut self.nodes, node, fact);
        }
        for (gate, fact) in gates {
            let fact = continued(self.gates.get(&gate), fact);
            merge_fact(&mut self.gates, gate, fact);
        }
        if let Some(fact) = versions.filter(|new| self.versions.as_ref().is_none_or(|old| old.at <= new.at)) {
            self.versions = Some(fact);
        }
    }

    /// The known state of a host.
    pub fn host(&self, host: &HostName) -> Option<&HostState> {
        self.hosts.get(host).and_then(Fact::known)
    }

    /// The known state of a load balancer node.
    pub fn node(&self, node: &HostName) -> Option<&NodeState> {
        self.nodes.get(node).and_then(Fact::known)
    }
}

fn merge_fact<N: Ord, T>(map: &mut BTreeMap<N, Fact<T>>, name: N, fact: Fact<T>) {
    if map.get(&name).is_none_or(|old| old.at <= fact.at) {
        map.insert(name, fact);
    }
}

/// Something seen, or a reason why it could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact<T> {
    /// When the reading began: what happened later is not in it.
    pub at: Timestamp,
    /// What was seen.
    pub value: Result<T, Unknown>,
}

impl<T> Fact<T> {
    /// The value, when there is one.
    pub fn known(&self) -> Option<&T> {
        self.value.as_ref().ok()
    }
}

/// Why something could not be seen. Never assumed healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// What kind of obstacle.
    pub kind: UnknownKind,
    /// The outside's own words, one line.
    pub detail: String,
}

/// What stands between us and a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownKind {
    /// No connection.
    Unreachable,
    /// It accepted us and then did not answer in time.
    TimedOut,
    /// It refused our key.
    KeyRefused,
    /// It shows another host key than the one we know.
    HostKeyChanged,
    /// It answered with something that we cannot read, or a tool we need is missing.
    Unreadable,
}

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "unreachable",
            Self::TimedOut => "not answering",
            Self::KeyRefused => "refuses our ssh key",
            Self::HostKeyChanged => "shows another host key",
            Self::Unreadable => "answers unreadably",
        })
    }
}

/// How a gate was seen, and how long it has been so without a break.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateState {
    /// The verdict.
    pub verdict: Verdict,
    /// What was answered, in one line: the alerts, the number, the error.
    pub value: String,
    /// Since when every reading has had this verdict, with no gap longer than [`GATE_GAP`]. A reading by itself has its
    /// own time here.
    pub since: Timestamp,
}

/// What a gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Green,
    /// Not as it should be.
    Red,
    /// It was asked, and there is nothing to judge.
    NoData,
    /// It could not be asked.
    Error,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Green => "green",
            Self::Red => "red",
            Self::NoData => "no data",
            Self::Error => "error",
        })
    }
}

/// Between two readings further apart than this anything may have happened.
pub const GATE_GAP: SignedDuration = SignedDuration::from_secs(60);

/// A reading that says the same as the one before it goes on from there.
fn continued(old: Option<&Fact<GateState>>, mut new: Fact<GateState>) -> Fact<GateState> {
    let old = old.filter(|old| old.at <= new.at && new.at.duration_since(old.at) <= GATE_GAP);
    if let (Some(Ok(before)), Ok(now)) = (old.map(|old| &old.value), &mut new.value) {
        if before.verdict == now.verdict {
            now.since = now.since.min(before.since);
        }
    }
    new
}

/// The configuration agent on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentState {
    /// It runs from time to time.
    pub active: bool,
    /// A run is under way.
    pub busy: bool,
    /// We paused it: our mark is there. Somebody else's pause has none.
    pub paused_by_us: bool,
}

/// A host as seen in one reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostState {
    /// `/etc/machine-id`.
    pub machine_id: SmolStr,
    /// The kernel's id of this boot.
    pub boot_id: SmolStr,
    /// Debian's code name.
    pub codename: SmolStr,
    /// Its addresses, without the loopback.
    pub addresses: BTreeSet<SmolStr>,
    /// The role's packages that dpkg knows.
    pub packages: BTreeMap<PackageName, PackageState>,
    /// dpkg was interrupted: its journal is not empty.
    pub dpkg_interrupted: bool,
    /// Package versions that were downloaded and whose files are there.
    pub staged: BTreeMap<PackageName, BTreeSet<Version>>,
    /// The role's services.
    pub services: BTreeMap<ServiceName, ServiceState>,
    /// The role's probe.
    pub health: HealthState,
    /// The mark that somebody is working there.
    pub claim: Option<Claim>,
    /// A job of ours that runs there now, whoever started it.
    pub job: Option<StepId>,
    /// Jobs of ours that began and have no end, and are not running: nobody knows what they did.
    pub in_doubt: BTreeSet<StepId>,
    /// Patches that are applied, by checksum: their marks are there and the files are as they left them.
    pub patches: BTreeSet<String>,
    /// The configuration agent, where there is one.
    pub agent: Option<AgentState>,
    /// The highest generation of our service that ever claimed the host, as it remembers. Where another process was there
    /// with our own, which therefore came first, it counts as the next one.
    pub last_generation: Option<Generation>,
    /// Migrations and checks of ours that began there, with their exit codes; -1: no end is recorded.
    pub jobs: BTreeMap<JobName, i32>,
}

/// A package as dpkg tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageState {
    /// The version; already the new one while half-configured.
    pub version: Version,
    /// Whether it is wholly installed (`?ii`, third letter blank).
    pub installed: bool,
    /// dpkg's three letters, for people.
    pub status: SmolStr,
    /// Held against upgrades.
    pub held: bool,
}

/// A service, and what tells which version it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceState {
    /// Whether it is up.
    pub active: bool,
    /// The manager's own word: `active`, `failed`, `activating`, …
    pub state: SmolStr,
    /// Its main process.
    pub pid: Option<u32>,
    /// How long that process has run, by the host's own clock.
    pub uptime: Option<SignedDuration>,
    /// The process began after the package's files were unpacked; compared on the host.
    pub started_after_unpack: Option<bool>,
    /// Our own stamp of the version, if it is for this very process and boot.
    pub stamped: Option<Version>,
    /// What the role's `running` command printed.
    pub reported: Option<Version>,
}

/// Which version a service runs, and how we know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Running {
    /// This version.
    Version(Version),
    /// Something older than what is installed.
    Older,
    /// Not up.
    Stopped,
    /// Nothing tells.
    Unknown,
}

impl ServiceState {
    /// The version that its stamp, or else its own word, says it runs; none: it is not up, or only its start could tell.
    pub fn said(&self) -> Option<&Version> {
        self.stamped.as_ref().or(self.reported.as_ref()).filter(|_| self.active)
    }

    /// Which version runs: the valid stamp, else the `running` command, else start time against unpack time.
    pub fn running(&self, installed: Option<&Version>) -> Running {
        if !self.active {
            return Running::Stopped;
        }
        if let Some(version) = self.said() {
            return Running::Version(version.clone());
        }
        match (self.started_after_unpack, installed) {
            (Some(true), Some(version)) => Running::Version(version.clone()),
            (Some(false), _) => Running::Older,
            _ => Running::Unknown,
        }
    }
}

/// What the role's probe said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthState {
    /// Well.
    Healthy,
    /// Not well; the answer in one line.
    Unhealthy(String),
}

/// The mark on a host that somebody is working there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Fences older services off.
    pub generation: Generation,
    /// Which service, by its own lasting name.
    pub service: String,
    /// For which environment.
    pub environment: EnvironmentName,
    /// For which commit.
    pub commit: CommitId,
    /// Rows that were drained or in maintenance already when we came: they stay as found.
    pub found: BTreeSet<RowId>,
    /// Since when.
    pub at: Timestamp,
    /// When whoever put it there expects to be done. It is for people alone: a mark that outlives this may be an orphan,
    /// and nobody acts on a host because of it. Ours are taken back by our next life; another service's by a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// A load balancer node as seen in one reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// HAProxy's process: pid and start. A change means a reload, which forgets drains and weights.
    pub process: SmolStr,
    /// Every server row.
    #[serde(with = "crate::keyed")]
    pub rows: BTreeMap<(BackendName, ServerName), Row>,
    /// Backends with cookie persistence or a stick table: they ignore a drain.
    pub sticky: BTreeSet<BackendName>,
    /// Sessions that live in workers from before a reload, by row.
    #[serde(with = "crate::keyed")]
    pub old_sessions: BTreeMap<(BackendName, ServerName), u32>,
    /// The highest generation of our service that changed the node or claimed a host behind it, as it remembers; counted as
    /// a host's.
    #[serde(default)]
    pub last_generation: Option<Generation>,
}

/// One server of one backend on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// HAProxy's word: `UP`, `UP 1/3`, `DOWN`, `DRAIN`, `MAINT`, …
    pub status: SmolStr,
    /// The administrative state.
    pub admin: Admin,
    /// Weight now.
    pub weight: u32,
    /// Sessions and queued requests in the current worker.
    pub sessions: u32,
    /// Its address, without the port.
    pub address: SmolStr,
    /// The last health check.
    pub check: RowCheck,
}

/// What the administrative mask says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Admin {
    /// No bit set.
    Ready,
    /// Drained, by command or inherited.
    Drain,
    /// In maintenance, by command, configuration or inherited.
    Maint,
}

/// What the load balancer's own check said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowCheck {
    /// Good.
    Passed,
    /// Bad.
    Failed,
    /// None has ended since the state changed.
    Pending,
    /// The server is not checked.
    None,
}

impl Row {
    /// Whether it takes new traffic for sure: mask 0, status exactly `UP` (or unchecked), weight above 0.
    pub fn in_rotation(&self) -> bool {
        self.may_take_traffic() && (self.status == "UP" || self.status == "no check")
    }

    /// Whether it may take new traffic: also `UP 1/3`, while HAProxy makes up its mind. Taking it out costs capacity.
    pub fn may_take_traffic(&self) -> bool {
        let up = self.status.starts_with("UP") || self.status == "no check";
        self.admin == Admin::Ready && self.weight > 0 && up
    }
}
