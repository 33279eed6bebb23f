//! The canary's weights beside main servers of any weight: as much as the file says, never more, and never a canary
//! server above a main one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use crate::fleet::{claim, host, row, start, step, version};
use crate::release::{desired, history, observed};
use jiff::SignedDuration;
use model::*;
use planner::plan;
use proptest::prelude::*;

const NODES: [&str; 2] = ["fe-01", "fe-02"];

/// The most that HAProxy takes.
const MOST: u32 = 256;

/// A fleet in which everything runs the release, and the canary's servers still weigh nothing.
fn ready_for_a_share(percent: u8, canaries: usize, main: &[Vec<u32>; 2]) -> (Desired, Observed) {
    let mut desired = desired("1.1", "1.1", &["1.1"]);
    desired.canary.as_mut().unwrap().weight = percent;
    let names: Vec<String> = (1..=canaries).map(|number| format!("web-cny-{number:02}")).collect();
    desired.fleet.roles[0].hosts = names.iter().map(|name| HostName::new(name.as_str())).collect();
    let mut seen = observed(&desired, "1.1");
    for (node, weights) in NODES.into_iter().zip(main) {
        names.iter().for_each(|name| row(&mut seen, node, name).weight = 0);
        for (number, weight) in (1..).zip(weights) {
            row(&mut seen, node, &format!("web-{number:02}")).weight = *weight;
        }
    }
    (desired, seen)
}

/// What each canary server of a node is told to weigh; 0 when nothing is said.
fn told(planned: &Plan, node: &str) -> BTreeMap<RowId, u32> {
    let on_node = planned.steps.iter().filter(|step| step.host.as_str() == node);
    let weights = on_node.filter_map(|step| match &step.action {
        Action::Weigh { weights } => Some(weights.clone()),
        _ => None,
    });
    weights.flatten().collect()
}

proptest! {
    #[test]
    fn the_canarys_share_is_the_largest_that_does_not_exceed_what_git_says(
        percent in 0_u8..=99,
        canaries in 2_usize..6,
        first in proptest::collection::vec(prop_oneof![Just(0_u32), 1..=MOST, Just(100)], 4),
        second in proptest::collection::vec(1..=MOST, 4),
    ) {
        let main = [first, second];
        let (desired, seen) = ready_for_a_share(percent, canaries, &main);
        let planned = plan(&desired, &seen, &history(&["1.1"]), start());
        for (node, weights) in NODES.into_iter().zip(&main) {
            let told = told(&planned, node);
            let each = told.values().next().copied().unwrap_or(0);
            prop_assert!(told.values().all(|weight| *weight == each), "{told:?}");
            prop_assert!(each == 0 || told.len() == canaries, "{told:?}");
            let serving = || weights.iter().copied().filter(|weight| *weight > 0);
            let (sum, lightest) = (u64::from(serving().sum::<u32>()), serving().min().unwrap_or(0));
            let exceeds = |each: u32| {
                let canary = u64::from(each) * canaries as u64;
                canary * 100 > u64::from(percent) * (sum + canary)
            };
            prop_assert!(!exceeds(each), "{percent} % of {weights:?} over {canaries}: {each} is too much");
            prop_assert!(each <= lightest, "{each} is above a main server of {weights:?}");
            let fits = !exceeds(each + 1) && each < lightest && each < MOST;
            prop_assert!(!fits, "{percent} % of {weights:?} over {canaries}: {each} is too little");
        }
    }
}

#[test]
fn a_canary_that_is_declared_out_has_its_part_of_the_share_until_it_is_out() {
    let (mut desired, mut seen) = ready_for_a_share(5, 2, &[vec![100; 4], vec![100; 4]]);
    let rows = |seen: &mut Observed, change: fn(&mut Row), servers: &[&str]| {
        let each = NODES.into_iter().flat_map(|node| servers.iter().map(move |server| (node, server)));
        each.for_each(|(node, server)| change(row(seen, node, server)));
    };
    rows(&mut seen, |row| row.weight = 10, &["web-cny-01", "web-cny-02"]);
    let what = OutTarget::Host("web-cny-02".into());
    desired.exceptions.outs.push(Out { what, reason: "disk replaced".into(), until: None });
    let serves_still = plan(&desired, &seen, &history(&["1.1"]), start());
    NODES.into_iter().for_each(|node| assert_eq!(told(&serves_still, node), [].into()));

    rows(&mut seen, |row| (row.admin, row.status) = (Admin::Drain, "DRAIN".into()), &["web-cny-02"]);
    let is_out = plan(&desired, &seen, &history(&["1.1"]), start());
    NODES.into_iter().for_each(|node| {
        let weights: Vec<u32> = told(&is_out, node).into_values().collect();
        assert_eq!(weights, [21], "all of the share is the other one's now");
    });
}

#[test]
fn a_canary_that_is_declared_out_and_weighs_nothing_takes_no_share() {
    let (mut desired, seen) = ready_for_a_share(5, 2, &[vec![100; 4], vec![100; 4]]);
    let what = OutTarget::Host("web-cny-02".into());
    desired.exceptions.outs.push(Out { what, reason: "disk replaced".into(), until: None });
    // It may be in the middle of its deployment, on a node that was declared out until now.
    let planned = plan(&desired, &seen, &history(&["1.1"]), start());
    NODES.into_iter().for_each(|node| {
        let told = told(&planned, node).into_iter().map(|(row, weight)| (row.server.to_string(), weight));
        assert_eq!(told.collect::<Vec<_>>(), [("web-cny-01".to_owned(), 21)]);
    });
}

#[test]
fn a_canary_that_is_declared_out_and_weighs_nothing_is_taken_out_where_another_node_leads_elsewhere() {
    let (mut desired, mut seen) = ready_for_a_share(5, 2, &[vec![100; 4], vec![100; 4]]);
    let what = OutTarget::Host("web-cny-02".into());
    desired.exceptions.outs.push(Out { what, reason: "disk replaced".into(), until: None });
    host(&mut seen, "web-cny-02").addresses = ["192.0.2.2".into()].into();
    row(&mut seen, "fe-02", "web-cny-02").address = "192.0.2.2".into();
    let elsewhere = row(&mut seen, "fe-01", "web-cny-02");
    (elsewhere.address, elsewhere.weight) = ("192.0.2.9".into(), 10);
    let planned = plan(&desired, &seen, &history(&["1.1"]), start());
    let retired = planned.steps.iter().find_map(|step| match &step.action {
        Action::Retire { rows, .. } => Some(rows.clone()),
        _ => None,
    });
    let own = RowId { node: "fe-02".into(), backend: "web".into(), server: "web-cny-02".into() };
    assert_eq!(retired, Some([own].into()));
}

#[test]
fn a_canary_that_is_worked_on_takes_no_share_where_somebody_has_made_it_ready() {
    let (desired, mut seen) = ready_for_a_share(5, 2, &[vec![100; 4], vec![100; 4]]);
    let mut memory = history(&["1.1"]);
    let claim = step("claim", "web-cny-02", Action::Claim { found: BTreeSet::new() });
    let (environment, step) = (claim.environment.clone(), claim.id.clone());
    memory.apply(start(), &Event::StepStarted { step: claim }).unwrap();
    let result = Ok(Outcome::Changed("claimed".into()));
    memory.apply(start(), &Event::StepFinished { environment, step, result }).unwrap();
    let state = host(&mut seen, "web-cny-02");
    state.claim = memory.claims.get("web-cny-02").cloned();
    state.packages.values_mut().for_each(|package| package.version = version("1.0"));
    let planned = plan(&desired, &seen, &memory, start());
    NODES.into_iter().for_each(|node| {
        let told: Vec<(String, u32)> =
            told(&planned, node).into_iter().map(|(row, weight)| (row.server.to_string(), weight)).collect();
        assert_eq!(told, [("web-cny-01".to_owned(), 21)]);
    });
}

#[test]
fn a_canary_that_is_activated_once_more_takes_no_share_where_somebody_has_made_it_ready() {
    let (desired, mut seen) = ready_for_a_share(5, 2, &[vec![100; 4], vec![100; 4]]);
    let mut memory = history(&["1.1"]);
    let services = desired.fleet.roles[0].services.clone();
    let activate = Action::Activate { services, packages: [].into(), stamp: version("1.1") };
    let patch = Action::Patch { want: Vec::new() };
    host(&mut seen, "web-cny-02").claim = Some(claim());
    for action in [activate, patch] {
        memory.in_flight.clear();
        let under_way = step("once more", "web-cny-02", action);
        memory.apply(start(), &Event::StepStarted { step: under_way }).unwrap();
        let planned = plan(&desired, &seen, &memory, start());
        for node in NODES {
            let told = told(&planned, node).into_iter().map(|(row, weight)| (row.server.to_string(), weight));
            assert_eq!(told.collect::<Vec<_>>(), [("web-cny-01".to_owned(), 21)]);
        }
    }
}

#[test]
fn where_all_main_servers_are_declared_out_the_canary_weighs_nothing_before_they_leave() {
    let (mut desired, mut seen) = ready_for_a_share(5, 2, &[vec![100; 4], vec![100; 4]]);
    let outs = (1..=4).map(|number| OutTarget::Host(format!("web-{number:02}").as_str().into()));
    desired.exceptions.outs = outs.map(|what| Out { what, reason: "moved".into(), until: None }).collect();
    let places = NODES.into_iter().flat_map(|node| [(node, "web-cny-01"), (node, "web-cny-02")]);
    places.clone().for_each(|(node, canary)| row(&mut seen, node, canary).weight = 10);
    let retires = |planned: &Plan| planned.steps.iter().any(|step| step.action.kind() == ActionKind::Retire);
    let planned = plan(&desired, &seen, &history(&["1.1"]), start());
    for node in NODES {
        assert_eq!(told(&planned, node).into_values().collect::<Vec<_>>(), [0, 0]);
    }
    assert!(!retires(&planned));
    places.for_each(|(node, canary)| row(&mut seen, node, canary).weight = 0);
    assert!(retires(&plan(&desired, &seen, &history(&["1.1"]), start())));
}

#[test]
fn no_main_server_leaves_where_weights_are_being_set() {
    let (mut desired, seen) = ready_for_a_share(5, 2, &[vec![100; 4], vec![100; 4]]);
    let what = OutTarget::Host("web-01".into());
    desired.exceptions.outs = vec![Out { what, reason: "disk replaced".into(), until: None }];
    let mut memory = history(&["1.1"]);
    let weights = step("weights", "fe-02", Action::Weigh { weights: [].into() });
    memory.apply(start(), &Event::StepStarted { step: weights }).unwrap();
    let retires = |memory: &History| {
        let planned = plan(&desired, &seen, memory, start());
        planned.steps.iter().any(|step| step.action.kind() == ActionKind::Retire)
    };
    assert!(!retires(&memory));
    memory.in_flight.clear();
    assert!(retires(&memory));
}

#[test]
fn a_canary_that_weighs_as_much_as_all_others_is_shown_with_half_of_it() {
    let (desired, mut seen) = ready_for_a_share(50, 2, &[vec![25; 4], vec![25; 4]]);
    for (node, canary) in NODES.into_iter().flat_map(|node| [(node, "web-cny-01"), (node, "web-cny-02")]) {
        row(&mut seen, node, canary).weight = 50;
    }
    let planned = plan(&desired, &seen, &history(&["1.1"]), start());
    let achieved: Vec<f64> = planned.shares.iter().map(|share| share.achieved).collect();
    assert_eq!(achieved, [50.0, 50.0]);
}

#[test]
fn what_only_the_canary_serves_is_shown_as_all_of_it() {
    let (desired, mut seen) = ready_for_a_share(50, 2, &[vec![0; 4], vec![0; 4]]);
    for (node, canary) in NODES.into_iter().flat_map(|node| [(node, "web-cny-01"), (node, "web-cny-02")]) {
        row(&mut seen, node, canary).weight = 50;
    }
    let planned = plan(&desired, &seen, &history(&["1.1"]), start());
    let achieved: Vec<f64> = planned.shares.iter().map(|share| share.achieved).collect();
    assert_eq!(achieved, [100.0, 100.0]);
}

#[test]
fn weights_that_were_refused_are_set_again_when_their_time_has_come() {
    let (desired, seen) = ready_for_a_share(5, 2, &[vec![100; 4], vec![100; 4]]);
    let mut memory = history(&["1.1"]);
    let failure =
        Failure { kind: FailureKind::LoadBalancerRefused, what: "fe-01".into(), detail: String::new() };
    let mut refused = |until| {
        let (action, failure) = (ActionKind::Weigh, failure.clone());
        let trouble =
            history::Trouble { version: version("1.1"), action, failure, times: 1, attempts: 1, until };
        memory.troubles.insert("fe-01".into(), trouble);
        NODES.map(|node| told(&plan(&desired, &seen, &memory, start()), node).len())
    };
    assert_eq!(refused(start() + SignedDuration::from_secs(1)), [0, 2]);
    assert_eq!(refused(start()), [2, 2]);
}

#[test]
fn a_share_stays_until_somebody_has_begun_with_the_canarys_next_release() {
    let (mut desired, mut seen) = ready_for_a_share(5, 2, &[vec![100; 4], vec![100; 4]]);
    for (node, canary) in NODES.into_iter().flat_map(|node| [(node, "web-cny-01"), (node, "web-cny-02")]) {
        row(&mut seen, node, canary).weight = 10;
    }
    desired.ranks.push(version("1.2"));
    desired.canary.as_mut().unwrap().version = version("1.2");
    desired.exceptions.holds =
        vec![Hold { scope: HoldScope::Canary, reason: "holidays".into(), until: None }];
    let mut memory = history(&["1.1"]);
    memory.progress.share =
        Some(model::progress::ReachedShare { version: version("1.1"), weight: 5, at: start() });
    let planned = plan(&desired, &seen, &memory, start());
    NODES.into_iter().for_each(|node| assert_eq!(told(&planned, node), [].into()));
}

#[test]
fn a_canary_that_weighs_too_much_may_leave_and_a_main_server_may_not() {
    let (mut desired, mut seen) = ready_for_a_share(5, 2, &[vec![100; 4], vec![100; 4]]);
    for (node, canary) in NODES.into_iter().flat_map(|node| [(node, "web-cny-01"), (node, "web-cny-02")]) {
        row(&mut seen, node, canary).weight = 90;
    }
    for (out, leaves) in [("web-cny-01", true), ("web-01", false)] {
        let what = OutTarget::Host(out.into());
        desired.exceptions.outs = vec![Out { what, reason: "disk replaced".into(), until: None }];
        let planned = plan(&desired, &seen, &history(&["1.1"]), start());
        let retired = planned.steps.iter().any(|step| step.action.kind() == ActionKind::Retire);
        assert_eq!(retired, leaves, "{out}: {:?}", planned.waiting);
    }
}

/// The canary's stage has nothing to watch. What each canary server is told to weigh when some of them have fallen back to an
/// earlier version.
fn told_when_fallen_back(fallen: &[&str], mut memory: History) -> [BTreeMap<RowId, u32>; 2] {
    let (mut desired, mut seen) = ready_for_a_share(5, 2, &[vec![100; 4], vec![100; 4]]);
    for (node, canary) in NODES.into_iter().flat_map(|node| [(node, "web-cny-01"), (node, "web-cny-02")]) {
        row(&mut seen, node, canary).weight = 10;
    }
    desired.ranks.insert(0, version("1.0"));
    let stage = &mut desired.fleet.policy.stages[1];
    (stage.gates, stage.soak) = (Vec::new(), SignedDuration::ZERO);
    for name in fallen {
        let state = host(&mut seen, name);
        state.packages.values_mut().for_each(|package| package.version = version("1.0"));
    }
    let reached =
        Event::ShareReached { environment: "production".into(), version: version("1.1"), weight: 5 };
    memory.apply(start(), &reached).unwrap();
    let planned = plan(&desired, &seen, &memory, start());
    NODES.map(|node| told(&planned, node))
}

/// 1.1 has passed the canary's stages.
fn all_passed() -> History {
    let mut memory = history(&["1.0"]);
    let (environment, version) = (|| "production".into(), version("1.1"));
    for stage in ["migrations", "canary fleet"] {
        let (stage, version): (StageName, _) = (stage.into(), version.clone());
        let began =
            Event::StageBegan { environment: environment(), stage: stage.clone(), version: version.clone() };
        memory.apply(start(), &began).unwrap();
        let passed = Event::StagePassed { environment: environment(), stage, version };
        memory.apply(start(), &passed).unwrap();
    }
    memory
}

#[test]
fn a_canary_that_falls_back_where_nothing_was_watched_does_not_take_the_others_out() {
    for fallen in [&["web-cny-01"][..], &["web-cny-01", "web-cny-02"]] {
        assert_eq!(told_when_fallen_back(fallen, all_passed()), [[].into(), [].into()], "{fallen:?}");
    }
}

#[test]
fn a_canary_of_which_no_server_runs_any_more_what_was_found_running_has_no_share_until_one_does() {
    let found = || history(&["1.0", "1.1"]);
    assert_eq!(told_when_fallen_back(&["web-cny-01"], found()), [[].into(), [].into()]);
    for told in told_when_fallen_back(&["web-cny-01", "web-cny-02"], found()) {
        assert_eq!(told.values().copied().collect::<Vec<_>>(), [0, 0]);
    }
}

#[test]
fn who_is_deployed_takes_no_share_on_a_node_that_is_declared_out_no_more() {
    // Both were drained on fe-01 alone, for a release that git has taken back meanwhile: what they ran then is wanted again.
    let (desired, mut seen) = ready_for_a_share(5, 2, &[vec![100; 4], vec![100; 4]]);
    let (mut memory, soon) = (history(&["1.1"]), start() + SignedDuration::from_millis(1));
    let packages: BTreeMap<PackageName, Version> = [("shop".into(), version("1.2"))].into();
    for name in ["web-cny-01", "web-cny-02"] {
        let drained = row(&mut seen, "fe-01", name);
        (drained.admin, drained.status) = (Admin::Drain, "DRAIN".into());
        let claim = step(&format!("claim-{name}"), name, Action::Claim { found: [].into() });
        let out = RowId { node: "fe-01".into(), backend: "web".into(), server: name.into() };
        let drain = step(&format!("drain-{name}"), name, Action::Drain { rows: [out].into() });
        for done in [claim, drain] {
            memory.apply(start(), &Event::StepStarted { step: done.clone() }).unwrap();
            memory.apply(start(), &ended(&done)).unwrap();
        }
        host(&mut seen, name).claim = Some(memory.claims[name].clone());
        let install =
            Action::Install { packages: packages.clone(), prepare: Vec::new(), configure: Vec::new() };
        memory.apply(start(), &Event::StepStarted { step: step(name, name, install) }).unwrap();
    }
    let heaviest = |seen: &Observed, memory: &History, at| {
        let planned = plan(&desired, seen, memory, at);
        NODES.into_iter().flat_map(|node| told(&planned, node)).map(|(_, weight)| weight).max()
    };
    assert_eq!(heaviest(&seen, &memory, start()), None, "while it is installed");
    for flying in memory.in_flight.clone().into_values() {
        memory.apply(soon, &ended(&flying.step)).unwrap();
    }
    assert_eq!(heaviest(&seen, &memory, soon), None, "until it is read again");
    seen.hosts.values_mut().for_each(|fact| fact.at = soon);
    assert!(heaviest(&seen, &memory, soon) > Some(0), "it runs what is wanted, and serves there");
}

fn ended(step: &Step) -> Event {
    Event::StepFinished {
        environment: step.environment.clone(),
        step: step.id.clone(),
        result: Ok(Outcome::Changed(String::new())),
    }
}
