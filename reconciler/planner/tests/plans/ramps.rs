//! The canary's share on its way up, and back to nothing when a gate is red.

use jiff::{SignedDuration, Timestamp};
use model::*;
use planner::plan;

use crate::fleet::{host, row, start, version};
use crate::release::{accepted, desired, history, observed};

/// Both canary servers run 1.1 and are in rotation; its share goes to 20 percent by way of 5 and 10.
struct Scene {
    desired: Desired,
    observed: Observed,
    history: History,
    now: Timestamp,
}

const SOAK: SignedDuration = SignedDuration::from_mins(10);
const INSTANT: SignedDuration = SignedDuration::from_millis(1);

impl Scene {
    fn deployed() -> Self {
        let mut desired = desired("1.0", "1.1", &["1.0", "1.1"]);
        let step = |weight| RampStep { weight, soak: SOAK };
        desired.canary =
            Some(CanaryTarget { version: version("1.1"), weight: 20, ramp: vec![step(5), step(10)] });
        let mut observed = observed(&desired, "1.0");
        for name in ["web-cny-01", "web-cny-02"] {
            let state = host(&mut observed, name);
            state.packages.get_mut("shop").unwrap().version = version("1.1");
            state.services.values_mut().for_each(|service| service.stamped = Some(version("1.1")));
        }
        let mut scene = Self { desired, observed, history: history(&["1.0"]), now: start() };
        scene.history.progress.found_ahead.insert(version("1.1"));
        let (environment, stage) = ("production".into(), "migrations".into());
        scene.happens(start(), Event::StagePassed { environment, stage, version: version("1.1") });
        let (environment, stage) = ("production".into(), "canary fleet".into());
        scene.happens(start(), Event::StageBegan { environment, stage, version: version("1.1") });
        scene
    }

    fn happens(&mut self, at: Timestamp, event: Event) {
        self.history.apply(at, &event).unwrap();
    }

    fn reached(&mut self, at: Timestamp, weight: u8) {
        let environment = "production".into();
        self.happens(at, Event::ShareReached { environment, version: version("1.1"), weight });
    }

    fn weighs(&mut self, weight: u32) {
        for (node, name) in [
            ("fe-01", "web-cny-01"),
            ("fe-01", "web-cny-02"),
            ("fe-02", "web-cny-01"),
            ("fe-02", "web-cny-02"),
        ] {
            row(&mut self.observed, node, name).weight = weight;
        }
    }

    /// Git left 1.1 and came back to it.
    fn came_back(&mut self, left: Timestamp, at: Timestamp) {
        for (at, canary) in [(start(), Some("1.1")), (left, None), (at, Some("1.1"))] {
            self.happens(at, accepted(canary));
        }
    }

    /// A canary server still runs, or runs again, what main runs.
    fn is_behind(&mut self, name: &str) {
        let state = host(&mut self.observed, name);
        state.packages.get_mut("shop").unwrap().version = version("1.0");
        state.services.values_mut().for_each(|service| service.stamped = None);
    }

    fn gate(&mut self, verdict: Verdict) {
        crate::release::set_gate(&mut self.observed, verdict, start() - SignedDuration::from_hours(1));
    }

    fn plan(&mut self) -> Plan {
        let now = self.now;
        self.observed.hosts.values_mut().for_each(|fact| fact.at = now);
        self.observed.nodes.values_mut().for_each(|fact| fact.at = now);
        self.observed.gates.values_mut().for_each(|fact| fact.at = now);
        plan(&self.desired, &self.observed, &self.history, now)
    }

    /// What each canary server is told to weigh; none: nothing is to be changed.
    fn told(&mut self) -> Option<u32> {
        let steps = self.plan().steps;
        steps.iter().find_map(|step| match &step.action {
            Action::Weigh { weights } => weights.values().max().copied(),
            _ => None,
        })
    }
}

#[test]
fn the_share_grows_step_by_step_each_kept_for_its_time() {
    let mut scene = Scene::deployed();
    assert_eq!(scene.told(), Some(10), "5 percent of 400 beside 2 servers");
    scene.weighs(10);
    scene.reached(start(), 5);
    scene.now = start() + SOAK - INSTANT;
    assert_eq!(scene.told(), None);
    let ramping = Reason::Ramping { weight: 5, of: 20, until: start() + SOAK };
    let planned = scene.plan();
    assert!(planned.waiting.iter().any(|waiting| waiting.reason == ramping), "{:?}", planned.waiting);
    assert!(planned.wake.is_some_and(|wake| wake <= start() + SOAK));
    scene.now = start() + SOAK;
    assert_eq!(scene.told(), Some(22));
    scene.weighs(22);
    scene.reached(scene.now, 10);
    assert_eq!(scene.told(), None);
    scene.now += SOAK;
    assert_eq!(scene.told(), Some(50), "all of it");
    scene.weighs(50);
    let planned = scene.plan();
    let news = Event::ShareReached { environment: "production".into(), version: version("1.1"), weight: 20 };
    assert!(planned.records.contains(&news), "{:?}", planned.records);
}

#[test]
fn a_share_that_is_made_smaller_in_git_is_smaller_at_once() {
    let mut scene = Scene::deployed();
    scene.weighs(22);
    scene.reached(start(), 10);
    scene.desired.canary.as_mut().unwrap().weight = 5;
    assert_eq!(scene.told(), Some(10));
}

#[test]
fn more_traffic_waits_for_a_gate_that_was_asked_since_the_last_share() {
    let mut scene = Scene::deployed();
    scene.weighs(10);
    scene.reached(start(), 5);
    scene.desired.fleet.policy.gates.get_mut("alerts").unwrap().settle = SOAK + INSTANT;
    scene.now = start() + SOAK;
    assert_eq!(scene.told(), None, "what it says is too early by a little");
    let (gate, until) = ("alerts".into(), start() + SOAK + INSTANT);
    let quiet = Reason::GateQuiet { gate, until };
    let waits = |planned: Plan| -> Vec<Reason> {
        planned.waiting.into_iter().map(|waiting| waiting.reason).collect()
    };
    assert!(waits(scene.plan()).contains(&quiet), "{:?}", scene.plan().waiting);
    scene.now += INSTANT;
    let planned = plan(&scene.desired, &scene.observed, &scene.history, scene.now);
    assert!(!waits(planned).contains(&quiet), "it is time to ask");
    assert_eq!(scene.told(), Some(22));
    scene.gate(Verdict::Red);
    assert_eq!(scene.told(), None);
}

#[test]
fn a_release_that_has_passed_its_stage_gets_all_of_its_share_at_once() {
    let mut scene = Scene::deployed();
    scene.weighs(10);
    scene.reached(start(), 5);
    let (environment, stage) = ("production".into(), "canary fleet".into());
    scene.happens(start(), Event::StagePassed { environment, stage, version: version("1.1") });
    assert_eq!(scene.told(), Some(50));
}

#[test]
fn a_hold_keeps_the_share_as_it_is() {
    let mut scene = Scene::deployed();
    scene.weighs(10);
    scene.reached(start(), 5);
    scene.now = start() + SOAK;
    let (scope, reason) = (HoldScope::Canary, "load test".into());
    scene.desired.exceptions.holds.push(Hold { scope, reason, until: None });
    assert_eq!(scene.told(), None);
    scene.desired.exceptions.holds.clear();
    assert_eq!(scene.told(), Some(22));
}

#[test]
fn a_red_gate_takes_the_canary_out_only_where_its_stage_says_so_and_is_under_way() {
    let withdrawn = Event::ShareWithdrawn { environment: "production".into(), gate: "alerts".into() };
    let told = |change: &dyn Fn(&mut Scene)| {
        let mut scene = Scene::deployed();
        scene.desired.fleet.policy.stages[1].on_red = OnRed::CanaryToZero;
        scene.weighs(10);
        scene.reached(start(), 5);
        scene.gate(Verdict::Red);
        change(&mut scene);
        (scene.told(), scene.plan().records.contains(&withdrawn))
    };
    let (environment, stage) = (|| "production".into(), || "canary fleet".into());
    assert_eq!(told(&|_| {}), (Some(0), true));
    assert_eq!(told(&|scene| scene.gate(Verdict::Green)), (None, false));
    assert_eq!(told(&|scene| scene.desired.fleet.policy.stages[1].on_red = OnRed::Hold), (None, false));
    let passed = |scene: &mut Scene| {
        let (environment, stage) = (environment(), stage());
        scene.happens(start(), Event::StagePassed { environment, stage, version: version("1.1") });
    };
    assert_eq!(told(&passed), (None, false));
    let of_another = |scene: &mut Scene| {
        let (environment, stage) = (environment(), stage());
        scene.happens(start(), Event::StageBegan { environment, stage, version: version("1.0") });
    };
    assert_eq!(told(&of_another), (Some(0), true), "it serves, whatever was begun since");
    let nobody_knows = |scene: &mut Scene| {
        of_another(scene);
        scene.observed.hosts.retain(|host, _| !host.as_str().starts_with("web-cny"));
    };
    assert!(!told(&nobody_knows).1);
    let was_found = |scene: &mut Scene| scene.history.progress.found_running.extend([version("1.1")]);
    assert!(!told(&was_found).1);
    let again = |scene: &mut Scene| {
        scene.happens(start(), Event::ShareWithdrawn { environment: environment(), gate: "alerts".into() });
    };
    assert_eq!(told(&again), (Some(0), false), "that is known");
}

#[test]
fn the_share_of_a_release_that_comes_back_stays_and_grows_as_if_it_was_just_reached() {
    let mut scene = Scene::deployed();
    scene.weighs(10);
    scene.reached(start(), 5);
    let back = start() + SOAK;
    scene.came_back(start() + INSTANT, back);
    scene.now = back + SOAK - INSTANT;
    assert_eq!(scene.told(), None);
    scene.now = back + SOAK;
    assert_eq!(scene.told(), Some(22));
}

#[test]
fn a_red_gate_takes_out_a_canary_whose_release_came_back_and_was_not_begun_again() {
    let told = |change: &dyn Fn(&mut Scene)| {
        let mut scene = Scene::deployed();
        scene.desired.fleet.policy.stages[1].on_red = OnRed::CanaryToZero;
        scene.weighs(10);
        scene.reached(start(), 5);
        scene.came_back(start() + INSTANT, start() + INSTANT * 2);
        scene.now = start() + INSTANT * 3;
        scene.gate(Verdict::Red);
        change(&mut scene);
        scene.told()
    };
    assert_eq!(told(&|_| {}), Some(0), "all run it");
    assert_eq!(told(&|scene| scene.is_behind("web-cny-01")), Some(0), "one has gone back");
    let gone_back = |scene: &mut Scene| {
        ["web-cny-01", "web-cny-02"].into_iter().for_each(|name| scene.is_behind(name));
        let environment = "production".into();
        let reached = Event::ShareReached { environment, version: version("1.0"), weight: 5 };
        scene.happens(scene.now, reached);
    };
    assert_eq!(told(&gone_back), None, "the share of what runs is none of its business");
}
