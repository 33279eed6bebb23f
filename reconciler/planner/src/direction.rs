//! Which way a change goes. Git history decides, never version order: release candidates sort above the final.
//!
//! A host whose packages are those of the target already, and whose services still run a later version, is on the way back
//! as well: else its last steps would be taken for a new release, which gates may keep waiting.

use std::collections::BTreeSet;

use jiff::Timestamp;
use model::{Desired, Direction, History, HostName, Observed, Reason, Role, ServiceState, Track, Version};

use crate::running::{is_meant, moving};

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
    if is_newest(desired, target) {
        let packages = present.iter().map(|(package, _)| package);
        let word = desired.direction.filter(|_| is_asked(desired, history, target));
        return word.map_or_else(|| forward_from(desired, target, packages), Ok);
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
    let untold = present.iter().filter(|(_, appeared)| is_untold(appeared));
    forward_from(desired, target, untold.map(|(package, _)| package))
}

/// Whether the word beside main's version is meant for a new target: it is main's, and sorts below one that was there before.
/// A word that stayed behind when the version went on says nothing of the next one, and nothing of the canary's.
fn is_asked(desired: &Desired, history: &History, target: &Version) -> bool {
    let progress = &history.progress;
    let found = progress.found_running.iter().chain(&progress.found_ahead);
    let mut known = desired.ranks.iter().chain(&progress.appeared).chain(found);
    *target == desired.target && known.any(|known| target.dpkg_cmp(known).is_lt())
}

/// Whether the way from a version to a target that lies back leads past it. A target that was never asked for before comes last
/// in git, and lies back only where a person says so, who means Debian's order.
pub fn lies_past(desired: &Desired, history: &History, version: &Version, target: &Version) -> bool {
    let below = || is_newest(desired, target) && target.dpkg_cmp(version).is_lt();
    came_after(desired, history, version, target) || below()
}

/// Whether a release came after another one: by git, where that does not know both by the journal, else as Debian sorts them.
pub(crate) fn came_after(desired: &Desired, history: &History, version: &Version, than: &Version) -> bool {
    let journal = |version| history.progress.appeared.iter().position(|known| known == version);
    let git = desired.rank(version).zip(desired.rank(than));
    let places = git.or_else(|| journal(version).zip(journal(than)));
    places.map_or_else(|| than.dpkg_cmp(version).is_lt(), |(version, than)| version > than)
}

fn is_newest(desired: &Desired, target: &Version) -> bool {
    desired.rank(target).is_none_or(|rank| rank + 1 == desired.ranks.len())
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
        let told = Told::by(desired, role, observed, now);
        for (codename, version) in told.installed {
            let of = |release: &Version| role.is_package_of(version, release, codename);
            if !of(target) {
                present.insert((version.clone(), appeared(desired, history, of)));
            }
        }
        let releases = told.running.into_iter().filter_map(|(codename, version)| {
            let appeared = appeared(desired, history, |release| is_meant(role, release, codename, version));
            let release = match appeared {
                Appeared::Git(rank) => &desired.ranks[rank],
                Appeared::Journal(at) => &history.progress.appeared[at],
                Appeared::Unknown => return None,
            };
            (release != target).then(|| (role.package_version(release, codename), appeared))
        });
        present.extend(releases);
    }
    present
}

fn appeared(desired: &Desired, history: &History, of: impl Fn(&Version) -> bool + Copy) -> Appeared {
    let git = desired.ranks.iter().position(of).map(Appeared::Git);
    let journal = || history.progress.appeared.iter().position(of).map(Appeared::Journal);
    git.or_else(journal).unwrap_or(Appeared::Unknown)
}

/// What a role's hosts tell, each once, with the host's code name of Debian: a fleet has two or three versions, however many
/// hosts it has.
#[derive(Default)]
struct Told<'a> {
    /// Package versions.
    installed: Vec<(&'a str, &'a Version)>,
    /// What services say they run. What neither git nor the journal knows may be a word for something else.
    running: Vec<(&'a str, &'a Version)>,
}

impl<'a> Told<'a> {
    fn by(desired: &'a Desired, role: &'a Role, observed: &'a Observed, now: Timestamp) -> Self {
        let counts = |host: &&HostName| desired.exceptions.host_out(host, now).is_none();
        let mut told = Self::default();
        for state in role.hosts.iter().filter(counts).filter_map(|host| observed.host(host)) {
            let codename = state.codename.as_str();
            for package in role.packages.iter().filter_map(|name| state.packages.get(name)) {
                once(&mut told.installed, (codename, &package.version));
            }
            for service in moving(role) {
                if let Some(said) = state.services.get(&service.name).and_then(ServiceState::said) {
                    once(&mut told.running, (codename, said));
                }
            }
        }
        told
    }
}

fn once<T: PartialEq>(known: &mut Vec<T>, new: T) {
    if !known.contains(&new) {
        known.push(new);
    }
}
