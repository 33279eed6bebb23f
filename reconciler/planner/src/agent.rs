//! The configuration agent: paused only where we work, given back as found, a run in progress waited for.

use model::{Action, HostState, Reason};

use crate::next::{Next, Wait, host_scope};
use crate::survey::{HostView, Survey};
use crate::tuning::{UNWELL_REFRESH, WATCH};

/// What a claimed host needs before it may be changed; none: the agent is out of the way.
pub(crate) fn quiet(survey: &Survey<'_>, host: &HostView<'_>, state: &HostState) -> Option<Next> {
    let agent = survey.desired.fleet.policy.config_agent.as_ref()?;
    let seen = state.agent.as_ref()?;
    if seen.active && !seen.paused_by_us {
        return Some(Next::Step(
            Action::PauseAgent { agent: agent.clone() },
            "no run of it in the middle of ours",
        ));
    }
    seen.busy.then(|| Next::Wait(Wait::new(Reason::AgentBusy).watching_for_change(host_scope(host), WATCH)))
}

/// Why a host is not begun yet: it is in the middle of a run.
pub(crate) fn busy(survey: &Survey<'_>, host: &HostView<'_>, state: &HostState) -> Option<Wait> {
    survey.desired.fleet.policy.config_agent.as_ref()?;
    let busy = state.agent.as_ref().is_some_and(|agent| agent.busy);
    busy.then(|| Wait::new(Reason::AgentBusy).watching_for_change(host_scope(host), UNWELL_REFRESH))
}

/// Lets a host go: first its agent, then our mark.
pub(crate) fn released(survey: &Survey<'_>, host: &HostView<'_>, why: &'static str) -> Next {
    let paused = host.state().is_some_and(is_paused_by_us);
    match survey.desired.fleet.policy.config_agent.as_ref().filter(|_| paused) {
        Some(agent) => Next::Step(Action::ResumeAgent { agent: agent.clone() }, "given back as found"),
        None => Next::Step(Action::Release, why),
    }
}

/// Whether our mark says that we paused it.
pub(crate) fn is_paused_by_us(state: &HostState) -> bool {
    state.agent.as_ref().is_some_and(|agent| agent.paused_by_us)
}
