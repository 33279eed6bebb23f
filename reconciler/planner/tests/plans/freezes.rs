//! Freezes: what may not begin in one, nor shortly before it, and what is finished in it.

use jiff::{SignedDuration, Timestamp};
use model::*;
use planner::plan;

use crate::fleet::{start, version};
use crate::release::{accepted, desired, history, observed, primary};

fn minutes(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

/// From half an hour after the beginning to the next morning.
fn weekend(in_flight: InFlightAtFreeze) -> Freeze {
    Freeze {
        reason: "weekend".into(),
        from: Moment::Once("2026-11-22T12:30:00".parse().unwrap()),
        to: Moment::Once("2026-11-23T06:00:00".parse().unwrap()),
        zone: "UTC".into(),
        in_flight,
    }
}

fn planned_at(desired: &Desired, memory: &History, now: Timestamp) -> Plan {
    planned(desired, observed(desired, "1.0"), memory, now)
}

fn planned(desired: &Desired, mut seen: Observed, memory: &History, now: Timestamp) -> Plan {
    seen.hosts.values_mut().for_each(|fact| fact.at = now);
    seen.nodes.values_mut().for_each(|fact| fact.at = now);
    seen.gates.values_mut().for_each(|fact| fact.at = now);
    plan(desired, &seen, memory, now)
}

fn begun_at(at: Timestamp) -> History {
    let mut memory = history(&["1.0"]);
    let (environment, stage) = ("production".into(), "migrations".into());
    memory.apply(at, &Event::StageBegan { environment, stage, version: version("1.1") }).unwrap();
    memory
}

fn migrates(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| step.host.as_str() == "deploy-01")
}

#[test]
fn a_freeze_stands_from_its_first_instant_to_its_last() {
    let mut desired = desired("1.0", "1.1", &["1.0", "1.1"]);
    desired.fleet.policy.freezes = vec![weekend(InFlightAtFreeze::FinishHost)];
    let (from, to) = (start() + minutes(30), start() + SignedDuration::from_hours(18));
    let instant = SignedDuration::from_millis(1);
    let frozen = Reason::Frozen { why: "weekend".into(), until: to };
    let at = |now| planned_at(&desired, &history(&["1.0"]), now);
    assert!(migrates(&at(from - instant)), "history does not tell how long it takes");
    for now in [from, to - instant] {
        let planned = at(now);
        assert_eq!(*primary(&planned), frozen);
        assert_eq!((planned.waiting[0].since, planned.wake.is_some_and(|wake| wake <= to)), (from, true));
        assert!(!migrates(&planned));
    }
    assert!(migrates(&at(to)));
}

#[test]
fn what_was_begun_before_a_freeze_is_finished_in_it_where_the_file_says_so() {
    let mut desired = desired("1.0", "1.1", &["1.0", "1.1"]);
    let (from, now) = (start() + minutes(30), start() + minutes(31));
    desired.fleet.policy.freezes = vec![weekend(InFlightAtFreeze::FinishStage)];
    let before = begun_at(from - SignedDuration::from_millis(1));
    assert!(migrates(&planned_at(&desired, &before, now)));
    assert!(!migrates(&planned_at(&desired, &begun_at(from), now)), "begun in it");
    assert!(!migrates(&planned_at(&desired, &history(&["1.0"]), now)), "not begun");
    desired.fleet.policy.freezes = vec![weekend(InFlightAtFreeze::FinishHost)];
    assert!(!migrates(&planned_at(&desired, &before, now)));
}

#[test]
fn what_was_begun_before_its_release_was_left_is_not_finished_in_a_freeze_when_it_comes_back() {
    let mut desired = desired("1.0", "1.1", &["1.0", "1.1"]);
    desired.fleet.policy.freezes = vec![weekend(InFlightAtFreeze::FinishStage)];
    let mut memory = history(&["1.0"]);
    memory.apply(start(), &accepted(Some("1.1"))).unwrap();
    memory.apply(start(), &began("migrations", "1.1")).unwrap();
    let now = start() + minutes(31);
    assert!(migrates(&planned_at(&desired, &memory, now)));
    memory.apply(start() + minutes(1), &accepted(None)).unwrap();
    memory.apply(start() + minutes(2), &accepted(Some("1.1"))).unwrap();
    assert!(!migrates(&planned_at(&desired, &memory, now)));
    memory.apply(start() + minutes(3), &began("migrations", "1.1")).unwrap();
    assert!(migrates(&planned_at(&desired, &memory, now)), "begun again before the freeze");
}

#[test]
fn a_stage_begins_when_it_ends_just_before_the_freeze() {
    let mut desired = desired("1.0", "1.1", &["1.0", "1.1"]);
    desired.fleet.policy.freezes = vec![weekend(InFlightAtFreeze::FinishHost)];
    let taking = |seconds: i64| {
        let mut memory = history(&["1.0"]);
        memory.durations_ms.insert(ActionKind::Migrate, seconds * 1_000);
        planned_at(&desired, &memory, start())
    };
    // Ten minutes of soak come after it.
    assert!(migrates(&taking(20 * 60)));
    let late = taking(20 * 60 + 1);
    assert!(!migrates(&late));
    let told = Reason::WouldNotFinish {
        stage: "migrations".into(),
        takes: minutes(30) + SignedDuration::from_secs(1),
        freeze: start() + minutes(30),
        why: "weekend".into(),
    };
    assert_eq!(*primary(&late), told);
    let mut begun = begun_at(start());
    begun.durations_ms.insert(ActionKind::Migrate, 3_600_000);
    assert!(migrates(&planned_at(&desired, &begun, start())), "begun already");
}

fn stage_event(make: fn(EnvironmentName, StageName, Version) -> Event, stage: &str, of: &str) -> Event {
    make("production".into(), stage.into(), version(of))
}

fn began(stage: &str, of: &str) -> Event {
    stage_event(|environment, stage, version| Event::StageBegan { environment, stage, version }, stage, of)
}

fn passed(stage: &str, of: &str) -> Event {
    stage_event(|environment, stage, version| Event::StagePassed { environment, stage, version }, stage, of)
}

/// In a freeze that lets stages finish storage has fallen back to 1.0, whose stage had passed with 1.1 before it. Whether
/// storage is mended, by what became of the servers' stage.
fn is_mended_in_a_freeze(found: &[&str], servers: &[(Timestamp, Event)]) -> bool {
    let (mut desired, _) = deploying(true);
    let policy = &mut desired.fleet.policy;
    policy.freezes = vec![weekend(InFlightAtFreeze::FinishStage)];
    let deploy = |role: &str| Run::Deploy { roles: vec![role.into()], in_order: false };
    let stage = |role: &str| Stage { name: role.into(), run: deploy(role), ..policy.stages[0].clone() };
    policy.stages = vec![stage("gitaly"), stage("web")];
    let mut memory = history(found);
    let storage = [(start(), began("gitaly", "1.1")), (start(), passed("gitaly", "1.1"))];
    for (at, event) in storage.iter().chain(servers) {
        memory.apply(*at, event).unwrap();
    }
    let mut seen = crate::fleet::observed(&desired, "1.1");
    crate::fleet::host(&mut seen, "gitaly-01").packages.get_mut("shop").unwrap().version = version("1.0");
    let planned = planned(&desired, seen, &memory, start() + minutes(31));
    let frozen = matches!(primary_of(&planned), Some(Reason::Frozen { .. }));
    assert_eq!(planned.steps.is_empty(), frozen, "{:?}", planned.waiting);
    !frozen
}

fn primary_of(plan: &Plan) -> Option<&Reason> {
    plan.waiting.first().map(|waiting| &waiting.reason)
}

#[test]
fn a_host_that_falls_behind_where_all_has_passed_is_nothing_that_a_freeze_lets_finish() {
    let (before, from) = (start(), start() + minutes(30));
    assert!(!is_mended_in_a_freeze(
        &["1.0"],
        &[(before, began("web", "1.1")), (before, passed("web", "1.1"))]
    ));
    let in_flight = [(before, began("web", "1.1"))];
    assert!(is_mended_in_a_freeze(&["1.0"], &in_flight), "the servers' stage cannot end without it");
    assert!(!is_mended_in_a_freeze(&["1.0", "1.1"], &in_flight), "a way back ended with what was found");
    assert!(!is_mended_in_a_freeze(&["1.0"], &[(from, began("web", "1.1"))]), "begun in it");
    assert!(!is_mended_in_a_freeze(&["1.0"], &[(before, began("web", "1.2"))]), "another release");
}

/// Main's stage of four servers, two of which may be out; the canary's was before it.
fn deploying(in_order: bool) -> (Desired, History) {
    let mut desired = desired("1.1", "1.0", &["1.0", "1.1"]);
    desired.canary = None;
    desired.fleet.roles.remove(0);
    desired.fleet.policy = Policy {
        stages: vec![Stage {
            name: "fleet".into(),
            track: Track::Main,
            run: Run::Deploy { roles: vec!["gitaly".into(), "web".into()], in_order },
            gates: Vec::new(),
            checks: Vec::new(),
            soak: SignedDuration::ZERO,
            on_red: OnRed::Hold,
        }],
        freezes: vec![weekend(InFlightAtFreeze::FinishHost)],
        ..Policy::default()
    };
    desired.fleet.roles[1].max_unavailable = 2;
    let mut memory = history(&["1.0"]);
    let every = [
        ActionKind::Claim,
        ActionKind::Drain,
        ActionKind::Install,
        ActionKind::Activate,
        ActionKind::Ready,
        ActionKind::Release,
    ];
    memory.durations_ms = every.map(|kind| (kind, 60_000)).into();
    (desired, memory)
}

/// How long it is said to take, a minute before the freeze.
fn foretold(desired: &Desired, seen: Observed, memory: &History) -> Option<SignedDuration> {
    let planned = planned(desired, seen, memory, start() + minutes(29));
    planned.waiting.iter().find_map(|waiting| match &waiting.reason {
        Reason::WouldNotFinish { takes, .. } => Some(*takes),
        _ => None,
    })
}

#[test]
fn a_deployment_takes_as_many_waves_as_the_budget_asks_for() {
    let old = |desired: &Desired| crate::fleet::observed(desired, "1.0");
    let (together, memory) = deploying(false);
    let takes = |desired: &Desired| foretold(desired, old(desired), &memory);
    assert_eq!(takes(&together), Some(minutes(12)), "six minutes each, two waves of web servers");
    let (in_order, _) = deploying(true);
    assert_eq!(takes(&in_order), Some(minutes(18)), "and storage before them");
    let mut narrow = together;
    narrow.fleet.roles[1].max_unavailable = 3;
    assert_eq!(takes(&narrow), Some(minutes(12)), "a last wave of one");
    narrow.exceptions.outs =
        vec![Out { what: OutTarget::Host("web-01".into()), reason: "dead".into(), until: None }];
    assert_eq!(takes(&narrow), Some(minutes(6)), "who is out is not waited for");
}

#[test]
fn hosts_that_are_there_already_take_no_time_and_what_was_never_installed_no_known_time() {
    let (desired, mut memory) = deploying(false);
    let mut seen = crate::fleet::observed(&desired, "1.0");
    for name in ["web-01", "web-02"] {
        crate::fleet::host(&mut seen, name).packages.get_mut("shop").unwrap().version = version("1.1");
    }
    assert_eq!(foretold(&desired, seen.clone(), &memory), Some(minutes(6)));
    memory.durations_ms.remove(&ActionKind::Install);
    assert_eq!(foretold(&desired, seen, &memory), None);
}
