//! A release in the middle of its work, plan after plan: each plan is judged as it stands, and can then be bent.

use jiff::{SignedDuration, Timestamp};
use model::*;

use crate::fleet::{self, host, row, start, version};
use crate::release;

/// Everything that a plan is made of, and the plan.
pub(crate) struct Scene {
    pub(crate) desired: Desired,
    pub(crate) observed: Observed,
    pub(crate) history: History,
    pub(crate) plan: Plan,
    pub(crate) now: Timestamp,
}

/// No release here needs more plans.
const MAX_PLANS: usize = 4_000;

impl Scene {
    /// A fleet at 1.0 that wants 1.1 on its canary alone; gates, migrations, a share.
    pub(crate) fn canary() -> Self {
        let desired = release::desired("1.0", "1.1", &["1.0", "1.1"]);
        let observed = release::observed(&desired, "1.0");
        Self::of(desired, observed, release::history(&["1.0"]))
    }

    /// The same, that wants 1.1 everywhere.
    pub(crate) fn everywhere() -> Self {
        let desired = release::desired("1.1", "1.1", &["1.0", "1.1"]);
        let observed = release::observed(&desired, "1.0");
        Self::of(desired, observed, release::history(&["1.0"]))
    }

    /// Twenty web servers and a storage host at 1.0 that want 1.1: two may be out.
    pub(crate) fn plain() -> Self {
        let desired = fleet::desired(20, "1.1", &["1.0", "1.1"]);
        let observed = fleet::observed(&desired, "1.0");
        Self::of(desired, observed, fleet::history())
    }

    /// The same, from which web-01 has gone with a step under way to be planned; and nothing else is.
    pub(crate) fn web_01_left(next: ActionKind) -> Self {
        let mut scene = Self::plain().until(next, "web-01");
        fleet::leaves(&mut scene.desired, "web-01");
        scene.plan.steps.retain(|step| step.host.as_str() == "web-01");
        scene
    }

    /// Any fleet, planned for.
    pub(crate) fn of(desired: Desired, observed: Observed, history: History) -> Self {
        let now = start();
        let plan = planner::plan(&desired, &observed, &history, now);
        Self { desired, observed, history, plan, now }
    }

    /// What is found against the plan.
    pub(crate) fn findings(&self) -> Vec<String> {
        let Self { desired, observed, history, plan, now } = self;
        engine::linter::lint(desired, observed, history, plan, *now).iter().map(ToString::to_string).collect()
    }

    /// Plans anew.
    pub(crate) fn replan(&mut self) {
        self.plan = planner::plan(&self.desired, &self.observed, &self.history, self.now);
    }

    /// Goes on until a plan starts a step of this kind, on that host; every plan on the way breaks no promise.
    pub(crate) fn until(mut self, kind: ActionKind, on: &str) -> Self {
        let there = |step: &Step| step.action.kind() == kind && step.host.as_str() == on;
        for _ in 0..MAX_PLANS {
            assert_eq!(self.findings(), Vec::<String>::new(), "{:?}", self.plan);
            if self.plan.steps.iter().any(there) {
                return self;
            }
            self.go_on();
        }
        panic!("no {kind} of {on}: {:?}", self.plan.waiting)
    }

    /// Goes on until a plan writes such an event into the journal.
    pub(crate) fn until_recorded(mut self, is_it: impl Fn(&Event) -> bool) -> Self {
        for _ in 0..MAX_PLANS {
            assert_eq!(self.findings(), Vec::<String>::new(), "{:?}", self.plan);
            if self.plan.records.iter().any(&is_it) {
                return self;
            }
            self.go_on();
        }
        panic!("never recorded: {:?}", self.plan.waiting)
    }

    /// One plan further.
    pub(crate) fn next(mut self) -> Self {
        self.go_on();
        self
    }

    /// Goes on until there is nothing more to do.
    pub(crate) fn until_converged(mut self) {
        for _ in 0..MAX_PLANS {
            assert_eq!(self.findings(), Vec::<String>::new(), "{:?}", self.plan);
            if self.plan.standing(false) == Standing::Converged {
                return;
            }
            self.go_on();
        }
        panic!("never converged: {:?}", self.plan.waiting)
    }

    /// The step of a kind.
    pub(crate) fn step(&mut self, kind: ActionKind) -> &mut Step {
        self.plan.steps.iter_mut().find(|step| step.action.kind() == kind).unwrap()
    }

    /// The seen state of a host.
    pub(crate) fn host(&mut self, name: &str) -> &mut HostState {
        host(&mut self.observed, name)
    }

    /// The seen row of a host.
    pub(crate) fn row(&mut self, node: &str, name: &str) -> &mut Row {
        row(&mut self.observed, node, name)
    }

    fn go_on(&mut self) {
        let (records, steps) = (self.plan.records.clone(), self.plan.steps.clone());
        let idle = records.is_empty() && steps.is_empty();
        for event in &records {
            self.history.apply(self.now, event).unwrap();
        }
        for step in &steps {
            self.history.apply(self.now, &Event::StepStarted { step: step.clone() }).unwrap();
        }
        self.now += SignedDuration::from_secs(if idle { 30 } else { 1 });
        for step in &steps {
            self.end(step);
        }
        self.look();
        self.replan();
    }

    fn end(&mut self, step: &Step) {
        let (environment, id) = (step.environment.clone(), step.id.clone());
        let finished = Event::StepFinished { environment, step: id, result: Ok(Outcome::AlreadyDone) };
        self.history.apply(self.now, &finished).unwrap();
        for row in step.action.rows().into_iter().flatten() {
            let seen = self.row(row.node.as_str(), row.server.as_str());
            (seen.admin, seen.status) = match step.action {
                Action::Ready { .. } => (Admin::Ready, "UP".into()),
                _ => (Admin::Drain, "DRAIN".into()),
            };
        }
        if let Action::Weigh { weights } = &step.action {
            for (row, weight) in weights {
                self.row(row.node.as_str(), row.server.as_str()).weight = *weight;
            }
            return;
        }
        if step.action.kind() != ActionKind::Check {
            let claim = self.history.claims.get(&step.host).cloned();
            on_host(self.host(step.host.as_str()), &step.action, claim);
        }
    }

    /// Everything is read anew.
    fn look(&mut self) {
        let now = self.now;
        self.observed.hosts.values_mut().for_each(|fact| fact.at = now);
        self.observed.nodes.values_mut().for_each(|fact| fact.at = now);
        self.observed.gates.values_mut().for_each(|fact| fact.at = now);
    }
}

fn on_host(state: &mut HostState, action: &Action, claim: Option<Claim>) {
    match action {
        Action::PauseAgent { .. } => {
            state.agent = Some(AgentState { active: false, busy: false, paused_by_us: true });
        }
        Action::ResumeAgent { .. } => {
            state.agent = Some(AgentState { active: true, busy: false, paused_by_us: false });
        }
        Action::Claim { .. } => state.claim = claim,
        Action::Release => state.claim = None,
        Action::Download { packages } => {
            let staged = packages.iter().map(|(name, version)| (name.clone(), [version.clone()].into()));
            state.staged.extend(staged);
        }
        Action::Install { packages, .. } => {
            for (name, version) in packages {
                state.packages.get_mut(name).unwrap().version = version.clone();
            }
            state.services.values_mut().for_each(|service| {
                service.started_after_unpack = Some(false);
                service.stamped = None;
            });
        }
        Action::Activate { stamp, .. } => {
            state.services.values_mut().for_each(|service| service.stamped = Some(stamp.clone()));
        }
        _ => {}
    }
}

/// A person's veto.
pub(crate) fn veto(text: &str) -> Veto {
    Veto { version: version(text), reason: "corrupts uploads".into() }
}
