//! The shipping service over the simulated world: each fault in the middle of a rollout is survived; once it is gone
//! the rollout converges by itself.

mod sample;
mod stage;

use std::time::Duration;

use model::Admin;
use sample::*;
use simulation::SimWorld;
use stage::{BOUND, Stage};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// By then every quiet host and node has been looked at again.
const UNTIL_SEEN: Duration = Duration::from_secs(60);

type Change = fn(&SimWorld);

/// A rollout, a fault three seconds into it, half a minute of that, and its end; without one, the service mends it.
async fn survives(what: &str, begins: Change, ends: Option<Change>) {
    for seed in 1..=5 {
        let stage = Stage::set(seed);
        let bump = stage.source.bump(&"production".into(), &version("2")).expect("there is a first commit");
        let lives = CancellationToken::new();
        let faults = async {
            sleep(Duration::from_millis(3_000 + seed * 700 % 18_000)).await;
            begins(&stage.world);
            sleep(Duration::from_secs(30)).await;
            if let Some(ends) = ends {
                assert_ne!(
                    stage.world.unsettled(&version("2")),
                    Vec::<String>::new(),
                    "{what}: came too late"
                );
                ends(&stage.world);
            }
            sleep(UNTIL_SEEN).await;
        };
        let run = timeout(BOUND, stage.run_through(async |_| faults.await, &bump, &lives)).await;
        lives.cancel();
        assert_eq!(run, Ok(true), "{what}, seed {seed}: did not converge\n{}", stage.told());
        stage.kept("2", &format!("{what}, seed {seed}"));
    }
}

macro_rules! survived {
    ($($name:ident: $begins:expr, $ends:expr;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            survives(stringify!($name), $begins, $ends).await;
        }
    )*};
}

survived! {
    a_host_without_power: |w| w.goes_down(&host("web-2")), Some(|w| w.comes_up(&host("web-2")));
    a_host_that_hangs: |w| w.hangs(&host("web-2")), Some(|w| w.wakes(&host("web-2")));
    a_host_cut_off: |w| w.cut_off(&host("web-2")), Some(|w| w.reconnected(&host("web-2")));
    a_storage_host_without_power: |w| w.goes_down(&host("storage-1")), Some(|w| w.comes_up(&host("storage-1")));
    a_refused_key: |w| w.refuses_key(&host("web-3"), true), Some(|w| w.refuses_key(&host("web-3"), false));
    a_changed_host_key: |w| w.changes_host_key(&host("web-3"), true), Some(|w| w.changes_host_key(&host("web-3"), false));
    a_held_lock: |w| w.apt_lock(&host("web-4"), true), Some(|w| w.apt_lock(&host("web-4"), false));
    a_full_disk: |w| w.disk_full(&host("web-4"), true), Some(|w| w.disk_full(&host("web-4"), false));
    a_load_balancer_node_without_power: |w| w.goes_down(&host("lb-1")), Some(|w| w.comes_up(&host("lb-1")));
    a_load_balancer_node_that_hangs: |w| w.hangs(&host("lb-2")), Some(|w| w.wakes(&host("lb-2")));
    a_session_that_never_ends: |w| w.session_never_ends(&host("web-4")), Some(|w| w.sessions_end(&host("web-4")));
    a_drain_by_a_person: |w| w.person_sets(&row("lb-1", "web-4"), Admin::Drain), Some(|w| w.person_sets(&row("lb-1", "web-4"), Admin::Ready));
    an_interrupted_dpkg: |w| w.interrupts_dpkg(&host("web-4"), &version("1.5")), None;
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_that_is_reloaded_every_second_is_drained_again_each_time() {
    for seed in 1..=5 {
        let stage = Stage::set(seed);
        let bump = stage.source.bump(&"production".into(), &version("2")).expect("there is a first commit");
        let lives = CancellationToken::new();
        let reloads = async {
            for _ in 0..20 {
                sleep(Duration::from_millis(900 + seed * 37)).await;
                stage.world.reloads(&host("lb-1"));
            }
            sleep(UNTIL_SEEN).await;
        };
        let run = timeout(BOUND, stage.run_through(async |_| reloads.await, &bump, &lives)).await;
        lives.cancel();
        assert_eq!(run, Ok(true), "seed {seed}: did not converge\n{}", stage.told());
        stage.kept("2", &format!("reloads, seed {seed}"));
    }
}
