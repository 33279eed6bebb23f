//! What may start now, and why everything else waits.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::desired::Direction;
use crate::ids::{CommitId, EnvironmentName, HostName, RoleName};
use crate::step::Step;
use crate::version::Version;
use crate::waiting::{EndedBy, Reason, Waiting};

/// The answer of `plan()`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "a plan that nobody reads changes nothing"]
pub struct Plan {
    /// Which environment.
    pub environment: EnvironmentName,
    /// At which commit.
    pub commit: CommitId,
    /// What the fleet should run.
    pub target: Version,
    /// Which way this goes, when anything has to move.
    pub direction: Direction,
    /// Steps that may start now. In `mode = "report"` these are never started.
    pub steps: Vec<Step>,
    /// Why everything else waits; the primary reason of the environment first.
    pub waiting: Vec<Waiting>,
    /// What has to be looked at now.
    pub observe: BTreeSet<Scope>,
    /// When to plan again if nothing happens before.
    pub wake: Option<Timestamp>,
    /// How far each role is, in the order of work.
    pub progress: Vec<RoleProgress>,
    /// Things worth telling that stop nothing.
    pub notes: Vec<String>,
}

/// What may be looked at by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// A managed host.
    Host(HostName),
    /// A load balancer node.
    Node(HostName),
}

/// How an environment stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Actual equals desired.
    Converged,
    /// Work is under way, or may start now.
    Moving,
    /// Nothing moves until the surroundings change.
    Waiting,
    /// Nothing moves until a person acts.
    Halted,
}

impl Plan {
    /// How the environment stands. `busy`: steps of it are in flight.
    pub fn standing(&self, busy: bool) -> Standing {
        let done = self.progress.iter().all(|role| role.done == role.hosts);
        if done && self.steps.is_empty() && !busy && !self.progress.is_empty() {
            return Standing::Converged;
        }
        let primary = self.waiting.first().map(|waiting| &waiting.reason);
        if matches!(primary, Some(Reason::ReportOnly { .. })) {
            return Standing::Halted;
        }
        match primary.map(Reason::ended_by) {
            Some(EndedBy::Person) if !busy && self.steps.is_empty() => Standing::Halted,
            Some(EndedBy::World) if !busy && self.steps.is_empty() => Standing::Waiting,
            _ => Standing::Moving,
        }
    }
}

/// How far a role is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleProgress {
    /// Which role.
    pub role: RoleName,
    /// All of its hosts.
    pub hosts: usize,
    /// Those that run the target, are well, and are free of any claim of ours.
    pub done: usize,
    /// Those that are out now: claimed, unhealthy or unreachable.
    pub out: usize,
    /// How many may be out.
    pub limit: usize,
}
