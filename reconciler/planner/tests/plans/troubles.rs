//! What failed: when it is tried again, who waits for it, and what it is called meanwhile.

use crate::fleet::{claim, desired, history, host, observed, row, start, step, version, web_is_next};
use jiff::SignedDuration;
use model::*;
use planner::plan;

/// web-01 is next, with the new package at hand, and has failed with 1.1.
fn failed(action: ActionKind, kind: FailureKind, attempts: u32) -> (Desired, Observed, History) {
    let desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    web_is_next(&desired, &mut seen);
    let mut memory = history();
    let failure = Failure { kind, what: "web-01".into(), detail: String::new() };
    let until = start() + SignedDuration::from_secs(9);
    let trouble = history::Trouble { version: version("1.1"), action, failure, times: 1, attempts, until };
    memory.troubles.insert("web-01".into(), trouble);
    (desired, seen, memory)
}

fn told(planned: &Plan, host: &str) -> Vec<Reason> {
    let of_host = |waiting: &&Waiting| waiting.subject == Subject::Host(host.into());
    planned.waiting.iter().filter(of_host).map(|waiting| waiting.reason.clone()).collect()
}

fn begins(planned: &Plan) -> Vec<&str> {
    let claims = planned.steps.iter().filter(|step| step.action.kind() == ActionKind::Claim);
    claims.map(|step| step.host.as_str()).collect()
}

#[test]
fn only_what_counts_as_an_attempt_keeps_others_from_being_begun() {
    let begun = |kind, attempts| {
        let (desired, seen, memory) = failed(ActionKind::Install, kind, attempts);
        begins(&plan(&desired, &seen, &memory, start())).len()
    };
    assert_eq!(begun(FailureKind::SourceUnavailable, 0), 1, "the next one is begun");
    assert_eq!(begun(FailureKind::InstallFailed, 1), 0);
}

#[test]
fn who_failed_and_was_given_back_is_begun_again_before_anybody_else() {
    let (mut desired, mut seen, memory) = failed(ActionKind::Activate, FailureKind::ActivateFailed, 1);
    desired.fleet.roles[1].max_unavailable = 2;
    desired.fleet.backend_limit = Limit::Count(2);
    assert_eq!(begins(&plan(&desired, &seen, &memory, start())), Vec::<&str>::new(), "not at once");
    let later = start() + SignedDuration::from_secs(9);
    seen.hosts.values_mut().for_each(|fact| fact.at = later);
    seen.nodes.values_mut().for_each(|fact| fact.at = later);
    let planned = plan(&desired, &seen, &memory, later);
    assert_eq!(begins(&planned), ["web-01"], "{:?}", planned.waiting);
}

#[test]
fn a_host_that_failed_and_is_well_since_keeps_nobody_from_being_begun() {
    let (desired, mut seen, memory) = failed(ActionKind::Activate, FailureKind::ActivateFailed, 1);
    assert_eq!(begins(&plan(&desired, &seen, &memory, start())), Vec::<&str>::new());
    *host(&mut seen, "web-01") = host(&mut observed(&desired, "1.1"), "web-01").clone();
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(begins(&planned), ["web-02"], "{:?}", planned.waiting);
}

#[test]
fn a_host_that_failed_and_was_let_go_keeps_nobody_of_an_earlier_role() {
    let (desired, mut seen, memory) = failed(ActionKind::Activate, FailureKind::ActivateFailed, 1);
    let storage = host(&mut observed(&desired, "1.0"), "gitaly-01").clone();
    *host(&mut seen, "gitaly-01") =
        HostState { staged: [("shop".into(), [version("1.1")].into())].into(), ..storage };
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(begins(&planned), ["gitaly-01"], "{:?}", planned.waiting);
    // In the middle of its work it is a failure of the release.
    host(&mut seen, "web-01").claim = Some(claim());
    assert_eq!(begins(&plan(&desired, &seen, &memory, start())), Vec::<&str>::new());
}

#[test]
fn what_failed_on_a_host_that_is_declared_out_keeps_nobody_from_being_begun() {
    let (mut desired, seen, memory) = failed(ActionKind::Install, FailureKind::InstallFailed, 1);
    let what = OutTarget::Host("web-01".into());
    desired.exceptions.outs.push(Out { what, reason: "disk replaced".into(), until: None });
    desired.fleet.roles[1].max_unavailable = 2;
    desired.fleet.backend_limit = Limit::Count(2);
    assert_eq!(begins(&plan(&desired, &seen, &memory, start())), ["web-02"]);
}

#[test]
fn a_host_that_was_begun_is_given_back_when_another_one_fails() {
    let (mut desired, mut seen, memory) = failed(ActionKind::Install, FailureKind::InstallFailed, 1);
    desired.fleet.roles[1].max_unavailable = 2;
    desired.fleet.backend_limit = Limit::Count(2);
    host(&mut seen, "web-02").claim = Some(claim());
    let planned = plan(&desired, &seen, &memory, start());
    let steps: Vec<_> = planned.steps.iter().map(|step| (step.host.as_str(), step.action.kind())).collect();
    assert_eq!(steps, [("web-02", ActionKind::Release)], "{:?}", planned.waiting);
}

#[test]
fn a_host_whose_service_we_have_stopped_is_not_given_back_as_if_somebody_else_had() {
    let (mut desired, mut seen, memory) = failed(ActionKind::Install, FailureKind::InstallFailed, 1);
    desired.fleet.roles[1].max_unavailable = 2;
    desired.fleet.backend_limit = Limit::Count(2);
    let state = host(&mut seen, "web-02");
    state.claim = Some(claim());
    state.packages.get_mut("shop").unwrap().version = version("1.1");
    state.services.values_mut().for_each(|service| service.active = false);
    let planned = plan(&desired, &seen, &memory, start());
    assert!(planned.steps.iter().all(|step| step.host.as_str() != "web-02"), "{:?}", planned.steps);
    assert!(told(&planned, "web-02").iter().any(|reason| matches!(reason, Reason::StageFailing { .. })));
}

#[test]
fn a_server_that_is_down_or_may_be_in_a_moment_costs_no_capacity_when_it_leaves() {
    let desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    web_is_next(&desired, &mut seen);
    for status in ["DOWN", "UP 1/3"] {
        for node in ["fe-01", "fe-02"] {
            row(&mut seen, node, "web-01").status = status.into();
        }
        let planned = plan(&desired, &seen, &history(), start());
        assert_eq!(begins(&planned), ["web-01"], "{status}: {:?}", planned.waiting);
    }
}

#[test]
fn sessions_that_did_not_end_in_time_are_told_as_such_and_anything_else_as_a_failure() {
    let reason = |action, kind| {
        let (desired, seen, memory) = failed(action, kind, 1);
        told(&plan(&desired, &seen, &memory, start()), "web-01").remove(0)
    };
    assert!(matches!(reason(ActionKind::Drain, FailureKind::TimedOut), Reason::DrainTimedOut { .. }));
    for (action, kind) in
        [(ActionKind::Drain, FailureKind::LoadBalancerRefused), (ActionKind::Install, FailureKind::TimedOut)]
    {
        assert!(matches!(reason(action, kind), Reason::Backoff { .. }), "{action:?} {kind:?}");
    }
}

#[test]
fn a_claim_that_is_under_way_counts_as_work_on_its_host() {
    let mut desired = desired(4, "1.1", &["1.0", "1.1"]);
    desired.fleet.roles[1].max_unavailable = 2;
    desired.fleet.backend_limit = Limit::Count(2);
    let mut seen = observed(&desired, "1.0");
    web_is_next(&desired, &mut seen);
    let mut memory = history();
    let claim = step("claim", "web-01", Action::Claim { found: Default::default() });
    memory.apply(start() - SignedDuration::from_secs(1), &Event::StepStarted { step: claim }).unwrap();
    desired.fleet.max_parallel = 1;
    assert_eq!(begins(&plan(&desired, &seen, &memory, start())), Vec::<&str>::new());
    desired.fleet.max_parallel = 2;
    assert_eq!(begins(&plan(&desired, &seen, &memory, start())), ["web-02"]);
}

#[test]
fn an_activation_is_tried_again_at_the_very_instant_that_was_told() {
    let desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut memory = history();
    let services = desired.fleet.roles[1].services.clone();
    let activate = Action::Activate { services, packages: Default::default(), stamp: version("1.1") };
    for step in
        [step("1", "web-01", Action::Claim { found: Default::default() }), step("2", "web-01", activate)]
    {
        let (environment, id) = (step.environment.clone(), step.id.clone());
        memory.apply(start(), &Event::StepStarted { step }).unwrap();
        let result = Ok(Outcome::Changed(String::new()));
        memory.apply(start(), &Event::StepFinished { environment, step: id, result }).unwrap();
    }
    let at = |now: jiff::Timestamp| {
        let mut seen = observed(&desired, "1.0");
        web_is_next(&desired, &mut seen);
        let state = host(&mut seen, "web-01");
        state.packages.get_mut("shop").unwrap().version = version("1.1");
        state.services.values_mut().for_each(|service| service.stamped = Some(version("1.1")));
        (state.claim, state.health) =
            (memory.claims.get("web-01").cloned(), HealthState::Unhealthy("503".into()));
        seen.hosts.values_mut().for_each(|fact| fact.at = now);
        seen.nodes.values_mut().for_each(|fact| fact.at = now);
        plan(&desired, &seen, &memory, now)
    };
    let until = told(&at(start() + SignedDuration::from_secs(31)), "web-01");
    let Some(Reason::Backoff { until, .. }) = until.first() else { panic!("{until:?}") };
    let acts = |now| at(now).steps.iter().any(|step| step.host.as_str() == "web-01");
    assert!(acts(*until));
    assert!(!acts(*until - SignedDuration::from_millis(1)));
}

#[test]
fn a_host_that_has_gone_on_to_another_version_is_no_failure_of_the_one_before() {
    let desired = desired(4, "1.1", &["1.0", "1.1", "1.2"]);
    let mut seen = observed(&desired, "1.1");
    host(&mut seen, "web-04").packages.get_mut("shop").unwrap().version = version("1.2");
    host(&mut seen, "web-04").staged = [("shop".into(), [version("1.1")].into())].into();
    let state = host(&mut seen, "gitaly-01");
    state.health = HealthState::Unhealthy("shop is not up".into());
    state.claim = Some(claim());
    state.staged = [("shop".into(), [version("1.1")].into())].into();
    let mut memory = history();
    let at = start() - SignedDuration::from_mins(5);
    let activated = history::Activated { version: version("1.1"), at, times: 1 };
    memory.activated.insert("gitaly-01".into(), activated);
    assert_eq!(begins(&plan(&desired, &seen, &memory, start())), [] as [&str; 0], "it is not well with 1.1");
    // 1.2 failed there before it was taken back: the way back comes to it after the web servers.
    host(&mut seen, "gitaly-01").packages.get_mut("shop").unwrap().version = version("1.2");
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(begins(&planned), ["web-04"], "{:?}", planned.waiting);
}

#[test]
fn a_host_that_could_not_be_seen_before_we_worked_there_is_looked_at_again() {
    let desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    let unknown = Unknown { kind: UnknownKind::Unreachable, detail: "no route".into() };
    seen.hosts.get_mut("gitaly-01").unwrap().value = Err(unknown);
    let mut memory = history();
    let reasons = |memory: &History| told(&plan(&desired, &seen, memory, start()), "gitaly-01");
    assert!(matches!(reasons(&memory)[..], [Reason::HostUnknown { .. }]), "{:?}", reasons(&memory));
    memory.last_action.insert("gitaly-01".into(), start() + SignedDuration::from_millis(1));
    assert_eq!(reasons(&memory), [Reason::FreshFacts]);
}

#[test]
fn a_service_that_somebody_stopped_on_a_host_that_is_done_is_left_as_found() {
    let desired = desired(4, "1.0", &["1.0"]);
    let mut seen = observed(&desired, "1.0");
    host(&mut seen, "web-01").services.values_mut().for_each(|service| service.active = false);
    let planned = plan(&desired, &seen, &history(), start());
    assert_eq!(planned.steps, []);
    assert!(matches!(told(&planned, "web-01")[..], [Reason::Unhealthy { .. }]), "{:?}", planned.waiting);
}

#[test]
fn a_host_has_its_time_to_become_well_to_the_very_instant() {
    let desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.1");
    let state = host(&mut seen, "web-01");
    state.health = HealthState::Unhealthy("503".into());
    state.claim = Some(claim());
    let mut memory = history();
    let pending = |memory: &History| {
        told(&plan(&desired, &seen, memory, start()), "web-01")
            .iter()
            .any(|reason| matches!(reason, Reason::HealthPending { .. }))
    };
    for (ago_ms, waits) in [(29_999, true), (30_000, false)] {
        let at = start() - SignedDuration::from_millis(ago_ms);
        let activated = history::Activated { version: version("1.1"), at, times: 1 };
        memory.activated.insert("web-01".into(), activated);
        assert_eq!(pending(&memory), waits, "activated {ago_ms} ms ago");
    }
}

#[test]
fn a_host_that_does_not_run_what_it_has_is_not_made_ready_on_a_node_that_is_declared_out() {
    let (mut desired, mut seen, mut memory) = failed(ActionKind::Install, FailureKind::InstallFailed, 1);
    let what = OutTarget::LoadBalancerNode("fe-02".into());
    desired.exceptions.outs.push(Out { what, reason: "rebuilt".into(), until: None });
    host(&mut seen, "web-02").claim = Some(claim());
    let out = row(&mut seen, "fe-02", "web-02");
    (out.admin, out.status) = (Admin::Drain, "DRAIN".into());
    let id = RowId { node: "fe-02".into(), backend: "web".into(), server: "web-02".into() };
    memory.taken_out = [("web-02".into(), [(id, TakenOutBy::Drain)].into())].into_iter().collect();
    memory.claims.insert("web-02".into(), claim());
    let steps = |seen: &Observed| -> Vec<ActionKind> {
        let planned = plan(&desired, seen, &memory, start());
        let of_host = planned.steps.iter().filter(|step| step.host.as_str() == "web-02");
        of_host.map(|step| step.action.kind()).collect()
    };
    assert_eq!(steps(&seen), [ActionKind::Ready], "another one has failed: our drain is given back");
    host(&mut seen, "web-02").services.values_mut().for_each(|s| s.started_after_unpack = Some(false));
    assert_eq!(steps(&seen), []);
}

#[test]
fn a_host_whose_agent_we_left_paused_is_marked_once_more_to_resume_it() {
    let desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.1");
    for (paused_by_us, marked) in [(false, &[][..]), (true, &["web-01"][..])] {
        host(&mut seen, "web-01").agent = Some(AgentState { active: false, busy: false, paused_by_us });
        assert_eq!(begins(&plan(&desired, &seen, &history(), start())), marked);
    }
}

#[test]
fn a_host_that_may_have_been_let_go_is_begun_anew_where_it_shows_no_mark() {
    let desired = desired(4, "1.1", &["1.0", "1.1"]);
    let seen = observed(&desired, "1.1");
    let mut memory = history();
    memory.claims.insert("web-01".into(), claim());
    assert_eq!(begins(&plan(&desired, &seen, &memory, start())), ["web-01"], "its mark is renewed");
    // The answer to our release was lost.
    memory.letting_go.insert("web-01".into());
    assert_eq!(begins(&plan(&desired, &seen, &memory, start())), [] as [&str; 0]);
}
