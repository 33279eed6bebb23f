//! One line of the journal. The journal is an intent log: a step's start is durable before its effect begins.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::ids::{CommitId, EnvironmentName, Generation, StepId};
use crate::step::{Outcome, Step};
use crate::version::Version;

/// The newest form of an event that this program writes and reads.
pub const JOURNAL_FORMAT: u32 = 1;

/// An event with its place and time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Its place: 1, 2, 3, …
    pub seq: u64,
    /// When, by the service's clock.
    pub at: Timestamp,
    /// What.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A service took the journal. Steps of earlier ones that are still open are no longer in flight: what they did
    /// is found by looking.
    ServiceStarted {
        /// Its generation, higher than any before.
        generation: Generation,
        /// Its own lasting name, as it stands in claims.
        service: String,
        /// The program's version.
        program: String,
    },
    /// A revision of an environment is in force from here on.
    Accepted {
        /// Which environment.
        environment: EnvironmentName,
        /// The commit.
        commit: CommitId,
        /// Who wrote it.
        author: String,
        /// First line of its message.
        subject: String,
        /// The main track's target.
        version: Version,
    },
    /// A revision was refused; the one before stays in force.
    Refused {
        /// The commit.
        commit: CommitId,
        /// Every error.
        errors: Vec<String>,
    },
    /// A person accepted a rewritten history.
    HistoryAccepted {
        /// The new head.
        commit: CommitId,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// A step begins.
    StepStarted {
        /// Which.
        step: Step,
    },
    /// A step ended.
    StepFinished {
        /// Of which environment.
        environment: EnvironmentName,
        /// Which.
        step: StepId,
        /// How.
        result: Result<Outcome, Failure>,
    },
    /// A person asked to try again what had failed.
    Retried {
        /// Which environment.
        environment: EnvironmentName,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// The primary reason of an environment to wait became another one.
    WaitingChanged {
        /// Which environment.
        environment: EnvironmentName,
        /// The reason in words; none: nothing waits.
        reason: Option<String>,
    },
    /// Actual equals desired.
    Converged {
        /// Which environment.
        environment: EnvironmentName,
        /// The commit.
        commit: CommitId,
        /// The version.
        version: Version,
    },
}

impl Event {
    /// The environment it belongs to; none: to all of them.
    pub fn environment(&self) -> Option<&EnvironmentName> {
        match self {
            Self::Accepted { environment, .. }
            | Self::StepFinished { environment, .. }
            | Self::Retried { environment, .. }
            | Self::WaitingChanged { environment, .. }
            | Self::Converged { environment, .. } => Some(environment),
            Self::StepStarted { step } => Some(&step.environment),
            Self::ServiceStarted { .. } | Self::Refused { .. } | Self::HistoryAccepted { .. } => None,
        }
    }
}
