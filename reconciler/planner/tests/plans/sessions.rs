//! Sessions of a server that was drained: how long they are waited for, and what the policy says then.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use model::*;
use planner::plan;

use crate::fleet::{desired, history, host, leaves, lose_row, observed, row, start, version};

/// web-01 carries our mark, has the new package at hand, and was drained on both nodes at the beginning.
struct Scene {
    desired: Desired,
    observed: Observed,
    history: History,
}

const NODES: [&str; 2] = ["fe-01", "fe-02"];

fn id(node: &str) -> RowId {
    RowId { node: node.into(), backend: "web".into(), server: "web-01".into() }
}

impl Scene {
    fn drained(on_timeout: OnTimeout) -> Self {
        let mut desired = desired(10, "1.1", &["1.0", "1.1"]);
        let policy = DrainPolicy { timeout: SignedDuration::from_secs(60), on_timeout };
        desired.fleet.load_balancers[0].backends = [("web".into(), policy)].into();
        let mut observed = observed(&desired, "1.0");
        for node in NODES {
            let out = row(&mut observed, node, "web-01");
            (out.admin, out.status) = (Admin::Drain, "DRAIN".into());
        }
        let storage = host(&mut observed, "gitaly-01");
        storage.packages.get_mut("shop").unwrap().version = version("1.1");
        storage.services.values_mut().for_each(|service| service.stamped = Some(version("1.1")));
        let mut history = history();
        history.drained.insert("web-01".into(), start());
        let mut scene = Self { desired, observed, history };
        scene.claimed(&[]);
        host(&mut scene.observed, "web-01").staged.insert("shop".into(), [version("1.1")].into());
        scene
    }

    /// Our mark, with rows that others had taken out.
    fn claimed(&mut self, found: &[&str]) {
        let claim = Claim {
            generation: Generation(1),
            service: "deploy".into(),
            environment: "production".into(),
            commit: self.desired.commit.id.clone(),
            found: found.iter().map(|node| id(node)).collect(),
            at: start(),
            expires: None,
        };
        host(&mut self.observed, "web-01").claim = Some(claim);
    }

    fn sessions(&mut self, node: &str, count: u32) {
        row(&mut self.observed, node, "web-01").sessions = count;
    }

    fn plan_after(&mut self, wait: SignedDuration) -> Plan {
        let now = start() + wait;
        self.observed.hosts.values_mut().for_each(|fact| fact.at = now);
        self.observed.nodes.values_mut().for_each(|fact| fact.at = now);
        plan(&self.desired, &self.observed, &self.history, now)
    }

    /// What is done with the host then.
    fn step_after(&mut self, wait: SignedDuration) -> Option<Step> {
        self.plan_after(wait).steps.into_iter().find(|step| step.host.as_str() == "web-01")
    }

    fn kind_after(&mut self, wait: SignedDuration) -> Option<ActionKind> {
        self.step_after(wait).map(|step| step.action.kind())
    }

    fn reason_after(&mut self, wait: SignedDuration) -> Option<Waiting> {
        let subject = Subject::Host("web-01".into());
        self.plan_after(wait).waiting.into_iter().find(|waiting| waiting.subject == subject)
    }
}

fn millis(count: i64) -> SignedDuration {
    SignedDuration::from_millis(count)
}

const TIMEOUT: SignedDuration = SignedDuration::from_secs(60);
const BEFORE: SignedDuration = SignedDuration::from_millis(59_999);

#[test]
fn a_reading_of_right_after_the_drain_is_too_early() {
    let mut scene = Scene::drained(OnTimeout::Wait);
    assert_eq!(scene.kind_after(millis(199)), None);
    assert_eq!(scene.plan_after(millis(199)).wake, Some(start() + millis(200)));
    assert!(matches!(scene.reason_after(millis(199)).unwrap().reason, Reason::Draining { sessions: 0, .. }));
    assert_eq!(scene.kind_after(millis(200)), Some(ActionKind::Install));
    assert_eq!(scene.step_after(millis(200)).unwrap().why, "install while drained");
}

#[test]
fn sessions_are_waited_for_and_the_row_with_most_of_them_is_named() {
    let mut scene = Scene::drained(OnTimeout::Cut);
    scene.sessions("fe-01", 1);
    let state = scene.observed.nodes.get_mut("fe-02").unwrap().value.as_mut().unwrap();
    state.old_sessions.insert(("web".into(), "web-01".into()), 3);
    let waiting = scene.reason_after(millis(500)).unwrap();
    let (row, until) = (id("fe-02"), start() + TIMEOUT);
    assert_eq!(waiting.reason, Reason::Draining { sessions: 4, row, until, then: OnTimeout::Cut });
    assert_eq!(waiting.since, start());
    assert_eq!(scene.kind_after(millis(500)), None);
}

#[test]
fn who_waits_gives_the_host_back_when_the_time_is_over() {
    let mut scene = Scene::drained(OnTimeout::Wait);
    scene.sessions("fe-02", 1);
    assert_eq!(scene.kind_after(BEFORE), None);
    assert_eq!(scene.plan_after(BEFORE).wake, Some(start() + TIMEOUT));
    let step = scene.step_after(TIMEOUT).unwrap();
    let rows = NODES.map(id).into();
    assert_eq!(step.action, Action::Ready { rows, because: ReadyBecause::DrainTimeout });
}

#[test]
fn of_a_host_that_left_a_row_that_has_gone_is_waited_for_as_long_and_gets_no_command() {
    let mut scene = Scene::drained(OnTimeout::Wait);
    leaves(&mut scene.desired, "web-01");
    let state = host(&mut scene.observed, "web-01");
    state.packages.get_mut("shop").unwrap().version = version("1.1");
    state.services.values_mut().for_each(|service| service.stamped = Some(version("1.0")));
    lose_row(&mut scene.observed, "fe-01", "web-01");
    let state = scene.observed.nodes.get_mut("fe-01").unwrap().value.as_mut().unwrap();
    state.old_sessions.insert(("web".into(), "web-01".into()), 3);
    assert!(matches!(scene.reason_after(BEFORE).unwrap().reason, Reason::Draining { sessions: 3, .. }));
    assert_eq!(scene.kind_after(TIMEOUT), Some(ActionKind::Activate));
    scene.sessions("fe-02", 1);
    let rows = [id("fe-02")].into();
    let given_back = Action::Ready { rows, because: ReadyBecause::DrainTimeout };
    assert_eq!(scene.step_after(TIMEOUT).unwrap().action, given_back);
}

#[test]
fn who_cuts_ends_the_sessions_that_are_left_and_no_others() {
    let mut scene = Scene::drained(OnTimeout::Cut);
    scene.sessions("fe-02", 1);
    assert_eq!(scene.kind_after(BEFORE), None);
    assert_eq!(scene.step_after(TIMEOUT).unwrap().action, Action::Cut { rows: [id("fe-02")].into() });
}

#[test]
fn sessions_of_a_backend_that_has_more_time_are_not_cut_with_those_of_another() {
    let mut scene = Scene::drained(OnTimeout::Cut);
    let policy = DrainPolicy { timeout: TIMEOUT + TIMEOUT, on_timeout: OnTimeout::Cut };
    let balancer = &mut scene.desired.fleet.load_balancers[0];
    balancer.backends.insert("api".into(), policy);
    let slow = BackendId { load_balancer: balancer.name.clone(), backend: "api".into() };
    scene.desired.fleet.roles[1].backends.push(slow);
    scene.sessions("fe-02", 1);
    for node in NODES {
        let state = scene.observed.nodes.get_mut(node).unwrap().value.as_mut().unwrap();
        let rows = state.rows.clone().into_iter().map(|((_, server), row)| (("api".into(), server), row));
        state.rows.extend(rows);
    }
    assert_eq!(scene.step_after(TIMEOUT).unwrap().action, Action::Cut { rows: [id("fe-02")].into() });
}

#[test]
fn who_proceeds_installs_beside_them_and_says_so() {
    let mut scene = Scene::drained(OnTimeout::Proceed);
    scene.sessions("fe-02", 1);
    assert_eq!(scene.kind_after(BEFORE), None);
    assert!(matches!(scene.reason_after(BEFORE).unwrap().reason, Reason::Draining { .. }));
    let step = scene.step_after(TIMEOUT).unwrap();
    assert_eq!(step.action.kind(), ActionKind::Install);
    assert_eq!(step.why, "install beside sessions that did not end in time");
}

#[test]
fn clients_bound_to_a_server_are_sent_elsewhere_when_nobody_is_there_or_the_time_is_over() {
    let mut scene = Scene::drained(OnTimeout::Wait);
    for node in NODES {
        let state = scene.observed.nodes.get_mut(node).unwrap().value.as_mut().unwrap();
        state.sticky.insert("web".into());
    }
    let maint = Action::Maint { rows: NODES.map(id).into() };
    assert_eq!(scene.step_after(millis(500)).unwrap().action, maint);
    scene.sessions("fe-01", 2);
    assert_eq!(scene.kind_after(BEFORE), None);
    assert!(matches!(scene.reason_after(BEFORE).unwrap().reason, Reason::Draining { sessions: 2, .. }));
    assert_eq!(scene.plan_after(BEFORE).wake, Some(start() + TIMEOUT));
    assert_eq!(scene.step_after(TIMEOUT).unwrap().action, maint);
    for node in NODES {
        let out = row(&mut scene.observed, node, "web-01");
        (out.admin, out.status, out.sessions) = (Admin::Maint, "MAINT".into(), 0);
    }
    assert_eq!(scene.kind_after(millis(500)), Some(ActionKind::Install));
}

fn out_by_us(node: &str) -> TakenOut {
    [("web-01".into(), [(id(node), TakenOutBy::Drain)].into())].into_iter().collect()
}

#[test]
fn rows_that_others_had_taken_out_are_theirs_until_they_serve_again_or_we_retired_them() {
    let mut scene = Scene::drained(OnTimeout::Wait);
    scene.claimed(&["fe-01"]);
    assert_eq!(scene.kind_after(millis(500)), Some(ActionKind::Install), "still theirs");
    let ours = Some(Action::Claim { found: BTreeSet::new() });
    scene.history.taken_out = out_by_us("fe-02");
    assert_eq!(scene.kind_after(millis(500)), Some(ActionKind::Install), "another row was retired");
    scene.history.taken_out = out_by_us("fe-01");
    assert_eq!(scene.step_after(millis(500)).map(|step| step.action), ours);
    scene.desired.exceptions.outs.push(Out {
        what: OutTarget::LoadBalancerNode("fe-01".into()),
        reason: "kernel".into(),
        until: None,
    });
    assert_eq!(scene.step_after(millis(500)).map(|step| step.action), ours, "also on a node that is out");
    scene.desired.exceptions.outs.clear();
    row(&mut scene.observed, "fe-01", "web-01").admin = Admin::Maint;
    assert_eq!(
        scene.kind_after(millis(500)),
        Some(ActionKind::Install),
        "somebody has it in maintenance since"
    );
    scene.history.taken_out = TakenOut::default();
    let back = row(&mut scene.observed, "fe-01", "web-01");
    (back.admin, back.status) = (Admin::Ready, "UP".into());
    assert_eq!(scene.step_after(millis(500)).map(|step| step.action), ours);
}

#[test]
fn beside_a_row_that_others_had_taken_out_the_sessions_of_the_other_one_are_waited_for() {
    let mut scene = Scene::drained(OnTimeout::Wait);
    scene.claimed(&["fe-01"]);
    scene.sessions("fe-01", 1);
    assert_eq!(scene.kind_after(millis(500)), Some(ActionKind::Install), "those are not ours");
    scene.sessions("fe-02", 1);
    assert_eq!(scene.kind_after(millis(500)), None);
}

#[test]
fn a_journal_that_does_not_know_of_the_drain_counts_from_our_mark() {
    let mut scene = Scene::drained(OnTimeout::Cut);
    scene.history.drained.clear();
    scene.sessions("fe-02", 1);
    assert_eq!(scene.kind_after(BEFORE), None);
    assert_eq!(scene.kind_after(TIMEOUT), Some(ActionKind::Cut));
}

#[test]
fn what_is_watched_is_read_along_a_quarter_of_its_interval_before_and_no_more_than_a_second() {
    let mut scene = Scene::drained(OnTimeout::Wait);
    scene.sessions("fe-02", 1);
    let planned = scene.plan_after(millis(500));
    let before = |scope: Scope| {
        let due = planned.due.iter().find(|due| due.scope == scope).unwrap();
        due.at.duration_since(due.from)
    };
    assert_eq!(before(Scope::Node("fe-02".into())), millis(125), "every half a second");
    assert_eq!(before(Scope::Host("web-02".into())), millis(1_000), "every half a minute");
}
