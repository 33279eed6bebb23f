//! S6: a service with an older generation changes nothing that a newer one has claimed.
//!
//! Judged by the highest generation that a host or node has ever seen, whenever its guard lets a command pass.

use model::{Generation, HostName, Step};

use crate::invariants::Promise;
use crate::state::State;

impl State {
    /// S6: nothing older changes what a newer generation was at.
    pub(crate) fn is_not_superseded(&mut self, step: &Step, place: &HostName, newest: Generation) {
        if newest > step.generation {
            let what =
                format!("{} of generation {} acts on {place} after {newest}", step.id, step.generation);
            self.violated(Promise::S6, what);
        }
    }
}
