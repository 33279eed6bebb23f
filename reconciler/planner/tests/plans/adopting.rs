//! Taking a fleet as it is found: what runs there counts, and what is only installed does not.

use std::collections::BTreeSet;

use crate::fleet::{host, start, version};
use crate::release::{desired, observed, primary};
use model::*;
use planner::{plan, preview};

/// A service of its own memory, which has never been anywhere.
fn newcomer() -> History {
    let mut memory = History::new("production".into());
    let (service, program) = ("deploy".into(), "0.1.0".into());
    memory.apply(start(), &Event::ServiceStarted { generation: Generation(1), service, program }).unwrap();
    memory
}

/// Main and canary are to go to 1.1, and everything runs 1.0.
fn before_a_release() -> (Desired, Observed) {
    let desired = desired("1.1", "1.1", &["1.0", "1.1"]);
    let seen = observed(&desired, "1.0");
    (desired, seen)
}

/// The files of 1.1 are on a host, and its services were not restarted since: nothing tells what they run.
fn installed_by_hand(seen: &mut Observed, name: &str) {
    let state = host(seen, name);
    state.packages.get_mut("shop").unwrap().version = version("1.1");
    state.services.values_mut().for_each(|service| service.started_after_unpack = Some(false));
}

fn service(seen: &mut Observed, name: &str, change: impl FnMut(&mut ServiceState)) {
    host(seen, name).services.values_mut().for_each(change);
}

/// What is taken for running on main, and on the canary alone.
fn taken(desired: &Desired, seen: &Observed, jobs: &[(JobKind, &str, bool)]) -> (Vec<String>, Vec<String>) {
    let key = |kind: &JobKind, of: &str| JobKey { kind: kind.clone(), version: version(of) };
    let found = |(kind, of, succeeded): &(JobKind, &str, bool)| FoundJob {
        key: key(kind, of),
        succeeded: *succeeded,
        attempt: 1,
    };
    let jobs = jobs.iter().map(found).collect();
    let adopted = planner::adopted(desired, seen, jobs, "ada".into(), "journal lost".into());
    let Event::Adopted { running, ahead, .. } = adopted else { panic!("{adopted:?}") };
    let names = |versions: Vec<Version>| versions.iter().map(ToString::to_string).collect();
    (names(running), names(ahead))
}

/// Of which hosts a person is asked.
fn asked(desired: &Desired, seen: &Observed) -> Vec<String> {
    let planned = plan(desired, seen, &newcomer(), start());
    let hosts = planned.waiting.iter().filter_map(|waiting| match (&waiting.subject, &waiting.reason) {
        (Subject::Host(host), Reason::RunningUnknown { .. }) => Some(host.to_string()),
        _ => None,
    });
    let hosts: Vec<_> = hosts.collect();
    let adopts = planned.records.iter().any(|event| matches!(event, Event::Adopted { .. }));
    assert_eq!(adopts, hosts.is_empty(), "{:?}", planned.waiting);
    assert_eq!(planned.steps, []);
    assert!(hosts.is_empty() || matches!(primary(&planned), Reason::RunningUnknown { .. }));
    hosts
}

#[test]
fn what_is_installed_and_was_never_activated_is_not_found_running() {
    let (desired, mut seen) = before_a_release();
    let running = |seen: &Observed| -> BTreeSet<String> {
        planner::releases_running(&desired, seen).iter().map(ToString::to_string).collect()
    };
    let (old, both) = (["1.0"].map(String::from).into(), ["1.0", "1.1"].map(String::from).into());
    installed_by_hand(&mut seen, "web-04");
    assert_eq!(running(&seen), old);
    for (stamp, found) in [
        ("1.0", &old),
        ("1.0+patched.0123456789ab", &old),
        ("1.1", &both),
        ("1.1+patched.0123456789ab", &both),
    ] {
        service(&mut seen, "web-04", |service| service.stamped = Some(version(stamp)));
        assert_eq!(running(&seen), *found, "stamped {stamp}");
    }
    service(&mut seen, "web-04", |service| service.active = false);
    assert_eq!(running(&seen), old, "it is stopped");
    // An install that failed half-way may have restarted the service.
    service(&mut seen, "web-04", |service| {
        (service.active, service.stamped, service.started_after_unpack) = (true, None, Some(true));
    });
    host(&mut seen, "web-04").packages.get_mut("shop").unwrap().installed = false;
    assert_eq!(running(&seen), both);
}

#[test]
fn of_a_role_that_restarts_nothing_what_is_wholly_installed_is_found_running() {
    let (mut desired, mut seen) = before_a_release();
    installed_by_hand(&mut seen, "gitaly-01");
    for services in [vec![Activate::None], Vec::new()] {
        let gitaly = desired.fleet.roles.iter_mut().find(|role| role.name.as_str() == "gitaly").unwrap();
        gitaly.services.truncate(services.len());
        gitaly.services.iter_mut().zip(services).for_each(|(service, activate)| service.activate = activate);
        let found = planner::releases_running(&desired, &seen);
        assert_eq!(found, ["1.0", "1.1"].map(version).into());
        let mut half = seen.clone();
        host(&mut half, "gitaly-01").packages.get_mut("shop").unwrap().installed = false;
        assert_eq!(planner::releases_running(&desired, &half), [version("1.0")].into());
        assert_eq!(asked(&desired, &half), ["gitaly-01"], "nobody knows what is in use there");
    }
}

#[test]
fn a_version_that_was_installed_by_hand_is_migrated_before_and_after_it_serves() {
    let (desired, mut seen) = before_a_release();
    installed_by_hand(&mut seen, "web-04");
    service(&mut seen, "web-04", |service| service.reported = Some(version("1.0")));
    let mut memory = newcomer();
    let planned = plan(&desired, &seen, &memory, start());
    for event in &planned.records {
        memory.apply(start(), event).unwrap();
    }
    assert!(memory.progress.adopted.is_some(), "{:?}", planned.waiting);
    let rollout = preview(&desired, &seen, &memory, start());
    assert_eq!(rollout.waiting, []);
    let jobs = rollout.steps.iter().filter_map(|step| step.step.action.job());
    let jobs: Vec<_> = jobs.map(|(_, key)| key.to_string()).collect();
    assert_eq!(jobs, ["migrations of 1.1", "post-deployment migrations of 1.1"]);
}

#[test]
fn a_person_is_asked_whether_a_target_was_migrated_that_a_host_may_have_run() {
    let (desired, mut seen) = before_a_release();
    assert_eq!(asked(&desired, &seen), [] as [&str; 0]);
    for name in ["web-cny-01", "web-04"] {
        installed_by_hand(&mut seen, name);
    }
    assert_eq!(asked(&desired, &seen), ["web-cny-01", "web-04"]);
    // Somebody stopped it: it may have run what is installed, but nothing else.
    service(&mut seen, "web-cny-01", |service| service.active = false);
    assert_eq!(asked(&desired, &seen), ["web-cny-01", "web-04"]);
    host(&mut seen, "web-cny-01").packages.get_mut("shop").unwrap().version = version("1.0");
    assert_eq!(asked(&desired, &seen), ["web-04"]);
    host(&mut seen, "web-cny-01").packages.get_mut("shop").unwrap().installed = false;
    assert_eq!(asked(&desired, &seen), ["web-cny-01", "web-04"], "half an install tells of nothing");
    host(&mut seen, "web-cny-01").packages.get_mut("shop").unwrap().installed = true;
    let unknown = Unknown { kind: UnknownKind::Unreachable, detail: "no route".into() };
    seen.hosts.get_mut("web-04").unwrap().value = Err(unknown);
    assert_eq!(asked(&desired, &seen), ["web-04"]);
    // Where nothing was ever installed, nothing ran.
    let mut bare = seen.clone();
    bare.hosts.insert("web-04".into(), seen.hosts[&HostName::from("web-03")].clone());
    host(&mut bare, "web-04").packages.clear();
    service(&mut bare, "web-04", |service| service.active = false);
    assert_eq!(asked(&desired, &bare), [] as [&str; 0]);
}

#[test]
fn nobody_is_asked_about_what_changes_nothing() {
    let (mut desired, mut seen) = before_a_release();
    installed_by_hand(&mut seen, "web-04");
    let mut declared_out = desired.clone();
    let what = OutTarget::Host("web-04".into());
    declared_out.exceptions.outs.push(Out { what, reason: "disk replaced".into(), until: None });
    assert_eq!(asked(&declared_out, &seen), [] as [&str; 0]);
    // Main runs the target elsewhere, or something from after it.
    for known in ["1.1", "1.2"] {
        let mut desired = desired.clone();
        desired.ranks.push(version("1.2"));
        let mut seen = seen.clone();
        service(&mut seen, "web-01", |service| service.reported = Some(version(known)));
        assert_eq!(asked(&desired, &seen), [] as [&str; 0], "{known} runs");
    }
    // On the canary it may still be post-migrated.
    service(&mut seen, "web-cny-01", |service| service.reported = Some(version("1.1")));
    assert_eq!(asked(&desired, &seen), ["web-04"]);
    let migrations = desired.fleet.policy.migrations.as_mut().unwrap();
    migrations.pre = None;
    assert_eq!(asked(&desired, &seen), ["web-04"]);
    desired.fleet.policy.migrations.as_mut().unwrap().post = None;
    assert_eq!(asked(&desired, &seen), [] as [&str; 0], "nothing is ever migrated");
}

#[test]
fn of_a_release_in_the_middle_hosts_remember_which_migrations_are_still_to_come() {
    use JobKind::{PostMigration, PreMigration};
    let (mut desired, mut seen) = before_a_release();
    for name in ["web-cny-01", "web-01"] {
        service(&mut seen, name, |service| service.stamped = Some(version("1.1")));
    }
    let old = || vec!["1.0".to_owned()];
    let both = || vec!["1.0".to_owned(), "1.1".to_owned()];
    let new = || vec!["1.1".to_owned()];
    assert_eq!(taken(&desired, &seen, &[]), (both(), vec![]), "before we came");
    assert_eq!(taken(&desired, &seen, &[(PreMigration, "1.0", true)]), (new(), old()));
    assert_eq!(taken(&desired, &seen, &[(PreMigration, "1.1", true)]), (old(), new()));
    assert_eq!(taken(&desired, &seen, &[(PreMigration, "1.1", false)]), (old(), vec![]));
    let post = |succeeded| [(PreMigration, "1.1", true), (PostMigration, "1.1", succeeded)];
    assert_eq!(taken(&desired, &seen, &post(true)), (both(), vec![]));
    assert_eq!(taken(&desired, &seen, &post(false)), (old(), new()));
    desired.fleet.policy.migrations.as_mut().unwrap().post = None;
    assert_eq!(taken(&desired, &seen, &[(PreMigration, "1.1", true)]), (both(), vec![]));
}
