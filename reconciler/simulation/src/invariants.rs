//! What is promised, checked against the world itself and not against what the program believes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use model::{BackendName, HostName, RowId, Step, Track};

use crate::balancer::{Node, Server};
use crate::state::{State, TraceLine};

/// How much of what went before is kept with a violation.
const TRACE_LINES: usize = 40;

/// The promises that the world can judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// No action of ours takes a (node, backend, track) below its floor, or further below.
    S1,
    /// No install or activation on a host in rotation.
    S3,
    /// An older generation changes nothing that a newer one has claimed.
    S6,
    /// What must not run twice starts once, and one job runs on a host at a time.
    S7,
    /// What others took out is not put back, nor changed.
    S12,
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
    /// Those that a fault took so lately that nobody can be expected to know.
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
        let noticed_ms = self.now_ms.saturating_sub(self.pace.undone_ms);
        let known = |row: &Server| row.undone_ms.is_none_or(|undone_ms| undone_ms < noticed_ms);
        let serves = |row: &Server| row.host == step.host && row.takes_traffic() && known(row);
        let serving = self.nodes.iter().filter(|(_, node)| node.passes_traffic()).find_map(|(name, node)| {
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
    pub(crate) fn rotation(&self, name: &HostName, rows: &BTreeSet<RowId>) -> Rotation {
        let backends: BTreeSet<&BackendName> = rows.iter().map(|row| &row.backend).collect();
        let mut all = BTreeMap::new();
        let Some(node) = self.nodes.get(name).filter(|node| node.passes_traffic()) else {
            return Rotation(all);
        };
        for backend in backends {
            for track in [None, Some(Track::Main), Some(Track::Canary)] {
                all.insert((name.clone(), backend.clone(), track), self.seats(node, backend, track));
            }
        }
        Rotation(all)
    }

    fn seats(&self, node: &Node, backend: &BackendName, track: Option<Track>) -> Seats {
        let mut seats = Seats::default();
        let noticed_ms = self.now_ms.saturating_sub(self.pace.blind_ms);
        let counted = |row: &Server| track.is_none_or(|track| row.track == track);
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

    /// S1, after an action that began with `before`.
    pub(crate) fn floor_kept(&mut self, step: &Step, before: Rotation) {
        for ((name, backend, track), was) in before.0 {
            let Some(node) = self.nodes.get(&name) else { continue };
            let now = self.seats(node, &backend, track);
            let floor = self.floor(node, &backend, track, now.configured);
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
    fn floor(&self, node: &Node, backend: &BackendName, track: Option<Track>, configured: usize) -> usize {
        if track.is_some() {
            return configured.saturating_sub(self.fleet.backend_limit.of(configured));
        }
        let serves = |role: &&model::Role| {
            role.backends.iter().any(|id| id.backend == *backend && id.load_balancer == node.load_balancer)
        };
        let outage = self.fleet.roles.iter().filter(serves).any(|role| role.allow_outage);
        usize::from(!outage).min(configured)
    }
}
