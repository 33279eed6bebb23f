//! A fleet that is taken as it was found: what ran already, and what was only begun.

use std::collections::BTreeSet;

use model::*;
use planner::{plan, releases_ahead, releases_begun, releases_running};

use crate::fleet::{host, start, version};
use crate::release::{desired, history, observed, primary};

/// What is found where somebody is at work on the only storage host, which has 1.1 installed, beside web servers with 1.0.
fn found(change: impl FnOnce(&mut HostState)) -> (BTreeSet<Version>, BTreeSet<Version>) {
    let desired = desired("1.0", "1.0", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    let state = host(&mut seen, "gitaly-01");
    state.packages.get_mut("shop").unwrap().version = version("1.1");
    state.claim = Some(Claim {
        generation: Generation(1),
        service: "deploy".into(),
        environment: "production".into(),
        commit: CommitId::new("0"),
        found: Default::default(),
        at: start(),
        expires: None,
    });
    change(state);
    assert_eq!(releases_ahead(&desired, &seen), [].into());
    (releases_running(&desired, &seen), releases_begun(&desired, &seen))
}

fn service(state: &mut HostState) -> &mut ServiceState {
    state.services.get_mut("shop.service").unwrap()
}

#[test]
fn what_is_installed_under_a_mark_and_does_not_run_is_only_begun() {
    let begun = ([version("1.0")].into(), [version("1.1")].into());
    assert_eq!(found(|state| service(state).active = false), begun);
    assert_eq!(found(|state| service(state).started_after_unpack = Some(false)), begun);
    assert_eq!(found(|state| service(state).started_after_unpack = None), begun);
    assert_eq!(found(|state| service(state).stamped = Some(version("1.0"))), begun);
    assert_eq!(found(|state| service(state).reported = Some(version("1.1.0"))), begun);
    assert_eq!(found(|state| state.services.clear()), begun);
}

#[test]
fn what_runs_is_found_running_under_a_mark_as_well() {
    let running = (["1.0", "1.1"].map(version).into(), [].into());
    assert_eq!(found(|_| ()), running);
    for stamp in ["1.1", "1.1+patched.0123456789ab"] {
        assert_eq!(found(|state| service(state).stamped = Some(version(stamp))), running, "{stamp}");
    }
    // Where nobody is at work, nothing is begun.
    let left_alone = |state: &mut HostState| {
        service(state).active = false;
        state.claim = None;
    };
    assert_eq!(found(left_alone), running);
}

#[test]
fn what_is_half_installed_was_never_found() {
    let half = |state: &mut HostState| state.packages.get_mut("shop").unwrap().installed = false;
    assert_eq!(found(half), ([version("1.0")].into(), [].into()));
}

fn adopted(running: &[&str], begun: &[&str]) -> History {
    let versions = |texts: &[&str]| texts.iter().map(|text| version(text)).collect();
    let mut memory = history(&["1.0"]);
    let adopted = Event::Adopted {
        environment: "production".into(),
        by: "ada".into(),
        reason: "the journal was lost".into(),
        running: versions(running),
        ahead: Vec::new(),
        begun: versions(begun),
        jobs: Vec::new(),
    };
    memory.apply(start(), &adopted).unwrap();
    memory
}

#[test]
fn what_was_begun_is_migrated_and_goes_through_its_stages_like_any_release() {
    let mut desired = desired("1.1", "1.1", &["1.0", "1.1"]);
    desired.fleet.policy.promotion.main_requires = None;
    let seen = observed(&desired, "1.1");
    let stages = |memory: &History| {
        let planned = plan(&desired, &seen, memory, start());
        assert!(!planned.steps.iter().any(|step| step.host.as_str() == "deploy-01"), "{:?}", planned.steps);
        let worked = planned.records.into_iter().filter_map(|event| match event {
            Event::StageWorked { stage, .. } => Some(stage),
            _ => None,
        });
        worked.collect::<Vec<_>>()
    };
    assert_eq!(stages(&adopted(&[], &["1.1"])), ["migrations", "gitaly"].map(StageName::from));
    assert_eq!(stages(&adopted(&["1.1"], &[])), []);
}

#[test]
fn main_takes_on_what_it_had_begun_only_once_canary_has_passed_it() {
    let desired = desired("1.1", "1.0", &["1.0", "1.1"]);
    let seen = observed(&desired, "1.0");
    let planned = plan(&desired, &seen, &adopted(&[], &["1.1"]), start());
    assert!(matches!(primary(&planned), Reason::PromotionRequired { requires: Requirement::Canary, .. }));
}

#[test]
fn nobody_knows_what_lies_before_a_release_that_was_begun() {
    let desired = desired("1.0", "1.0", &["1.0", "1.1"]);
    let seen = observed(&desired, "1.1");
    let planned = plan(&desired, &seen, &adopted(&[], &["1.1"]), start());
    assert!(matches!(primary(&planned), Reason::PastPostMigration { .. }), "{:?}", planned.waiting);
}
