//! A release that a commit took back, and that a later commit brings again: what was begun, worked and watched the first
//! time does not count the second time.

use jiff::{SignedDuration, Timestamp};
use model::*;
use planner::{plan, preview};

use crate::fleet::{host, start, version};
use crate::release::{accepted, desired, history, observed};

fn at(minutes: i64) -> Timestamp {
    start() + SignedDuration::from_mins(minutes)
}

/// Both canary servers run 1.1, which was left after 6 minutes and came back after 20.
struct Scene {
    desired: Desired,
    observed: Observed,
    history: History,
}

impl Scene {
    /// One stage for the canary, which has no share; `first` happened to it the first time.
    fn came_back(first: &[(i64, Event)]) -> Self {
        let mut desired = desired("1.0", "1.1", &["1.0", "1.1"]);
        desired.canary.as_mut().unwrap().weight = 0;
        desired.fleet.policy.stages.retain(|stage| matches!(stage.run, Run::Deploy { .. }));
        desired.fleet.policy.migrations = None;
        let mut observed = observed(&desired, "1.0");
        for name in ["web-cny-01", "web-cny-02"] {
            let state = host(&mut observed, name);
            state.packages.get_mut("shop").unwrap().version = version("1.1");
            state.services.values_mut().for_each(|service| service.stamped = Some(version("1.1")));
        }
        let mut scene = Self { desired, observed, history: history(&["1.0"]) };
        scene.happens(1, accepted(Some("1.1")));
        first.iter().for_each(|(minutes, event)| scene.happens(*minutes, event.clone()));
        scene.happens(6, accepted(None));
        scene.happens(20, accepted(Some("1.1")));
        scene
    }

    fn happens(&mut self, minutes: i64, event: Event) {
        self.history.apply(at(minutes), &event).unwrap();
    }

    fn plan(&mut self, now: Timestamp) -> Plan {
        self.observed.hosts.values_mut().for_each(|fact| fact.at = now);
        self.observed.nodes.values_mut().for_each(|fact| fact.at = now);
        self.observed.gates.values_mut().for_each(|fact| fact.at = now);
        plan(&self.desired, &self.observed, &self.history, now)
    }

    /// What is found out about stages and tracks.
    fn records(&mut self, minutes: i64) -> Vec<Event> {
        let is_turn = |event: &Event| matches!(event, Event::GateTurned { .. });
        self.plan(at(minutes)).records.into_iter().filter(|event| !is_turn(event)).collect()
    }
}

fn began() -> Event {
    let (environment, stage) = ("production".into(), "canary fleet".into());
    Event::StageBegan { environment, stage, version: version("1.1") }
}

fn worked() -> Event {
    let (environment, stage) = ("production".into(), "canary fleet".into());
    Event::StageWorked { environment, stage, version: version("1.1") }
}

fn passed() -> Event {
    let (environment, stage) = ("production".into(), "canary fleet".into());
    Event::StagePassed { environment, stage, version: version("1.1") }
}

fn track_passed() -> Event {
    let (environment, stages) = ("production".into(), vec!["canary fleet".into()]);
    Event::Passed { environment, track: Track::Canary, version: version("1.1"), stages }
}

#[test]
fn a_release_that_comes_back_is_watched_anew() {
    let mut scene = Scene::came_back(&[(2, began()), (5, worked())]);
    assert_eq!(scene.records(21), [worked()], "the soak from the first time would be over");
    scene.happens(21, worked());
    let soaking = Reason::Soaking { stage: "canary fleet".into(), until: at(31) };
    let planned = scene.plan(at(30));
    assert!(planned.waiting.iter().any(|waiting| waiting.reason == soaking), "{:?}", planned.waiting);
    assert_eq!(scene.records(30), []);
    assert_eq!(scene.records(31), [passed()]);
}

#[test]
fn a_stage_in_which_a_host_is_deployed_once_more_is_watched_from_then_on() {
    let mut scene = Scene::came_back(&[]);
    scene.happens(21, worked());
    let activated = history::Activated { version: version("1.1"), at: at(25), times: 1 };
    scene.history.activated.insert("web-cny-01".into(), activated);
    assert_eq!(scene.records(31), [worked()], "the soak of the others would be over");
    scene.happens(31, worked());
    assert_eq!(scene.records(40), []);
    assert_eq!(scene.records(41), [passed()]);
}

#[test]
fn what_comes_to_the_other_track_meanwhile_interrupts_nothing() {
    let mut scene = Scene::came_back(&[]);
    scene.happens(21, worked());
    let promoted = |main: &str, canary: Option<&str>| {
        let Event::Accepted { environment, commit, author, subject, .. } = accepted(None) else { panic!() };
        let (version, canary) = (version(main), canary.map(version));
        Event::Accepted { environment, commit, author, subject, version, canary }
    };
    scene.happens(25, promoted("0.9", Some("1.1")));
    scene.happens(26, promoted("1.1", None));
    scene.happens(27, promoted("1.0", Some("1.1")));
    assert_eq!(scene.records(31), [passed()], "the canary's target was the same all the time");
}

#[test]
fn a_stage_that_passed_the_first_time_is_watched_again_unless_its_whole_track_had_passed() {
    let first = [(2, began()), (3, worked()), (4, passed())];
    assert_eq!(Scene::came_back(&first).records(21), [worked()]);
    let whole = [&first[..], &[(4, track_passed())]].concat();
    assert_eq!(Scene::came_back(&whole).records(21), []);
    let verified = Event::Verified {
        environment: "production".into(),
        track: Track::Canary,
        version: version("1.1"),
        by: "ada".into(),
        reason: "tested by hand".into(),
    };
    assert_eq!(Scene::came_back(&[&first[..], &[(5, verified)]].concat()).records(21), []);
}

#[test]
fn a_stage_that_comes_back_begins_again() {
    let mut scene = Scene::came_back(&[(2, began())]);
    for name in ["web-cny-01", "web-cny-02"] {
        let state = host(&mut scene.observed, name);
        state.packages.get_mut("shop").unwrap().version = version("1.0");
    }
    assert_eq!(scene.records(21), [began()]);
    scene.happens(21, began());
    assert_eq!(scene.records(22), []);
}

#[test]
fn the_time_that_a_release_was_away_is_no_part_of_how_long_its_rollout_takes() {
    let mut scene = Scene::came_back(&[(2, began())]);
    scene.desired.fleet.deadlines.rollout = SignedDuration::from_mins(15);
    host(&mut scene.observed, "web-cny-01").packages.get_mut("shop").unwrap().version = version("1.0");
    let late = "this rollout has taken more than its deadline of 15m";
    let says = |scene: &mut Scene, minutes| scene.plan(at(minutes)).notes.contains(&late.to_owned());
    assert!(!says(&mut scene, 21));
    scene.happens(21, began());
    assert!(!says(&mut scene, 36));
    assert!(says(&mut scene, 37));
}

#[test]
fn a_commit_that_would_bring_a_release_back_is_foreseen_with_its_soak() {
    let mut scene = Scene::came_back(&[(2, began()), (5, worked())]);
    scene.happens(21, accepted(None));
    scene.desired.commit.id = CommitId::new("1");
    for name in ["web-cny-01", "web-cny-02"] {
        let state = host(&mut scene.observed, name);
        state.packages.get_mut("shop").unwrap().version = version("1.0");
        state.services.values_mut().for_each(|service| service.stamped = None);
    }
    scene.desired.canary.as_mut().unwrap().weight = 5;
    let _ = scene.plan(at(22));
    let foreseen = preview(&scene.desired, &scene.observed, &scene.history, at(22));
    assert_eq!(foreseen.waiting, []);
    assert!(foreseen.steps.iter().any(|step| step.step.host.as_str() == "web-cny-02"));
}
