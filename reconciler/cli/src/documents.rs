//! What commands print as JSON. The same types are rendered for people.

mod track;

use engine::Circumstances;
use engine::linter::Finding;
use jiff::Timestamp;
use model::parse::Problem;
use model::{
    Commit, CommitId, EndedBy, EnvironmentName, HostName, InFlight, Plan, Recorded, Standing, UnknownKind,
    Version, Waiting,
};
use planner::Preview;
use serde::{Deserialize, Serialize};

pub use track::{
    CheckPlan, JobStanding, MigrationPlan, PromotionPlan, PromotionStanding, RoleStage, StagePlan, TrackPlan,
    Verdict,
};

/// The form of the documents below; grows when a field changes its meaning.
pub const DOCUMENT_FORMAT: u32 = 1;

/// What `check --json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckDocument {
    /// [`DOCUMENT_FORMAT`].
    pub format: u32,
    /// Whether the repository could be taken as it is.
    pub valid: bool,
    /// The environments of a valid repository.
    pub environments: Vec<EnvironmentName>,
    /// Everything that has to be mended.
    pub problems: Vec<Problem>,
    /// What is odd and does no harm.
    pub warnings: Vec<Problem>,
}

/// What `plan --format json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct PlanDocument {
    /// [`DOCUMENT_FORMAT`].
    pub format: u32,
    /// When the fleets were looked at.
    pub at: Timestamp,
    /// What is odd in the files.
    pub warnings: Vec<String>,
    /// One for each environment.
    pub environments: Vec<PlannedEnvironment>,
}

/// One environment's plan, and what a reader needs beside it.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedEnvironment {
    /// The commit that says what is desired.
    pub commit: Commit,
    /// How it stands.
    pub standing: Standing,
    /// Why the main track goes the way it goes.
    pub direction_because: String,
    /// Each track, canary first: where from, where to, which way and why, and what its stages will do.
    pub tracks: Vec<TrackPlan>,
    /// Gates, jobs, a pause, exceptions, patches, freezes.
    #[serde(flatten)]
    pub circumstances: Circumstances,
    /// Whether the service's journal was read. Without it past results are not known.
    pub remembers: bool,
    /// Promises that the plan would break: a bug. The service would begin nothing of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused_plan: Vec<Finding>,
    /// What may start now, and why everything else waits.
    pub plan: Plan,
    /// The whole rollout, when it was asked for.
    pub preview: Option<Preview>,
    /// Hosts and load balancer nodes that could not be seen.
    pub unseen: Vec<Unseen>,
}

/// A host or load balancer node that could not be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    /// Which.
    pub host: HostName,
    /// What kind of obstacle.
    pub kind: UnknownKind,
    /// The outside's words.
    pub detail: String,
}

/// What `explain --json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// [`DOCUMENT_FORMAT`].
    pub format: u32,
    /// When.
    pub at: Timestamp,
    /// The environment.
    pub environment: EnvironmentName,
    /// The host, when it was asked for one.
    pub host: Option<HostName>,
    /// How the environment stands.
    pub standing: Standing,
    /// The target.
    pub target: Version,
    /// The commit in force.
    pub commit: CommitId,
    /// The one primary reason; none: there is nothing to wait for.
    pub waiting: Option<Waiting>,
    /// Who or what ends it.
    pub ended_by: Option<EndedBy>,
    /// The same in words.
    pub ends: Option<String>,
    /// What is under way on the subject.
    pub in_flight: Vec<InFlight>,
    /// When the environment converged.
    pub converged_at: Option<Timestamp>,
    /// What else stands between git and the service.
    pub also: Vec<String>,
}

/// What `history --json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryDocument {
    /// [`DOCUMENT_FORMAT`].
    pub format: u32,
    /// Which environment.
    pub environment: EnvironmentName,
    /// Oldest first.
    pub events: Vec<Recorded>,
}

/// What `promote`, `rollback`, `weight`, `veto`, `hold`, `out`, `patch` print as JSON: the commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenDocument {
    /// [`DOCUMENT_FORMAT`].
    pub format: u32,
    /// First line of its message.
    pub subject: String,
    /// The repository that it went to.
    pub repository: String,
    /// The branch.
    pub branch: String,
    /// The commit that the change was shown on.
    pub base: CommitId,
    /// What changed, in unified form.
    pub diff: String,
    /// The commit; none: nothing was written.
    pub commit: Option<CommitId>,
}

/// What `retry`, `pause`, `resume`, `verify`, `adopt`, `accept-history`, `init` print as JSON: that it was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneDocument {
    /// [`DOCUMENT_FORMAT`].
    pub format: u32,
    /// What, in words.
    pub done: String,
}
