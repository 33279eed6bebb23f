//! Carries out steps and readings, each in a task of its own. What a task did is told when it ends; a task that
//! panics is told as a bug, not lost.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use model::{
    CommitId, EnvironmentName, Failure, FailureKind, Observed, Outcome, Reading, ReleaseEdit, Scope, Step,
    StepId,
};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::read_at;
use crate::seams::{Source, World};

/// The end of something that the service began.
pub(crate) enum Done {
    /// A step.
    Acted { environment: EnvironmentName, step: StepId, result: Result<Outcome, Failure> },
    /// A reading.
    Looked { environment: EnvironmentName, scope: Scope, observed: Observed },
    /// A commit of the service, with what git shows after it.
    Committed(Box<Committed>),
}

/// A commit that was written, or could not be.
pub(crate) struct Committed {
    pub(crate) edit: ReleaseEdit,
    pub(crate) result: Result<CommitId, String>,
    pub(crate) reading: Option<Reading>,
}

/// What a task is for, so that one that panics is told too.
enum Begun {
    Act { environment: EnvironmentName, step: StepId, task: AbortHandle },
    Look { environment: EnvironmentName, scope: Scope },
    Commit { edit: ReleaseEdit },
}

/// Tasks under way. Dropping it abandons them; jobs on hosts go on, and are found again.
pub(crate) struct Executor<W> {
    world: Arc<W>,
    cancel: CancellationToken,
    tasks: JoinSet<Done>,
    begun: HashMap<Id, Begun>,
}

impl<W: World> Executor<W> {
    pub(crate) fn new(world: Arc<W>, cancel: CancellationToken) -> Self {
        Self { world, cancel, tasks: JoinSet::new(), begun: HashMap::new() }
    }

    pub(crate) fn act(&mut self, step: Step) {
        let (world, cancel) = (self.world.clone(), self.cancel.clone());
        let (environment, id) = (step.environment.clone(), step.id.clone());
        let task = self.tasks.spawn(async move {
            let result = world.act(&step, &cancel).await;
            Done::Acted { environment: step.environment, step: step.id, result }
        });
        self.begun.insert(task.id(), Begun::Act { environment, step: id, task });
    }

    /// Lets go of every step, as the end of the process would: nothing is told of them any more, and jobs on hosts go on
    /// and are found again.
    pub(crate) fn abandon_steps(&mut self) {
        self.begun.retain(|_, begun| {
            let Begun::Act { task, .. } = begun else { return true };
            task.abort();
            false
        });
    }

    /// Reads. What is seen is as old as `began`, which is now or a moment ago.
    pub(crate) fn look(&mut self, environment: EnvironmentName, scope: Scope, began: Timestamp) {
        let world = self.world.clone();
        let begun = Begun::Look { environment: environment.clone(), scope: scope.clone() };
        let task = self.tasks.spawn(async move {
            let observed = read_at(world.observe(&scope).await, began);
            Done::Looked { environment, scope, observed }
        });
        self.begun.insert(task.id(), begun);
    }

    /// Writes a commit, and reads git again at once when it was written.
    pub(crate) fn commit<S: Source>(&mut self, source: Arc<S>, edit: ReleaseEdit) {
        let begun = Begun::Commit { edit: edit.clone() };
        let task = self.tasks.spawn(async move {
            let result = source.commit(&edit).await;
            let reading = if result.is_ok() { Some(source.read().await) } else { None };
            Done::Committed(Box::new(Committed { edit, result, reading }))
        });
        self.begun.insert(task.id(), begun);
    }

    /// The next end; never, while nothing is under way. Cancel-safe: an end that is not returned stays.
    pub(crate) async fn next(&mut self) -> Done {
        loop {
            let Some(ended) = self.tasks.join_next_with_id().await else { std::future::pending().await };
            if let Some(done) = self.told(ended) {
                return done;
            }
        }
    }

    /// An end that is there already.
    pub(crate) fn try_next(&mut self) -> Option<Done> {
        loop {
            let ended = self.tasks.try_join_next_with_id()?;
            if let Some(done) = self.told(ended) {
                return Some(done);
            }
        }
    }

    /// The end of a task, also when it panicked. None: it was abandoned.
    fn told(&mut self, ended: Result<(Id, Done), JoinError>) -> Option<Done> {
        match ended {
            Ok((id, done)) => self.begun.remove(&id).map(|_| done),
            Err(error) => self.begun.remove(&error.id()).map(|begun| panicked(begun, &error)),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }
}

fn panicked(begun: Begun, panic: &JoinError) -> Done {
    match begun {
        Begun::Act { environment, step, .. } => {
            let result = Err(bug(&step, panic));
            Done::Acted { environment, step, result }
        }
        // It leaves no fact: the next pass asks again, and the panic is on stderr.
        Begun::Look { environment, scope } => {
            Done::Looked { environment, scope, observed: Observed::default() }
        }
        Begun::Commit { edit } => {
            let result =
                Err(format!("writing it panicked; this is a bug in reconcile, please report it: {panic}"));
            Done::Committed(Box::new(Committed { edit, result, reading: None }))
        }
    }
}

fn bug(step: &StepId, panic: &JoinError) -> Failure {
    Failure {
        kind: FailureKind::Bug,
        what: format!("step {step} panicked; this is a bug in reconcile, please report it"),
        detail: panic.to_string(),
    }
}
