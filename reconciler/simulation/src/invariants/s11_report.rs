//! S11: in report mode nothing is changed.
//!
//! Judged as a step sets out, by the commit that wants it.

use model::{Desired, Mode, Step};

use crate::invariants::Promise;
use crate::state::State;

impl State {
    /// Where nothing may be changed, nothing sets out to.
    pub(super) fn may_change_anything(&mut self, desired: &Desired, step: &Step) {
        if desired.fleet.mode == Mode::Report {
            let what = format!("{}: {} on {} in report mode", step.id, step.action.kind(), step.host);
            self.violated(Promise::S11, what);
        }
    }
}
