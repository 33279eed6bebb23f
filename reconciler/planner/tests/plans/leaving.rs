//! Who may leave rotation, when several want to, and what stays ours of it.

#![allow(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use crate::fleet::{desired, history, host, observed, row, start, step, version, web_is_next};
use jiff::SignedDuration;
use model::*;
use planner::plan;

fn happens(memory: &mut History, at: jiff::Timestamp, step: Step, result: Result<Outcome, Failure>) {
    let (id, environment) = (step.id.clone(), step.environment.clone());
    memory.apply(at, &Event::StepStarted { step }).unwrap();
    memory.apply(at, &Event::StepFinished { environment, step: id, result }).unwrap();
}

/// web-01 and web-02 carry our mark, with the new package at hand; both serve on fe-01, and were taken out by us elsewhere.
fn two_begun() -> (Desired, Observed, History) {
    let desired = desired(10, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    let mut memory = history();
    let hosts = ["web-01", "web-02"];
    let row_of = |name: &str| RowId { node: "fe-02".into(), backend: "web".into(), server: name.into() };
    memory.taken_out =
        hosts.iter().map(|name| ((*name).into(), [(row_of(name), TakenOutBy::Drain)].into())).collect();
    for name in hosts {
        let claim = step(&format!("claim-{name}"), name, Action::Claim { found: Default::default() });
        happens(&mut memory, start(), claim, Ok(Outcome::Changed(String::new())));
        let claim = memory.claims[name].clone();
        let state = host(&mut seen, name);
        (state.claim, state.staged) = (Some(claim), [("shop".into(), [version("1.1")].into())].into());
        let out = row(&mut seen, "fe-02", name);
        (out.admin, out.status) = (Admin::Drain, "DRAIN".into());
    }
    // The storage role comes first, and is done.
    let storage = host(&mut seen, "gitaly-01");
    storage.packages.get_mut("shop").unwrap().version = version("1.1");
    storage.services.values_mut().for_each(|service| service.stamped = Some(version("1.1")));
    (desired, seen, memory)
}

fn drains(plan: &Plan) -> Vec<&str> {
    let drains = plan.steps.iter().filter(|step| step.action.kind() == ActionKind::Drain);
    drains.map(|step| step.host.as_str()).collect()
}

#[test]
fn of_two_begun_hosts_the_first_leaves_and_the_second_waits_for_it() {
    let (desired, seen, memory) = two_begun();
    assert_eq!(drains(&plan(&desired, &seen, &memory, start())), ["web-01"]);
}

#[test]
fn of_two_hosts_that_are_out_on_different_nodes_one_comes_back_so_that_the_other_can_leave() {
    let (desired, mut seen, memory) = two_begun();
    let (up, out) = (row(&mut seen, "fe-01", "web-02").clone(), row(&mut seen, "fe-02", "web-02").clone());
    *row(&mut seen, "fe-01", "web-02") = out;
    *row(&mut seen, "fe-02", "web-02") = up;
    let planned = plan(&desired, &seen, &memory, start());
    let begins: Vec<_> = planned.steps.iter().map(|step| (step.host.as_str(), &step.action)).collect();
    let rows = [RowId { node: "fe-02".into(), backend: "web".into(), server: "web-01".into() }];
    let ready = Action::Ready { rows: rows.into(), because: ReadyBecause::Healthy };
    assert!(begins.contains(&("web-01", &ready)), "{begins:?}");
    assert_eq!(drains(&planned), Vec::<&str>::new());
}

#[test]
fn who_comes_back_for_another_one_leaves_maintenance_first_and_is_checked() {
    let (desired, mut seen, mut memory) = two_begun();
    let up = row(&mut seen, "fe-01", "web-02").clone();
    *row(&mut seen, "fe-02", "web-02") = up;
    let on = |node: &str, name: &str| RowId { node: node.into(), backend: "web".into(), server: name.into() };
    let out = [("fe-02", "web-01"), ("fe-01", "web-02")];
    let taken_out = out.map(|(node, name)| (name.into(), [(on(node, name), TakenOutBy::Maint)].into()));
    memory.taken_out = taken_out.into_iter().collect();
    for (node, name) in out {
        let row = row(&mut seen, node, name);
        (row.admin, row.status) = (Admin::Maint, "MAINT".into());
    }
    let rows = [on("fe-02", "web-01")];
    let planned = plan(&desired, &seen, &memory, start());
    let begins: Vec<_> = planned.steps.iter().map(|step| (step.host.as_str(), &step.action)).collect();
    assert!(begins.contains(&("web-01", &Action::Drain { rows: rows.clone().into() })), "{begins:?}");
    let back = row(&mut seen, "fe-02", "web-01");
    (back.admin, back.status, back.check) = (Admin::Drain, "DRAIN".into(), RowCheck::Pending);
    let waits = plan(&desired, &seen, &memory, start());
    assert!(!waits.steps.iter().any(|step| step.host.as_str() == "web-01"), "{:?}", waits.steps);
    row(&mut seen, "fe-02", "web-01").check = RowCheck::Passed;
    let planned = plan(&desired, &seen, &memory, start());
    let ready = Action::Ready { rows: rows.into(), because: ReadyBecause::Healthy };
    assert!(planned.steps.iter().any(|step| step.action == ready), "{:?}", planned.steps);
}

#[test]
fn hosts_that_somebody_elses_drain_keeps_from_leaving_come_back_and_it_is_told_whose() {
    let (desired, mut seen, memory) = two_begun();
    let taken = row(&mut seen, "fe-01", "web-05");
    (taken.admin, taken.status) = (Admin::Drain, "DRAIN".into());
    web_is_next(&desired, &mut seen);
    let planned = plan(&desired, &seen, &memory, start());
    let begins: Vec<_> = planned.steps.iter().map(|step| (step.host.as_str(), step.action.kind())).collect();
    assert_eq!(begins, [("web-01", ActionKind::Ready), ("web-02", ActionKind::Ready)]);
    let rows = [RowId { node: "fe-01".into(), backend: "web".into(), server: "web-05".into() }];
    let told = Reason::ForeignDrain { rows: rows.into() };
    assert!(planned.waiting.iter().any(|waiting| waiting.reason == told), "{:?}", planned.waiting);
}

#[test]
fn who_cannot_leave_because_a_server_is_only_down_waits_for_it() {
    let (desired, mut seen, memory) = two_begun();
    row(&mut seen, "fe-01", "web-05").status = "DOWN".into();
    web_is_next(&desired, &mut seen);
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(planned.steps, []);
    assert!(planned.waiting.iter().any(|waiting| matches!(waiting.reason, Reason::BelowFloor(_))));
}

#[test]
fn what_is_given_back_on_a_node_that_is_declared_out_serves_with_what_is_installed() {
    let (mut desired, mut seen, memory) = two_begun();
    let taken = row(&mut seen, "fe-01", "web-05");
    (taken.admin, taken.status) = (Admin::Drain, "DRAIN".into());
    let what = OutTarget::LoadBalancerNode("fe-02".into());
    desired.exceptions.outs = vec![Out { what, reason: "a new kernel".into(), until: None }];
    let planned = plan(&desired, &seen, &memory, start());
    let ready = planned.steps.iter().filter(|step| step.action.kind() == ActionKind::Ready);
    let versions: Vec<_> = ready.map(|step| (step.host.as_str(), step.version.as_str())).collect();
    assert_eq!(versions, [("web-01", "1.0"), ("web-02", "1.0")]);
}

#[test]
fn begun_hosts_that_wait_for_their_turn_do_not_keep_from_work_what_comes_before_them() {
    let (mut desired, mut seen, memory) = two_begun();
    let storage = host(&mut seen, "gitaly-01");
    storage.packages.get_mut("shop").unwrap().version = version("1.0");
    storage.services.values_mut().for_each(|service| service.stamped = Some(version("1.0")));
    desired.fleet.max_parallel = 2;
    let planned = plan(&desired, &seen_with_downloads(&seen), &memory, start());
    let begins = |step: &Step| (step.host.as_str(), step.action.kind()) == ("gitaly-01", ActionKind::Claim);
    assert!(planned.steps.iter().any(begins), "{:?}", planned.waiting);
}

#[test]
fn who_is_declared_out_and_serves_nowhere_makes_room_for_nobody() {
    let (mut desired, mut seen, memory) = two_begun();
    let storage = host(&mut seen, "gitaly-01");
    storage.packages.get_mut("shop").unwrap().version = version("1.0");
    storage.services.values_mut().for_each(|service| service.stamped = Some(version("1.0")));
    let another = seen.hosts["gitaly-01"].clone();
    seen.hosts.insert("gitaly-02".into(), another);
    desired.fleet.roles[0].hosts.push("gitaly-02".into());
    desired.fleet.roles[0].max_unavailable = 2;
    desired.fleet.max_parallel = 1;
    let what = OutTarget::Host("web-02".into());
    desired.exceptions.outs.push(Out { what, reason: "disk replaced".into(), until: None });
    for node in ["fe-01", "fe-02"] {
        let drained = row(&mut seen, node, "web-02");
        (drained.admin, drained.status) = (Admin::Drain, "DRAIN".into());
    }
    let planned = plan(&desired, &seen_with_downloads(&seen), &memory, start());
    let claims = planned.steps.iter().filter(|step| step.action.kind() == ActionKind::Claim);
    let claims: Vec<&str> = claims.map(|step| step.host.as_str()).collect();
    assert_eq!(claims, ["gitaly-01"], "beside web-01, which waits for it");
}

#[test]
fn begun_hosts_that_may_not_leave_do_not_keep_from_work_who_could_serve_in_their_place() {
    let (mut desired, seen, memory) = two_begun();
    let mut seen = seen_with_downloads(&seen);
    desired.fleet.max_parallel = 2;
    let down = row(&mut seen, "fe-01", "web-05");
    (down.status, down.check) = ("DOWN".into(), RowCheck::Failed);
    let down = row(&mut seen, "fe-02", "web-05");
    (down.status, down.check) = ("DOWN".into(), RowCheck::Failed);
    let planned = plan(&desired, &seen, &memory, start());
    assert!(drains(&planned).is_empty(), "{:?}", planned.steps);
    let begins = |step: &Step| (step.host.as_str(), step.action.kind()) == ("web-05", ActionKind::Claim);
    assert!(planned.steps.iter().any(begins), "{:?}", planned.waiting);
}

#[test]
fn begun_hosts_whose_turn_it_is_fill_what_may_be_worked_on_at_once() {
    let (mut desired, seen, memory) = two_begun();
    desired.fleet.roles[1].max_unavailable = 5;
    desired.fleet.backend_limit = Limit::Count(5);
    let begins = |desired: &Desired| {
        let planned = plan(desired, &seen_with_downloads(&seen), &memory, start());
        planned.steps.iter().filter(|step| step.action.kind() == ActionKind::Claim).count()
    };
    desired.fleet.max_parallel = 2;
    assert_eq!(begins(&desired), 0);
    desired.fleet.max_parallel = 3;
    assert_eq!(begins(&desired), 1);
}

/// Every host has fetched the new package.
fn seen_with_downloads(seen: &Observed) -> Observed {
    let mut seen = seen.clone();
    let staged = [("shop".into(), [version("1.1")].into())].into();
    seen.hosts.values_mut().for_each(|fact| fact.value.as_mut().unwrap().staged.clone_from(&staged));
    seen
}

#[test]
fn who_is_not_well_is_worked_on_first() {
    let mut desired = desired(10, "1.1", &["1.0", "1.1"]);
    desired.fleet.max_parallel = 1;
    desired.fleet.roles[1].max_unavailable = 2;
    desired.fleet.backend_limit = Limit::Count(2);
    let mut seen = observed(&desired, "1.0");
    web_is_next(&desired, &mut seen);
    let mut seen = seen_with_downloads(&seen);
    let begins = |seen: &Observed| {
        let planned = plan(&desired, seen, &history(), start());
        planned.steps.iter().map(|step| step.host.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(begins(&seen), ["web-01"]);
    host(&mut seen, "web-07").health = HealthState::Unhealthy("503".into());
    assert_eq!(begins(&seen), ["web-07"]);
}

#[test]
fn nobody_leaves_by_what_load_balancers_showed_before_the_mark_was_set() {
    let (desired, mut seen, mut memory) = two_begun();
    let later = start() + SignedDuration::from_secs(1);
    let again = step("again", "web-01", Action::Claim { found: Default::default() });
    happens(&mut memory, later, again, Ok(Outcome::Changed(String::new())));
    seen.hosts.values_mut().for_each(|fact| fact.at = later);
    let planned = plan(&desired, &seen, &memory, later);
    assert!(!drains(&planned).contains(&"web-01"), "{:?}", planned.steps);
    assert!(planned.observe.contains(&Scope::Node("fe-01".into())), "{:?}", planned.observe);
    seen.nodes.values_mut().for_each(|fact| fact.at = later);
    assert_eq!(drains(&plan(&desired, &seen, &memory, later)), ["web-01"]);
}

#[test]
fn what_one_node_drained_and_another_refused_is_ours_to_give_back() {
    let mut memory = history();
    let rows = ["fe-01", "fe-02"].map(|node| RowId {
        node: node.into(),
        backend: "web".into(),
        server: "web-01".into(),
    });
    let found = [RowId { node: "fe-03".into(), backend: "web".into(), server: "web-01".into() }];
    let retire = Action::Retire { rows: rows.into(), found: found.clone().into() };
    let refused = Failure {
        kind: FailureKind::LoadBalancerRefused,
        what: "web/web-01 on fe-02: No such server.".into(),
        detail: String::new(),
    };
    happens(&mut memory, start(), step("retire", "web-01", retire), Err(refused));
    assert_eq!(memory.claims["web-01"].found, found.into());
}

/// One canary server beside four main ones; canary and main may each be out by one.
fn with_a_canary() -> (Desired, Observed) {
    let mut desired = desired(4, "1.0", &["1.0"]);
    let mut canary = desired.fleet.roles[1].clone();
    (canary.name, canary.track, canary.hosts) = ("canary".into(), Track::Canary, vec!["cny-01".into()]);
    desired.fleet.roles.push(canary);
    let seen = observed(&desired, "1.0");
    (desired, seen)
}

#[test]
fn the_only_canary_may_leave_where_main_servers_go_on_and_the_only_main_server_may_not() {
    let out = |name: &str| Out { what: OutTarget::Host(name.into()), reason: "disk".into(), until: None };
    let (mut desired, seen) = with_a_canary();
    desired.exceptions.outs = vec![out("cny-01")];
    let planned = plan(&desired, &seen, &history(), start());
    let leave = planned.steps.iter().filter(|step| step.action.kind() != ActionKind::Weigh);
    let retired: Vec<_> = leave.map(|step| (step.host.as_str(), step.action.kind())).collect();
    assert_eq!(retired, [("cny-01", ActionKind::Retire)], "{:?}", planned.waiting);

    let (mut desired, _) = with_a_canary();
    desired.fleet.roles[1].hosts.truncate(1);
    desired.exceptions.outs = vec![out("web-01")];
    let mut seen = observed(&desired, "1.0");
    ["fe-01", "fe-02"].into_iter().for_each(|node| row(&mut seen, node, "cny-01").weight = 0);
    let planned = plan(&desired, &seen, &history(), start());
    assert_eq!(planned.steps, []);
    let told: Vec<String> = planned.waiting.iter().map(|waiting| waiting.reason.to_string()).collect();
    assert!(told.iter().any(|reason| reason.contains("last server")), "{told:?}");
}

#[test]
fn who_is_begun_has_left_for_whoever_asks_next() {
    let mut desired = desired(10, "1.1", &["1.0", "1.1"]);
    desired.fleet.roles[1].max_unavailable = 2;
    let mut seen = observed(&desired, "1.0");
    web_is_next(&desired, &mut seen);
    let planned = plan(&desired, &seen, &history(), start());
    let claims: Vec<_> = planned.steps.iter().map(|step| step.host.as_str()).collect();
    assert_eq!(claims, ["web-01"], "two of the role may be out, but only one of the backend");
}

#[test]
fn who_is_given_back_unchanged_by_a_later_life_of_ours_gets_its_mark_first() {
    let (desired, mut seen, mut memory) = two_begun();
    for name in ["web-01", "web-02"] {
        let back = row(&mut seen, "fe-02", name);
        (back.admin, back.status) = (Admin::Ready, "UP".into());
    }
    let failure = Failure { kind: FailureKind::TimedOut, what: "no answer".into(), detail: String::new() };
    let (action, until) = (ActionKind::Download, start() + SignedDuration::from_secs(9));
    let trouble = history::Trouble { version: version("1.1"), action, failure, times: 1, attempts: 1, until };
    memory.troubles.insert("web-02".into(), trouble);
    let begins = |memory: &History| {
        let planned = plan(&desired, &seen, memory, start());
        let on_it = planned.steps.iter().filter(|step| step.host.as_str() == "web-02");
        on_it.map(|step| step.action.kind()).collect::<Vec<_>>()
    };
    assert_eq!(begins(&memory), [ActionKind::Release]);
    let started = Event::ServiceStarted {
        generation: Generation(memory.generation.0 + 1),
        service: memory.service.clone(),
        program: "0.1.0".into(),
    };
    memory.apply(start(), &started).unwrap();
    assert_eq!(begins(&memory), [ActionKind::Claim]);
}

#[test]
fn a_veto_brings_back_with_what_it_runs_who_is_out_already() {
    let (mut desired, mut seen, mut memory) = two_begun();
    let out = row(&mut seen, "fe-01", "web-01");
    (out.admin, out.status) = (Admin::Drain, "DRAIN".into());
    memory.drained.insert("web-01".into(), start() - SignedDuration::from_secs(5));
    desired.exceptions.vetoes = vec![Veto { version: version("1.1"), reason: "corrupts uploads".into() }];
    let planned = plan(&desired, &seen, &memory, start());
    let begins: Vec<_> = planned.steps.iter().map(|step| (step.host.as_str(), step.action.kind())).collect();
    assert_eq!(begins, [("web-01", ActionKind::Ready), ("web-02", ActionKind::Ready)]);
}

#[test]
fn services_that_never_ran_a_release_are_started_three_times() {
    let (desired, mut seen, mut memory) = two_begun();
    let out = row(&mut seen, "fe-01", "web-01");
    (out.admin, out.status) = (Admin::Drain, "DRAIN".into());
    memory.drained.insert("web-01".into(), start() - SignedDuration::from_secs(5));
    let state = host(&mut seen, "web-01");
    state.packages.get_mut("shop").unwrap().version = version("1.1");
    state.services.values_mut().for_each(|service| service.started_after_unpack = Some(false));
    let mut next = |times| {
        let activated = history::Activated { version: version("1.1"), at: start(), times };
        memory.activated.insert("web-01".into(), activated);
        let planned = plan(&desired, &seen, &memory, start());
        planned.steps.iter().find(|step| step.host.as_str() == "web-01").map(|step| step.action.kind())
    };
    assert_eq!(next(1), Some(ActionKind::Activate));
    assert_eq!(next(2), Some(ActionKind::Activate));
    assert_eq!(next(3), None);
}

#[test]
fn a_host_that_comes_back_from_being_out_finds_what_others_took_out_and_not_our_own_drain() {
    let desired = desired(10, "1.0", &["1.0"]);
    let mut seen = observed(&desired, "1.0");
    let mut memory = history();
    let id = |node: &str| RowId { node: node.into(), backend: "web".into(), server: "web-01".into() };
    let rows = [id("fe-01")].into();
    let retire = step("retire", "web-01", Action::Retire { rows, found: Default::default() });
    happens(&mut memory, start(), retire, Ok(Outcome::Changed(String::new())));
    row(&mut seen, "fe-01", "web-01").admin = Admin::Drain;
    for theirs in [Admin::Maint, Admin::Drain] {
        row(&mut seen, "fe-02", "web-01").admin = theirs;
        let planned = plan(&desired, &seen, &memory, start());
        let found = [id("fe-02")].into();
        let begins: Vec<_> = planned.steps.iter().map(|step| (step.host.as_str(), &step.action)).collect();
        assert_eq!(begins, [("web-01", &Action::Claim { found })], "{theirs:?}");
    }
    // What the load balancers showed some seconds ago does not tell who maintains it now.
    let later = start() + SignedDuration::from_secs(4);
    let planned = plan(&desired, &seen, &memory, later);
    assert_eq!(planned.steps, []);
    assert!(planned.observe.contains(&Scope::Node("fe-02".into())), "{:?}", planned.observe);
}

/// web-01 was declared out and drained by us, and is back; the fleet wants another release.
fn back_from_being_out() -> (Desired, Observed, History) {
    let desired = desired(10, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    web_is_next(&desired, &mut seen);
    let mut memory = history();
    let id = |node: &str| RowId { node: node.into(), backend: "web".into(), server: "web-01".into() };
    let rows = ["fe-01", "fe-02"].map(id).into();
    let retire = step("retire", "web-01", Action::Retire { rows, found: Default::default() });
    happens(&mut memory, start(), retire, Ok(Outcome::Changed(String::new())));
    for node in ["fe-01", "fe-02"] {
        let out = row(&mut seen, node, "web-01");
        (out.admin, out.status) = (Admin::Drain, "DRAIN".into());
    }
    (desired, seen, memory)
}

#[test]
fn who_comes_back_from_being_out_in_a_freeze_is_given_back_with_what_it_runs() {
    let (mut desired, mut seen, memory) = back_from_being_out();
    host(&mut seen, "web-01").staged.clear();
    let next = |desired: &Desired| {
        let planned = plan(desired, &seen, &memory, start());
        planned.steps.iter().find(|step| step.host.as_str() == "web-01").map(|step| step.action.kind())
    };
    assert_eq!(next(&desired), Some(ActionKind::Download));
    desired.fleet.policy.freezes.push(Freeze {
        reason: "weekend".into(),
        from: Moment::Once("2026-11-22T06:00:00".parse().unwrap()),
        to: Moment::Once("2026-11-23T06:00:00".parse().unwrap()),
        zone: "UTC".into(),
        in_flight: InFlightAtFreeze::FinishHost,
    });
    assert_eq!(next(&desired), Some(ActionKind::Claim));
}

#[test]
fn a_plan_is_made_again_when_a_host_is_no_longer_out() {
    let (mut desired, seen, memory) = back_from_being_out();
    let until = start() + SignedDuration::from_secs(5);
    let what = OutTarget::Host("web-01".into());
    desired.exceptions.outs = vec![Out { what, reason: "disk".into(), until: Some(until) }];
    desired.exceptions.holds = vec![Hold { scope: HoldScope::All, reason: "holidays".into(), until: None }];
    assert_eq!(plan(&desired, &seen, &memory, start()).wake, Some(until));
}

#[test]
fn an_earlier_release_goes_forward_as_long_as_nothing_later_runs() {
    let desired = desired(4, "1.1", &["1.0", "1.1", "1.2"]);
    let mut seen = observed(&desired, "1.0");
    let mut goes = |name: &str, text: &str| {
        *host(&mut seen, name) = host(&mut observed(&desired, text), name).clone();
        plan(&desired, &seen, &history(), start()).direction
    };
    assert_eq!(goes("web-01", "1.1"), Direction::Forward);
    assert_eq!(goes("web-02", "1.2"), Direction::Back);
}

#[test]
fn a_ready_of_which_nobody_heard_keeps_nobody_out_and_one_that_was_refused_does() {
    let desired = desired(10, "1.0", &["1.0"]);
    let (_, mut seen, memory) = two_begun();
    seen.hosts.insert("gitaly-01".into(), observed(&desired, "1.0").hosts["gitaly-01"].clone());
    let next = |kind| {
        let mut memory = memory.clone();
        let failure = Failure { kind, what: "fe-02".into(), detail: String::new() };
        let (version, until) = (version("1.0"), start() + SignedDuration::from_secs(9));
        let trouble =
            history::Trouble { version, action: ActionKind::Ready, failure, times: 1, attempts: 1, until };
        memory.troubles.insert("web-01".into(), trouble);
        let planned = plan(&desired, &seen, &memory, start());
        planned.steps.iter().find(|step| step.host.as_str() == "web-01").map(|step| step.action.kind())
    };
    assert_eq!(next(FailureKind::TimedOut), Some(ActionKind::Ready));
    assert_eq!(next(FailureKind::LoadBalancerRefused), None);
}

#[test]
fn on_the_way_to_a_safe_point_no_patch_is_begun() {
    let (mut desired, seen, memory) = two_begun();
    desired.exceptions.patches.push(crate::fleet::patch("1.0"));
    let (scope, reason) = (HoldScope::All, "incident".into());
    desired.exceptions.holds.push(Hold { scope, reason, until: None });
    let planned = plan(&desired, &seen, &memory, start());
    let steps: Vec<_> = planned.steps.iter().map(|step| (step.host.as_str(), step.action.kind())).collect();
    assert_eq!(steps, [("web-01", ActionKind::Ready), ("web-02", ActionKind::Ready)]);
}

#[test]
fn a_drain_that_one_node_refused_is_given_back_once_the_others_were_read() {
    let desired = desired(3, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    web_is_next(&desired, &mut seen);
    let (mut memory, then) = (history(), start() + SignedDuration::from_secs(1));
    let claim = step("claim", "web-01", Action::Claim { found: [].into() });
    happens(&mut memory, start(), claim, Ok(Outcome::Changed(String::new())));
    let row_on = |node: &str| RowId { node: node.into(), backend: "web".into(), server: "web-01".into() };
    let refused = Failure {
        kind: FailureKind::LoadBalancerRefused,
        what: "web/web-01 on fe-02: No such server.".into(),
        detail: String::new(),
    };
    let drain = Action::Drain { rows: ["fe-01", "fe-02"].map(row_on).into() };
    happens(&mut memory, then, step("drain", "web-01", drain), Err(refused));
    host(&mut seen, "web-01").claim = Some(memory.claims["web-01"].clone());
    let later = then + SignedDuration::from_millis(100);
    seen.hosts.values_mut().for_each(|fact| fact.at = later);
    let releases = |seen: &Observed| {
        let planned = plan(&desired, seen, &memory, later);
        let released = planned.steps.iter().any(|step| step.action.kind() == ActionKind::Release);
        (released, planned.observe.contains(&Scope::Node("fe-01".into())))
    };
    assert_eq!(releases(&seen), (false, true), "fe-01 showed it in rotation before the drain");
    seen.nodes.values_mut().for_each(|fact| fact.at = later);
    assert_eq!(releases(&seen), (true, false), "it serves on both");
    let drained = row(&mut seen, "fe-01", "web-01");
    (drained.admin, drained.status) = (Admin::Drain, "DRAIN".into());
    assert_eq!(releases(&seen), (false, false), "a drain of ours is not left behind");
}
