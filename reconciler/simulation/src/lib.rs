//! A world that is not real, behind the same seams as the live one: for the demo without root, and for the proof.
//!
//! Written from what hosts, HAProxy, apt and systemd were seen to do, independently of `planner::simulate`, so that
//! the proof does not inherit the planner's mistakes. Everything follows from one seed; each host, load balancer node
//! and repository has a stream of luck of its own. Time is tokio's: on a paused clock nothing really waits.
//!
//! The world moves lazily: whoever touches it first lets everything happen that was due until then, in order of time.

mod act;
mod agent;
mod balancer;
mod builder;
mod chance;
mod clock;
mod database;
mod end_state;
mod faults;
mod fence;
mod host;
mod invariants;
mod job;
mod journal;
mod law;
mod look;
mod luck;
mod mistakes;
mod named;
mod outside;
mod pace;
mod patch;
mod proof;
mod reach;
mod source;
mod state;
mod steering;
mod tally;
mod weights;
mod world;

pub use builder::Settings;
pub use database::MigrationRow;
pub use end_state::{EndOfHost, EndState};
pub use invariants::{Promise, Violation};
pub use journal::MemoryJournal;
pub use named::Fate;
pub use pace::{Pace, Span};
pub use proof::*;
pub use source::SimSource;
pub use state::{Release, TraceLine};
pub use tally::{Ended, Tally};
pub use world::SimWorld;
