//! What is promised, checked against the world itself and not against what the program believes.

mod begins;
mod canary;
mod migrations;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use model::{ActionKind, BackendName, Desired, Fleet, HostName, RowId, Step, Track};

use crate::balancer::{Node, Server};
use crate::state::{State, TraceLine};

/// How much of what went before is kept with a violation.
const TRACE_LINES: usize = 300;

/// The promises that the world can judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// No action of ours takes a (node, backend, track) below its floor, or further below.
    S1,
    /// The canary's share is not above the desired one, and no canary weighs more than a main server.
    S2,
    /// No install or activation on a host in rotation.
    S3,
    /// No version serves before its migrations, and post-deployment migrations wait for every host that counts.
    S4,
    /// A vetoed version is only moved away from.
    S5,
    /// An older generation changes nothing that a newer one has claimed.
    S6,
    /// What must not run twice starts once, and one job runs on a host at a time.
    S7,
    /// Nothing begins, going forward, while a gate of its stage is not green.
    S8,
    /// Nothing begins, going forward, under a hold, in a pause or in a freeze.
    S9,
    /// Every action belongs to a commit that was accepted.
    S10,
    /// In report mode nothing is changed.
    S11,
    /// What others took out is not put back, nor changed.
    S12,
    /// No configuration agent runs where we install.
    Agent,
    /// No plan is made that its own linter has to refuse.
    Lint,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Timestamp,
    /// Which.
    pub promise: Promise,
    /// How, and where.
    pub what: String,
    /// What went before, the last line last; empty when the world keeps no trace.
    pub trace: Vec<TraceLine>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {:?}: {}", self.at, self.promise, self.what)?;
        self.trace.iter().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

/// Servers of one backend on one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seats {
    configured: usize,
    in_rotation: usize,
    /// Those that a fault took so lately that whoever decided cannot be expected to know.
    unnoticed: usize,
}

/// How many servers each touched backend had.
pub(crate) struct Rotation(BTreeMap<(HostName, BackendName, Option<Track>), Seats>);

impl State {
    pub(crate) fn violated(&mut self, promise: Promise, what: String) {
        let from = self.trace.len().saturating_sub(TRACE_LINES);
        let trace = self.trace[from..].to_vec();
        self.violations.push(Violation { at: self.clock.at(self.now_ms), promise, what, trace });
    }

    /// S3: work on a host that serves somewhere has to find it out of rotation, on every node that passes traffic. A
    /// drain that was undone just now, and not by us, cannot be known.
    pub(crate) fn out_of_rotation(&mut self, step: &Step) {
        let desired = self.law_of(step);
        if desired.as_ref().is_some_and(|desired| desired.emergency(&step.version).is_some()) {
            return;
        }
        let now = self.clock.at(self.now_ms);
        let is_out = |node: &HostName| {
            desired.as_ref().is_some_and(|desired| desired.exceptions.node_out(node, now).is_some())
        };
        let noticed_ms = self.now_ms.saturating_sub(self.pace.undone_ms);
        let known = |row: &Server| row.undone_ms.is_none_or(|undone_ms| undone_ms < noticed_ms);
        let serves = |row: &Server| row.host == step.host && row.takes_traffic() && known(row);
        let mut passing = self.nodes.iter().filter(|(name, node)| node.passes_traffic() && !is_out(name));
        let serving = passing.find_map(|(name, node)| {
            let mut rows = node.rows.iter().filter(|(_, row)| serves(row));
            rows.next().map(|(key, _)| format!("{}/{} on {name}", key.0, key.1))
        });
        if let Some(row) = serving {
            let action = step.action.kind();
            self.violated(
                Promise::S3,
                format!("{}: {action} on {} while {row} is in rotation", step.id, step.host),
            );
        }
    }

    /// Counts what S1 speaks of, before an action on one node.
    pub(crate) fn rotation(&mut self, step: &Step, name: &HostName, rows: &BTreeSet<RowId>) -> Rotation {
        let (outs, noticed_ms) = (self.outs(step), self.had_to_know_ms(step));
        let backends: BTreeSet<&BackendName> = rows.iter().map(|row| &row.backend).collect();
        let mut all = BTreeMap::new();
        let Some(node) = self.nodes.get(name).filter(|node| node.passes_traffic()) else {
            return Rotation(all);
        };
        for backend in backends {
            for track in [None, Some(Track::Main), Some(Track::Canary)] {
                let seats = seats(node, backend, track, &outs, noticed_ms);
                all.insert((name.clone(), backend.clone(), track), seats);
            }
        }
        Rotation(all)
    }

    /// Hosts that are declared out, as far as the commit that wants a step says, or in the fleet no more: they do not count.
    fn outs(&mut self, step: &Step) -> BTreeSet<HostName> {
        let now = self.clock.at(self.now_ms);
        let Some(desired) = self.law_of(step) else { return BTreeSet::new() };
        let is_out = |host: &&HostName| desired.exceptions.host_out(host, now).is_some();
        let gone = |name: &&HostName| desired.fleet.role_of(name).is_none();
        let of_environment = self.hosts.iter().filter(|(_, host)| host.environment == step.environment);
        let gone = of_environment.map(|(name, _)| name).filter(gone);
        desired.fleet.hosts().map(|(_, host)| host).filter(is_out).chain(gone).cloned().collect()
    }

    /// S1, after an action that began with `before`.
    pub(crate) fn floor_kept(&mut self, step: &Step, before: Rotation) {
        let (desired, outs, noticed_ms) = (self.law_of(step), self.outs(step), self.had_to_know_ms(step));
        let now = self.clock.at(self.now_ms);
        let is_out = |desired: &Desired, node: &HostName| desired.exceptions.node_out(node, now).is_some();
        let built = self.fleets.get(&step.environment).or_else(|| self.fleets.values().next()).cloned();
        let Some(fleet) = desired.as_ref().map(|desired| &desired.fleet).or(built.as_deref()) else { return };
        let emergency = desired.as_ref().is_some_and(|desired| desired.emergency(&step.version).is_some());
        let rules = Rules { fleet, emergency };
        for ((name, backend, track), was) in before.0 {
            if desired.as_ref().is_some_and(|desired| is_out(desired, &name)) || is_withdrawal(step, track) {
                continue;
            }
            let Some(node) = self.nodes.get(&name) else { continue };
            let now = seats(node, &backend, track, &outs, noticed_ms);
            let floor = Self::floor(&rules, node, &backend, track, now.configured);
            if now.in_rotation < was.in_rotation && now.in_rotation + now.unnoticed < floor {
                let of = track.map_or_else(String::new, |track| format!(" of track {track}"));
                let what = format!(
                    "{}: {} left {} of {} servers{of} in {backend} on {name}; the floor is {floor}",
                    step.id,
                    step.action.kind(),
                    now.in_rotation,
                    now.configured
                );
                self.violated(Promise::S1, what);
            }
        }
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

/// The canary's share is no capacity: taking it back is always allowed.
fn is_withdrawal(step: &Step, track: Option<Track>) -> bool {
    step.action.kind() == ActionKind::Weigh && track == Some(Track::Canary)
}

/// What a (node, backend, track) has. A server that was lost after `noticed_ms` may count as there.
fn seats(
    node: &Node,
    backend: &BackendName,
    track: Option<Track>,
    outs: &BTreeSet<HostName>,
    noticed_ms: u64,
) -> Seats {
    let mut seats = Seats::default();
    let counted = |row: &Server| track.is_none_or(|track| row.track == track) && !outs.contains(&row.host);
    for (_, row) in node.rows.iter().filter(|(key, row)| key.0 == *backend && counted(row)) {
        seats.configured += 1;
        if row.takes_traffic() {
            seats.in_rotation += 1;
        } else if row.lost_ms.is_some_and(|lost_ms| lost_ms >= noticed_ms) {
            seats.unnoticed += 1;
        }
    }
    seats
}
