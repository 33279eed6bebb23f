//! The seams of a service with a defect: everything passes through them, and one thing comes out bent.

mod desired;
mod events;
mod facts;
mod memory;
mod steps;

pub(crate) use desired::BentSource;
pub(crate) use events::BentJournal;

use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::World;
use jiff::Timestamp;
use model::{Action, Failure, FailureKind, Observed, Outcome, Scope, Step, StepId};
use tokio_util::sync::CancellationToken;

use crate::proof::bent::memory::Memory;
use crate::proof::sabotage::Sabotage;
use crate::world::SimWorld;

/// The world as a service with a defect sees and changes it; without one, as it is.
pub(crate) struct BentWorld {
    world: SimWorld,
    how: Option<Sabotage>,
    memory: Mutex<Memory>,
}

impl BentWorld {
    pub(crate) fn new(world: SimWorld, how: Option<Sabotage>) -> Self {
        Self { world, how, memory: Mutex::default() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn act_bent(
        &self,
        how: Sabotage,
        step: &Step,
        cancel: &CancellationToken,
    ) -> Result<Outcome, Failure> {
        let bent = steps::bent(how, step, &mut self.memory());
        let Some(bent) = bent else { return Ok(Outcome::Changed("so it says".to_owned())) };
        let result = self.world.act(&bent, cancel).await;
        let unanswered = result.as_ref().is_err_and(|failure| failure.kind == FailureKind::TimedOut);
        let installs = matches!(step.action, Action::Install { .. });
        if how == Sabotage::AnswerTakenForFailure && unanswered && installs {
            let again = Step { id: StepId::new(format!("{}-again", step.id)), ..bent };
            return self.world.act(&again, cancel).await;
        }
        result
    }
}

impl World for BentWorld {
    fn now(&self) -> Timestamp {
        self.world.now()
    }

    async fn observe(&self, scope: &Scope) -> Observed {
        let mut observed = self.world.observe(scope).await;
        if let Some(how) = self.how {
            facts::bend(how, &mut observed, &mut self.memory());
        }
        observed
    }

    async fn act(&self, step: &Step, cancel: &CancellationToken) -> Result<Outcome, Failure> {
        match self.how {
            Some(how) => self.act_bent(how, step, cancel).await,
            None => self.world.act(step, cancel).await,
        }
    }
}
