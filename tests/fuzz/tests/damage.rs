//! A journal's file with damage in it: refused as it lies, or read; never a panic, never changed by being read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use model::{Event, Generation, Histories, Recorded};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use store::journal::JOURNAL_FILE;
use store::{JournalReader, SqliteJournal};

const EVENTS: u64 = 120;
const DAMAGES: usize = 400;

fn events() -> impl Iterator<Item = Event> {
    let started = |generation| Event::ServiceStarted {
        generation: Generation(generation),
        service: "deploy".into(),
        program: "0.1.0".into(),
    };
    let retried = |number: u64| Event::Retried {
        environment: "production".into(),
        by: "ada".into(),
        reason: format!("disk {number} replaced, {}", "x".repeat(usize::try_from(number).unwrap() * 5)),
    };
    (1..=EVENTS).map(move |number| if number % 10 == 1 { started(number) } else { retried(number) })
}

/// What a whole journal of one file holds, and its bytes.
fn whole() -> (Vec<Recorded>, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    let written = journal.append(Timestamp::UNIX_EPOCH, &events().collect::<Vec<_>>()).unwrap();
    drop(journal);
    (written, fs::read(dir.path().join(JOURNAL_FILE)).unwrap())
}

#[derive(Debug, Default)]
struct Tally {
    refused: usize,
    same: usize,
    reworded: usize,
}

fn look(dir: &Path, written: &[Recorded], tally: &mut Tally, what: &str) {
    let path = dir.join(JOURNAL_FILE);
    let before = fs::read(&path).unwrap();
    let read = JournalReader::open_read_only(dir).and_then(|journal| journal.replay());
    assert_eq!(fs::read(&path).unwrap(), before, "{what}: reading changed it");
    let opened = SqliteJournal::open(dir).and_then(|journal| journal.replay());
    let changed = fs::read(&path).unwrap() != before;
    match (opened, read) {
        (Ok(events), Ok(read)) => {
            assert_eq!(events, read, "{what}: the service reads something else");
            let _ = Histories::replay(&events);
            let places = |events: &[Recorded]| events.iter().map(|event| event.seq).collect::<Vec<_>>();
            assert_eq!(places(&events), places(written), "{what}: events got lost, and nobody says so");
            if events == written { tally.same += 1 } else { tally.reworded += 1 }
        }
        (Err(error), _) => {
            assert!(!changed, "{what}: refused and changed: {error}");
            tally.refused += 1;
        }
        (Ok(_), Err(error)) => panic!("{what}: the service reads it, others do not: {error}"),
    }
}

#[test]
fn a_flipped_byte_is_refused_or_changes_words_and_never_loses_an_event() {
    let (written, bytes) = whole();
    let (mut chance, mut tally) = (StdRng::seed_from_u64(1), Tally::default());
    for _ in 0..DAMAGES {
        let dir = tempfile::tempdir().unwrap();
        let (at, flip) = (chance.random_range(0..bytes.len()), 1 << chance.random_range(0..8));
        let mut damaged = bytes.clone();
        damaged[at] ^= flip;
        fs::write(dir.path().join(JOURNAL_FILE), damaged).unwrap();
        look(dir.path(), &written, &mut tally, &format!("byte {at} of {} by {flip}", bytes.len()));
    }
    println!("{DAMAGES} flipped bytes: {tally:?}");
    assert!(tally.refused > 0);
}

#[test]
fn a_journal_that_was_cut_off_is_refused() {
    let (written, bytes) = whole();
    let mut tally = Tally::default();
    for kept in (1..bytes.len()).step_by(bytes.len() / 40) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(JOURNAL_FILE), &bytes[..kept]).unwrap();
        look(dir.path(), &written, &mut tally, &format!("{kept} of {} bytes", bytes.len()));
    }
    assert_eq!((tally.same, tally.reworded), (0, 0));
}
