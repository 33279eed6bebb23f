//! Every wait has an end, and what may not act says so.

use jiff::Timestamp;
use model::{Desired, History, Mode, Plan, Reason, Standing};

use super::{Findings, Promise};

pub(super) fn lint(desired: &Desired, history: &History, plan: &Plan, now: Timestamp, found: &mut Findings) {
    if plan.next_turn().is_some_and(|turn| turn <= now) {
        found.plan(Promise::Liveness, "the plan wakes at a time that is over");
    }
    if is_stuck(desired, history, plan) {
        found.plan(Promise::Liveness, "nothing is under way, nothing begins, and nothing is waited for");
    }
    reports_only(desired, plan, found);
    let unknown = history.progress.adopted.is_none() && history.steps == 0;
    if unknown && !plan.steps.is_empty() {
        found.plan(Promise::S7, "steps would begin on a fleet that nobody has adopted");
    }
}

/// Not converged, and nobody comes back to it.
fn is_stuck(desired: &Desired, history: &History, plan: &Plan) -> bool {
    let begins = !(plan.steps.is_empty() && plan.records.is_empty() && plan.edits.is_empty());
    let looks = !plan.observe.is_empty() || plan.next_turn().is_some() || !history.in_flight.is_empty();
    // An environment that has left the repository has no fleet to bring anywhere.
    let has_fleet = desired.fleet.hosts().next().is_some();
    has_fleet && !begins && !looks && plan.waiting.is_empty() && plan.standing(false) != Standing::Converged
}

/// Steps of a fleet that is only reported on are for people, and say so.
fn reports_only(desired: &Desired, plan: &Plan, found: &mut Findings) {
    let says_so = plan.waiting.iter().any(|waiting| matches!(waiting.reason, Reason::ReportOnly { .. }));
    if desired.fleet.mode == Mode::Report && !plan.steps.is_empty() && !says_so {
        found.plan(Promise::S11, "steps in mode = \"report\", and no word that they do not begin");
    }
}
