//! What begins something new, and what people, time and the outside world say against it.

use jiff::{SignedDuration, Timestamp};
use model::{
    Action, Direction, Event, Fact, GATE_GAP, Gate, HostName, InFlightAtFreeze, JobKey, JobKind, JobState,
    Stage, StageName, Step, Track, TrackProgress, Verdict, Version,
};

use super::evidence::{Evidence, Mark};
use super::jobs::has_reached;
use super::{Findings, Promise};

pub(super) fn lint(evidence: &Evidence<'_>, found: &mut Findings) {
    for step in evidence.plan.steps.iter().filter(|step| is_new(evidence, step)) {
        let tracks = tracks(evidence, step);
        by_people(evidence, step, &tracks, found);
        past_the_point_of_no_return(evidence, step, &tracks, found);
        if goes_forward(evidence, step, &tracks) && !takes_a_pin_back(evidence, step) {
            is_frozen(evidence, step, found);
            failed_check(evidence, step, found);
            gates(evidence, step, found);
        }
    }
    for event in &evidence.plan.records {
        if let Event::StagePassed { stage, version, .. } = event {
            passed(evidence, stage, version, found);
        }
    }
}

/// The first mark on a host, what is fetched for it, and what runs once. A mark that only gives a configuration agent
/// back, and a job that is found again, are not new.
fn is_new(evidence: &Evidence<'_>, step: &Step) -> bool {
    let unmarked = || matches!(evidence.mark(&step.host), Mark::None);
    match &step.action {
        Action::Claim { .. } => unmarked() && !evidence.agent_is_paused(&step.host),
        Action::Download { .. } => unmarked() && evidence.fleet_role(step).is_some(),
        Action::Migrate { .. } | Action::Check { .. } => !evidence.is_found_again(step),
        Action::Pin { .. } => true,
        _ => false,
    }
}

/// The tracks on whose way a step may be: its role's or its action's; of a host of no role, every one with its version.
fn tracks<'a>(evidence: &Evidence<'a>, step: &Step) -> Vec<&'a TrackProgress> {
    let own: Option<Track> = match &step.action {
        Action::Check { track, .. } | Action::Pin { track, .. } => Some(*track),
        _ => evidence.fleet_role(step).map(|role| role.track),
    };
    let is_it =
        |track: &&TrackProgress| own.is_none_or(|own| own == track.track) && track.target == step.version;
    evidence.plan.tracks.iter().filter(is_it).collect()
}

/// Forward for sure, and not in fast mode.
fn goes_forward(evidence: &Evidence<'_>, step: &Step, tracks: &[&TrackProgress]) -> bool {
    let forward = tracks.iter().all(|track| track.direction == Direction::Forward);
    !tracks.is_empty() && forward && evidence.desired.emergency(&step.version).is_none()
}

/// The configuration agent is told again what all hosts of a track have already, or its host is marked for that: nothing of a
/// release begins with it. A host that is not worked on has it when it is installed: somebody may have stopped a service of it.
fn takes_a_pin_back(evidence: &Evidence<'_>, step: &Step) -> bool {
    let version = &step.version;
    let told = &evidence.history.progress.pinned;
    let is_taken_back = |track: Track| told.get(&track).is_some_and(|told| told != version);
    let all_have_it = |track: Track| {
        let counts = |host: &HostName| evidence.desired.exceptions.host_out(host, evidence.now).is_none();
        let hosts = evidence.desired.fleet.hosts();
        let mut hosts = hosts.filter(|(role, host)| role.track == track && counts(host));
        hosts.all(|(role, host)| {
            let rests = !matches!(evidence.mark(host), Mark::Ours { .. });
            has_reached(evidence, role, host, version) || (rests && evidence.has_some_of(role, host, version))
        })
    };
    let is_it = |track: Track| is_taken_back(track) && all_have_it(track);
    match &step.action {
        Action::Pin { track, .. } => is_it(*track),
        Action::Claim { .. } if evidence.fleet_role(step).is_none() => {
            let mut targets = evidence.plan.tracks.iter().filter(|track| track.target == *version);
            targets.any(|track| is_it(track.track))
        }
        _ => false,
    }
}

/// Vetoes, holds and pauses stop every way, fast mode as well.
fn by_people(evidence: &Evidence<'_>, step: &Step, tracks: &[&TrackProgress], found: &mut Findings) {
    let exceptions = &evidence.desired.exceptions;
    if let Some(veto) = exceptions.veto(&step.version) {
        let how = format_args!("begins with {}, which is vetoed: {}", veto.version, veto.reason);
        found.step(Promise::S5, step, how);
    }
    let hold = |track: &&TrackProgress| exceptions.hold(track.track, evidence.now);
    let held: Option<Vec<_>> = tracks.iter().map(hold).collect();
    if let Some(hold) = held.iter().flatten().next() {
        found.step(Promise::S9, step, format_args!("begins under a hold: {}", hold.reason));
    }
    let pause = evidence.history.progress.pause.as_ref().filter(|pause| evidence.now < pause.until);
    if let Some(pause) = pause {
        found.step(Promise::S9, step, format_args!("begins in a pause: {}", pause.reason));
    }
}

/// The way back past post-deployment migrations needs a person's word.
fn past_the_point_of_no_return(
    evidence: &Evidence<'_>,
    step: &Step,
    tracks: &[&TrackProgress],
    found: &mut Findings,
) {
    let desired = evidence.desired;
    let back = !tracks.is_empty() && tracks.iter().all(|track| track.direction == Direction::Back);
    let migrates = desired.fleet.policy.migrations.as_ref().is_some_and(|it| it.post.is_some());
    if !back || !migrates || !matches!(step.action, Action::Claim { .. }) {
        return;
    }
    let target = &step.version;
    let allowed = desired.exceptions.allow.as_ref().map(|allow| &allow.past_post_migrations_of);
    // By a person's word alone, which is about how versions sort.
    let by_word = desired.ranks.last().is_none_or(|newest| newest == target);
    let is_past =
        |point: &Version| is_later(evidence, point, target) || (by_word && sorts_above(point, target));
    let stops =
        |point: &Version| is_past(point) && allowed.is_none_or(|allowed| is_later(evidence, point, allowed));
    let mut points = evidence.history.progress.points_of_no_return();
    if let Some((version, _)) = points.find(|(version, _)| stops(version)) {
        let how = format_args!("goes back past the post-deployment migrations of {version}");
        found.step(Promise::S9, step, how);
    }
}

/// By the first order that knows both: git's, the journal's, Debian's.
fn is_later(evidence: &Evidence<'_>, point: &Version, than: &Version) -> bool {
    for order in [&evidence.desired.ranks, &evidence.history.progress.appeared] {
        let place = |version| order.iter().position(|known| known == version);
        if let (Some(point), Some(than)) = (place(point), place(than)) {
            return point > than;
        }
    }
    sorts_above(point, than)
}

fn sorts_above(version: &Version, than: &Version) -> bool {
    than.dpkg_cmp(version).is_lt()
}

/// Where a freeze lets a stage finish that was begun, whatever belongs to a release may of which some stage has not passed.
fn is_frozen(evidence: &Evidence<'_>, step: &Step, found: &mut Findings) {
    let stages = evidence.desired.fleet.stages();
    let mut runs = stages.iter().filter_map(|stage| evidence.history.run(stage, &step.version));
    let begun = runs.any(|run| run.passed.is_none());
    for freeze in &evidence.desired.fleet.policy.freezes {
        let open = freeze.window(evidence.now).is_some_and(|window| window.contains(evidence.now));
        let finishes = begun && freeze.in_flight == InFlightAtFreeze::FinishStage;
        if open && !finishes {
            found.step(Promise::S9, step, format_args!("begins in a freeze: {}", freeze.reason));
        }
    }
}

fn failed_check(evidence: &Evidence<'_>, step: &Step, found: &mut Findings) {
    let jobs = evidence.history.progress.jobs.iter();
    let mut failed = jobs.filter(|(_, record)| matches!(record.state, JobState::Failed { .. }));
    let of_version = |key: &JobKey| matches!(key.kind, JobKind::Check { .. }) && key.version == step.version;
    if let Some((key, _)) = failed.find(|(key, _)| of_version(key)) {
        found.step(Promise::S9, step, format_args!("begins although {key} has failed"));
    }
}

/// Green, for long enough, by a reading that may still be true.
fn gates(evidence: &Evidence<'_>, step: &Step, found: &mut Findings) {
    let stages = evidence.desired.fleet.stages();
    let Some(stage) = stages.iter().find(|stage| step.stage.as_ref() == Some(&stage.name)) else { return };
    for (name, gate) in blocking(evidence, stage) {
        if let Some(how) = not_green(evidence, name, gate, None) {
            found.step(Promise::S9, step, format_args!("begins while gate {name} {how}"));
        }
    }
}

fn blocking<'a>(
    evidence: &Evidence<'a>,
    stage: &Stage,
) -> impl Iterator<Item = (&'a model::GateName, &'a Gate)> {
    let gates = &evidence.desired.fleet.policy.gates;
    let of_stage: Vec<_> = stage.gates.iter().filter_map(|name| gates.get_key_value(name)).collect();
    of_stage.into_iter().filter(|(_, gate)| !gate.observe)
}

/// Why a gate lets nothing go on, if so; `from`: what it judges ended then.
fn not_green(
    evidence: &Evidence<'_>,
    name: &model::GateName,
    gate: &Gate,
    from: Option<Timestamp>,
) -> Option<&'static str> {
    let Some(fact) = evidence.observed.gates.get(name) else { return Some("was never asked") };
    let Some(state) = Fact::known(fact) else { return Some("cannot be asked") };
    let green = match state.verdict {
        Verdict::Green => true,
        Verdict::NoData => gate.no_data_is_green,
        Verdict::Red | Verdict::Error => false,
    };
    let age: SignedDuration = evidence.now.duration_since(fact.at);
    let early = from.is_some_and(|from| fact.at < from + gate.settle);
    match () {
        () if !green => Some("is not green"),
        () if early => Some("was asked before what it judges has settled"),
        () if age > GATE_GAP => Some("was asked too long ago"),
        () if evidence.now < state.since + gate.quiet_for => Some("is not green for long enough"),
        () => None,
    }
}

/// A host of a stage that was activated after its work was done.
fn deployed_since<'a>(
    evidence: &Evidence<'a>,
    stage: &Stage,
    worked: Option<Timestamp>,
) -> Option<&'a HostName> {
    let model::Run::Deploy { roles, .. } = &stage.run else { return None };
    let desired = evidence.desired;
    let of_stage = |role: &model::Role| role.track == stage.track && roles.contains(&role.name);
    let mut hosts = desired.fleet.hosts().filter(|(role, _)| of_stage(role)).map(|(_, host)| host);
    let activated = |host: &HostName| evidence.history.activated.get(host).map(|last| last.at);
    hosts.find(|host| worked.is_some() && activated(host) > worked)
}

/// A stage passes when its work has soaked under green gates, and its checks have passed.
fn passed(evidence: &Evidence<'_>, name: &StageName, version: &Version, found: &mut Findings) {
    let stages = evidence.desired.fleet.stages();
    let Some(stage) = stages.iter().find(|stage| stage.name == *name) else { return };
    let progress = &evidence.history.progress;
    let worked = evidence.history.run(stage, version).and_then(|run| run.worked);
    let watched = !(stage.gates.is_empty() && stage.checks.is_empty() && stage.soak.is_zero());
    let what = format!("stage {name} would pass with {version}");
    match worked {
        None if watched => found.plan(Promise::S8, format_args!("{what} before its work is done")),
        Some(worked) if evidence.now < worked + stage.soak => {
            found.plan(Promise::S8, format_args!("{what} before its soak is over"));
        }
        _ => {}
    }
    if let Some(host) = deployed_since(evidence, stage, worked).filter(|_| watched) {
        found.plan(Promise::S8, format_args!("{what}, and {host} was deployed after its work was done"));
    }
    for (gate_name, gate) in blocking(evidence, stage) {
        if let Some(how) = not_green(evidence, gate_name, gate, worked) {
            found.plan(Promise::S8, format_args!("{what} while gate {gate_name} {how}"));
        }
    }
    for check in stage.checks.iter().filter(|check| evidence.desired.fleet.policy.checks.contains_key(*check))
    {
        let kind = JobKind::Check { stage: name.clone(), check: check.clone() };
        if !progress.job_passed(&JobKey { kind, version: version.clone() }) {
            found.plan(Promise::S9, format_args!("{what} without check {check}"));
        }
    }
}
