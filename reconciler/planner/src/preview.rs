//! The whole rollout before it happens: `plan` and `simulate` in turn, until nothing changes any more.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use model::{
    BackendId, Desired, Event, Fact, GateState, HostName, Mode, Observed, Outcome, Plan, Scope, Step,
    Verdict, Waiting, history::History,
};
use serde::Serialize;

use crate::simulate::{expected, simulate};

/// After so many passes without a step, nothing more will come by itself.
const QUIET_PASSES: usize = 20;

/// A rollout that would take longer, freezes included, is not foreseen to its end.
const HORIZON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// A rollout to its end, as far as it can be foreseen.
#[derive(Clone, Debug, Serialize)]
pub struct Preview {
    /// Every step, in the order in which they start.
    pub steps: Vec<PreviewedStep>,
    /// From now to the end of the last step.
    pub duration: SignedDuration,
    /// The fewest servers in rotation, by backend.
    pub lowest: BTreeMap<String, usize>,
    /// What still waits at the end; empty: actual equals desired.
    pub waiting: Vec<Waiting>,
    /// How many of the steps were given a guessed duration, for want of history.
    pub guessed_durations: bool,
}

/// Gates are taken to be green from long ago: what they say now is part of the plan, not of the preview.
fn with_green_gates(desired: &Desired, observed: &Observed, now: Timestamp) -> Observed {
    let mut observed = observed.clone();
    for (name, gate) in &desired.fleet.policy.gates {
        let state = GateState { verdict: Verdict::Green, value: String::new(), since: now - gate.quiet_for };
        observed.gates.insert(name.clone(), Fact { at: now, value: Ok(state) });
    }
    observed
}

/// A step with its expected times.
#[derive(Clone, Debug, Serialize)]
pub struct PreviewedStep {
    /// The step.
    #[serde(flatten)]
    pub step: Step,
    /// When it starts.
    pub start: Timestamp,
    /// When it ends.
    pub end: Timestamp,
}

/// Foresees the rollout from what is observed now. Changes nothing; assumes that every step succeeds, and that
/// sessions end at once.
pub fn preview(desired: &Desired, observed: &Observed, history: &History, now: Timestamp) -> Preview {
    let mut rehearsal = Rehearsal::new(desired, observed, history, now);
    let mut quiet = 0;
    let waiting = loop {
        let plan = rehearsal.pass();
        let moves = !plan.steps.is_empty() || !rehearsal.running.is_empty() || !plan.records.is_empty();
        quiet = if moves { 0 } else { quiet + 1 };
        let too_far = rehearsal.now.duration_since(now) > HORIZON;
        if quiet > QUIET_PASSES || too_far || !rehearsal.advance(&plan) {
            break plan.waiting;
        }
    };
    rehearsal.finish(now, waiting, history)
}

struct Rehearsal {
    desired: Desired,
    observed: Observed,
    history: History,
    now: Timestamp,
    running: BTreeMap<(Timestamp, usize), Step>,
    steps: Vec<PreviewedStep>,
    lowest: BTreeMap<String, usize>,
    backends: Vec<(BackendId, Vec<HostName>)>,
}

impl Rehearsal {
    fn new(desired: &Desired, observed: &Observed, history: &History, now: Timestamp) -> Self {
        let mut desired = desired.clone();
        desired.fleet.mode = Mode::Reconcile;
        let mut backends: BTreeMap<BackendId, Vec<HostName>> = BTreeMap::new();
        for (role, host) in desired.fleet.hosts() {
            for backend in &role.backends {
                backends.entry(backend.clone()).or_default().push(host.clone());
            }
        }
        let mut history = history.clone();
        // A revision that is not in force yet comes into force first.
        if history.accepted.as_ref().is_some_and(|accepted| accepted.commit != desired.commit.id) {
            let applied = history.apply(now, &Event::accepted(&desired));
            debug_assert!(applied.is_ok(), "{applied:?}");
        }
        Self {
            observed: with_green_gates(&desired, observed, now),
            desired,
            history,
            now,
            running: BTreeMap::new(),
            steps: Vec::new(),
            lowest: BTreeMap::new(),
            backends: backends.into_iter().collect(),
        }
    }

    /// Plans, remembers what is found out, begins what may begin, and looks at what is to be looked at.
    fn pass(&mut self) -> Plan {
        let plan = crate::plan(&self.desired, &self.observed, &self.history, self.now);
        for event in &plan.records {
            let applied = self.history.apply(self.now, event);
            debug_assert!(applied.is_ok(), "{applied:?}");
        }
        for step in &plan.steps {
            self.begin(step);
        }
        for scope in &plan.observe {
            self.look(scope);
        }
        plan
    }

    fn begin(&mut self, step: &Step) {
        let end = self.now + expected(&self.history, step.action.kind()).max(SignedDuration::from_millis(1));
        let started = self.history.apply(self.now, &Event::StepStarted { step: step.clone() });
        debug_assert!(started.is_ok(), "{started:?}");
        self.steps.push(PreviewedStep { step: step.clone(), start: self.now, end });
        self.running.insert((end, self.steps.len()), step.clone());
    }

    fn look(&mut self, scope: &Scope) {
        match scope {
            Scope::Host(host) => {
                if let Some(fact) = self.observed.hosts.get_mut(host) {
                    fact.at = self.now;
                }
            }
            Scope::Node(node) => {
                if let Some(fact) = self.observed.nodes.get_mut(node) {
                    fact.at = self.now;
                }
            }
            Scope::Gate(_, gate) => {
                if let Some(fact) = self.observed.gates.get_mut(gate) {
                    fact.at = self.now;
                }
            }
            Scope::Versions(_) => {
                if let Some(fact) = &mut self.observed.versions {
                    fact.at = self.now;
                }
            }
        }
    }

    /// To the next thing that happens. False: nothing will.
    fn advance(&mut self, plan: &Plan) -> bool {
        let looked = plan.observe.iter().any(|scope| self.is_known(scope)) || !plan.records.is_empty();
        let ends = self.running.keys().next().map(|(end, _)| *end);
        let soon = looked.then(|| self.now + SignedDuration::from_millis(10));
        let Some(next) = [ends, self.next_turn(plan), soon].into_iter().flatten().min() else { return false };
        self.now = next.max(self.now);
        while let Some(entry) = self.running.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let ((end, _), step) = entry.remove_entry();
            self.end(&step, end);
        }
        true
    }

    /// When the plan changes by itself. With nothing under way, readings bring no news: the next known end does.
    fn next_turn(&self, plan: &Plan) -> Option<Timestamp> {
        if !self.running.is_empty() || !plan.steps.is_empty() {
            return plan.next_turn();
        }
        let ends = plan.waiting.iter().filter_map(|waiting| waiting.reason.until());
        ends.filter(|until| *until > self.now).min().or_else(|| plan.next_turn())
    }

    fn is_known(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Host(host) => self.observed.hosts.contains_key(host),
            Scope::Node(node) => self.observed.nodes.contains_key(node),
            Scope::Gate(_, gate) => self.observed.gates.contains_key(gate),
            Scope::Versions(_) => self.observed.versions.is_some(),
        }
    }

    fn end(&mut self, step: &Step, at: Timestamp) {
        simulate(&mut self.observed, step, &self.history.service, at);
        let finished = Event::StepFinished {
            environment: step.environment.clone(),
            step: step.id.clone(),
            result: Ok(Outcome::AlreadyDone),
        };
        let applied = self.history.apply(at, &finished);
        debug_assert!(applied.is_ok(), "{applied:?}");
        if step.action.rows().is_some() {
            self.count();
        }
    }

    fn count(&mut self) {
        for (backend, hosts) in &self.backends {
            let Some(lb) = self.desired.fleet.load_balancer(&backend.load_balancer) else { continue };
            let on = |node: &HostName| {
                let rows = self.observed.node(node).map(|state| &state.rows);
                let row = |host: &&HostName| {
                    rows.and_then(|rows| rows.get(&(backend.backend.clone(), lb.server(host))))
                };
                hosts.iter().filter(|host| row(host).is_some_and(model::Row::in_rotation)).count()
            };
            let fewest = lb.nodes.iter().map(on).min().unwrap_or(0);
            let lowest = self.lowest.entry(backend.to_string()).or_insert(fewest);
            *lowest = fewest.min(*lowest);
        }
    }

    fn finish(self, began: Timestamp, waiting: Vec<Waiting>, history: &History) -> Preview {
        let end = self.steps.iter().map(|step| step.end).max().unwrap_or(began);
        let kinds = self.steps.iter().map(|step| step.step.action.kind());
        let guessed = kinds.into_iter().any(|kind| !history.durations_ms.contains_key(&kind));
        Preview {
            steps: self.steps,
            duration: end.duration_since(began),
            lowest: self.lowest,
            waiting,
            guessed_durations: guessed,
        }
    }
}
