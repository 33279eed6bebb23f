//! What a stage will do.

use jiff::SignedDuration;
use model::{
    Check, CheckName, CheckRun, JobKey, JobKind, JobState, Plan, Run, Stage, StageProgress, TrackProgress,
    Version,
};

use super::track::Ground;
use crate::documents::{CheckPlan, JobStanding, MigrationPlan, RoleStage, StagePlan};

/// A stage of a track. `unwatched`: going back or in an emergency, without gates, checks and soak.
pub(super) fn stage(
    ground: &Ground<'_>,
    plan: &Plan,
    track: &TrackProgress,
    progress: &StageProgress,
    unwatched: bool,
) -> StagePlan {
    let stages = ground.desired.fleet.stages();
    let known = stages.iter().find(|stage| stage.name == progress.stage);
    let in_order = known.is_some_and(|stage| matches!(stage.run, Run::Deploy { in_order: true, .. }));
    let mut told = StagePlan {
        stage: progress.stage.clone(),
        standing: progress.standing,
        roles: known.map_or_else(Vec::new, |stage| roles(plan, stage)),
        in_order,
        migration: known.and_then(|stage| migration(ground, stage, &track.target)),
        gates: Vec::new(),
        checks: Vec::new(),
        soak: SignedDuration::ZERO,
    };
    if let Some(stage) = known.filter(|_| !unwatched) {
        told.gates.clone_from(&stage.gates);
        told.checks = checks(ground, stage, &track.target);
        told.soak = stage.soak;
    }
    told
}

fn roles(plan: &Plan, stage: &Stage) -> Vec<RoleStage> {
    let Run::Deploy { roles, .. } = &stage.run else { return Vec::new() };
    let of_stage = plan.progress.iter().filter(|progress| roles.contains(&progress.role));
    of_stage
        .map(|it| RoleStage { role: it.role.clone(), hosts: it.hosts, done: it.done, limit: it.limit })
        .collect()
}

fn migration(ground: &Ground<'_>, stage: &Stage, target: &Version) -> Option<MigrationPlan> {
    let migrations = ground.desired.fleet.policy.migrations.as_ref()?;
    let (job, kind) = match stage.run {
        Run::Migrate => (migrations.pre.as_ref()?, JobKind::PreMigration),
        Run::PostMigrate => (migrations.post.as_ref()?, JobKind::PostMigration),
        Run::Deploy { .. } => return None,
    };
    Some(MigrationPlan {
        host: migrations.host.clone(),
        command: job.command.to_string(),
        past_return: kind == JobKind::PostMigration,
        standing: standing(ground, kind, target),
    })
}

fn checks(ground: &Ground<'_>, stage: &Stage, target: &Version) -> Vec<CheckPlan> {
    let known = &ground.desired.fleet.policy.checks;
    let named = stage.checks.iter().filter_map(|name| Some((name, known.get(name)?)));
    named.map(|(name, check)| one_check(ground, stage, name, check, target)).collect()
}

fn one_check(
    ground: &Ground<'_>,
    stage: &Stage,
    name: &CheckName,
    check: &Check,
    target: &Version,
) -> CheckPlan {
    let place = match &check.how {
        CheckRun::Command { host, .. } => format!("on {host}"),
        CheckRun::Http { url } => format!("by {url}"),
        CheckRun::GitlabPipeline { project, .. } => format!("as a pipeline of {project}"),
    };
    let kind = JobKind::Check { stage: stage.name.clone(), check: name.clone() };
    CheckPlan { check: name.clone(), place, standing: standing(ground, kind, target) }
}

fn standing(ground: &Ground<'_>, kind: JobKind, target: &Version) -> JobStanding {
    let progress = &ground.history.progress;
    let is_check = matches!(kind, JobKind::Check { .. });
    let key = JobKey { kind, version: target.clone() };
    match progress.jobs.get(&key).map(|record| &record.state) {
        Some(JobState::Passed { at, .. }) => JobStanding::Passed { at: *at },
        Some(JobState::Begun { at }) => JobStanding::Begun { at: *at },
        Some(JobState::Failed { at, .. }) => JobStanding::Failed { at: *at },
        _ if progress.found_running.contains(target) => JobStanding::Covered,
        _ if !is_check && is_covered(ground, &key) => JobStanding::Covered,
        Some(JobState::Wanted) | None => JobStanding::ToRun,
    }
}

/// Post-deployment migrations of a later version include those of the ones before.
fn is_covered(ground: &Ground<'_>, key: &JobKey) -> bool {
    let rank = |version: &Version| ground.desired.rank(version);
    let mut jobs = ground.history.progress.jobs.iter();
    key.kind == JobKind::PostMigration
        && jobs.any(|(other, record)| {
            other.kind == key.kind
                && rank(&other.version) > rank(&key.version)
                && matches!(record.state, JobState::Passed { .. })
        })
}
