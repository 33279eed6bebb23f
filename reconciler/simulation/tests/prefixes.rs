//! For every prefix of a journal: replayed and continued, it comes to the same end. First as values, for journals of lives
//! in which everything goes wrong; then by killing the shipping service after every event of a release and of its rollback.

mod sample;
mod stage;

use std::collections::BTreeMap;

use model::{Allow, Desired, Event, Exceptions, Histories, History, JobKind, Recorded, Track};
use sample::version;
use simulation::{EndState, MigrationRow, Scenario, live};
use stage::{BOUND, Stage};
use tokio::time::timeout;

fn in_a_world<T>(life: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime needs nothing").block_on(life)
}

fn journal_of(seed: u64) -> Vec<Recorded> {
    in_a_world(live(&Scenario::drawn(seed), true)).journal
}

fn replayed(journal: &[Recorded], seed: u64) -> Histories {
    let events = journal.len();
    Histories::replay(journal).unwrap_or_else(|(seq, illegal)| {
        panic!("seed {seed}: the first {events} events, event {seq}: {illegal}")
    })
}

/// Where every prefix is replayed to what was folded event by event until then, continuing either is the same.
#[test]
fn every_prefix_of_a_journal_is_replayed_and_continued_to_the_same_history() {
    for seed in 1..=20 {
        let journal = journal_of(seed);
        let mut folded = Histories::default();
        for (events, next) in journal.iter().enumerate() {
            let prefix = replayed(&journal[..events], seed);
            assert_eq!(prefix, folded, "seed {seed}, after {events} events");
            folded.apply(next).unwrap_or_else(|illegal| panic!("seed {seed}: {illegal}"));
        }
        assert_eq!(replayed(&journal, seed), folded, "seed {seed}");
    }
}

/// The histories as a service finds them that begins at that time.
fn taken_over(prefix: &[Recorded], seed: u64) -> Histories {
    let mut histories = replayed(prefix, seed);
    let Some(last) = prefix.last() else { return histories };
    let generation = histories.next_generation();
    let event =
        Event::ServiceStarted { generation, service: "reconcile".to_owned(), program: "1".to_owned() };
    let started = Recorded { seq: last.seq + 1, at: last.at, event };
    histories.apply(&started).unwrap_or_else(|illegal| panic!("seed {seed}: {illegal}"));
    histories
}

/// What a crash neither takes away nor adds to: all but who serves, and what may have been done to hosts.
fn lasting(history: &History) -> History {
    History {
        durations_ms: history.durations_ms.clone(),
        troubles: history.troubles.clone(),
        letting_go: history.letting_go.clone(),
        steps: history.steps,
        accepted: history.accepted.clone(),
        converged: history.converged.clone(),
        progress: history.progress.clone(),
        departed: history.departed.clone(),
        ..History::new(history.environment.clone())
    }
}

#[test]
fn a_service_can_take_over_after_every_event_and_forgets_only_what_was_under_way() {
    for seed in 21..=30 {
        let journal = journal_of(seed);
        for events in 1..=journal.len() {
            let (before, after) = (replayed(&journal[..events], seed), taken_over(&journal[..events], seed));
            for (before, after) in before.all().zip(after.all()) {
                let what = format!("seed {seed}, after {events} events");
                assert_eq!(lasting(before), lasting(after), "{what}");
                assert_eq!(after.in_flight, BTreeMap::new(), "{what}");
                assert!(after.generation > before.generation, "{what}");
                assert!(before.claims.keys().all(|host| after.claims.contains_key(host)), "{what}");
            }
        }
    }
}

/// A whole release on a fleet of four hosts: the journal's length counts twice here, and each role's second host has been
/// through what its third would go through.
fn small_release() -> Desired {
    let mut release = sample::whole_release();
    for role in &mut release.fleet.roles {
        let hosts = if role.track == Track::Main { 2 } else { 1 };
        role.hosts.truncate(hosts);
    }
    release
}

/// What was wanted before a release.
fn before(release: &Desired) -> Desired {
    let exceptions = Exceptions::default();
    Desired { target: version("1"), canary: None, exceptions, ..release.clone() }
}

/// A fleet at rest, and what is wanted of it next.
struct Rested {
    stage: Stage,
    next: Desired,
}

impl Rested {
    /// The fleet is at 1 and adopted, so that what runs there counts as migrated. A whole release to 2 comes next.
    async fn before_a_release() -> Self {
        let next = small_release();
        let stage = Stage::holding(1, before(&next));
        let first = stage.source.head().expect("there is a commit");
        stage.arrives(&first, "adopted").await;
        Self { stage: stage.reopened(), next }
    }

    /// The release has arrived, with its post-deployment migrations. Everything goes back to 1; the share and the patch go.
    async fn before_a_rollback() -> Self {
        let Self { stage, next: released } = Self::before_a_release().await;
        let there = stage.source.commit("2", [released.clone()]);
        stage.arrives(&there, "released").await;
        let allow = Allow { past_post_migrations_of: version("2"), reason: "a backup".to_owned() };
        let exceptions = Exceptions { allow: Some(allow), ..Exceptions::default() };
        Self { stage: stage.reopened(), next: Desired { exceptions, ..before(&released) } }
    }

    /// Commits what is wanted, and arrives there with a service that is killed once, as soon as the journal holds so many
    /// events. Tells what the journal held when it died, in the end, and the end.
    async fn goes_on(self, killed_after: Option<usize>) -> Arrived {
        let Self { mut stage, next } = self;
        let commit = stage.source.commit("next", [next.clone()]);
        let what = format!("killed after {killed_after:?}");
        let mut held = Vec::new();
        if let Some(events) = killed_after {
            let dies = stage.journal.stop_after(events);
            let survived = timeout(BOUND, stage.run(&commit, &dies)).await;
            // With the last event it arrives before it dies.
            assert!(survived.is_ok(), "{what}: it neither dies nor arrives");
            held = stage.journal.events();
            stage = stage.reopened();
        }
        stage.arrives(&commit, &what).await;
        assert_eq!(stage.world.unsettled_on(&next), Vec::<String>::new(), "{what}\n{}", stage.told());
        let violations: Vec<String> = stage.world.violations().iter().map(ToString::to_string).collect();
        assert_eq!(violations, Vec::<String>::new(), "{what}");
        Arrived { held, journal: stage.journal.events(), end: stage.world.end_state() }
    }
}

/// A life that came to its end.
struct Arrived {
    /// The journal when the service was killed.
    held: Vec<Recorded>,
    journal: Vec<Recorded>,
    end: EndState,
}

/// Kills a service at every prefix of the journal of an undisturbed life, and compares the ends. Events that are written
/// together are never found apart. Tells the end, and at how many places it was killed.
fn the_same_end_from_every_prefix(rested: impl AsyncFn() -> Rested) -> (EndState, usize) {
    let begun = in_a_world(async { rested().await.stage.journal.events().len() });
    let undisturbed = in_a_world(async { rested().await.goes_on(None).await });
    let (mut places, mut events) = (0, begun);
    while events < undisturbed.journal.len() {
        let arrived = in_a_world(async { rested().await.goes_on(Some(events + 1)).await });
        assert_eq!(arrived.end, undisturbed.end, "killed after event {}", events + 1);
        events = arrived.held.len();
        assert_eq!(arrived.held, undisturbed.journal[..events], "it was the same life until it died");
        places += 1;
    }
    (undisturbed.end, places)
}

fn rows_of_2() -> BTreeMap<model::EnvironmentName, Vec<MigrationRow>> {
    let rows = [JobKind::PreMigration, JobKind::PostMigration]
        .map(|kind| MigrationRow { kind, version: version("2") });
    BTreeMap::from([("production".into(), rows.into())])
}

#[test]
fn a_release_comes_to_the_same_end_from_every_prefix_of_its_journal() {
    let (end, places) = the_same_end_from_every_prefix(Rested::before_a_release);
    assert_eq!(end.migrations, rows_of_2());
    assert!(end.begun.values().all(|times| *times == 1) && end.begun.len() > 4, "{:?}", end.begun);
    assert!(places > 80, "a whole release of four hosts has more events than {places}");
}

#[test]
fn a_rollback_comes_to_the_same_end_from_every_prefix_of_its_journal() {
    let (end, places) = the_same_end_from_every_prefix(Rested::before_a_rollback);
    assert_eq!(end.migrations, rows_of_2(), "going back migrates nothing");
    assert!(end.begun.keys().all(|job| job.to_string().contains(".2.")), "nor checks it: {:?}", end.begun);
    assert!(places > 40, "a rollback of four hosts has more events than {places}");
}
