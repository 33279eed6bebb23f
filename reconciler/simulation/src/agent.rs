//! Configuration agents: they run now and then by themselves, and are paused by us, or by somebody else.

use model::{AgentState, HostName, Outcome, Step};

use crate::chance::Chance;
use crate::state::{Due, State};

/// The agent on a host.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) active: bool,
    /// A run goes on until then.
    busy_until_ms: u64,
    /// Our mark, which says why it is paused.
    pub(crate) paused_by_us: bool,
    /// When somebody else last started it, or a run of it.
    pub(crate) stirred_ms: Option<u64>,
    chance: Chance,
}

impl Agent {
    pub(crate) fn active(seed: u64, name: &HostName) -> Self {
        let chance = Chance::stream(seed, &format!("agent of {name}"));
        Self { active: true, busy_until_ms: 0, paused_by_us: false, stirred_ms: None, chance }
    }

    pub(crate) fn state(&self, now_ms: u64) -> AgentState {
        AgentState { active: self.active, busy: now_ms < self.busy_until_ms, paused_by_us: self.paused_by_us }
    }
}

impl State {
    /// The next run of an agent by itself.
    pub(crate) fn agent_will_run(&mut self, name: &HostName) {
        let every = self.pace.agent_every;
        let Some(agent) = self.hosts.get_mut(name).and_then(|host| host.agent.as_mut()) else { return };
        let at_ms = self.now_ms + agent.chance.ms(every);
        self.queue.push(at_ms, Due::Agent { host: name.clone() });
    }

    /// An agent's timer fires: it runs, unless it is paused.
    pub(crate) fn agent_runs(&mut self, name: &HostName) {
        let (now_ms, run) = (self.now_ms, self.pace.agent_run);
        if let Some(agent) = self.hosts.get_mut(name).and_then(|host| host.agent.as_mut()) {
            let busy_ms = agent.chance.ms(run);
            if agent.active {
                agent.busy_until_ms = now_ms + busy_ms;
                self.note(name, || "the configuration agent runs".to_owned());
            }
        }
        self.agent_will_run(name);
    }

    /// Somebody starts a run by hand.
    pub(crate) fn agent_made_busy(&mut self, name: &HostName, busy_ms: u64) {
        let now_ms = self.now_ms;
        let Some(agent) = self.hosts.get_mut(name).and_then(|host| host.agent.as_mut()) else { return };
        agent.busy_until_ms = now_ms + busy_ms;
        agent.stirred_ms = Some(now_ms);
        self.note(name, || "somebody runs the configuration agent".to_owned());
    }

    /// Somebody stops the agent, or starts it.
    pub(crate) fn agent_set(&mut self, name: &HostName, active: bool) {
        let now_ms = self.now_ms;
        let Some(agent) = self.hosts.get_mut(name).and_then(|host| host.agent.as_mut()) else { return };
        agent.active = active;
        agent.paused_by_us = false;
        // Whoever stops it leaves the run that began since somebody started it.
        if active {
            agent.stirred_ms = Some(now_ms);
        }
        let what = if active { "starts" } else { "stops" };
        self.note(name, || format!("somebody {what} the configuration agent"));
    }

    /// We pause the agent, with our mark. What somebody else has paused stays theirs; a run under way goes on.
    pub(crate) fn agent_paused(&mut self, step: &Step) -> Outcome {
        let Some(agent) = self.hosts.get_mut(&step.host).and_then(|host| host.agent.as_mut()) else {
            return Outcome::AlreadyDone;
        };
        if !agent.active {
            return Outcome::AlreadyDone;
        }
        agent.active = false;
        agent.paused_by_us = true;
        self.note(&step.host, || "configuration agent paused by us".to_owned());
        Outcome::Changed("paused the configuration agent".to_owned())
    }

    /// We start the agent that carries our mark. S12: without the mark it is somebody else's business.
    pub(crate) fn agent_resumed(&mut self, step: &Step) -> Outcome {
        let Some(agent) = self.hosts.get_mut(&step.host).and_then(|host| host.agent.as_mut()) else {
            return Outcome::AlreadyDone;
        };
        if !agent.paused_by_us {
            return Outcome::AlreadyDone;
        }
        agent.active = true;
        agent.paused_by_us = false;
        self.note(&step.host, || "configuration agent resumed".to_owned());
        Outcome::Changed("resumed the configuration agent".to_owned())
    }
}
