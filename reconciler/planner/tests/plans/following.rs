//! Commits that the service writes by itself: which version, and what people can say against it.

use jiff::SignedDuration;
use model::*;
use planner::plan;

use crate::fleet::{start, version};
use crate::release::{desired, history, observed};

/// A fleet whose track follows what is offered, or what has passed.
struct Scene {
    desired: Desired,
    observed: Observed,
    history: History,
}

impl Scene {
    fn following(track: Track, when_passed: bool) -> Self {
        let mut desired = desired("1.0", "1.0", &["1.0"]);
        desired.fleet.policy.follows.push(Follow { track, newest: r"1\.\d+".into(), when_passed });
        let mut observed = observed(&desired, "1.0");
        let offered = ["0.9", "1.0", "1.1", "1.2", "2.0"].map(version).into();
        observed.versions = Some(Fact { at: start(), value: Ok(offered) });
        Self { desired, observed, history: history(&["1.0"]) }
    }

    fn happens(&mut self, event: Event) {
        self.history.apply(start(), &event).unwrap();
    }

    fn passes(&mut self, environment: &str, track: Track, text: &str) {
        let (environment, version) = (environment.into(), version(text));
        self.happens(Event::Passed { environment, track, version, stages: Vec::new() });
    }

    fn edits(&self) -> Vec<ReleaseEdit> {
        plan(&self.desired, &self.observed, &self.history, start()).edits
    }

    /// The version that would be committed, if any.
    fn to(&self) -> Option<String> {
        self.edits().first().map(|edit| edit.to.to_string())
    }
}

#[test]
fn the_commit_says_what_moves_where_and_why() {
    let edit = ReleaseEdit {
        environment: "production".into(),
        track: Track::Canary,
        from: version("1.0"),
        to: version("1.2"),
        reason: r"1.2 is the newest package that matches 1\.\d+".into(),
    };
    assert_eq!(Scene::following(Track::Canary, false).edits(), [edit]);
}

#[test]
fn a_fleet_without_a_canary_follows_on_main_alone() {
    let to = |track| {
        let mut scene = Scene::following(track, false);
        scene.desired.canary = None;
        scene.desired.fleet.policy.promotion = Promotion::default();
        scene.to()
    };
    assert_eq!(to(Track::Main).as_deref(), Some("1.2"));
    assert_eq!(to(Track::Canary), None);
}

#[test]
fn each_track_is_followed_by_itself() {
    let mut scene = Scene::following(Track::Canary, false);
    scene.desired.target = version("1.2");
    assert_eq!(scene.to().as_deref(), Some("1.2"), "main has it already, the canary has not");
    scene.desired.canary = None;
    assert_eq!(scene.to(), None, "there is no canary");
    let scene = Scene::following(Track::Main, false);
    assert_eq!(scene.edits()[0].track, Track::Main);
}

#[test]
fn nothing_is_followed_while_people_are_at_work() {
    let hour = SignedDuration::from_hours(1);
    let pause = |until| Event::Paused {
        environment: "production".into(),
        by: "ada".into(),
        reason: "look".into(),
        until,
    };
    let mut paused = Scene::following(Track::Canary, false);
    paused.happens(pause(start() + hour));
    assert_eq!(paused.to(), None);
    paused.happens(pause(start()));
    assert_eq!(paused.to().as_deref(), Some("1.2"), "the pause is over");

    let mut held = Scene::following(Track::Canary, false);
    held.desired.exceptions.holds = vec![Hold { scope: HoldScope::Main, reason: "wait".into(), until: None }];
    assert_eq!(held.to().as_deref(), Some("1.2"), "that is another track");
    held.desired.exceptions.holds[0].scope = HoldScope::Canary;
    assert_eq!(held.to(), None);

    let mut urgent = Scene::following(Track::Canary, false);
    urgent.desired.exceptions.emergency = Some(Emergency { version: version("1.0"), reason: "now".into() });
    assert_eq!(urgent.to(), None);
}

#[test]
fn a_version_that_people_turned_away_from_is_left_alone() {
    let mut scene = Scene::following(Track::Canary, false);
    scene.desired.exceptions.vetoes.push(Veto { version: version("1.2"), reason: "leaks".into() });
    assert_eq!(scene.to().as_deref(), Some("1.1"));
    scene.happens(Event::Accepted {
        environment: "production".into(),
        commit: CommitId::new("1"),
        author: "ada".into(),
        subject: "try 1.1".into(),
        version: version("1.0"),
        canary: Some(version("1.1")),
    });
    assert_eq!(scene.to(), None, "it was the canary's target and is not");
}

#[test]
fn nothing_older_is_followed_nor_what_lacks_a_patch() {
    let mut scene = Scene::following(Track::Canary, false);
    scene.desired.canary.as_mut().unwrap().version = version("1.3");
    assert_eq!(scene.to(), None);
    let mut scene = Scene::following(Track::Canary, false);
    let patch = |of: &str, fixed: &[&str]| Patch {
        version: version(of),
        file: "fix.patch".into(),
        sha256: "0".repeat(64),
        contents: String::new(),
        root: "/opt/shop".into(),
        roles: vec!["web".into()],
        reason: "leaks".into(),
        incorporated_in: fixed.iter().map(|text| version(text)).collect(),
    };
    scene.desired.exceptions.patches = vec![patch("0.9", &[])];
    assert_eq!(scene.to().as_deref(), Some("1.2"), "a patch of a release that is not in force");
    scene.desired.exceptions.patches = vec![patch("1.0", &["1.1"])];
    assert_eq!(scene.to().as_deref(), Some("1.1"), "the newest that holds it");
}

#[test]
fn a_track_that_follows_what_has_passed_takes_nothing_else() {
    let mut scene = Scene::following(Track::Main, true);
    assert_eq!(scene.to(), None, "nothing has passed");
    scene.passes("production", Track::Main, "1.1");
    scene.passes("staging", Track::Main, "1.1");
    assert_eq!(scene.to(), None, "main requires the canary's pass");
    scene.passes("production", Track::Canary, "1.1");
    assert_eq!(scene.edits()[0].to, version("1.1"));
    assert_eq!(scene.edits()[0].reason, "1.1 has passed what track main requires");
    scene.desired.fleet.policy.promotion.main_requires = Some(Requirement::Environment("staging".into()));
    assert_eq!(scene.to().as_deref(), Some("1.1"));
    scene.desired.fleet.policy.promotion.main_requires = Some(Requirement::Environment("elsewhere".into()));
    assert_eq!(scene.to(), None);
    scene.desired.fleet.policy.promotion.main_requires = None;
    assert_eq!(scene.to(), None, "what requires nothing passes nothing");
}

#[test]
fn releases_are_read_from_package_versions_by_the_roles_own_pattern() {
    let mut scene = Scene::following(Track::Canary, false);
    for role in &mut scene.desired.fleet.roles {
        role.package_version = "1:{version}~{codename}1".into();
    }
    scene.desired.fleet.policy.follows[0].newest = r"1:1\.\d+~bookworm1".into();
    let offered = ["1:1.1~bookworm1", "1:1.2~trixie1", "1.3", "1:2.0~bookworm1"].map(version).into();
    scene.observed.versions = Some(Fact { at: start(), value: Ok(offered) });
    assert_eq!(scene.to().as_deref(), Some("1.1"));
}

#[test]
fn releases_are_read_by_the_pattern_of_the_track_that_follows() {
    let mut scene = Scene::following(Track::Canary, false);
    let canary = scene.desired.fleet.roles.iter_mut().find(|role| role.track == Track::Canary).unwrap();
    canary.package_version = "1:{version}".into();
    scene.desired.fleet.policy.follows[0].newest = r"1:1\.\d+".into();
    scene.observed.versions = Some(Fact { at: start(), value: Ok([version("1:1.1")].into()) });
    assert_eq!(scene.to().as_deref(), Some("1.1"));
}
