//! What was accepted keeps what its types promise: names that exist, values in range, nothing twice.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use model::parse::EnvironmentSpec;
use model::{
    Commit, CommitId, Desired, EnvironmentName, Event, Fleet, Generation, History, Observed, Role, Run, Stage,
};

/// Fleets up to this size are planned too: a larger one only takes longer.
const PLANNED_HOSTS: usize = 100;

/// No duration in a file is longer.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 366);

/// Panics when an environment that was accepted breaks a promise.
pub(crate) fn keeps_its_word(name: EnvironmentName, spec: EnvironmentSpec) {
    let at = Timestamp::UNIX_EPOCH;
    let commit = Commit { id: CommitId::new("c0ffee"), author: "Ada".into(), subject: "a bump".into(), at };
    let ranks = vec![spec.target.clone()];
    let desired = spec.at(name, commit, ranks);
    fleet_is_whole(&desired.fleet);
    stages_are_whole(&desired.fleet);
    windows_are_whole(&desired.fleet);
    release_is_whole(&desired);
    let text = serde_json::to_string(&desired).expect("what is desired can be written");
    let again: Desired = serde_json::from_str(&text).expect("and read again");
    assert_eq!(serde_json::to_string(&again).expect("as before"), text, "it changes when it is written down");
    it_can_be_planned(&desired);
}

fn each_once<T: Ord + std::fmt::Debug>(what: &str, names: impl IntoIterator<Item = T>) {
    let mut seen = BTreeSet::new();
    for name in names {
        assert!(!seen.contains(&name), "{what} {name:?} twice");
        seen.insert(name);
    }
}

/// A name that no shell, option parser or file system can take for something else.
fn is_safe(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(allowed)
}

fn above_zero(what: &str, span: SignedDuration) {
    assert!(span > SignedDuration::ZERO && span <= LONGEST, "{what} lasts {span}");
}

fn fleet_is_whole(fleet: &Fleet) {
    let hosts = || fleet.hosts().map(|(_, host)| host);
    each_once("host", hosts());
    each_once("role", fleet.roles.iter().map(|role| &role.name));
    each_once("load balancer", fleet.load_balancers.iter().map(|balancer| &balancer.name));
    for name in hosts().chain(fleet.nodes()) {
        assert!(is_safe(name.as_str()), "host {name:?}");
    }
    assert!(hosts().count() <= 20_000 && fleet.max_parallel >= 1);
    assert!(
        (1..=200).contains(&fleet.backend_limit.of(100))
            || matches!(fleet.backend_limit, model::Limit::Count(_))
    );
    above_zero("a step", fleet.deadlines.step);
    above_zero("a rollout", fleet.deadlines.rollout);
    for balancer in &fleet.load_balancers {
        assert!(!balancer.nodes.is_empty() && balancer.server.contains("{host}"));
        balancer.backends.values().for_each(|policy| above_zero("a drain", policy.timeout));
    }
    fleet.roles.iter().for_each(|role| role_is_whole(fleet, role));
}

fn role_is_whole(fleet: &Fleet, role: &Role) {
    let Role { name, hosts, packages, backends, package_version, max_unavailable, .. } = role;
    assert!(!hosts.is_empty() && !packages.is_empty() && *max_unavailable >= 1, "role {name}");
    assert!(package_version.contains("{version}"), "role {name}");
    each_once("backend", backends);
    for id in backends {
        let balancer = fleet.load_balancer(&id.load_balancer);
        assert!(
            balancer.is_some_and(|balancer| balancer.backends.contains_key(&id.backend)),
            "no backend {id}"
        );
    }
    each_once("service", role.services.iter().map(|service| &service.name));
    role.health.iter().for_each(|health| above_zero("health", health.within));
    let commands = role.prepare.iter().chain(&role.configure);
    commands.for_each(|command| assert!(!command.0.is_empty(), "an empty command in role {name}"));
}

fn stages_are_whole(fleet: &Fleet) {
    let policy = &fleet.policy;
    each_once("stage", policy.stages.iter().map(|stage| &stage.name));
    let mut deployed = BTreeSet::new();
    for Stage { name, track, run, gates, checks, soak, .. } in fleet.stages().iter() {
        assert!(gates.iter().all(|gate| policy.gates.contains_key(gate)), "stage {name}");
        assert!(checks.iter().all(|check| policy.checks.contains_key(check)), "stage {name}");
        assert!((SignedDuration::ZERO..=LONGEST).contains(soak), "stage {name} soaks {soak}");
        let Run::Deploy { roles, .. } = run else {
            assert!(policy.migrations.is_some(), "stage {name} has nothing to run");
            continue;
        };
        for role in roles {
            let known = fleet.roles.iter().find(|known| known.name == *role);
            assert!(known.is_some_and(|known| known.track == *track), "stage {name} and role {role}");
            deployed.insert(role.clone());
        }
    }
    assert!(fleet.roles.iter().all(|role| deployed.contains(&role.name)), "a role in no stage");
}

fn windows_are_whole(fleet: &Fleet) {
    let policy = &fleet.policy;
    for gate in policy.gates.values() {
        assert!((SignedDuration::ZERO..=LONGEST).contains(&gate.quiet_for), "quiet for {}", gate.quiet_for);
        assert!((SignedDuration::ZERO..=LONGEST).contains(&gate.settle), "settles in {}", gate.settle);
    }
    policy.checks.values().for_each(|check| above_zero("a check", check.timeout));
    let jobs = policy.migrations.iter().flat_map(|migrations| [&migrations.pre, &migrations.post]).flatten();
    jobs.for_each(|job| above_zero("a migration", job.timeout));
    for freeze in &policy.freezes {
        for now in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
            let window = freeze.window(now);
            assert!(window.is_none_or(|window| window.from < window.to && now < window.to), "{window:?}");
        }
    }
}

fn release_is_whole(desired: &Desired) {
    if let Some(canary) = &desired.canary {
        assert!(canary.weight <= 99, "weight {}", canary.weight);
        let weights: Vec<u8> = canary.ramp.iter().map(|step| step.weight).chain([canary.weight]).collect();
        assert!(weights.is_sorted_by(|a, b| a < b), "a ramp of {weights:?}");
        canary.ramp.iter().for_each(|step| assert!((SignedDuration::ZERO..=LONGEST).contains(&step.soak)));
    }
    let exceptions = &desired.exceptions;
    let reasons = exceptions.vetoes.iter().map(|veto| &veto.reason);
    let reasons = reasons.chain(exceptions.holds.iter().map(|hold| &hold.reason));
    let reasons = reasons.chain(exceptions.outs.iter().map(|out| &out.reason));
    for reason in reasons.chain(exceptions.patches.iter().map(|patch| &patch.reason)) {
        assert!(!reason.trim().is_empty() && !reason.contains('\n'), "no reason: {reason:?}");
    }
}

/// Of a fleet that nobody has looked at yet nothing is known, so nothing on a host may begin.
fn it_can_be_planned(desired: &Desired) {
    if desired.fleet.hosts().count() > PLANNED_HOSTS {
        return;
    }
    let (mut history, now) = (History::new(desired.environment.clone()), "2026-11-22T12:00:00Z");
    let now = now.parse().expect("a constant");
    let environment = desired.environment.clone();
    let began =
        Event::ServiceStarted { generation: Generation(1), service: "deploy".into(), program: "1".into() };
    let (by, reason) = ("ada".to_owned(), "first sight".to_owned());
    let adopted =
        Event::Adopted { environment, by, reason, running: Vec::new(), ahead: Vec::new(), jobs: Vec::new() };
    for event in [began, adopted] {
        history.apply(now, &event).expect("a new history takes it");
    }
    let plan = planner::plan(desired, &Observed::default(), &history, now);
    assert!(plan.steps.is_empty(), "a step on a host that nobody has seen: {:?}", plan.steps);
}
