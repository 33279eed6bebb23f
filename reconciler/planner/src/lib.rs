//! The decisions: whether, what, in which order, how many. Pure: synchronous, total, deterministic; no clock, no I/O.

mod adoption;
mod agent;
mod behind;
mod capacity;
mod direction;
mod draining;
mod errands;
mod estimate;
mod failing;
mod follow;
mod gates;
mod jobs;
mod ladder;
mod lanes;
mod next;
mod outs;
mod pass;
mod position;
mod preview;
mod refusals;
mod returning;
mod rows;
mod running;
mod shares;
mod simulate;
mod survey;
mod telling;
mod tuning;
mod upkeep;
mod workers;

use jiff::Timestamp;
use model::{Desired, Event, History, HostName, Observed, Plan, Reason, Subject, Version, Waiting};

pub use adoption::{adopted, releases_ahead, releases_running};
pub use direction::lies_past;
pub use preview::{Preview, PreviewedStep, preview};

/// Decides what may start now, and why everything else waits.
///
/// Plans no rollout, only the next safe wave: when anything finishes, its target is observed again and this runs
/// again. Equal inputs give equal plans. Steps in flight are part of `history`; a step that is planned is expected to
/// be recorded there before the next call, and so is everything in [`Plan::records`].
pub fn plan(desired: &Desired, observed: &Observed, history: &History, now: Timestamp) -> Plan {
    let ground = survey::Ground::of(desired);
    let survey = survey::Survey::new(desired, observed, history, now, &ground);
    let mut plan = pass::plan(&survey);
    let missing = adoption::missing(&survey);
    if missing.is_some() || !adoption::is_adopted(&survey) {
        plan.steps.clear();
        plan.edits.clear();
        plan.records.retain(|event| matches!(event, Event::Adopted { .. } | Event::GateTurned { .. }));
        // How far a release is nobody knows yet.
        plan.waiting.retain(|waiting| matches!(waiting.subject, Subject::Host(_) | Subject::Environment));
        let why = match missing {
            Some(reason) => vec![(Subject::Environment, reason)],
            None => adoption::unclear(&survey).into_iter().map(asks).collect(),
        };
        let why = why.into_iter().map(|(subject, reason)| Waiting { subject, reason, since: now });
        plan.waiting.splice(0..0, why);
    }
    plan
}

/// A person is asked about a host of which nobody can tell whether the target ran there.
fn asks((host, target): (HostName, Version)) -> (Subject, Reason) {
    (Subject::Host(host), Reason::RunningUnknown { target })
}
