//! What people and programs are shown of the running service.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{
    Commit, Desired, EnvironmentName, Generation, HealthState, History, HostName, InFlight, Observed, Plan,
    Reason, Role, RoleName, Run, Running, StageName, Standing, Subject, Track, Version, Waiting,
};
use serde::{Deserialize, Serialize};

use crate::circumstances::Circumstances;
use crate::linter::Finding;

/// The form of [`Report`] as JSON; grows when a field changes its meaning.
pub const REPORT_FORMAT: u32 = 1;

/// The whole service at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`REPORT_FORMAT`].
    pub format: u32,
    /// When.
    pub at: Timestamp,
    /// The service's own lasting name.
    pub service: String,
    /// Its generation.
    pub generation: Generation,
    /// The commit in force; none: no valid one was ever read.
    pub commit: Option<Commit>,
    /// When git was last read.
    pub read_at: Option<Timestamp>,
    /// Why the remote's head is not in force.
    pub obstacle: Option<Reason>,
    /// Every error of an invalid head.
    pub errors: Vec<String>,
    /// Why the journal cannot be written; nothing starts then.
    pub journal_error: Option<String>,
    /// Hosts that left the repository while no service ran, alone or with their environment, and still carry our mark. Nobody
    /// lets go of these: what stood in the repository is not in the journal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_behind: BTreeMap<EnvironmentName, BTreeSet<HostName>>,
    /// Every environment.
    pub environments: BTreeMap<EnvironmentName, EnvironmentReport>,
}

/// One environment at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentReport {
    /// How it stands.
    pub standing: Standing,
    /// Promises that the newest plan would break: a bug, and nothing of that plan begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_plan: Vec<Finding>,
    /// The newest plan, without what is due to be read later.
    pub plan: Plan,
    /// Steps under way.
    pub in_flight: Vec<InFlight>,
    /// Every host, in the order of the file.
    pub hosts: Vec<HostReport>,
    /// When actual last equalled desired, at the commit in force.
    pub converged_at: Option<Timestamp>,
    /// Gates, jobs, a pause, exceptions, patches, freezes.
    #[serde(flatten)]
    pub circumstances: Circumstances,
}

impl EnvironmentReport {
    /// An environment as a plan has it, at `now`. Whether the plan is refused is for whoever made it to say.
    pub fn new(
        desired: &Desired,
        observed: &Observed,
        history: &History,
        plan: Plan,
        now: Timestamp,
    ) -> Self {
        let commit = &desired.commit.id;
        let converged = history.converged.as_ref().filter(|(converged, _)| converged == commit);
        Self {
            standing: plan.standing(!history.in_flight.is_empty()),
            refused_plan: Vec::new(),
            // What the service itself will read when is nobody else's business, and long for a large fleet.
            plan: Plan { due: Vec::new(), ..plan },
            in_flight: history.in_flight.values().cloned().collect(),
            hosts: host_reports(desired, observed),
            converged_at: converged.map(|(_, at)| *at),
            circumstances: Circumstances::of(desired, observed, history, now),
        }
    }

    /// The one reason that matters: for a host its own, else its role's, its stage's, its track's; else, and for the
    /// whole environment, the primary one. None: nothing waits.
    pub fn explain<'a>(&'a self, host: Option<&HostName>) -> Option<&'a Waiting> {
        let of = |subject: &Subject| self.plan.waiting.iter().find(|waiting| waiting.subject == *subject);
        let Some(host) = host else { return self.plan.waiting.first() };
        let report = self.hosts.iter().find(|report| report.host == *host);
        // That an earlier stage comes first says nothing where it is known what that one, or its track, waits for.
        let of_track = || of(&Subject::Track(report?.track));
        let at_the_root = |waiting: &'a Waiting| match &waiting.reason {
            Reason::EarlierStage { stage } => {
                of(&Subject::Stage(stage.clone())).or_else(of_track).unwrap_or(waiting)
            }
            _ => waiting,
        };
        of(&Subject::Host(host.clone()))
            .or_else(|| of(&Subject::Role(report?.role.clone())))
            .or_else(|| of(&Subject::Stage(report?.stage.clone()?)).map(at_the_root))
            .or_else(of_track)
            .or_else(|| self.plan.waiting.first())
    }
}

/// One host at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// Which.
    pub host: HostName,
    /// Its role.
    pub role: RoleName,
    /// Which target it follows.
    #[serde(default)]
    pub track: Track,
    /// The stage that deploys it.
    #[serde(default)]
    pub stage: Option<StageName>,
    /// When it was last seen, or looked for.
    pub seen_at: Option<Timestamp>,
    /// The installed version of its first package.
    pub installed: Option<Version>,
    /// What its first service runs, in words.
    pub running: String,
    /// Its health, in words.
    pub health: String,
    /// Load balancer rows in rotation, of all it has.
    pub in_rotation: (usize, usize),
    /// Whether our mark is on it.
    pub claimed: bool,
}

/// Describes every host of an environment.
pub fn host_reports(desired: &Desired, observed: &Observed) -> Vec<HostReport> {
    let stages: BTreeMap<&RoleName, StageName> =
        desired.fleet.roles.iter().filter_map(|role| Some((&role.name, stage_of(desired, role)?))).collect();
    let hosts = desired.fleet.hosts();
    hosts
        .map(|(role, host)| HostReport {
            stage: stages.get(&role.name).cloned(),
            ..host_report(desired, observed, role, host)
        })
        .collect()
}

/// The stage that deploys a role.
fn stage_of(desired: &Desired, role: &Role) -> Option<StageName> {
    let stages = desired.fleet.stages();
    let deploys = |run: &Run| matches!(run, Run::Deploy { roles, .. } if roles.contains(&role.name));
    stages
        .iter()
        .find(|stage| stage.track == role.track && deploys(&stage.run))
        .map(|stage| stage.name.clone())
}

fn host_report(desired: &Desired, observed: &Observed, role: &Role, host: &HostName) -> HostReport {
    let fact = observed.hosts.get(host);
    let state = fact.and_then(model::Fact::known);
    let package = role.packages.first().and_then(|name| state?.packages.get(name));
    let service = role.services.first().and_then(|service| state?.services.get(&service.name));
    let running = service.map(|service| service.running(package.map(|package| &package.version)));
    let health = match fact.map(|fact| &fact.value) {
        None => "not seen yet".to_owned(),
        Some(Err(unknown)) => format!("{}: {}", unknown.kind, unknown.detail),
        Some(Ok(state)) => match &state.health {
            HealthState::Healthy => "healthy".to_owned(),
            HealthState::Unhealthy(answer) => format!("unhealthy: {answer}"),
        },
    };
    HostReport {
        host: host.clone(),
        role: role.name.clone(),
        track: role.track,
        stage: None,
        seen_at: fact.map(|fact| fact.at),
        installed: package.map(|package| package.version.clone()),
        running: running.map_or_else(|| "-".to_owned(), |running| running_text(&running)),
        health,
        in_rotation: rotation(desired, observed, role, host),
        claimed: state.is_some_and(|state| state.claim.is_some()),
    }
}

fn running_text(running: &Running) -> String {
    match running {
        Running::Version(version) => version.to_string(),
        Running::Older => "older than installed".to_owned(),
        Running::Stopped => "stopped".to_owned(),
        Running::Unknown => "unknown".to_owned(),
    }
}

/// Rows in rotation, and all rows.
fn rotation(desired: &Desired, observed: &Observed, role: &Role, host: &HostName) -> (usize, usize) {
    let mut count = (0, 0);
    for backend in &role.backends {
        let Some(lb) = desired.fleet.load_balancer(&backend.load_balancer) else { continue };
        let key = (backend.backend.clone(), lb.server(host));
        for node in &lb.nodes {
            let row = observed.node(node).and_then(|state| state.rows.get(&key));
            count.0 += usize::from(row.is_some_and(model::Row::in_rotation));
            count.1 += 1;
        }
    }
    count
}
