//! One pass: every host's position, the turn of its role, budgets and floors, gathered into a plan.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use model::{
    Action, ActionKind, Failure, HostName, Mode, Plan, Reason, RoleName, RoleProgress, Scope, Step, StepId,
    Subject, Waiting,
};

use crate::capacity::Capacity;
use crate::draining::rows_are_fresh;
use crate::next::{Next, Wait, Watch, node_scopes};
use crate::position::{self, Goal};
use crate::returning;
use crate::survey::{ClaimView, HostView, Survey};
use crate::tuning::{HOST_REFRESH, NODE_REFRESH, UNWELL_REFRESH, WATCH};

/// A pass in the making.
pub(crate) struct Pass<'a> {
    survey: &'a Survey<'a>,
    positions: Vec<Next>,
    /// The first role that is not done; its place in the order of work.
    active: usize,
    capacity: Capacity<'a>,
    failing: Option<(HostName, Failure)>,
    /// Why no new host is begun anywhere.
    nothing_new: Option<Reason>,
    waiting_roles: BTreeSet<RoleName>,
    /// Roles with a host that will be known in a moment: nobody is begun before it that comes after it.
    undetermined: BTreeSet<RoleName>,
    steps: Vec<Step>,
    waiting: Vec<Waiting>,
    observe: BTreeSet<Scope>,
    wake: Option<Timestamp>,
    downloads: usize,
}

/// Gathers a pass over a survey.
pub(crate) fn plan(survey: &Survey<'_>) -> Plan {
    let target = &survey.desired.target;
    let positions: Vec<Next> =
        survey.hosts.iter().map(|host| position::next(survey, host, Goal::Release(target))).collect();
    let active = active_role(survey, &positions);
    let capacity = Capacity::count(survey, |host| still_leaving(survey, host));
    let in_flight = survey.history.in_flight.values();
    let downloads = in_flight.filter(|f| f.step.action.kind() == ActionKind::Download).count();
    let mut pass = Pass {
        survey,
        positions,
        active,
        capacity,
        failing: first_failure(survey),
        nothing_new: None,
        waiting_roles: BTreeSet::new(),
        undetermined: BTreeSet::new(),
        steps: Vec::new(),
        waiting: Vec::new(),
        observe: BTreeSet::new(),
        wake: None,
        downloads,
    };
    pass.nothing_new = pass.why_nothing_new();
    pass.gather()
}

fn active_role(survey: &Survey<'_>, positions: &[Next]) -> usize {
    let not_done = |next: &Next| !matches!(next, Next::Done | Next::DoneBut(_));
    let at = positions.iter().position(not_done);
    at.map_or(survey.roles.len(), |at| survey.hosts[at].role_at)
}

/// A claimed host whose work is not done will leave rotation, if it has not yet.
fn still_leaving(survey: &Survey<'_>, host: &HostView<'_>) -> bool {
    if !host.claim.is_ours() {
        return false;
    }
    let Some(state) = host.state() else { return true };
    let release = &survey.desired.target;
    let package = host.package_for(survey, release, state);
    !(host.has_installed(state, &package) && host.is_running(state, release, &package))
}

/// The first host that failed with the target: no new host starts.
fn first_failure(survey: &Survey<'_>) -> Option<(HostName, Failure)> {
    let target = &survey.desired.target;
    survey.hosts.iter().find_map(|host| {
        let trouble = survey.history.trouble(host.name, target).filter(|trouble| trouble.attempts > 0);
        let failure = trouble.map(|trouble| trouble.failure.clone());
        let failure = failure.or_else(|| returning::has_failed(survey, host, target))?;
        Some((host.name.clone(), failure))
    })
}

impl<'a> Pass<'a> {
    fn gather(mut self) -> Plan {
        for at in self.order() {
            self.place(at);
        }
        self.roles_wait();
        self.refresh();
        if self.survey.desired.fleet.mode == Mode::Report && !self.steps.is_empty() {
            self.wait_for(Subject::Environment, Wait::new(Reason::ReportOnly { steps: self.steps.len() }));
        }
        self.waiting.sort_by_key(|waiting| urgency(&waiting.reason));
        let desired = self.survey.desired;
        Plan {
            environment: desired.environment.clone(),
            commit: desired.commit.id.clone(),
            target: desired.target.clone(),
            direction: self.survey.direction,
            progress: self.progress(),
            notes: self.notes(),
            steps: self.steps,
            waiting: self.waiting,
            observe: self.observe,
            wake: self.wake,
        }
    }

    /// Hosts that are out already come first: they cost nothing and give capacity back.
    fn order(&self) -> Vec<usize> {
        let hosts = &self.survey.hosts;
        let mut order: Vec<usize> = (0..hosts.len()).collect();
        order.sort_by_key(|at| {
            let host = &hosts[*at];
            let first = host.claim.is_ours() || host.is_unwell() || host.serves_nowhere();
            (host.role_at, !first, *at)
        });
        order
    }

    fn place(&mut self, at: usize) {
        let survey = self.survey;
        let host = &survey.hosts[at];
        let its_turn = host.role_at <= self.active;
        let next = if its_turn || matches!(self.positions[at], Next::Step(Action::Download { .. }, _)) {
            self.positions[at].clone()
        } else if host.claim.is_ours() {
            position::next(survey, host, Goal::Settle)
        } else {
            quiet_until_its_turn(&self.positions[at])
        };
        if host.claim.is_ours() {
            self.watch(&Watch { scopes: node_scopes(host), every: WATCH });
        }
        self.take(host, next);
    }

    fn take(&mut self, host: &'a HostView<'a>, next: Next) {
        if will_be_known(&next) {
            self.undetermined.insert(host.role.name.clone());
        }
        match next {
            Next::Done => {}
            Next::DoneBut(reason) => self.wait_for(Subject::Host(host.name.clone()), Wait::new(reason)),
            Next::Wait(wait) => self.wait_for(Subject::Host(host.name.clone()), wait),
            Next::Step(action @ Action::Download { .. }, why) => self.download(host, action, why),
            Next::Step(action, why) => self.start(host, action, why),
            Next::Admit(action) => self.admit(host, action),
            Next::Leave(action) => self.leave(host, action),
        }
    }

    fn download(&mut self, host: &HostView<'_>, action: Action, why: &str) {
        let limit = self.survey.desired.fleet.max_parallel;
        if self.downloads >= limit {
            self.wait_for_role(host, Reason::Parallel { limit });
            return;
        }
        self.downloads += 1;
        self.start(host, action, why);
    }

    fn admit(&mut self, host: &'a HostView<'a>, action: Action) {
        if let Some(reason) = &self.nothing_new {
            let reason = reason.clone();
            self.wait_for_role(host, reason);
            return;
        }
        if self.undetermined.contains(&host.role.name) {
            self.wait_for_role(host, Reason::FreshFacts);
            return;
        }
        // Whoever is next keeps the place while the load balancers are looked at once more.
        match self.capacity.admit(self.survey, host).map(|()| rows_are_fresh(self.survey, host)) {
            Ok(Ok(())) => self.start(host, action, "next in line"),
            Ok(Err(wait)) => self.wait_for(Subject::Host(host.name.clone()), wait),
            Err(reason) => {
                self.watch(&Watch { scopes: node_scopes(host), every: UNWELL_REFRESH });
                self.wait_for_role(host, reason);
            }
        }
    }

    /// A claimed host that may not leave after all is given back, so that it holds nobody up.
    fn leave(&mut self, host: &'a HostView<'a>, action: Action) {
        let refused = self.failing_reason(host).or_else(|| self.capacity.may_leave(self.survey, host).err());
        match refused {
            None => self.start(host, action, "out of rotation before the install"),
            Some(reason) => {
                let untouched = host.our_rows().all(|row| row.admin() == Some(model::Admin::Ready));
                if untouched {
                    self.start(host, Action::Release, "may not leave rotation now");
                }
                self.wait_for(Subject::Host(host.name.clone()), Wait::new(reason));
            }
        }
    }

    fn why_nothing_new(&self) -> Option<Reason> {
        let failing = self.failing.as_ref().map(|(host, failure)| self.stage_failing(host, failure));
        let missing = self.missing_downloads();
        let overdue = self.positions.iter().find_map(|next| match next {
            Next::Wait(Wait { reason: reason @ Reason::StepOverdue { .. }, .. }) => Some(reason.clone()),
            _ => None,
        });
        failing.or(overdue).or((missing > 0).then_some(Reason::Downloading { missing }))
    }

    fn stage_failing(&self, host: &HostName, failure: &Failure) -> Reason {
        let version = self.survey.desired.target.clone();
        Reason::StageFailing { host: host.clone(), version, failure: failure.clone() }
    }

    /// The failing host itself goes on with its own attempts.
    fn failing_reason(&self, host: &HostView<'_>) -> Option<Reason> {
        let (failing, failure) = self.failing.as_ref()?;
        (failing != host.name).then(|| self.stage_failing(failing, failure))
    }

    fn missing_downloads(&self) -> usize {
        let downloading = |(host, next): (&HostView<'_>, &Next)| {
            let under_way = host.in_flight.is_some_and(|f| f.step.action.kind() == ActionKind::Download);
            under_way || matches!(next, Next::Step(Action::Download { .. }, _))
        };
        self.survey.hosts.iter().zip(&self.positions).filter(|pair| downloading(*pair)).count()
    }

    fn start(&mut self, host: &HostView<'_>, action: Action, why: &str) {
        let (desired, history) = (self.survey.desired, self.survey.history);
        let number = history.steps + 1 + self.steps.len() as u64;
        let id = format!("g{}-{number}-{}-{}", history.generation, host.name, action.kind());
        self.steps.push(Step {
            id: StepId::new(id),
            environment: desired.environment.clone(),
            host: host.name.clone(),
            role: host.role.name.clone(),
            commit: desired.commit.id.clone(),
            version: desired.target.clone(),
            generation: history.generation,
            action,
            why: why.to_owned(),
            deadline: desired.fleet.deadlines.step,
        });
    }

    fn wait_for(&mut self, subject: Subject, wait: Wait) {
        let Wait { reason, since, wake, watch } = wait;
        self.wake_at(wake);
        self.watch(&watch);
        self.waiting.push(Waiting { subject, reason, since: since.unwrap_or(self.survey.now) });
    }

    /// Hosts that wait for their role's budget all wait for the same thing: it is said once.
    fn wait_for_role(&mut self, host: &HostView<'_>, reason: Reason) {
        if self.waiting_roles.insert(host.role.name.clone()) {
            self.wait_for(Subject::Role(host.role.name.clone()), Wait::new(reason));
        }
    }

    fn roles_wait(&mut self) {
        let Some(active) = self.survey.roles.get(self.active) else { return };
        let later: Vec<_> = self.survey.roles.iter().enumerate().skip(self.active + 1).collect();
        for (at, role) in later {
            let mut positions = self.survey.hosts.iter().zip(&self.positions);
            let undone = positions
                .any(|(host, next)| host.role_at == at && !matches!(next, Next::Done | Next::DoneBut(_)));
            if undone {
                let reason = Reason::EarlierRole { role: active.name.clone() };
                self.wait_for(Subject::Role(role.name.clone()), Wait::new(reason));
            }
        }
    }

    /// Everything else is read at its own interval.
    fn refresh(&mut self) {
        let survey = self.survey;
        let idle = survey.hosts.iter().filter(|host| host.in_flight.is_none());
        for host in idle {
            let every = if host.is_unwell() { UNWELL_REFRESH } else { HOST_REFRESH };
            self.watch_one(Scope::Host(host.name.clone()), host.fact.map(|fact| fact.at), every);
        }
        for node in survey.desired.fleet.nodes() {
            let fact = survey.observed.nodes.get(node);
            let unknown = fact.is_some_and(|fact| fact.value.is_err());
            let every = if unknown { UNWELL_REFRESH } else { NODE_REFRESH };
            self.watch_one(Scope::Node(node.clone()), fact.map(|fact| fact.at), every);
        }
    }

    fn watch(&mut self, watch: &Watch) {
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
            Some(due) if due > self.survey.now => self.wake_at(Some(due)),
            _ => {
                self.observe.insert(scope);
            }
        }
    }

    fn wake_at(&mut self, wake: Option<Timestamp>) {
        let future = wake.filter(|wake| *wake > self.survey.now);
        self.wake = [self.wake, future].into_iter().flatten().min();
    }

    fn progress(&self) -> Vec<RoleProgress> {
        let of = |(at, role): (usize, &&'a model::Role)| {
            let hosts = self.survey.hosts.iter().zip(&self.positions).filter(|(host, _)| host.role_at == at);
            let done = hosts.filter(|(_, next)| matches!(next, Next::Done | Next::DoneBut(_))).count();
            RoleProgress {
                role: role.name.clone(),
                hosts: role.hosts.len(),
                done,
                out: self.capacity.out(&role.name),
                limit: role.max_unavailable,
            }
        };
        self.survey.roles.iter().enumerate().map(of).collect()
    }

    fn notes(&self) -> Vec<String> {
        let found =
            |host: &&HostView<'_>| matches!(host.claim, ClaimView::Ours { found, .. } if !found.is_empty());
        let note =
            |host: &HostView<'_>| format!("{}: rows taken out by somebody else stay as found", host.name);
        let late = self.rollout_is_late().then(|| {
            let deadline = self.survey.desired.fleet.deadlines.rollout;
            format!("this rollout has taken more than its deadline of {deadline:#}")
        });
        self.survey.hosts.iter().filter(found).map(note).chain(late).collect()
    }

    fn rollout_is_late(&self) -> bool {
        let accepted = self.survey.history.accepted.as_ref();
        let over = |at: Timestamp| self.survey.now > at + self.survey.desired.fleet.deadlines.rollout;
        self.active < self.survey.roles.len() && accepted.is_some_and(|accepted| over(accepted.at))
    }
}

/// Hosts start in one order, whichever of them answers first: so a reading or a download that is about to end is waited
/// for.
fn will_be_known(next: &Next) -> bool {
    match next {
        Next::Wait(wait) => {
            matches!(wait.reason, Reason::FreshFacts | Reason::InFlight { action: ActionKind::Download, .. })
        }
        _ => false,
    }
}

/// Before its role's turn a host waits with its role; only what people should know of it is said.
fn quiet_until_its_turn(next: &Next) -> Next {
    match next {
        Next::Wait(wait) => Next::Wait(wait.clone()),
        Next::DoneBut(reason) => Next::DoneBut(reason.clone()),
        Next::Done | Next::Step(..) | Next::Admit(_) | Next::Leave(_) => Next::Done,
    }
}

/// The primary reason first: what only a person ends, then what the world ends, then what ends by itself, then what
/// holds nothing up.
fn urgency(reason: &Reason) -> u8 {
    match reason {
        Reason::HistoryRewritten { .. }
        | Reason::DirectionUnknown { .. }
        | Reason::OutageNotAllowed { .. } => 0,
        Reason::Halted { .. } | Reason::JobInDoubt { .. } | Reason::ClaimedByOther { .. } => 1,
        Reason::ReportOnly { .. } => 2,
        Reason::StageFailing { .. } | Reason::StepOverdue { .. } => 4,
        Reason::RowMissing { .. } | Reason::RowElsewhere { .. } | Reason::NodeUnknown { .. } => 4,
        Reason::Backoff { .. } | Reason::HostUnknown { .. } | Reason::DrainTimedOut { .. } => 5,
        Reason::BelowFloor(_) | Reason::Budget { ours: 0, .. } => 6,
        Reason::Draining { .. } | Reason::HealthPending { .. } | Reason::LoadBalancerCheck { .. } => 7,
        Reason::InFlight { .. } | Reason::JobRunning { .. } => 8,
        Reason::Downloading { .. } | Reason::Budget { .. } | Reason::Parallel { .. } => 9,
        Reason::FreshFacts => 10,
        Reason::EarlierRole { .. } => 11,
        Reason::Unhealthy { .. } | Reason::ForeignDrain { .. } => 12,
        Reason::SourceUnavailable { .. } | Reason::RevisionInvalid { .. } => 13,
    }
}
