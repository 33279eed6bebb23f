//! The shipping service over the simulated world: killed after any event of a rollout, started again on the same
//! journal, it always converges, keeps every promise, and runs nothing twice. `prefixes.rs` does so with a whole release.

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
