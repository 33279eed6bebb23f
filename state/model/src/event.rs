//! One line of the journal. The journal is an intent log: a step's start is durable before its effect begins.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::desired::{Desired, Role, Track};
use crate::failure::Failure;
use crate::ids::{CommitId, EnvironmentName, GateName, Generation, HostName, RowId, StageName, StepId};
use crate::job::FoundJob;
use crate::observed::Verdict;
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
#[expect(
    clippy::large_enum_variant,
    reason = "steps are the most frequent events; a box would cost each of them"
)]
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
        /// The canary track's, when it has one of its own.
        #[serde(default)]
        canary: Option<Version>,
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
    /// A stage began its work.
    StageBegan {
        /// Of which environment.
        environment: EnvironmentName,
        /// Which.
        stage: StageName,
        /// With which release.
        version: Version,
    },
    /// A stage's work is done; its soak and its checks begin.
    StageWorked {
        /// Of which environment.
        environment: EnvironmentName,
        /// Which.
        stage: StageName,
        /// With which release.
        version: Version,
    },
    /// A stage passed: worked, soaked, checked, with its gates green.
    StagePassed {
        /// Of which environment.
        environment: EnvironmentName,
        /// Which.
        stage: StageName,
        /// With which release.
        version: Version,
    },
    /// A track has passed all its stages with a version. Other environments may require it.
    Passed {
        /// Of which environment.
        environment: EnvironmentName,
        /// Which track.
        track: Track,
        /// The release.
        version: Version,
        /// What it went through.
        stages: Vec<StageName>,
    },
    /// A person takes responsibility that a version has passed, or the record of it was lost.
    Verified {
        /// Of which environment.
        environment: EnvironmentName,
        /// Which track.
        track: Track,
        /// The release.
        version: Version,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// The canary's share has reached a value on every load balancer, as read back.
    ShareReached {
        /// Of which environment.
        environment: EnvironmentName,
        /// The canary's release.
        version: Version,
        /// Percent.
        weight: u8,
    },
    /// The canary was taken out of the shared backends' traffic: a gate is red.
    ShareWithdrawn {
        /// Of which environment.
        environment: EnvironmentName,
        /// Which gate.
        gate: GateName,
    },
    /// A gate says something else than before.
    GateTurned {
        /// Of which environment.
        environment: EnvironmentName,
        /// Which.
        gate: GateName,
        /// What it says.
        verdict: Verdict,
        /// What was answered.
        value: String,
    },
    /// A person stops everything new in an environment for a time.
    Paused {
        /// Which environment.
        environment: EnvironmentName,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// Until when at the latest.
        until: Timestamp,
    },
    /// A person ends a pause.
    Resumed {
        /// Which environment.
        environment: EnvironmentName,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// The fleet is taken as it was found, by a person or at its first sight: versions that run count as migrated.
    Adopted {
        /// Which environment.
        environment: EnvironmentName,
        /// Who; the service itself at first sight.
        by: String,
        /// Why.
        reason: String,
        /// Releases that were found running on the main track.
        running: Vec<Version>,
        /// Releases that were found on the canary track alone: their post-deployment migrations are still to come.
        #[serde(default)]
        ahead: Vec<Version>,
        /// Migrations and checks that hosts remember.
        jobs: Vec<FoundJob>,
    },
    /// Hosts left the fleet with our mark on them.
    Departed {
        /// Of which environment.
        environment: EnvironmentName,
        /// In their former roles.
        roles: Vec<Role>,
    },
    /// Rows of a host without our mark, which is or was declared out, were taken out by us and seen otherwise since: what takes
    /// them out later is somebody else's.
    Undone {
        /// Of which environment.
        environment: EnvironmentName,
        /// The host.
        host: HostName,
        /// Its rows.
        rows: BTreeSet<RowId>,
    },
    /// The service wrote a commit.
    Committed {
        /// For which environment.
        environment: EnvironmentName,
        /// The commit.
        commit: CommitId,
        /// First line of its message.
        subject: String,
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
    /// A revision of an environment comes into force.
    pub fn accepted(desired: &Desired) -> Self {
        Self::Accepted {
            environment: desired.environment.clone(),
            commit: desired.commit.id.clone(),
            author: desired.commit.author.clone(),
            subject: desired.commit.subject.clone(),
            version: desired.target.clone(),
            canary: desired.canary.as_ref().map(|canary| canary.version.clone()),
        }
    }

    /// Whether the other environments remember it too: what has passed here may be required there.
    pub fn concerns_every_environment(&self) -> bool {
        matches!(self, Self::Passed { .. } | Self::Verified { .. })
    }

    /// The environment it belongs to; none: to all of them.
    pub fn environment(&self) -> Option<&EnvironmentName> {
        match self {
            Self::Accepted { environment, .. }
            | Self::StepFinished { environment, .. }
            | Self::Retried { environment, .. }
            | Self::WaitingChanged { environment, .. }
            | Self::StageBegan { environment, .. }
            | Self::StageWorked { environment, .. }
            | Self::StagePassed { environment, .. }
            | Self::Passed { environment, .. }
            | Self::Verified { environment, .. }
            | Self::ShareReached { environment, .. }
            | Self::ShareWithdrawn { environment, .. }
            | Self::GateTurned { environment, .. }
            | Self::Paused { environment, .. }
            | Self::Resumed { environment, .. }
            | Self::Adopted { environment, .. }
            | Self::Departed { environment, .. }
            | Self::Undone { environment, .. }
            | Self::Committed { environment, .. }
            | Self::Converged { environment, .. } => Some(environment),
            Self::StepStarted { step } => Some(&step.environment),
            Self::ServiceStarted { .. } | Self::Refused { .. } | Self::HistoryAccepted { .. } => None,
        }
    }
}
