//! The service is killed between any two events of a rollout, and started again: it always converges, breaks no
//! promise on the way, and leaves nothing behind.

use model::Standing;
use simulation::SimWorld;
use tests::script::Stage;

/// A bump of the fleet in `examples/web`, killed after `events` events of it; none: not killed. Returns how many
/// events there were.
async fn rollout(seed: u64, events: Option<usize>) -> usize {
    let mut stage = Stage::seeded(tests::script::example("web", "1.0.0"), seed);
    assert_eq!(stage.rest().await, Standing::Converged);
    let before = stage.journal.events().len();
    let killed = events.map(|events| stage.journal.stop_after(before + events));
    stage.commit("1.1.0");
    if let Some(killed) = killed {
        killed.cancelled().await;
        let _ = stage.kill();
    }
    assert_eq!(stage.rest().await, Standing::Converged);
    assert_settled(&stage.world, events);
    stage.journal.events().len() - before
}

fn assert_settled(world: &SimWorld, events: Option<usize>) {
    let version = model::Version::parse("1.1.0").unwrap();
    assert_eq!(world.violations(), [], "killed after event {events:?}");
    assert_eq!(world.unsettled(&version), Vec::<String>::new(), "killed after event {events:?}");
    assert_eq!(world.lost_sessions(), 0, "killed after event {events:?}");
}

fn simulated(story: impl Future<Output = usize>) -> usize {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(story)
}

#[test]
fn a_service_killed_between_any_two_events_converges_all_the_same() {
    let total = simulated(rollout(1, None));
    assert!(total > 50, "only {total} events: is this a rollout?");
    for events in 1..total {
        simulated(rollout(1, Some(events)));
    }
}
