//! Whom post-deployment migrations wait for: every host that counts, by what it runs.

use std::collections::BTreeSet;

use crate::fleet::{claim, host, start, version};
use crate::release::{desired, history, observed};
use jiff::{SignedDuration, Timestamp};
use model::*;
use planner::{plan, preview};

/// Main runs 1.1 and has its post-deployment migrations to do; the canary is to go on to 1.2.
fn before_the_post_migrations_of_main() -> (Desired, Observed) {
    let mut desired = desired("1.1", "1.2", &["1.0", "1.1", "1.2"]);
    desired.fleet.policy.promotion = Promotion::default();
    desired.canary.as_mut().unwrap().weight = 0;
    let seen = observed(&desired, "1.1");
    (desired, seen)
}

/// An install of the version that dpkg tells was not finished: the service runs what was there before.
fn half_way(seen: &mut Observed, name: &str) {
    let state = host(seen, name);
    let package = state.packages.get_mut("shop").unwrap();
    (package.installed, package.status) = (false, "hU ".into());
    state.services.values_mut().for_each(|service| service.started_after_unpack = Some(false));
}

/// Main has passed every stage but the last with 1.1.
fn all_but_the_last_stage() -> History {
    let mut memory = history(&["1.0"]);
    let passed = |stage: &str| Event::StagePassed {
        environment: "production".into(),
        stage: stage.into(),
        version: version("1.1"),
    };
    for stage in ["gitaly", "fleet"] {
        memory.apply(start(), &passed(stage)).unwrap();
    }
    let key = JobKey { kind: JobKind::PreMigration, version: version("1.1") };
    let state = JobState::Passed { at: start(), output: String::new() };
    memory.progress.jobs.insert(key, JobRecord { attempt: 1, state, began: Some(start()), host: None });
    memory
}

/// Our mark is where migrations run; the package is there already.
fn with_the_mark_there(mut seen: Observed) -> Observed {
    host(&mut seen, "deploy-01").claim = Some(claim());
    seen
}

/// Whether post-deployment migrations begin now, and what is to be read at once.
fn begin(desired: &Desired, seen: &Observed, memory: &History) -> (bool, BTreeSet<Scope>) {
    begin_at(start() + SignedDuration::from_millis(2), desired, seen, memory)
}

fn begin_at(now: Timestamp, desired: &Desired, seen: &Observed, memory: &History) -> (bool, BTreeSet<Scope>) {
    let planned = plan(desired, seen, memory, now);
    let mut jobs = planned.steps.iter().filter_map(|step| step.action.job());
    (jobs.any(|(_, key)| key.kind == JobKind::PostMigration), planned.observe)
}

/// Everything was read just then.
fn read_at(seen: &mut Observed, at: Timestamp) {
    seen.hosts.values_mut().for_each(|fact| fact.at = at);
    seen.nodes.values_mut().for_each(|fact| fact.at = at);
    seen.gates.values_mut().for_each(|fact| fact.at = at);
}

fn hold_canary(desired: &mut Desired) {
    let (scope, reason) = (HoldScope::Canary, "load test".into());
    desired.exceptions.holds.push(Hold { scope, reason, until: None });
}

/// Whose post-deployment migrations run, in order, and on whom they wait in the end.
fn post_migrations(
    desired: &Desired,
    seen: &Observed,
    memory: &History,
) -> (Vec<String>, Vec<(String, Option<String>)>) {
    let rollout = preview(desired, seen, memory, start());
    let jobs = rollout.steps.iter().filter_map(|step| step.step.action.job());
    let ran = jobs.filter(|(_, key)| key.kind == JobKind::PostMigration);
    let waits = rollout.waiting.iter().filter_map(|waiting| match &waiting.reason {
        Reason::OlderStillRuns { host, runs, .. } => {
            Some((host.to_string(), runs.as_ref().map(ToString::to_string)))
        }
        _ => None,
    });
    (ran.map(|(_, key)| key.version.to_string()).collect(), waits.collect())
}

#[test]
fn post_deployment_migrations_wait_for_a_canary_whose_install_failed_half_way() {
    let (mut desired, mut seen) = before_the_post_migrations_of_main();
    hold_canary(&mut desired);
    let reached = (vec!["1.1".to_owned()], Vec::new());
    assert_eq!(post_migrations(&desired, &seen, &history(&["1.0"])), reached);

    half_way(&mut seen, "web-cny-02");
    let nobody_can_tell = (Vec::new(), vec![("web-cny-02".to_owned(), None)]);
    assert_eq!(post_migrations(&desired, &seen, &history(&["1.0"])), nobody_can_tell);
    let service = |seen: &mut Observed, change: &dyn Fn(&mut ServiceState)| {
        host(seen, "web-cny-02").services.values_mut().for_each(change);
    };
    for (stamp, runs) in [("1.0", "1.0"), ("1.0+patched.0123456789ab", "1.0"), ("0.1", "0.1")] {
        service(&mut seen, &|service| service.stamped = Some(version(stamp)));
        let left = (Vec::new(), vec![("web-cny-02".to_owned(), Some(runs.to_owned()))]);
        assert_eq!(post_migrations(&desired, &seen, &history(&["1.0"])), left, "stamped {stamp}");
    }
    // What runs is late enough, whatever is unpacked beside it.
    for stamp in ["1.1", "1.1+patched.0123456789ab", "1.2"] {
        service(&mut seen, &|service| service.stamped = Some(version(stamp)));
        assert_eq!(post_migrations(&desired, &seen, &history(&["1.0"])), reached, "stamped {stamp}");
    }
    // Somebody stopped it: nobody knows what it would be started with, until the packages are whole.
    service(&mut seen, &|service| service.active = false);
    assert_eq!(post_migrations(&desired, &seen, &history(&["1.0"])), nobody_can_tell);
    host(&mut seen, "web-cny-02").packages.get_mut("shop").unwrap().installed = true;
    assert_eq!(post_migrations(&desired, &seen, &history(&["1.0"])), reached);
}

#[test]
fn of_two_services_neither_may_be_one_of_which_nobody_knows_what_it_would_be_started_with() {
    let (mut desired, mut seen) = before_the_post_migrations_of_main();
    hold_canary(&mut desired);
    let canary = desired.fleet.roles.iter_mut().find(|role| role.track == Track::Canary).unwrap();
    let worker = Service { name: "worker.service".into(), ..canary.services[0].clone() };
    canary.services.push(worker);
    for name in ["web-cny-01", "web-cny-02"] {
        let state = host(&mut seen, name);
        let runs = state.services[&ServiceName::from("shop.service")].clone();
        state.services.insert("worker.service".into(), runs);
    }
    assert_eq!(post_migrations(&desired, &seen, &history(&["1.0"])), (vec!["1.1".to_owned()], Vec::new()));
    half_way(&mut seen, "web-cny-02");
    let services = &mut host(&mut seen, "web-cny-02").services;
    services.get_mut("shop.service").unwrap().stamped = Some(version("1.1"));
    services.get_mut("worker.service").unwrap().active = false;
    let left = (Vec::new(), vec![("web-cny-02".to_owned(), None)]);
    assert_eq!(post_migrations(&desired, &seen, &history(&["1.0"])), left);
}

#[test]
fn a_role_that_restarts_nothing_has_reached_what_is_wholly_installed() {
    let (mut desired, mut seen) = before_the_post_migrations_of_main();
    hold_canary(&mut desired);
    let canary = desired.fleet.roles.iter_mut().find(|role| role.track == Track::Canary).unwrap();
    canary.services[0].activate = Activate::None;
    host(&mut seen, "web-cny-02").services.values_mut().for_each(|service| {
        service.started_after_unpack = Some(false);
    });
    assert_eq!(post_migrations(&desired, &seen, &history(&["1.0"])), (vec!["1.1".to_owned()], Vec::new()));
    half_way(&mut seen, "web-cny-02");
    let left = (Vec::new(), vec![("web-cny-02".to_owned(), None)]);
    assert_eq!(post_migrations(&desired, &seen, &history(&["1.0"])), left);
}

#[test]
fn a_canary_that_main_waits_for_is_not_kept_waiting_by_main() {
    let (desired, mut seen) = before_the_post_migrations_of_main();
    let state = host(&mut seen, "web-cny-02");
    state.packages.get_mut("shop").unwrap().version = version("1.0");
    let rollout = preview(&desired, &seen, &history(&["1.0"]), start());
    assert_eq!(rollout.waiting, []);
    let at = |kind, host: &str| {
        let is = |step: &planner::PreviewedStep| {
            step.step.action.kind() == kind && step.step.host.as_str() == host && step.step.stage.is_some()
        };
        rollout.steps.iter().rposition(is).unwrap()
    };
    assert!(at(ActionKind::Migrate, "deploy-01") > at(ActionKind::Activate, "web-cny-02"));
}

#[test]
fn post_deployment_migrations_wait_while_a_canary_goes_back_and_until_it_was_read() {
    let (mut desired, seen) = before_the_post_migrations_of_main();
    let seen = with_the_mark_there(seen);
    hold_canary(&mut desired);
    let memory = all_but_the_last_stage();
    let begins = |memory: &History| begin(&desired, &seen, memory).0;
    assert!(begins(&memory));

    let mut read_before = memory.clone();
    read_before.last_action.insert("web-cny-02".into(), start() + SignedDuration::from_millis(1));
    assert!(!begins(&read_before));
    let planned = plan(&desired, &seen, &read_before, start());
    assert!(planned.observe.contains(&Scope::Host("web-cny-02".into())), "{:?}", planned.observe);

    let moving = |to: &str, action: Action| {
        let mut memory = memory.clone();
        let step = Step {
            id: "g1-9-web-cny-02".into(),
            environment: "production".into(),
            host: "web-cny-02".into(),
            role: "web-canary".into(),
            commit: desired.commit.id.clone(),
            version: version(to),
            generation: Generation(1),
            action,
            why: String::new(),
            deadline: SignedDuration::from_mins(15),
            stage: None,
        };
        memory.in_flight.insert(step.id.clone(), InFlight { step, since: start() });
        memory
    };
    let install = || {
        let (packages, prepare, configure) = (Default::default(), Vec::new(), Vec::new());
        Action::Install { packages, prepare, configure }
    };
    let activate =
        || Action::Activate { services: Vec::new(), packages: Default::default(), stamp: version("1") };
    assert!(!begins(&moving("1.0", install())));
    assert!(!begins(&moving("1.0", activate())));
    assert!(begins(&moving("1.0", Action::Download { packages: Default::default() })));
    assert!(begins(&moving("1.2", install())));
}

#[test]
fn post_deployment_migrations_bar_nobodys_way_back() {
    let (mut desired, mut seen) = before_the_post_migrations_of_main();
    let memory = all_but_the_last_stage();
    desired.canary.as_mut().unwrap().version = version("1.0");
    let canary_is_back = (Vec::new(), vec![("web-cny-01".to_owned(), Some("1.0".to_owned()))]);
    assert_eq!(post_migrations(&desired, &seen, &memory), canary_is_back);

    hold_canary(&mut desired);
    let waits = |desired: &Desired, seen: &Observed| {
        let rollout = preview(desired, seen, &memory, start());
        let post = Subject::Stage("post-deployment migrations".into());
        let of_post = rollout.waiting.into_iter().filter(|waiting| waiting.subject == post);
        of_post.map(|waiting| waiting.reason).collect::<Vec<_>>()
    };
    assert_eq!(waits(&desired, &seen), [Reason::EarlierStage { stage: "canary fleet".into() }]);
    // Hosts that do not count, a later version, and one that git has never seen bar nothing.
    for later in ["1.1", "1.2", "2.0"] {
        let mut goes_on = desired.clone();
        goes_on.canary.as_mut().unwrap().version = version(later);
        assert_eq!(waits(&goes_on, &seen), [], "to {later}");
    }
    for name in ["web-cny-01", "web-cny-02"] {
        let what = OutTarget::Host(name.into());
        desired.exceptions.outs.push(Out { what, reason: "disk replaced".into(), until: None });
        for node in ["fe-01", "fe-02"] {
            let row = crate::fleet::row(&mut seen, node, name);
            (row.admin, row.status) = (Admin::Drain, "DRAIN".into());
        }
    }
    assert_eq!(waits(&desired, &seen), []);
}

#[test]
fn post_deployment_migrations_begin_when_every_host_was_read_since_the_last_stage_passed() {
    let (mut desired, seen) = before_the_post_migrations_of_main();
    let mut seen = with_the_mark_there(seen);
    hold_canary(&mut desired);
    let memory = all_but_the_last_stage();
    let begins = |seen: &Observed| begin(&desired, seen, &memory);
    let (quiet, instant) = (HostName::from("web-02"), SignedDuration::from_millis(1));
    assert_eq!(begins(&seen), (true, [].into()));
    seen.hosts.get_mut(&quiet).unwrap().at = start() - instant;
    let asked = Scope::Host(quiet);
    assert_eq!(begins(&seen), (false, [asked.clone()].into()), "somebody may have been there since");
    let other = HostName::from("web-03");
    seen.hosts.get_mut(&other).unwrap().at = start() - instant;
    assert_eq!(begins(&seen), (false, [asked, Scope::Host(other)].into()), "all at once");
}

#[test]
fn post_deployment_migrations_begin_when_every_host_was_read_since_our_mark_and_their_package_were_there() {
    let (mut desired, seen) = before_the_post_migrations_of_main();
    let mut seen = with_the_mark_there(seen);
    hold_canary(&mut desired);
    let mut memory = all_but_the_last_stage();
    // A person was asked after the first attempt, which took as long as it took.
    let ready = start() + SignedDuration::from_millis(1);
    memory.last_action.insert("deploy-01".into(), ready);
    seen.hosts.values_mut().for_each(|fact| fact.at = ready);
    assert_eq!(begin(&desired, &seen, &memory), (true, [].into()));
    let quiet = HostName::from("web-02");
    seen.hosts.get_mut(&quiet).unwrap().at = start();
    let asked = Scope::Host(quiet);
    assert_eq!(
        begin(&desired, &seen, &memory),
        (false, [asked].into()),
        "somebody may have been there since"
    );
}

#[test]
fn post_deployment_migrations_begin_on_what_was_read_a_moment_ago_whatever_has_kept_them() {
    let (mut desired, seen) = before_the_post_migrations_of_main();
    let mut seen = with_the_mark_there(seen);
    hold_canary(&mut desired);
    let memory = all_but_the_last_stage();
    // The configuration agent where they run was in the middle of a run when it was paused.
    let now = start() + SignedDuration::from_secs(20);
    let mut begins_when_read = |ages_ms: [i64; 3]| {
        read_at(&mut seen, now);
        for (name, age_ms) in ["web-01", "web-02", "web-03"].into_iter().zip(ages_ms) {
            seen.hosts.get_mut(name).unwrap().at = now - SignedDuration::from_millis(age_ms);
        }
        begin_at(now, &desired, &seen, &memory)
    };
    let asked = |names: &[&str]| names.iter().map(|name| Scope::Host(HostName::from(*name))).collect();
    assert_eq!(begins_when_read([3_000, 1_501, 1_500]), (true, [].into()));
    assert_eq!(
        begins_when_read([3_001, 1_501, 1_500]),
        (false, asked(&["web-01", "web-02"])),
        "who would be too old in a moment is read along"
    );
}

#[test]
fn a_large_fleet_has_time_to_be_read_before_post_deployment_migrations() {
    let (mut desired, _) = before_the_post_migrations_of_main();
    hold_canary(&mut desired);
    let web = desired.fleet.roles.iter_mut().find(|role| role.name.as_str() == "web").unwrap();
    web.hosts.extend((5..=197).map(|number| HostName::new(format!("web-{number:03}"))));
    assert_eq!(desired.fleet.hosts().count(), 200);
    let mut seen = with_the_mark_there(observed(&desired, "1.1"));
    let memory = all_but_the_last_stage();
    let now = start() + SignedDuration::from_secs(20);
    let mut begins_when_read = |age_ms| {
        read_at(&mut seen, now);
        seen.hosts.get_mut("web-100").unwrap().at = now - SignedDuration::from_millis(age_ms);
        begin_at(now, &desired, &seen, &memory).0
    };
    assert!(begins_when_read(12_000), "60 ms for each");
    assert!(!begins_when_read(12_001));
}
