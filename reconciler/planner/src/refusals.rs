//! Why nothing new starts on a lane: what people, time and the outside world say against it.

use jiff::{SignedDuration, Timestamp};
use model::{Freeze, InFlightAtFreeze, JobState, Reason, Requirement, Stage, Subject, Track, Version};

use crate::direction::{came_after, lies_past};
use crate::estimate::takes;
use crate::gates;
use crate::lanes::Lane;
use crate::next::Wait;
use crate::survey::Survey;

/// A lane, or one of its stages, may begin nothing.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) subject: Subject,
    pub(crate) wait: Wait,
    pub(crate) flow: Flow,
}

/// What hosts do that were begun already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// They are brought to the target.
    Finish,
    /// They are brought to a safe point with what is installed.
    Settle,
}

/// Why a lane may begin nothing at its active stage, if so. `begun`: when the stage was begun with this target.
pub(crate) fn refusal(
    survey: &Survey<'_>,
    lane: &Lane<'_>,
    stage: &Stage,
    begun: Option<Timestamp>,
) -> Option<Refusal> {
    let on_track = |reason: Reason| Refusal {
        subject: Subject::Track(lane.track),
        wait: expiring(&reason),
        flow: Flow::Settle,
    };
    if let Some(reason) = by_people(survey, lane) {
        return Some(on_track(reason));
    }
    if lane.is_unwatched() {
        return None;
    }
    let failed = failed_check(survey, lane.target);
    if let Some(reason) = failed.or_else(|| not_promoted(survey, lane)).or_else(|| unpatched(survey, lane)) {
        return Some(on_track(reason));
    }
    frozen(survey, lane, stage, begun).or_else(|| {
        let subject = Subject::Stage(stage.name.clone());
        let wait = gates::judge(survey, stage).err()?;
        // A gate that is not green brings hosts back; one that is about to be asked lets them go on.
        let red = matches!(wait.reason, Reason::GateNotGreen { .. });
        Some(Refusal { subject, wait, flow: if red { Flow::Settle } else { Flow::Finish } })
    })
}

/// When a stage was begun with a lane's target; none: it was not.
pub(crate) fn began(survey: &Survey<'_>, lane: &Lane<'_>, stage: &Stage) -> Option<Timestamp> {
    survey.history.run(stage, lane.target).map(|run| run.began)
}

/// The wait for a reason that may end at a known time.
fn expiring(reason: &Reason) -> Wait {
    let wait = Wait::new(reason.clone());
    match reason.until() {
        Some(until) => wait.until(until),
        None => wait,
    }
}

/// What stops even the way back.
pub(crate) fn by_people(survey: &Survey<'_>, lane: &Lane<'_>) -> Option<Reason> {
    if let Err(reason) = &lane.direction {
        return Some(reason.clone());
    }
    let exceptions = &survey.desired.exceptions;
    if let Some(reason) = past_post_migration(survey, lane) {
        return Some(reason);
    }
    if let Some(veto) = exceptions.veto(lane.target) {
        return Some(Reason::Vetoed { version: lane.target.clone(), why: veto.reason.clone() });
    }
    if let Some(hold) = exceptions.hold(lane.track, survey.now) {
        return Some(Reason::Held { scope: hold.scope, why: hold.reason.clone(), until: hold.until });
    }
    let pause = survey.history.progress.pause.as_ref().filter(|pause| survey.now < pause.until)?;
    Some(Reason::Paused { by: pause.by.clone(), why: pause.reason.clone(), until: pause.until })
}

/// The newest point of no return that lies between the fleet and an earlier target, unless a person allows it.
pub(crate) fn past_post_migration(survey: &Survey<'_>, lane: &Lane<'_>) -> Option<Reason> {
    if !lane.goes_back() {
        return None;
    }
    let (desired, history) = (survey.desired, survey.history);
    let allowed = desired.exceptions.allow.as_ref().map(|allow| &allow.past_post_migrations_of);
    let migrates =
        desired.fleet.policy.migrations.as_ref().is_some_and(|migrations| migrations.post.is_some());
    let points = history.progress.points_of_no_return().filter(|_| migrates);
    let between = points.filter(|(version, _)| lies_past(desired, history, version, lane.target));
    let is_allowed =
        |version: &Version| allowed.is_some_and(|allowed| !came_after(desired, history, version, allowed));
    let refused = between.filter(|(version, _)| !is_allowed(version));
    let (version, at) = refused.max_by_key(|(version, _)| desired.rank(version))?;
    Some(Reason::PastPostMigration { target: lane.target.clone(), version: version.clone(), at })
}

fn failed_check(survey: &Survey<'_>, target: &Version) -> Option<Reason> {
    survey.history.progress.jobs.iter().find_map(|(key, record)| {
        let is_check = matches!(key.kind, model::JobKind::Check { .. });
        match &record.state {
            JobState::Failed { failure, .. } if is_check && key.version == *target => {
                Some(Reason::CheckFailed { key: key.clone(), failure: failure.clone() })
            }
            _ => None,
        }
    })
}

fn not_promoted(survey: &Survey<'_>, lane: &Lane<'_>) -> Option<Reason> {
    let requires = survey.desired.fleet.policy.promotion.of(lane.track)?;
    let progress = &survey.history.progress;
    let passed = match requires {
        Requirement::Canary => progress.pass(&survey.desired.environment, Track::Canary, lane.target),
        Requirement::Environment(name) => progress.pass(name, Track::Main, lane.target),
    };
    // What was found running when the environment was adopted needs no promotion.
    let ahead = lane.track == Track::Canary && progress.found_ahead.contains(lane.target);
    let here_before = ahead || progress.found_running.contains(lane.target);
    let missing = passed.is_none() && !here_before;
    missing.then(|| Reason::PromotionRequired { version: lane.target.clone(), requires: requires.clone() })
}

/// A version that lacks a patch which is in force would bring the defect back.
fn unpatched(survey: &Survey<'_>, lane: &Lane<'_>) -> Option<Reason> {
    if lane.track != Track::Canary {
        return None;
    }
    let desired = survey.desired;
    let lacks = |patch: &&model::Patch| {
        patch.version == desired.target
            && *lane.target != patch.version
            && !patch.incorporated_in.contains(lane.target)
    };
    let patch = desired.exceptions.patches.iter().find(lacks)?;
    Some(Reason::PatchNotIncorporated { file: patch.file.clone(), version: lane.target.clone() })
}

fn frozen(survey: &Survey<'_>, lane: &Lane<'_>, stage: &Stage, begun: Option<Timestamp>) -> Option<Refusal> {
    let subject = Subject::Stage(stage.name.clone());
    let flow = Flow::Finish;
    for freeze in &survey.desired.fleet.policy.freezes {
        let Some(window) = freeze.window(survey.now) else { continue };
        if window.from <= survey.now {
            // What an emergency began in the freeze is not finished in it once that is over.
            let before = begun.is_some_and(|begun| begun < window.from);
            let finishes = freeze.in_flight == InFlightAtFreeze::FinishStage;
            if before && finishes && is_in_flight(survey, lane, window.from) {
                continue;
            }
            let reason = Reason::Frozen { why: freeze.reason.clone(), until: window.to };
            let wait = Wait::new(reason).since(window.from).until(window.to);
            return Some(Refusal { subject, wait, flow });
        }
        if let Some(reason) =
            will_not_finish(survey, lane, stage, freeze, window.from).filter(|_| begun.is_none())
        {
            return Some(Refusal { subject, wait: Wait::new(reason).until(window.from), flow });
        }
    }
    None
}

/// Whether some stage was begun with a lane's target before a freeze, and has not passed yet. Where all has passed that was begun,
/// a host that falls behind is something new. In between it belongs to what is in flight, which cannot end without it.
fn is_in_flight(survey: &Survey<'_>, lane: &Lane<'_>, freeze: Timestamp) -> bool {
    let history = survey.history;
    let open = |stage: &Stage| {
        history.run(stage, lane.target).is_some_and(|run| run.passed.is_none() && run.began < freeze)
    };
    // What was found running when the environment was adopted has nothing to pass, also where a way back ended with it.
    !history.progress.found_running.contains(lane.target) && survey.desired.fleet.stages().iter().any(open)
}

fn will_not_finish(
    survey: &Survey<'_>,
    lane: &Lane<'_>,
    stage: &Stage,
    freeze: &Freeze,
    from: Timestamp,
) -> Option<Reason> {
    let takes = takes(survey, lane, stage)?;
    let late = survey.now + takes > from;
    late.then(|| Reason::WouldNotFinish {
        stage: stage.name.clone(),
        takes: rounded(takes),
        freeze: from,
        why: freeze.reason.clone(),
    })
}

/// To full seconds: people read it, and it must not change from pass to pass for nothing.
fn rounded(span: SignedDuration) -> SignedDuration {
    SignedDuration::from_secs(span.as_secs())
}
