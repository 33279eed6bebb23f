//! The whole state of a simulated world, and its movement through time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use model::{
    Desired, EnvironmentName, Failure, FailureKind, Fleet, HostName, JobName, PackageName, RowCheck,
    StageName, Step, StepId, Track, Version,
};

use crate::balancer::{Node, RowKey};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::database::Database;
use crate::host::{Host, Link, Machine, Process, Run, failure};
use crate::invariants::Violation;
use crate::job::{Job, disk_full};
use crate::law::Law;
use crate::named::Named;
use crate::outside::{GateId, Gauges};
use crate::pace::Pace;
use crate::proof::Mishaps;
use crate::tally::Tally;

/// What a package version is like. Keyed by the version as dpkg knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// Whether a source of the hosts has it.
    pub published: bool,
    /// Whether its installation succeeds.
    pub installs: bool,
    /// Whether its services start.
    pub activates: bool,
    /// Whether they ever become healthy.
    pub healthy: bool,
    /// Whether one start in three is no good: the process never answers, and the next one may.
    pub sickly: bool,
}

impl Release {
    /// A version that works.
    pub const GOOD: Self =
        Self { published: true, installs: true, activates: true, healthy: true, sickly: false };
    /// A version that starts and never becomes healthy.
    pub const NEVER_HEALTHY: Self = Self { healthy: false, ..Self::GOOD };
    /// A version that now and then starts and never becomes healthy.
    pub const SICKLY: Self = Self { sickly: true, ..Self::GOOD };
    /// A version whose installation fails.
    pub const NOT_INSTALLABLE: Self = Self { installs: false, ..Self::GOOD };
    /// A version whose services do not start.
    pub const NOT_STARTING: Self = Self { activates: false, ..Self::GOOD };
    /// A version that exists in no source.
    pub const NOWHERE: Self = Self { published: false, ..Self::GOOD };
}

/// One thing that happened in the world, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceLine {
    /// When.
    pub at: Timestamp,
    /// To which host or load balancer node.
    pub place: HostName,
    /// What.
    pub what: String,
}

impl std::fmt::Display for TraceLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:<12} {}", self.at.strftime("%H:%M:%S%.3f"), self.place, self.what)
    }
}

/// Something that will happen by itself.
#[derive(Clone, Debug)]
pub(crate) enum Due {
    Job { host: HostName, step: StepId },
    Booted { host: HostName, boot: u32 },
    Warm { host: HostName },
    Checked { node: HostName, row: RowKey, epoch: u64 },
    Remote { job: JobName },
    Agent { host: HostName },
    Flap { gate: GateId, epoch: u64 },
    Share { node: HostName },
}

/// What will happen, in order of time; things of one instant in the order in which they were foreseen.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    entries: BTreeMap<(u64, u64), Due>,
    pushed: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at_ms: u64, due: Due) {
        self.pushed += 1;
        self.entries.insert((at_ms, self.pushed), due);
    }

    fn pop_until(&mut self, until_ms: u64) -> Option<(u64, Due)> {
        let entry = self.entries.first_entry().filter(|entry| entry.key().0 <= until_ms)?;
        let at_ms = entry.key().0;
        Some((at_ms, entry.remove()))
    }
}

/// Everything.
#[derive(Debug)]
pub(crate) struct State {
    /// Since when the service is able to work; none: its process is gone or stands still, or its journal refuses.
    pub(crate) works_ms: Option<u64>,
    /// Nodes on which the service was found to have nothing to do, and until when; none: it still has not.
    pub(crate) leaves_alone: BTreeMap<HostName, Option<u64>>,
    pub(crate) clock: Clock,
    pub(crate) seed: u64,
    pub(crate) pace: Pace,
    /// Luck that is no machine's.
    pub(crate) chance: Chance,
    /// As the world was built.
    pub(crate) fleets: BTreeMap<EnvironmentName, Arc<Fleet>>,
    /// Releases whose migrations are done: they ran before the world began, or were judged so once. A commit that goes
    /// from the history takes no migration with it.
    pub(crate) migrated: BTreeMap<EnvironmentName, BTreeSet<Version>>,
    /// Package versions that a service ever ran.
    pub(crate) ran: BTreeMap<EnvironmentName, BTreeSet<Version>>,
    pub(crate) law: Option<Law>,
    pub(crate) now_ms: u64,
    pub(crate) hosts: BTreeMap<HostName, Host>,
    pub(crate) nodes: BTreeMap<HostName, Node>,
    pub(crate) releases: BTreeMap<Version, Release>,
    /// What the archive of packages offers.
    pub(crate) offered: BTreeSet<Version>,
    pub(crate) databases: BTreeMap<EnvironmentName, Database>,
    pub(crate) named: Named,
    /// When each step was decided, whenever it got anywhere.
    pub(crate) decided_ms: BTreeMap<StepId, u64>,
    pub(crate) gauges: Gauges,
    /// Patches that fit nowhere, by checksum.
    pub(crate) misfits: BTreeSet<String>,
    /// What the configuration management was told.
    pub(crate) pinned: BTreeMap<(EnvironmentName, Track), Version>,
    /// The canary's desired share, with when the world first saw it, in percent.
    pub(crate) canary_weights: BTreeMap<EnvironmentName, Vec<(u64, u8)>>,
    /// When a stage was first seen to begin something with a version.
    pub(crate) stages: BTreeMap<(EnvironmentName, StageName, Version), Timestamp>,
    pub(crate) queue: Queue,
    pub(crate) traced: bool,
    pub(crate) trace: Vec<TraceLine>,
    pub(crate) violations: Vec<Violation>,
    /// Effects of ours.
    pub(crate) changes: u64,
    /// Processes of services so far.
    pub(crate) processes: u64,
    /// Sessions that broke because their server went away.
    pub(crate) lost_sessions: u64,
    /// The network's luck.
    pub(crate) mishaps: Mishaps,
    pub(crate) tally: Tally,
}

impl State {
    /// Lets everything happen that was due until now.
    pub(crate) fn catch_up(&mut self) {
        let until_ms = self.clock.now_ms();
        while let Some((at_ms, due)) = self.queue.pop_until(until_ms) {
            self.now_ms = self.now_ms.max(at_ms);
            self.occur(due);
        }
        self.now_ms = self.now_ms.max(until_ms);
    }

    fn occur(&mut self, due: Due) {
        match due {
            Due::Job { host, step } => self.job_moves(&host, &step),
            Due::Booted { host, boot } => self.booted(&host, boot),
            Due::Warm { host } => self.app_may_change(&host),
            Due::Checked { node, row, epoch } => self.checked(&node, &row, epoch),
            Due::Remote { job } => self.remote_ends(&job),
            Due::Agent { host } => self.agent_runs(&host),
            Due::Flap { gate, epoch } => self.flapped(&gate, epoch),
            Due::Share { node } => self.share_is_due(&node),
        }
    }

    /// What happened on a load balancer until then had to be known to whoever decided a step.
    pub(crate) fn had_to_know_ms(&self, step: &Step) -> u64 {
        self.decided_at_ms(step).saturating_sub(self.pace.floor_blind_ms)
    }

    /// When the service set out to do a step; what happened after that it could not know.
    pub(crate) fn decided_at_ms(&self, step: &Step) -> u64 {
        self.decided_ms.get(&step.id).copied().unwrap_or(self.now_ms)
    }

    /// What the commit that wants a step says, when the world was told where commits come from.
    pub(crate) fn law_of(&mut self, step: &Step) -> Option<Arc<Desired>> {
        self.law.as_mut()?.of(step)
    }

    /// A number that no process of a service has had.
    pub(crate) fn next_process(&mut self) -> u64 {
        self.processes += 1;
        self.processes
    }

    /// Writes a line for people, when anybody reads them.
    pub(crate) fn note(&mut self, place: &HostName, what: impl FnOnce() -> String) {
        if self.traced {
            self.trace.push(TraceLine { at: self.clock.at(self.now_ms), place: place.clone(), what: what() });
        }
    }

    pub(crate) fn release(&self, version: &Version) -> Release {
        self.releases.get(version).copied().unwrap_or(Release::GOOD)
    }

    pub(crate) fn machine(&self, name: &HostName) -> Option<&Machine> {
        let host = self.hosts.get(name).map(|host| &host.machine);
        host.or_else(|| self.nodes.get(name).map(|node| &node.machine))
    }

    pub(crate) fn machine_mut(&mut self, name: &HostName) -> Option<&mut Machine> {
        let host = self.hosts.get_mut(name).map(|host| &mut host.machine);
        host.or_else(|| self.nodes.get_mut(name).map(|node| &mut node.machine))
    }

    /// Who holds apt's lock: somebody else, or another job.
    pub(crate) fn apt_lock(&self, name: &HostName) -> Option<Failure> {
        let locked =
            self.hosts.get(name).is_some_and(|host| host.apt_locked || host.jobs.values().any(Job::unpacks));
        let what =
            || format!("{name}: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4711");
        locked.then(|| failure(FailureKind::PackageLocked, what()))
    }

    /// Whether packages can be fetched to a host.
    pub(crate) fn obtainable(
        &self,
        name: &HostName,
        packages: &BTreeMap<PackageName, Version>,
    ) -> Result<(), Failure> {
        if self.hosts.get(name).is_some_and(|host| host.disk_full) {
            return Err(disk_full(name));
        }
        match packages.iter().find(|(_, version)| !self.release(version).published) {
            Some((package, version)) => {
                let what = format!("{name}: Version '{version}' for '{package}' was not found");
                Err(failure(FailureKind::VersionNotFound, what))
            }
            None => Ok(()),
        }
    }

    /// Power came back some time ago: services start with what is installed.
    fn booted(&mut self, name: &HostName, boot: u32) {
        let (now_ms, warm_up) = (self.now_ms, self.pace.warm_up);
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.boot == boot) else { return };
        host.machine.link = Link::Up;
        let warm_ms = now_ms + host.machine.chance.ms(warm_up);
        let services: Vec<_> = host.services.keys().cloned().collect();
        for service in services {
            let live = host.process(now_ms, warm_ms);
            if let Some(process) = host.services.get_mut(&service) {
                process.run = Run::Live(live);
            }
        }
        self.queue.push(warm_ms, Due::Warm { host: name.clone() });
        self.keeps_what_runs(name);
        self.note(name, || "has booted".to_owned());
        self.app_may_change(name);
    }

    /// Whatever happens later: it has run.
    pub(crate) fn keeps_what_runs(&mut self, name: &HostName) {
        let Some(host) = self.hosts.get(name) else { return };
        let live = host.services.values().filter_map(Process::live).map(|live| live.version.clone());
        self.ran.entry(host.environment.clone()).or_default().extend(live);
    }

    /// Whether the application on a host answers now.
    fn answers(&self, host: &Host) -> bool {
        let well = |live: &crate::host::Live| {
            let release = self.release(&live.version);
            let lucky = !release.sickly || host.is_lucky(live);
            live.warm_ms <= self.now_ms && release.healthy && lucky
        };
        host.machine.runs() && host.services.values().all(|process| process.live().is_some_and(well))
    }

    /// Something happened to a host's application: load balancers will find out by their checks.
    pub(crate) fn app_may_change(&mut self, name: &HostName) {
        let Some(host) = self.hosts.get(name) else { return };
        let answers = self.answers(host);
        if answers == host.answering {
            return;
        }
        if let Some(host) = self.hosts.get_mut(name) {
            host.answering = answers;
        }
        self.note(name, || if answers { "answers".to_owned() } else { "does not answer".to_owned() });
        let checks = if answers { self.pace.rise } else { self.pace.fall };
        for (node, key) in self.rows_of(name) {
            self.check_later(&node, &key, checks);
        }
    }

    /// A row's next verdict comes after so many checks, the first of them within one interval.
    pub(crate) fn check_later(&mut self, node: &HostName, key: &RowKey, checks: u64) {
        let (now_ms, every_ms) = (self.now_ms, self.pace.check_ms);
        let Some(node_state) = self.nodes.get_mut(node) else { return };
        let Some(row) = node_state.rows.get_mut(key) else { return };
        let first_ms = 1 + node_state.machine.chance.below(every_ms);
        let at_ms = now_ms + first_ms + every_ms * checks.saturating_sub(1);
        row.epoch += 1;
        row.pending_ms = Some((now_ms, at_ms));
        let due = Due::Checked { node: node.clone(), row: key.clone(), epoch: row.epoch };
        self.queue.push(at_ms, due);
    }

    fn checked(&mut self, node: &HostName, key: &RowKey, epoch: u64) {
        let now_ms = self.now_ms;
        let Some(node_state) = self.nodes.get_mut(node).filter(|node| node.passes_traffic()) else { return };
        let Some(row) = node_state.rows.get_mut(key).filter(|row| row.epoch == epoch) else { return };
        let answering = self.hosts.get(&row.host).is_some_and(|host| host.answering);
        let served = row.takes_traffic();
        row.pending_ms = None;
        row.up = answering;
        row.check = if answering { RowCheck::Passed } else { RowCheck::Failed };
        if served && !row.takes_traffic() {
            row.lost_ms = Some(now_ms);
        }
        let status = row.status(now_ms);
        self.settle(node, key);
        self.note(node, || format!("{}/{} is {status}", key.0, key.1));
    }

    /// Brings a row's sessions in line with its state.
    pub(crate) fn settle(&mut self, node: &HostName, key: &RowKey) {
        let now_ms = self.now_ms;
        let Some(state) = self.nodes.get_mut(node) else { return };
        let sticky = state.sticky.contains(&key.0);
        let Some(row) = state.rows.get_mut(key) else { return };
        let Some(host) = self.hosts.get_mut(&row.host) else { return };
        let left = row.settle(now_ms, &mut host.machine.chance, &self.pace, sticky, host.never_ends);
        if left && row.track == Track::Main && self.law.is_some() {
            self.share_will_be_judged(node);
        }
    }

    /// A host's processes end: so do all its sessions, in every worker.
    pub(crate) fn sessions_break(&mut self, name: &HostName) {
        let now_ms = self.now_ms;
        for (node, key) in self.rows_of(name) {
            let Some(node) = self.nodes.get_mut(&node) else { continue };
            let old = node.old_ends_ms.remove(&key).unwrap_or_default();
            let mut broken = old.into_iter().filter(|end| *end > now_ms).count();
            if let Some(row) = node.rows.get_mut(&key) {
                broken += usize::try_from(row.break_sessions(now_ms)).unwrap_or(0);
            }
            self.lost_sessions += u64::try_from(broken).unwrap_or(0);
        }
    }

    /// Every row of a host, on every node.
    pub(crate) fn rows_of(&self, name: &HostName) -> Vec<(HostName, RowKey)> {
        let mut rows = Vec::new();
        for (node, state) in &self.nodes {
            let of_host = state.rows.iter().filter(|(_, row)| row.host == *name);
            rows.extend(of_host.map(|(key, _)| (node.clone(), key.clone())));
        }
        rows
    }
}
