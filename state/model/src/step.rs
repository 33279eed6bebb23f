//! One action on one target, and what it did.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::desired::{Argv, BackendId, Service, Track};
use crate::ids::{
    CommitId, EnvironmentName, Generation, HostName, PackageName, RoleName, RowId, StageName, StepId,
};
use crate::job::{JobKey, JobName};
use crate::pipeline::{Check, ConfigAgent, MigrationJob};
use crate::version::Version;

/// One action on one target. Names everything; leaves no choice to execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Unique for ever.
    pub id: StepId,
    /// For which environment.
    pub environment: EnvironmentName,
    /// On which host. Load balancer rows touched on its behalf are in the action. Weights: the load balancer node. A
    /// check over the network: whom it asks, for people.
    pub host: HostName,
    /// Its role; of a host without one: what it is for, in brackets, which no role's name has.
    pub role: RoleName,
    /// The commit that wants it.
    pub commit: CommitId,
    /// The release that the host is being brought to.
    pub version: Version,
    /// The generation under which it runs; a newer one on the host refuses it.
    pub generation: Generation,
    /// What to do.
    pub action: Action,
    /// What it is for, in a few words.
    pub why: String,
    /// After this long in flight it is reported and blocks new hosts. Nothing is killed.
    pub deadline: SignedDuration,
    /// The stage that it belongs to; none: upkeep between stages.
    #[serde(default)]
    pub stage: Option<StageName>,
}

/// The kinds of effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Action {
    /// Fetch packages into the host's cache. Changes nothing that runs.
    Download {
        /// Exact versions.
        packages: BTreeMap<PackageName, Version>,
    },
    /// Put our mark on the host, or renew an older one of ours.
    Claim {
        /// Rows that somebody else has taken out: they stay as found.
        found: BTreeSet<RowId>,
    },
    /// Take rows out of new traffic; also leaves maintenance, so that checks run again.
    Drain {
        /// On every node.
        rows: BTreeSet<RowId>,
    },
    /// Put rows into maintenance: clients bound to the server go elsewhere.
    Maint {
        /// On every node.
        rows: BTreeSet<RowId>,
    },
    /// End the sessions of rows.
    Cut {
        /// On every node.
        rows: BTreeSet<RowId>,
    },
    /// Bring packages to exact versions, repairing dpkg first where it was left half-way.
    Install {
        /// Exact versions.
        packages: BTreeMap<PackageName, Version>,
        /// Before the install.
        prepare: Vec<Argv>,
        /// After it.
        configure: Vec<Argv>,
    },
    /// Make services run what is installed, and stamp it.
    Activate {
        /// Which, and how.
        services: Vec<Service>,
        /// What has to be installed all through.
        #[serde(default)]
        packages: BTreeMap<PackageName, Version>,
        /// The package version to stamp.
        stamp: Version,
    },
    /// Put rows back into rotation.
    Ready {
        /// On every node.
        rows: BTreeSet<RowId>,
        /// Why.
        because: ReadyBecause,
    },
    /// Take our mark off the host.
    Release,
    /// Drain the rows of a host that is declared out, without touching the host: it may be dead.
    Retire {
        /// On every node.
        rows: BTreeSet<RowId>,
        /// Rows that others had taken out before: they are not ours to give back, should the host return.
        #[serde(default)]
        found: BTreeSet<RowId>,
    },
    /// Set the weights of rows on one node, which is the step's host, and read them back.
    Weigh {
        /// Each row's weight, 0 to 256.
        #[serde(with = "as_pairs")]
        weights: BTreeMap<RowId, u32>,
    },
    /// Run migrations, or find them by the job's name and wait for their end. Never started twice under one name.
    Migrate {
        /// The job's name.
        job: JobName,
        /// What it is for.
        key: JobKey,
        /// Must end with 0 first.
        ready: Option<Argv>,
        /// What to run.
        run: MigrationJob,
    },
    /// Run a check, or find it by the job's name and wait for its end. Never started twice under one name.
    Check {
        /// The job's name.
        job: JobName,
        /// What it is for.
        key: JobKey,
        /// Which track it tests.
        track: Track,
        /// How it is run, and how long it may take.
        check: Check,
    },
    /// Pause the configuration agent, with a mark on the host that says why.
    PauseAgent {
        /// Its commands.
        agent: ConfigAgent,
    },
    /// Start the configuration agent again that we paused, and take the mark away.
    ResumeAgent {
        /// Its commands.
        agent: ConfigAgent,
    },
    /// Tell the configuration agent a track's version, on the migration host.
    Pin {
        /// Whose version.
        track: Track,
        /// What to run; `{environment}`, `{version}` and `{track}` are replaced.
        command: Argv,
    },
    /// Bring a host to exactly these patches: revert what else is applied, then apply what is missing.
    Patch {
        /// In order.
        want: Vec<PatchFile>,
    },
}

/// A key of a JSON object is a text; a row is more than that.
mod as_pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use crate::ids::RowId;

    pub(super) fn serialize<S: Serializer>(
        weights: &BTreeMap<RowId, u32>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(weights)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<RowId, u32>, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

/// A patch as a host needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchFile {
    /// Names it on the host, and proves its contents.
    pub sha256: String,
    /// Where it lies in the repository, for people.
    pub file: String,
    /// The folder that it applies to.
    pub root: String,
    /// In unified form.
    pub contents: String,
}

/// Why rows go back into rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadyBecause {
    /// The host runs its target and is well.
    Healthy,
    /// Sessions did not end in time and the policy is to wait.
    DrainTimeout,
}

/// The kind of an action, without its particulars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionKind {
    /// See [`Action::Download`].
    Download,
    /// See [`Action::Claim`].
    Claim,
    /// See [`Action::Drain`].
    Drain,
    /// See [`Action::Maint`].
    Maint,
    /// See [`Action::Cut`].
    Cut,
    /// See [`Action::Install`].
    Install,
    /// See [`Action::Activate`].
    Activate,
    /// See [`Action::Ready`].
    Ready,
    /// See [`Action::Release`].
    Release,
    /// See [`Action::Retire`].
    Retire,
    /// See [`Action::Weigh`].
    Weigh,
    /// See [`Action::Migrate`].
    Migrate,
    /// See [`Action::Check`].
    Check,
    /// See [`Action::PauseAgent`].
    PauseAgent,
    /// See [`Action::ResumeAgent`].
    ResumeAgent,
    /// See [`Action::Pin`].
    Pin,
    /// See [`Action::Patch`].
    Patch,
}

impl fmt::Display for ActionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Download => "download",
            Self::Claim => "claim",
            Self::Drain => "drain",
            Self::Maint => "maint",
            Self::Cut => "cut",
            Self::Install => "install",
            Self::Activate => "activate",
            Self::Ready => "ready",
            Self::Release => "release",
            Self::Retire => "retire",
            Self::Weigh => "weigh",
            Self::Migrate => "migrate",
            Self::Check => "check",
            Self::PauseAgent => "pause-agent",
            Self::ResumeAgent => "resume-agent",
            Self::Pin => "pin",
            Self::Patch => "patch",
        })
    }
}

impl Action {
    /// Its kind.
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Download { .. } => ActionKind::Download,
            Self::Claim { .. } => ActionKind::Claim,
            Self::Drain { .. } => ActionKind::Drain,
            Self::Maint { .. } => ActionKind::Maint,
            Self::Cut { .. } => ActionKind::Cut,
            Self::Install { .. } => ActionKind::Install,
            Self::Activate { .. } => ActionKind::Activate,
            Self::Ready { .. } => ActionKind::Ready,
            Self::Release => ActionKind::Release,
            Self::Retire { .. } => ActionKind::Retire,
            Self::Weigh { .. } => ActionKind::Weigh,
            Self::Migrate { .. } => ActionKind::Migrate,
            Self::Check { .. } => ActionKind::Check,
            Self::PauseAgent { .. } => ActionKind::PauseAgent,
            Self::ResumeAgent { .. } => ActionKind::ResumeAgent,
            Self::Pin { .. } => ActionKind::Pin,
            Self::Patch { .. } => ActionKind::Patch,
        }
    }

    /// The load balancer rows whose administrative state it changes.
    pub fn rows(&self) -> Option<&BTreeSet<RowId>> {
        match self {
            Self::Drain { rows }
            | Self::Maint { rows }
            | Self::Cut { rows }
            | Self::Retire { rows, .. }
            | Self::Ready { rows, .. } => Some(rows),
            Self::Download { .. }
            | Self::Claim { .. }
            | Self::Install { .. }
            | Self::Activate { .. }
            | Self::Weigh { .. }
            | Self::Migrate { .. }
            | Self::Check { .. }
            | Self::PauseAgent { .. }
            | Self::ResumeAgent { .. }
            | Self::Pin { .. }
            | Self::Patch { .. }
            | Self::Release => None,
        }
    }

    /// The job that it runs, which must not run twice.
    pub fn job(&self) -> Option<(&JobName, &JobKey)> {
        match self {
            Self::Migrate { job, key, .. } | Self::Check { job, key, .. } => Some((job, key)),
            _ => None,
        }
    }
}

impl Step {
    /// The host and load balancer nodes that it touches: what was read of them before is too old after it.
    pub fn touched(&self) -> BTreeSet<HostName> {
        self.nodes().into_iter().chain([&self.host]).cloned().collect()
    }

    /// The load balancer nodes that it touches.
    pub fn nodes(&self) -> BTreeSet<&HostName> {
        let weighed = match &self.action {
            Action::Weigh { weights } => Some(weights.keys()),
            _ => None,
        };
        let rows = self.action.rows().into_iter().flatten().chain(weighed.into_iter().flatten());
        rows.map(|row| &row.node).collect()
    }
}

/// What an action did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It changed something; in a few words.
    Changed(String),
    /// It was so already.
    AlreadyDone,
}

/// A part of the load balancers that must keep a floor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// Which backend.
    pub backend: BackendId,
    /// On which node it was counted.
    pub node: HostName,
    /// In rotation now, without those that are on their way out.
    pub in_rotation: usize,
    /// What must stay.
    pub floor: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_survive_json() {
        let row = RowId { node: "fe-01".into(), backend: "web".into(), server: "web-cny-01".into() };
        let weigh = Action::Weigh { weights: [(row, 2)].into() };
        let json = serde_json::to_string(&weigh).expect("an action can be written");
        assert_eq!(serde_json::from_str::<Action>(&json).expect("and read"), weigh);
    }
}
