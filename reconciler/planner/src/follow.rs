//! Versions that the service commits by itself: the newest that matches, or that has passed; never one that people have
//! turned away from.

use std::collections::BTreeSet;

use model::{Follow, ReleaseEdit, Requirement, Track, Version};
use regex_lite::Regex;

use crate::survey::Survey;

/// The commits that should be written now, one for each track at most.
pub(crate) fn edits(survey: &Survey<'_>) -> Vec<ReleaseEdit> {
    let follows = &survey.desired.fleet.policy.follows;
    let wanted = follows.iter().filter(|follow| !is_stopped(survey, follow));
    wanted.filter_map(|follow| edit(survey, follow)).collect()
}

/// A hold, a pause, an emergency or a patch in force: people are at work on this track.
fn is_stopped(survey: &Survey<'_>, follow: &Follow) -> bool {
    let (desired, now) = (survey.desired, survey.now);
    let paused = survey.history.progress.pause.as_ref().is_some_and(|pause| now < pause.until);
    let no_canary = follow.track == Track::Canary && desired.canary.is_none();
    no_canary
        || paused
        || desired.exceptions.hold(follow.track, now).is_some()
        || desired.exceptions.emergency.is_some()
}

fn edit(survey: &Survey<'_>, follow: &Follow) -> Option<ReleaseEdit> {
    let desired = survey.desired;
    let from = desired.target_of(follow.track);
    let candidates = if follow.when_passed { passed(survey, follow.track) } else { on_offer(survey, follow) };
    let pattern = Regex::new(&format!("^(?:{})$", follow.newest)).ok()?;
    let fits = |version: &&Version| {
        let package = package_of(survey, follow.track, version);
        pattern.is_match(package.as_str()) && may_follow(survey, follow, version)
    };
    let newest = candidates.iter().filter(fits).max_by(|one, other| one.dpkg_cmp(other))?;
    let reason = if follow.when_passed {
        format!("{newest} has passed what track {} requires", follow.track)
    } else {
        format!("{newest} is the newest package that matches {}", follow.newest)
    };
    Some(ReleaseEdit {
        environment: desired.environment.clone(),
        track: follow.track,
        from: from.clone(),
        to: newest.clone(),
        reason,
    })
}

/// Newer than what the track has, never vetoed, never gone away from, and with every patch that is in force.
fn may_follow(survey: &Survey<'_>, follow: &Follow, version: &Version) -> bool {
    let desired = survey.desired;
    let from = desired.target_of(follow.track);
    if version == from || !from.dpkg_cmp(version).is_lt() || desired.exceptions.veto(version).is_some() {
        return false;
    }
    let patched = desired.exceptions.patches.iter().filter(|patch| patch.version == desired.target);
    let holds_patches = patched.into_iter().all(|patch| patch.incorporated_in.contains(version));
    holds_patches && !was_left(survey, follow.track, version)
}

/// A version that was this track's target before and is not now was turned away from.
fn was_left(survey: &Survey<'_>, track: Track, version: &Version) -> bool {
    let targets = survey.history.progress.targets.get(&track);
    targets.is_some_and(|targets| targets.contains(version))
}

/// Versions that have passed what a track requires.
fn passed(survey: &Survey<'_>, track: Track) -> BTreeSet<Version> {
    let desired = survey.desired;
    let Some(requires) = desired.fleet.policy.promotion.of(track) else { return BTreeSet::new() };
    let key = match requires {
        Requirement::Canary => (desired.environment.clone(), Track::Canary),
        Requirement::Environment(name) => (name.clone(), Track::Main),
    };
    let passed = survey.history.progress.released.get(&key);
    passed.into_iter().flat_map(|versions| versions.keys().cloned()).collect()
}

/// Releases whose packages the sources offer.
fn on_offer(survey: &Survey<'_>, follow: &Follow) -> BTreeSet<Version> {
    let packages = survey.observed.versions.as_ref().and_then(model::Fact::known);
    let template = template(survey, follow.track);
    packages.into_iter().flatten().filter_map(|package| release_of(&template, package)).collect()
}

/// The release that a package version is of; none: it is none of ours.
fn release_of(template: &str, package: &Version) -> Option<Version> {
    let (before, after) = template.split_once("{version}")?;
    let rest = package.as_str().strip_prefix(before)?.strip_suffix(after)?;
    Version::parse(rest).ok()
}

fn package_of(survey: &Survey<'_>, track: Track, release: &Version) -> Version {
    let template = template(survey, track);
    Version::parse(&template.replace("{version}", release.as_str())).unwrap_or_else(|_| release.clone())
}

/// The package version of the track's first role, with the code name of a host that was seen.
fn template(survey: &Survey<'_>, track: Track) -> String {
    let role = survey.desired.fleet.roles.iter().find(|role| role.track == track);
    let codename = survey.observed.hosts.values().find_map(|fact| Some(fact.known()?.codename.clone()));
    let template = role.map_or("{version}", |role| role.package_version.as_str());
    template.replace("{codename}", codename.as_deref().unwrap_or("{codename}"))
}
