//! The journal on a real disk: durable, whole, and never of a newer program.

#![allow(clippy::unwrap_used, reason = "a test may panic, and so may what it is made of")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::{SignedDuration, Timestamp};
use model::{
    Action, CommitId, Event, Generation, Histories, HostName, Outcome, RoleName, Step, StepId, Version,
};
use store::{JournalError, JournalReader, SqliteJournal};

const THIS_TEST: &str =
    "a_kill_in_the_middle_of_an_append_leaves_whole_transactions_and_nothing_that_was_promised_is_lost";
const CHILD_DIR: &str = "RECONCILE_TEST_JOURNAL_OF_A_CHILD";

fn now() -> Timestamp {
    "2026-11-22T12:00:00.123456789Z".parse().unwrap()
}

fn retried(environment: &str, reason: &str) -> Event {
    Event::Retried { environment: environment.into(), by: "ada".into(), reason: reason.into() }
}

fn started(generation: u64) -> Event {
    Event::ServiceStarted {
        generation: Generation(generation),
        service: "deploy-1".into(),
        program: "0.1.0".into(),
    }
}

#[test]
fn what_was_appended_is_there_after_the_service_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    let first = journal.append(now(), &[started(1), retried("production", "disk replaced")]).unwrap();
    let second = journal.append(now(), &[retried("staging", "ünïcode 'quoted'")]).unwrap();
    drop(journal);

    let replayed = SqliteJournal::open(dir.path()).unwrap().replay().unwrap();

    assert_eq!(replayed, [first, second].concat());
    assert_eq!(replayed.iter().map(|recorded| recorded.seq).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn replay_goes_on_after_a_place() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    let all = journal.append(now(), &[started(1), started(2), started(3)]).unwrap();
    assert_eq!(journal.replay_after(2).unwrap(), all[2..]);
    assert_eq!(journal.replay_after(u64::MAX).unwrap(), []);
}

#[test]
fn the_history_of_an_environment_ends_with_its_newest_event_and_leaves_others_out() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    let events =
        [started(1), retried("production", "1"), retried("staging", "2"), retried("production", "3")];
    let all = journal.append(now(), &events).unwrap();
    let last = journal.last(&"production".into(), 2).unwrap();
    assert_eq!(last, [all[1].clone(), all[3].clone()]);
    assert_eq!(journal.last(&"production".into(), 100).unwrap().len(), 3);
}

#[test]
fn another_process_reads_while_the_service_writes() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(JournalReader::open_read_only(dir.path()), Err(JournalError::Missing { .. })));
    let journal = SqliteJournal::open(dir.path()).unwrap();
    journal.append(now(), &[started(1)]).unwrap();
    let reader = JournalReader::open_read_only(dir.path()).unwrap();
    assert_eq!(reader.replay().unwrap().len(), 1);
    journal.append(now(), &[started(2)]).unwrap();
    assert_eq!(reader.replay_after(1).unwrap().len(), 1);
    drop((journal, reader));
    assert_eq!(JournalReader::open_read_only(dir.path()).unwrap().last(&"any".into(), 1).unwrap()[0].seq, 2);
}

fn rewrite(dir: &Path, sql: &str) {
    let file = dir.join(store::journal::JOURNAL_FILE);
    let connection = rusqlite::Connection::open(file).unwrap();
    connection.execute_batch(sql).unwrap();
}

#[test]
fn a_journal_of_a_newer_program_is_refused_and_not_a_byte_of_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    SqliteJournal::open(dir.path()).unwrap().append(now(), &[started(1)]).unwrap();
    rewrite(dir.path(), "UPDATE meta SET value = '2' WHERE key = 'format'; PRAGMA journal_mode = DELETE;");
    let file = dir.path().join(store::journal::JOURNAL_FILE);
    let before = fs::read(&file).unwrap();

    let refused = SqliteJournal::open(dir.path()).unwrap_err();

    assert!(matches!(refused, JournalError::Newer { found: 2, known: 1, .. }), "{refused:?}");
    assert!(matches!(JournalReader::open_read_only(dir.path()), Err(JournalError::Newer { .. })));
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_database_of_somebody_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    rewrite(dir.path(), "CREATE TABLE songs (title TEXT);");
    assert!(matches!(SqliteJournal::open(dir.path()), Err(JournalError::Foreign { .. })));
}

#[test]
fn a_line_that_cannot_be_understood_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    journal.append(now(), &[started(1), started(2)]).unwrap();
    rewrite(dir.path(), r#"UPDATE events SET json = '{"event":"from-the-future"}' WHERE seq = 2"#);
    assert!(matches!(journal.replay(), Err(JournalError::Damaged { seq: 2, .. })));
}

fn append_pairs_until_killed(dir: &Path) -> ! {
    let journal = SqliteJournal::open(dir).unwrap();
    loop {
        let pair = journal.append(now(), &[retried("a", &"x".repeat(5000)), retried("b", "y")]).unwrap();
        println!("\nappended {}", pair[1].seq);
    }
}

#[test]
fn a_kill_in_the_middle_of_an_append_leaves_whole_transactions_and_nothing_that_was_promised_is_lost() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        // This process is the one to be killed: the test starts itself again below.
        append_pairs_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut before = 0;
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", THIS_TEST, "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut promised = before;
        for _ in 0..=round {
            promised = next_promise(&mut lines).expect("the child appends");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        promised = std::iter::from_fn(|| next_promise(&mut lines)).last().unwrap_or(promised);

        let replayed = SqliteJournal::open(dir.path()).unwrap().replay().unwrap();

        let count = replayed.len() as u64;
        assert!(
            count >= promised && promised > before,
            "{count} replayed, {promised} promised, {before} before"
        );
        assert_eq!(count % 2, 0, "half a transaction");
        assert!(replayed.iter().map(|recorded| recorded.seq).eq(1..=count), "a gap");
        before = count;
    }
}

fn next_promise(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Option<u64> {
    lines.map_while(Result::ok).find_map(|line| line.strip_prefix("appended ")?.parse().ok())
}

fn drain(id: &str) -> Step {
    Step {
        id: StepId::new(id),
        stage: None,
        environment: "production".into(),
        host: HostName::new("web-1"),
        role: RoleName::new("web"),
        commit: CommitId::new("c0ffee"),
        generation: Generation(1),
        version: Version::parse("2.0").unwrap(),
        action: Action::Drain { rows: BTreeSet::new() },
        why: "to install 2.0".into(),
        deadline: SignedDuration::from_mins(15),
    }
}

fn finished(id: &str) -> Event {
    Event::StepFinished {
        environment: "production".into(),
        step: StepId::new(id),
        result: Ok(Outcome::Changed(String::new())),
    }
}

#[test]
fn a_service_that_dies_after_any_event_leaves_a_journal_that_a_new_one_goes_on_with() {
    let life = [
        started(1),
        retried("production", "adopted"),
        Event::StepStarted { step: drain("p-1") },
        finished("p-1"),
        Event::StepStarted { step: drain("p-2") },
    ];
    for survived in 0..=life.len() {
        let dir = tempfile::tempdir().unwrap();
        let journal = SqliteJournal::open(dir.path()).unwrap();
        life[..survived]
            .iter()
            .for_each(|event| drop(journal.append(now(), std::slice::from_ref(event)).unwrap()));
        drop(journal);

        let journal = SqliteJournal::open(dir.path()).unwrap();
        let generation = Histories::replay(&journal.replay().unwrap()).unwrap().next_generation();
        journal.append(now(), &[started(generation.0), retried("production", "again")]).unwrap();

        let histories = Histories::replay(&journal.replay().unwrap()).unwrap();
        let history = histories.get(&"production".into()).unwrap();
        assert_eq!(history.generation, generation, "after {survived} events");
        assert!(history.in_flight.is_empty(), "after {survived} events");
        assert_eq!(history.drained.contains_key("web-1"), survived >= 3, "after {survived} events");
    }
}

#[test]
fn reading_a_journal_that_no_service_has_open_leaves_no_file_behind() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    let event =
        Event::Retried { environment: "production".into(), by: "ada".into(), reason: "why not".into() };
    journal.append(Timestamp::UNIX_EPOCH, &[event]).unwrap();
    drop(journal);
    let files = || {
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = files();
    let reader = JournalReader::open_read_only(dir.path()).unwrap();
    assert_eq!(reader.replay().unwrap().len(), 1);
    assert_eq!(files(), before);
    drop(reader);
    assert_eq!(files(), before);
}
