//! S1: no action of ours takes a (node, backend, track) below its floor, or further below.
//!
//! Judged on each node right after an action of ours there, by the rows that really take traffic: fewer than before, and
//! fewer than all but the budget of the commit that wants the step. A server that a fault took just before the step was
//! decided, or after, counts as there, and one that came back then as gone, since nobody can know; nodes that are declared
//! out do not count, nor do hosts, once they serve nowhere.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{ActionKind, BackendName, Desired, Fleet, HostName, RowId, Step, Track};

use crate::balancer::{Node, Server};
use crate::invariants::Promise;
use crate::state::State;

/// Servers of one backend on one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seats {
    configured: usize,
    in_rotation: usize,
    /// Those that a fault took so lately that whoever decided cannot be expected to know.
    unnoticed: usize,
    /// Those in rotation that came back so lately that they may have been taken for ones that are down.
    came: usize,
}

/// How many servers each touched backend had, in each view that whoever decided may have had.
pub(crate) struct Rotation(Vec<(View, Count)>);

/// When it may be, or may have been when the step was decided, and who does not count then.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct View {
    at: Timestamp,
    outs: BTreeSet<HostName>,
}

type Count = BTreeMap<(HostName, BackendName, Option<Track>), Seats>;

impl State {
    /// Counts what S1 speaks of, before an action on one node.
    pub(crate) fn rotation(&mut self, step: &Step, name: &HostName, rows: &BTreeSet<RowId>) -> Rotation {
        let views = self.views(step);
        let counted = |view: View| {
            let count = self.count(step, name, rows, &view.outs);
            (view, count)
        };
        Rotation(views.into_iter().map(counted).collect())
    }

    /// A clock that went back leaves two times, and what is declared out until some time is out by one of them. Of a host
    /// that is declared out nobody may have known whether it serves still.
    fn views(&mut self, step: &Step) -> BTreeSet<View> {
        let desired = self.law_of(step);
        let now = self.clock.at(self.now_ms);
        if desired.is_none_or(|desired| desired.exceptions.outs.is_empty()) {
            return [View { at: now, outs: self.outs(step, now, false) }].into();
        }
        let decided = self.clock.at(self.decided_at_ms(step));
        let times = [now, decided].into_iter().flat_map(|at| [at, at + self.clock.behind()]);
        let views = times.flat_map(|at| [true, false].map(|serving| (at, serving)));
        let views: Vec<(Timestamp, bool)> = views.collect();
        views.into_iter().map(|(at, serving)| View { at, outs: self.outs(step, at, serving) }).collect()
    }

    fn count(
        &mut self,
        step: &Step,
        name: &HostName,
        rows: &BTreeSet<RowId>,
        outs: &BTreeSet<HostName>,
    ) -> Count {
        let noticed_ms = self.had_to_know_ms(step);
        let backends: BTreeSet<&BackendName> = rows.iter().map(|row| &row.backend).collect();
        let mut all = Count::new();
        let Some(node) = self.nodes.get(name).filter(|node| node.passes_traffic()) else { return all };
        for backend in backends {
            for track in [None, Some(Track::Main), Some(Track::Canary)] {
                let seats = seats(node, backend, track, outs, noticed_ms);
                all.insert((name.clone(), backend.clone(), track), seats);
            }
        }
        all
    }

    /// Hosts that are declared out, as far as the commit that wants a step says, or are in the fleet no more: they do not
    /// count. With `serving`, they do as long as they serve.
    fn outs(&mut self, step: &Step, at: Timestamp, serving: bool) -> BTreeSet<HostName> {
        let Some(desired) = self.law_of(step) else { return BTreeSet::new() };
        let is_out = |host: &&HostName| {
            desired.exceptions.host_out(host, at).is_some() && !(serving && self.serves_somewhere(host))
        };
        let gone = |name: &&HostName| desired.fleet.role_of(name).is_none();
        let of_environment = self.hosts.iter().filter(|(_, host)| host.environment == step.environment);
        let gone = of_environment.map(|(name, _)| name).filter(gone);
        desired.fleet.hosts().map(|(_, host)| host).filter(is_out).chain(gone).cloned().collect()
    }

    /// Whether traffic reaches a host, by a row that points to it.
    fn serves_somewhere(&self, name: &HostName) -> bool {
        let address = self.hosts.get(name).map(|host| &host.address);
        let serves = |row: &Server| {
            row.host == *name && row.takes_traffic() && address.is_some_and(|it| *it == row.address)
        };
        self.nodes.values().flat_map(|node| node.rows.values()).any(serves)
    }

    /// S1, after an action that began with `before`: broken in whatever view.
    pub(crate) fn floor_kept(&mut self, step: &Step, before: Rotation) {
        let broken: Vec<Option<String>> =
            before.0.into_iter().map(|(view, count)| self.below_floor(step, &view, count)).collect();
        if let Some(what) = broken.into_iter().reduce(|one, other| one.and(other)).flatten() {
            self.violated(Promise::S1, what);
        }
    }

    fn below_floor(&mut self, step: &Step, view: &View, before: Count) -> Option<String> {
        let (desired, noticed_ms) = (self.law_of(step), self.had_to_know_ms(step));
        let is_out =
            |desired: &Desired, node: &HostName| desired.exceptions.node_out(node, view.at).is_some();
        let built = self.fleets.get(&step.environment).or_else(|| self.fleets.values().next()).cloned();
        let fleet = desired.as_ref().map(|desired| &desired.fleet).or(built.as_deref())?;
        // Whatever a host is brought to a safe point with, in an emergency all of its track may be out as the emergency says.
        let track = fleet.role_of(&step.host).map(|role| role.track).unwrap_or_default();
        let urgent = |desired: &Desired| {
            [&step.version, desired.target_of(track)]
                .iter()
                .any(|version| desired.emergency(version).is_some())
        };
        let rules = Rules { fleet, emergency: desired.as_deref().is_some_and(urgent) };
        for ((name, backend, track), was) in before {
            if desired.as_ref().is_some_and(|desired| is_out(desired, &name)) || is_withdrawal(step, track) {
                continue;
            }
            let Some(node) = self.nodes.get(&name) else { continue };
            let now = seats(node, &backend, track, &view.outs, noticed_ms);
            let floor = Self::floor(&rules, node, &backend, track, now.configured);
            let known = was.in_rotation - was.came.saturating_sub(now.came);
            if now.in_rotation < known && now.in_rotation + now.unnoticed < floor {
                let of = track.map_or_else(String::new, |track| format!(" of track {track}"));
                return Some(format!(
                    "{}: {} left {} of {} servers{of} in {backend} on {name}; the floor is {floor}",
                    step.id,
                    step.action.kind(),
                    now.in_rotation,
                    now.configured
                ));
            }
        }
        None
    }

    /// What must stay: of a track, all but the budget; of the whole backend, one, unless an outage is allowed.
    fn floor(
        rules: &Rules<'_>,
        node: &Node,
        backend: &BackendName,
        track: Option<Track>,
        configured: usize,
    ) -> usize {
        let Rules { fleet, emergency } = rules;
        if track.is_some() {
            let usual = fleet.backend_limit.of(configured);
            let wide = if *emergency { fleet.policy.emergency.max_unavailable.of(configured) } else { 0 };
            return configured.saturating_sub(usual.max(wide));
        }
        let serves = |role: &&model::Role| {
            role.backends.iter().any(|id| id.backend == *backend && id.load_balancer == node.load_balancer)
        };
        let outage = fleet.roles.iter().filter(serves).any(|role| role.allow_outage);
        usize::from(!outage).min(configured)
    }
}

/// What a floor is judged by: the commit that wants the step, or else the fleet that the world was built from.
struct Rules<'a> {
    fleet: &'a Fleet,
    emergency: bool,
}

/// What a (node, backend, track) has. A server that was lost after `noticed_ms` may count as there, also
/// one whose row is gone since.
fn seats(
    node: &Node,
    backend: &BackendName,
    track: Option<Track>,
    outs: &BTreeSet<HostName>,
    noticed_ms: u64,
) -> Seats {
    let mut seats = Seats::default();
    let counted = |row: &Server| track.is_none_or(|track| row.track == track) && !outs.contains(&row.host);
    let vanished = node.lost.iter().filter(|(key, row)| key.0 == *backend && counted(row));
    let unnoticed =
        vanished.filter(|(_, row)| row.left_ms.is_some_and(|left_ms| left_ms >= noticed_ms)).count();
    (seats.configured, seats.unnoticed) = (unnoticed, unnoticed);
    for (_, row) in node.rows.iter().filter(|(key, row)| key.0 == *backend && counted(row)) {
        seats.configured += 1;
        if row.takes_traffic() {
            seats.in_rotation += 1;
            seats.came += usize::from(row.came_ms.is_some_and(|came_ms| came_ms >= noticed_ms));
        } else if row.lost_ms.is_some_and(|lost_ms| lost_ms >= noticed_ms) {
            seats.unnoticed += 1;
        }
    }
    seats
}

/// The canary's share is no capacity: taking it back is always allowed, also where nobody else serves, since S2 asks for it.
fn is_withdrawal(step: &Step, track: Option<Track>) -> bool {
    step.action.kind() == ActionKind::Weigh && track != Some(Track::Main)
}
