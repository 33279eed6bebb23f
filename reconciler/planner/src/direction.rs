//! Which way a change goes. Git history decides, never version order: release candidates sort above the final.
//!
//! A host whose packages are those of the target already, and whose services still run a later version, is on the way back
//! as well: else its last steps would be taken for a new release, which gates may keep waiting.

use std::collections::BTreeSet;

use jiff::Timestamp;
use model::{Desired, Direction, History, HostName, HostState, Observed, Reason, Role, Track, Version};

use crate::running::{known_release, moving};

/// When a release was first a target, as far as somebody knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Appeared {
    /// Its rank in git's history.
    Git(usize),
    /// Its place among the targets that were ever in force here: git's history was rewritten, and no longer knows it.
    Journal(usize),
    Unknown,
}

/// The direction of a track, from what its roles are observed to run to its target.
///
/// Back when the target's first appearance lies before that of a version observed there. A target that nobody asked for
/// before, and that Debian sorts below an observed version, needs a person's word; so does any target that sorts below a
/// version of which neither git nor the journal knows when it appeared.
///
/// # Errors
/// [`Reason::DirectionUnknown`] when that word is missing.
pub(crate) fn direction(
    desired: &Desired,
    observed: &Observed,
    history: &History,
    track: Track,
    now: Timestamp,
) -> Result<Direction, Reason> {
    let target = desired.target_of(track);
    let present = versions_present(desired, observed, history, track, now);
    let newest = desired.rank(target).is_none_or(|rank| rank + 1 == desired.ranks.len());
    if newest {
        let said = desired.direction.map(Ok);
        return said
            .unwrap_or_else(|| forward_from(desired, target, present.iter().map(|(package, _)| package)));
    }
    let journal = history.progress.appeared.iter().position(|version| version == target);
    let is_later = |appeared: &Appeared| match appeared {
        Appeared::Git(rank) => Some(*rank) > desired.rank(target),
        Appeared::Journal(at) => journal.is_some_and(|own| *at > own),
        Appeared::Unknown => false,
    };
    if present.iter().any(|(_, appeared)| is_later(appeared)) {
        return Ok(Direction::Back);
    }
    let is_untold = |appeared: &Appeared| match appeared {
        Appeared::Git(_) => false,
        Appeared::Journal(_) => journal.is_none(),
        Appeared::Unknown => true,
    };
    forward_from(
        desired,
        target,
        present.iter().filter(|(_, appeared)| is_untold(appeared)).map(|(package, _)| package),
    )
}

/// Forward, unless Debian sorts the target below one of these packages: then as a person says.
fn forward_from<'a>(
    desired: &Desired,
    target: &Version,
    mut packages: impl Iterator<Item = &'a Version>,
) -> Result<Direction, Reason> {
    let Some(package) = packages.find(|package| target.dpkg_cmp(package).is_lt()) else {
        return Ok(Direction::Forward);
    };
    let unknown = || Reason::DirectionUnknown { target: target.clone(), observed: package.clone() };
    desired.direction.ok_or_else(unknown)
}

/// Package versions on a track's hosts other than the target's, installed or running, each with when the release that it
/// belongs to appeared. Hosts that are declared out tell nothing.
fn versions_present(
    desired: &Desired,
    observed: &Observed,
    history: &History,
    track: Track,
    now: Timestamp,
) -> BTreeSet<(Version, Appeared)> {
    let target = desired.target_of(track);
    let mut present = BTreeSet::new();
    for role in desired.fleet.roles.iter().filter(|role| role.track == track) {
        for (codename, version) in versions_of_role(desired, role, observed, now) {
            let of = |release: &Version| role.is_package_of(version, release, codename);
            if !of(target) {
                present.insert((version.clone(), appeared(desired, history, of)));
            }
        }
        present.extend(running_of_role(desired, role, observed, now));
    }
    present
}

fn appeared(desired: &Desired, history: &History, of: impl Fn(&Version) -> bool + Copy) -> Appeared {
    let git = desired.ranks.iter().position(of).map(Appeared::Git);
    let journal = || history.progress.appeared.iter().position(of).map(Appeared::Journal);
    git.or_else(journal).unwrap_or(Appeared::Unknown)
}

/// Every package version of a role's hosts, with the host's code name of Debian; each once.
fn versions_of_role<'a>(
    desired: &'a Desired,
    role: &'a Role,
    observed: &'a Observed,
    now: Timestamp,
) -> Vec<(&'a str, &'a Version)> {
    let versions = |state: &'a HostState| {
        let packages = role.packages.iter().filter_map(|name| state.packages.get(name));
        packages.map(|package| (state.codename.as_str(), &package.version))
    };
    // A fleet runs two or three versions, however many hosts it has.
    let mut known = Vec::new();
    for version in states_of_role(desired, role, observed, now).flat_map(versions) {
        if !known.contains(&version) {
            known.push(version);
        }
    }
    known
}

/// What services of a role say they run and git knows, other than the target, by its package's version. What git does not
/// know may be a word for something else.
fn running_of_role(
    desired: &Desired,
    role: &Role,
    observed: &Observed,
    now: Timestamp,
) -> BTreeSet<(Version, Appeared)> {
    let mut said = BTreeSet::new();
    for state in states_of_role(desired, role, observed, now) {
        let services = moving(role).filter_map(|service| state.services.get(&service.name)?.said());
        said.extend(services.map(|version| (state.codename.as_str(), version)));
    }
    let target = desired.target_of(role.track);
    let releases = said.into_iter().filter_map(|(codename, version)| {
        let release = known_release(desired, role, codename, version).filter(|release| *release != target)?;
        Some((role.package_version(release, codename), Appeared::Git(desired.rank(release)?)))
    });
    releases.collect()
}

fn states_of_role<'a>(
    desired: &'a Desired,
    role: &'a Role,
    observed: &'a Observed,
    now: Timestamp,
) -> impl Iterator<Item = &'a HostState> {
    let counts = move |host: &&HostName| desired.exceptions.host_out(host, now).is_none();
    role.hosts.iter().filter(counts).filter_map(|host| observed.host(host))
}
