//! What is read when: everything at its own interval, what somebody waits for sooner.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use model::{Cadence, Due, GateName, Mode, Scope};

use crate::gates;
use crate::next::Watch;
use crate::pass::Pass;
use crate::tuning::{
    GATE_IDLE_REFRESH, GATE_REFRESH, HOST_REFRESH, NODE_REFRESH, READ_ALONG, UNWELL_REFRESH, VERSIONS_REFRESH,
};

impl Pass<'_, '_> {
    /// Everything is read at its own interval.
    pub(crate) fn refresh(&mut self) {
        let survey = self.survey;
        let hosts = survey.hosts.iter().chain(&survey.workers).chain(&survey.departed);
        for host in hosts.filter(|host| host.in_flight.is_none()) {
            let every = if host.is_unwell() { UNWELL_REFRESH } else { HOST_REFRESH };
            self.later(
                Scope::Host(host.name.clone()),
                host.fact.map(|fact| fact.at),
                Cadence::fixed(every),
                false,
            );
        }
        for node in survey.desired.fleet.nodes() {
            let fact = survey.observed.nodes.get(node);
            let unknown = fact.is_some_and(|fact| fact.value.is_err());
            let every = if unknown { UNWELL_REFRESH } else { NODE_REFRESH };
            self.later(Scope::Node(node.clone()), fact.map(|fact| fact.at), Cadence::fixed(every), false);
        }
        self.refresh_gates();
        // Asking for new versions refreshes the host's lists: not where nothing may change.
        let follows = !survey.desired.fleet.policy.follows.is_empty();
        if follows && survey.desired.fleet.mode == Mode::Reconcile {
            let at = survey.observed.versions.as_ref().map(|fact| fact.at);
            self.later(
                Scope::Versions(survey.desired.environment.clone()),
                at,
                Cadence::fixed(VERSIONS_REFRESH),
                true,
            );
        }
        self.wake_at(survey.desired.exceptions.next_expiry(survey.now));
        self.later_once();
    }

    /// Each scope once, in order; what is read now is due later only by what it shows then.
    fn later_once(&mut self) {
        // Places are sorted, not what stands there, which is large.
        let found = std::mem::take(&mut self.due);
        let mut places: Vec<usize> = (0..found.len()).collect();
        places.sort_by(|a, b| found[*a].scope.cmp(&found[*b].scope));
        self.due.reserve(found.len());
        for due in places.into_iter().map(|place| &found[place]) {
            match self.due.last_mut() {
                Some(last) if last.scope == due.scope => last.joins(due),
                _ if self.observe.contains(&due.scope) => {}
                _ => self.due.push(due.clone()),
            }
        }
    }

    /// Gates of a stage that is under way stop it within one interval.
    fn refresh_gates(&mut self) {
        let survey = self.survey;
        let lanes = survey.lanes.iter().zip(&self.lanes);
        let active = lanes.filter_map(|(lane, state)| lane.rungs.get(state.active));
        let needed: BTreeSet<&GateName> = active.flat_map(|rung| &rung.stage.gates).collect();
        let ramping = self.shares.waiting.is_some();
        for name in survey.desired.fleet.policy.gates.keys() {
            let every = if ramping || needed.contains(name) { GATE_REFRESH } else { GATE_IDLE_REFRESH };
            let at = survey.observed.gates.get(name).map(|fact| fact.at);
            self.later(gates::scope(survey, name), at, Cadence::fixed(every), true);
        }
    }

    pub(crate) fn watch(&mut self, watch: &Watch) {
        for scope in &watch.scopes {
            let (at, fresh) = self.survey.age(scope);
            if !fresh {
                self.observe.insert(scope.clone());
            } else if let Some(cadence) = watch.cadence {
                self.later(scope.clone(), at, cadence, watch.awaited);
            }
        }
    }

    fn later(&mut self, scope: Scope, read_at: Option<Timestamp>, cadence: Cadence, awaited: bool) {
        let every = read_at.map_or(SignedDuration::ZERO, |read_at| cadence.every(read_at));
        match read_at.map(|read_at| read_at + every) {
            Some(at) if at > self.survey.now => {
                let from = at - (every / 4).min(READ_ALONG);
                self.due.push(Due { scope, at, from, cadence, awaited });
            }
            _ => {
                self.observe.insert(scope);
            }
        }
    }

    pub(crate) fn wake_at(&mut self, wake: Option<Timestamp>) {
        let future = wake.filter(|wake| *wake > self.survey.now);
        self.wake = [self.wake, future].into_iter().flatten().min();
    }
}
