//! One of every reason to wait.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use model::{
    ActionKind, BackendId, CommitId, Failure, FailureKind, Floor, Generation, HoldScope, JobKey, JobKind,
    OnTimeout, Reason, Requirement, RowId, StepId, UnknownKind, Verdict, Version,
};

use super::samples::at;

/// Every reason. Each names the one after it, so that the compiler refuses a new one that is in no text.
pub(crate) fn every() -> Vec<Reason> {
    std::iter::successors(Some(Reason::FreshFacts), after).collect()
}

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

fn failure() -> Failure {
    Failure { kind: FailureKind::CommandFailed, what: "it ended with 1".into(), detail: String::new() }
}

fn row() -> RowId {
    RowId { node: "fe-01".into(), backend: "web".into(), server: "web-01".into() }
}

fn backend() -> BackendId {
    BackendId { load_balancer: "fe".into(), backend: "web".into() }
}

fn key(kind: JobKind) -> JobKey {
    JobKey { kind, version: version("1.5.0") }
}

fn commit(text: &str) -> CommitId {
    CommitId::new(text)
}

#[expect(clippy::too_many_lines, reason = "one line for each reason: a catalogue, long and not complex")]
fn after(reason: &Reason) -> Option<Reason> {
    let (step, action, until) = (StepId::new("g3-7-web-01-install"), ActionKind::Install, at(600));
    let (detail, why) = ("Connection refused".to_owned(), "load test".to_owned());
    Some(match reason {
        Reason::FreshFacts => Reason::InFlight { step, action },
        Reason::InFlight { .. } => {
            Reason::StepOverdue { step, action, deadline: SignedDuration::from_mins(15) }
        }
        Reason::StepOverdue { .. } => Reason::JobRunning { step },
        Reason::JobRunning { .. } => Reason::JobInDoubt { step },
        Reason::JobInDoubt { .. } => Reason::HostUnknown { kind: UnknownKind::Unreachable, detail },
        Reason::HostUnknown { .. } => {
            Reason::NodeUnknown { node: "fe-01".into(), kind: UnknownKind::HostKeyChanged, detail }
        }
        Reason::NodeUnknown { .. } => Reason::RowMissing { row: row() },
        Reason::RowMissing { .. } => Reason::RowElsewhere { row: row(), address: "192.0.2.7".into() },
        Reason::RowElsewhere { .. } => Reason::EarlierRole { role: "store".into() },
        Reason::EarlierRole { .. } => Reason::Downloading { missing: 3 },
        Reason::Downloading { .. } => {
            Reason::Budget { out: BTreeSet::from(["web-01".into(), "web-02".into()]), ours: 1, limit: 2 }
        }
        Reason::Budget { .. } => Reason::Parallel { limit: 20 },
        Reason::Parallel { .. } => {
            Reason::BelowFloor(Floor { backend: backend(), node: "fe-01".into(), in_rotation: 3, floor: 3 })
        }
        Reason::BelowFloor(_) => Reason::Draining { sessions: 4, row: row(), until, then: OnTimeout::Wait },
        Reason::Draining { .. } => Reason::DrainTimedOut { until },
        Reason::DrainTimedOut { .. } => Reason::Backoff { action, failure: failure(), times: 2, until },
        Reason::Backoff { .. } => Reason::Halted { version: version("1.5.0"), failure: failure() },
        Reason::Halted { .. } => {
            Reason::StageFailing { host: "web-01".into(), version: version("1.5.0"), failure: failure() }
        }
        Reason::StageFailing { .. } => Reason::HealthPending { answer: "503".into(), until },
        Reason::HealthPending { .. } => Reason::Unhealthy { answer: "503".into() },
        Reason::Unhealthy { .. } => Reason::LoadBalancerCheck { row: row(), status: "UP 1/3".into() },
        Reason::LoadBalancerCheck { .. } => Reason::ForeignDrain { rows: BTreeSet::from([row()]) },
        Reason::ForeignDrain { .. } => {
            Reason::ClaimedByOther { generation: Generation(4), service: "deploy-02".into(), overdue: false }
        }
        Reason::ClaimedByOther { .. } => {
            Reason::DirectionUnknown { target: version("1.5.0"), observed: version("1.5.0-rc1") }
        }
        Reason::DirectionUnknown { .. } => Reason::ReportOnly { steps: 7 },
        Reason::ReportOnly { .. } => Reason::OutageNotAllowed { backend: backend() },
        Reason::OutageNotAllowed { .. } => Reason::Vetoed { version: version("1.5.0"), why },
        Reason::Vetoed { .. } => Reason::Held { scope: HoldScope::Canary, why, until: Some(until) },
        Reason::Held { .. } => Reason::Paused { by: "Ada".into(), why, until },
        Reason::Paused { .. } => Reason::Frozen { why: "weekend".into(), until },
        Reason::Frozen { .. } => Reason::WouldNotFinish {
            stage: "fleet".into(),
            takes: SignedDuration::from_mins(90),
            freeze: until,
            why: "weekend".into(),
        },
        Reason::WouldNotFinish { .. } => Reason::GateNotGreen {
            gate: "errors".into(),
            verdict: Verdict::NoData,
            query: "rate(errors[5m])".into(),
            value: "nothing".into(),
            threshold: "below 0.01".into(),
        },
        Reason::GateNotGreen { .. } => Reason::GateQuiet { gate: "alerts".into(), until },
        Reason::GateQuiet { .. } => Reason::Soaking { stage: "fleet".into(), until },
        Reason::Soaking { .. } => {
            let kind = JobKind::Check { stage: "fleet".into(), check: "qa".into() };
            Reason::CheckFailed { key: key(kind), failure: failure() }
        }
        Reason::CheckFailed { .. } => {
            Reason::MigrationFailed { key: key(JobKind::PreMigration), failure: failure() }
        }
        Reason::MigrationFailed { .. } => {
            let requires = Requirement::Environment("staging".into());
            Reason::PromotionRequired { version: version("1.5.0"), requires }
        }
        Reason::PromotionRequired { .. } => Reason::OlderStillRuns {
            host: "web-cny-01".into(),
            runs: Some(version("1.4.2")),
            version: version("1.5.0"),
        },
        Reason::OlderStillRuns { .. } => Reason::EarlierStage { stage: "store".into() },
        Reason::EarlierStage { .. } => Reason::MainFirst { target: version("1.4.3") },
        Reason::MainFirst { .. } => {
            Reason::PastPostMigration { target: version("1.4.2"), version: version("1.5.0"), at: at(0) }
        }
        Reason::PastPostMigration { .. } => Reason::CanaryWeight { node: "fe-01".into() },
        Reason::CanaryWeight { .. } => Reason::Ramping { weight: 1, of: 5, until },
        Reason::Ramping { .. } => {
            Reason::PatchNotIncorporated { file: "patches/fix.patch".into(), version: version("1.5.0") }
        }
        Reason::PatchNotIncorporated { .. } => Reason::AgentBusy,
        Reason::AgentBusy => Reason::JournalLost { host: "web-01".into(), generation: Generation(4) },
        Reason::JournalLost { .. } => Reason::RunningUnknown { target: version("1.5.0") },
        Reason::RunningUnknown { .. } => Reason::HostOut { why: "INC-812".into(), until: None },
        Reason::HostOut { .. } => {
            Reason::SameMachine { host: "web-02".into(), environment: "staging".into() }
        }
        Reason::SameMachine { .. } => {
            Reason::CommitUntrusted { commit: commit("5a6b7c8d9e5a"), error: "it has no signature".into() }
        }
        Reason::CommitUntrusted { .. } => Reason::SourceUnavailable { error: detail },
        Reason::SourceUnavailable { .. } => {
            Reason::HistoryRewritten { accepted: commit("aaaaaaaaaaaa"), found: commit("bbbbbbbbbbbb") }
        }
        Reason::HistoryRewritten { .. } => {
            Reason::RevisionInvalid { commit: commit("5a6b7c8d9e5a"), error: "unknown key".into(), errors: 2 }
        }
        Reason::RevisionInvalid { .. } => return None,
    })
}
