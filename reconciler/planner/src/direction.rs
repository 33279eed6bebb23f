//! Which way a change goes. Git history decides, never version order: release candidates sort above the final.
//!
//! A host whose packages are those of the target already, and whose services still run a later version, is on the way back
//! as well: else its last steps would be taken for a new release, which gates may keep waiting.

use std::collections::BTreeSet;

use jiff::Timestamp;
use model::{Desired, Direction, HostName, HostState, Observed, Reason, Role, Track, Version};

use crate::running::{known_release, moving};

/// The direction of a track, from what its roles are observed to run to its target.
///
/// Back when the target's first appearance lies before that of a version observed there. A target that nobody asked for
/// before, and that Debian sorts below an observed version, needs a person's word.
///
/// # Errors
/// [`Reason::DirectionUnknown`] when that word is missing.
pub(crate) fn direction(
    desired: &Desired,
    observed: &Observed,
    track: Track,
    now: Timestamp,
) -> Result<Direction, Reason> {
    let target = desired.target_of(track);
    let present = versions_present(desired, observed, track, now);
    let newest = desired.rank(target).is_none_or(|rank| rank + 1 == desired.ranks.len());
    if !newest {
        return Ok(among_known(desired, target, &present));
    }
    if let Some(direction) = desired.direction {
        return Ok(direction);
    }
    let above = present.iter().find(|(package, _)| target.dpkg_cmp(package).is_lt());
    match above {
        Some((package, _)) => {
            Err(Reason::DirectionUnknown { target: target.clone(), observed: package.clone() })
        }
        None => Ok(Direction::Forward),
    }
}

fn among_known(
    desired: &Desired,
    target: &Version,
    present: &BTreeSet<(Version, Option<usize>)>,
) -> Direction {
    let own = desired.rank(target);
    let later = |(package, rank): &(Version, Option<usize>)| match rank {
        Some(rank) => Some(*rank) > own,
        None => target.dpkg_cmp(package).is_lt(),
    };
    if present.iter().any(later) { Direction::Back } else { Direction::Forward }
}

/// Package versions on a track's hosts other than the target's, installed or running, each with the rank of the release it
/// belongs to. Hosts that are declared out tell nothing.
fn versions_present(
    desired: &Desired,
    observed: &Observed,
    track: Track,
    now: Timestamp,
) -> BTreeSet<(Version, Option<usize>)> {
    let target = desired.target_of(track);
    let mut present = BTreeSet::new();
    for role in desired.fleet.roles.iter().filter(|role| role.track == track) {
        for (codename, version) in versions_of_role(desired, role, observed, now) {
            let of = |release: &Version| role.is_package_of(version, release, codename);
            if !of(target) {
                present.insert((version.clone(), desired.ranks.iter().position(of)));
            }
        }
        present.extend(running_of_role(desired, role, observed, now));
    }
    present
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
) -> BTreeSet<(Version, Option<usize>)> {
    let mut said = BTreeSet::new();
    for state in states_of_role(desired, role, observed, now) {
        let services = moving(role).filter_map(|service| state.services.get(&service.name)?.said());
        said.extend(services.map(|version| (state.codename.as_str(), version)));
    }
    let target = desired.target_of(role.track);
    let releases = said.into_iter().filter_map(|(codename, version)| {
        let release = known_release(desired, role, codename, version).filter(|release| *release != target)?;
        Some((role.package_version(release, codename), Some(desired.rank(release)?)))
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
