//! What people, time and accidents say against a release: vetoes, freezes, rollbacks, emergencies, outs, patches.

use crate::fleet::{claim, config_agent, host, row, start, version};
use crate::release::{desired, history, kinds, observed, primary, set_gate, stages};
use jiff::SignedDuration;
use model::*;
use planner::{plan, preview};

#[test]
fn a_veto_a_hold_and_a_pause_stop_everything_new() {
    let mut vetoed = desired("1.0", "1.1", &["1.0", "1.1"]);
    let seen = observed(&vetoed, "1.0");
    vetoed.exceptions.vetoes.push(Veto { version: version("1.1"), reason: "corrupts uploads".into() });
    let planned = plan(&vetoed, &seen, &history(&["1.0"]), start());
    assert_eq!(planned.steps, []);
    assert!(matches!(primary(&planned), Reason::Vetoed { .. }));

    let mut held = desired("1.0", "1.1", &["1.0", "1.1"]);
    let until = start() + SignedDuration::from_hours(1);
    let reason = "load test".into();
    held.exceptions.holds.push(Hold { scope: HoldScope::Canary, reason, until: Some(until) });
    let planned = plan(&held, &seen, &history(&["1.0"]), start());
    assert_eq!(planned.steps, []);
    assert!(matches!(primary(&planned), Reason::Held { .. }));
    assert!(!plan(&held, &seen, &history(&["1.0"]), until).observe.is_empty(), "it looks again when it ends");

    let mut memory = history(&["1.0"]);
    let pause = Event::Paused {
        environment: "production".into(),
        by: "ada".into(),
        reason: "network work".into(),
        until: start() + SignedDuration::from_hours(1),
    };
    memory.apply(start(), &pause).unwrap();
    let planned = plan(&desired("1.0", "1.1", &["1.0", "1.1"]), &seen, &memory, start());
    assert_eq!(planned.steps, []);
    assert!(matches!(primary(&planned), Reason::Paused { .. }));
}

#[test]
fn the_way_back_past_post_deployment_migrations_needs_a_persons_word() {
    let mut back = desired("1.0", "1.0", &["1.0", "1.1"]);
    let seen = observed(&back, "1.1");
    let mut memory = history(&["1.0", "1.1"]);
    let job = JobKey { kind: JobKind::PostMigration, version: version("1.1") };
    let found = Event::Adopted {
        environment: "production".into(),
        by: "ada".into(),
        reason: "post-migrated".into(),
        running: Vec::new(),
        ahead: Vec::new(),
        jobs: vec![FoundJob { key: job, succeeded: true, attempt: 1 }],
    };
    memory.apply(start(), &found).unwrap();
    let planned = plan(&back, &seen, &memory, start());
    assert_eq!(planned.steps, []);
    assert!(matches!(primary(&planned), Reason::PastPostMigration { .. }), "{:?}", planned.waiting);
    back.exceptions.allow =
        Some(Allow { past_post_migrations_of: version("1.1"), reason: "restored".into() });
    assert_ne!(plan(&back, &seen, &memory, start()).steps, []);

    // A person's word about one release is none about a later one.
    back.ranks.push(version("1.2"));
    let later = JobKey { kind: JobKind::PostMigration, version: version("1.2") };
    let state = JobState::Passed { at: start(), output: String::new() };
    memory.progress.jobs.insert(later, JobRecord { attempt: 1, state, began: Some(start()), host: None });
    let planned = plan(&back, &seen, &memory, start());
    let past = |reason: &Reason| matches!(reason, Reason::PastPostMigration { version, .. } if version.as_str() == "1.2");
    assert!(past(primary(&planned)), "{:?}", planned.waiting);
}

#[test]
fn a_way_back_leads_past_migrations_also_where_git_does_not_tell_that_they_came_later() {
    let mut memory = history(&["1.0"]);
    let job = JobKey { kind: JobKind::PostMigration, version: version("1.1") };
    let state = JobState::Passed { at: start(), output: String::new() };
    memory.progress.jobs.insert(job, JobRecord { attempt: 1, state, began: Some(start()), host: None });
    memory.progress.appeared = ["1.0", "1.1"].map(version).into();
    // A new version that sorts below, by a person's word; and history that was rewritten.
    for (target, ranks) in [("1.0.1", &["1.0", "1.1", "1.0.1"][..]), ("1.0", &["1.0", "1.2"])] {
        let mut back = desired(target, target, ranks);
        back.direction = Some(Direction::Back);
        let seen = observed(&back, "1.1");
        let planned = plan(&back, &seen, &memory, start());
        assert_eq!(planned.steps, [], "to {target}");
        let past = |reason: &Reason| matches!(reason, Reason::PastPostMigration { version, .. } if version.as_str() == "1.1");
        assert!(past(primary(&planned)), "to {target}: {:?}", planned.waiting);
        back.exceptions.allow =
            Some(Allow { past_post_migrations_of: version("1.1"), reason: "restored".into() });
        assert_ne!(plan(&back, &seen, &memory, start()).steps, [], "to {target}");
    }
}

#[test]
fn going_back_needs_no_gate_migrates_nothing_and_takes_the_canary_last() {
    let back = desired("1.0", "1.0", &["1.0", "1.1"]);
    let mut seen = observed(&back, "1.1");
    set_gate(&mut seen, Verdict::Red, start());
    let rollout = preview(&back, &seen, &history(&["1.0"]), start());
    assert_eq!(stages(&rollout), ["fleet", "gitaly", "canary fleet"]);
    assert_eq!(rollout.waiting, []);
    let planned = plan(&back, &seen, &history(&["1.0"]), start());
    assert!(
        planned.steps.iter().all(|step| step.action.kind() == ActionKind::Download),
        "{:?}",
        kinds(&planned)
    );
}

#[test]
fn a_version_that_this_service_never_released_is_not_migrated_when_the_fleet_has_come_back_to_it() {
    let back = desired("1.0", "1.0", &["1.0", "1.1"]);
    let came_back = observed(&back, "1.0");
    let mut memory = history(&[]);
    memory.progress.found_running.insert(version("1.1"));
    let migrates = |memory: &History| {
        let rollout = preview(&back, &came_back, memory, start());
        rollout.steps.iter().filter(|step| step.step.action.kind() == ActionKind::Migrate).count()
    };
    assert_eq!(migrates(&memory), 0);
    // Without a later version the database is behind.
    memory.progress.found_running.clear();
    assert_ne!(migrates(&memory), 0);
}

#[test]
fn post_deployment_migrations_wait_for_a_canary_that_was_left_behind() {
    let mut desired = desired("1.2", "1.1", &["1.0", "1.1", "1.2"]);
    desired.fleet.policy.promotion = Promotion::default();
    desired.canary.as_mut().unwrap().weight = 0;
    let mut seen = observed(&desired, "1.0");
    for name in ["web-cny-01", "web-cny-02"] {
        let runs =
            PackageState { version: version("1.1"), installed: true, status: "hi ".into(), held: true };
        host(&mut seen, name).packages.insert("shop".into(), runs);
    }
    let rollout = preview(&desired, &seen, &history(&["1.0", "1.1"]), start());
    let post = |step: &&planner::PreviewedStep| step.step.stage == Some("post-deployment migrations".into());
    assert_eq!(rollout.steps.iter().filter(post).count(), 0);
    let left: Vec<_> = rollout.waiting.iter().map(|waiting| &waiting.reason).collect();
    assert!(left.iter().any(|reason| matches!(reason, Reason::OlderStillRuns { .. })), "{left:?}");
}

#[test]
fn a_version_that_only_the_canary_had_when_we_came_is_still_watched_and_post_migrated() {
    let desired = desired("1.1", "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    for name in ["web-cny-01", "web-cny-02"] {
        let runs =
            PackageState { version: version("1.1"), installed: true, status: "hi ".into(), held: true };
        host(&mut seen, name).packages.insert("shop".into(), runs);
    }
    let mut memory = history(&["1.0"]);
    memory.progress.found_ahead.insert(version("1.1"));
    let rollout = preview(&desired, &seen, &memory, start());
    assert_eq!(rollout.waiting, []);
    let jobs: Vec<_> = rollout
        .steps
        .iter()
        .filter_map(|step| step.step.action.job())
        .map(|(_, key)| key.kind.clone())
        .collect();
    assert_eq!(jobs, [JobKind::PostMigration], "its migrations were done before we came");
}

#[test]
fn an_emergency_asks_no_gate_and_takes_half_the_fleet_but_migrates_first() {
    let mut urgent = desired("1.1", "1.0", &["1.0", "1.1"]);
    let mut seen = observed(&urgent, "1.0");
    set_gate(&mut seen, Verdict::Red, start());
    urgent.canary.as_mut().unwrap().weight = 0;
    urgent.exceptions.emergency = Some(Emergency { version: version("1.1"), reason: "CVE-2026-0001".into() });
    let rollout = preview(&urgent, &seen, &history(&["1.0"]), start());
    assert_eq!(stages(&rollout), ["migrations", "gitaly", "fleet"], "the point of no return can wait");
    assert_eq!(rollout.lowest["fe/web"], 2, "two of four web servers stay, and the canary has no share");
    assert!(rollout.duration < SignedDuration::from_mins(15), "{:#}", rollout.duration);
    let planned = plan(&urgent, &seen, &history(&["1.0"]), start());
    assert!(planned.notes.iter().any(|note| note.contains("up to 50%")), "{:?}", planned.notes);
}

#[test]
fn a_canary_does_not_leave_where_every_server_of_main_is_about_to() {
    let mut urgent = desired("1.1", "1.1", &["1.0", "1.1"]);
    urgent.exceptions.emergency = Some(Emergency { version: version("1.1"), reason: "CVE-2026-0001".into() });
    urgent.fleet.policy.emergency.max_unavailable = Limit::Percent(100);
    urgent.fleet.policy.migrations = None;
    let mut seen = observed(&urgent, "1.0");
    host(&mut seen, "gitaly-01").packages.get_mut("shop").unwrap().version = version("1.1");
    for (node, name) in
        [("fe-01", "web-cny-01"), ("fe-01", "web-cny-02"), ("fe-02", "web-cny-01"), ("fe-02", "web-cny-02")]
    {
        row(&mut seen, node, name).weight = 10;
    }
    let staged = [("shop".into(), [version("1.1")].into())].into();
    seen.hosts.values_mut().for_each(|fact| fact.value.as_mut().unwrap().staged.clone_from(&staged));
    let waits = |seen: &Observed| {
        let planned = plan(&urgent, seen, &history(&["1.0"]), start());
        let canary = Subject::Role("web-canary".into());
        let mut of_canary = planned.waiting.iter().filter(|waiting| waiting.subject == canary);
        of_canary.any(|waiting| matches!(waiting.reason, Reason::OutageNotAllowed { .. }))
    };
    for name in ["web-01", "web-02", "web-03"] {
        host(&mut seen, name).claim = Some(claim());
    }
    assert!(!waits(&seen), "one stays");
    host(&mut seen, "web-04").claim = Some(claim());
    let planned = plan(&urgent, &seen, &history(&["1.0"]), start());
    assert!(waits(&seen), "{:?} {:?}", kinds(&planned), planned.waiting);
}

#[test]
fn a_dead_host_that_is_declared_out_is_drained_and_then_not_waited_for() {
    let mut desired = desired("1.1", "1.1", &["1.0", "1.1"]);
    desired.fleet.policy.promotion = Promotion::default();
    let mut seen = observed(&desired, "1.1");
    let gone = Unknown { kind: UnknownKind::Unreachable, detail: "no route".into() };
    seen.hosts.insert("web-02".into(), Fact { at: start(), value: Err(gone) });
    let what = OutTarget::Host("web-02".into());
    desired.exceptions.outs.push(Out { what, reason: "disk replaced".into(), until: None });
    let planned = plan(&desired, &seen, &history(&["1.1"]), start());
    assert_eq!(kinds(&planned)[0], "web-02 retire");
    for node in ["fe-01", "fe-02"] {
        let row = row(&mut seen, node, "web-02");
        (row.admin, row.status) = (Admin::Drain, "DRAIN".into());
    }
    let planned = plan(&desired, &seen, &history(&["1.1"]), start());
    assert!(!kinds(&planned).iter().any(|step| step.starts_with("web-")), "{:?}", kinds(&planned));
    let web = planned.progress.iter().find(|role| role.role == RoleName::from("web")).unwrap();
    assert_eq!((web.hosts, web.done, web.out), (3, 3, 0));
}

#[test]
fn a_load_balancer_node_that_is_declared_out_holds_nobody_up() {
    let mut desired = desired("1.1", "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    let gone = Unknown { kind: UnknownKind::Unreachable, detail: "no route".into() };
    seen.nodes.insert("fe-02".into(), Fact { at: start(), value: Err(gone) });
    let blocked = preview(&desired, &seen, &history(&["1.0"]), start());
    assert_ne!(blocked.waiting, []);
    let what = OutTarget::LoadBalancerNode("fe-02".into());
    desired.exceptions.outs.push(Out { what, reason: "being replaced".into(), until: None });
    let rollout = preview(&desired, &seen, &history(&["1.0"]), start());
    assert_eq!(rollout.waiting, []);
}

#[test]
fn a_failed_check_stops_its_version_only() {
    let mut desired = desired("1.0", "1.1", &["1.0", "1.1", "1.2"]);
    desired.fleet.policy.stages[1].checks = vec!["qa".into()];
    let seen = observed(&desired, "1.1");
    let mut memory = history(&["1.0"]);
    let key = JobKey {
        kind: JobKind::Check { stage: "canary fleet".into(), check: "qa".into() },
        version: version("1.1"),
    };
    memory.progress.jobs.insert(key, JobRecord { attempt: 1, state: failed(), began: None, host: None });
    let planned = plan(&desired, &seen, &memory, start());
    assert!(
        planned.waiting.iter().any(|w| matches!(w.reason, Reason::CheckFailed { .. })),
        "{:?}",
        planned.waiting
    );
    desired.canary.as_mut().unwrap().version = version("1.2");
    let planned = plan(&desired, &seen, &memory, start());
    assert!(
        !planned.waiting.iter().any(|w| matches!(w.reason, Reason::CheckFailed { .. })),
        "{:?}",
        planned.waiting
    );
}

fn failed() -> JobState {
    let failure = Failure { kind: FailureKind::JobFailed, what: "exit code 1".into(), detail: String::new() };
    JobState::Failed { at: start(), failure }
}

#[test]
fn failed_migrations_stop_what_depends_on_them_until_a_person_asks_again() {
    let desired = desired("1.0", "1.1", &["1.0", "1.1"]);
    let seen = observed(&desired, "1.0");
    let mut memory = history(&["1.0"]);
    let key = JobKey { kind: JobKind::PreMigration, version: version("1.1") };
    memory
        .progress
        .jobs
        .insert(key.clone(), JobRecord { attempt: 1, state: failed(), began: None, host: None });
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(planned.steps, []);
    assert!(matches!(primary(&planned), Reason::MigrationFailed { .. }), "{:?}", planned.waiting);
    let environment = desired.environment.clone();
    let word = Event::Retried { environment, by: "ada".into(), reason: "mended".into() };
    memory.apply(start(), &word).unwrap();
    assert_eq!(memory.progress.jobs[&key].attempt, 2);
    assert_eq!(kinds(&plan(&desired, &seen, &memory, start())), ["deploy-01 claim"]);
}

#[test]
fn a_patch_is_brought_by_the_drained_path_and_holds_the_canary_back() {
    let mut desired = desired("1.1", "1.2", &["1.0", "1.1", "1.2"]);
    desired.exceptions.patches.push(Patch {
        version: version("1.1"),
        file: "patches/1.1/session-fix.patch".into(),
        sha256: "ab".repeat(32),
        contents: String::new(),
        root: "/opt/shop".into(),
        roles: vec!["web".into()],
        reason: "session fixation".into(),
        incorporated_in: vec![version("1.3")],
    });
    let seen = observed(&desired, "1.1");
    let rollout = preview(&desired, &seen, &history(&["1.1"]), start());
    let web: Vec<_> = rollout
        .steps
        .iter()
        .filter(|step| step.step.host == HostName::from("web-01"))
        .map(|step| step.step.action.kind().to_string())
        .collect();
    assert_eq!(web, ["claim", "drain", "patch", "activate", "ready", "release"]);
    let reasons: Vec<_> = rollout.waiting.iter().map(|waiting| &waiting.reason).collect();
    assert!(matches!(reasons[..], [Reason::PatchNotIncorporated { .. }, ..]), "{reasons:?}");
}

#[test]
fn the_config_agent_is_paused_around_the_work_and_given_back() {
    let mut desired = desired("1.1", "1.1", &["1.0", "1.1"]);
    desired.fleet.policy.config_agent = Some(config_agent(None));
    let mut seen = observed(&desired, "1.0");
    for name in ["web-01", "web-02"] {
        let active = name == "web-01";
        host(&mut seen, name).agent = Some(AgentState { active, busy: false, paused_by_us: false });
    }
    let rollout = preview(&desired, &seen, &history(&["1.0"]), start());
    let of = |name: &str| -> Vec<String> {
        let steps = rollout.steps.iter().filter(|step| step.step.host == HostName::from(name));
        steps.map(|step| step.step.action.kind().to_string()).filter(|kind| kind != "download").collect()
    };
    assert_eq!(
        of("web-01"),
        ["claim", "pause-agent", "drain", "install", "activate", "ready", "resume-agent", "release"]
    );
    assert_eq!(of("web-02"), ["claim", "drain", "install", "activate", "ready", "release"]);
}

#[test]
fn nothing_begins_in_a_freeze_nor_what_would_run_into_one() {
    let mut desired = desired("1.0", "1.1", &["1.0", "1.1"]);
    desired.fleet.policy.freezes.push(Freeze {
        reason: "weekend".into(),
        from: Moment::Once("2026-11-22T12:30:00".parse().unwrap()),
        to: Moment::Once("2026-11-23T06:00:00".parse().unwrap()),
        zone: "UTC".into(),
        in_flight: InFlightAtFreeze::FinishHost,
    });
    let mut seen = observed(&desired, "1.0");
    let mut memory = history(&["1.0"]);
    memory.durations_ms.insert(ActionKind::Migrate, 1_000);
    assert_ne!(
        plan(&desired, &seen, &memory, start()).steps,
        [],
        "a second and the soak fit into half an hour"
    );
    memory.durations_ms.insert(ActionKind::Migrate, 25 * 60_000);
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(planned.steps, []);
    assert!(matches!(primary(&planned), Reason::WouldNotFinish { .. }), "{:?}", planned.waiting);
    let later = start() + SignedDuration::from_mins(31);
    for fact in seen.hosts.values_mut() {
        fact.at = later;
    }
    seen.gates.get_mut("alerts").unwrap().at = later;
    let planned = plan(&desired, &seen, &memory, later);
    assert_eq!(planned.steps, []);
    assert!(matches!(primary(&planned), Reason::Frozen { .. }), "{:?}", planned.waiting);
}

#[test]
fn a_journal_that_knows_less_than_the_hosts_waits_for_a_person() {
    let desired = desired("1.0", "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    host(&mut seen, "web-03").last_generation = Some(Generation(7));
    let planned = plan(&desired, &seen, &History::new("production".into()), start());
    assert_eq!(planned.steps, []);
    assert!(
        !planned.records.iter().any(|event| matches!(event, Event::Adopted { .. })),
        "{:?}",
        planned.records
    );
    assert!(matches!(primary(&planned), Reason::JournalLost { generation: Generation(7), .. }));
    // A journal in which something was done, and which nobody is ahead of, is the right one.
    let mut memory = history(&["1.0"]);
    memory.progress.adopted = None;
    host(&mut seen, "web-03").last_generation = Some(Generation(1));
    let lost = |memory: &History| {
        let planned = plan(&desired, &seen, memory, start());
        planned.waiting.iter().any(|waiting| matches!(waiting.reason, Reason::JournalLost { .. }))
    };
    assert!(lost(&memory));
    memory.steps = 1;
    assert!(!lost(&memory));
}

#[test]
fn a_service_that_another_came_after_stops_wherever_it_learns_of_it() {
    let desired = desired("1.0", "1.1", &["1.0", "1.1"]);
    let memory = history(&["1.0"]);
    let ours = memory.generation;
    let newer = Generation(ours.0 + 1);
    let stopped_by = |learn: &dyn Fn(&mut Observed, Generation), generation| {
        let mut seen = observed(&desired, "1.0");
        learn(&mut seen, generation);
        let planned = plan(&desired, &seen, &memory, start());
        let stopped = matches!(primary(&planned), Reason::JournalLost { .. });
        assert_eq!(stopped, planned.steps.is_empty(), "{:?}", planned.waiting);
        stopped
    };
    let by_host = |seen: &mut Observed, generation| host(seen, "web-03").last_generation = Some(generation);
    let by_node = |seen: &mut Observed, generation| {
        let fact = seen.nodes.get_mut("fe-01").unwrap();
        fact.value.as_mut().unwrap().last_generation = Some(generation);
    };
    for learn in [&by_host as &dyn Fn(&mut Observed, Generation), &by_node] {
        assert!(stopped_by(learn, newer));
        assert!(!stopped_by(learn, ours), "what we did ourselves is no news");
    }
}
