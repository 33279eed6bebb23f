//! One pass: every host's position, the state of its lane, budgets and floors, gathered into a plan.

use std::collections::BTreeSet;

use jiff::Timestamp;
use model::{
    Action, ActionKind, Due, Failure, HostName, Mode, Plan, ReadyBecause, Reason, RoleName, Scope, Stage,
    Step, StepId, Subject, Version, Waiting,
};

use crate::capacity::Capacity;
use crate::draining::{aside_is_read, rows_are_fresh};
use crate::errands;
use crate::failing::first_failure;
use crate::ladder::{Ladder, LaneState, states};
use crate::next::{Next, Wait, Watch, node_scopes};
use crate::outs;
use crate::position::{self, Goal};
use crate::refusals::Flow;
use crate::returning;
use crate::shares::Shares;
use crate::survey::{HostView, Survey};
use crate::telling;
use crate::tuning::{UNWELL_REFRESH, WATCH};

/// A pass in the making.
pub(crate) struct Pass<'s, 'a> {
    pub(crate) survey: &'s Survey<'a>,
    pub(crate) positions: Vec<Next>,
    pub(crate) lanes: Vec<LaneState>,
    pub(crate) capacity: Capacity<'s>,
    pub(crate) shares: Shares,
    /// By lane: the first host that failed with its target.
    failing: Vec<Option<(HostName, Failure)>>,
    /// By lane: why no new host is begun.
    nothing_new: Vec<Option<Reason>>,
    waiting_roles: BTreeSet<RoleName>,
    /// Roles with a host that will be known in a moment: nobody is begun before it that comes after it.
    undetermined: BTreeSet<RoleName>,
    pub(crate) steps: Vec<Step>,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) observe: BTreeSet<Scope>,
    /// What is to be looked at later.
    pub(crate) due: Vec<Due>,
    pub(crate) wake: Option<Timestamp>,
    downloads: usize,
    /// The release that a host is brought to a safe point with, while its steps are planned: what fails there is no
    /// failure of the target.
    settles_with: Option<Version>,
}

/// Where a step goes, and for which release.
pub(crate) struct Address<'a> {
    pub(crate) host: &'a HostName,
    pub(crate) role: RoleName,
    pub(crate) version: &'a Version,
    pub(crate) stage: Option<&'a Stage>,
}

/// Gathers a pass over a survey.
pub(crate) fn plan(survey: &Survey<'_>) -> Plan {
    let mut capacity = Capacity::count(survey);
    let positions: Vec<Next> = survey.hosts.iter().map(|host| position_of(survey, host)).collect();
    let shares = Shares::survey(survey, &capacity);
    let lanes = states(&Ladder { survey, positions: &positions, shares: &shares });
    let failure = |lane: usize| first_failure(survey, &positions, lane, lanes[lane].active);
    let failing = (0..survey.lanes.len()).map(failure).collect();
    let waits = |(host, next): &(&HostView<'_>, &Next)| {
        let may_not_leave = || matches!(next, Next::Leave(_)) && capacity.may_leave(survey, host).is_err();
        let begun = host.claim.is_ours() && host.in_flight.is_none() && capacity.is_worked_on(host.name);
        begun && (host.rung > lanes[host.lane].active || may_not_leave())
    };
    let waiting = survey.hosts.iter().zip(&positions).filter(waits).count();
    capacity.allows_beside(waiting);
    let counting = survey.hosts.iter().filter(|host| host.out.is_none());
    let in_flight = counting.filter_map(|host| host.in_flight);
    let downloads = in_flight.filter(|f| f.step.action.kind() == ActionKind::Download).count();
    let mut pass = Pass {
        survey,
        positions,
        lanes,
        capacity,
        shares,
        failing,
        nothing_new: Vec::new(),
        waiting_roles: BTreeSet::new(),
        undetermined: BTreeSet::new(),
        steps: Vec::new(),
        waiting: Vec::new(),
        observe: BTreeSet::new(),
        // Every host and node is read again, most of them once.
        due: Vec::with_capacity(2 * survey.hosts.len()),
        wake: None,
        downloads,
        settles_with: None,
    };
    pass.nothing_new = (0..survey.lanes.len()).map(|lane| pass.why_nothing_new(lane)).collect();
    pass.gather()
}

fn position_of(survey: &Survey<'_>, host: &HostView<'_>) -> Next {
    match host.out {
        Some(out) => outs::next(survey, host, out),
        None => position::next(survey, host, Goal::Release(host.release)),
    }
}

impl<'s, 'a> Pass<'s, 'a> {
    fn gather(mut self) -> Plan {
        for at in self.order() {
            self.place(at);
        }
        for host in self.survey.departed.iter().filter(|host| !errands::is_taken_over(self.survey, host)) {
            self.settle(host);
        }
        errands::gather(&mut self);
        self.weigh();
        self.lanes_wait();
        self.refresh();
        if self.survey.desired.fleet.mode == Mode::Report && !self.steps.is_empty() {
            self.wait_for(Subject::Environment, Wait::new(Reason::ReportOnly { steps: self.steps.len() }));
        }
        telling::plan(self)
    }

    /// Hosts that are out already come first: they cost nothing and give capacity back.
    fn order(&self) -> Vec<usize> {
        let hosts = &self.survey.hosts;
        let mut order: Vec<usize> = (0..hosts.len()).collect();
        order.sort_by_cached_key(|at| {
            let host = &hosts[*at];
            let first = host.claim.is_ours() || host.is_unwell() || host.serves_nowhere();
            (host.lane, host.rung, !first, *at)
        });
        order
    }

    fn place(&mut self, at: usize) {
        let survey = self.survey;
        let host = &survey.hosts[at];
        let position = &self.positions[at];
        if host.out.is_some() {
            let next = position.clone();
            self.take(host, next);
            return;
        }
        let lane = &self.lanes[host.lane];
        let flow = lane.refusal.as_ref().map(|refusal| refusal.flow);
        let its_turn = host.rung <= lane.active;
        let ours = host.claim.is_ours();
        // A host that comes back from being out has our mark in the journal alone: it is given back, not begun.
        let begun = ours && host.state().is_none_or(|state| state.claim.is_some());
        let goes_on = flow.is_none() || (begun && flow == Some(Flow::Finish));
        let downloads =
            matches!(position, Next::Step(Action::Download { .. }, _)) && self.is_of_active_stage(host);
        let next = if goes_on && (its_turn || downloads) {
            position.clone()
        } else if ours {
            self.watch(&Watch::for_change(node_scopes(host), WATCH));
            return self.settle(host);
        } else {
            position.before_its_turn()
        };
        if ours {
            self.watch(&Watch::for_change(node_scopes(host), WATCH));
        }
        self.take(host, next);
    }

    /// To a safe point, with what is installed.
    fn settle(&mut self, host: &'s HostView<'a>) {
        let next = position::next(self.survey, host, Goal::Settle);
        self.settles_with = host.installed_release(self.survey);
        self.take(host, next);
        self.settles_with = None;
    }

    /// Packages are fetched for a whole stage before its first drain.
    fn is_of_active_stage(&self, host: &HostView<'_>) -> bool {
        let rungs = &self.survey.lanes[host.lane].rungs;
        let active = rungs.get(self.lanes[host.lane].active).map(|rung| &rung.stage.name);
        active.is_some() && rungs.get(host.rung).map(|rung| &rung.stage.name) == active
    }

    fn take(&mut self, host: &'s HostView<'a>, next: Next) {
        if next.will_be_known() {
            self.undetermined.insert(host.role.name.clone());
        }
        match next {
            Next::Done => {}
            // When an exception ends is waited for anyway.
            Next::DoneBut(reason) => self.wait_for(Subject::Host(host.name.clone()), Wait::new(reason)),
            Next::Wait(wait) => self.wait_for(Subject::Host(host.name.clone()), wait),
            Next::Step(action @ Action::Download { .. }, why) => self.download(host, action, why),
            Next::Step(action @ Action::PauseAgent { .. }, why) => self.pause(host, action, why),
            Next::Step(action, why) => self.start(host, action, why),
            Next::Admit(action) => self.admit(host, action),
            Next::Leave(action @ Action::Retire { .. }) => self.retire(host, action),
            Next::Leave(action) => self.leave(host, action),
        }
    }

    fn download(&mut self, host: &HostView<'a>, action: Action, why: &str) {
        let limit = self.survey.desired.fleet.max_parallel;
        if self.downloads >= limit {
            self.wait_for_role(host, Reason::Parallel { limit });
            return;
        }
        self.downloads += 1;
        self.start(host, action, why);
    }

    fn admit(&mut self, host: &'s HostView<'a>, action: Action) {
        // Who failed itself, and was given back meanwhile, is begun again.
        let refuses = |reason: &&Reason| !matches!(reason, Reason::StageFailing { host: failing, .. } if failing == host.name);
        let nothing_new = self.nothing_new.get(host.lane).and_then(Option::as_ref);
        if let Some(reason) = nothing_new.filter(refuses).cloned() {
            return self.wait_for_role(host, reason);
        }
        if self.undetermined.contains(&host.role.name) {
            self.wait_for_role(host, Reason::FreshFacts);
            return;
        }
        // Whoever is next keeps the place while the load balancers are looked at once more.
        let read = || rows_are_fresh(host).and_then(|()| aside_is_read(host));
        match self.capacity.admit(self.survey, host).map(|()| read()) {
            Ok(Ok(())) => self.start(host, action, "next in line"),
            Ok(Err(wait)) => self.wait_for(Subject::Host(host.name.clone()), wait),
            Err(reason) => {
                self.watch(&Watch::for_change(node_scopes(host), UNWELL_REFRESH));
                self.tell_of_foreign_drains(host);
                self.wait_for_role(host, reason);
            }
        }
    }

    /// What others took out may be what a floor lacks.
    fn tell_of_foreign_drains(&mut self, host: &HostView<'a>) {
        let rows = host.foreign_rows();
        if !rows.is_empty() {
            self.wait_for(Subject::Host(host.name.clone()), Wait::new(Reason::ForeignDrain { rows }));
        }
    }

    fn leave(&mut self, host: &'s HostView<'a>, action: Action) {
        if let Err(reason) = self.shares.allows_leaving(host) {
            let wait = Wait::new(reason).watching(node_scopes(host), WATCH);
            self.wait_for(Subject::Host(host.name.clone()), wait);
        } else if let Some(reason) = self.may_not_leave(host) {
            self.stays(host, reason);
        } else {
            // A host that left the fleet is in no count.
            if self.survey.lane_of(host).is_some() {
                self.capacity.leaves(host);
            }
            self.start(host, action, "out of rotation before the install");
        }
    }

    /// The agent of a host that may not leave afterwards is not paused first: it would be resumed and paused for ever.
    fn pause(&mut self, host: &'s HostView<'a>, action: Action, why: &str) {
        match self.may_not_leave(host).filter(|_| is_untouched(host)) {
            Some(reason) => self.stays(host, reason),
            None => self.start(host, action, why),
        }
    }

    fn may_not_leave(&self, host: &HostView<'a>) -> Option<Reason> {
        self.failing_reason(host).or_else(|| self.capacity.may_leave(self.survey, host).err())
    }

    /// A claimed host that may not leave after all is given back, so that it holds nobody up. One that is out on some nodes,
    /// and cannot leave the others because of another one that was taken out, by us or by others, comes back there with what it
    /// runs, if that is well: else two of them could wait for each other, or one for a person. A server that is only down may
    /// be back in a moment.
    fn stays(&mut self, host: &'s HostView<'a>, reason: Reason) {
        if is_untouched(host) {
            let given_back = returning::given_back(self.survey, host, "may not leave rotation now");
            given_back.into_iter().for_each(|next| self.take(host, next));
        } else if self.waits_for_what_is_taken_out(host, &reason) {
            // Out of maintenance it is drained first, until it is checked.
            let back = position::next(self.survey, host, Goal::Settle);
            if matches!(back, Next::Step(Action::Ready { .. } | Action::Drain { .. }, _)) {
                self.settle(host);
            }
        }
        self.wait_for(Subject::Host(host.name.clone()), Wait::new(reason));
    }

    fn waits_for_what_is_taken_out(&self, host: &HostView<'a>, reason: &Reason) -> bool {
        let Reason::BelowFloor(floor) = reason else { return false };
        let others = self.survey.hosts.iter().filter(|other| other.name != host.name);
        let mut rows = others.flat_map(|other| &other.rows).filter(|row| row.is_taken_out());
        rows.any(|row| *row.node == floor.node && *row.backend == floor.backend)
    }

    /// A host that is declared out still serves: taking it out is our action, so the floor is kept.
    fn retire(&mut self, host: &'s HostView<'a>, action: Action) {
        let may = self.shares.allows_leaving(host).and_then(|()| self.capacity.may_leave(self.survey, host));
        match may {
            Ok(()) => {
                self.capacity.leaves(host);
                self.start(host, action, "declared out: no new traffic");
            }
            Err(reason) => {
                let wait = Wait::new(reason).watching_for_change(node_scopes(host), UNWELL_REFRESH);
                self.wait_for(Subject::Host(host.name.clone()), wait);
            }
        }
    }

    fn weigh(&mut self) {
        let Some(version) =
            self.survey.desired.canary.as_ref().map(|c| &c.version).or(Some(&self.survey.desired.target))
        else {
            return;
        };
        for (node, weights) in std::mem::take(&mut self.shares.steps) {
            let busy = self.survey.history.in_flight_on(&node).is_some();
            let trouble =
                self.survey.history.trouble(&node, version).filter(|trouble| self.survey.now < trouble.until);
            self.wake_at(trouble.map(|trouble| trouble.until));
            if busy || trouble.is_some() {
                continue;
            }
            if !self.survey.node_is_fresh(&node) {
                self.observe.insert(Scope::Node(node));
                continue;
            }
            let role = RoleName::new("(weights)");
            let address = Address { host: &node, role, version, stage: None };
            self.start_at(&address, Action::Weigh { weights }, "the canary's share");
        }
    }

    fn why_nothing_new(&self, lane: usize) -> Option<Reason> {
        let failing =
            self.failing[lane].as_ref().map(|(host, failure)| self.stage_failing(lane, host, failure));
        let missing = self.missing_downloads(lane);
        let overdue = self.counting(lane).find_map(|(_, next)| match next {
            Next::Wait(Wait { reason: reason @ Reason::StepOverdue { .. }, .. }) => Some(reason.clone()),
            _ => None,
        });
        failing.or(overdue).or((missing > 0).then_some(Reason::Downloading { missing }))
    }

    fn stage_failing(&self, lane: usize, host: &HostName, failure: &Failure) -> Reason {
        let version = self.survey.lanes[lane].target.clone();
        Reason::StageFailing { host: host.clone(), version, failure: failure.clone() }
    }

    /// The failing host itself goes on with its own attempts.
    fn failing_reason(&self, host: &HostView<'_>) -> Option<Reason> {
        let (failing, failure) = self.failing.get(host.lane)?.as_ref()?;
        (failing != host.name).then(|| self.stage_failing(host.lane, failing, failure))
    }

    fn missing_downloads(&self, lane: usize) -> usize {
        let downloading = |(host, next): &(&HostView<'_>, &Next)| {
            let under_way = host.in_flight.is_some_and(|f| f.step.action.kind() == ActionKind::Download);
            let wanted =
                matches!(next, Next::Step(Action::Download { .. }, _)) && self.is_of_active_stage(host);
            under_way || wanted
        };
        self.counting(lane).filter(downloading).count()
    }

    /// Hosts of a lane that count, and what they need.
    fn counting(&self, lane: usize) -> impl Iterator<Item = (&HostView<'a>, &Next)> {
        let counts = move |(host, _): &(&HostView<'_>, &Next)| host.lane == lane && host.out.is_none();
        self.survey.hosts.iter().zip(&self.positions).filter(counts)
    }

    fn start(&mut self, host: &HostView<'a>, action: Action, why: &str) {
        let lane = self.survey.lane_of(host);
        let stage = lane.and_then(|lane| lane.rungs.get(host.rung)).map(|rung| rung.stage);
        // Whoever is given back serves with what is installed, which need not be what was wanted.
        let serves = matches!(action, Action::Ready { because: ReadyBecause::Healthy, .. });
        let serves_with = || serves.then(|| host.installed_release(self.survey)).flatten();
        let installed = self.settles_with.clone().or_else(serves_with);
        let version = installed.as_ref().unwrap_or(host.release);
        let address = Address { host: host.name, role: host.role.name.clone(), version, stage };
        self.start_at(&address, action, why);
    }

    pub(crate) fn start_at(&mut self, address: &Address<'_>, action: Action, why: &str) {
        let (desired, history) = (self.survey.desired, self.survey.history);
        let number = history.steps + 1 + self.steps.len() as u64;
        let host = plain(address.host);
        let id = format!("g{}-{number}-{host}-{}", history.generation, action.kind());
        let deadline = deadline(desired, &action);
        self.steps.push(Step {
            id: StepId::new(id),
            environment: desired.environment.clone(),
            host: address.host.clone(),
            role: address.role.clone(),
            commit: desired.commit.id.clone(),
            version: address.version.clone(),
            generation: history.generation,
            action,
            why: why.to_owned(),
            deadline,
            stage: address.stage.map(|stage| stage.name.clone()),
        });
    }

    pub(crate) fn wait_for(&mut self, subject: Subject, wait: Wait) {
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

    /// What a lane itself waits for, and whoever comes after its active rung.
    fn lanes_wait(&mut self) {
        for at in 0..self.lanes.len() {
            let state = &self.lanes[at];
            // The progress of its stages is told from it as well.
            let mut waits = state.waiting.clone();
            if let Some(refusal) = state.refusal.clone() {
                waits.retain(|(_, wait)| wait.reason != refusal.wait.reason);
                waits.insert(0, (refusal.subject, refusal.wait));
            }
            for (subject, wait) in waits {
                self.wait_for(subject, wait);
            }
            self.later_rungs_wait(at);
        }
    }

    fn later_rungs_wait(&mut self, lane: usize) {
        let (rungs, active) = (&self.survey.lanes[lane].rungs, self.lanes[lane].active);
        let Some(now) = rungs.get(active) else { return };
        for (at, rung) in rungs.iter().enumerate().skip(active + 1) {
            let of_rung = |host: &HostView<'_>| host.lane == lane && host.rung == at;
            let mut positions = self.survey.hosts.iter().zip(&self.positions);
            let undone =
                positions.any(|(host, next)| of_rung(host) && !matches!(next, Next::Done | Next::DoneBut(_)));
            if !undone {
                continue;
            }
            let same_stage = rung.stage.name == now.stage.name;
            match (rung.roles().first().filter(|_| same_stage), now.roles().first()) {
                (Some(role), Some(earlier)) => {
                    let reason = Reason::EarlierRole { role: earlier.name.clone() };
                    self.wait_for(Subject::Role(role.name.clone()), Wait::new(reason));
                }
                _ => {
                    let reason = Reason::EarlierStage { stage: now.stage.name.clone() };
                    self.wait_for(Subject::Stage(rung.stage.name.clone()), Wait::new(reason));
                }
            }
        }
    }
}

/// Nothing of a host was taken out by us.
fn is_untouched(host: &HostView<'_>) -> bool {
    !host.rows.is_empty() && host.our_rows().all(|row| row.admin() == Some(model::Admin::Ready))
}

/// A job that must not run twice has its own time; everything else the fleet's.
fn deadline(desired: &model::Desired, action: &Action) -> jiff::SignedDuration {
    match action {
        Action::Migrate { run, .. } => run.timeout,
        Action::Check { check, .. } => check.timeout,
        _ => desired.fleet.deadlines.step,
    }
}

/// A step's name is a unit's name too: what a check over the network asks may have other letters.
fn plain(host: &HostName) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    host.as_str().replace(|c| !is_plain(c), "-")
}
