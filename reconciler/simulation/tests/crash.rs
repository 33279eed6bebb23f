//! The shipping service over the simulated world: killed after any event of a rollout, started again on the same
//! journal, it always converges, keeps every promise, and runs nothing twice; a whole release with migrations, checks,
//! shares, agents and a patch as well.

mod sample;
mod stage;

use sample::version;
use stage::{BOUND, Stage};
use tokio::time::timeout;

#[tokio::test(start_paused = true)]
async fn a_bump_and_its_revert_move_the_fleet_there_and_back() {
    let stage = Stage::set(1);
    let bump = stage.source.bump(&"production".into(), &version("2")).unwrap();
    stage.converges(&bump, "2", "there").await;
    let next =
        Stage { journal: stage.journal.reopen(), world: stage.world.clone(), source: stage.source.clone() };
    let revert = next.source.revert().unwrap();
    next.converges(&revert, "1", "and back").await;
}

#[tokio::test(start_paused = true)]
async fn a_service_killed_after_any_event_of_a_rollout_converges_after_its_restart() {
    let mut killed = 0;
    for events in 1.. {
        let stage = Stage::set(u64::try_from(events).unwrap());
        let bump = stage.source.bump(&"production".into(), &version("2")).unwrap();
        let dies = stage.journal.stop_after(events);
        let survived = timeout(BOUND, stage.run(&bump, &dies)).await.expect("it dies or converges");
        dies.cancel();
        if survived {
            break;
        }
        killed += 1;
        let next = Stage { journal: stage.journal.reopen(), ..stage };
        next.converges(&bump, "2", &format!("killed after event {events}")).await;
    }
    assert!(killed > 60, "a rollout of five hosts has more events than {killed}");
}

#[tokio::test(start_paused = true)]
async fn a_service_killed_again_and_again_gets_there_all_the_same() {
    for seed in 1..=20 {
        let mut stage = Stage::set(seed);
        let bump = stage.source.bump(&"production".into(), &version("2")).unwrap();
        for life in 0..12 {
            let events = stage.journal.events().len() + 2 + usize::try_from((seed + life) % 7).unwrap();
            let dies = stage.journal.stop_after(events);
            timeout(BOUND, stage.run(&bump, &dies)).await.expect("it dies or converges");
            dies.cancel();
            stage.journal = stage.journal.reopen();
        }
        stage.converges(&bump, "2", &format!("seed {seed}")).await;
    }
}

/// The journal adopts the fleet at 1 first: what it finds running counts as migrated.
async fn adopted(seed: u64) -> (Stage, model::Desired) {
    let (stage, release) = Stage::with_whole_release(seed);
    let first =
        engine::Source::read(&stage.source).await.revision.expect("the source has a first commit").commit.id;
    let lives = tokio_util::sync::CancellationToken::new();
    let run = timeout(BOUND, stage.run(&first, &lives)).await;
    lives.cancel();
    assert_eq!(run, Ok(true), "{}", stage.told());
    (Stage { journal: stage.journal.reopen(), ..stage }, release)
}

#[tokio::test(start_paused = true)]
async fn a_service_killed_after_any_event_of_a_whole_release_converges_and_migrates_once() {
    let rows = [model::JobKind::PreMigration, model::JobKind::PostMigration]
        .map(|kind| simulation::MigrationRow { kind, version: version("2") });
    let mut killed = 0;
    for events in 1.. {
        let (stage, release) = adopted(u64::try_from(events).unwrap()).await;
        let what = format!("killed after event {events}");
        let commit = stage.source.commit("2", [release.clone()]);
        let dies = stage.journal.stop_after(stage.journal.events().len() + events);
        let survived = timeout(BOUND, stage.run(&commit, &dies)).await.expect("it dies or converges");
        dies.cancel();
        let next = Stage { journal: stage.journal.reopen(), ..stage };
        let lives = tokio_util::sync::CancellationToken::new();
        let run = timeout(BOUND, next.run(&commit, &lives)).await;
        lives.cancel();
        assert_eq!(run, Ok(true), "{what}: did not converge\n{}", next.told());
        assert_eq!(next.world.unsettled_on(&release), Vec::<String>::new(), "{what}\n{}", next.told());
        let violations: Vec<String> = next.world.violations().iter().map(ToString::to_string).collect();
        assert_eq!(violations, Vec::<String>::new(), "{what}");
        assert_eq!(next.world.migration_rows(&"production".into()), rows, "{what}\n{}", next.told());
        if survived {
            break;
        }
        killed += 1;
    }
    assert!(killed > 120, "a whole release of seven hosts has more events than {killed}");
}
