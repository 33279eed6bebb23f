//! What cannot be observed and must survive a crash, folded from the journal.
//!
//! [`History::apply`] is the one transition table: the live service and replay both go through it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::desired::Role;
use crate::event::Event;
use crate::failure::{Failure, FailureKind, Follows};
use crate::ids::{CommitId, EnvironmentName, Generation, HostName, RowId, StepId};
use crate::in_force::Accepted;
use crate::job::JobKey;
use crate::observed::Claim;
use crate::progress::Progress;
use crate::step::{Action, ActionKind, Outcome, ReadyBecause, Step};
use crate::taken_out::TakenOut;
use crate::version::Version;

pub use crate::trouble::{
    FIRST_BACKOFF, FIRST_DRAIN_BACKOFF, MAX_ATTEMPTS, MAX_BACKOFF, Trouble, Troubles, backoff,
};

/// One environment's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Which environment.
    pub environment: EnvironmentName,
    /// Of the service that holds the journal.
    pub generation: Generation,
    /// That service's own lasting name.
    pub service: String,
    /// Steps ever started; names the next one.
    pub steps: u64,
    /// Steps under way.
    pub in_flight: BTreeMap<StepId, InFlight>,
    /// When something was last done there: facts from before are stale. Hosts and load balancer nodes.
    pub last_action: BTreeMap<HostName, Timestamp>,
    /// Hosts that carry our mark, as far as we know.
    pub claims: BTreeMap<HostName, Claim>,
    /// Those of them that are known to have carried it: it did arrive. Hosts that are declared out are ours without one.
    #[serde(default)]
    pub marked: BTreeSet<HostName>,
    /// Rows that we took out of rotation, of hosts that carry our mark.
    pub taken_out: TakenOut,
    /// Hosts whose mark was to be taken off, whatever became of that: there a look says more than the journal.
    pub letting_go: BTreeSet<HostName>,
    /// When a host's rows were last drained or put into maintenance.
    pub drained: BTreeMap<HostName, Timestamp>,
    /// When a host was last activated, and with which version.
    pub activated: BTreeMap<HostName, Activated>,
    /// What went wrong on a host, for the versions that it is to have.
    pub troubles: Troubles,
    /// The revision in force.
    pub accepted: Option<Accepted>,
    /// The last commit at which actual equalled desired.
    pub converged: Option<(CommitId, Timestamp)>,
    /// How long successful actions took, as a moving mean in milliseconds.
    pub durations_ms: BTreeMap<ActionKind, i64>,
    /// How releases moved.
    pub progress: Progress,
    /// Hosts that left the fleet with our mark on them, in their former roles.
    pub departed: BTreeMap<HostName, Role>,
}

/// A step under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// The step.
    pub step: Step,
    /// Since when.
    pub since: Timestamp,
}

impl InFlight {
    fn runs(&self, job: &JobKey) -> bool {
        self.step.action.job().is_some_and(|(_, key)| key == job)
    }
}

/// A host's last activation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activated {
    /// With which release.
    pub version: Version,
    /// When it ended.
    pub at: Timestamp,
    /// How often for this release.
    pub times: u32,
}

/// An event that cannot follow what came before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IllegalEvent {
    /// A step began twice.
    #[error("step {step} began twice")]
    AlreadyStarted {
        /// Which.
        step: StepId,
    },
    /// A step ended that was not under way.
    #[error("step {step} ended without being under way")]
    NotStarted {
        /// Which.
        step: StepId,
    },
    /// A generation that is not higher than the one before.
    #[error("generation {new} follows {old}")]
    GenerationNotRising {
        /// The one before.
        old: Generation,
        /// The one that came.
        new: Generation,
    },
}

impl History {
    /// The memory of an environment that nothing is known about.
    pub fn new(environment: EnvironmentName) -> Self {
        Self {
            environment,
            generation: Generation(0),
            service: String::new(),
            steps: 0,
            in_flight: BTreeMap::new(),
            last_action: BTreeMap::new(),
            claims: BTreeMap::new(),
            marked: BTreeSet::new(),
            taken_out: TakenOut::default(),
            letting_go: BTreeSet::new(),
            drained: BTreeMap::new(),
            activated: BTreeMap::new(),
            troubles: Troubles::default(),
            accepted: None,
            converged: None,
            durations_ms: BTreeMap::new(),
            progress: Progress::default(),
            departed: BTreeMap::new(),
        }
    }

    /// Takes in one event. Events of other environments change nothing.
    ///
    /// # Errors
    /// [`IllegalEvent`] when the event cannot follow; the history is then unchanged.
    pub fn apply(&mut self, at: Timestamp, event: &Event) -> Result<(), IllegalEvent> {
        if event.environment().is_some_and(|environment| *environment != self.environment) {
            if event.concerns_every_environment() {
                self.progress.apply(at, event);
            }
            return Ok(());
        }
        self.progress.apply(at, event);
        match event {
            Event::ServiceStarted { generation, service, .. } => {
                self.service_started(at, *generation, service)
            }
            Event::Accepted { commit, version, canary, .. } => {
                self.accept(at, commit, version, canary.as_ref());
                Ok(())
            }
            Event::StepStarted { step } => self.start(at, step),
            Event::StepFinished { step, result, .. } => self.finish(at, step, result),
            Event::Retried { .. } => {
                self.forget_troubles();
                let Self { progress, in_flight, .. } = self;
                progress.retry(|job| in_flight.values().any(|in_flight| in_flight.runs(job)));
                Ok(())
            }
            Event::Departed { roles, .. } => {
                let hosts = roles.iter().flat_map(|role| role.hosts.iter().map(move |host| (host, role)));
                self.departed.extend(hosts.map(|(host, role)| (host.clone(), role.clone())));
                Ok(())
            }
            Event::Undone { host, rows, .. } => {
                self.taken_out.ends(host, rows);
                Ok(())
            }
            Event::Converged { commit, .. } => {
                self.converged = Some((commit.clone(), at));
                Ok(())
            }
            Event::Refused { .. }
            | Event::HistoryAccepted { .. }
            | Event::WaitingChanged { .. }
            | Event::StageBegan { .. }
            | Event::StageWorked { .. }
            | Event::StagePassed { .. }
            | Event::Passed { .. }
            | Event::Verified { .. }
            | Event::ShareReached { .. }
            | Event::ShareWithdrawn { .. }
            | Event::GateTurned { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::Adopted { .. }
            | Event::Committed { .. } => Ok(()),
        }
    }

    /// A host's trouble with the release that it should run.
    pub fn trouble(&self, host: &HostName, version: &Version) -> Option<&Trouble> {
        self.troubles.of(host, version)
    }

    /// The step under way on a host.
    pub fn in_flight_on(&self, host: &HostName) -> Option<&InFlight> {
        self.in_flight.values().find(|in_flight| in_flight.step.host == *host)
    }

    /// The step under way that runs a job.
    pub fn job_under_way(&self, key: &JobKey) -> Option<&InFlight> {
        self.in_flight.values().find(|in_flight| in_flight.runs(key))
    }

    fn service_started(
        &mut self,
        at: Timestamp,
        generation: Generation,
        service: &str,
    ) -> Result<(), IllegalEvent> {
        if generation <= self.generation {
            return Err(IllegalEvent::GenerationNotRising { old: self.generation, new: generation });
        }
        self.generation = generation;
        service.clone_into(&mut self.service);
        let orphans = std::mem::take(&mut self.in_flight);
        for orphan in orphans.into_values() {
            self.touch(at, &orphan.step);
            self.assume_begun(at, &orphan.step);
        }
        Ok(())
    }

    /// An interrupted step may have had its effect: remember what makes the next look right.
    fn assume_begun(&mut self, at: Timestamp, step: &Step) {
        match &step.action {
            // The mark may still say what it said before.
            Action::Claim { found } => {
                let before = self.claims.get(&step.host).map(|claim| claim.found.clone());
                self.claim(at, step, found.iter().cloned().chain(before.unwrap_or_default()).collect());
            }
            Action::Drain { .. } | Action::Maint { .. } => {
                self.drained.entry(step.host.clone()).or_insert(at);
            }
            Action::Activate { .. } => self.activate(at, step, 0),
            Action::Retire { found, .. } => self.retire(at, step, found),
            Action::Download { .. }
            | Action::Cut { .. }
            | Action::Install { .. }
            | Action::Ready { .. }
            | Action::Weigh { .. }
            | Action::Migrate { .. }
            | Action::Check { .. }
            | Action::PauseAgent { .. }
            | Action::ResumeAgent { .. }
            | Action::Pin { .. }
            | Action::Patch { .. }
            | Action::Release => {}
        }
    }

    fn accept(&mut self, at: Timestamp, commit: &CommitId, version: &Version, canary: Option<&Version>) {
        let before = self.accepted.as_ref();
        let same_main = before.is_some_and(|accepted| accepted.version == *version);
        let same_canary = before.is_some_and(|accepted| accepted.canary.as_ref() == canary);
        let (commit, main, own) = (commit.clone(), version.clone(), canary.cloned());
        let anew = Accepted { commit, version: main, canary: own, at, main_since: at, canary_since: at };
        let accepted = match before {
            Some(before) => anew.after(before),
            None => anew,
        };
        if !(same_main && same_canary) {
            // What stays a target of its track keeps its troubles; a change of the other track is no news for it.
            let stays = |v: &Version| (same_main && v == version) || (same_canary && Some(v) == canary);
            self.troubles.retain(|_, trouble| stays(&trouble.version));
            for activated in self.activated.values_mut().filter(|activated| !stays(&activated.version)) {
                activated.times = 0;
            }
        }
        self.accepted = Some(accepted);
    }

    /// A host that is declared out is drained by us: should it come back, that is ours to undo.
    fn retire(&mut self, at: Timestamp, step: &Step, found: &BTreeSet<RowId>) {
        if !self.claims.contains_key(&step.host) {
            self.claim(at, step, found.clone());
        }
        self.drained.entry(step.host.clone()).or_insert(at);
    }

    fn forget_troubles(&mut self) {
        self.troubles.clear();
        for activated in self.activated.values_mut() {
            activated.times = 0;
        }
    }

    /// A host was let go: what went wrong on its way to a safe point is over with that.
    fn forget_what_is_no_target(&mut self, host: &HostName) {
        let Some(accepted) = &self.accepted else { return };
        self.troubles.retain(|of, trouble| of != host || accepted.wants(&trouble.version));
    }

    fn start(&mut self, at: Timestamp, step: &Step) -> Result<(), IllegalEvent> {
        if self.in_flight.contains_key(&step.id) {
            return Err(IllegalEvent::AlreadyStarted { step: step.id.clone() });
        }
        self.steps += 1;
        match step.action {
            Action::Release => drop(self.letting_go.insert(step.host.clone())),
            Action::Claim { .. } | Action::Retire { .. } if self.letting_go.remove(&step.host) => {
                self.marked.remove(&step.host);
                self.taken_out.forget(&step.host);
            }
            // Our mark was seen since: it was not let go.
            Action::Drain { .. } | Action::Maint { .. } => drop(self.letting_go.remove(&step.host)),
            _ => {}
        }
        self.taken_out.begins(step);
        self.touch(at, step);
        self.progress.job_begins(at, step);
        self.in_flight.insert(step.id.clone(), InFlight { step: step.clone(), since: at });
        Ok(())
    }

    fn finish(
        &mut self,
        at: Timestamp,
        id: &StepId,
        result: &Result<Outcome, Failure>,
    ) -> Result<(), IllegalEvent> {
        let Some(InFlight { step, since }) = self.in_flight.remove(id) else {
            return Err(IllegalEvent::NotStarted { step: id.clone() });
        };
        self.touch(at, &step);
        match result {
            Ok(outcome) => self.succeed(at, &step, outcome, since),
            Err(failure) => self.fail(at, &step, failure, since),
        }
        Ok(())
    }

    /// Facts about the step's host and nodes from before `at` are stale.
    fn touch(&mut self, at: Timestamp, step: &Step) {
        self.last_action.extend(step.touched().into_iter().map(|name| (name, at)));
    }

    fn succeed(&mut self, at: Timestamp, step: &Step, outcome: &Outcome, since: Timestamp) {
        match &step.action {
            Action::Claim { found } => {
                self.claim(at, step, found.clone());
                self.marked.insert(step.host.clone());
            }
            Action::Drain { .. } | Action::Maint { .. } => {
                self.drained.insert(step.host.clone(), at);
            }
            Action::Ready { rows, because } => {
                self.drained.remove(&step.host);
                self.taken_out.ends(&step.host, rows);
                if *because == ReadyBecause::DrainTimeout {
                    self.drain_timed_out(at, step);
                }
            }
            Action::Activate { .. } => self.activate(at, step, 1),
            Action::Release => {
                self.claims.remove(&step.host);
                self.marked.remove(&step.host);
                self.taken_out.forget(&step.host);
                self.drained.remove(&step.host);
                self.departed.remove(&step.host);
                self.forget_what_is_no_target(&step.host);
            }
            Action::Retire { found, .. } => self.retire(at, step, found),
            Action::Download { .. }
            | Action::Cut { .. }
            | Action::Install { .. }
            | Action::Weigh { .. }
            | Action::Migrate { .. }
            | Action::Check { .. }
            | Action::PauseAgent { .. }
            | Action::ResumeAgent { .. }
            | Action::Pin { .. }
            | Action::Patch { .. } => {}
        }
        self.progress.succeeded(at, step, outcome);
        let kind = step.action.kind();
        // Before anything was accepted, every version may be wanted.
        let accepted = self.accepted.as_ref();
        let is_target = |version: &Version| accepted.is_none_or(|accepted| accepted.wants(version));
        self.troubles.succeeded(step, is_target);
        if matches!(outcome, Outcome::Changed(_)) {
            self.learn_duration(kind, since, at);
        }
    }

    /// What a mark newly calls somebody else's was taken out by us no more.
    fn claim(&mut self, at: Timestamp, step: &Step, found: BTreeSet<RowId>) {
        let before = self.claims.get(&step.host).map(|claim| &claim.found);
        // Who left a role without anything of it begun, and runs jobs now, is not let go out of that role any more.
        if before.is_none() && step.role.is_of_jobs() && !self.taken_out.has_any(&step.host) {
            self.departed.retain(|host, role| *host != step.host || role.name.is_of_jobs());
        }
        let theirs = found.iter().filter(|row| before.is_none_or(|before| !before.contains(*row)));
        self.taken_out.ends(&step.host, &theirs.cloned().collect());
        let claim = Claim {
            generation: step.generation,
            service: self.service.clone(),
            environment: step.environment.clone(),
            commit: step.commit.clone(),
            found,
            at,
            expires: None,
        };
        self.claims.insert(step.host.clone(), claim);
    }

    fn activate(&mut self, at: Timestamp, step: &Step, attempt: u32) {
        let before =
            self.activated.get(&step.host).filter(|a| a.version == step.version).map_or(0, |a| a.times);
        let activated = Activated { version: step.version.clone(), at, times: before + attempt };
        self.activated.insert(step.host.clone(), activated);
    }

    fn drain_timed_out(&mut self, at: Timestamp, step: &Step) {
        let failure = Failure {
            kind: FailureKind::TimedOut,
            what: format!("sessions of {} did not end in time", step.host),
            detail: String::new(),
        };
        self.trouble_grows(at, step, ActionKind::Drain, &failure);
    }

    fn fail(&mut self, at: Timestamp, step: &Step, failure: &Failure, since: Timestamp) {
        if failure.kind.follows() == Follows::Look {
            self.assume_begun(at, step);
            return;
        }
        // What one load balancer node refused, another one may have done, just now.
        match &step.action {
            Action::Retire { found, .. } => self.retire(at, step, found),
            Action::Drain { .. } | Action::Maint { .. } => drop(self.drained.insert(step.host.clone(), at)),
            _ => {}
        }
        if step.action.job().is_some() && ends_a_job(failure.kind) {
            self.progress.job_fails(at, step, failure);
            return;
        }
        if failure.kind == FailureKind::NotReady {
            self.progress.job_was_not_begun(step, since);
        }
        self.trouble_grows(at, step, step.action.kind(), failure);
    }

    fn trouble_grows(&mut self, at: Timestamp, step: &Step, action: ActionKind, failure: &Failure) {
        let before = self.trouble(&step.host, &step.version).filter(|trouble| trouble.action == action);
        let times = before.map_or(0, |trouble| trouble.times) + 1;
        let counts = u32::from(failure.kind.follows() == Follows::Attempt);
        let attempts = before.map_or(0, |trouble| trouble.attempts) + counts;
        let outlasted = action == ActionKind::Drain && failure.kind == FailureKind::TimedOut;
        let wait = if outlasted { FIRST_DRAIN_BACKOFF } else { FIRST_BACKOFF };
        let trouble = Trouble {
            version: step.version.clone(),
            action,
            failure: failure.clone(),
            times,
            attempts,
            until: at.checked_add(wait.max(backoff(times))).unwrap_or(Timestamp::MAX),
        };
        self.troubles.insert(step.host.clone(), trouble);
    }

    fn learn_duration(&mut self, kind: ActionKind, since: Timestamp, at: Timestamp) {
        let took_ms = i64::try_from(at.duration_since(since).as_millis()).unwrap_or(i64::MAX);
        let mean = self.durations_ms.entry(kind).or_insert(took_ms);
        *mean += (took_ms - *mean) / 4;
    }
}

/// Whether a failure is the end of a job that must not run twice. A refused mark or a lost connection is not: the job's
/// name is still free, or it is found again by it.
fn ends_a_job(kind: FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::JobFailed | FailureKind::InDoubt | FailureKind::CommandFailed | FailureKind::Bug
    )
}
