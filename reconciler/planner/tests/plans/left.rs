//! What is told and done where a host is out no more, or has left the fleet.

#![allow(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use jiff::SignedDuration;
use model::*;
use planner::plan;

use crate::departing::{on, out};
use crate::fleet::{claim, desired, history, host, leaves, lose_row, observed, row, start, version};

fn web_01_on(node: &str) -> RowId {
    RowId { node: node.into(), backend: "web".into(), server: "web-01".into() }
}

fn retired(nodes: &[&str]) -> TakenOut {
    let rows = nodes.iter().map(|node| (web_01_on(node), TakenOutBy::Retire)).collect();
    [("web-01".into(), rows)].into_iter().collect()
}

/// Of web-01, where it is told that something is no longer as we left it.
fn told_undone(planned: &Plan) -> Vec<RowId> {
    let undone = planned.records.iter().filter_map(|event| match event {
        Event::Undone { rows, .. } => Some(rows.iter().cloned()),
        _ => None,
    });
    undone.flatten().collect()
}

#[test]
fn what_a_reload_undid_is_told_also_of_a_host_that_is_out_no_more_and_cannot_be_seen() {
    let desired = desired(4, "1.0", &["1.0"]);
    let (mut seen, mut memory) = (observed(&desired, "1.0"), history());
    memory.taken_out = retired(&["fe-01"]);
    memory.claims.insert("web-01".into(), claim());
    let gone = Unknown { kind: UnknownKind::Unreachable, detail: "no route".into() };
    seen.hosts.insert("web-01".into(), Fact { at: start(), value: Err(gone) });
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(told_undone(&planned), [web_01_on("fe-01")]);
    memory.marked.insert("web-01".into());
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(told_undone(&planned), [], "it may carry our mark, and be ours to move");
}

#[test]
fn maintenance_by_somebody_is_told_beside_a_node_where_the_host_is_drained_again() {
    let mut desired = desired(4, "1.0", &["1.0"]);
    desired.exceptions.outs = vec![out("web-01")];
    let (mut seen, mut memory) = (observed(&desired, "1.0"), history());
    memory.taken_out = retired(&["fe-01", "fe-02"]);
    let theirs = row(&mut seen, "fe-02", "web-01");
    (theirs.admin, theirs.status) = (Admin::Maint, "MAINT".into());
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(on(&planned, "web-01")[0].action.rows(), Some(&[web_01_on("fe-01")].into()));
    assert_eq!(told_undone(&planned), [web_01_on("fe-02")]);
    memory.apply(start(), &Event::StepStarted { step: on(&planned, "web-01")[0].clone() }).unwrap();
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(told_undone(&planned), [web_01_on("fe-02")], "while that is under way");
}

/// web-01 has left the fleet with our mark on it.
fn web_01_has_left(desired: &mut Desired, seen: &mut Observed) -> History {
    let web = leaves(desired, "web-01");
    let mut memory = history();
    memory.apply(start(), &Event::Departed { environment: "production".into(), roles: vec![web] }).unwrap();
    host(seen, "web-01").claim = Some(claim());
    memory
}

#[test]
fn a_host_that_left_the_fleet_is_let_go_where_its_rows_are_gone_or_lead_to_another_one() {
    let mut desired = desired(4, "1.0", &["1.0"]);
    let mut seen = observed(&desired, "1.0");
    let mut memory = web_01_has_left(&mut desired, &mut seen);
    let begins = |seen: &Observed, memory: &History| {
        let planned = plan(&desired, seen, memory, start());
        on(&planned, "web-01").first().map(|step| step.action.kind())
    };
    lose_row(&mut seen, "fe-01", "web-01");
    assert_eq!(begins(&seen, &memory), Some(ActionKind::Release));
    row(&mut seen, "fe-02", "web-01").address = "192.0.2.9".into();
    assert_eq!(begins(&seen, &memory), Some(ActionKind::Release));
    // What we keep out there is to be seen to.
    row(&mut seen, "fe-02", "web-01").admin = Admin::Drain;
    memory.taken_out = retired(&["fe-02"]);
    assert_eq!(begins(&seen, &memory), None);
}

#[test]
fn a_host_that_left_the_fleet_before_anything_was_installed_is_let_go() {
    let mut desired = desired(4, "1.0", &["1.0"]);
    let mut seen = observed(&desired, "1.0");
    let mut memory = web_01_has_left(&mut desired, &mut seen);
    host(&mut seen, "web-01").packages.clear();
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(on(&planned, "web-01")[0].action, Action::Release);
    // What has no package is made ready nowhere.
    memory.taken_out = retired(&["fe-01"]);
    row(&mut seen, "fe-01", "web-01").admin = Admin::Drain;
    let planned = plan(&desired, &seen, &memory, start());
    assert!(on(&planned, "web-01").is_empty());
    let told = |waiting: &Waiting| matches!(waiting.reason, Reason::Unhealthy { .. });
    assert!(planned.waiting.iter().any(told), "{:?}", planned.waiting);
    // Where its rows have gone as well, nothing of ours is out; that is to be seen after what we did.
    lose_row(&mut seen, "fe-01", "web-01");
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(on(&planned, "web-01")[0].action, Action::Release);
    memory.last_action.insert("fe-01".into(), start() + SignedDuration::from_secs(1));
    let later = start() + SignedDuration::from_secs(2);
    let planned = plan(&desired, &seen, &memory, later);
    assert!(on(&planned, "web-01").is_empty(), "{:?}", planned.waiting);
    desired.exceptions.outs =
        vec![Out { what: OutTarget::LoadBalancerNode("fe-01".into()), ..out("web-01") }];
    let planned = plan(&desired, &seen, &memory, later);
    assert!(on(&planned, "web-01").is_empty(), "also on a node that is declared out: {:?}", planned.waiting);
}

#[test]
fn a_host_that_left_in_the_middle_of_its_upgrade_is_brought_on_where_its_rows_are_gone_or_lead_to_another_one()
 {
    let mut desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.1");
    let mut memory = web_01_has_left(&mut desired, &mut seen);
    host(&mut seen, "web-01")
        .services
        .values_mut()
        .for_each(|service| service.stamped = Some(version("1.0")));
    lose_row(&mut seen, "fe-01", "web-01");
    row(&mut seen, "fe-02", "web-01").address = "192.0.2.9".into();
    memory.drained.insert("web-01".into(), start() - SignedDuration::from_secs(30));
    let planned = plan(&desired, &seen, &memory, start());
    let begun: Vec<ActionKind> = on(&planned, "web-01").iter().map(|step| step.action.kind()).collect();
    assert_eq!(begun, [ActionKind::Activate], "another host's row is not drained: {:?}", planned.waiting);
}

#[test]
fn what_a_reload_undid_is_told_where_nothing_is_drained_again_because_git_wants_a_report_alone() {
    let mut desired = desired(4, "1.0", &["1.0"]);
    desired.exceptions.outs = vec![out("web-01")];
    let (seen, mut memory) = (observed(&desired, "1.0"), history());
    memory.taken_out = retired(&["fe-01"]);
    assert_eq!(told_undone(&plan(&desired, &seen, &memory, start())), []);
    desired.fleet.mode = Mode::Report;
    assert_eq!(told_undone(&plan(&desired, &seen, &memory, start())), [web_01_on("fe-01")]);
}
