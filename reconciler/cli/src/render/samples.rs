//! Values for the golden texts: one environment, in the middle of a rollout.

use std::collections::{BTreeMap, BTreeSet};

use engine::{Circumstances, EnvironmentReport, HostReport, Report};
use jiff::{SignedDuration, Timestamp};
use model::{
    Action, Commit, CommitId, Direction, EndedBy, Event, Failure, FailureKind, Generation, InFlight, Outcome,
    Plan, Reason, Recorded, RoleProgress, StageProgress, StageStanding, Standing, Step, StepId, Subject,
    Track, TrackProgress, UnknownKind, Version, Waiting,
};
use planner::{Preview, PreviewedStep};

use crate::documents::{
    DOCUMENT_FORMAT, Explanation, PlanDocument, PlannedEnvironment, RoleStage, StagePlan, TrackPlan, Unseen,
    Verdict,
};

/// So many seconds after noon.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::constant(1_795_348_800, 0) + SignedDuration::from_secs(second)
}

fn version() -> Version {
    Version::parse("1.1.0-1").unwrap()
}

fn commit() -> Commit {
    Commit {
        id: CommitId::new("1f2e3d4c5b6a79880112233445566778899aabbc"),
        author: "Ada".into(),
        subject: "Bump to 1.1.0-1".into(),
        at: at(0),
    }
}

pub(crate) fn step(id: &str, host: &str, role: &str, action: Action, why: &str) -> Step {
    Step {
        id: StepId::new(id),
        environment: "production".into(),
        host: host.into(),
        role: role.into(),
        commit: commit().id,
        version: version(),
        generation: Generation(3),
        action,
        why: why.into(),
        deadline: SignedDuration::from_mins(15),
        stage: None,
    }
}

fn drain(id: &str, host: &str) -> Step {
    step(id, host, "web", Action::Drain { rows: BTreeSet::new() }, "to install 1.1.0-1")
}

fn failure() -> Failure {
    Failure {
        kind: FailureKind::InstallFailed,
        what: "gitaly-01: install failed (100)".into(),
        detail: "E: Sub-process /usr/bin/dpkg returned an error code (1)\nE: \x1b[31mstore\x1b[0m".into(),
    }
}

fn waiting() -> Vec<Waiting> {
    let of = |subject, reason| Waiting { subject, reason, since: at(5) };
    vec![
        of(Subject::Role("web".into()), Reason::EarlierRole { role: "gitaly".into() }),
        of(
            Subject::Host("web-03".into()),
            Reason::HostUnknown { kind: UnknownKind::Unreachable, detail: "Connection refused".into() },
        ),
    ]
}

fn plan() -> Plan {
    let progress =
        |role: &str, hosts, done, out| RoleProgress { role: role.into(), hosts, done, out, limit: 1 };
    Plan {
        environment: "production".into(),
        commit: commit().id,
        target: version(),
        direction: Direction::Forward,
        steps: vec![step(
            "p-1",
            "gitaly-01",
            "gitaly",
            Action::Claim { found: BTreeSet::new() },
            "to bring it to 1.1.0-1",
        )],
        waiting: waiting(),
        observe: BTreeSet::new(),
        due: Vec::new(),
        wake: None,
        progress: vec![progress("gitaly", 1, 0, 0), progress("web", 4, 0, 1)],
        notes: vec!["web-02 is drained by somebody else".into()],
        tracks: vec![TrackProgress {
            track: Track::Main,
            target: version(),
            direction: Direction::Forward,
            emergency: None,
            stages: vec![StageProgress { stage: "deploy".into(), standing: StageStanding::Working }],
        }],
        records: vec![],
        edits: vec![],
        shares: vec![],
    }
}

fn preview() -> Preview {
    let previewed = |from: i64, to: i64, step| PreviewedStep { step, start: at(from), end: at(to) };
    let install = Action::Install {
        packages: BTreeMap::from([("store".into(), version())]),
        prepare: vec![],
        configure: vec![],
    };
    Preview {
        steps: vec![
            previewed(
                0,
                1,
                step(
                    "p-1",
                    "gitaly-01",
                    "gitaly",
                    Action::Claim { found: BTreeSet::new() },
                    "to bring it to 1.1.0-1",
                ),
            ),
            previewed(1, 31, step("p-2", "gitaly-01", "gitaly", install, "install while drained")),
            previewed(40, 41, drain("p-3", "web-01")),
        ],
        duration: SignedDuration::from_secs(130),
        lowest: BTreeMap::from([("fe/web".to_owned(), 3)]),
        waiting: vec![],
        guessed_durations: true,
    }
}

fn track() -> TrackPlan {
    let role = |name: &str, hosts| RoleStage { role: name.into(), hosts, done: 0, limit: 1 };
    let stage = StagePlan {
        stage: "deploy".into(),
        standing: StageStanding::Working,
        roles: vec![role("gitaly", 1), role("web", 4)],
        in_order: true,
        migration: None,
        gates: vec![],
        checks: vec![],
        soak: SignedDuration::ZERO,
    };
    TrackPlan {
        track: Track::Main,
        target: version(),
        from: BTreeMap::from([(Version::parse("1.0.0-1").unwrap(), 4)]),
        verdict: Verdict::Forward,
        because: "1.1.0-1 is the newest target in git history".into(),
        emergency: None,
        promotion: None,
        stages: vec![stage],
    }
}

/// A plan in the middle of a rollout.
pub(crate) fn planned(whole: bool) -> PlanDocument {
    let unseen =
        Unseen { host: "web-03".into(), kind: UnknownKind::Unreachable, detail: "Connection refused".into() };
    let planned = PlannedEnvironment {
        commit: commit(),
        standing: Standing::Moving,
        direction_because: "1.1.0-1 is the newest target in git history".into(),
        tracks: vec![track()],
        circumstances: Circumstances::default(),
        remembers: true,
        refused_plan: vec![],
        plan: plan(),
        preview: whole.then(preview),
        unseen: vec![unseen],
    };
    PlanDocument { format: DOCUMENT_FORMAT, at: at(10), warnings: vec![], environments: vec![planned] }
}

/// A promise that a plan would break.
pub(crate) fn finding() -> engine::linter::Finding {
    let what = "install of web-01 while web/web-01 on fe-01 is in rotation".to_owned();
    engine::linter::Finding { promise: engine::linter::Promise::S3, step: Some("p-3".into()), what }
}

/// An environment that a person has to look at.
pub(crate) fn halted() -> Explanation {
    let reason = Reason::Halted { version: version(), failure: failure() };
    Explanation {
        format: DOCUMENT_FORMAT,
        at: at(125),
        environment: "production".into(),
        host: None,
        standing: Standing::Halted,
        target: version(),
        commit: commit().id,
        ended_by: Some(EndedBy::Person),
        ends: Some(reason.ends()),
        waiting: Some(Waiting { subject: Subject::Host("gitaly-01".into()), reason, since: at(5) }),
        in_flight: vec![InFlight { step: drain("p-3", "web-01"), since: at(120) }],
        converged_at: None,
        also: vec!["the git remote cannot be read: timed out".into()],
    }
}

/// A piece of a journal.
pub(crate) fn events() -> Vec<Recorded> {
    let finished = |step: &str, result| Event::StepFinished {
        environment: "production".into(),
        step: StepId::new(step),
        result,
    };
    let accepted = Event::Accepted {
        environment: "production".into(),
        commit: commit().id,
        author: "Ada".into(),
        subject: "Bump to 1.1.0-1".into(),
        version: version(),
        canary: None,
    };
    let install = Action::Install {
        packages: BTreeMap::from([("store".into(), version())]),
        prepare: vec![],
        configure: vec![],
    };
    let events = [
        accepted,
        Event::StepStarted { step: drain("p-1", "web-01") },
        finished("p-1", Ok(Outcome::Changed("drained on fe-01, fe-02".into()))),
        Event::StepStarted { step: step("p-2", "gitaly-01", "gitaly", install, "install while drained") },
        finished("p-2", Err(failure())),
        Event::StepStarted { step: drain("p-3", "web-01") },
        finished("p-3", Ok(Outcome::AlreadyDone)),
        finished("p-0", Ok(Outcome::AlreadyDone)),
        Event::WaitingChanged {
            environment: "production".into(),
            reason: Some("role web: it is Friday".into()),
        },
        Event::Converged { environment: "production".into(), commit: commit().id, version: version() },
    ];
    (1..).zip(events).map(|(seq, event)| Recorded { seq, at: at(seq.cast_signed()), event }).collect()
}

/// A service with one environment of two hosts.
pub(crate) fn report() -> Report {
    let host = |name: &str, health: &str, in_rotation, claimed| HostReport {
        host: name.into(),
        role: "web".into(),
        track: Track::Main,
        stage: Some("deploy".into()),
        seen_at: Some(at(9)),
        installed: Some(version()),
        running: "1.1.0-1".into(),
        health: health.into(),
        in_rotation,
        claimed,
    };
    let environment = EnvironmentReport {
        standing: Standing::Moving,
        refused_plan: vec![],
        plan: plan(),
        in_flight: vec![InFlight { step: drain("p-3", "web-01"), since: at(8) }],
        hosts: vec![host("web-01", "healthy", (0, 2), true), host("web-02", "unhealthy: 503", (2, 2), false)],
        converged_at: None,
        circumstances: Circumstances::default(),
    };
    Report {
        format: engine::REPORT_FORMAT,
        at: at(10),
        service: "deploy-01".into(),
        generation: Generation(3),
        commit: Some(commit()),
        read_at: Some(at(1)),
        obstacle: Some(Reason::SourceUnavailable { error: "timed out".into() }),
        errors: vec![],
        journal_error: None,
        left_behind: BTreeMap::new(),
        environments: BTreeMap::from([("production".into(), environment)]),
    }
}
