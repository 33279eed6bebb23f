//! What surrounds a release: gates, jobs, a pause, people's exceptions, patches, freezes. For people and programs that
//! ask; nothing is decided by it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use model::{
    CanaryTarget, Desired, Exceptions, Gate, GateName, GateQuestion, History, HostName, HostState, JobKey,
    JobState, Observed, OutTarget, Pause, Role, StageName, Track, Verdict, Version,
};
use serde::{Deserialize, Serialize};

/// What surrounds an environment's release at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Circumstances {
    /// Every gate, by name.
    pub gates: Vec<GateReport>,
    /// Migrations and checks of the versions that are targets now, and whatever runs or failed.
    pub jobs: Vec<JobReport>,
    /// A person's pause, while it lasts.
    pub pause: Option<Pause>,
    /// What people take responsibility for in release.toml.
    pub exceptions: Vec<ExceptionReport>,
    /// Every patch that is wanted or was found on a host.
    pub patches: Vec<PatchReport>,
    /// Each freeze that is open or to come, with its next window.
    pub freezes: Vec<FreezeReport>,
    /// The canary's share as the file has it.
    pub canary: Option<CanaryTarget>,
}

/// What a gate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateReport {
    /// Which.
    pub gate: GateName,
    /// What it says; none: it was not asked yet.
    pub verdict: Option<Verdict>,
    /// What was answered, or why there is no answer.
    pub value: String,
    /// Since when it has said so.
    pub since: Option<Timestamp>,
    /// What is asked.
    pub query: String,
    /// What is green.
    pub threshold: String,
    /// How long it has to be green before it counts.
    pub quiet_for: SignedDuration,
    /// No data counts as green.
    pub no_data_is_green: bool,
    /// Shown, never blocking.
    pub observe: bool,
    /// The stages that it watches over.
    pub stages: Vec<StageName>,
}

/// How a migration or check stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReport {
    /// Which, of which version.
    pub key: JobKey,
    /// The newest attempt, from 1.
    pub attempt: u32,
    /// How it stands.
    pub state: JobState,
}

/// Something in release.toml that a person takes responsibility for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExceptionReport {
    /// Of which kind.
    pub kind: ExceptionKind,
    /// The version, track, host or node that it is about.
    pub what: String,
    /// Why.
    pub reason: String,
    /// How long; none: until it leaves the file.
    pub until: Option<Timestamp>,
    /// Whether it has an effect now: its time is not over, and its version is a target.
    pub in_force: bool,
}

/// The kinds of exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExceptionKind {
    /// Fast mode for one version.
    Emergency,
    /// A version that is only ever moved away from.
    Veto,
    /// Nothing new starts.
    Hold,
    /// A host does not count.
    Out,
    /// A load balancer node is declared free of traffic.
    NodeOut,
    /// Going back past a point of no return.
    Allow,
}

/// A patch, and the hosts that it concerns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchReport {
    /// Names it on hosts.
    pub sha256: String,
    /// Where it lies in the repository; none: it left release.toml.
    pub file: Option<String>,
    /// Why it is there.
    pub reason: String,
    /// Hosts that carry it and should.
    pub applied: Vec<HostName>,
    /// Hosts that it will be applied to.
    pub missing: Vec<HostName>,
    /// Hosts that carry it, should not, and keep their version: it is reverted there.
    pub reverted: Vec<HostName>,
    /// Hosts that carry it and get another version: it goes with the old package.
    pub dropped: Vec<HostName>,
}

/// A freeze's window that is open or comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeReport {
    /// Why.
    pub reason: String,
    /// Its first instant.
    pub from: Timestamp,
    /// The first instant after it.
    pub to: Timestamp,
    /// Whose clock the file uses.
    pub zone: String,
    /// It is on.
    pub open: bool,
}

impl Circumstances {
    /// What surrounds a release, by what is desired, was seen, and is remembered.
    pub fn of(desired: &Desired, observed: &Observed, history: &History, now: Timestamp) -> Self {
        let gates = desired.fleet.policy.gates.iter();
        Self {
            gates: gates.map(|(name, gate)| gate_report(desired, observed, name, gate)).collect(),
            jobs: jobs(desired, history),
            pause: history.progress.pause.clone().filter(|pause| now < pause.until),
            exceptions: exceptions(desired, now),
            patches: patches(desired, observed),
            freezes: freezes(desired, now),
            canary: desired.canary.clone(),
        }
    }
}

fn gate_report(desired: &Desired, observed: &Observed, name: &GateName, gate: &Gate) -> GateReport {
    let (verdict, value, since) = match observed.gates.get(name).map(|fact| (&fact.value, fact.at)) {
        None => (None, String::new(), None),
        Some((Ok(state), _)) => (Some(state.verdict), state.value.clone(), Some(state.since)),
        Some((Err(unknown), at)) => {
            (Some(Verdict::Error), format!("{}: {}", unknown.kind, unknown.detail), Some(at))
        }
    };
    let (query, threshold) = match &gate.asks {
        GateQuestion::Alertmanager { matchers, .. } => (matchers.join(", "), "no such alert".to_owned()),
        GateQuestion::Prometheus { query, threshold, .. } => (query.clone(), threshold.to_string()),
    };
    let stages = desired.fleet.stages();
    let watched = stages.iter().filter(|stage| stage.gates.contains(name));
    GateReport {
        gate: name.clone(),
        verdict,
        value,
        since,
        query,
        threshold,
        quiet_for: gate.quiet_for,
        no_data_is_green: gate.no_data_is_green,
        observe: gate.observe,
        stages: watched.map(|stage| stage.name.clone()).collect(),
    }
}

fn jobs(desired: &Desired, history: &History) -> Vec<JobReport> {
    let is_target = |version: &Version| {
        [Track::Canary, Track::Main].iter().any(|track| desired.target_of(*track) == version)
    };
    let told = history.progress.jobs.iter().filter(|(key, record)| match record.state {
        JobState::Begun { .. } => true,
        JobState::Passed { .. } | JobState::Failed { .. } => is_target(&key.version),
        JobState::Wanted => false,
    });
    told.map(|(key, record)| JobReport {
        key: key.clone(),
        attempt: record.attempt,
        state: record.state.clone(),
    })
    .collect()
}

fn exceptions(desired: &Desired, now: Timestamp) -> Vec<ExceptionReport> {
    let Exceptions { emergency, vetoes, holds, outs, patches: _, allow } = &desired.exceptions;
    let report = |kind, what: String, reason: &str, until: Option<Timestamp>, has_effect: bool| {
        let in_force = has_effect && until.is_none_or(|until| now < until);
        ExceptionReport { kind, what, reason: reason.to_owned(), until, in_force }
    };
    let is_target = |version: &Version| {
        desired.target_of(Track::Main) == version || desired.target_of(Track::Canary) == version
    };
    let mut told = Vec::new();
    told.extend(emergency.iter().map(|it| {
        let effect = is_target(&it.version);
        report(ExceptionKind::Emergency, it.version.to_string(), &it.reason, None, effect)
    }));
    let veto = |it: &model::Veto| report(ExceptionKind::Veto, it.version.to_string(), &it.reason, None, true);
    told.extend(vetoes.iter().map(veto));
    let hold =
        |it: &model::Hold| report(ExceptionKind::Hold, it.scope.to_string(), &it.reason, it.until, true);
    told.extend(holds.iter().map(hold));
    told.extend(outs.iter().map(|it| {
        let (kind, what) = match &it.what {
            OutTarget::Host(host) => (ExceptionKind::Out, host),
            OutTarget::LoadBalancerNode(node) => (ExceptionKind::NodeOut, node),
        };
        report(kind, what.to_string(), &it.reason, it.until, true)
    }));
    told.extend(allow.iter().map(|it| {
        report(ExceptionKind::Allow, it.past_post_migrations_of.to_string(), &it.reason, None, true)
    }));
    told
}

fn patches(desired: &Desired, observed: &Observed) -> Vec<PatchReport> {
    let mut reports: BTreeMap<&str, PatchReport> = BTreeMap::new();
    let in_file = desired.exceptions.patches.iter();
    let known: BTreeMap<&str, &model::Patch> = in_file.map(|patch| (patch.sha256.as_str(), patch)).collect();
    let report = |sha256: &str| PatchReport {
        sha256: sha256.to_owned(),
        file: known.get(sha256).map(|patch| patch.file.clone()),
        reason: known.get(sha256).map_or_else(String::new, |patch| patch.reason.clone()),
        applied: Vec::new(),
        missing: Vec::new(),
        reverted: Vec::new(),
        dropped: Vec::new(),
    };
    for (role, host) in desired.fleet.hosts() {
        let Some(state) = observed.host(host) else { continue };
        let target = desired.target_of(role.track);
        let wanted: BTreeSet<&str> =
            desired.patches(&role.name, target).map(|patch| patch.sha256.as_str()).collect();
        let carried: BTreeSet<&str> = state.patches.iter().map(String::as_str).collect();
        for sha256 in wanted.union(&carried) {
            let report = reports.entry(sha256).or_insert_with(|| report(sha256));
            let list = match (wanted.contains(sha256), carried.contains(sha256)) {
                (true, true) => &mut report.applied,
                (true, false) => &mut report.missing,
                (false, _) if has_installed(role, state, target) => &mut report.reverted,
                (false, _) => &mut report.dropped,
            };
            list.push(host.clone());
        }
    }
    reports.into_values().collect()
}

fn has_installed(role: &Role, state: &HostState, target: &Version) -> bool {
    let package = role.package_version(target, &state.codename);
    let of_role = role.packages.iter().filter_map(|name| state.packages.get(name));
    of_role.into_iter().all(|installed| installed.version == package)
}

fn freezes(desired: &Desired, now: Timestamp) -> Vec<FreezeReport> {
    let windows = desired.fleet.policy.freezes.iter().filter_map(|freeze| {
        let window = freeze.window(now)?;
        Some(FreezeReport {
            reason: freeze.reason.clone(),
            from: window.from,
            to: window.to,
            zone: freeze.zone.clone(),
            open: window.contains(now),
        })
    });
    windows.collect()
}
