//! Carries out steps and readings, each in a task of its own. What a task did is told when it ends; a task that
//! panics is told as a bug, not lost.

use std::sync::Arc;

use model::{
    CommitId, EnvironmentName, Failure, FailureKind, Observed, Outcome, Reading, ReleaseEdit, Scope, Step,
    StepId,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::{Clock, read_at};
use crate::seams::{Source, World};

/// The end of something that the service began.
pub(crate) enum Done {
    /// A step.
    Acted { environment: EnvironmentName, step: StepId, result: Result<Outcome, Failure> },
    /// A reading.
    Looked { environment: EnvironmentName, scope: Scope, observed: Observed },
    /// A commit of the service, with what git shows after it.
    Committed { edit: ReleaseEdit, result: Result<CommitId, String>, reading: Option<Reading> },
}

/// Tasks under way. Dropping it abandons them; jobs on hosts go on, and are found again.
pub(crate) struct Executor<W> {
    world: Arc<W>,
    clock: Clock<W>,
    cancel: CancellationToken,
    tasks: JoinSet<Done>,
}

impl<W: World> Executor<W> {
    pub(crate) fn new(world: Arc<W>, clock: Clock<W>, cancel: CancellationToken) -> Self {
        Self { world, clock, cancel, tasks: JoinSet::new() }
    }

    pub(crate) fn act(&mut self, step: Step) {
        let (world, cancel) = (self.world.clone(), self.cancel.clone());
        let (environment, id) = (step.environment.clone(), step.id.clone());
        let action = AbortOnDropHandle::new(tokio::spawn(async move { world.act(&step, &cancel).await }));
        self.tasks.spawn(async move {
            let result = match action.await {
                Ok(result) => result,
                Err(panic) => Err(bug(&id, &panic)),
            };
            Done::Acted { environment, step: id, result }
        });
    }

    pub(crate) fn look(&mut self, environment: EnvironmentName, scope: Scope) {
        let world = self.world.clone();
        let (looked_at, began) = (scope.clone(), self.clock.now());
        let reading = AbortOnDropHandle::new(tokio::spawn(async move { world.observe(&looked_at).await }));
        self.tasks.spawn(async move {
            // A reading that panicked leaves no fact: the next pass asks again, and the panic is on stderr.
            let observed = read_at(reading.await.unwrap_or_default(), began);
            Done::Looked { environment, scope, observed }
        });
    }

    /// Writes a commit, and reads git again at once when it was written.
    pub(crate) fn commit<S: Source>(&mut self, source: Arc<S>, edit: ReleaseEdit) {
        self.tasks.spawn(async move {
            let result = source.commit(&edit).await;
            let reading = if result.is_ok() { Some(source.read().await) } else { None };
            Done::Committed { edit, result, reading }
        });
    }

    /// The next end; never, while nothing is under way. Cancel-safe: an end that is not returned stays.
    pub(crate) async fn next(&mut self) -> Done {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(done)) => return done,
                // The wrappers above neither panic nor are they cancelled while this lives.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// An end that is there already.
    pub(crate) fn try_next(&mut self) -> Option<Done> {
        self.tasks.try_join_next().and_then(Result::ok)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }
}

fn bug(step: &StepId, panic: &tokio::task::JoinError) -> Failure {
    Failure {
        kind: FailureKind::Bug,
        what: format!("step {step} panicked; this is a bug in reconcile, please report it"),
        detail: panic.to_string(),
    }
}
