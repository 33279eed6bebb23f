//! Our mark, other people's doings, and who may go back into rotation.

use model::*;

use crate::fleet::{config_agent, version};
use crate::scene::Scene;
use crate::{breaks, keeps};

fn row(node: &str, server: &str) -> RowId {
    RowId { node: node.into(), backend: "web".into(), server: server.into() }
}

#[test]
fn a_change_without_our_mark_of_this_generation_is_found() {
    let mut scene = Scene::plain().until(ActionKind::Install, "web-01");
    let mark = scene.host("web-01").claim.take();
    breaks(&scene, "S6", "needs our mark");
    scene.host("web-01").claim = mark.clone().map(|mark| Claim { generation: Generation(0), ..mark });
    breaks(&scene, "S6", "needs our mark");
    scene.host("web-01").claim = mark.map(|mark| Claim { service: "another".into(), ..mark });
    breaks(&scene, "S6", "of service another");
}

#[test]
fn a_change_beside_a_job_of_ours_is_found() {
    let mut scene = Scene::plain().until(ActionKind::Activate, "web-01");
    scene.host("web-01").job = Some("g1-5-web-01-install".into());
    breaks(&scene, "S7", "beside job g1-5-web-01-install");
}

#[test]
fn rows_that_somebody_else_took_out_are_not_put_back() {
    let mut scene = Scene::plain().until(ActionKind::Ready, "web-01");
    scene.host("web-01").claim.as_mut().unwrap().found = [row("fe-02", "web-01")].into();
    breaks(&scene, "S12", "moves web/web-01 on fe-02, which somebody else has taken out");
}

#[test]
fn rows_of_another_host_are_not_touched() {
    let mut scene = Scene::plain().until(ActionKind::Ready, "web-01");
    let Action::Ready { rows, .. } = &mut scene.step(ActionKind::Ready).action else { panic!() };
    rows.insert(row("fe-01", "web-09"));
    breaks(&scene, "S12", "touches web/web-09 on fe-01, which is not the host's");
}

#[test]
fn a_claim_that_forgets_what_others_took_out_is_found() {
    let mut scene = Scene::plain().until(ActionKind::Claim, "web-01");
    scene.row("fe-02", "web-01").admin = Admin::Drain;
    breaks(&scene, "S12", "forgets that somebody else has taken web/web-01 on fe-02 out");
    let Action::Claim { found } = &mut scene.step(ActionKind::Claim).action else { panic!() };
    found.insert(row("fe-02", "web-01"));
    keeps(&scene);
}

#[test]
fn only_a_host_that_is_well_and_runs_its_release_goes_back() {
    let mut scene = Scene::plain().until(ActionKind::Ready, "web-01");
    let well = scene.host("web-01").clone();
    scene.host("web-01").health = HealthState::Unhealthy("503".into());
    breaks(&scene, "Health", "is not well: 503");
    *scene.host("web-01") = well.clone();
    scene.host("web-01").packages.get_mut("shop").unwrap().version = version("1.0");
    breaks(&scene, "Health", "without 1.1 installed");
    *scene.host("web-01") = well;
    scene.host("web-01").services.get_mut("shop.service").unwrap().stamped = None;
    breaks(&scene, "Health", "its shop.service does not run 1.1");
}

#[test]
fn a_mark_goes_when_every_row_of_ours_is_back() {
    let mut scene = Scene::plain().until(ActionKind::Release, "web-01");
    scene.row("fe-01", "web-01").admin = Admin::Drain;
    breaks(&scene, "S12", "leaves web/web-01 on fe-01 out of rotation");
    scene.host("web-01").claim.as_mut().unwrap().found = [row("fe-01", "web-01")].into();
    keeps(&scene);
    // Its owner has given it back since, and we have taken it out.
    let retired = [(row("fe-01", "web-01"), TakenOutBy::Retire)];
    scene.history.taken_out = [("web-01".into(), retired.into())].into_iter().collect();
    breaks(&scene, "S12", "leaves web/web-01 on fe-01 out of rotation");
}

#[test]
fn of_a_host_that_left_what_leads_to_another_one_or_was_never_ours_may_stay_out() {
    let mut scene = Scene::web_01_left(ActionKind::Release);
    scene.row("fe-01", "web-01").admin = Admin::Maint;
    breaks(&scene, "S12", "leaves web/web-01 on fe-01 out of rotation");
    let bare = |scene: &mut Scene| std::mem::take(&mut scene.host("web-01").packages);
    let packages = bare(&mut scene);
    keeps(&scene);
    scene.host("web-01").packages = packages;
    scene.row("fe-01", "web-01").address = "192.0.2.9".into();
    keeps(&scene);
    // But what we took out ourselves.
    scene.row("fe-01", "web-01").admin = Admin::Drain;
    let drained = [(row("fe-01", "web-01"), TakenOutBy::Drain)];
    scene.history.taken_out = [("web-01".into(), drained.into())].into_iter().collect();
    breaks(&scene, "S12", "leaves web/web-01 on fe-01 out of rotation");
    bare(&mut scene);
    breaks(&scene, "S12", "leaves web/web-01 on fe-01 out of rotation");
}

/// A fleet with a configuration agent.
fn with_agent() -> Scene {
    let Scene { mut desired, mut observed, history, .. } = Scene::plain();
    desired.fleet.policy.config_agent = Some(config_agent(None));
    for fact in observed.hosts.values_mut() {
        let state = fact.value.as_mut().unwrap();
        state.agent = Some(AgentState { active: true, busy: false, paused_by_us: false });
    }
    Scene::of(desired, observed, history)
}

#[test]
fn a_configuration_agent_is_given_back_as_found() {
    let mut scene = with_agent().until(ActionKind::PauseAgent, "web-01");
    let agent = |scene: &mut Scene, active, paused_by_us| {
        scene.host("web-01").agent = Some(AgentState { active, busy: false, paused_by_us });
    };
    agent(&mut scene, false, false);
    breaks(&scene, "S12", "stands still already");
    let Action::PauseAgent { agent: commands } = scene.step(ActionKind::PauseAgent).action.clone() else {
        panic!()
    };
    scene.plan.steps.retain(|step| step.host.as_str() == "web-01");
    scene.plan.steps[0].action = Action::ResumeAgent { agent: commands };
    breaks(&scene, "S12", "somebody else has paused");
    scene.plan.steps[0].action = Action::Release;
    keeps(&scene);
    agent(&mut scene, false, true);
    breaks(&scene, "S12", "leaves the configuration agent paused");
}
