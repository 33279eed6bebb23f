//! Rotation: floors, budgets, the canary's share, and what is done out of it only.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use model::*;

use crate::breaks;
use crate::fleet::version;
use crate::keeps;
use crate::scene::Scene;

fn rows(name: &str) -> BTreeSet<RowId> {
    let row = |node: &str| RowId { node: node.into(), backend: "web".into(), server: name.into() };
    [row("fe-01"), row("fe-02")].into()
}

/// Takes servers out of rotation on one node, so that only so many are left of twenty.
fn leave(scene: &mut Scene, left: usize) {
    for n in left + 1..=20 {
        scene.row("fe-02", &format!("web-{n:02}")).status = "DOWN".into();
    }
}

#[test]
fn an_install_or_activation_in_rotation_is_found() {
    for kind in [ActionKind::Install, ActionKind::Activate] {
        let mut scene = Scene::plain().until(kind, "web-01");
        let seen = scene.row("fe-02", "web-01");
        (seen.admin, seen.status) = (Admin::Ready, "UP".into());
        breaks(&scene, "S3", "while web/web-01 on fe-02 is in rotation");
        let given_back = RowId { node: "fe-02".into(), backend: "web".into(), server: "web-01".into() };
        scene.host("web-01").claim.as_mut().unwrap().found = [given_back].into();
        breaks(&scene, "S3", "while web/web-01 on fe-02 is in rotation");
        let reason = "CVE-2026-0001".into();
        scene.desired.exceptions.emergency = Some(Emergency { version: version("1.1"), reason });
        keeps(&scene);
        scene.step(kind).version = version("1.0");
        let on_the_way_back = scene.findings();
        assert!(on_the_way_back.iter().any(|finding| finding.starts_with("S3: ")), "{on_the_way_back:?}");
    }
}

#[test]
fn of_a_host_that_left_alone_a_row_that_leads_to_another_one_may_serve() {
    let serves = |scene: &mut Scene, address: Option<&str>| {
        let seen = scene.row("fe-02", "web-01");
        (seen.admin, seen.status) = (Admin::Ready, "UP".into());
        address.into_iter().for_each(|address| seen.address = address.into());
    };
    let mut scene = Scene::web_01_left(ActionKind::Activate);
    serves(&mut scene, None);
    breaks(&scene, "S3", "while web/web-01 on fe-02 is in rotation");
    serves(&mut scene, Some("192.0.2.9"));
    keeps(&scene);
    let mut stays = Scene::plain().until(ActionKind::Activate, "web-01");
    serves(&mut stays, Some("192.0.2.9"));
    breaks(&stays, "S3", "while web/web-01 on fe-02 is in rotation");
}

#[test]
fn an_install_on_rows_that_were_read_before_our_mark_is_found() {
    let mut scene = Scene::plain().until(ActionKind::Install, "web-01");
    let now = scene.now;
    scene.history.claims.get_mut("web-01").unwrap().at = now;
    keeps(&scene);
    scene.history.claims.get_mut("web-01").unwrap().at = now + SignedDuration::from_millis(1);
    breaks(&scene, "S3", "on a reading of web/web-01 on fe-01 from before its mark");
}

#[test]
fn drains_below_the_floor_of_one_node_are_found() {
    let mut scene = Scene::plain().until(ActionKind::Drain, "web-01");
    assert_eq!(scene.plan.steps.len(), 2, "both hosts of the budget");
    leave(&mut scene, 20);
    keeps(&scene);
    leave(&mut scene, 19);
    breaks(&scene, "S1", "leaves 17 servers of main in fe/web on fe-02, the floor is 18");
}

#[test]
fn a_drain_under_way_counts_beside_those_of_the_plan() {
    let mut scene = Scene::plain().until(ActionKind::Drain, "web-01");
    let mut under_way = scene.plan.steps[0].clone();
    (under_way.id, under_way.host) = ("another".into(), "web-09".into());
    under_way.action = Action::Drain { rows: rows("web-09") };
    scene.history.in_flight.insert(under_way.id.clone(), InFlight { step: under_way, since: scene.now });
    breaks(&scene, "S1", "the floor is 18");
}

#[test]
fn an_emergency_has_a_budget_of_its_own() {
    let mut scene = Scene::plain().until(ActionKind::Drain, "web-01");
    leave(&mut scene, 12);
    let reason = "CVE-2026-0001".into();
    scene.desired.exceptions.emergency = Some(Emergency { version: version("1.1"), reason });
    keeps(&scene);
    leave(&mut scene, 11);
    breaks(&scene, "S1", "the floor is 10");
}

#[test]
fn a_host_that_is_declared_out_counts_until_it_is_drained() {
    let mut scene = Scene::plain().until(ActionKind::Drain, "web-01");
    leave(&mut scene, 19);
    let what = OutTarget::Host("web-20".into());
    scene.desired.exceptions.outs.push(Out { what, reason: "disk".into(), until: None });
    // It serves on the other node: 19 stay configured only when it does not.
    breaks(&scene, "S1", "the floor is 18");
    scene.row("fe-01", "web-20").status = "DOWN".into();
    breaks(&scene, "S1", "the floor is 18");
    scene.desired.fleet.backend_limit = Limit::Count(2);
    keeps(&scene);
}

#[test]
fn the_last_server_goes_only_where_an_outage_is_allowed() {
    let mut scene = Scene::plain().until(ActionKind::Drain, "web-01");
    scene.desired.fleet.backend_limit = Limit::Percent(100);
    leave(&mut scene, 2);
    breaks(&scene, "S1", "leaves no server");
    scene.desired.fleet.roles[1].allow_outage = true;
    keeps(&scene);
}

#[test]
fn more_hosts_than_the_budget_are_found() {
    let mut scene = Scene::plain().until(ActionKind::Claim, "web-01");
    let mut third = scene.step(ActionKind::Claim).clone();
    (third.id, third.host) = ("another".into(), "web-03".into());
    scene.plan.steps.push(third);
    breaks(&scene, "S1", "takes role web to 3 hosts out of 2");
    scene.host("web-03").health = HealthState::Unhealthy("503".into());
    keeps(&scene);
}

#[test]
fn weights_above_the_share_are_found() {
    let mut scene = Scene::canary().until(ActionKind::Weigh, "fe-01");
    let heavier = |scene: &mut Scene, to: u32| {
        let Action::Weigh { weights } = &mut scene.step(ActionKind::Weigh).action else { panic!() };
        weights.values_mut().for_each(|weight| *weight = to);
    };
    heavier(&mut scene, 11);
    breaks(&scene, "S2", "gives the canary more than 5 % of fe/web");
    scene.desired.canary.as_mut().unwrap().weight = 90;
    heavier(&mut scene, 101);
    breaks(&scene, "S2", "weigh more than a main server");
    heavier(&mut scene, 0);
    keeps(&scene);
}

#[test]
fn a_share_of_a_canary_that_is_being_deployed_is_found() {
    let mut scene = Scene::canary().until(ActionKind::Weigh, "fe-01");
    let (packages, services) = (BTreeMap::new(), Vec::new());
    let install = Action::Install { packages: packages.clone(), prepare: Vec::new(), configure: Vec::new() };
    let activate = Action::Activate { services, packages, stamp: version("1.1") };
    for (action, is_found) in [(Action::Release, false), (install, true), (activate, true)] {
        let mut step = scene.step(ActionKind::Weigh).clone();
        (step.host, step.action) = ("web-cny-02".into(), action);
        let flying = InFlight { step, since: scene.now };
        scene.history.in_flight.insert(StepId::new("under-way"), flying);
        let found = scene.findings().join("; ");
        let says = "gives web-cny-02 a part of fe/web while it is being deployed";
        assert_eq!(found.contains(says), is_found, "{found}");
    }
}

#[test]
fn a_share_beside_a_canary_that_is_declared_out_and_serves_still_is_found() {
    let mut scene = Scene::canary().until(ActionKind::Weigh, "fe-01");
    let Action::Weigh { weights } = &mut scene.step(ActionKind::Weigh).action else { panic!() };
    weights.retain(|row, _| row.server.as_str() != "web-cny-02");
    weights.values_mut().for_each(|weight| *weight = 15);
    scene.row("fe-01", "web-cny-02").weight = 15;
    let what = OutTarget::Host("web-cny-02".into());
    scene.desired.exceptions.outs.push(Out { what, reason: "disk replaced".into(), until: None });
    breaks(&scene, "S2", "gives the canary more than 5 % of fe/web");
    scene.row("fe-01", "web-cny-02").admin = Admin::Drain;
    keeps(&scene);
}
