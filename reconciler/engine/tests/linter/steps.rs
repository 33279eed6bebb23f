//! Who a step is for, what it starts on, and that one comes at a time.

use jiff::SignedDuration;
use model::*;

use crate::fleet::version;
use crate::scene::Scene;
use crate::{breaks, keeps};

#[test]
fn a_whole_release_breaks_no_promise_from_its_first_plan_to_its_last() {
    Scene::plain().until_converged();
    Scene::canary().until_converged();
    Scene::everywhere().until_converged();
}

#[test]
fn two_steps_for_one_host_are_found() {
    let mut scene = Scene::plain().until(ActionKind::Install, "web-01");
    let mut again = scene.step(ActionKind::Install).clone();
    again.id = "another".into();
    scene.plan.steps.push(again);
    breaks(&scene, "Alone", "beside another step");
}

#[test]
fn a_step_beside_one_that_is_under_way_is_found() {
    let mut scene = Scene::plain().until(ActionKind::Install, "web-01");
    let mut first = scene.step(ActionKind::Install).clone();
    first.id = "the first".into();
    scene.history.in_flight.insert(first.id.clone(), InFlight { step: first, since: scene.now });
    breaks(&scene, "Alone", "beside another step");
}

#[test]
fn a_name_that_was_given_already_is_found() {
    let mut scene = Scene::plain().until(ActionKind::Drain, "web-01");
    let id = scene.plan.steps[0].id.clone();
    scene.plan.steps[1].id = id;
    breaks(&scene, "S7", "the name of another step");
}

#[test]
fn a_step_on_facts_from_before_the_last_action_is_found() {
    let mut scene = Scene::plain().until(ActionKind::Install, "web-01");
    let later = scene.now + SignedDuration::from_millis(1);
    scene.history.last_action.insert("web-01".into(), later);
    breaks(&scene, "Facts", "not read after the last action");
}

#[test]
fn a_step_on_a_host_that_was_never_seen_or_long_ago_is_found() {
    let mut scene = Scene::plain().until(ActionKind::Download, "web-01");
    let fact = scene.observed.hosts.get_mut("web-01").unwrap();
    fact.at -= SignedDuration::from_secs(61);
    breaks(&scene, "Facts", "read too long ago");
    scene.observed.hosts.remove("web-01");
    breaks(&scene, "Facts", "never looked at");
}

#[test]
fn a_host_is_begun_and_drained_on_a_fresh_look_at_its_load_balancers_only() {
    for kind in [ActionKind::Claim, ActionKind::Drain] {
        let mut scene = Scene::plain().until(kind, "web-01");
        scene.observed.nodes.get_mut("fe-02").unwrap().at -= SignedDuration::from_secs(4);
        breaks(&scene, "Facts", "load balancer fe-02, which was read too long ago");
    }
}

#[test]
fn a_step_of_another_commit_or_generation_is_found() {
    let mut scene = Scene::plain();
    keeps(&scene);
    scene.plan.steps[0].commit = "c0ffee".into();
    breaks(&scene, "S10", "another commit");
    scene.replan();
    scene.plan.steps[0].generation = Generation(7);
    breaks(&scene, "S6", "another generation");
}

#[test]
fn a_step_on_a_host_that_the_fleet_does_not_have_is_found() {
    let mut scene = Scene::plain();
    scene.desired.fleet.roles[1].hosts.retain(|host| host.as_str() != "web-07");
    breaks(&scene, "S10", "does not know");
}

#[test]
fn an_install_of_what_nobody_wants_is_found() {
    let mut scene = Scene::plain().until(ActionKind::Install, "web-01");
    let Action::Install { packages, .. } = &mut scene.step(ActionKind::Install).action else { panic!() };
    packages.insert("shop".into(), version("1.2"));
    breaks(&scene, "S10", "something else than 1.1");
    scene.step(ActionKind::Install).version = version("1.2");
    breaks(&scene, "S10", "brings 1.2, which nobody wants");
}

#[test]
fn steps_of_a_fleet_that_is_only_reported_on_say_so() {
    let mut scene = Scene::plain();
    scene.desired.fleet.mode = Mode::Report;
    scene.replan();
    keeps(&scene);
    scene.plan.waiting.clear();
    breaks(&scene, "S11", "no word");
}

#[test]
fn nothing_acts_on_a_fleet_that_nobody_has_adopted() {
    let mut scene = Scene::plain();
    (scene.history.progress.adopted, scene.history.steps) = (None, 0);
    breaks(&scene, "S7", "nobody has adopted");
    scene.replan();
    keeps(&scene);
}

#[test]
fn a_plan_that_nobody_comes_back_to_is_found() {
    let mut scene = Scene::plain();
    scene.plan.steps.clear();
    scene.plan.records.clear();
    scene.plan.waiting.clear();
    scene.plan.observe.clear();
    keeps(&scene);
    scene.plan.wake = None;
    scene.plan.due.clear();
    breaks(&scene, "Liveness", "nothing is waited for");
}

#[test]
fn a_time_to_wake_that_is_over_is_found() {
    let mut scene = Scene::plain();
    scene.plan.wake = Some(scene.now);
    breaks(&scene, "Liveness", "a time that is over");
}
