//! What a plan says of each track: where from, where to, which way and why, and what each stage will do.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use model::{
    CheckName, Direction, GateName, HostName, Pass, Requirement, RoleName, StageName, StageStanding, Track,
    Version,
};
use serde::{Deserialize, Serialize};

/// A track on its way to its target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackPlan {
    /// Which.
    pub track: Track,
    /// What it should run.
    pub target: Version,
    /// The releases that its hosts run now, with how many hosts each.
    pub from: BTreeMap<Version, usize>,
    /// Which way, or that there is no way.
    pub verdict: Verdict,
    /// Why, in words.
    pub because: String,
    /// In fast mode: why, in a person's words.
    pub emergency: Option<String>,
    /// What its target must have passed elsewhere, and whether it has.
    pub promotion: Option<PromotionPlan>,
    /// In the order of work.
    pub stages: Vec<StagePlan>,
}

/// Which way a track goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nowhere: it is there.
    Stays,
    /// To a version that came later.
    Forward,
    /// To a version that came earlier.
    Back,
    /// It does not move: nobody knows the way, or there is none.
    Refused,
}

impl From<Direction> for Verdict {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Forward => Self::Forward,
            Direction::Back => Self::Back,
        }
    }
}

/// What a target must have passed elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromotionPlan {
    /// Where.
    pub requires: Requirement,
    /// Whether it has.
    pub standing: PromotionStanding,
}

/// Whether a target has passed what it must.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "standing")]
pub enum PromotionStanding {
    /// It has, or a person said so.
    Met {
        /// When, and through which stages; or whose word.
        pass: Pass,
    },
    /// It was found running when the environment was adopted.
    FoundRunning,
    /// Going back, and in an emergency, nothing is required.
    NotAsked,
    /// It has not.
    Missing,
    /// The journal is not here.
    Unknown,
}

/// What a stage will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagePlan {
    /// Which.
    pub stage: StageName,
    /// How far it is.
    #[serde(flatten)]
    pub standing: StageStanding,
    /// Its hosts.
    pub roles: Vec<RoleStage>,
    /// Whether the roles are done one after the other, and not side by side.
    pub in_order: bool,
    /// Its migrations; none: it deploys.
    pub migration: Option<MigrationPlan>,
    /// Green before, watched during, and for the soak after. Empty where nothing is watched.
    pub gates: Vec<GateName>,
    /// Run once its work is done.
    pub checks: Vec<CheckPlan>,
    /// How long it is watched afterwards.
    pub soak: SignedDuration,
}

/// A role's part of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleStage {
    /// Which.
    pub role: RoleName,
    /// Its hosts.
    pub hosts: usize,
    /// Those that are where they should be.
    pub done: usize,
    /// How many may be out at once.
    pub limit: usize,
}

/// Migrations of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationPlan {
    /// Where.
    pub host: HostName,
    /// What is run.
    pub command: String,
    /// They are the ones after which there is no way back.
    pub past_return: bool,
    /// How they stand.
    pub standing: JobStanding,
}

/// A check of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckPlan {
    /// Which.
    pub check: CheckName,
    /// Where or how it is run.
    pub place: String,
    /// How it stands.
    pub standing: JobStanding,
}

/// How a job stands with the track's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "job")]
pub enum JobStanding {
    /// It will run.
    ToRun,
    /// The version was found running, or a later one covers it: it does not run.
    Covered,
    /// It runs, or ran when the service went down.
    Begun {
        /// Since when.
        at: Timestamp,
    },
    /// It succeeded, and does not run again.
    Passed {
        /// When.
        at: Timestamp,
    },
    /// It failed, and runs again only when a person says so.
    Failed {
        /// When.
        at: Timestamp,
    },
}
