//! What is told and stops nothing, and how far roles are.

use jiff::SignedDuration;
use model::*;
use planner::plan;

use crate::fleet::{host, patch, row, start, version};
use crate::release::{desired, history, observed};

const INSTANT: SignedDuration = SignedDuration::from_millis(1);

/// The notes of a fleet that is where it should be, after a change.
fn notes(change: impl FnOnce(&mut Desired, &mut Observed, &mut History)) -> Vec<String> {
    let mut desired = desired("1.0", "1.0", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    let mut memory = history(&["1.0"]);
    change(&mut desired, &mut seen, &mut memory);
    let planned = plan(&desired, &seen, &memory, start());
    planned.notes.into_iter().filter(|note| !note.contains("no canary server is up")).collect()
}

#[test]
fn a_fleet_without_exceptions_has_nothing_to_tell() {
    assert_eq!(notes(|_, _, _| {}), Vec::<String>::new());
}

#[test]
fn rows_that_stay_as_found_are_told() {
    let told = notes(|desired, seen, _| {
        let row = RowId { node: "fe-01".into(), backend: "web".into(), server: "web-01".into() };
        host(seen, "web-01").claim = Some(Claim {
            generation: Generation(1),
            service: "deploy".into(),
            environment: "production".into(),
            commit: desired.commit.id.clone(),
            found: [row].into(),
            at: start(),
            expires: None,
        });
    });
    assert_eq!(told, ["web-01: rows taken out by somebody else stay as found"]);
}

#[test]
fn a_rollout_is_late_when_the_work_of_its_stages_took_longer_than_its_deadline() {
    let late = |began: SignedDuration, worked: Option<SignedDuration>, release: &str| {
        let told = notes(|desired, _, memory| {
            desired.canary.as_mut().unwrap().version = version("1.1");
            let worked = worked.map(|worked| start() - worked);
            let run = StageRun { version: version(release), began: start() - began, worked, passed: None };
            memory.progress.runs.insert("migrations".into(), run);
        });
        told == ["this rollout has taken more than its deadline of 4h"]
    };
    let deadline = SignedDuration::from_hours(4);
    assert!(!late(deadline, None, "1.1"));
    assert!(late(deadline + INSTANT, None, "1.1"));
    assert!(!late(deadline + INSTANT, Some(INSTANT), "1.1"), "what came after the work is not counted");
    assert!(!late(deadline + INSTANT, None, "1.0"), "another release");
}

#[test]
fn an_emergency_says_what_it_costs_or_that_it_has_no_effect() {
    let told = |text: &str| {
        notes(|desired, _, _| {
            desired.exceptions.emergency =
                Some(Emergency { version: version(text), reason: "outage".into() });
        })
    };
    let cost = "emergency for 1.0: up to 50% of each role out at once, sessions cut after 10s, no gates, checks, \
                soaks or promotion (outage)";
    assert_eq!(told("1.0"), [cost]);
    assert_eq!(told("1.1"), ["emergency for 1.1: not a target now: without effect (outage)"]);
}

#[test]
fn a_load_balancer_node_is_told_as_long_as_it_is_out() {
    let told = |what: OutTarget, until| {
        notes(|desired, _, _| {
            desired.exceptions.outs = vec![Out { what, reason: "repair".into(), until }];
        })
    };
    let node = || OutTarget::LoadBalancerNode("fe-02".into());
    let note = ["load balancer node fe-02 is declared free of traffic (repair)"];
    assert_eq!(told(node(), None), note);
    assert_eq!(told(node(), Some(start() + INSTANT)), note);
    assert_eq!(told(node(), Some(start())), Vec::<String>::new());
    assert_eq!(told(OutTarget::Host("web-01".into()), None), Vec::<String>::new());
}

#[test]
fn a_persons_word_about_a_point_of_no_return_is_told() {
    let told = notes(|desired, _, _| {
        let past_post_migrations_of = version("1.1");
        desired.exceptions.allow = Some(Allow { past_post_migrations_of, reason: "tested".into() });
    });
    assert_eq!(told, ["going back past the post-deployment migrations of 1.1 is allowed (tested)"]);
}

#[test]
fn patches_are_debt_where_they_are_applied_and_told_where_they_are_dropped() {
    let told = |of: &str, hosts: &[&str], fixed: &[&str]| {
        notes(|desired, seen, _| {
            let incorporated_in = fixed.iter().map(|text| version(text)).collect();
            desired.exceptions.patches = vec![Patch { incorporated_in, ..patch(of) }];
            for name in hosts {
                host(seen, name).patches = ["a".repeat(64)].into();
            }
        })
    };
    assert_eq!(told("1.0", &["web-01", "web-02"], &[]), ["debt: patch fix.patch is on 2 hosts (leaks)"]);
    assert_eq!(told("1.0", &[], &[]), Vec::<String>::new());
    let dropped = ["canary", "main"].map(|track| format!("1.0 on track {track} drops patch fix.patch"));
    assert_eq!(told("1.1", &[], &[]), dropped);
    assert_eq!(told("1.1", &[], &["1.0"]), Vec::<String>::new());
}

#[test]
fn weights_that_are_too_small_for_a_share_are_told() {
    let told = |weight: u32, percent: u8| {
        notes(|desired, seen, memory| {
            desired.canary.as_mut().unwrap().weight = percent;
            let share =
                Event::ShareReached { environment: "production".into(), version: version("1.0"), weight: 5 };
            memory.apply(start(), &share).unwrap();
            row(seen, "fe-01", "web-03").weight = weight;
        })
    };
    assert_eq!(told(50, 5), Vec::<String>::new());
    assert_eq!(told(49, 0), Vec::<String>::new(), "no share is never too coarse");
    assert_eq!(
        told(49, 5),
        ["backend fe/web on fe-01: weights of main are under 50, too coarse for the canary's share"]
    );
}

#[test]
fn roles_say_how_many_of_their_hosts_are_there_and_how_many_are_out() {
    let mut desired = desired("1.0", "1.0", &["1.0"]);
    let mut seen = observed(&desired, "1.0");
    host(&mut seen, "web-01").health = HealthState::Unhealthy("503".into());
    host(&mut seen, "web-02").packages.get_mut("shop").unwrap().version = version("0.9");
    desired.exceptions.outs =
        vec![Out { what: OutTarget::Host("web-04".into()), reason: "dead".into(), until: None }];
    let planned = plan(&desired, &seen, &history(&["1.0"]), start());
    let web = planned.progress.iter().find(|role| role.role.as_str() == "web").unwrap();
    assert_eq!((web.hosts, web.done, web.out, web.limit), (3, 2, 1, 1));
    let names: Vec<&str> = planned.progress.iter().map(|role| role.role.as_str()).collect();
    assert_eq!(names, ["web-canary", "gitaly", "web"]);
}
