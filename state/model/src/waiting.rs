//! Why nothing happens, since when, and who or what ends it.

use std::collections::BTreeSet;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::desired::{BackendId, OnTimeout, Track};
use crate::failure::Failure;
use crate::ids::{
    CommitId, EnvironmentName, GateName, Generation, HostName, RoleName, RowId, StageName, StepId,
};
use crate::job::JobKey;
use crate::observed::{UnknownKind, Verdict};
use crate::pipeline::Requirement;
use crate::release::HoldScope;
use crate::step::{ActionKind, Floor};
use crate::version::Version;

/// One waiting state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Who waits.
    pub subject: Subject,
    /// Why.
    pub reason: Reason,
    /// Since when.
    pub since: Timestamp,
}

/// Who waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The environment as a whole.
    Environment,
    /// A track.
    Track(Track),
    /// A stage.
    Stage(StageName),
    /// A role.
    Role(RoleName),
    /// A host.
    Host(HostName),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("environment"),
            Self::Track(track) => write!(f, "track {track}"),
            Self::Stage(stage) => write!(f, "stage {stage}"),
            Self::Role(role) => write!(f, "role {role}"),
            Self::Host(host) => write!(f, "{host}"),
        }
    }
}

/// Every reason to wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum Reason {
    /// Something has not been looked at since it last changed.
    FreshFacts,
    /// A step is under way.
    InFlight {
        /// Which.
        step: StepId,
        /// Its kind.
        action: ActionKind,
    },
    /// A step has been under way for longer than its deadline.
    StepOverdue {
        /// Which.
        step: StepId,
        /// Its kind.
        action: ActionKind,
        /// The deadline.
        deadline: SignedDuration,
    },
    /// A job that was begun before a restart of the service still runs on the host.
    JobRunning {
        /// Which.
        step: StepId,
    },
    /// A job began, has no end, and does not run.
    JobInDoubt {
        /// Which.
        step: StepId,
    },
    /// The host cannot be seen.
    HostUnknown {
        /// What kind of obstacle.
        kind: UnknownKind,
        /// The outside's words.
        detail: String,
    },
    /// A load balancer node cannot be seen, so nothing behind it can be proved out of traffic.
    NodeUnknown {
        /// Which.
        node: HostName,
        /// What kind of obstacle.
        kind: UnknownKind,
        /// The outside's words.
        detail: String,
    },
    /// A load balancer node has no row for the host.
    RowMissing {
        /// Which.
        row: RowId,
    },
    /// A load balancer's row of the host's name points somewhere else.
    RowElsewhere {
        /// Which.
        row: RowId,
        /// Its address.
        address: String,
    },
    /// Earlier roles come first.
    EarlierRole {
        /// The first that is not done.
        role: RoleName,
    },
    /// Packages are being downloaded on other hosts of the stage before the first drain.
    Downloading {
        /// How many hosts still lack them.
        missing: usize,
    },
    /// As many hosts of the role are out as may be.
    Budget {
        /// Those that are out.
        out: BTreeSet<HostName>,
        /// How many of them we are working on: those come back by themselves.
        ours: usize,
        /// How many may be out.
        limit: usize,
    },
    /// As many hosts of the environment are being worked on as may be.
    Parallel {
        /// The limit.
        limit: usize,
    },
    /// A backend would have too few servers in rotation.
    BelowFloor(Floor),
    /// Sessions have to end first.
    Draining {
        /// How many remain.
        sessions: u32,
        /// Where most of them are.
        row: RowId,
        /// When the policy ends the wait.
        until: Timestamp,
        /// What the policy does then.
        then: OnTimeout,
    },
    /// Sessions did not end in time; the host was given back and comes again later.
    DrainTimedOut {
        /// When it comes again.
        until: Timestamp,
    },
    /// Something in the surroundings is at fault; tried again later.
    Backoff {
        /// What failed.
        action: ActionKind,
        /// How it failed.
        failure: Failure,
        /// How often in a row.
        times: u32,
        /// When it is tried again.
        until: Timestamp,
    },
    /// Three attempts failed.
    Halted {
        /// The version.
        version: Version,
        /// How the last one failed.
        failure: Failure,
    },
    /// A host failed with this version, so no new host of the stage starts.
    StageFailing {
        /// The first that failed.
        host: HostName,
        /// The version.
        version: Version,
        /// How it failed.
        failure: Failure,
    },
    /// The host was activated and is not well yet.
    HealthPending {
        /// The probe's answer.
        answer: String,
        /// How long it may take.
        until: Timestamp,
    },
    /// The host runs what it should and is not well. Nothing of ours is under way there.
    Unhealthy {
        /// The probe's answer.
        answer: String,
    },
    /// A server was made ready and its load balancer does not send traffic yet.
    LoadBalancerCheck {
        /// Which row.
        row: RowId,
        /// Its status.
        status: String,
    },
    /// Somebody else has taken rows out. The host is upgraded as found and never made ready by us.
    ForeignDrain {
        /// Which.
        rows: BTreeSet<RowId>,
    },
    /// Another service, or a newer generation, works on the host.
    ClaimedByOther {
        /// Its generation.
        generation: Generation,
        /// Its name.
        service: String,
        /// It expected to be done by now.
        overdue: bool,
    },
    /// Git history does not say which way the change goes.
    DirectionUnknown {
        /// The target.
        target: Version,
        /// A version observed on the fleet that dpkg sorts above it.
        observed: Version,
    },
    /// `mode = "report"`: nothing is changed.
    ReportOnly {
        /// How many steps would start.
        steps: usize,
    },
    /// A backend's last server would have to go.
    OutageNotAllowed {
        /// Which backend.
        backend: BackendId,
    },
    /// A person has vetoed the version: it is only ever moved away from.
    Vetoed {
        /// Which.
        version: Version,
        /// Why, in the person's words.
        why: String,
    },
    /// A person holds a track, in git.
    Held {
        /// What is held.
        scope: HoldScope,
        /// Why, in the person's words.
        why: String,
        /// Until when; none: until it leaves the file.
        until: Option<Timestamp>,
    },
    /// A person has paused the environment.
    Paused {
        /// Who.
        by: String,
        /// Why.
        why: String,
        /// Until when at the latest.
        until: Timestamp,
    },
    /// A freeze is on.
    Frozen {
        /// Why.
        why: String,
        /// Until when.
        until: Timestamp,
    },
    /// By history, the stage would not be done before a freeze begins.
    WouldNotFinish {
        /// Which.
        stage: StageName,
        /// How long it would take.
        takes: SignedDuration,
        /// When the freeze begins.
        freeze: Timestamp,
        /// Why there is one.
        why: String,
    },
    /// A gate is red, has no data, or cannot be asked.
    GateNotGreen {
        /// Which.
        gate: GateName,
        /// What it says.
        verdict: Verdict,
        /// What was asked.
        query: String,
        /// What was answered.
        value: String,
        /// What would be green.
        threshold: String,
    },
    /// A gate is green, but not for long enough, or not yet since the last action settled.
    GateQuiet {
        /// Which.
        gate: GateName,
        /// When it will have been.
        until: Timestamp,
    },
    /// A stage's work is done; its gates are watched for a while.
    Soaking {
        /// Which.
        stage: StageName,
        /// Until when.
        until: Timestamp,
    },
    /// A check failed: the version stops here.
    CheckFailed {
        /// Which, after which stage, of which version.
        key: JobKey,
        /// How.
        failure: Failure,
    },
    /// Migrations failed: everything that depends on them stops.
    MigrationFailed {
        /// Which, of which version.
        key: JobKey,
        /// How.
        failure: Failure,
    },
    /// The version has not passed where it must have.
    PromotionRequired {
        /// Which.
        version: Version,
        /// Where.
        requires: Requirement,
    },
    /// Somewhere an older version still runs: the database may not leave it behind.
    OlderStillRuns {
        /// The first such host.
        host: HostName,
        /// What it runs; none: that cannot be seen.
        runs: Option<Version>,
        /// Whose post-deployment migrations wait.
        version: Version,
    },
    /// An earlier stage comes first.
    EarlierStage {
        /// The first that is not done.
        stage: StageName,
    },
    /// The main track has work to do; the canary takes nothing new meanwhile.
    MainFirst {
        /// What main is on its way to.
        target: Version,
    },
    /// The way back leads past post-deployment migrations.
    PastPostMigration {
        /// Where it would go.
        target: Version,
        /// Whose migrations were begun.
        version: Version,
        /// When.
        at: Timestamp,
    },
    /// The canary's weights must go down before a main server leaves.
    CanaryWeight {
        /// The first node on which they are too high.
        node: HostName,
    },
    /// The canary's share is kept for a while before it grows.
    Ramping {
        /// Percent now.
        weight: u8,
        /// Percent in the end.
        of: u8,
        /// When it grows.
        until: Timestamp,
    },
    /// The canary's version does not hold a patch that main needs.
    PatchNotIncorporated {
        /// The patch.
        file: String,
        /// The canary's version.
        version: Version,
    },
    /// Two names lead to one machine: it would take its version from both.
    SameMachine {
        /// The other name.
        host: HostName,
        /// In which environment.
        environment: EnvironmentName,
    },
    /// The configuration agent is in the middle of a run.
    AgentBusy,
    /// Hosts or load balancer nodes carry marks of a later time than the journal knows: it was lost, or another service
    /// of our name came after us.
    JournalLost {
        /// A host or node that says so.
        host: HostName,
        /// The generation that it remembers.
        generation: Generation,
    },
    /// The fleet was never ours, and nothing tells whether its target ran on this host, and so was migrated, before we came.
    RunningUnknown {
        /// The target.
        target: Version,
    },
    /// A person has declared the host out.
    HostOut {
        /// Why.
        why: String,
        /// Until when; none: until it leaves the file.
        until: Option<Timestamp>,
    },
    /// The newest commit is not signed by somebody who may; the last trusted one stays in force.
    CommitUntrusted {
        /// Which.
        commit: CommitId,
        /// What is wrong with its signature.
        error: String,
    },
    /// The git remote cannot be read.
    SourceUnavailable {
        /// The error.
        error: String,
    },
    /// The remote's branch is no descendant of the accepted commit.
    HistoryRewritten {
        /// What we hold.
        accepted: CommitId,
        /// What the remote shows.
        found: CommitId,
    },
    /// The newest commit is not valid; the last valid one stays in force.
    RevisionInvalid {
        /// The invalid commit.
        commit: CommitId,
        /// Its first error.
        error: String,
        /// How many errors.
        errors: usize,
    },
}

/// Who or what ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndedBy {
    /// A person: nothing that we or time can do.
    Person,
    /// The surroundings: a host, a load balancer, a package source, a remote.
    World,
    /// Itself: it is work in progress.
    Itself,
    /// It holds nothing up; people should know.
    Nobody,
}
