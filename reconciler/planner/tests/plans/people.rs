//! Boundaries of what people say, and hosts that are one machine with another.

use jiff::SignedDuration;
use model::*;
use planner::plan;

use crate::fleet::{host, start, version};
use crate::release::{desired, history, observed, primary};

const INSTANT: SignedDuration = SignedDuration::from_millis(1);

fn moves(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| step.action.kind() == ActionKind::Claim)
}

#[test]
fn pauses_and_holds_end_at_their_very_instant() {
    let mut desired = desired("1.0", "1.1", &["1.0", "1.1"]);
    let seen = observed(&desired, "1.0");
    let paused = |until| {
        let mut memory = history(&["1.0"]);
        let (by, reason) = ("ada".into(), "look".into());
        memory
            .apply(start(), &Event::Paused { environment: "production".into(), by, reason, until })
            .unwrap();
        memory
    };
    assert!(moves(&plan(&desired, &seen, &paused(start()), start())));
    let planned = plan(&desired, &seen, &paused(start() + INSTANT), start());
    assert!(!moves(&planned) && matches!(primary(&planned), Reason::Paused { .. }));
    assert_eq!(planned.wake, Some(start() + INSTANT));
    let memory = history(&["1.0"]);
    let mut held = |scope, until| {
        desired.exceptions.holds = vec![Hold { scope, reason: "wait".into(), until: Some(until) }];
        !moves(&plan(&desired, &seen, &memory, start()))
    };
    assert!(held(HoldScope::Canary, start() + INSTANT));
    assert!(!held(HoldScope::Canary, start()));
    assert!(!held(HoldScope::Main, start() + INSTANT));
}

#[test]
fn a_host_that_is_one_machine_with_another_is_begun_only_where_our_mark_is_on_it_already() {
    let desired = crate::fleet::desired(2, "1.1", &["1.0", "1.1"]);
    let mut seen = crate::fleet::observed(&desired, "1.0");
    seen.twins.insert("gitaly-01".into(), ("staging".into(), "gitaly-09".into()));
    let memory = crate::fleet::history();
    let there = |plan: &Plan| plan.steps.iter().any(|step| step.host.as_str() == "gitaly-01");
    let planned = plan(&desired, &seen, &memory, start());
    let twin = Reason::SameMachine { host: "gitaly-09".into(), environment: "staging".into() };
    assert!(!there(&planned) && planned.waiting.iter().any(|waiting| waiting.reason == twin));
    host(&mut seen, "gitaly-01").claim = Some(Claim {
        generation: Generation(1),
        service: "deploy".into(),
        environment: "production".into(),
        commit: desired.commit.id.clone(),
        found: Default::default(),
        at: start(),
        expires: None,
    });
    assert!(there(&plan(&desired, &seen, &memory, start())));
}

#[test]
fn somebody_elses_mark_says_when_it_has_outlived_itself() {
    let desired = crate::fleet::desired(2, "1.1", &["1.0", "1.1"]);
    let told = |expires| {
        let mut seen = crate::fleet::observed(&desired, "1.0");
        host(&mut seen, "gitaly-01").claim = Some(Claim {
            generation: Generation(9),
            service: "theirs".into(),
            environment: "production".into(),
            commit: desired.commit.id.clone(),
            found: Default::default(),
            at: start() - INSTANT,
            expires,
        });
        let planned = plan(&desired, &seen, &crate::fleet::history(), start());
        let waiting = planned.waiting.iter().find_map(|waiting| match waiting.reason {
            Reason::ClaimedByOther { overdue, .. } => Some((overdue, waiting.since)),
            _ => None,
        });
        (waiting.unwrap(), planned.wake == expires)
    };
    let since = start() - INSTANT;
    assert_eq!(told(Some(start() + INSTANT)), ((false, since), true));
    assert_eq!(told(Some(start())), ((true, since), false));
    assert_eq!(told(None).0, (false, since));
}

#[test]
fn a_step_is_overdue_at_its_very_deadline() {
    let desired = crate::fleet::desired(2, "1.1", &["1.0", "1.1"]);
    let mut seen = crate::fleet::observed(&desired, "1.0");
    let mut memory = crate::fleet::history();
    let claim = crate::fleet::step("s1", "gitaly-01", Action::Claim { found: Default::default() });
    let deadline = claim.deadline;
    memory.apply(start(), &Event::StepStarted { step: claim }).unwrap();
    let mut overdue = |now| {
        seen.hosts.values_mut().for_each(|fact| fact.at = now);
        let planned = plan(&desired, &seen, &memory, now);
        planned.waiting.iter().any(|waiting| matches!(waiting.reason, Reason::StepOverdue { .. }))
    };
    assert!(!overdue(start() + deadline - INSTANT));
    assert!(overdue(start() + deadline));
}

#[test]
fn a_release_that_nobody_knows_the_way_to_needs_a_persons_word() {
    let mut desired = crate::fleet::desired(2, "1.1", &["1.1"]);
    let seen = crate::fleet::observed(&desired, "1.2~rc1");
    let memory = crate::fleet::history();
    let planned = plan(&desired, &seen, &memory, start());
    let unknown = Reason::DirectionUnknown { target: version("1.1"), observed: version("1.2~rc1") };
    assert!(!moves(&planned) && planned.waiting.iter().any(|waiting| waiting.reason == unknown));
    desired.direction = Some(Direction::Back);
    assert_eq!(plan(&desired, &seen, &memory, start()).direction, Direction::Back);
    desired.direction = None;
    desired.ranks = ["1.1", "1.2"].map(version).into();
    let planned = plan(&desired, &seen, &memory, start());
    assert!(!moves(&planned) && planned.waiting.iter().any(|waiting| waiting.reason == unknown));
    let older = crate::fleet::observed(&desired, "1.0");
    assert_eq!(plan(&desired, &older, &memory, start()).direction, Direction::Forward);
}

#[test]
fn a_host_is_brought_to_exactly_the_patches_of_its_release() {
    let mut desired = crate::fleet::desired(2, "1.0", &["1.0"]);
    let mut seen = crate::fleet::observed(&desired, "1.0");
    let memory = crate::fleet::history();
    let begun = |desired: &Desired, seen: &Observed| {
        let planned = plan(desired, seen, &memory, start());
        planned.steps.iter().any(|step| step.host.as_str() == "web-01")
    };
    assert!(!begun(&desired, &seen));
    let (right, other) = ("a".repeat(64), "b".repeat(64));
    host(&mut seen, "web-01").patches = [other.clone()].into();
    assert!(begun(&desired, &seen), "none is wanted");
    desired.exceptions.patches = vec![Patch {
        version: version("1.0"),
        file: "fix.patch".into(),
        sha256: right.clone(),
        contents: String::new(),
        root: "/opt/shop".into(),
        roles: vec!["web".into()],
        reason: "leaks".into(),
        incorporated_in: Vec::new(),
    }];
    for name in ["web-01", "web-02"] {
        let state = host(&mut seen, name);
        state.patches = [right.clone()].into();
        let stamp = version("1.0+patched.aaaaaaaaaaaa");
        state.services.values_mut().for_each(|service| service.stamped = Some(stamp.clone()));
    }
    assert!(!begun(&desired, &seen));
    host(&mut seen, "web-01").patches = [other].into();
    assert!(begun(&desired, &seen), "another one is wanted");
}
