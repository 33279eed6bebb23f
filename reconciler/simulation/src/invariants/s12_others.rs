//! S12: what others took out is not put back, nor changed.
//!
//! Judged as a command of ours changes a row, by who took it out: the world remembers, HAProxy has one drain bit. A drain
//! on a host that carries our mark is nobody's for sure, nor is one of a row that a step of ours was about of which nobody
//! heard how it ended.

use model::{RowId, Step};

use crate::balancer::TakenBy;
use crate::invariants::Promise;
use crate::state::State;

impl State {
    /// Before a row changes that `taken_by` has taken out.
    pub(crate) fn leaves_to_people(&mut self, step: &Step, id: &RowId, taken_by: TakenBy, becomes: &str) {
        let unsure = self.law.as_mut().is_some_and(|law| law.may_have_changed(id));
        if matches!(taken_by, TakenBy::Person(_)) && !unsure {
            let what = format!("{}: {id} was taken out by a person, and is {becomes}", step.id);
            self.violated(Promise::S12, what);
        }
    }
}
