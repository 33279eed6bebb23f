//! The three seams: what the service needs of the world, of its memory, and of git. Each has a live and a simulated
//! implementation; nothing else in the program is abstract.

use std::future::Future;

use jiff::Timestamp;
use model::{CommitId, Event, Failure, Observed, Outcome, Reading, Recorded, ReleaseEdit, Scope, Step};
use tokio_util::sync::CancellationToken;

/// Hosts, load balancers, and the time.
///
/// Implementations make one attempt, and never retry, wait for a better moment, order or choose.
pub trait World: Send + Sync + 'static {
    /// The wall time.
    fn now(&self) -> Timestamp;

    /// Reads one host or one load balancer node. Never fails: what cannot be seen is a fact with a reason. Changes
    /// nothing. The fact's time is when the reading began. Ends within the implementation's own deadline.
    fn observe(&self, scope: &Scope) -> impl Future<Output = Observed> + Send;

    /// Carries out one step.
    ///
    /// Dropping the future, or `cancel`, leaves a job on a host running: it is found again by the step's name.
    ///
    /// # Errors
    /// A [`Failure`] whose kind says what follows. After any error the effect may have happened: look again.
    fn act(
        &self,
        step: &Step,
        cancel: &CancellationToken,
    ) -> impl Future<Output = Result<Outcome, Failure>> + Send;
}

/// The service's durable memory.
pub trait Journal: Send + Sync + 'static {
    /// Appends events, all or none. When it returns, they survive a crash.
    ///
    /// # Errors
    /// [`JournalError`]: nothing was written, and nothing may start.
    fn append(&self, at: Timestamp, events: &[Event]) -> Result<Vec<Recorded>, JournalError>;

    /// Everything that was ever appended, in order.
    ///
    /// # Errors
    /// [`JournalError`] when it cannot be read, or was written by a newer program.
    fn replay(&self) -> Result<Vec<Recorded>, JournalError>;
}

/// The journal could not be read or written. The service stops starting things until it can.
#[derive(Debug, thiserror::Error)]
#[error("journal: {what}")]
pub struct JournalError {
    /// What was tried, where, and how it failed.
    pub what: String,
}

/// The desired-state repository.
pub trait Source: Send + Sync + 'static {
    /// Reads the newest state. Never fails: an obstacle is part of the reading, and the last valid revision stays.
    fn read(&self) -> impl Future<Output = Reading> + Send;

    /// Returns when there may be something new: a change seen locally, or the time to ask a remote again. Cancel-safe.
    fn changed(&self) -> impl Future<Output = ()> + Send;

    /// A person accepts a history that does not descend from the accepted commit. The next reading starts from it.
    ///
    /// # Errors
    /// The reason in words, when the commit is not known.
    fn accept_history(&self, commit: &CommitId) -> impl Future<Output = Result<(), String>> + Send;

    /// Writes a change of one version to the branch, in the service's own name, and returns the commit. It comes into
    /// force by the next reading, like everybody's.
    ///
    /// # Errors
    /// The reason in words: nothing was written. Also when the version is no longer the one that the edit began from:
    /// whoever was faster is not overwritten.
    fn commit(&self, edit: &ReleaseEdit) -> impl Future<Output = Result<CommitId, String>> + Send;
}
