//! What a plan says of each track, worked out from the same facts that the planner had.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{
    Desired, Direction, History, HostState, Observed, Plan, Reason, Requirement, Role, StageStanding,
    Subject, Track, TrackProgress, Version,
};

use super::stage;
use crate::documents::{PromotionPlan, PromotionStanding, TrackPlan, Verdict};

/// What a plan was made from.
pub(super) struct Ground<'a> {
    pub(super) desired: &'a Desired,
    pub(super) observed: &'a Observed,
    pub(super) history: &'a History,
    pub(super) now: Timestamp,
    /// Whether the history is the service's own.
    pub(super) remembers: bool,
}

/// Every track of a plan.
pub(super) fn tracks(ground: &Ground<'_>, plan: &Plan) -> Vec<TrackPlan> {
    plan.tracks.iter().map(|progress| track(ground, plan, progress)).collect()
}

fn track(ground: &Ground<'_>, plan: &Plan, progress: &TrackProgress) -> TrackPlan {
    let TrackProgress { track, target, direction, emergency, stages } = progress;
    let from = running(ground, *track);
    let over = |standing| matches!(standing, StageStanding::Passed | StageStanding::Skipped);
    let is_there =
        stages.iter().all(|stage| over(stage.standing)) && from.keys().all(|version| version == target);
    let (verdict, because) = match refusal(plan, *track) {
        Some(why) => (Verdict::Refused, why),
        None if is_there => (Verdict::Stays, "every host that was seen runs it".to_owned()),
        None => ((*direction).into(), because(ground, *track, *direction, &from)),
    };
    let unwatched = *direction == Direction::Back || emergency.is_some();
    TrackPlan {
        track: *track,
        target: target.clone(),
        verdict,
        because,
        emergency: emergency.clone(),
        promotion: promotion(ground, *track, unwatched),
        stages: stages.iter().map(|it| stage::stage(ground, plan, progress, it, unwatched)).collect(),
        from,
    }
}

/// Why there is no way to the target, if so.
fn refusal(plan: &Plan, track: Track) -> Option<String> {
    let of_track = plan.waiting.iter().filter(|waiting| waiting.subject == Subject::Track(track));
    let refused = of_track.map(|waiting| &waiting.reason).find(|reason| {
        matches!(
            reason,
            Reason::DirectionUnknown { .. } | Reason::PastPostMigration { .. } | Reason::Vetoed { .. }
        )
    })?;
    Some(match refused {
        Reason::PastPostMigration { version, .. } => {
            format!("{refused}: going back past them needs [allow] past_post_migrations_of = \"{version}\"")
        }
        _ => format!("{refused}: {}", refused.ends()),
    })
}

/// Why a change goes the way it goes, in words for a reviewer.
pub(super) fn because(
    ground: &Ground<'_>,
    track: Track,
    direction: Direction,
    from: &BTreeMap<Version, usize>,
) -> String {
    let desired = ground.desired;
    let target = desired.target_of(track);
    let why = match (direction, latest(desired, target, from)) {
        _ if desired.direction == Some(direction) => {
            format!("release.toml says `direction = \"{direction}\"`")
        }
        (Direction::Back, Some(later)) => format!("{target} was a target before {later} in git history"),
        (Direction::Back, None) => format!("hosts run what came after {target}"),
        (Direction::Forward, _) if desired.ranks.last() == Some(target) => {
            format!("{target} is the newest target in git history")
        }
        (Direction::Forward, _) => format!("no host runs what came after {target} in git history"),
    };
    match direction {
        Direction::Forward => why,
        Direction::Back => format!("{why}{}", between(ground, target)),
    }
}

/// Of the versions that run and came after the target, the one that came last.
fn latest<'a>(
    desired: &Desired,
    target: &Version,
    from: &'a BTreeMap<Version, usize>,
) -> Option<&'a Version> {
    let own = desired.rank(target);
    let later = from.keys().filter(|version| desired.rank(version) > own);
    later.max_by_key(|version| desired.rank(version))
}

/// What a way back leads past.
fn between(ground: &Ground<'_>, target: &Version) -> String {
    let Ground { desired, history, remembers, .. } = ground;
    let has_post =
        desired.fleet.policy.migrations.as_ref().is_some_and(|migrations| migrations.post.is_some());
    if !has_post {
        return String::new();
    }
    let points = history.progress.points_of_no_return();
    let past = points.filter(|(version, _)| planner::lies_past(desired, history, version, target));
    match past.max_by_key(|(version, _)| desired.rank(version)) {
        Some((version, _)) => {
            let reason = desired.exceptions.allow.as_ref().map_or("", |allow| allow.reason.as_str());
            format!("; past the post-deployment migrations of {version}, which a person allows: {reason}")
        }
        None if *remembers => "; nothing in between was post-migrated".to_owned(),
        None => "; whether anything in between was post-migrated is not known here".to_owned(),
    }
}

/// The releases that a track's hosts run, with how many each; hosts that are declared out tell nothing.
pub(super) fn running(ground: &Ground<'_>, track: Track) -> BTreeMap<Version, usize> {
    let Ground { desired, observed, now, .. } = ground;
    let mut running = BTreeMap::new();
    for (role, host) in desired.fleet.hosts().filter(|(role, _)| role.track == track) {
        let state = observed.host(host).filter(|_| desired.exceptions.host_out(host, *now).is_none());
        if let Some(release) = state.and_then(|state| release(desired, role, state)) {
            *running.entry(release).or_default() += 1;
        }
    }
    running
}

/// The release whose package a host has: by its own name where git knows it, else the package's version.
fn release(desired: &Desired, role: &Role, state: &HostState) -> Option<Version> {
    let installed = role.packages.first().and_then(|name| state.packages.get(name));
    let package = installed.filter(|package| package.installed)?;
    let is = |release: &&Version| role.package_version(release, &state.codename) == package.version;
    let mut known = [desired.target_of(role.track)].into_iter().chain(desired.ranks.iter().rev());
    Some(known.find(is).unwrap_or(&package.version).clone())
}

fn promotion(ground: &Ground<'_>, track: Track, unwatched: bool) -> Option<PromotionPlan> {
    let Ground { desired, history, remembers, .. } = ground;
    let requires = desired.fleet.policy.promotion.of(track)?.clone();
    let (environment, of) = match &requires {
        Requirement::Canary => (&desired.environment, Track::Canary),
        Requirement::Environment(name) => (name, Track::Main),
    };
    let target = desired.target_of(track);
    let standing = match history.progress.pass(environment, of, target) {
        _ if unwatched => PromotionStanding::NotAsked,
        _ if history.progress.found_running.contains(target) => PromotionStanding::FoundRunning,
        _ if !remembers => PromotionStanding::Unknown,
        Some(pass) => PromotionStanding::Met { pass: pass.clone() },
        None => PromotionStanding::Missing,
    };
    Some(PromotionPlan { requires, standing })
}
