//! What leaves rotation beside something else, or changes its place in the fleet meanwhile.

#![allow(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::collections::BTreeSet;

use crate::fleet::{
    config_agent, desired, history, host, leaves, observed, patch, row, start, step, version, web_is_next,
};
use jiff::SignedDuration;
use model::*;
use planner::plan;

pub(crate) fn out(name: &str) -> Out {
    Out { what: OutTarget::Host(name.into()), reason: "disk replaced".into(), until: None }
}

pub(crate) fn on<'a>(plan: &'a Plan, name: &str) -> Vec<&'a Step> {
    plan.steps.iter().filter(|step| step.host.as_str() == name).collect()
}

#[test]
fn two_hosts_that_are_declared_out_at_once_leave_one_after_the_other_where_the_floor_says_so() {
    let mut desired = desired(4, "1.0", &["1.0"]);
    desired.exceptions.outs = vec![out("web-01"), out("web-02")];
    let seen = observed(&desired, "1.0");
    let mut memory = history();
    let first = plan(&desired, &seen, &memory, start());
    assert_eq!(first.steps.len(), 1, "{:?}", first.steps);
    assert_eq!(first.steps[0].action.kind(), ActionKind::Retire);
    // The first one is under way, and a reading still shows it in rotation.
    memory.apply(start(), &Event::StepStarted { step: first.steps[0].clone() }).unwrap();
    assert_eq!(plan(&desired, &seen, &memory, start()).steps, []);
}

#[test]
fn a_host_that_is_declared_out_is_drained_where_its_rows_point_to_it_and_counts_no_more() {
    let mut desired = desired(4, "1.1", &["1.0", "1.1"]);
    desired.exceptions.outs = vec![out("web-01")];
    let mut seen = observed(&desired, "1.0");
    row(&mut seen, "fe-01", "web-01").address = "192.0.2.1".into();
    let planned = plan(&desired, &seen, &history(), start());
    let retires: Vec<_> =
        planned.steps.iter().filter(|step| step.action.kind() == ActionKind::Retire).collect();
    let rows = [RowId { node: "fe-02".into(), backend: "web".into(), server: "web-01".into() }];
    assert_eq!(retires.iter().map(|step| step.action.rows()).collect::<Vec<_>>(), [Some(&rows.into())]);

    // Half of the three that count is one, of four it would be two.
    desired.fleet.backend_limit = Limit::Percent(50);
    desired.fleet.roles[1].max_unavailable = 2;
    row(&mut seen, "fe-02", "web-01").address = "192.0.2.1".into();
    web_is_next(&desired, &mut seen);
    let planned = plan(&desired, &seen, &history(), start());
    let claims: Vec<_> = planned.steps.iter().map(|step| (step.host.as_str(), step.action.kind())).collect();
    assert_eq!(claims, [("web-02", ActionKind::Claim)], "{:?}", planned.waiting);
}

#[test]
fn a_host_that_is_declared_out_leaves_where_it_can_be_seen() {
    let mut desired = desired(4, "1.0", &["1.0"]);
    desired.exceptions.outs = vec![out("web-01")];
    let mut seen = observed(&desired, "1.0");
    let gone = Unknown { kind: UnknownKind::Unreachable, detail: "no route".into() };
    seen.nodes.get_mut("fe-02").unwrap().value = Err(gone);
    let row_on = |node: &str| {
        BTreeSet::from([RowId { node: node.into(), backend: "web".into(), server: "web-01".into() }])
    };
    let planned = plan(&desired, &seen, &history(), start());
    let actions: Vec<_> = on(&planned, "web-01").iter().map(|step| step.action.clone()).collect();
    assert_eq!(actions, [Action::Retire { rows: row_on("fe-01"), found: row_on("fe-02") }]);
    // Then it is told that it may serve where nobody sees it.
    let drained = row(&mut seen, "fe-01", "web-01");
    (drained.admin, drained.status) = (Admin::Drain, "DRAIN".into());
    let planned = plan(&desired, &seen, &history(), start());
    assert_eq!(planned.steps, []);
    let told = |waiting: &Waiting| matches!(waiting.reason, Reason::NodeUnknown { .. });
    assert!(planned.waiting.iter().any(told), "{:?}", planned.waiting);
}

#[test]
fn what_a_reload_undid_and_the_floor_keeps_is_ours_no_more_once_it_was_seen() {
    let mut desired = desired(4, "1.0", &["1.0"]);
    desired.exceptions.outs = vec![out("web-01")];
    let (mut seen, mut memory) = (observed(&desired, "1.0"), history());
    let rows = ["fe-01", "fe-02"].map(|node| RowId {
        node: node.into(),
        backend: "web".into(),
        server: "web-01".into(),
    });
    let retired = rows.iter().map(|row| (row.clone(), TakenOutBy::Retire)).collect();
    memory.taken_out = [("web-01".into(), retired)].into_iter().collect();
    let drained = row(&mut seen, "fe-02", "web-01");
    (drained.admin, drained.status) = (Admin::Drain, "DRAIN".into());
    // It would be drained again at once, and no word about it.
    let planned = plan(&desired, &seen, &memory, start());
    assert!(!on(&planned, "web-01").is_empty() && planned.records.is_empty(), "{:?}", planned.records);
    let down = row(&mut seen, "fe-01", "web-02");
    (down.admin, down.status) = (Admin::Maint, "MAINT".into());
    let planned = plan(&desired, &seen, &memory, start());
    let undone = Event::Undone {
        environment: "production".into(),
        host: "web-01".into(),
        rows: [rows[0].clone()].into(),
    };
    assert!(planned.records.contains(&undone), "{:?}", planned.records);
    let back = Desired { exceptions: Exceptions::default(), ..desired.clone() };
    assert!(plan(&back, &seen, &memory, start()).records.contains(&undone), "it is not marked yet");
    memory.apply(start(), &undone).unwrap();
    assert!(!plan(&desired, &seen, &memory, start()).records.contains(&undone), "it is said once");
}

#[test]
fn what_a_reload_undid_is_told_also_while_another_host_leaves() {
    let mut desired = desired(20, "1.0", &["1.0"]);
    desired.exceptions.outs = vec![out("web-03")];
    let (seen, mut memory) = (observed(&desired, "1.0"), history());
    let undone = RowId { node: "fe-01".into(), backend: "web".into(), server: "web-01".into() };
    let retired = [(undone.clone(), TakenOutBy::Retire)].into();
    memory.taken_out = [("web-01".into(), retired)].into_iter().collect();
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(on(&planned, "web-03").len(), 1, "{:?}", planned.steps);
    let (environment, host) = ("production".into(), "web-01".into());
    assert_eq!(planned.records, [Event::Undone { environment, host, rows: [undone].into() }]);
}

/// web-01 was upgraded and drained by us, and was not well in time.
fn not_well_in_time() -> (Desired, Observed, History, jiff::Timestamp) {
    let desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    let mut memory = history();
    let services = desired.fleet.roles[1].services.clone();
    let activate = Action::Activate { services, packages: Default::default(), stamp: version("1.1") };
    let claim = Action::Claim { found: Default::default() };
    for step in [step("1", "web-01", claim), step("2", "web-01", activate)] {
        let id = step.id.clone();
        memory.apply(start(), &Event::StepStarted { step }).unwrap();
        let result = Ok(Outcome::Changed(String::new()));
        let finished = Event::StepFinished { environment: "production".into(), step: id, result };
        memory.apply(start(), &finished).unwrap();
    }
    for name in ["gitaly-01", "web-01"] {
        let state = host(&mut seen, name);
        state.packages.get_mut("shop").unwrap().version = version("1.1");
        state.services.values_mut().for_each(|service| service.stamped = Some(version("1.1")));
    }
    let claim = memory.claims["web-01"].clone();
    let state = host(&mut seen, "web-01");
    (state.claim, state.health) = (Some(claim), HealthState::Unhealthy("503".into()));
    let now = start() + SignedDuration::from_secs(60);
    seen.hosts.values_mut().for_each(|fact| fact.at = now);
    seen.nodes.values_mut().for_each(|fact| fact.at = now);
    for node in ["fe-01", "fe-02"] {
        let row = row(&mut seen, node, "web-01");
        (row.admin, row.status) = (Admin::Drain, "DRAIN".into());
    }
    (desired, seen, memory, now)
}

#[test]
fn a_host_that_a_reload_put_back_is_drained_again_before_it_is_activated_again() {
    let (desired, mut seen, memory, now) = not_well_in_time();
    let planned = plan(&desired, &seen, &memory, now);
    assert_eq!(on(&planned, "web-01")[0].action.kind(), ActionKind::Activate, "{:?}", planned.waiting);
    let reloaded = row(&mut seen, "fe-02", "web-01");
    (reloaded.admin, reloaded.status) = (Admin::Ready, "UP".into());
    let planned = plan(&desired, &seen, &memory, now);
    assert_eq!(on(&planned, "web-01")[0].action.kind(), ActionKind::Drain, "{:?}", planned.waiting);
}

#[test]
fn a_host_that_becomes_the_migration_host_is_let_go_in_its_former_role_first() {
    let (mut desired, seen, mut memory, now) = not_well_in_time();
    let web = leaves(&mut desired, "web-01");
    desired.fleet.policy.migrations = Some(Migrations {
        host: "web-01".into(),
        packages: vec!["shop".into()],
        package_version: "{version}".into(),
        ready: None,
        pre: None,
        post: None,
    });
    let left = Event::Departed { environment: "production".into(), roles: vec![web] };
    memory.apply(start(), &left).unwrap();
    let planned = plan(&desired, &seen, &memory, now);
    assert_eq!(on(&planned, "web-01").len(), 1, "{:?}", planned.steps);
    assert_eq!(on(&planned, "web-01")[0].role.as_str(), "web");
}

#[test]
fn a_host_that_is_given_up_is_still_looked_at_every_two_seconds() {
    let (desired, seen, mut memory, now) = not_well_in_time();
    memory.activated.get_mut("web-01").unwrap().times = MAX_ATTEMPTS;
    let planned = plan(&desired, &seen, &memory, now);
    let due = planned.due.iter().find(|due| due.scope == Scope::Host("web-01".into())).unwrap();
    assert_eq!(due.cadence.every(now), SignedDuration::from_secs(2));
}

#[test]
fn a_drain_of_ours_is_taken_back_on_a_node_that_was_declared_out_before_the_host_is_let_go() {
    let mut desired = desired(4, "1.0", &["1.0"]);
    let mut seen = observed(&desired, "1.0");
    let mut memory = history();
    let claim = step("claim", "web-01", Action::Claim { found: Default::default() });
    memory.apply(start(), &Event::StepStarted { step: claim }).unwrap();
    let result = Ok(Outcome::Changed(String::new()));
    let finished = Event::StepFinished { environment: "production".into(), step: "claim".into(), result };
    memory.apply(start(), &finished).unwrap();
    host(&mut seen, "web-01").claim = Some(memory.claims["web-01"].clone());
    let what = OutTarget::LoadBalancerNode("fe-02".into());
    desired.exceptions.outs = vec![Out { what, reason: "kernel".into(), until: None }];
    let begins = |seen: &Observed, memory: &History| {
        let planned = plan(&desired, seen, memory, start());
        on(&planned, "web-01").into_iter().map(|step| step.action.clone()).collect::<Vec<_>>()
    };
    assert_eq!(begins(&seen, &memory), [Action::Release]);
    let drained = row(&mut seen, "fe-02", "web-01");
    (drained.admin, drained.status) = (Admin::Drain, "DRAIN".into());
    assert_eq!(
        begins(&seen, &memory),
        [Action::Release],
        "nobody looked there when the mark was set: it is not ours"
    );
    let rows: BTreeSet<_> =
        [RowId { node: "fe-02".into(), backend: "web".into(), server: "web-01".into() }].into();
    let ready = [Action::Ready { rows: rows.clone(), because: ReadyBecause::Healthy }];
    let mut began_anew = memory.clone();
    began_anew.claims.clear();
    assert_eq!(begins(&seen, &began_anew), ready, "a journal that is younger than the mark does not know");
    memory.taken_out = [("web-01".into(), rows.iter().map(|row| (row.clone(), TakenOutBy::Drain)).collect())]
        .into_iter()
        .collect();
    assert_eq!(begins(&seen, &memory), ready);
    for forgotten in [&memory, &began_anew] {
        row(&mut seen, "fe-02", "web-01").admin = Admin::Maint;
        assert_eq!(begins(&seen, forgotten), [Action::Release], "somebody maintains it");
    }
}

#[test]
fn what_could_not_be_seen_before_an_action_there_is_read_again() {
    let desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    let gone = Unknown { kind: UnknownKind::Unreachable, detail: "no connection".into() };
    seen.hosts.insert("web-01".into(), Fact { at: start(), value: Err(gone) });
    let mut memory = history();
    let asks = |memory: &History| {
        let planned = plan(&desired, &seen, memory, start());
        planned.observe.contains(&Scope::Host("web-01".into()))
    };
    assert!(!asks(&memory), "it is known to be unknown");
    memory.last_action.insert("web-01".into(), start() + SignedDuration::from_millis(1));
    assert!(asks(&memory));
}

#[test]
fn an_emergency_restarts_in_rotation_what_it_patched_and_nothing_else() {
    let (mut desired, mut seen, memory, now) = not_well_in_time();
    for node in ["fe-01", "fe-02"] {
        let row = row(&mut seen, node, "web-01");
        (row.admin, row.status) = (Admin::Ready, "DOWN".into());
    }
    let next = |desired: &Desired, seen: &Observed| {
        on(&plan(desired, seen, &memory, now), "web-01").first().map(|step| step.action.kind())
    };
    assert_eq!(next(&desired, &seen), Some(ActionKind::Drain));
    desired.exceptions.emergency = Some(Emergency { version: version("1.1"), reason: "CVE".into() });
    assert_eq!(next(&desired, &seen), Some(ActionKind::Drain), "no patch");
    let mut not_started = seen.clone();
    let services = &mut host(&mut not_started, "web-01").services;
    services.values_mut().for_each(|service| service.stamped = Some(version("1.0")));
    assert_eq!(next(&desired, &not_started), Some(ActionKind::Drain), "no patch, and not started yet");
    desired.exceptions.patches = vec![patch("1.1")];
    let state = host(&mut seen, "web-01");
    state.patches = [patch("1.1").sha256].into();
    let stamp = version("1.1+patched.aaaaaaaaaaaa");
    state.services.values_mut().for_each(|service| service.stamped = Some(stamp.clone()));
    assert_eq!(next(&desired, &seen), Some(ActionKind::Activate));
    let mut vetoed = desired.clone();
    vetoed.exceptions.vetoes = vec![Veto { version: version("1.1"), reason: "corrupts uploads".into() }];
    let mut before = not_started.clone();
    host(&mut before, "web-01").packages.get_mut("shop").unwrap().version = version("1.0");
    let services = &mut host(&mut before, "web-01").services;
    services.values_mut().for_each(|service| service.stamped = Some(version("1.1")));
    assert_eq!(next(&vetoed, &before), Some(ActionKind::Drain), "what is installed has no patch");
    desired.exceptions.emergency = None;
    assert_eq!(next(&desired, &seen), Some(ActionKind::Drain), "no emergency");
}

#[test]
fn nobody_is_restarted_where_somebody_has_given_back_what_they_had_taken_out() {
    let (desired, mut seen, memory, now) = not_well_in_time();
    let next = |seen: &Observed| {
        on(&plan(&desired, seen, &memory, now), "web-01").first().map(|step| step.action.clone())
    };
    let theirs = RowId { node: "fe-02".into(), backend: "web".into(), server: "web-01".into() };
    host(&mut seen, "web-01").claim.as_mut().unwrap().found = [theirs].into();
    assert!(matches!(next(&seen), Some(Action::Activate { .. })), "it is still theirs");
    let given_back = row(&mut seen, "fe-02", "web-01");
    (given_back.admin, given_back.status) = (Admin::Ready, "UP".into());
    assert_eq!(next(&seen), Some(Action::Claim { found: BTreeSet::new() }));
}

#[test]
fn a_mark_says_what_others_have_taken_out_on_a_node_that_is_declared_out_where_it_answers() {
    let mut desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    web_is_next(&desired, &mut seen);
    let what = OutTarget::LoadBalancerNode("fe-02".into());
    desired.exceptions.outs = vec![Out { what, reason: "kernel".into(), until: None }];
    row(&mut seen, "fe-02", "web-01").admin = Admin::Maint;
    let theirs = RowId { node: "fe-02".into(), backend: "web".into(), server: "web-01".into() };
    let begins = |seen: &Observed| {
        let planned = plan(&desired, seen, &history(), start());
        let claim = on(&planned, "web-01").first().map(|step| step.action.clone());
        (claim, planned.observe.contains(&Scope::Node("fe-02".into())))
    };
    let with = |found: BTreeSet<RowId>| Some(Action::Claim { found });
    assert_eq!(begins(&seen), (with([theirs].into()), false));
    seen.nodes.get_mut("fe-02").unwrap().at = start() - SignedDuration::from_secs(4);
    assert_eq!(begins(&seen), (None, true), "it is read once more");
    let gone = Unknown { kind: UnknownKind::Unreachable, detail: "no route".into() };
    seen.nodes.get_mut("fe-02").unwrap().value = Err(gone);
    let theirs = RowId { node: "fe-02".into(), backend: "web".into(), server: "web-01".into() };
    assert_eq!(begins(&seen).0, with([theirs].into()), "it may be dead, and somebody may have taken it out");
}

#[test]
fn nobody_is_begun_in_the_middle_of_a_run_of_its_config_agent() {
    let mut desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    web_is_next(&desired, &mut seen);
    desired.fleet.policy.config_agent = Some(config_agent(None));
    let begins = |busy| {
        let mut seen = seen.clone();
        host(&mut seen, "web-01").agent = Some(AgentState { active: true, busy, paused_by_us: false });
        let planned = plan(&desired, &seen, &history(), start());
        on(&planned, "web-01").first().map(|step| step.action.kind())
    };
    assert_eq!(begins(false), Some(ActionKind::Claim));
    assert_eq!(begins(true), None);
}

#[test]
fn nobody_new_is_begun_beside_a_step_that_is_overdue() {
    let desired = desired(10, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    web_is_next(&desired, &mut seen);
    let mut memory = history();
    let install =
        Action::Install { packages: Default::default(), prepare: Vec::new(), configure: Vec::new() };
    let mut late = step("late", "web-05", install);
    late.deadline = SignedDuration::from_mins(15);
    memory.apply(start() - SignedDuration::from_mins(15), &Event::StepStarted { step: late }).unwrap();
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(planned.steps, []);
    let overdue = |waiting: &Waiting| matches!(waiting.reason, Reason::StepOverdue { .. });
    assert!(planned.waiting.iter().any(overdue), "{:?}", planned.waiting);
}

#[test]
fn a_step_that_may_never_end_on_a_host_that_is_declared_out_holds_nobody_up() {
    let mut desired = desired(10, "1.1", &["1.0", "1.1"]);
    desired.exceptions.outs.push(out("web-05"));
    let mut seen = observed(&desired, "1.0");
    web_is_next(&desired, &mut seen);
    let packages = || [("shop".into(), version("1.1"))].into();
    let install = Action::Install { packages: packages(), prepare: Vec::new(), configure: Vec::new() };
    let ready = Action::Ready { rows: [].into(), because: ReadyBecause::Healthy };
    let beside = |seen: &Observed, action: &Action| {
        let mut late = step("late", "web-05", action.clone());
        late.deadline = SignedDuration::from_mins(15);
        let mut memory = history();
        memory.apply(start() - SignedDuration::from_mins(15), &Event::StepStarted { step: late }).unwrap();
        let planned = plan(&desired, seen, &memory, start());
        let told = |waiting: &&Waiting| waiting.subject == Subject::Host("web-05".into());
        let reason = planned.waiting.iter().find(told).map(|waiting| waiting.reason.clone());
        (planned.steps.len(), matches!(reason, Some(Reason::StepOverdue { .. })))
    };
    let download = Action::Download { packages: packages() };
    for action in [&install, &download, &ready] {
        assert!(beside(&seen, action).1, "it serves, and is taken out after that");
    }
    for node in ["fe-01", "fe-02"] {
        let drained = row(&mut seen, node, "web-05");
        (drained.admin, drained.status) = (Admin::Drain, "DRAIN".into());
    }
    for action in [&install, &download] {
        assert_eq!(beside(&seen, action), (1, false));
    }
    assert_eq!(beside(&seen, &ready), (1, true), "it is about to serve");
}

#[test]
fn a_download_that_may_never_end_on_a_host_that_is_declared_out_takes_nobodys_place() {
    let mut desired = desired(4, "1.1", &["1.0", "1.1"]);
    desired.fleet.max_parallel = 1;
    let mut seen = observed(&desired, "1.0");
    web_is_next(&desired, &mut seen);
    ["web-01", "web-02"].into_iter().for_each(|name| host(&mut seen, name).staged.clear());
    let packages = [("shop".into(), version("1.1"))].into();
    let download = step("hangs", "web-01", Action::Download { packages });
    let mut memory = history();
    memory.apply(start(), &Event::StepStarted { step: download }).unwrap();
    let downloads = |desired: &Desired| on(&plan(desired, &seen, &memory, start()), "web-02").len();
    assert_eq!(downloads(&desired), 0, "one at a time");
    desired.exceptions.outs.push(out("web-01"));
    assert_eq!(downloads(&desired), 1);
}
