//! Somebody who looks on: what one process of the service reads, sees and remembers passes by, and is put together into
//! the situations that it has to plan for.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::{Journal, JournalError, Source, World};
use jiff::Timestamp;
use model::{
    CommitId, Desired, EnvironmentName, Event, Failure, Histories, History, Observed, Outcome, Reading,
    Recorded, ReleaseEdit, Role, Scope, Step,
};
use tokio_util::sync::CancellationToken;

use crate::proof::shape::PRODUCTION;
use crate::world::SimWorld;

/// All that a plan of production follows from.
#[derive(Clone, Debug)]
pub struct Situation {
    /// What git wants.
    pub desired: Desired,
    /// What was seen.
    pub observed: Observed,
    /// What is remembered.
    pub history: History,
    /// The time.
    pub now: Timestamp,
}

/// Is told of every situation, and says what to look at in it: of anything else no notice is taken.
pub type Told = Arc<dyn Fn(&Situation) -> BTreeSet<Scope> + Send + Sync>;

/// Stands between one process and its seams. Clones are the same witness.
#[derive(Clone)]
pub(crate) struct Witness {
    told: Option<Told>,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Default)]
struct Memory {
    desired: Option<Desired>,
    observed: Observed,
    histories: Histories,
    wanted: BTreeSet<Scope>,
}

impl Witness {
    /// Of a process that has not begun yet; without anybody to tell, it takes no notice.
    pub(crate) fn new(told: Option<Told>) -> Self {
        Self { told, memory: Arc::default() }
    }

    /// At a seam.
    pub(crate) fn at<T>(&self, seam: T, clock: &SimWorld) -> Witnessed<T> {
        Witnessed { seam, by: self.clone(), clock: clock.clone() }
    }

    /// Takes notice, and tells what it is now.
    fn notices(&self, now: Timestamp, notice: impl FnOnce(&mut Memory)) {
        let Some(told) = &self.told else { return };
        let mut memory: MutexGuard<'_, Memory> = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        notice(&mut memory);
        if let Some(situation) = memory.situation(now) {
            let wanted = told(&situation);
            memory.wanted.extend(wanted);
        }
    }
}

impl Memory {
    fn situation(&mut self, now: Timestamp) -> Option<Situation> {
        let history = self.histories.of(&EnvironmentName::new(PRODUCTION)).clone();
        let mut desired = self.desired.clone()?;
        let gone = history.departed.iter().filter(|(host, _)| desired.fleet.role_of(host).is_none());
        let departed = gone.map(|(host, role)| Role { hosts: vec![host.clone()], ..role.clone() }).collect();
        desired.departed = departed;
        Some(Situation { desired, observed: self.observed.clone(), history, now })
    }

    fn reads(&mut self, reading: &Reading) {
        let environments = reading.revision.as_ref().map(|revision| &revision.environments);
        let Some(desired) = environments.and_then(|all| all.get(&EnvironmentName::new(PRODUCTION))) else {
            return;
        };
        if self.desired.as_ref().is_some_and(|before| before.fleet != desired.fleet) {
            let gates = std::mem::take(&mut self.observed.gates);
            self.observed = Observed { gates, ..Observed::default() };
        }
        self.desired = Some(desired.clone());
    }

    fn remembers(&mut self, written: &[Recorded]) {
        for recorded in written {
            // A journal that was lost takes beginnings with it: the end alone changes nothing.
            drop(self.histories.apply(recorded));
        }
    }
}

/// A seam that a witness looks at.
pub(crate) struct Witnessed<T> {
    seam: T,
    by: Witness,
    clock: SimWorld,
}

impl<T> Witnessed<T> {
    fn notices(&self, notice: impl FnOnce(&mut Memory)) {
        if self.by.told.is_some() {
            self.by.notices(World::now(&self.clock), notice);
        }
    }
}

impl<W: World> World for Witnessed<W> {
    fn now(&self) -> Timestamp {
        self.seam.now()
    }

    async fn observe(&self, scope: &Scope) -> Observed {
        let observed = self.seam.observe(scope).await;
        self.notices(|memory| {
            if memory.wanted.contains(scope) {
                memory.observed.merge(observed.clone());
            }
        });
        observed
    }

    async fn act(&self, step: &Step, cancel: &CancellationToken) -> Result<Outcome, Failure> {
        self.seam.act(step, cancel).await
    }
}

impl<J: Journal> Journal for Witnessed<J> {
    fn append(&self, at: Timestamp, events: &[Event]) -> Result<Vec<Recorded>, JournalError> {
        let written = self.seam.append(at, events)?;
        self.notices(|memory| memory.remembers(&written));
        Ok(written)
    }

    fn replay(&self) -> Result<Vec<Recorded>, JournalError> {
        let events = self.seam.replay()?;
        self.notices(|memory| memory.remembers(&events));
        Ok(events)
    }
}

impl<S: Source> Source for Witnessed<S> {
    async fn read(&self) -> Reading {
        let reading = self.seam.read().await;
        self.notices(|memory| memory.reads(&reading));
        reading
    }

    async fn changed(&self) {
        self.seam.changed().await;
    }

    async fn accept_history(&self, commit: &CommitId) -> Result<(), String> {
        self.seam.accept_history(commit).await
    }

    async fn commit(&self, edit: &ReleaseEdit) -> Result<CommitId, String> {
        self.seam.commit(edit).await
    }
}
