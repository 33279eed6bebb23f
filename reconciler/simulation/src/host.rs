//! A host: packages, processes, stamps, jobs and claims, as dpkg, systemd and the file system keep them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    Action, Activate, Claim, EnvironmentName, Failure, FailureKind, HostName, PackageName, Role, Service,
    ServiceName, Step, StepId, Version,
};

use crate::agent::Agent;
use smol_str::{SmolStr, format_smolstr};

use crate::chance::Chance;
use crate::fence::{Fences, Owner};
use crate::job::Job;

/// Power and network of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// It works.
    Up,
    /// It has no power.
    Down,
    /// It stands still: connections are accepted, nothing is answered, nothing moves.
    Hung,
    /// It works and serves, and ssh does not get there.
    CutOff,
}

/// What stands between our ssh and a machine that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    Good,
    Refused,
    HostKeyChanged,
}

/// What hosts and load balancer nodes have in common.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) link: Link,
    pub(crate) keys: Keys,
    /// Since when commands get there; none: they do not.
    pub(crate) reached_ms: Option<u64>,
    pub(crate) chance: Chance,
    /// What goes astray on the way there.
    pub(crate) mishaps: Chance,
}

impl Machine {
    pub(crate) fn new(seed: u64, name: &HostName) -> Self {
        Self {
            link: Link::Up,
            keys: Keys::Good,
            reached_ms: Some(0),
            chance: Chance::stream(seed, name.as_str()),
            mishaps: Chance::stream(seed, &format!("mishaps of {name}")),
        }
    }

    /// Why a command does not get through now.
    pub(crate) fn obstacle(&self, name: &HostName) -> Option<Failure> {
        let (kind, what) = match (self.link, self.keys) {
            (Link::Down | Link::CutOff, _) => (FailureKind::Unreachable, "no connection"),
            (Link::Hung, _) => (FailureKind::TimedOut, "no answer in time"),
            (Link::Up, Keys::Refused) => (FailureKind::KeyRefused, "Permission denied (publickey)"),
            (Link::Up, Keys::HostKeyChanged) => (FailureKind::HostKeyChanged, "Host key verification failed"),
            (Link::Up, Keys::Good) => return None,
        };
        Some(failure(kind, format!("{name}: {what}")))
    }

    /// Whether anything moves on it.
    pub(crate) fn runs(&self) -> bool {
        matches!(self.link, Link::Up | Link::CutOff)
    }

    /// Keeps in mind since when commands get there.
    pub(crate) fn notes_reach(&mut self, now_ms: u64) {
        let reached = self.link == Link::Up && self.keys == Keys::Good;
        self.reached_ms = if reached { self.reached_ms.or(Some(now_ms)) } else { None };
    }
}

pub(crate) fn failure(kind: FailureKind, what: String) -> Failure {
    Failure { kind, what, detail: String::new() }
}

/// How far dpkg got with a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Unpacked,
    HalfConfigured,
    Installed,
}

/// A package in dpkg's database.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) version: Version,
    pub(crate) phase: Phase,
}

/// A service and its main process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) spec: Service,
    pub(crate) run: Run,
}

/// Whether a service's process is there.
#[derive(Clone, Debug)]
pub(crate) enum Run {
    /// Not there; the manager's word.
    Gone(&'static str),
    /// There.
    Live(Live),
}

/// A living process: what it loaded when it began, and when it is warm.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) pid: u32,
    pub(crate) since_ms: u64,
    pub(crate) version: Version,
    /// Checksums of the patches that it loaded.
    pub(crate) patches: BTreeSet<String>,
    pub(crate) warm_ms: u64,
}

impl Process {
    pub(crate) fn live(&self) -> Option<&Live> {
        match &self.run {
            Run::Live(live) => Some(live),
            Run::Gone(_) => None,
        }
    }
}

/// Our record of the version that a process runs; good for that process and boot alone.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    pub(crate) version: Version,
    pub(crate) boot: u32,
    pub(crate) pid: u32,
    pub(crate) since_ms: u64,
}

/// A managed host, or one of no role: then its role says what it is for, in brackets, and has no services.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) machine: Machine,
    pub(crate) environment: EnvironmentName,
    pub(crate) role: Arc<Role>,
    pub(crate) machine_id: SmolStr,
    pub(crate) boot: u32,
    pub(crate) address: SmolStr,
    pub(crate) packages: BTreeMap<PackageName, Package>,
    pub(crate) unpacked_ms: u64,
    pub(crate) interrupted: bool,
    pub(crate) staged: BTreeMap<PackageName, BTreeSet<Version>>,
    pub(crate) services: BTreeMap<ServiceName, Process>,
    pub(crate) stamps: BTreeMap<ServiceName, Stamp>,
    pub(crate) jobs: BTreeMap<StepId, Job>,
    /// Jobs whose next move fell due while the host stood still.
    pub(crate) frozen: Vec<StepId>,
    pub(crate) claim: Option<Claim>,
    /// The highest generation of each service that ever claimed this host: kept when the claim goes.
    pub(crate) fences: Fences,
    pub(crate) apt_locked: bool,
    pub(crate) disk_full: bool,
    /// Whether one of its sessions will not end by itself at the next drain.
    pub(crate) never_ends: bool,
    /// Whether its application answers checks and probes.
    pub(crate) answering: bool,
    /// Versions that it had or ran, and until when.
    pub(crate) had: Vec<(Version, u64)>,
    /// The version that a job of ours installed last, while nothing else has changed it since.
    pub(crate) installed_by_us: Option<Version>,
    /// Checksums of the patches that its files have.
    pub(crate) patches: BTreeSet<String>,
    /// The configuration agent, where there is one.
    pub(crate) agent: Option<Agent>,
    next_pid: u32,
}

impl Host {
    /// A host on which `version` of its role's packages runs, warm, since before the world began.
    pub(crate) fn running(
        seed: u64,
        name: &HostName,
        environment: &EnvironmentName,
        role: &Arc<Role>,
        version: &Version,
        address: SmolStr,
    ) -> Self {
        let mut machine = Machine::new(seed, name);
        let package = Package { version: version.clone(), phase: Phase::Installed };
        let machine_id = machine.chance.hex40().split_off(8).into();
        let mut host = Self {
            machine,
            environment: environment.clone(),
            role: Arc::clone(role),
            machine_id,
            boot: 1,
            address,
            packages: role.packages.iter().map(|name| (name.clone(), package.clone())).collect(),
            unpacked_ms: 0,
            interrupted: false,
            staged: BTreeMap::new(),
            services: BTreeMap::new(),
            stamps: BTreeMap::new(),
            jobs: BTreeMap::new(),
            frozen: Vec::new(),
            claim: None,
            fences: BTreeMap::new(),
            apt_locked: false,
            disk_full: false,
            never_ends: false,
            answering: true,
            had: Vec::new(),
            installed_by_us: None,
            patches: BTreeSet::new(),
            agent: None,
            next_pid: 400,
        };
        for spec in &role.services {
            let run = Run::Live(host.process(0, 0));
            host.services.insert(spec.name.clone(), Process { spec: spec.clone(), run });
        }
        host
    }

    pub(crate) fn boot_id(&self) -> SmolStr {
        format_smolstr!("{}-{}", &self.machine_id[..8], self.boot)
    }

    /// A new process of what is installed now.
    pub(crate) fn process(&mut self, now_ms: u64, warm_ms: u64) -> Live {
        self.next_pid += 7;
        let version = self.installed().cloned().unwrap_or_else(absent);
        let patches = self.patches.clone();
        Live { pid: self.next_pid, since_ms: now_ms, version, patches, warm_ms }
    }

    /// The version of the role's packages as their files are now; they move together.
    pub(crate) fn installed(&self) -> Option<&Version> {
        self.packages.values().next().map(|package| &package.version)
    }

    /// Whether every package is wholly installed and dpkg's journal is empty.
    pub(crate) fn whole(&self) -> bool {
        !self.interrupted && self.packages.values().all(|package| package.phase == Phase::Installed)
    }

    /// Whether its packages are not wholly installed, or its services do not run them.
    pub(crate) fn is_half_upgraded(&self) -> bool {
        !self.whole() || self.installed().is_some_and(|installed| !self.runs(installed))
    }

    /// Whether somebody has changed the packages so lately that nobody could know.
    pub(crate) fn was_changed_since(&self, noticed_ms: u64) -> bool {
        self.installed_by_us.is_none() && self.unpacked_ms > noticed_ms
    }

    /// Whether exactly these packages are wholly installed.
    pub(crate) fn has(&self, packages: &BTreeMap<PackageName, Version>) -> bool {
        let same = |name: &PackageName, version: &Version| {
            self.packages.get(name).is_some_and(|have| have.version == *version)
        };
        self.whole() && packages.iter().all(|(name, version)| same(name, version))
    }

    pub(crate) fn has_staged(&self, packages: &BTreeMap<PackageName, Version>) -> bool {
        packages
            .iter()
            .all(|(name, version)| self.staged.get(name).is_some_and(|have| have.contains(version)))
    }

    /// A stamp that is for this very process and boot.
    pub(crate) fn valid_stamp(&self, service: &ServiceName) -> Option<&Version> {
        let stamp = self.stamps.get(service)?;
        let live = self.services.get(service)?.live()?;
        let same = stamp.boot == self.boot && stamp.pid == live.pid && stamp.since_ms == live.since_ms;
        same.then_some(&stamp.version)
    }

    /// Whether every service that has to take up new versions runs this one.
    pub(crate) fn runs(&self, version: &Version) -> bool {
        let current = |process: &Process| {
            process.spec.activate == Activate::None
                || process.live().is_some_and(|live| live.version == *version)
        };
        self.services.values().all(current)
    }

    /// The job that runs now. A check that runs beside another job is not told.
    pub(crate) fn running_job(&self) -> Option<&StepId> {
        let running = || self.jobs.iter().filter(|(_, job)| job.is_running());
        running().find(|(_, job)| !job.is_check()).or_else(|| running().next()).map(|(id, _)| id)
    }

    /// Whether a process of a sickly version is one of those that answer.
    pub(crate) fn is_lucky(&self, live: &Live) -> bool {
        let own = self.machine_id.bytes().map(u32::from).sum::<u32>();
        (own + live.pid / 7) % 3 != 0
    }

    /// Whether it belongs to a role of the fleet.
    pub(crate) fn has_role(&self) -> bool {
        !self.role.name.as_str().starts_with('[')
    }

    /// What the guard on the host says to a changing command: older generations and other services are refused.
    pub(crate) fn refuses(&self, name: &HostName, step: &Step, owner: &Owner) -> Option<Failure> {
        let foreign = self
            .claim
            .as_ref()
            .filter(|claim| claim.service != *owner.service || claim.generation > step.generation);
        if let Some(claim) = foreign {
            let what = format!("{name} is claimed by {}, generation {}", claim.service, claim.generation);
            return Some(failure(FailureKind::Superseded, what));
        }
        if let Some(what) = self.fences.get(&owner.service).and_then(|seen| seen.refuses(step, owner)) {
            return Some(failure(FailureKind::Superseded, format!("{name} {what}")));
        }
        let marked = self.claim.as_ref().is_some_and(|claim| claim.generation == step.generation);
        let bare = needs_mark(&step.action) && !marked;
        let absent = self.claim.is_none() && matches!(step.action, Action::Release);
        (bare && !absent).then(|| failure(FailureKind::Superseded, format!("{name} does not carry our mark")))
    }

    /// Power goes: processes and jobs end where they are, and dpkg with them.
    pub(crate) fn lose_power(&mut self) {
        self.machine.link = Link::Down;
        for process in self.services.values_mut() {
            process.run = Run::Gone("inactive");
        }
        for job in self.jobs.values_mut() {
            self.interrupted |= job.die();
        }
        self.frozen.clear();
    }
}

/// What is done on a host itself is done under our own mark; a download changes nothing that is in use.
fn needs_mark(action: &Action) -> bool {
    matches!(
        action,
        Action::Install { .. }
            | Action::Activate { .. }
            | Action::Patch { .. }
            | Action::Migrate { .. }
            | Action::PauseAgent { .. }
            | Action::ResumeAgent { .. }
            | Action::Release
    )
}

fn absent() -> Version {
    Version::parse("0").expect("a digit is a version")
}
