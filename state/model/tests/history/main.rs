//! The transition table: what is remembered after each event, told as short stories.

#![allow(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

mod environments;
mod releases;
mod steps;
mod troubles;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use model::*;

/// So many seconds after the beginning.
fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

/// The memory of a service of generation 3.
fn history() -> History {
    let mut history = History::new("production".into());
    history.apply(at(0), &service(3)).unwrap();
    history
}

fn service(generation: u64) -> Event {
    Event::ServiceStarted {
        generation: Generation(generation),
        service: "deploy".into(),
        program: "0.1.0".into(),
    }
}

/// Brings web-01 to 1.1.
fn step(id: &str, action: Action) -> Step {
    Step {
        id: id.into(),
        environment: "production".into(),
        host: "web-01".into(),
        role: "web".into(),
        commit: CommitId::new("c1"),
        version: version("1.1"),
        generation: Generation(3),
        action,
        why: String::new(),
        deadline: SignedDuration::from_mins(15),
        stage: None,
    }
}

fn row(server: &str) -> RowId {
    RowId { node: "fe-01".into(), backend: "web".into(), server: server.into() }
}

fn rows() -> BTreeSet<RowId> {
    BTreeSet::from([row("web-01")])
}

fn claim() -> Action {
    Action::Claim { found: BTreeSet::from([row("found")]) }
}

fn drain() -> Action {
    Action::Drain { rows: rows() }
}

fn retire() -> Action {
    Action::Retire { rows: rows(), found: BTreeSet::from([row("found")]) }
}

fn ready(because: ReadyBecause) -> Action {
    Action::Ready { rows: rows(), because }
}

fn install() -> Action {
    Action::Install { packages: BTreeMap::new(), prepare: Vec::new(), configure: Vec::new() }
}

fn activate() -> Action {
    Action::Activate { services: Vec::new(), packages: BTreeMap::new(), stamp: version("1.1") }
}

fn pre_migration(text: &str) -> JobKey {
    JobKey { kind: JobKind::PreMigration, version: version(text) }
}

fn post_migration(text: &str) -> JobKey {
    JobKey { kind: JobKind::PostMigration, version: version(text) }
}

fn migrate(key: JobKey) -> Action {
    let run = MigrationJob {
        command: Argv(vec!["migrate".into()]),
        env: BTreeMap::new(),
        timeout: SignedDuration::from_hours(1),
    };
    Action::Migrate { job: JobName::new(&"production".into(), &key, 1), key, ready: None, run }
}

fn failure(kind: FailureKind) -> Failure {
    Failure { kind, what: kind.to_string(), detail: String::new() }
}

fn changed() -> Result<Outcome, Failure> {
    Ok(Outcome::Changed("done".into()))
}

fn started(history: &mut History, seconds: i64, step: &Step) {
    history.apply(at(seconds), &Event::StepStarted { step: step.clone() }).unwrap();
}

fn finished(history: &mut History, seconds: i64, id: &str, result: Result<Outcome, Failure>) {
    let event = Event::StepFinished { environment: "production".into(), step: id.into(), result };
    history.apply(at(seconds), &event).unwrap();
}

/// A step from its beginning to its end a second later.
fn done(history: &mut History, seconds: i64, step: &Step, result: Result<Outcome, Failure>) {
    started(history, seconds, step);
    finished(history, seconds + 1, step.id.as_str(), result);
}

fn accepted(commit: &str, main: &str, canary: Option<&str>) -> Event {
    Event::Accepted {
        environment: "production".into(),
        commit: CommitId::new(commit),
        author: "Ada".into(),
        subject: "go".into(),
        version: version(main),
        canary: canary.map(version),
    }
}

fn retried() -> Event {
    Event::Retried { environment: "production".into(), by: "ada".into(), reason: "mended".into() }
}
