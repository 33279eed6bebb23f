//! What is promised, checked against the world itself and not against what the program believes.

mod agents;
mod begins;
mod s10_commits;
mod s11_report;
mod s12_others;
mod s1_floor;
mod s2_share;
mod s3_rotation;
mod s4_migrations;
mod s5_vetoes;
mod s6_fences;
mod s7_once;
mod s8_gates;
mod s9_people;

use std::fmt;

use jiff::Timestamp;

use crate::state::{State, TraceLine};

/// How much of what went before is kept with a violation.
const TRACE_LINES: usize = 300;

/// The promises that the world can judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// No action of ours takes a (node, backend, track) below its floor, or further below.
    S1,
    /// The canary's share is not above the desired one, and no canary weighs more than a main server.
    S2,
    /// No install or activation on a host in rotation.
    S3,
    /// No version serves before its migrations, and post-deployment migrations wait for every host that counts.
    S4,
    /// A vetoed version is only moved away from.
    S5,
    /// An older generation changes nothing that a newer one has claimed.
    S6,
    /// What must not run twice starts once, and one job runs on a host at a time.
    S7,
    /// Nothing begins, going forward, while a gate of its stage is not green.
    S8,
    /// Nothing begins, going forward, under a hold, in a pause or in a freeze.
    S9,
    /// Every action belongs to a commit that was accepted.
    S10,
    /// In report mode nothing is changed.
    S11,
    /// What others took out is not put back, nor changed.
    S12,
    /// No configuration agent runs where we install.
    Agent,
    /// No plan is made that its own linter has to refuse.
    Lint,
    /// Nothing panics.
    Panic,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Timestamp,
    /// Which.
    pub promise: Promise,
    /// How, and where.
    pub what: String,
    /// What went before, the last line last; empty when the world keeps no trace.
    pub trace: Vec<TraceLine>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {:?}: {}", self.at, self.promise, self.what)?;
        self.trace.iter().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

impl State {
    pub(crate) fn violated(&mut self, promise: Promise, what: String) {
        let from = self.trace.len().saturating_sub(TRACE_LINES);
        let trace = self.trace[from..].to_vec();
        self.violations.push(Violation { at: self.clock.at(self.now_ms), promise, what, trace });
    }
}
