//! What people may ask of the running service. Everything that outlives it is a commit instead.

use model::{CommitId, EnvironmentName};
use tokio::sync::oneshot;

use crate::report::Report;
use crate::word::Word;

/// One request, with where its answer goes.
#[derive(Debug)]
pub enum Request {
    /// How does everything stand?
    Report {
        /// The answer.
        reply: oneshot::Sender<Report>,
    },
    /// Try again what failed or halted.
    Retry {
        /// Where.
        environment: EnvironmentName,
        /// Who asks.
        by: String,
        /// Why.
        reason: String,
        /// Done, or why not.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// A person's word about an environment.
    Say {
        /// Where.
        environment: EnvironmentName,
        /// What.
        word: Word,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// Done, or why not.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Take a history that does not descend from the accepted commit.
    AcceptHistory {
        /// Its head.
        commit: CommitId,
        /// Who takes responsibility.
        by: String,
        /// Why.
        reason: String,
        /// Done, or why not.
        reply: oneshot::Sender<Result<(), String>>,
    },
}
