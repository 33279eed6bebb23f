//! The service loop and the executor: what happens, when, and how much of it at once. Decides nothing; the planner
//! does. Knows no outside system; the [`World`] does.

mod circumstances;
mod clock;
mod departures;
mod environment;
mod executor;
mod handle;
pub mod linter;
mod memory;
mod readings;
mod refusals;
mod report;
mod request;
mod seams;
mod service;
pub mod stores;
mod turn;
mod word;

pub use circumstances::{
    Circumstances, ExceptionKind, ExceptionReport, FreezeReport, GateReport, JobReport, PatchReport,
};
pub use handle::{Handle, Standings};
pub use refusals::Refusals;
pub use report::{EnvironmentReport, HostReport, REPORT_FORMAT, Report, host_reports};
pub use request::Request;
pub use seams::{Journal, JournalError, Source, World};
pub use service::{DesiredByName, Service};
pub use word::{Word, highest_generation, job_hosts, newer_generation};
