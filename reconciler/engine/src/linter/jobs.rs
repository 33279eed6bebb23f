//! What runs once, and the order of migrations and versions.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use model::{
    Action, Activate, Direction, HostName, JobKey, JobKind, JobName, JobState, Role, Run, Running, Step,
    TrackProgress, Version,
};

use super::evidence::Evidence;
use super::{Findings, Promise};

pub(super) fn lint(evidence: &Evidence<'_>, found: &mut Findings) {
    let under_way = evidence.history.in_flight.values().map(|under_way| &under_way.step.action);
    let mut known: BTreeSet<&JobKey> = under_way.filter_map(Action::job).map(|(_, key)| key).collect();
    for step in &evidence.plan.steps {
        if let Some((name, key)) = step.action.job() {
            if !known.insert(key) {
                found.step(Promise::S7, step, format_args!("runs {key} beside itself"));
            }
            runs_once(evidence, step, name, key, found);
        }
        if let Action::Migrate { key: JobKey { kind: JobKind::PostMigration, version }, .. } = &step.action {
            nobody_is_left_behind(evidence, step, version, found);
        }
        if let (Action::Install { .. }, Some(role)) = (&step.action, evidence.fleet_role(step)) {
            is_migrated(evidence, step, role, found);
            is_not_vetoed(evidence, step, role, found);
        }
    }
}

/// A job that was begun is found again by its name; one that ended is never begun under it.
fn runs_once(evidence: &Evidence<'_>, step: &Step, name: &JobName, key: &JobKey, found: &mut Findings) {
    let record = evidence.history.progress.jobs.get(key);
    let attempt = record.map_or(1, |record| record.attempt);
    if *name != JobName::new(&evidence.desired.environment, key, attempt) {
        found.step(Promise::S7, step, format_args!("runs {key} under a name that is not its own"));
    }
    match record.map(|record| &record.state) {
        Some(JobState::Passed { .. }) => {
            found.step(Promise::S7, step, format_args!("runs {key} once more"));
        }
        Some(JobState::Failed { .. }) => {
            found.step(Promise::S7, step, format_args!("runs {key} again without a person's word"));
        }
        Some(JobState::Wanted | JobState::Begun { .. }) | None => {}
    }
}

/// Every host that counts runs the version of a post-deployment migration, or one that came later, when it begins: one that
/// was begun is only found again.
fn nobody_is_left_behind(evidence: &Evidence<'_>, step: &Step, version: &Version, found: &mut Findings) {
    if evidence.is_found_again(step) {
        return;
    }
    let desired = evidence.desired;
    let counts = |host: &HostName| desired.exceptions.host_out(host, evidence.now).is_none();
    let hosts: Vec<(&Role, &HostName)> = desired.fleet.hosts().filter(|(_, host)| counts(host)).collect();
    if let Some((_, host)) = hosts.iter().find(|(role, host)| !has_reached(evidence, role, host, version)) {
        found.step(Promise::S4, step, format_args!("leaves {host} behind, which does not run {version}"));
    }
    let read_at = |host: &HostName| evidence.observed.hosts.get(host).map(|fact| fact.at);
    let ready = evidence.history.last_action.get(&step.host).copied();
    if let Some((_, host)) = hosts.iter().find(|(_, host)| read_at(host) < ready) {
        found.step(Promise::S4, step, format_args!("goes by what {host} ran before all else was ready"));
    }
    let long_ago = evidence.now - all_max_age(hosts.len());
    if let Some((_, host)) = hosts.iter().find(|(_, host)| read_at(host) < Some(long_ago)) {
        found.step(Promise::S4, step, format_args!("goes by what {host} ran some time ago"));
    }
    let earlier = |role: &Role| desired.rank(desired.target_of(role.track)) < desired.rank(version);
    let is_ranked = |role: &Role| desired.rank(desired.target_of(role.track)).is_some();
    if let Some((_, host)) = hosts.iter().find(|(role, _)| is_ranked(role) && earlier(role)) {
        found.step(Promise::S4, step, format_args!("bars {host} from what it is to go back to"));
    }
}

/// How old the oldest look at so many hosts may be, where there is no way back: 3 s, or twice the time to look at all of them,
/// at 33 a second.
fn all_max_age(hosts: usize) -> SignedDuration {
    let each = SignedDuration::from_millis(60);
    SignedDuration::from_secs(3).max(each * i32::try_from(hosts).unwrap_or(i32::MAX))
}

/// With what is installed, and with every service that has to take it up, as far as those tell.
pub(super) fn has_reached(evidence: &Evidence<'_>, role: &Role, host: &HostName, version: &Version) -> bool {
    let Some(state) = evidence.state(host) else { return false };
    let Some(package) = role.packages.first().and_then(|name| state.packages.get(name)) else { return false };
    let ranks = &evidence.desired.ranks;
    let rank = evidence.desired.rank(version);
    let is = |release: &Version| role.package_version(release, &state.codename) == package.version;
    let later = || ranks.iter().skip(rank.map_or(0, |rank| rank + 1)).any(is);
    let earlier = |runs: &Version| {
        let mut before = ranks.iter().take(rank.unwrap_or(0));
        before.any(|release| release == runs || role.package_version(release, &state.codename) == *runs)
    };
    let must_run = role.services.iter().filter(|service| service.activate != Activate::None);
    let mut seen = must_run.filter_map(|service| state.services.get(&service.name));
    let is_behind = seen.any(|service| match service.running(Some(&package.version)) {
        Running::Version(runs) => earlier(&runs),
        Running::Older => true,
        Running::Stopped | Running::Unknown => false,
    });
    (is(version) || later()) && !is_behind
}

/// Going forward, a version comes to a host that serves once its migrations are done.
fn is_migrated(evidence: &Evidence<'_>, step: &Step, role: &Role, found: &mut Findings) {
    let fleet = &evidence.desired.fleet;
    let migrates = fleet.policy.migrations.as_ref().is_some_and(|migrations| migrations.pre.is_some())
        && fleet.stages().iter().any(|stage| stage.run == Run::Migrate);
    let forward = |track: &TrackProgress| {
        track.track == role.track && track.target == step.version && track.direction == Direction::Forward
    };
    let is_new = !evidence.has_some_of(role, &step.host, &step.version);
    if migrates
        && is_new
        && evidence.plan.tracks.iter().any(forward)
        && !evidence.history.progress.is_migrated(&step.version)
        && !a_later_one_is_migrated(evidence, &step.version)
    {
        found.step(Promise::S4, step, format_args!("comes before the migrations of {}", step.version));
    }
}

/// The database is beyond a version when it was migrated for one that came later.
fn a_later_one_is_migrated(evidence: &Evidence<'_>, version: &Version) -> bool {
    let Some(rank) = evidence.desired.rank(version) else { return false };
    let mut later = evidence.desired.ranks.iter().skip(rank + 1);
    later.any(|version| evidence.history.progress.is_migrated(version))
}

/// What is there half-way already may be finished.
fn is_not_vetoed(evidence: &Evidence<'_>, step: &Step, role: &Role, found: &mut Findings) {
    let vetoed = evidence.desired.exceptions.veto(&step.version);
    if let Some(veto) = vetoed.filter(|_| !evidence.has_some_of(role, &step.host, &step.version)) {
        let how = format_args!("brings {}, which is vetoed: {}", veto.version, veto.reason);
        found.step(Promise::S5, step, how);
    }
}
