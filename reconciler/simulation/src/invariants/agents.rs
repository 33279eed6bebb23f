//! No configuration agent runs, or could begin to, where we install.
//!
//! Judged as an install begins, by the agent itself. What somebody else did to it in the last moments cannot be known.

use model::Step;

use crate::invariants::Promise;
use crate::state::State;

impl State {
    /// Before a job of ours changes packages on a host.
    pub(crate) fn agent_rests(&mut self, step: &Step) {
        // However late it arrives: whoever stood still meanwhile has decided before.
        let noticed_ms = self.decided_at_ms(step).saturating_sub(self.pace.blind_ms);
        let Some(agent) = self.hosts.get(&step.host).and_then(|host| host.agent.as_ref()) else { return };
        let state = agent.state(self.now_ms);
        let stirred = agent.stirred_ms.is_some_and(|at_ms| at_ms >= noticed_ms);
        if (state.active || state.busy) && !stirred {
            let what = if state.busy { "runs" } else { "is active" };
            let what = format!("{}: installs on {} while its configuration agent {what}", step.id, step.host);
            self.violated(Promise::Agent, what);
        }
    }
}
