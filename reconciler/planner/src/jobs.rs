//! Migrations and checks: jobs that must not run twice, one at a time on each host, found again by their names.

use model::{
    Action, Check, CheckName, CheckRun, Desired, HostName, HostState, JobKey, JobKind, JobName, JobRecord,
    JobState, Reason, RoleName, Stage, StepId, Track, Version,
};

use crate::agent;
use crate::behind::unread;
use crate::lanes::Lane;
use crate::next::{Next, Wait, host_scope};
use crate::position::{claimed_by_other, in_the_way, packages_are_read, seen, under_way};
use crate::survey::{ClaimView, HostView, Survey};
use crate::tuning::WATCH;

/// The exit code of a job whose end is not recorded: see [`HostState::jobs`].
const NO_END: i32 = -1;

/// Something that a lane needs to have run on a host of no role, or over the network.
#[derive(Clone, Debug)]
pub(crate) struct Errand {
    /// Where; of a check over the network, whom it asks.
    pub(crate) host: HostName,
    /// For which release.
    pub(crate) version: Version,
    pub(crate) stage: Stage,
    /// Whether the host must have exactly the version installed.
    installs: bool,
    /// Whether it runs on a host at all.
    on_host: bool,
    pub(crate) action: Action,
}

/// How a job stands.
pub(crate) enum Standing {
    Passed,
    /// It has to be run, or found again.
    Wanted(Box<Errand>),
    /// It failed, or nobody knows.
    Stopped(Reason),
}

/// The migrations of a lane's target, before (`PreMigration`) or after it serves.
pub(crate) fn migration(survey: &Survey<'_>, lane: &Lane<'_>, stage: &Stage, kind: JobKind) -> Standing {
    let Some(migrations) = &survey.desired.fleet.policy.migrations else { return Standing::Passed };
    let job = match kind {
        JobKind::PreMigration => migrations.pre.as_ref(),
        _ => migrations.post.as_ref(),
    };
    let Some(run) = job else { return Standing::Passed };
    let key = JobKey { kind, version: lane.target.clone() };
    if is_done(survey, &key) {
        return Standing::Passed;
    }
    if let Some(step) = later_in_doubt(survey, &key) {
        return Standing::Stopped(Reason::JobInDoubt { step });
    }
    if let Some(reason) = begun_elsewhere(survey, &migrations.host) {
        return Standing::Stopped(reason);
    }
    standing(survey, key, |key, job| Errand {
        host: migrations.host.clone(),
        version: lane.target.clone(),
        stage: stage.clone(),
        installs: true,
        on_host: true,
        action: Action::Migrate { job, key, ready: migrations.ready.clone(), run: run.clone() },
    })
}

/// A migration that began, and of whose end nobody has heard, whether or not it is wanted now: it may run still. It is found
/// again, by its name, before anything else is done there. One that the host does not know of never began.
fn begun_before(survey: &Survey<'_>, state: &HostState) -> Option<Action> {
    let migrations = survey.desired.fleet.policy.migrations.as_ref()?;
    let jobs = survey.history.progress.jobs.iter();
    let begun = jobs.filter(|(_, record)| matches!(record.state, JobState::Begun { .. }));
    let told = begun.map(|(key, record)| (key.clone(), record.attempt));
    told.chain(untold(survey, state)).find_map(|(key, attempt)| {
        let run = match key.kind {
            JobKind::PreMigration => migrations.pre.clone()?,
            JobKind::PostMigration => migrations.post.clone()?,
            JobKind::Check { .. } => return None,
        };
        let job = JobName::new(&survey.desired.environment, &key, attempt);
        let began = state.jobs.contains_key(&job);
        began.then(|| Action::Migrate { job, key, ready: migrations.ready.clone(), run })
    })
}

/// Migrations of which our journal does not know that they began, and their host does: an older service, which nobody has
/// stopped, was quicker than our mark there. They may run still, and how they ended tells how far the database is, where that
/// is not known anyway.
fn untold<'s>(survey: &'s Survey<'_>, state: &'s HostState) -> impl Iterator<Item = (JobKey, u32)> + use<'s> {
    let desired = survey.desired;
    let remembers = !state.jobs.is_empty();
    let keys = desired.versions().filter(move |_| remembers).flat_map(|version| {
        [JobKind::PreMigration, JobKind::PostMigration].map(|kind| JobKey { kind, version: version.clone() })
    });
    let unheard_of = keys.filter_map(|key| match survey.history.progress.jobs.get(&key) {
        None => Some((key, 1)),
        Some(record) => matches!(record.state, JobState::Wanted).then_some((key, record.attempt)),
    });
    unheard_of.filter(|(key, attempt)| {
        let code = state.jobs.get(&JobName::new(&desired.environment, key, *attempt));
        code.is_some_and(|code| *code == NO_END || !is_done(survey, key))
    })
}

/// What was found running counts as migrated, and migrations of a later version cover those of the earlier ones: of skipped
/// versions, and of one that the fleet goes back to.
fn is_done(survey: &Survey<'_>, key: &JobKey) -> bool {
    let progress = &survey.history.progress;
    let early = key.kind == JobKind::PreMigration && progress.found_ahead.contains(&key.version);
    if early || progress.found_running.contains(&key.version) || progress.job_passed(key) {
        return true;
    }
    let covers = |version: &Version| came_later(survey.desired, version, &key.version);
    progress.found_running.iter().any(covers)
        || later_jobs(survey, key).any(|(_, record)| matches!(record.state, JobState::Passed { .. }))
}

/// Migrations of a later version of which nobody knows whether they are done: those of earlier ones must not come after them.
fn later_in_doubt(survey: &Survey<'_>, key: &JobKey) -> Option<StepId> {
    let (later, record) = later_jobs(survey, key).find(|(_, record)| record.is_in_doubt())?;
    Some(StepId::new(JobName::new(&survey.desired.environment, later, record.attempt).as_str()))
}

/// A migration that was begun on a host that runs none any more: it may run still, and is not found from here. One that later
/// ones cover is over: its host was asked for it before those ran.
fn begun_elsewhere(survey: &Survey<'_>, host: &HostName) -> Option<Reason> {
    let is_elsewhere = |(key, record): &(&JobKey, &JobRecord)| {
        let migrates = matches!(key.kind, JobKind::PreMigration | JobKind::PostMigration);
        let begun = matches!(record.state, JobState::Begun { .. });
        let may_run =
            migrates && begun && (survey.history.job_under_way(key).is_some() || !is_done(survey, key));
        may_run && record.host.as_ref().is_some_and(|begun_on| begun_on != host)
    };
    let (key, record) = survey.history.progress.jobs.iter().find(is_elsewhere)?;
    Some(match survey.history.job_under_way(key).map(|in_flight| &in_flight.step) {
        Some(step) => Reason::InFlight { step: step.id.clone(), action: step.action.kind() },
        None => {
            let job = JobName::new(&survey.desired.environment, key, record.attempt);
            Reason::JobInDoubt { step: StepId::new(job.as_str()) }
        }
    })
}

/// What is known of such jobs of versions that came later in git.
fn later_jobs<'a>(survey: &Survey<'a>, key: &JobKey) -> impl Iterator<Item = (&'a JobKey, &'a JobRecord)> {
    let jobs = survey.history.progress.jobs.iter();
    jobs.filter(move |(other, _)| {
        other.kind == key.kind && came_later(survey.desired, &other.version, &key.version)
    })
}

/// Whether git knew a version after another one, which it knows as well.
pub(crate) fn came_later(desired: &Desired, version: &Version, than: &Version) -> bool {
    let rank = |version| desired.rank(version);
    rank(than).is_some_and(|than| rank(version).is_some_and(|rank| rank > than))
}

/// A check after a stage.
pub(crate) fn check(
    survey: &Survey<'_>,
    lane: &Lane<'_>,
    stage: &Stage,
    name: &CheckName,
    check: &Check,
) -> Standing {
    let kind = JobKind::Check { stage: stage.name.clone(), check: name.clone() };
    let key = JobKey { kind, version: lane.target.clone() };
    let (host, on_host) = match &check.how {
        CheckRun::Command { host, .. } => (host.clone(), true),
        CheckRun::Http { url } => (HostName::new(authority(url)), false),
        CheckRun::GitlabPipeline { project, .. } => (HostName::new(project.as_str()), false),
    };
    standing(survey, key, |key, job| Errand {
        host,
        version: lane.target.clone(),
        stage: stage.clone(),
        installs: false,
        on_host,
        action: Action::Check { job, key, track: lane.track, check: check.clone() },
    })
}

fn standing(survey: &Survey<'_>, key: JobKey, errand: impl FnOnce(JobKey, JobName) -> Errand) -> Standing {
    let first = JobRecord { attempt: 1, state: JobState::Wanted, began: None, host: None };
    let record = survey.history.progress.jobs.get(&key).unwrap_or(&first);
    let job = JobName::new(&survey.desired.environment, &key, record.attempt);
    match &record.state {
        JobState::Passed { .. } => Standing::Passed,
        JobState::Wanted | JobState::Begun { .. } => Standing::Wanted(Box::new(errand(key, job))),
        JobState::Failed { .. } if record.is_in_doubt() => {
            Standing::Stopped(Reason::JobInDoubt { step: StepId::new(job.as_str()) })
        }
        JobState::Failed { failure, .. } => {
            let failure = failure.clone();
            Standing::Stopped(match key.kind {
                JobKind::Check { .. } => Reason::CheckFailed { key, failure },
                JobKind::PreMigration | JobKind::PostMigration => Reason::MigrationFailed { key, failure },
            })
        }
    }
}

/// Host and port of an address, for people.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// The configuration agent is told a track's new version before anything of it is deployed.
pub(crate) fn pin(survey: &Survey<'_>, lane: &Lane<'_>, stage: &Stage) -> Option<Errand> {
    let policy = &survey.desired.fleet.policy;
    let command = policy.config_agent.as_ref()?.pin.as_ref()?;
    let host = policy.migrations.as_ref()?.host.clone();
    let by_track = command.0.iter().any(|word| word.contains("{track}"));
    let told = survey.history.progress.pinned.get(&lane.track) == Some(lane.target);
    let silent = told || (lane.track == Track::Canary && !by_track);
    (!silent).then(|| Errand {
        host,
        version: lane.target.clone(),
        stage: stage.clone(),
        installs: false,
        on_host: true,
        action: Action::Pin { track: lane.track, command: command.clone() },
    })
}

/// What a host of no role needs next: to be let go, or, with an errand, to be brought to where that can run.
pub(crate) fn next(survey: &Survey<'_>, host: &HostView<'_>, errand: Option<&Errand>) -> Next {
    if let Some(in_flight) = host.in_flight {
        return Next::Wait(under_way(survey, in_flight));
    }
    if errand.is_none() && !host.claim.is_ours() {
        return Next::Done;
    }
    let state = match seen(host) {
        Ok(state) => state,
        Err(wait) => return Next::Wait(wait),
    };
    if let Some(step) = &state.job {
        // Begun before a restart of the service: whatever is wanted now, nobody starts or lets go beside it.
        let wait = Wait::new(Reason::JobRunning { step: step.clone() });
        return Next::Wait(wait.watching_for_change(host_scope(host), WATCH));
    }
    match host.claim {
        ClaimView::Other(claim) => {
            return Next::Wait(claimed_by_other(survey, claim));
        }
        ClaimView::None | ClaimView::Ours { current: false, .. } => {
            let found = std::collections::BTreeSet::new();
            return Next::Step(Action::Claim { found }, "our mark, while we work there");
        }
        ClaimView::Ours { current: true, .. } => {}
    }
    let begun = begun_before(survey, state);
    let version = errand.map_or(&survey.desired.target, |errand| &errand.version);
    let blocked = in_the_way(survey, host, version).filter(|_| begun.is_some() || errand.is_some());
    match (blocked, begun, errand) {
        (Some(wait), ..) => Next::Wait(wait),
        (None, Some(action), _) => Next::Step(action, "how it ended has to be known first"),
        (None, None, Some(errand)) => {
            agent::quiet(survey, host, state).unwrap_or_else(|| run(survey, host, state, errand))
        }
        (None, None, None) => agent::released(survey, host, "done here"),
    }
}

/// Migrations run with exactly the packages of their version.
fn run(survey: &Survey<'_>, host: &HostView<'_>, state: &HostState, errand: &Errand) -> Next {
    if let Err(wait) = if errand.installs { packages_are_read(survey, host) } else { Ok(()) } {
        return Next::Wait(wait);
    }
    let package = host.package_for(&errand.version, state);
    if errand.installs && !host.has_installed(state, &package) {
        let packages = host.packages_at(&package);
        let action = Action::Install { packages, prepare: Vec::new(), configure: Vec::new() };
        return Next::Step(action, "exactly the version whose migrations run");
    }
    if let Some(wait) = before_no_return(survey, host, errand) {
        return Next::Wait(wait);
    }
    Next::Step(errand.action.clone(), why(&errand.action))
}

/// Post-deployment migrations come last: when our mark is there, and the package.
fn before_no_return(survey: &Survey<'_>, host: &HostView<'_>, errand: &Errand) -> Option<Wait> {
    let (_, key) = errand.action.job().filter(|(_, key)| key.kind == JobKind::PostMigration)?;
    let ready = survey.history.last_action.get(host.name).copied();
    unread(survey, &key.version, ready)
}

/// What a check over the network needs next.
pub(crate) fn over_network(survey: &Survey<'_>, errand: &Errand) -> Next {
    let key = errand.action.job().map(|(_, key)| key);
    if let Some(in_flight) = key.and_then(|key| survey.history.job_under_way(key)) {
        return Next::Wait(under_way(survey, in_flight));
    }
    let trouble = survey.history.trouble(&errand.host, &errand.version);
    if let Some(trouble) = trouble.filter(|trouble| survey.now < trouble.until) {
        let (action, failure, times, until) =
            (trouble.action, trouble.failure.clone(), trouble.times, trouble.until);
        return Next::Wait(Wait::new(Reason::Backoff { action, failure, times, until }).until(until));
    }
    Next::Step(errand.action.clone(), why(&errand.action))
}

fn why(action: &Action) -> &'static str {
    match action {
        Action::Check { .. } => "test the release",
        Action::Pin { .. } => "the configuration agent must not undo it",
        _ => "once for this version",
    }
}

impl Errand {
    /// Why its host does not try it any more, if so.
    pub(crate) fn halted(&self, survey: &Survey<'_>) -> Option<Wait> {
        let host = survey.workers.iter().find(|host| *host.name == self.host)?;
        in_the_way(survey, host, &self.version).filter(Wait::is_halted)
    }

    /// Whether it runs on a host that we can look at.
    pub(crate) fn is_on_host(&self) -> bool {
        self.on_host
    }

    /// What its host is to the plan, where it has no role.
    pub(crate) fn role(&self) -> RoleName {
        RoleName::new(match self.action {
            Action::Check { .. } => "(checks)",
            _ => "(migrations)",
        })
    }
}
