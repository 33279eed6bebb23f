//! A release on its way through canary, migrations, gates and checks: order, refusals, and the way back.

use crate::fleet::{host, row, start, version};
use crate::release::{desired, history, kinds, observed, primary, set_gate, stages};
use jiff::SignedDuration;
use model::*;
use planner::{plan, preview};

#[test]
fn a_release_goes_from_migrations_to_post_deployment_migrations() {
    let desired = desired("1.1", "1.1", &["1.0", "1.1"]);
    let rollout = preview(&desired, &observed(&desired, "1.0"), &history(&["1.0"]), start());
    assert_eq!(rollout.waiting, []);
    assert_eq!(
        stages(&rollout),
        ["migrations", "canary fleet", "gitaly", "fleet", "post-deployment migrations"],
    );
    assert_eq!(rollout.steps[0].start, start(), "gates are taken to be green from long ago");
    let soaks = SignedDuration::from_mins(50);
    assert!(rollout.duration >= soaks - SignedDuration::from_mins(10), "{:#}", rollout.duration);
    let once = |kind: ActionKind| rollout.steps.iter().filter(|step| step.step.action.kind() == kind).count();
    assert_eq!(once(ActionKind::Migrate), 2);
    let nodes = 2;
    assert_eq!(
        once(ActionKind::Weigh),
        nodes * (1 + 4 * 2),
        "at first, and as each of four servers leaves and returns"
    );
}

#[test]
fn a_preview_says_whether_it_had_to_guess_how_long_steps_take() {
    let desired = desired("1.1", "1.1", &["1.0", "1.1"]);
    let (seen, mut memory) = (observed(&desired, "1.0"), history(&["1.0"]));
    let guessed = preview(&desired, &seen, &memory, start());
    assert!(guessed.guessed_durations);
    memory.durations_ms.extend(guessed.steps.iter().map(|step| (step.step.action.kind(), 1_000)));
    assert!(!preview(&desired, &seen, &memory, start()).guessed_durations);
    memory.durations_ms.remove(&ActionKind::Activate);
    assert!(preview(&desired, &seen, &memory, start()).guessed_durations);
}

#[test]
fn the_canary_has_no_share_while_it_is_deployed_and_its_weight_after() {
    let desired = desired("1.0", "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    for node in ["fe-01", "fe-02"] {
        row(&mut seen, node, "web-cny-01").weight = 10;
        row(&mut seen, node, "web-cny-02").weight = 10;
    }
    let mut memory = history(&["1.0"]);
    let environment = desired.environment.clone();
    let share = Event::ShareReached { environment, version: version("1.0"), weight: 5 };
    memory.apply(start(), &share).unwrap();
    let rollout = preview(&desired, &seen, &memory, start());
    let weights: Vec<u32> = rollout
        .steps
        .iter()
        .filter_map(|step| match &step.step.action {
            Action::Weigh { weights } => weights.values().copied().max(),
            _ => None,
        })
        .collect();
    assert_eq!(weights, [0, 0, 10, 10]);
    assert_eq!(rollout.waiting, []);
}

#[test]
fn a_main_server_leaves_only_after_the_canary_became_lighter() {
    let mut desired = desired("1.1", "1.1", &["1.0", "1.1"]);
    desired.fleet.policy.promotion = Promotion::default();
    let mut seen = observed(&desired, "1.1");
    for node in ["fe-01", "fe-02"] {
        row(&mut seen, node, "web-cny-01").weight = 10;
        row(&mut seen, node, "web-cny-02").weight = 10;
    }
    let old = PackageState { version: version("1.0"), installed: true, status: "hi ".into(), held: true };
    host(&mut seen, "web-01").packages.insert("shop".into(), old);
    host(&mut seen, "web-01").staged.insert("shop".into(), [version("1.1")].into());
    let mut memory = history(&["1.1"]);
    let environment = desired.environment.clone();
    let share = Event::ShareReached { environment, version: version("1.1"), weight: 5 };
    memory.apply(start(), &share).unwrap();
    let rollout = preview(&desired, &seen, &memory, start());
    let story: Vec<String> =
        rollout.steps.iter().map(|step| format!("{} {}", step.step.host, step.step.action.kind())).collect();
    let at = |what: &str| {
        story.iter().position(|line| line == what).unwrap_or_else(|| panic!("{what} in {story:?}"))
    };
    assert!(at("web-01 claim") < at("fe-01 weigh"), "{story:?}");
    assert!(at("fe-01 weigh") < at("web-01 drain"), "{story:?}");
    assert!(at("fe-02 weigh") < at("web-01 drain"), "{story:?}");
    assert_eq!(rollout.waiting, []);
}

#[test]
fn a_red_gate_stops_new_hosts_and_brings_begun_ones_back() {
    let desired = desired("1.0", "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    let mut memory = history(&["1.0"]);
    let job = JobKey { kind: JobKind::PreMigration, version: version("1.1") };
    let adopted = Event::Adopted {
        environment: "production".into(),
        by: "ada".into(),
        reason: "migrated by hand".into(),
        running: Vec::new(),
        ahead: Vec::new(),
        jobs: vec![FoundJob { key: job, succeeded: true, attempt: 1 }],
    };
    memory.apply(start(), &adopted).unwrap();
    let passed = Event::StagePassed {
        environment: "production".into(),
        stage: "migrations".into(),
        version: version("1.1"),
    };
    memory.apply(start(), &passed).unwrap();
    host(&mut seen, "web-cny-01").claim = Some(Claim {
        generation: Generation(1),
        service: "deploy".into(),
        environment: "production".into(),
        commit: desired.commit.id.clone(),
        found: Default::default(),
        at: start(),
        expires: None,
    });
    for node in ["fe-01", "fe-02"] {
        let row = row(&mut seen, node, "web-cny-01");
        (row.admin, row.status) = (Admin::Drain, "DRAIN".into());
    }
    set_gate(&mut seen, Verdict::Red, start());
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(kinds(&planned), ["web-cny-01 ready"], "{:?}", planned.waiting);
    assert!(
        matches!(primary(&planned), Reason::GateNotGreen { verdict: Verdict::Red, .. }),
        "{:?}",
        planned.waiting
    );
}

#[test]
fn a_gate_that_has_only_just_turned_green_is_waited_for() {
    let desired = desired("1.0", "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    set_gate(&mut seen, Verdict::Green, start() - SignedDuration::from_mins(9));
    let planned = plan(&desired, &seen, &history(&["1.0"]), start());
    assert_eq!(planned.steps, []);
    let Reason::GateQuiet { until, .. } = primary(&planned) else { panic!("{:?}", planned.waiting) };
    assert_eq!(*until, start() + SignedDuration::from_mins(1));
}

#[test]
fn a_gate_that_nobody_needed_until_now_is_asked_before_a_stage_begins() {
    let desired = desired("1.0", "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    let memory = history(&["1.0"]);
    let gate = Scope::Gate("production".into(), "alerts".into());
    set_gate(&mut seen, Verdict::Green, start() - SignedDuration::from_hours(1));
    for (age_s, begins) in [(10, true), (11, false)] {
        seen.gates.values_mut().for_each(|fact| fact.at = start() - SignedDuration::from_secs(age_s));
        let planned = plan(&desired, &seen, &memory, start());
        assert_eq!(!planned.steps.is_empty(), begins, "{age_s} s");
        assert!(planned.observe.contains(&gate), "{:?}", planned.observe);
    }
}

#[test]
fn no_data_is_not_green() {
    let desired = desired("1.0", "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    set_gate(&mut seen, Verdict::NoData, start());
    let planned = plan(&desired, &seen, &history(&["1.0"]), start());
    assert_eq!(planned.steps, []);
    assert!(matches!(primary(&planned), Reason::GateNotGreen { verdict: Verdict::NoData, .. }));
}

#[test]
fn main_takes_nothing_that_canary_has_not_passed() {
    let desired = desired("1.1", "1.0", &["1.0", "1.1"]);
    let seen = observed(&desired, "1.0");
    let mut memory = history(&["1.0"]);
    // What the canary alone had when we came is promoted on the canary, and on no other track.
    memory.progress.found_ahead.insert(version("1.1"));
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(kinds(&planned), [""; 0]);
    assert!(matches!(primary(&planned), Reason::PromotionRequired { requires: Requirement::Canary, .. }));
}

#[test]
fn a_person_can_say_that_a_version_has_passed() {
    let desired = desired("1.1", "1.0", &["1.0", "1.1"]);
    let seen = observed(&desired, "1.0");
    let mut memory = history(&["1.0"]);
    let word = Event::Verified {
        environment: "production".into(),
        track: Track::Canary,
        version: version("1.1"),
        by: "ada".into(),
        reason: "the journal was lost".into(),
    };
    memory.apply(start(), &word).unwrap();
    assert_eq!(kinds(&plan(&desired, &seen, &memory, start())), ["deploy-01 claim"]);
}

/// The canary's migrations ran at the start; ten minutes are soaked after them.
fn soaks(seen: &Observed, settle: SignedDuration, now: jiff::Timestamp) -> Reason {
    soaks_after(seen, settle, None, now)
}

/// As [`soaks`], where the gate turned green meanwhile.
fn soaks_after(
    seen: &Observed,
    settle: SignedDuration,
    green: Option<jiff::Timestamp>,
    now: jiff::Timestamp,
) -> Reason {
    let mut desired = desired("1.0", "1.1", &["1.0", "1.1"]);
    desired.fleet.policy.gates.values_mut().for_each(|gate| gate.settle = settle);
    let mut memory = history(&["1.0"]);
    let key = JobKey { kind: JobKind::PreMigration, version: version("1.1") };
    let state = JobState::Passed { at: start(), output: String::new() };
    memory.progress.jobs.insert(key, JobRecord { attempt: 1, state, began: Some(start()), host: None });
    let (environment, stage, of) = ("production".into(), "migrations".into(), version("1.1"));
    let worked = Event::StageWorked { environment, stage, version: of };
    memory.apply(start(), &worked).unwrap();
    if let Some(at) = green {
        let (environment, gate, value) = ("production".into(), "alerts".into(), String::new());
        memory.apply(at, &Event::GateTurned { environment, gate, verdict: Verdict::Green, value }).unwrap();
    }
    let planned = plan(&desired, seen, &memory, now);
    let of_stage = |waiting: &&Waiting| waiting.subject == Subject::Stage("migrations".into());
    planned.waiting.iter().find(of_stage).map(|waiting| waiting.reason.clone()).unwrap()
}

#[test]
fn a_soak_ends_when_its_gates_have_settled_too_and_says_so_while_they_are_not_red() {
    let desired = desired("1.0", "1.1", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    let later = start() + SignedDuration::from_mins(5);
    let soaking = |minutes| {
        let until = start() + SignedDuration::from_mins(minutes);
        Reason::Soaking { stage: "migrations".into(), until }
    };
    assert_eq!(soaks(&seen, SignedDuration::ZERO, later), soaking(10), "the gate was asked long ago");
    assert_eq!(soaks(&seen, SignedDuration::from_mins(15), later), soaking(15));
    seen.gates.values_mut().for_each(|fact| fact.at = later);
    assert_eq!(soaks(&seen, SignedDuration::ZERO, later), soaking(10));
    let green = Some(start() + SignedDuration::from_mins(4));
    assert_eq!(soaks_after(&seen, SignedDuration::ZERO, green, later), soaking(14), "from green on");
    let before = Some(start() - SignedDuration::from_mins(4));
    assert_eq!(soaks_after(&seen, SignedDuration::ZERO, before, later), soaking(10));
    set_gate(&mut seen, Verdict::Red, start());
    seen.gates.values_mut().for_each(|fact| fact.at = later);
    let red = soaks(&seen, SignedDuration::ZERO, later);
    assert!(matches!(red, Reason::GateNotGreen { verdict: Verdict::Red, .. }), "{red}");
}
