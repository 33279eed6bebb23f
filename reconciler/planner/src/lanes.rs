//! A lane is a track on its way to its target: which way, in which order, and in which mode.

use jiff::Timestamp;
use model::{
    Desired, Direction, Emergency, History, Observed, Reason, Role, RoleName, Run, Stage, Track, Version,
};

use crate::direction::direction;

/// A track on its way to its target.
pub(crate) struct Lane<'a> {
    pub(crate) track: Track,
    pub(crate) target: &'a Version,
    /// Which way; or why nobody knows.
    pub(crate) direction: Result<Direction, Reason>,
    /// In fast mode.
    pub(crate) emergency: Option<&'a Emergency>,
    /// In the order of work.
    pub(crate) rungs: Vec<Rung<'a>>,
}

/// One part of a stage that is done as a whole before the next one begins.
pub(crate) struct Rung<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) work: Work<'a>,
    /// No other part of the stage comes after it.
    pub(crate) last: bool,
    /// Of another track's stage, which that track alone watches and remembers.
    pub(crate) borrowed: bool,
}

/// What a rung does.
pub(crate) enum Work<'a> {
    Migrate,
    /// These roles, side by side.
    Deploy(Vec<&'a Role>),
    PostMigrate,
}

impl Lane<'_> {
    /// Forward, unless it is known to go back.
    pub(crate) fn way(&self) -> Direction {
        self.direction.as_ref().copied().unwrap_or(Direction::Forward)
    }

    pub(crate) fn goes_back(&self) -> bool {
        self.way() == Direction::Back
    }

    /// Going back and in an emergency, no gate, check or soak counts.
    pub(crate) fn is_unwatched(&self) -> bool {
        self.goes_back() || self.emergency.is_some()
    }

    /// The place of a role among the rungs.
    fn rung_of(&self, role: &RoleName) -> Option<usize> {
        self.rungs.iter().position(|rung| rung.roles().iter().any(|known| known.name == *role))
    }
}

impl<'a> Rung<'a> {
    /// The roles that it deploys.
    pub(crate) fn roles(&self) -> &[&'a Role] {
        match &self.work {
            Work::Deploy(roles) => roles,
            Work::Migrate | Work::PostMigrate => &[],
        }
    }
}

/// The lanes of an environment, the one that goes first in front: canary before main when both have one target and go
/// forward, else main.
pub(crate) fn lanes<'a>(
    desired: &'a Desired,
    observed: &Observed,
    history: &History,
    stages: &'a [Stage],
    now: Timestamp,
) -> Vec<Lane<'a>> {
    let has_stages = |track: &Track| stages.iter().any(|stage| stage.track == *track);
    let lane = |track| lane(desired, stages, track, direction(desired, observed, history, track, now));
    let tracks = [Track::Canary, Track::Main].into_iter().filter(has_stages);
    let mut lanes: Vec<Lane<'_>> = tracks.filter_map(lane).collect();
    if lanes.len() == 2 && !canary_goes_first(&lanes) {
        lanes.reverse();
    }
    lanes
}

/// Two lanes with one target are one release: the canary tries it first, and leaves it last.
pub(crate) fn are_one_release(lanes: &[Lane<'_>]) -> bool {
    matches!(lanes, [one, other] if one.target == other.target)
}

fn canary_goes_first(lanes: &[Lane<'_>]) -> bool {
    are_one_release(lanes) && !lanes.iter().any(Lane::goes_back)
}

fn lane<'a>(
    desired: &'a Desired,
    stages: &'a [Stage],
    track: Track,
    direction: Result<Direction, Reason>,
) -> Option<Lane<'a>> {
    let roles = || desired.fleet.roles.iter().filter(|role| role.track == track);
    let target = desired.target_of(track);
    let back = direction == Ok(Direction::Back);
    let emergency = desired.emergency(target);
    let needed = |rung: &Rung<'_>| match rung.work {
        Work::Deploy(_) => true,
        Work::Migrate => !back,
        // A point of no return is nothing that hurry helps: it comes when the emergency is over, watched as ever.
        Work::PostMigrate => !back && emergency.is_none(),
    };
    let mut rungs: Vec<Rung<'_>> = Vec::new();
    for stage in stages.iter().filter(|stage| stage.track == track) {
        rungs.extend(rungs_of(stage, roles).filter(needed));
    }
    if back {
        rungs.reverse();
        mark_last(&mut rungs);
    } else if let Some(rung) = borrowed_migration(stages, track).filter(|_| !rungs.is_empty()) {
        rungs.insert(0, rung);
    }
    (!rungs.is_empty()).then_some(Lane { track, target, direction, emergency, rungs })
}

/// Both tracks share the database: where only the other one has a stage that migrates, this one waits for it, or runs it
/// itself when it comes first.
fn borrowed_migration(stages: &[Stage], track: Track) -> Option<Rung<'_>> {
    let migrates = |stage: &&Stage| stage.run == Run::Migrate;
    let own = stages.iter().filter(migrates).any(|stage| stage.track == track);
    let stage = stages.iter().find(migrates).filter(|_| !own)?;
    Some(Rung { stage, work: Work::Migrate, last: true, borrowed: true })
}

fn mark_last(rungs: &mut [Rung<'_>]) {
    let names: Vec<_> = rungs.iter().map(|rung| rung.stage.name.clone()).collect();
    for (at, rung) in rungs.iter_mut().enumerate() {
        rung.last = names.get(at + 1).is_none_or(|next| *next != rung.stage.name);
    }
}

fn rungs_of<'a, Roles: Iterator<Item = &'a Role>>(
    stage: &'a Stage,
    roles: impl Fn() -> Roles,
) -> impl Iterator<Item = Rung<'a>> {
    let works = match &stage.run {
        Run::Migrate => vec![Work::Migrate],
        Run::PostMigrate => vec![Work::PostMigrate],
        Run::Deploy { roles: names, in_order } => {
            let deployed: Vec<&Role> =
                names.iter().filter_map(|name| roles().find(|role| role.name == *name)).collect();
            match in_order {
                true => deployed.into_iter().map(|role| Work::Deploy(vec![role])).collect(),
                false => vec![Work::Deploy(deployed)],
            }
        }
    };
    let count = works.len();
    works.into_iter().enumerate().map(move |(at, work)| Rung {
        stage,
        work,
        last: at + 1 == count,
        borrowed: false,
    })
}

/// Where a role stands: its lane's place, and its rung's in it. A role that no stage deploys is never worked on; the
/// parser refuses it.
pub(crate) fn place_of(lanes: &[Lane<'_>], role: &RoleName) -> Option<(usize, usize)> {
    lanes.iter().enumerate().find_map(|(at, lane)| Some((at, lane.rung_of(role)?)))
}
