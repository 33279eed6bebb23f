//! What is read when: everything at its own interval, what somebody waits for sooner.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use model::{GateName, Mode, Scope};

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
            self.watch_one(Scope::Host(host.name.clone()), host.fact.map(|fact| fact.at), every);
        }
        for node in survey.desired.fleet.nodes() {
            let fact = survey.observed.nodes.get(node);
            let unknown = fact.is_some_and(|fact| fact.value.is_err());
            let every = if unknown { UNWELL_REFRESH } else { NODE_REFRESH };
            self.watch_one(Scope::Node(node.clone()), fact.map(|fact| fact.at), every);
        }
        self.refresh_gates();
        // Asking for new versions refreshes the host's lists: not where nothing may change.
        let follows = !survey.desired.fleet.policy.follows.is_empty();
        if follows && survey.desired.fleet.mode == Mode::Reconcile {
            let at = survey.observed.versions.as_ref().map(|fact| fact.at);
            self.watch_one(Scope::Versions(survey.desired.environment.clone()), at, VERSIONS_REFRESH);
        }
        self.wake_at(survey.desired.exceptions.next_expiry(survey.now));
        self.read_along();
    }

    /// Once something has to be read, what would be due soon is read along: every reading that ends by itself costs a pass.
    fn read_along(&mut self) {
        if !self.observe.is_empty() {
            let now = self.survey.now;
            self.observe.extend(self.soon.drain(..).filter(|(_, from)| *from <= now).map(|(scope, _)| scope));
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
            self.watch_one(gates::scope(survey, name), at, every);
        }
    }

    pub(crate) fn watch(&mut self, watch: &Watch) {
        for scope in &watch.scopes {
            let (at, fresh) = self.survey.age(scope);
            if !fresh {
                self.observe.insert(scope.clone());
            } else if watch.every > SignedDuration::ZERO {
                self.watch_one(scope.clone(), at, watch.every);
            }
        }
    }

    fn watch_one(&mut self, scope: Scope, at: Option<Timestamp>, every: SignedDuration) {
        match at.map(|at| at + every) {
            Some(due) if due > self.survey.now => {
                self.wake_at(Some(due));
                self.soon.push((scope, due - (every / 4).min(READ_ALONG)));
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
