//! Whole rollouts, foreseen: order, budgets, floors, direction.

use crate::fleet::{desired, history, host, observed, row, start, version, web_is_next};
use jiff::SignedDuration;
use model::*;
use planner::{Preview, PreviewedStep, plan, preview};

/// `host action` for every step but downloads, in the order in which they start.
fn story(preview: &Preview) -> Vec<String> {
    let steps = preview.steps.iter().map(|step| &step.step);
    let told = steps.filter(|step| step.action.kind() != ActionKind::Download);
    told.map(|step| format!("{} {}", step.host, step.action.kind())).collect()
}

fn reason_of<'a>(plan: &'a Plan, subject: &Subject) -> &'a Reason {
    &plan.waiting.iter().find(|waiting| waiting.subject == *subject).expect("it waits").reason
}

#[test]
fn a_bump_goes_role_by_role_and_host_by_host() {
    let desired = desired(2, "1.1", &["1.0", "1.1"]);
    let rollout = preview(&desired, &observed(&desired, "1.0"), &history(), start());
    let web = |host: &str| {
        ["claim", "drain", "install", "activate", "ready", "release"].map(|action| format!("{host} {action}"))
    };
    let gitaly = ["claim", "install", "activate", "release"].map(|action| format!("gitaly-01 {action}"));
    assert_eq!(story(&rollout), [gitaly.to_vec(), web("web-01").to_vec(), web("web-02").to_vec()].concat());
    assert_eq!(rollout.waiting, []);
    assert_eq!(rollout.lowest["fe/web"], 1);
}

#[test]
fn everything_is_downloaded_before_the_first_drain() {
    let desired = desired(4, "1.1", &["1.0", "1.1"]);
    let rollout = preview(&desired, &observed(&desired, "1.0"), &history(), start());
    let last_download =
        rollout.steps.iter().filter(|s| s.step.action.kind() == ActionKind::Download).map(|s| s.end);
    let first_claim =
        rollout.steps.iter().find(|s| s.step.action.kind() == ActionKind::Claim).map(|s| s.start);
    assert!(last_download.max() <= first_claim);
}

#[test]
fn a_step_takes_as_long_as_such_steps_have_taken_and_what_it_holds_up_comes_after_it() {
    let desired = desired(2, "1.1", &["1.0", "1.1"]);
    let mut memory = history();
    memory.durations_ms.insert(ActionKind::Install, 7_000);
    let rollout = preview(&desired, &observed(&desired, "1.0"), &memory, start());
    let times = |host: &str, kind| {
        let it = |step: &&PreviewedStep| step.step.host.as_str() == host && step.step.action.kind() == kind;
        rollout.steps.iter().find(it).map(|step| (step.start, step.end)).unwrap()
    };
    for host in ["gitaly-01", "web-01", "web-02"] {
        let (began, ended) = times(host, ActionKind::Install);
        assert_eq!(ended.duration_since(began), SignedDuration::from_secs(7), "{host}");
        assert!(times(host, ActionKind::Activate).0 >= ended, "{host}");
    }
    let last = rollout.steps.iter().map(|step| step.end).max().unwrap();
    assert_eq!(rollout.duration, last.duration_since(start()));
}

#[test]
fn a_host_that_waits_for_its_sessions_does_not_wait_for_another_ones_install() {
    let mut desired = desired(4, "1.1", &["1.0", "1.1"]);
    desired.fleet.roles[1].max_unavailable = 2;
    desired.fleet.backend_limit = Limit::Count(2);
    let mut seen = observed(&desired, "1.0");
    for node in ["fe-01", "fe-02"] {
        let out = row(&mut seen, node, "web-01");
        (out.admin, out.status) = (Admin::Drain, "DRAIN".into());
    }
    let rollout = preview(&desired, &seen, &history(), start());
    let of = |host: &str, kind| {
        let it = |step: &&PreviewedStep| step.step.host.as_str() == host && step.step.action.kind() == kind;
        rollout.steps.iter().find(it).unwrap()
    };
    let (drain, install) = (of("web-02", ActionKind::Drain), of("web-02", ActionKind::Install));
    assert!(of("web-01", ActionKind::Install).end > install.start, "the other one is at work meanwhile");
    assert!(install.start.duration_since(drain.end) <= SignedDuration::from_secs(1));
}

#[test]
fn a_rollout_is_foreseen_beyond_a_freeze_of_ten_days_and_not_of_twenty() {
    let mut desired = desired(2, "1.1", &["1.0", "1.1"]);
    let holds_until = |desired: &mut Desired, days: i64| {
        let until = Some(start() + SignedDuration::from_hours(24 * days));
        desired.exceptions.holds = vec![Hold { scope: HoldScope::All, reason: "holidays".into(), until }];
        preview(desired, &observed(desired, "1.0"), &history(), start()).waiting.len()
    };
    assert_eq!(holds_until(&mut desired, 10), 0);
    assert_ne!(holds_until(&mut desired, 20), 0);
}

#[test]
fn going_back_takes_the_roles_in_reverse() {
    let desired = desired(1, "1.0", &["1.0", "1.1"]);
    let mut desired = desired;
    desired.fleet.roles[1].allow_outage = true;
    let seen = observed(&desired, "1.1");
    assert_eq!(plan(&desired, &seen, &history(), start()).direction, Direction::Back);
    let rollout = preview(&desired, &seen, &history(), start());
    let claims: Vec<_> = story(&rollout).into_iter().filter(|step| step.ends_with("claim")).collect();
    assert_eq!(claims, ["web-01 claim", "gitaly-01 claim"]);
}

#[test]
fn a_stage_that_goes_back_is_not_done_before_its_first_role_is_back() {
    let mut desired = desired(1, "1.0", &["1.0", "1.1"]);
    desired.fleet.roles[1].allow_outage = true;
    let mut seen = observed(&desired, "1.1");
    let state = host(&mut seen, "web-01");
    state.packages.get_mut("shop").unwrap().version = version("1.0");
    state.services.values_mut().for_each(|service| service.stamped = Some(version("1.0")));
    let planned = plan(&desired, &seen, &history(), start());
    let standing: Vec<_> = planned.tracks[0].stages.iter().map(|stage| &stage.standing).collect();
    assert_eq!(standing, [&StageStanding::Working]);
}

#[test]
fn a_final_version_after_its_candidate_needs_a_persons_word() {
    let mut desired = desired(2, "15.2.0-ee.0", &["15.2.0-rc42.ee.0", "15.2.0-ee.0"]);
    let seen = observed(&desired, "15.2.0-rc42.ee.0");
    let asked = plan(&desired, &seen, &history(), start());
    assert!(matches!(asked.waiting[0].reason, Reason::DirectionUnknown { .. }));
    assert!(asked.steps.is_empty());
    desired.direction = Some(Direction::Forward);
    let told = plan(&desired, &seen, &history(), start());
    assert_eq!(told.direction, Direction::Forward);
    assert!(!told.steps.is_empty());
}

#[test]
fn a_converged_fleet_needs_nothing_and_is_looked_at_again_later() {
    let desired = desired(20, "1.0", &["1.0"]);
    let quiet = plan(&desired, &observed(&desired, "1.0"), &history(), start());
    assert_eq!((quiet.steps.len(), quiet.waiting.len(), quiet.observe.len()), (0, 0, 0));
    assert_eq!(quiet.standing(false), Standing::Converged);
    assert!(quiet.next_turn().is_some());
}

#[test]
fn the_floor_counts_what_others_took_out() {
    let desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    for fact in seen.hosts.values_mut() {
        fact.value.as_mut().unwrap().staged.insert("shop".into(), [version("1.1")].into());
    }
    *host(&mut seen, "gitaly-01") = host(&mut observed(&desired, "1.1"), "gitaly-01").clone();
    // Done already, and out on the second node only: no other host may leave, on either.
    *host(&mut seen, "web-03") = host(&mut observed(&desired, "1.1"), "web-03").clone();
    row(&mut seen, "fe-02", "web-03").status = "DOWN".into();
    let planned = plan(&desired, &seen, &history(), start());
    assert_eq!(planned.steps, []);
    let reason = reason_of(&planned, &Subject::Role("web".into()));
    assert!(
        matches!(reason, Reason::BelowFloor(floor) if floor.floor == 3 && floor.in_rotation == 3),
        "{reason}"
    );
}

#[test]
fn a_host_that_is_out_already_goes_first_and_costs_nothing() {
    let desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    for node in ["fe-01", "fe-02"] {
        row(&mut seen, node, "web-04").status = "DOWN".into();
    }
    host(&mut seen, "web-04").health = HealthState::Unhealthy("connection refused".into());
    let rollout = preview(&desired, &seen, &history(), start());
    let first = story(&rollout).into_iter().find(|step| step.starts_with("web") && step.ends_with("claim"));
    assert_eq!(first.unwrap(), "web-04 claim");
    assert_eq!(rollout.waiting, []);
}

#[test]
fn a_server_that_somebody_else_drained_is_upgraded_and_left_drained() {
    let desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    for node in ["fe-01", "fe-02"] {
        let row = row(&mut seen, node, "web-02");
        (row.admin, row.status) = (Admin::Drain, "DRAIN".into());
    }
    let rollout = preview(&desired, &seen, &history(), start());
    let steps: Vec<_> = story(&rollout).into_iter().filter(|step| step.starts_with("web-02")).collect();
    assert_eq!(steps, ["web-02 claim", "web-02 install", "web-02 activate", "web-02 release"]);
    // It is out, so the others wait for it: the floor holds.
    assert!(rollout.waiting.iter().any(|waiting| matches!(waiting.reason, Reason::ForeignDrain { .. })));
    assert!(!story(&rollout).iter().any(|step| step == "web-01 drain"));
}

#[test]
fn sessions_hold_an_install_back_and_the_reason_says_where() {
    let desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    web_is_next(&desired, &mut seen);
    host(&mut seen, "web-01").claim = Some(Claim {
        generation: Generation(1),
        service: "deploy".into(),
        environment: "production".into(),
        commit: desired.commit.id.clone(),
        found: Default::default(),
        at: start(),
        expires: None,
    });
    for node in ["fe-01", "fe-02"] {
        let row = row(&mut seen, node, "web-01");
        (row.admin, row.status) = (Admin::Drain, "DRAIN".into());
    }
    row(&mut seen, "fe-02", "web-01").sessions = 3;
    let mut history = history();
    history.drained.insert("web-01".into(), start() - SignedDuration::from_secs(5));
    let planned = plan(&desired, &seen, &history, start());
    let reason = reason_of(&planned, &Subject::Host("web-01".into()));
    assert_eq!(
        reason.to_string(),
        "waits for 3 sessions, most of them in web/web-01 on fe-02; from 12:00:55Z on: wait"
    );
    row(&mut seen, "fe-02", "web-01").sessions = 0;
    let planned = plan(&desired, &seen, &history, start());
    assert_eq!(planned.steps[0].action.kind(), ActionKind::Install);
}

#[test]
fn packages_are_read_once_more_before_they_are_changed() {
    let desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    web_is_next(&desired, &mut seen);
    let mut history = history();
    claimed_and_drained(&desired, &mut seen, &mut history, "web-01");
    let mut begins = |seconds| {
        let now = start() + SignedDuration::from_secs(seconds);
        seen.nodes.values_mut().for_each(|fact| fact.at = now);
        let planned = plan(&desired, &seen, &history, now);
        (planned.steps.iter().map(|step| step.action.kind()).collect::<Vec<_>>(), planned.observe)
    };
    assert_eq!(begins(3), (vec![ActionKind::Install], Default::default()));
    let (steps, observe) = begins(4);
    assert_eq!(steps, []);
    assert!(observe.contains(&Scope::Host("web-01".into())), "{observe:?}");
}

#[test]
fn an_old_worker_with_a_session_is_not_drained() {
    let desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    web_is_next(&desired, &mut seen);
    let mut history = history();
    claimed_and_drained(&desired, &mut seen, &mut history, "web-01");
    let node = seen.nodes.get_mut("fe-01").unwrap().value.as_mut().unwrap();
    node.old_sessions.insert(("web".into(), "web-01".into()), 1);
    let planned = plan(&desired, &seen, &history, start());
    assert!(matches!(
        reason_of(&planned, &Subject::Host("web-01".into())),
        Reason::Draining { sessions: 1, .. }
    ));
}

fn claimed_and_drained(desired: &Desired, seen: &mut Observed, history: &mut History, name: &str) {
    host(seen, name).claim = Some(Claim {
        generation: history.generation,
        service: "deploy".into(),
        environment: "production".into(),
        commit: desired.commit.id.clone(),
        found: Default::default(),
        at: start(),
        expires: None,
    });
    for node in ["fe-01", "fe-02"] {
        let row = row(seen, node, name);
        (row.admin, row.status) = (Admin::Drain, "DRAIN".into());
    }
    history.drained.insert(name.into(), start() - SignedDuration::from_secs(5));
}

#[test]
fn a_load_balancer_that_forgot_a_drain_is_told_again() {
    let desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    web_is_next(&desired, &mut seen);
    let mut history = history();
    claimed_and_drained(&desired, &mut seen, &mut history, "web-01");
    let forgot = row(&mut seen, "fe-02", "web-01");
    (forgot.admin, forgot.status) = (Admin::Ready, "UP".into());
    let planned = plan(&desired, &seen, &history, start());
    let rows = planned.steps[0].action.rows().unwrap();
    assert_eq!(planned.steps[0].action.kind(), ActionKind::Drain);
    assert_eq!(rows.iter().map(|row| row.node.as_str()).collect::<Vec<_>>(), ["fe-02"]);
}

#[test]
fn a_row_that_has_just_left_maintenance_is_read_before_it_is_told_again() {
    let desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.1");
    let mut history = history();
    claimed_and_drained(&desired, &mut seen, &mut history, "web-01");
    for node in ["fe-01", "fe-02"] {
        let row = row(&mut seen, node, "web-01");
        (row.admin, row.status) = (Admin::Maint, "MAINT".into());
    }
    let planned = plan(&desired, &seen, &history, start());
    assert_eq!(planned.steps[0].action.kind(), ActionKind::Drain);
    // The step ends, and the host is read again before its load balancers are.
    let step = planned.steps[0].clone();
    let (environment, id) = (step.environment.clone(), step.id.clone());
    let ended = start() + SignedDuration::from_millis(100);
    history.apply(start(), &Event::StepStarted { step }).unwrap();
    let result = Ok(Outcome::AlreadyDone);
    history.apply(ended, &Event::StepFinished { environment, step: id, result }).unwrap();
    seen.hosts.get_mut("web-01").unwrap().at = ended;
    let planned = plan(&desired, &seen, &history, ended);
    assert_eq!(planned.steps, []);
    assert!(planned.observe.contains(&Scope::Node("fe-01".into())));
}

#[test]
fn a_host_claimed_by_another_service_is_left_alone() {
    let desired = desired(4, "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    host(&mut seen, "gitaly-01").claim = Some(Claim {
        generation: Generation(9),
        service: "somebody".into(),
        environment: "production".into(),
        commit: desired.commit.id.clone(),
        found: Default::default(),
        at: start(),
        expires: None,
    });
    let planned = plan(&desired, &seen, &history(), start());
    assert!(planned.steps.iter().all(|step| step.host.as_str() != "gitaly-01"));
    assert!(matches!(planned.waiting[0].reason, Reason::ClaimedByOther { overdue: false, .. }));

    let until = start() + SignedDuration::from_secs(1);
    host(&mut seen, "gitaly-01").claim.as_mut().unwrap().expires = Some(until);
    let overdue = |now| {
        let planned = plan(&desired, &seen, &history(), now);
        assert!(planned.steps.iter().all(|step| step.host.as_str() != "gitaly-01"), "it stays theirs");
        matches!(planned.waiting[0].reason, Reason::ClaimedByOther { overdue: true, .. })
    };
    assert_eq!((overdue(start()), overdue(until)), (false, true));
}

#[test]
fn report_mode_says_what_would_start() {
    let mut desired = desired(4, "1.1", &["1.0", "1.1"]);
    desired.fleet.mode = Mode::Report;
    let planned = plan(&desired, &observed(&desired, "1.0"), &history(), start());
    assert_eq!(planned.waiting[0].reason, Reason::ReportOnly { steps: 5 });
}

#[test]
fn equal_inputs_give_equal_plans() {
    let desired = desired(8, "1.1", &["1.0", "1.1"]);
    let seen = observed(&desired, "1.0");
    assert_eq!(plan(&desired, &seen, &history(), start()), plan(&desired, &seen, &history(), start()));
}
