//! Which way a change goes. Git history decides, never version order: release candidates sort above the final.

use std::collections::{BTreeSet, HashSet};

use model::{Desired, Direction, HostState, Observed, Reason, Role, Version};

/// The direction from what is observed to the target.
///
/// Back when the target's first appearance lies before that of a version observed on the fleet. A target that
/// nobody asked for before, and that Debian sorts below an observed version, needs a person's word.
///
/// # Errors
/// [`Reason::DirectionUnknown`] when that word is missing.
pub(crate) fn direction(desired: &Desired, observed: &Observed) -> Result<Direction, Reason> {
    let present = versions_present(desired, observed);
    let newest = desired.rank(&desired.target).is_none_or(|rank| rank + 1 == desired.ranks.len());
    if !newest {
        return Ok(among_known(desired, &present));
    }
    if let Some(direction) = desired.direction {
        return Ok(direction);
    }
    let above = present.iter().find(|(package, _)| desired.target.dpkg_cmp(package).is_lt());
    match above {
        Some((package, _)) => {
            Err(Reason::DirectionUnknown { target: desired.target.clone(), observed: package.clone() })
        }
        None => Ok(Direction::Forward),
    }
}

fn among_known(desired: &Desired, present: &BTreeSet<(Version, Option<usize>)>) -> Direction {
    let target = desired.rank(&desired.target);
    let later = |(package, rank): &(Version, Option<usize>)| match rank {
        Some(rank) => Some(*rank) > target,
        None => desired.target.dpkg_cmp(package).is_lt(),
    };
    if present.iter().any(later) { Direction::Back } else { Direction::Forward }
}

/// Package versions on the fleet other than the target's, each with the rank of the release it belongs to.
fn versions_present(desired: &Desired, observed: &Observed) -> BTreeSet<(Version, Option<usize>)> {
    let mut present = BTreeSet::new();
    for role in &desired.fleet.roles {
        for (codename, version) in versions_of_role(role, observed) {
            let of = |release: &Version| role.package_version(release, codename) == *version;
            if !of(&desired.target) {
                present.insert((version.clone(), desired.ranks.iter().position(of)));
            }
        }
    }
    present
}

/// Every package version of a role's hosts, with the host's code name of Debian; each once.
fn versions_of_role<'a>(role: &'a Role, observed: &'a Observed) -> HashSet<(&'a str, &'a Version)> {
    let states = role.hosts.iter().filter_map(|host| observed.host(host));
    let versions = |state: &'a HostState| {
        let packages = role.packages.iter().filter_map(|name| state.packages.get(name));
        packages.map(|package| (state.codename.as_str(), &package.version))
    };
    states.flat_map(versions).collect()
}
