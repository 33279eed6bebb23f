//! The nouns of `reconcile`: what is desired, what was observed, what is remembered, what is planned.
//!
//! Pure: no clock, no I/O, no task. Everything else in the workspace depends on this crate and it on none of them.

pub mod desired;
pub mod event;
pub mod failure;
pub mod freeze;
pub mod histories;
pub mod history;
pub mod ids;
pub mod in_force;
pub mod job;
mod keyed;
pub mod observed;
pub mod parse;
pub mod pipeline;
pub mod plan;
pub mod progress;
pub mod release;
pub mod revision;
mod same;
pub mod step;
pub mod taken_out;
mod trouble;
pub mod version;
pub mod waiting;
mod waiting_ends;
mod waiting_text;

pub use desired::{
    Activate, Argv, BackendId, Commit, Deadlines, Desired, Direction, DrainPolicy, Fleet, Health, Limit,
    LoadBalancer, Mode, OnTimeout, Policy, Probe, Role, Service, Track,
};
pub use event::{Event, JOURNAL_FORMAT, Recorded};
pub use failure::{Failure, FailureKind, Follows};
pub use freeze::Window;
pub use histories::Histories;
pub use history::{Activated, History, IllegalEvent, InFlight, MAX_ATTEMPTS, Trouble, backoff};
pub use ids::{
    BackendName, CheckName, CommitId, EnvironmentName, GateName, Generation, HostName, LoadBalancerName,
    PackageName, RoleName, RowId, ServerName, ServiceName, StageName, StepId,
};
pub use in_force::Accepted;
pub use job::{FoundJob, JobKey, JobKind, JobName, JobRecord, JobState};
pub use observed::{
    Admin, AgentState, Claim, Fact, GATE_GAP, GateState, HealthState, HostState, NodeState, Observed,
    PackageState, Row, RowCheck, Running, ServiceState, Unknown, UnknownKind, Verdict,
};
pub use pipeline::{
    Check, CheckRun, ConfigAgent, Day, EmergencyBudget, Follow, Freeze, Gate, GateQuestion, InFlightAtFreeze,
    MigrationJob, Migrations, Moment, OnRed, Promotion, Requirement, Run, Stage, Threshold,
};
pub use plan::{
    Cadence, Due, Plan, ReleaseEdit, RoleProgress, Scope, Share, StageProgress, StageStanding, Standing,
    TrackProgress,
};
pub use progress::{Pass, Pause, Progress, ReachedShare, StageRun};
pub use release::{
    Allow, CanaryTarget, Emergency, Exceptions, Hold, HoldScope, Out, OutTarget, Patch, RampStep, Veto,
};
pub use revision::{Reading, Revision};
pub use smol_str::SmolStr;
pub use step::{Action, ActionKind, Floor, Outcome, PatchFile, ReadyBecause, Step};
pub use taken_out::{TakenOut, TakenOutBy};
pub use version::{InvalidVersion, Version};
pub use waiting::{EndedBy, Reason, Subject, Waiting};
