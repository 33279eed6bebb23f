//! The decisions: whether, what, in which order, how many. Pure: synchronous, total, deterministic; no clock, no I/O.

mod capacity;
mod direction;
mod draining;
mod next;
mod pass;
mod position;
mod preview;
mod returning;
mod simulate;
mod survey;
mod tuning;

use std::collections::BTreeSet;

use jiff::Timestamp;
use model::{Desired, Direction, History, Observed, Plan, Scope, Subject, Waiting};

pub use preview::{Preview, PreviewedStep, preview};

/// Decides what may start now, and why everything else waits.
///
/// Plans no rollout, only the next safe wave: when anything finishes, its target is observed again and this runs
/// again. Equal inputs give equal plans. Steps in flight are part of `history`; a step that is planned is expected to
/// be recorded there before the next call.
pub fn plan(desired: &Desired, observed: &Observed, history: &History, now: Timestamp) -> Plan {
    match direction::direction(desired, observed) {
        Ok(direction) => pass::plan(&survey::Survey::new(desired, observed, history, now, direction)),
        Err(reason) => undecided(desired, observed, now, reason),
    }
}

/// Nothing starts until a person says which way; the fleet is still looked at.
fn undecided(desired: &Desired, observed: &Observed, now: Timestamp, reason: model::Reason) -> Plan {
    let hosts = desired.fleet.hosts().map(|(_, host)| host);
    let stale = |host: &&model::HostName| {
        observed.hosts.get(*host).is_none_or(|fact| fact.at + tuning::HOST_REFRESH <= now)
    };
    let observe: BTreeSet<Scope> = hosts.filter(stale).cloned().map(Scope::Host).collect();
    Plan {
        environment: desired.environment.clone(),
        commit: desired.commit.id.clone(),
        target: desired.target.clone(),
        direction: Direction::Forward,
        steps: Vec::new(),
        waiting: vec![Waiting { subject: Subject::Environment, reason, since: now }],
        observe,
        wake: Some(now + tuning::HOST_REFRESH),
        progress: Vec::new(),
        notes: Vec::new(),
    }
}
