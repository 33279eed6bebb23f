//! S10: every action belongs to a commit that was accepted.
//!
//! Judged as a step sets out, by the commits that the repository ever gave out as in force.

use model::Step;

use crate::invariants::Promise;
use crate::state::State;

impl State {
    /// The commit that wants a step was in force.
    pub(super) fn is_wanted(&mut self, step: &Step) {
        if self.law.as_ref().is_some_and(|law| !law.accepts(step)) {
            let what = format!("{}: {} was never accepted", step.id, step.commit);
            self.violated(Promise::S10, what);
        }
    }
}
