//! Whose it is what is out of rotation, where our mark comes late or is gone.

use jiff::{SignedDuration, Timestamp};
use model::*;
use planner::plan;

use crate::fleet::{config_agent, desired, history, host, observed, row, start, step, version, web_is_next};

fn id(node: &str) -> RowId {
    RowId { node: node.into(), backend: "web".into(), server: "web-01".into() }
}

fn happens(memory: &mut History, action: Action) {
    happens_at(memory, start(), action);
}

fn happens_at(memory: &mut History, at: Timestamp, action: Action) {
    let step = step(&format!("{}-{}", action.kind(), memory.steps), "web-01", action);
    let (id, environment) = (step.id.clone(), step.environment.clone());
    memory.apply(at, &Event::StepStarted { step }).unwrap();
    let result = Ok(Outcome::Changed(String::new()));
    memory.apply(at, &Event::StepFinished { environment, step: id, result }).unwrap();
}

fn shows(seen: &mut Observed, node: &str, admin: Admin) {
    let row = row(seen, node, "web-01");
    row.admin = admin;
    row.status = if admin == Admin::Ready { "UP" } else { "MAINT" }.into();
}

fn next(desired: &Desired, seen: &Observed, memory: &History) -> Option<Action> {
    let planned = plan(desired, seen, memory, start());
    planned.steps.into_iter().find(|step| step.host.as_str() == "web-01").map(|step| step.action)
}

#[test]
fn maintenance_on_a_node_that_could_not_be_seen_when_a_host_came_back_from_being_out_stays() {
    let desired = desired(10, "1.0", &["1.0"]);
    let (mut seen, mut memory) = (observed(&desired, "1.0"), history());
    let found = Default::default();
    happens(&mut memory, Action::Retire { rows: ["fe-01", "fe-02"].map(id).into(), found });
    happens(&mut memory, Action::Claim { found: Default::default() });
    happens(&mut memory, Action::Ready { rows: [id("fe-01")].into(), because: ReadyBecause::Healthy });
    host(&mut seen, "web-01").claim = memory.claims.get("web-01").cloned();
    shows(&mut seen, "fe-02", Admin::Maint);
    assert_eq!(next(&desired, &seen, &memory), Some(Action::Release));
    // What we have put there ourselves is ours to end.
    happens(&mut memory, Action::Maint { rows: [id("fe-02")].into() });
    assert_eq!(next(&desired, &seen, &memory), Some(Action::Drain { rows: [id("fe-02")].into() }));
}

#[test]
fn where_our_mark_was_and_is_no_longer_nothing_that_is_out_is_ours() {
    let desired = desired(10, "1.0", &["1.0"]);
    let (mut seen, mut memory) = (observed(&desired, "1.0"), history());
    happens(&mut memory, Action::Claim { found: Default::default() });
    happens(&mut memory, Action::Drain { rows: ["fe-01", "fe-02"].map(id).into() });
    host(&mut seen, "web-01").last_generation = Some(memory.generation);
    shows(&mut seen, "fe-01", Admin::Drain);
    let renewed = |found: &[RowId]| Some(Action::Claim { found: found.iter().cloned().collect() });
    assert_eq!(next(&desired, &seen, &memory), renewed(&[id("fe-01")]));
    // A machine that remembers nothing of us is another one, and its rows are out by us.
    host(&mut seen, "web-01").last_generation = None;
    assert_eq!(next(&desired, &seen, &memory), renewed(&[]));
    // Nobody knows whether a mark ever arrived that got no answer: then our drain came before it, when the host was out.
    memory.marked.clear();
    host(&mut seen, "web-01").last_generation = Some(memory.generation);
    assert_eq!(next(&desired, &seen, &memory), renewed(&[]));
}

#[test]
fn a_mark_is_renewed_without_what_we_have_taken_out_since() {
    let desired = desired(10, "1.0", &["1.0"]);
    let (mut seen, mut memory) = (observed(&desired, "1.0"), history());
    happens(&mut memory, Action::Claim { found: ["fe-01", "fe-02"].map(id).into() });
    host(&mut seen, "web-01").claim = memory.claims.get("web-01").cloned();
    let found = Default::default();
    happens(&mut memory, Action::Retire { rows: [id("fe-01")].into(), found });
    shows(&mut seen, "fe-01", Admin::Drain);
    shows(&mut seen, "fe-02", Admin::Drain);
    memory.generation = Generation(memory.generation.0 + 1);
    assert_eq!(next(&desired, &seen, &memory), Some(Action::Claim { found: [id("fe-02")].into() }));
}

fn gone(seen: &mut Observed, node: &str) {
    let unknown = Unknown { kind: UnknownKind::Unreachable, detail: "no route".into() };
    seen.nodes.get_mut(node).unwrap().value = Err(unknown);
}

#[test]
fn what_cannot_be_seen_when_a_host_comes_back_from_being_out_is_ours_only_where_we_retired_it() {
    let desired = desired(10, "1.0", &["1.0"]);
    let (mut seen, mut memory) = (observed(&desired, "1.0"), history());
    let found = Default::default();
    happens(&mut memory, Action::Retire { rows: [id("fe-01")].into(), found });
    shows(&mut seen, "fe-01", Admin::Drain);
    gone(&mut seen, "fe-02");
    let renewed = |found: &[RowId]| Some(Action::Claim { found: found.iter().cloned().collect() });
    assert_eq!(next(&desired, &seen, &memory), renewed(&[id("fe-02")]));
    let found = Default::default();
    happens(&mut memory, Action::Retire { rows: [id("fe-02")].into(), found });
    assert_eq!(next(&desired, &seen, &memory), renewed(&[]));
}

#[test]
fn a_host_that_may_not_leave_is_not_let_go_while_its_mark_calls_somebody_elses_what_we_have_retired() {
    let mut desired = desired(10, "1.1", &["1.0", "1.1"]);
    desired.fleet.policy.config_agent = Some(config_agent(None));
    let (mut seen, mut memory) = (observed(&desired, "1.0"), history());
    happens(&mut memory, Action::Claim { found: [id("fe-01")].into() });
    let found = Default::default();
    happens(&mut memory, Action::Retire { rows: [id("fe-01")].into(), found });
    let state = host(&mut seen, "web-01");
    state.claim = memory.claims.get("web-01").cloned();
    state.staged = [("shop".into(), [version("1.1")].into())].into();
    state.agent = Some(AgentState { active: true, busy: false, paused_by_us: false });
    shows(&mut seen, "fe-01", Admin::Drain);
    web_is_next(&desired, &mut seen);
    // Somebody else's maintenance leaves no room for it.
    let taken = row(&mut seen, "fe-02", "web-05");
    (taken.admin, taken.status) = (Admin::Maint, "MAINT".into());
    let ours = Action::Claim { found: Default::default() };
    assert_eq!(next(&desired, &seen, &memory), Some(ours));
}

/// What a host needs next by rows that were read before our mark, and by such that were read since.
fn before_and_since_our_mark(
    desired: &Desired,
    seen: &mut Observed,
    memory: &mut History,
) -> [Option<ActionKind>; 2] {
    let [read, marked, now] = [1000, 1200, 1300].map(|ms| start() + SignedDuration::from_millis(ms));
    happens_at(memory, marked, Action::Claim { found: Default::default() });
    host(seen, "web-01").claim = memory.claims.get("web-01").cloned();
    seen.hosts.values_mut().for_each(|fact| fact.at = marked);
    [read, marked].map(|at| {
        seen.nodes.values_mut().for_each(|fact| fact.at = at);
        let planned = plan(desired, seen, memory, now);
        planned.steps.into_iter().find(|step| step.host.as_str() == "web-01").map(|step| step.action.kind())
    })
}

#[test]
fn what_an_older_service_may_have_made_ready_until_our_mark_is_read_again_before_an_install() {
    let desired = desired(10, "1.1", &["1.0", "1.1"]);
    let (mut seen, mut memory) = (observed(&desired, "1.0"), history());
    happens(&mut memory, Action::Claim { found: Default::default() });
    happens(&mut memory, Action::Drain { rows: ["fe-01", "fe-02"].map(id).into() });
    for node in ["fe-01", "fe-02"] {
        shows(&mut seen, node, Admin::Drain);
    }
    host(&mut seen, "web-01").staged = [("shop".into(), [version("1.1")].into())].into();
    web_is_next(&desired, &mut seen);
    let next = before_and_since_our_mark(&desired, &mut seen, &mut memory);
    assert_eq!(next, [None, Some(ActionKind::Install)]);
}

#[test]
fn what_an_older_service_may_have_drained_until_our_mark_is_read_again_before_a_host_is_let_go() {
    let desired = desired(10, "1.0", &["1.0"]);
    let (mut seen, mut memory) = (observed(&desired, "1.0"), history());
    happens(&mut memory, Action::Claim { found: Default::default() });
    let next = before_and_since_our_mark(&desired, &mut seen, &mut memory);
    assert_eq!(next, [None, Some(ActionKind::Release)]);
}

#[test]
fn a_node_that_could_not_be_seen_before_our_mark_keeps_a_host_out_nowhere_else() {
    let desired = desired(10, "1.0", &["1.0"]);
    let (mut seen, mut memory) = (observed(&desired, "1.0"), history());
    happens(&mut memory, Action::Claim { found: Default::default() });
    happens(&mut memory, Action::Drain { rows: ["fe-01", "fe-02"].map(id).into() });
    shows(&mut seen, "fe-01", Admin::Drain);
    row(&mut seen, "fe-01", "web-01").check = RowCheck::Passed;
    gone(&mut seen, "fe-02");
    let [_, since] = before_and_since_our_mark(&desired, &mut seen, &mut memory);
    assert_eq!(since, Some(ActionKind::Ready));
    seen.nodes.get_mut("fe-02").unwrap().at = start();
    let planned = plan(&desired, &seen, &memory, start() + SignedDuration::from_millis(1300));
    let rows = planned.steps.iter().find_map(|step| step.action.rows());
    assert_eq!(rows, Some(&[id("fe-01")].into()));
}
