//! The way back: until every host runs the earlier version, it is the way back.

use crate::fleet::{claim, host, patch, start, version};
use crate::release::{desired, history, kinds, observed, primary, set_gate};
use jiff::SignedDuration;
use model::*;
use planner::plan;

/// Everything goes back to 1.0, and has its packages; alerts are firing.
fn nearly_back() -> (Desired, Observed) {
    let desired = desired("1.0", "1.0", &["1.0", "1.1"]);
    let mut seen = observed(&desired, "1.0");
    set_gate(&mut seen, Verdict::Red, start());
    (desired, seen)
}

fn still_runs(seen: &mut Observed, name: &str, stamp: &str) {
    host(seen, name).services.values_mut().for_each(|service| service.stamped = Some(version(stamp)));
}

/// The canary servers run one version, and have the earlier one at hand.
fn canary_goes_back(seen: &mut Observed, from: &str, to: &str) {
    for name in ["web-cny-01", "web-cny-02"] {
        let state = host(seen, name);
        state.packages.get_mut("shop").unwrap().version = version(from);
        state.staged = [("shop".into(), [version(to)].into())].into();
    }
}

fn direction(planned: &Plan, track: Track) -> Direction {
    planned.tracks.iter().find(|progress| progress.track == track).unwrap().direction
}

#[test]
fn a_track_goes_back_until_no_host_runs_the_later_version() {
    let (desired, mut seen) = nearly_back();
    let planned = plan(&desired, &seen, &history(&["1.0"]), start());
    assert_eq!((direction(&planned, Track::Main), kinds(&planned)), (Direction::Forward, Vec::new()));
    for stamp in ["1.1", "1.1+patched.0123456789ab"] {
        still_runs(&mut seen, "web-04", stamp);
        let planned = plan(&desired, &seen, &history(&["1.0"]), start());
        assert_eq!(direction(&planned, Track::Main), Direction::Back, "stamped {stamp}");
        assert_eq!(direction(&planned, Track::Canary), Direction::Forward);
        assert_eq!(kinds(&planned), ["web-04 claim"], "no gate keeps the last one: {:?}", planned.waiting);
    }
    // What is down, or restarts nothing, runs nothing later; and what git never knew says nothing of the way.
    let mut stopped = seen.clone();
    host(&mut stopped, "web-04").services.values_mut().for_each(|service| service.active = false);
    let mut restarts_nothing = desired.clone();
    let web = restarts_nothing.fleet.roles.iter_mut().find(|role| role.name.as_str() == "web").unwrap();
    web.services[0].activate = Activate::None;
    let mut unheard = seen.clone();
    still_runs(&mut unheard, "web-04", "7.3-by-hand");
    for (desired, seen) in [(&desired, &stopped), (&restarts_nothing, &seen), (&desired, &unheard)] {
        let planned = plan(desired, seen, &history(&["1.0"]), start());
        assert_eq!(direction(&planned, Track::Main), Direction::Forward);
    }
    let mut declared_out = desired.clone();
    let what = OutTarget::Host("web-04".into());
    declared_out.exceptions.outs.push(Out { what, reason: "disk replaced".into(), until: None });
    let planned = plan(&declared_out, &seen, &history(&["1.0"]), start());
    assert_eq!(direction(&planned, Track::Main), Direction::Forward);
}

#[test]
fn the_last_host_of_a_way_back_gets_its_patches_whatever_gates_say() {
    let (mut desired, mut seen) = nearly_back();
    desired.exceptions.patches.push(patch("1.0"));
    for name in ["web-01", "web-02", "web-03"] {
        host(&mut seen, name).patches.insert("a".repeat(64));
        still_runs(&mut seen, name, "1.0+patched.aaaaaaaaaaaa");
    }
    still_runs(&mut seen, "web-04", "1.1");
    for node in ["fe-01", "fe-02"] {
        let row = crate::fleet::row(&mut seen, node, "web-04");
        (row.admin, row.status) = (Admin::Drain, "DRAIN".into());
    }
    host(&mut seen, "web-04").claim = Some(Claim {
        at: start() - SignedDuration::from_secs(5),
        commit: desired.commit.id.clone(),
        ..claim()
    });
    let planned = plan(&desired, &seen, &history(&["1.0"]), start());
    assert_eq!(
        kinds(&planned),
        ["web-04 patch"],
        "it is not given back with what it runs: {:?}",
        planned.waiting
    );
}

#[test]
fn packages_that_somebody_brought_down_do_not_lead_past_post_deployment_migrations() {
    let (desired, mut seen) = nearly_back();
    set_gate(&mut seen, Verdict::Green, start() - SignedDuration::from_hours(1));
    still_runs(&mut seen, "web-04", "1.1");
    let planned = plan(&desired, &seen, &history(&["1.0", "1.1"]), start());
    assert_eq!(kinds(&planned), [] as [&str; 0]);
    assert!(matches!(primary(&planned), Reason::PastPostMigration { .. }), "{:?}", planned.waiting);
}

#[test]
fn a_canary_goes_back_after_the_hosts_of_main_and_not_after_what_is_watched_there() {
    let (desired, mut seen) = nearly_back();
    let mut memory = history(&["0.9"]);
    for migrated in ["1.0", "1.1"] {
        let key = JobKey { kind: JobKind::PreMigration, version: version(migrated) };
        let state = JobState::Passed { at: start(), output: String::new() };
        memory.progress.jobs.insert(key, JobRecord { attempt: 1, state, began: Some(start()), host: None });
    }
    canary_goes_back(&mut seen, "1.1", "1.0");
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(direction(&planned, Track::Canary), Direction::Back);
    assert_eq!(kinds(&planned), ["web-cny-01 claim", "web-cny-02 claim"], "{:?}", planned.waiting);
    host(&mut seen, "web-04").packages.get_mut("shop").unwrap().version = version("1.1");
    let planned = plan(&desired, &seen, &memory, start());
    assert!(!kinds(&planned).iter().any(|step| step.starts_with("web-cny")), "{:?}", kinds(&planned));
}

#[test]
fn a_canary_that_goes_back_to_what_main_goes_forward_to_waits_for_nobody() {
    let desired = desired("1.1", "1.1", &["1.0", "1.1", "1.2"]);
    let mut seen = observed(&desired, "1.0");
    set_gate(&mut seen, Verdict::Green, start() - SignedDuration::from_hours(1));
    canary_goes_back(&mut seen, "1.2", "1.1");
    let planned = plan(&desired, &seen, &history(&["1.0"]), start());
    assert_eq!(direction(&planned, Track::Canary), Direction::Back);
    assert_eq!(direction(&planned, Track::Main), Direction::Forward);
    assert_eq!(
        kinds(&planned),
        ["web-cny-01 claim", "web-cny-02 claim"],
        "main takes only what the canary has passed, which must not wait for main: {:?}",
        planned.waiting
    );
    // Neither for a host of main that was begun with a version that never becomes well.
    let state = host(&mut seen, "web-01");
    state.health = HealthState::Unhealthy("503".into());
    state.claim = Some(claim());
    let planned = plan(&desired, &seen, &history(&["1.0"]), start());
    let begun = kinds(&planned);
    assert!(begun.iter().any(|step| step.starts_with("web-cny")), "{begun:?} {:?}", planned.waiting);
}

#[test]
fn a_canary_goes_back_while_main_waits_to_begin_with_the_same_version() {
    let mut desired = desired("1.1", "1.1", &["1.0", "1.1", "1.2"]);
    desired.fleet.policy.promotion = Promotion::default();
    let mut seen = observed(&desired, "1.0");
    set_gate(&mut seen, Verdict::Red, start());
    canary_goes_back(&mut seen, "1.2", "1.1");
    let planned = plan(&desired, &seen, &history(&["1.0"]), start());
    assert_eq!(kinds(&planned), ["web-cny-01 claim", "web-cny-02 claim"], "{:?}", planned.waiting);

    // Who was begun on main is brought back first, unless a person has declared it out.
    host(&mut seen, "web-01").claim = Some(claim());
    let canaries_begin = |desired: &Desired, seen: &Observed| {
        let planned = plan(desired, seen, &history(&["1.0"]), start());
        kinds(&planned).iter().any(|step| step.starts_with("web-cny"))
    };
    assert!(!canaries_begin(&desired, &seen));
    let what = OutTarget::Host("web-01".into());
    desired.exceptions.outs.push(Out { what, reason: "disk replaced".into(), until: None });
    assert!(canaries_begin(&desired, &seen));
}

#[test]
fn what_git_no_longer_knows_lies_where_it_was_accepted_whatever_it_sorts_above() {
    // Somebody rewrote history while 1.0 ran: it begins with the release that came after it.
    let desired = desired("0.2", "0.3", &["0.2", "0.3"]);
    let mut seen = observed(&desired, "1.0");
    set_gate(&mut seen, Verdict::Green, start() - SignedDuration::from_hours(1));
    let mut memory = history(&["1.0"]);
    let way = |desired: &Desired, memory: &History| {
        let planned = plan(desired, &seen, memory, start());
        let asks = Reason::DirectionUnknown { target: version("0.2"), observed: version("1.0") };
        let asks = planned.waiting.iter().any(|waiting| waiting.reason == asks);
        (!asks).then(|| direction(&planned, Track::Main))
    };
    memory.progress.appeared = ["1.0", "0.2", "0.3"].map(version).into();
    assert_eq!(way(&desired, &memory), Some(Direction::Forward), "0.2 is migrated before it serves");
    memory.progress.appeared = ["0.2", "1.0"].map(version).into();
    assert_eq!(way(&desired, &memory), Some(Direction::Back));
    // A journal that begins later, or knows one of the two, does not tell; a person does.
    for appeared in [&["0.2", "0.3"][..], &["1.0", "0.3"], &[]] {
        memory.progress.appeared = appeared.iter().copied().map(version).collect();
        assert_eq!(way(&desired, &memory), None, "{appeared:?}");
        for said in [Direction::Forward, Direction::Back] {
            let told = Desired { direction: Some(said), ..desired.clone() };
            assert_eq!(way(&told, &memory), Some(said));
        }
    }
}

#[test]
fn a_word_beside_an_earlier_version_says_nothing_of_the_next_one_or_of_the_canarys() {
    let mut desired = desired("0.9", "2.0", &["1.0", "0.9", "2.0"]);
    desired.direction = Some(Direction::Back);
    let mut seen = observed(&desired, "0.9");
    let planned = plan(&desired, &seen, &history(&["1.0"]), start());
    assert_eq!(direction(&planned, Track::Canary), Direction::Forward);
    desired.target = version("2.1");
    desired.ranks.push(version("2.1"));
    let planned = plan(&desired, &seen, &history(&["1.0"]), start());
    assert_eq!(direction(&planned, Track::Main), Direction::Forward);
    // It is about what sorts below something that was there before.
    desired.target = version("0.8");
    desired.ranks.push(version("0.8"));
    let planned = plan(&desired, &seen, &history(&["1.0"]), start());
    assert_eq!(direction(&planned, Track::Main), Direction::Back);
    seen = observed(&desired, "0.8");
    let planned = plan(&desired, &seen, &history(&["1.0"]), start());
    assert_eq!(direction(&planned, Track::Main), Direction::Back, "and still is when all are there");
}

#[test]
fn a_word_is_also_about_what_was_found_running_when_the_fleet_was_adopted() {
    let mut desired = desired("1.9", "1.9", &["1.9"]);
    desired.direction = Some(Direction::Back);
    let way = |runs: &str| {
        direction(&plan(&desired, &observed(&desired, runs), &history(&["2.0"]), start()), Track::Main)
    };
    assert_eq!(way("2.0"), Direction::Back);
    assert_eq!(way("1.9"), Direction::Back, "nothing is released when the last one is there");
}

#[test]
fn what_runs_is_later_also_where_only_the_journal_knows_it() {
    // Everything has the packages of 1.0 again, and one host still runs what somebody took out of git's history.
    let (mut desired, mut seen) = nearly_back();
    desired.ranks = ["0.9", "1.0", "1.2"].map(version).into();
    still_runs(&mut seen, "web-04", "1.1");
    let mut memory = history(&["1.0"]);
    let way = |memory: &History| direction(&plan(&desired, &seen, memory, start()), Track::Main);
    assert_eq!(way(&memory), Direction::Forward, "it may be a word for something else");
    memory.progress.appeared = ["1.0", "1.1"].map(version).into();
    assert_eq!(way(&memory), Direction::Back);
    memory.progress.appeared = ["1.1", "1.0"].map(version).into();
    assert_eq!(way(&memory), Direction::Forward);
}
