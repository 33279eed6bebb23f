//! The nouns of `reconcile`: what is desired, what was observed, what is remembered, what is planned.
//!
//! Pure: no clock, no I/O, no task. Everything else in the workspace depends on this crate and it on none of them.

pub mod desired;
pub mod event;
pub mod failure;
pub mod histories;
pub mod history;
pub mod ids;
pub mod observed;
pub mod parse;
pub mod plan;
pub mod revision;
pub mod step;
pub mod version;
pub mod waiting;
mod waiting_text;

pub use desired::{
    Activate, Argv, BackendId, Commit, Deadlines, Desired, Direction, DrainPolicy, Fleet, Health, Limit,
    LoadBalancer, Mode, OnTimeout, Probe, Role, Service, Track,
};
pub use event::{Event, JOURNAL_FORMAT, Recorded};
pub use failure::{Failure, FailureKind, Follows};
pub use histories::Histories;
pub use history::{Accepted, Activated, History, IllegalEvent, InFlight, MAX_ATTEMPTS, Trouble, backoff};
pub use ids::{
    BackendName, CommitId, EnvironmentName, Generation, HostName, LoadBalancerName, PackageName, RoleName,
    RowId, ServerName, ServiceName, StepId,
};
pub use observed::{
    Admin, Check, Claim, Fact, HealthState, HostState, NodeState, Observed, PackageState, Row, Running,
    ServiceState, Unknown, UnknownKind,
};
pub use plan::{Plan, RoleProgress, Scope, Standing};
pub use revision::{Reading, Revision};
pub use step::{Action, ActionKind, Floor, Outcome, ReadyBecause, Step};
pub use version::{InvalidVersion, Version};
pub use waiting::{EndedBy, Reason, Subject, Waiting};
