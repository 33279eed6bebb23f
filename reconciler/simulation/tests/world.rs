//! How the simulated world behaves by itself: as real hosts, dpkg, systemd and HAProxy were seen to.

mod sample;

use std::time::Duration;

use engine::World;
use model::*;
use sample::*;
use simulation::{Promise, Release, SimWorld};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

fn world(seed: u64) -> SimWorld {
    SimWorld::fleet(&fleet(), &version("1"), seed)
}

async fn act(world: &SimWorld, step: Step) -> Result<Outcome, Failure> {
    act_marked(world, &step).await
}

async fn must(world: &SimWorld, id: &str, name: &str, action: Action) {
    let result = act(world, step(id, name, action)).await;
    assert!(matches!(result, Ok(Outcome::Changed(_))), "{id}: {result:?}");
}

async fn fails(world: &SimWorld, id: &str, name: &str, action: Action) -> FailureKind {
    act(world, step(id, name, action)).await.expect_err("this has to fail").kind
}

async fn see(world: &SimWorld, name: &str) -> Result<HostState, Unknown> {
    let observed = world.observe(&Scope::Host(host(name))).await;
    observed.hosts[&host(name)].value.clone()
}

async fn see_node(world: &SimWorld, name: &str) -> Result<NodeState, Unknown> {
    let observed = world.observe(&Scope::Node(host(name))).await;
    observed.nodes[&host(name)].value.clone()
}

async fn see_row(world: &SimWorld, node: &str, server: &str) -> Row {
    see_node(world, node).await.expect("the node answers").rows[&("web".into(), server.into())].clone()
}

async fn seconds(s: u64) {
    sleep(Duration::from_secs(s)).await;
}

/// The whole way of one host, as the planner goes it.
async fn upgrade(world: &SimWorld, name: &str, to: &str) {
    must(world, &format!("{name}-{to}-claim"), name, claim()).await;
    must(world, &format!("{name}-{to}-drain"), name, drain(name)).await;
    seconds(10).await;
    must(world, &format!("{name}-{to}-install"), name, install(to)).await;
    must(world, &format!("{name}-{to}-activate"), name, activate(to)).await;
    seconds(10).await;
    must(world, &format!("{name}-{to}-ready"), name, ready(name)).await;
    seconds(10).await;
    must(world, &format!("{name}-{to}-release"), name, Action::Release).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_upgraded_in_order_serves_again_and_no_session_was_lost() {
    let world = world(1);
    for name in ["web-1", "web-2", "web-3", "web-4"] {
        upgrade(&world, name, "2").await;
        assert_eq!(world.running(&host(name)), Some(version("2")));
    }
    assert_eq!(world.in_rotation(&host("lb-1"), &"web".into()), 4);
    assert_eq!(world.lost_sessions(), 0);
    assert_eq!(world.violations(), []);
    assert_eq!(world.unsettled(&version("2")), ["storage-1 does not run 2"]);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_world_to_the_last_line() {
    let mut traces = Vec::new();
    for seed in [5, 5, 6] {
        let world = world(seed);
        upgrade(&world, "web-1", "2").await;
        traces.push(world.trace(0));
    }
    assert_eq!(traces[0], traces[1]);
    assert_ne!(traces[0], traces[2]);
}

#[tokio::test(start_paused = true)]
async fn sessions_of_a_drained_server_end_one_by_one() {
    let world = world(2);
    let before = see_row(&world, "lb-1", "web-1").await;
    assert!(before.in_rotation() && before.sessions > 0);
    must(&world, "d", "web-1", drain("web-1")).await;
    let drained = see_row(&world, "lb-1", "web-1").await;
    assert_eq!((drained.status.as_str(), drained.admin), ("DRAIN", Admin::Drain));
    assert!(drained.sessions > 0, "{drained:?}");
    seconds(7).await;
    assert_eq!(see_row(&world, "lb-1", "web-1").await.sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_never_ends_stays_until_it_is_cut() {
    let world = world(2);
    world.session_never_ends(&host("web-1"));
    must(&world, "d", "web-1", drain("web-1")).await;
    seconds(3600).await;
    assert_eq!(see_row(&world, "lb-1", "web-1").await.sessions, 1);
    must(&world, "c", "web-1", Action::Cut { rows: rows("web-1") }).await;
    assert_eq!(see_row(&world, "lb-1", "web-1").await.sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn clients_bound_by_cookie_ignore_a_drain_and_leave_at_maintenance() {
    let world = world(3);
    world.make_sticky(&web());
    must(&world, "d", "web-1", drain("web-1")).await;
    seconds(3600).await;
    let bound = see_row(&world, "lb-1", "web-1").await.sessions;
    assert!(bound > 0);
    must(&world, "m", "web-1", Action::Maint { rows: rows("web-1") }).await;
    seconds(7).await;
    assert_eq!(see_row(&world, "lb-1", "web-1").await.sessions, 0);
    assert!(see_node(&world, "lb-1").await.unwrap().sticky.contains("web"));
}

#[tokio::test(start_paused = true)]
async fn a_row_that_leaves_maintenance_takes_traffic_before_its_first_check() {
    let world = world(3);
    must(&world, "m", "web-1", Action::Maint { rows: rows("web-1") }).await;
    seconds(10).await;
    must(&world, "r", "web-1", ready("web-1")).await;
    let row = see_row(&world, "lb-1", "web-1").await;
    assert_eq!((row.status.as_str(), row.check), ("UP 1/3", RowCheck::Pending));
    seconds(3).await;
    assert!(see_row(&world, "lb-1", "web-1").await.in_rotation());
}

#[tokio::test(start_paused = true)]
async fn a_reload_forgets_a_drain_and_keeps_sessions_in_the_old_worker() {
    let world = world(4);
    must(&world, "d", "web-1", drain("web-1")).await;
    let before = see_node(&world, "lb-1").await.unwrap();
    world.reloads(&host("lb-1"));
    let after = see_node(&world, "lb-1").await.unwrap();
    let key = ("web".into(), "web-1".into());
    assert_ne!(before.process, after.process);
    assert_eq!(after.rows[&key].admin, Admin::Ready);
    assert!(after.old_sessions[&key] > 0);
    assert_eq!(see_row(&world, "lb-2", "web-1").await.admin, Admin::Drain, "the other node was not reloaded");
    seconds(10).await;
    assert!(see_node(&world, "lb-1").await.unwrap().old_sessions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_job_goes_on_when_nobody_waits_for_it_and_is_found_again_by_name() {
    let world = world(7);
    must(&world, "d", "web-1", drain("web-1")).await;
    let install = step("job-1", "web-1", install("2"));
    tokio::select! {
        result = act(&world, install.clone()) => panic!("too fast: {result:?}"),
        () = sleep(Duration::from_millis(1_500)) => {}
    }
    assert_eq!(see(&world, "web-1").await.unwrap().job, Some("job-1".into()));
    seconds(60).await;
    let state = see(&world, "web-1").await.unwrap();
    assert_eq!((state.job, state.packages["app"].version.clone()), (None, version("2")));
    assert!(state.packages["app"].installed);

    let changes = world.trace(0).len();
    let again = act(&world, install).await;
    assert!(matches!(again, Ok(Outcome::Changed(_))), "the recorded result: {again:?}");
    assert_eq!(world.trace(0).len(), changes, "and nothing happened a second time");
    assert_eq!(world.violations(), []);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_step_is_interrupted_and_its_job_goes_on() {
    let world = world(7);
    must(&world, "d", "web-1", drain("web-1")).await;
    let cancel = CancellationToken::new();
    let install = step("job-1", "web-1", install("2"));
    let acting = world.act(&install, &cancel);
    let cancelling = async {
        sleep(Duration::from_millis(1_500)).await;
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(acting, cancelling);
    assert_eq!(result.unwrap_err().kind, FailureKind::Interrupted);
    seconds(60).await;
    assert_eq!(see(&world, "web-1").await.unwrap().packages["app"].version, version("2"));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_loses_power_in_an_install_is_left_half_way_and_can_be_repaired() {
    let world = world(8);
    must(&world, "d", "web-1", drain("web-1")).await;
    must(&world, "dl", "web-1", Action::Download { packages: [("app".into(), version("2"))].into() }).await;
    let install_1 = step("job-1", "web-1", install("2"));
    let dying = async {
        sleep(Duration::from_millis(1_000)).await;
        world.goes_down(&host("web-1"));
    };
    let (result, ()) = tokio::join!(act(&world, install_1), dying);
    assert_eq!(result.unwrap_err().kind, FailureKind::Unreachable);
    assert_eq!(see(&world, "web-1").await.unwrap_err().kind, UnknownKind::Unreachable);

    let boot_before = "1";
    world.comes_up(&host("web-1"));
    seconds(60).await;
    let state = see(&world, "web-1").await.unwrap();
    assert!(state.dpkg_interrupted && !state.packages["app"].installed, "{state:?}");
    assert!(state.in_doubt.contains("job-1"));
    assert!(!state.boot_id.ends_with(boot_before));
    assert_eq!(fails(&world, "job-1", "web-1", install("2")).await, FailureKind::InDoubt);

    must(&world, "job-2", "web-1", install("2")).await;
    let state = see(&world, "web-1").await.unwrap();
    assert!(!state.dpkg_interrupted && state.packages["app"].installed);
}

#[tokio::test(start_paused = true)]
async fn what_runs_is_older_than_what_is_installed_until_it_is_activated_and_a_reboot_voids_the_stamp() {
    let world = world(9);
    let running = |state: &HostState| state.services["app"].running(Some(&state.packages["app"].version));
    must(&world, "d", "web-1", drain("web-1")).await;
    seconds(10).await;
    must(&world, "i", "web-1", install("2")).await;
    assert_eq!(running(&see(&world, "web-1").await.unwrap()), Running::Older);
    must(&world, "a", "web-1", activate("2")).await;
    assert_eq!(see(&world, "web-1").await.unwrap().services["app"].stamped, Some(version("2")));
    world.reboots(&host("web-1"));
    seconds(60).await;
    let state = see(&world, "web-1").await.unwrap();
    assert_eq!(state.services["app"].stamped, None);
    assert_eq!(running(&state), Running::Version(version("2")));
}

#[tokio::test(start_paused = true)]
async fn an_activated_host_is_unwell_until_it_is_warm_and_its_row_is_up_after_the_checks() {
    let world = world(10);
    must(&world, "d", "web-1", drain("web-1")).await;
    seconds(10).await;
    must(&world, "i", "web-1", install("2")).await;
    must(&world, "a", "web-1", activate("2")).await;
    assert!(matches!(see(&world, "web-1").await.unwrap().health, HealthState::Unhealthy(_)));
    seconds(5).await;
    assert_eq!(see(&world, "web-1").await.unwrap().health, HealthState::Healthy);
}

#[tokio::test(start_paused = true)]
async fn an_application_that_dies_takes_its_row_down_after_fall_and_up_again_after_rise() {
    let world = world(10);
    world.reboots(&host("web-1"));
    assert_eq!(see_row(&world, "lb-1", "web-1").await.status, "UP", "nobody has checked yet");
    seconds(7).await;
    assert_eq!(see_row(&world, "lb-1", "web-1").await.status, "DOWN");
    seconds(60).await;
    assert_eq!(see_row(&world, "lb-1", "web-1").await.status, "UP");
    assert!(world.lost_sessions() > 0, "sessions broke with it");
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_bad_version_fails_in_its_own_way() {
    let world = world(11);
    world.set_release(&version("2"), Release::NEVER_HEALTHY);
    world.set_release(&version("3"), Release::NOT_INSTALLABLE);
    world.set_release(&version("4"), Release::NOT_STARTING);
    world.set_release(&version("5"), Release::NOWHERE);
    must(&world, "d", "web-1", drain("web-1")).await;
    seconds(10).await;
    assert_eq!(fails(&world, "i5", "web-1", install("5")).await, FailureKind::VersionNotFound);
    assert_eq!(fails(&world, "i3", "web-1", install("3")).await, FailureKind::InstallFailed);
    let broken = see(&world, "web-1").await.unwrap().packages["app"].clone();
    assert_eq!((broken.version, broken.installed, broken.status.as_str()), (version("3"), false, "iF "));
    must(&world, "i4", "web-1", install("4")).await;
    assert_eq!(fails(&world, "a4", "web-1", activate("4")).await, FailureKind::ActivateFailed);
    must(&world, "i2", "web-1", install("2")).await;
    must(&world, "a2", "web-1", activate("2")).await;
    seconds(600).await;
    assert!(matches!(see(&world, "web-1").await.unwrap().health, HealthState::Unhealthy(_)));
    must(&world, "r", "web-1", ready("web-1")).await;
    assert_eq!(see_row(&world, "lb-1", "web-1").await.status, "DOWN", "its checks have failed all along");
}

#[tokio::test(start_paused = true)]
async fn each_obstacle_on_the_way_to_a_host_shows_as_what_it_is() {
    let world = world(12);
    let web_1 = host("web-1");
    let obstacle = async |world: &SimWorld| {
        let seen = see(world, "web-1").await.map_or_else(|unknown| Some(unknown.kind), |_| None);
        let done =
            act(world, step("c", "web-1", claim())).await.map_or_else(|failure| Some(failure.kind), |_| None);
        (seen, done)
    };
    world.hangs(&web_1);
    assert_eq!(obstacle(&world).await, (Some(UnknownKind::TimedOut), Some(FailureKind::TimedOut)));
    world.wakes(&web_1);
    world.refuses_key(&web_1, true);
    assert_eq!(obstacle(&world).await, (Some(UnknownKind::KeyRefused), Some(FailureKind::KeyRefused)));
    world.changes_host_key(&web_1, true);
    assert_eq!(
        obstacle(&world).await,
        (Some(UnknownKind::HostKeyChanged), Some(FailureKind::HostKeyChanged))
    );
    world.changes_host_key(&web_1, false);
    world.cut_off(&web_1);
    assert_eq!(obstacle(&world).await, (Some(UnknownKind::Unreachable), Some(FailureKind::Unreachable)));
    assert_eq!(
        world.in_rotation(&host("lb-1"), &"web".into()),
        4,
        "cut off from ssh is not cut off from traffic"
    );
    assert_eq!(world.changes(), 0);
    world.reconnected(&web_1);
    assert_eq!(obstacle(&world).await, (None, None));
}

#[tokio::test(start_paused = true)]
async fn a_held_lock_and_a_full_disk_stop_an_install_until_they_are_gone() {
    let world = world(13);
    must(&world, "d", "web-1", drain("web-1")).await;
    world.apt_lock(&host("web-1"), true);
    assert_eq!(fails(&world, "i1", "web-1", install("2")).await, FailureKind::PackageLocked);
    world.apt_lock(&host("web-1"), false);
    world.disk_full(&host("web-1"), true);
    assert_eq!(fails(&world, "i2", "web-1", install("2")).await, FailureKind::DiskFull);
    world.disk_full(&host("web-1"), false);
    must(&world, "i3", "web-1", install("2")).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_hangs_in_an_install_finishes_it_when_it_wakes() {
    let world = world(13);
    must(&world, "d", "web-1", drain("web-1")).await;
    let hanging = async {
        sleep(Duration::from_millis(500)).await;
        world.hangs(&host("web-1"));
    };
    let (result, ()) = tokio::join!(act(&world, step("i", "web-1", install("2"))), hanging);
    assert_eq!(result.unwrap_err().kind, FailureKind::TimedOut);
    seconds(600).await;
    world.wakes(&host("web-1"));
    seconds(30).await;
    let state = see(&world, "web-1").await.unwrap();
    assert!(state.packages["app"].installed && state.packages["app"].version == version("2"));
}

#[tokio::test(start_paused = true)]
async fn an_older_generation_and_another_service_are_refused_by_the_host() {
    let world = world(14);
    let newer = Step { generation: Generation(2), ..step("c2", "web-1", claim()) };
    act(&world, newer).await.unwrap();
    assert_eq!(fails(&world, "i1", "web-1", install("2")).await, FailureKind::Superseded);
    assert_eq!(fails(&world, "d1", "web-1", drain("web-1")).await, FailureKind::Superseded);
    assert_eq!(see_row(&world, "lb-1", "web-1").await.admin, Admin::Ready);

    let other = world.as_service("other");
    let theirs = Step { generation: Generation(9), ..step("c9", "web-1", claim()) };
    assert_eq!(act(&other, theirs).await.unwrap_err().kind, FailureKind::Superseded);

    let release = Step { generation: Generation(2), ..step("r2", "web-1", Action::Release) };
    act(&world, release).await.unwrap();
    assert_eq!(fails(&world, "late", "web-1", claim()).await, FailureKind::Superseded, "the fence stays");
    assert_eq!(world.violations(), []);
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_node_that_is_down_fails_the_drain_and_the_other_node_drains_all_the_same() {
    let world = world(15);
    world.goes_down(&host("lb-1"));
    assert_eq!(fails(&world, "d", "web-1", drain("web-1")).await, FailureKind::Unreachable);
    assert_eq!(see_row(&world, "lb-2", "web-1").await.admin, Admin::Drain);
    world.comes_up(&host("lb-1"));
    assert_eq!(see_row(&world, "lb-1", "web-1").await.admin, Admin::Ready);
    assert_eq!(fails(&world, "n", "web-9", drain("web-9")).await, FailureKind::Unreachable);
}

fn promises(world: &SimWorld) -> Vec<Promise> {
    world.violations().into_iter().map(|violation| violation.promise).collect()
}

#[tokio::test(start_paused = true)]
async fn draining_below_the_floor_breaks_the_first_promise_on_each_node() {
    let world = world(16);
    must(&world, "d1", "web-1", drain("web-1")).await;
    assert_eq!(promises(&world), []);
    must(&world, "d2", "web-2", drain("web-2")).await;
    assert_eq!(promises(&world), [Promise::S1, Promise::S1]);
    assert!(world.violations()[0].to_string().contains("left 2 of 4 servers"), "{}", world.violations()[0]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_failed_long_ago_counts_against_the_budget_and_one_that_failed_just_now_does_not() {
    let world = world(16);
    world.goes_down(&host("web-1"));
    seconds(8).await;
    must(&world, "d2", "web-2", drain("web-2")).await;
    assert_eq!(promises(&world), [], "nobody could know yet");
    must(&world, "r2", "web-2", ready("web-2")).await;
    seconds(60).await;
    must(&world, "d3", "web-3", drain("web-3")).await;
    assert_eq!(promises(&world), [Promise::S1, Promise::S1]);
}

#[tokio::test(start_paused = true)]
async fn draining_the_server_that_is_down_already_breaks_nothing() {
    let world = world(16);
    world.goes_down(&host("web-1"));
    seconds(600).await;
    must(&world, "d1", "web-1", drain("web-1")).await;
    assert_eq!(promises(&world), []);
}

#[tokio::test(start_paused = true)]
async fn installing_on_a_host_in_rotation_breaks_the_third_promise() {
    let world = world(17);
    must(&world, "i", "web-1", install("2")).await;
    assert_eq!(promises(&world), [Promise::S3]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_a_reload_undid_is_known_after_a_moment() {
    for (wait_ms, expected) in [(100, vec![]), (5_000, vec![Promise::S3])] {
        let world = world(17);
        must(&world, "d", "web-1", drain("web-1")).await;
        world.reloads(&host("lb-2"));
        sleep(Duration::from_millis(wait_ms)).await;
        must(&world, "i", "web-1", install("2")).await;
        assert_eq!(promises(&world), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_job_on_a_busy_host_and_a_second_install_of_a_version_break_the_seventh_promise() {
    let world = world(18);
    must(&world, "d", "web-1", drain("web-1")).await;
    let (first, second) = tokio::join!(
        act(&world, step("i1", "web-1", install("2"))),
        act(&world, step("i2", "web-1", install("2")))
    );
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(promises(&world), [Promise::S7]);
    assert_eq!(act(&world, step("i3", "web-1", install("2"))).await, Ok(Outcome::AlreadyDone));
    assert_eq!(promises(&world), [Promise::S7, Promise::S7]);
    must(&world, "i4", "web-1", install("1")).await;
    must(&world, "i5", "web-1", install("2")).await;
    assert_eq!(promises(&world).len(), 2, "back and forth again is no repetition");
}

#[tokio::test(start_paused = true)]
async fn making_ready_what_a_person_drained_breaks_the_twelfth_promise() {
    let world = world(19);
    world.person_sets(&row("lb-2", "web-1"), Admin::Drain);
    seconds(60).await;
    must(&world, "r", "web-1", ready("web-1")).await;
    assert_eq!(promises(&world), [Promise::S12]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_by_a_person_during_ours_cannot_be_told_apart_and_counts_as_ours() {
    let world = world(19);
    must(&world, "c", "web-1", claim()).await;
    world.person_sets(&row("lb-2", "web-1"), Admin::Drain);
    must(&world, "d", "web-1", drain("web-1")).await;
    must(&world, "r", "web-1", ready("web-1")).await;
    assert_eq!(promises(&world), []);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_on_a_host_without_our_own_mark() {
    let world = world(1);
    let refused = async |step: &Step| {
        let result = world.act(step, &CancellationToken::new()).await;
        result.err().map(|failure| failure.kind)
    };
    let bare = step("i1", "web-1", install("2"));
    assert_eq!(refused(&bare).await, Some(FailureKind::Superseded));
    let claim = Action::Claim { found: Default::default() };
    assert_eq!(refused(&step("c1", "web-1", claim)).await, None);
    let of_a_later_life = Step { generation: Generation(2), ..step("i2", "web-1", install("2")) };
    assert_eq!(refused(&of_a_later_life).await, Some(FailureKind::Superseded), "it has not claimed yet");
    must(&world, "d1", "web-1", drain("web-1")).await;
    assert_eq!(refused(&bare).await, None);
}
