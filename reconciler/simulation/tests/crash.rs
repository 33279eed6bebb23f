//! The shipping service over the simulated world: killed after any event of a rollout, started again on the same
//! journal, it always converges, keeps every promise, and runs nothing twice. `prefixes.rs` does so with a whole release.

mod sample;
mod stage;

use std::sync::Arc;

use engine::{Handle, Request, Service, Word};
use model::{Event, Histories};
use sample::version;
use stage::{BOUND, Stage};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

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

#[tokio::test(start_paused = true)]
async fn a_service_that_is_asked_to_stop_tells_the_journal_what_became_of_its_steps() {
    let stage = Stage::set(1);
    stage.source.bump(&"production".into(), &version("2")).unwrap();
    let (world, journal) = (Arc::new(stage.world.clone()), Arc::new(stage.journal.clone()));
    let (stop, (desired, _)) = (CancellationToken::new(), watch::channel(Arc::default()));
    let source = Arc::new(stage.source.clone());
    let (service, handle) =
        Service::start(world, journal, source, "reconcile", desired, stop.clone()).unwrap();
    let mut events = handle.events();
    let runs = tokio::spawn(service.run());
    while !matches!(events.recv().await.unwrap().event, Event::StepStarted { .. }) {}
    stop.cancel();
    timeout(BOUND, runs).await.expect("it ends by itself").unwrap();
    let histories = Histories::replay(&stage.journal.events()).unwrap();
    let history = histories.get(&"production".into()).unwrap();
    assert!(history.steps > 0);
    assert_eq!(history.in_flight.len(), 0, "{:?}", history.in_flight);
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_is_adopted_in_the_middle_of_its_steps_gets_there_and_its_journal_can_be_read_back() {
    for begun in 1..=20 {
        let stage = Stage::set(begun);
        let bump = stage.source.bump(&"production".into(), &version("2")).unwrap();
        let (dies, said) = (CancellationToken::new(), CancellationToken::new());
        let adopts = async |handle: &Handle| {
            let mut events = handle.events();
            let mut steps = 0;
            while steps < begun {
                let event = events.recv().await.unwrap().event;
                steps += u64::from(matches!(event, Event::StepStarted { .. }));
            }
            adopt(handle).await.unwrap();
            said.cancel();
        };
        assert!(timeout(BOUND, stage.run_through(adopts, &bump, &dies)).await.expect("it converges"));
        assert!(said.is_cancelled(), "it was adopted in the middle");
        stage.kept("2", "adopted");
        let next = Stage { journal: stage.journal.reopen(), ..stage };
        next.converges(&bump, "2", &format!("after it was adopted at step {begun}")).await;
    }
}

async fn adopt(handle: &Handle) -> Result<(), String> {
    let (reply, answer) = oneshot::channel();
    let (by, reason) = ("ada".to_owned(), "on call".to_owned());
    let request = Request::Say { environment: "production".into(), word: Word::Adopt, by, reason, reply };
    handle.requests.send(request).await.expect("the service is there");
    answer.await.expect("it answers")
}
