//! What begins something new, what runs once, and the order of migrations and versions.

use jiff::SignedDuration;
use model::*;

use crate::fleet::{config_agent, start, version};
use crate::release::set_gate;
use crate::scene::{Scene, veto};
use crate::{breaks, keeps};

fn hour() -> SignedDuration {
    SignedDuration::from_hours(1)
}

fn failure() -> Failure {
    Failure { kind: FailureKind::JobFailed, what: "it failed".into(), detail: String::new() }
}

/// A canary host is about to be begun, going forward.
fn begins() -> Scene {
    Scene::canary().until(ActionKind::Claim, "web-cny-01")
}

#[test]
fn a_beginning_under_a_hold_or_a_pause_is_found() {
    let mut scene = begins();
    let hold = |scope| Hold { scope, reason: "load test".into(), until: None };
    scene.desired.exceptions.holds = vec![hold(HoldScope::Main)];
    keeps(&scene);
    scene.desired.exceptions.holds = vec![hold(HoldScope::Canary)];
    breaks(&scene, "S9", "under a hold: load test");
    scene.desired.exceptions.holds.clear();
    let pause = Pause { by: "ada".into(), reason: "lunch".into(), at: start(), until: scene.now + hour() };
    scene.history.progress.pause = Some(pause);
    breaks(&scene, "S9", "in a pause: lunch");
}

#[test]
fn a_beginning_with_a_vetoed_version_is_found() {
    let mut scene = begins();
    scene.desired.exceptions.vetoes.push(veto("1.0"));
    keeps(&scene);
    scene.desired.exceptions.vetoes.push(veto("1.1"));
    breaks(&scene, "S5", "begins with 1.1, which is vetoed");
}

#[test]
fn an_install_of_a_vetoed_version_is_found_unless_it_is_there_half_way() {
    let mut scene = Scene::canary().until(ActionKind::Install, "web-cny-01");
    scene.desired.exceptions.vetoes.push(veto("1.1"));
    breaks(&scene, "S5", "brings 1.1, which is vetoed");
    for name in ["web-cny-01", "web-cny-02"] {
        let package = scene.host(name).packages.get_mut("shop").unwrap();
        (package.version, package.installed) = (version("1.1"), false);
    }
    keeps(&scene);
}

/// The release was left, and is a target again since a moment ago.
fn comes_back(scene: &mut Scene) {
    scene.history.accepted = None;
    let later = scene.now + SignedDuration::from_millis(1);
    scene.history.apply(later, &Event::accepted(&scene.desired)).unwrap();
}

/// A freeze that is on.
fn the_sale() -> Freeze {
    let moment = |text: &str| Moment::Once(text.parse().unwrap());
    let (from, to) = (moment("2026-11-01T00:00:00"), moment("2026-12-24T00:00:00"));
    let in_flight = InFlightAtFreeze::FinishHost;
    Freeze { reason: "the sale".into(), from, to, zone: "UTC".into(), in_flight }
}

#[test]
fn a_beginning_in_a_freeze_is_found_going_forward_and_without_an_emergency() {
    let mut scene = begins();
    scene.desired.fleet.policy.freezes.push(the_sale());
    breaks(&scene, "S9", "in a freeze: the sale");
    scene.desired.fleet.policy.freezes[0].in_flight = InFlightAtFreeze::FinishStage;
    keeps(&scene);
    let open = scene.history.progress.runs.clone();
    scene.history.progress.runs.values_mut().for_each(|run| run.passed = Some(scene.now));
    breaks(&scene, "S9", "in a freeze: the sale");
    scene.history.progress.runs = open;
    let accepted = scene.history.accepted.clone();
    comes_back(&mut scene);
    breaks(&scene, "S9", "in a freeze: the sale");
    scene.history.accepted = accepted;
    scene.desired.fleet.policy.freezes[0].in_flight = InFlightAtFreeze::FinishHost;
    let reason = "CVE-2026-0001".into();
    scene.desired.exceptions.emergency = Some(Emergency { version: version("1.1"), reason });
    keeps(&scene);
}

#[test]
fn a_migration_that_its_host_remembers_is_found_again_in_a_freeze() {
    let mut scene = Scene::canary().until(ActionKind::Migrate, "deploy-01");
    scene.desired.fleet.policy.freezes.push(the_sale());
    breaks(&scene, "S9", "in a freeze: the sale");
    let job = scene.step(ActionKind::Migrate).action.job().map(|(name, _)| name.clone()).unwrap();
    scene.host("deploy-01").jobs.insert(job, 0);
    keeps(&scene);
}

#[test]
fn a_beginning_while_a_gate_of_its_stage_is_not_green_is_found() {
    let mut scene = begins();
    let now = scene.now;
    let mut say = |verdict, since, at| {
        set_gate(&mut scene.observed, verdict, since);
        scene.observed.gates.get_mut("alerts").unwrap().at = at;
        scene.findings().join("; ")
    };
    assert_eq!(say(Verdict::Green, now - hour(), now), "");
    assert!(
        say(Verdict::Red, now - hour(), now)
            .contains("S9: claim of web-cny-01 begins while gate alerts is not green")
    );
    assert!(say(Verdict::NoData, now - hour(), now).contains("is not green"));
    assert!(say(Verdict::Green, now - SignedDuration::from_mins(9), now).contains("for long enough"));
    assert!(say(Verdict::Green, now - hour(), now - SignedDuration::from_secs(61)).contains("too long ago"));
}

#[test]
fn the_agent_is_told_again_what_everything_runs_whatever_a_gate_says_and_nothing_else() {
    let mut desired = crate::release::desired("1.0", "1.0", &["1.0", "1.1"]);
    desired.fleet.policy.config_agent = Some(config_agent(Some(&["pin"])));
    let mut observed = crate::release::observed(&desired, "1.0");
    set_gate(&mut observed, Verdict::Red, start());
    let mut history = crate::release::history(&["1.0"]);
    history.progress.pinned.insert(Track::Main, version("1.1"));
    let mut scene = Scene::of(desired, observed, history).until(ActionKind::Pin, "deploy-01");
    keeps(&scene);
    // A service that somebody stopped beside one that still runs an earlier version is left so.
    scene.desired.ranks.insert(0, version("0.9"));
    let earlier = |service: &mut ServiceState| service.stamped = Some(version("0.9"));
    scene.host("web-01").services.values_mut().for_each(earlier);
    keeps(&scene);
    let mark = scene.host("deploy-01").claim.clone();
    scene.host("web-01").claim = mark;
    breaks(&scene, "S9", "pin of deploy-01 begins while gate alerts is not green");
    scene.host("web-01").claim = None;
    scene.host("web-01").packages.values_mut().for_each(|package| package.version = version("0.9"));
    breaks(&scene, "S9", "pin of deploy-01 begins while gate alerts is not green");
}

#[test]
fn a_stage_that_passes_although_a_host_was_deployed_after_its_work_is_found() {
    let is_it =
        |event: &Event| matches!(event, Event::StagePassed { stage, .. } if stage.as_str() == "canary fleet");
    let mut scene = Scene::canary().until_recorded(is_it);
    keeps(&scene);
    let activated = history::Activated { version: version("1.1"), at: scene.now, times: 1 };
    scene.history.activated.insert("web-cny-01".into(), activated);
    breaks(&scene, "S8", "web-cny-01 was deployed after its work was done");
}

#[test]
fn going_back_needs_no_gate_and_stops_at_a_point_of_no_return() {
    let mut scene = Scene::everywhere().until(ActionKind::Claim, "web-cny-01");
    for track in &mut scene.plan.tracks {
        track.direction = Direction::Back;
    }
    set_gate(&mut scene.observed, Verdict::Red, start());
    keeps(&scene);
    scene.desired.ranks.push(version("1.2"));
    scene.history.progress.found_final.insert(version("1.2"));
    breaks(&scene, "S9", "past the post-deployment migrations of 1.2");
    let past_post_migrations_of = version("1.2");
    scene.desired.exceptions.allow = Some(Allow { past_post_migrations_of, reason: "restored".into() });
    keeps(&scene);
    // What git knows no more lies where the journal saw it, and a new version below it leads back past it by a person's word.
    scene.desired.exceptions.allow = None;
    scene.desired.ranks = ["1.1", "1.3"].map(version).into();
    scene.history.progress.appeared = ["1.1", "1.2"].map(version).into();
    breaks(&scene, "S9", "past the post-deployment migrations of 1.2");
    scene.history.progress.appeared = ["1.2", "1.1"].map(version).into();
    keeps(&scene);
    scene.desired.ranks = ["1.2", "1.1"].map(version).into();
    breaks(&scene, "S9", "past the post-deployment migrations of 1.2");
}

#[test]
fn a_beginning_after_a_failed_check_is_found() {
    let mut scene = begins();
    let kind = JobKind::Check { stage: "migrations".into(), check: "qa".into() };
    let state = JobState::Failed { at: start(), failure: failure() };
    let key = JobKey { kind, version: version("1.1") };
    scene.history.progress.jobs.insert(key, JobRecord { attempt: 1, state, began: None, host: None });
    breaks(&scene, "S9", "check qa after stage migrations of 1.1 has failed");
}

#[test]
fn a_stage_that_passes_too_early_is_found() {
    let is_it =
        |event: &Event| matches!(event, Event::StagePassed { stage, .. } if stage.as_str() == "canary fleet");
    let mut scene = Scene::canary().until_recorded(is_it);
    let worked = scene.history.progress.runs["canary fleet"].worked.unwrap();
    let run = |scene: &mut Scene, worked| {
        scene.history.progress.runs.get_mut("canary fleet").unwrap().worked = worked;
    };
    run(&mut scene, Some(worked + SignedDuration::from_mins(1)));
    breaks(&scene, "S8", "stage canary fleet would pass with 1.1 before its soak is over");
    run(&mut scene, None);
    breaks(&scene, "S8", "before its work is done");
    run(&mut scene, Some(worked));
    let accepted = scene.history.accepted.clone();
    comes_back(&mut scene);
    breaks(&scene, "S8", "before its work is done");
    scene.history.accepted = accepted;
    scene.desired.fleet.policy.gates.get_mut("alerts").unwrap().settle = hour();
    breaks(&scene, "S8", "was asked before what it judges has settled");
    scene.desired.fleet.policy.gates.get_mut("alerts").unwrap().settle = SignedDuration::ZERO;
    scene.desired.fleet.policy.stages[1].checks.push("qa".into());
    breaks(&scene, "S9", "would pass with 1.1 without check qa");
}

#[test]
fn what_ran_once_does_not_run_again() {
    let mut scene = Scene::canary().until(ActionKind::Migrate, "deploy-01");
    let key = JobKey { kind: JobKind::PreMigration, version: version("1.1") };
    let mut remembers = |attempt, state| {
        scene
            .history
            .progress
            .jobs
            .insert(key.clone(), JobRecord { attempt, state, began: None, host: None });
        scene.findings().join("; ")
    };
    let at = start();
    assert_eq!(remembers(1, JobState::Wanted), "");
    assert_eq!(remembers(1, JobState::Begun { at }), "", "it is found again by its name");
    assert!(
        remembers(1, JobState::Passed { at, output: String::new() })
            .contains("S7: migrate of deploy-01 runs")
    );
    assert!(remembers(1, JobState::Failed { at, failure: failure() }).contains("without a person's word"));
    assert!(remembers(2, JobState::Wanted).contains("under a name that is not its own"));
}

#[test]
fn an_install_before_its_migrations_is_found() {
    let mut scene = Scene::canary().until(ActionKind::Install, "web-cny-01");
    scene.history.progress.jobs.clear();
    breaks(&scene, "S4", "comes before the migrations of 1.1");
}

#[test]
fn post_deployment_migrations_wait_for_every_host_that_counts() {
    let is_post = |scene: &Scene| {
        let steps = scene.plan.steps.iter();
        steps.filter_map(|step| step.action.job()).any(|(_, key)| key.kind == JobKind::PostMigration)
    };
    let mut scene = Scene::everywhere().until_recorded(|event| {
        matches!(event, Event::StageBegan { stage, .. } if stage.as_str() == "post-deployment migrations")
    });
    while !is_post(&scene) {
        scene = scene.next();
    }
    let read_at = scene.observed.hosts["web-03"].at;
    scene.history.last_action.insert("deploy-01".into(), read_at);
    keeps(&scene);
    scene.observed.hosts.get_mut("web-03").unwrap().at = read_at - SignedDuration::from_millis(1);
    breaks(&scene, "S4", "goes by what web-03 ran before all else was ready");
    scene.history.last_action.remove("deploy-01");
    let a_moment_ago = scene.now - SignedDuration::from_secs(3);
    scene.observed.hosts.get_mut("web-03").unwrap().at = a_moment_ago;
    keeps(&scene);
    scene.observed.hosts.get_mut("web-03").unwrap().at = a_moment_ago - SignedDuration::from_millis(1);
    breaks(&scene, "S4", "goes by what web-03 ran some time ago");
    scene.observed.hosts.get_mut("web-03").unwrap().at = read_at;
    let there = scene.host("web-03").clone();
    // An install that failed half-way: dpkg tells the new version, the services run the old one.
    for (stamped, after_unpack, is_found) in [
        (Some("1.1"), false, false),
        (Some("1.0"), false, true),
        (Some("1.0"), true, true),
        (Some("0.9-unheard-of"), true, false),
        (None, true, false),
        (None, false, true),
    ] {
        let service = scene.host("web-03").services.values_mut().next().unwrap();
        service.stamped = stamped.map(version);
        service.started_after_unpack = Some(after_unpack);
        assert_eq!(scene.findings().is_empty(), !is_found, "stamped {stamped:?}, {after_unpack}");
    }
    *scene.host("web-03") = there;
    scene.host("web-03").packages.get_mut("shop").unwrap().version = version("1.0");
    breaks(&scene, "S4", "leaves web-03 behind");
    let key = JobKey { kind: JobKind::PostMigration, version: version("1.1") };
    for (state, is_found) in [(JobState::Wanted, true), (JobState::Begun { at: scene.now }, false)] {
        scene
            .history
            .progress
            .jobs
            .insert(key.clone(), JobRecord { attempt: 1, state, began: None, host: None });
        assert_eq!(scene.findings().is_empty(), !is_found, "one that was begun is only found again");
    }
    scene.history.progress.jobs.remove(&key);
    let what = OutTarget::Host("web-03".into());
    scene.desired.exceptions.outs.push(Out { what, reason: "disk".into(), until: None });
    keeps(&scene);
    let canary = CanaryTarget { version: version("1.0"), weight: 0, ramp: Vec::new() };
    scene.desired.canary = Some(canary);
    breaks(&scene, "S4", "bars web-cny-01 from what it is to go back to");
}
