//! Looking changes nothing, and what was foreseen is what happens.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use model::{Action, ActionKind, Event, HostName, RoleName, Step};
use serde::Deserialize;
use tests::deployment::Deployment;
use tests::stories::{NEW, OLD, on_a_fleet};

use crate::snapshot::Snapshot;
use crate::{PROGRAM, long};

/// `plan --format json`, as far as it matters here.
#[derive(Deserialize)]
struct Document {
    environments: Vec<Planned>,
}

#[derive(Deserialize)]
struct Planned {
    preview: Preview,
}

#[derive(Deserialize)]
struct Preview {
    steps: Vec<Step>,
}

/// The whole rollout, before it happens. No service runs.
fn foreseen(deployment: &Deployment<'_>) -> Vec<Step> {
    let output = deployment.run(&["plan", "production", "--whole", "--format", "json"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    let document: Document = serde_json::from_slice(&output.stdout).expect("the document is as documented");
    let planned = document.environments.into_iter().next().expect("one environment");
    planned.preview.steps
}

/// The steps that really began after an event.
fn began(deployment: &Deployment<'_>, after: u64) -> Vec<Step> {
    let step = |recorded: model::Recorded| match recorded.event {
        Event::StepStarted { step } if recorded.seq > after => Some(step),
        _ => None,
    };
    deployment.journal().into_iter().filter_map(step).collect()
}

/// Every action of a host, downloads included, in order, with all that it names.
fn by_host(steps: &[Step]) -> BTreeMap<HostName, Vec<Action>> {
    let mut hosts: BTreeMap<HostName, Vec<Action>> = BTreeMap::new();
    for step in steps {
        hosts.entry(step.host.clone()).or_default().push(step.action.clone());
    }
    hosts
}

/// What a role's hosts do in the order in which it starts; downloads go all at once and have no order.
fn by_role(steps: &[Step]) -> BTreeMap<RoleName, Vec<(HostName, ActionKind)>> {
    let mut roles: BTreeMap<RoleName, Vec<_>> = BTreeMap::new();
    for step in steps.iter().filter(|step| step.action.kind() != ActionKind::Download) {
        roles.entry(step.role.clone()).or_default().push((step.host.clone(), step.action.kind()));
    }
    roles
}

fn assert_equal(foreseen: &[Step], began: &[Step]) {
    let (foreseen_hosts, began_hosts) = (by_host(foreseen), by_host(began));
    for (host, actions) in &began_hosts {
        assert_eq!(foreseen_hosts.get(host), Some(actions), "{host}: foreseen (left), began (right)");
    }
    assert_eq!(foreseen_hosts.len(), began_hosts.len());
    assert_eq!(by_role(foreseen), by_role(began));
}

/// Every way to look, and its exit code while a change is pending and no service runs.
fn looks(repository: &str) -> [(Vec<&str>, i32); 8] {
    [
        (vec!["check", repository], 0),
        (vec!["plan"], 2),
        (vec!["plan", "production", "--whole"], 2),
        (vec!["plan", "production", "--path", repository, "--whole", "--format", "markdown"], 2),
        (vec!["status"], 2),
        (vec!["explain", "production"], 2),
        (vec!["explain", "web-01"], 2),
        (vec!["history", "production"], 0),
    ]
}

/// Looks at a pending change in every way, without a service and with one that may only report.
fn look(deployment: &mut Deployment<'_>) {
    let repository = deployment.repository();
    let repository = repository.to_str().expect("a plain path");
    deployment.commit(NEW);
    for (arguments, code) in looks(repository) {
        let output = deployment.run(&arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    }
    deployment.replace("mode     = \"reconcile\"", "mode     = \"report\"").commit(NEW);
    deployment.serve();
    deployment.explains("production", "mode is report", 60);
    for (arguments, _) in looks(repository) {
        deployment.run(&arguments);
    }
    sleep(Duration::from_secs(3));
    let report = deployment.report().expect("the service answers");
    let plan = &report.environments["production"].plan;
    assert!(!plan.steps.is_empty(), "there is nothing that could have been done");
    deployment.stop();
}

/// Foresees the rollout of the newest commit, lets it happen, and compares.
fn roll_out_as_foreseen(deployment: &mut Deployment<'_>, commit: &str) {
    let after = deployment.last_event();
    let foreseen = foreseen(deployment);
    deployment.serve();
    deployment.converges(commit, 120);
    let began = began(deployment, after);
    println!("foreseen: {} steps, began: {}", foreseen.len(), began.len());
    assert_equal(&foreseen, &began);
    deployment.stop();
}

#[test]
fn looking_changes_nothing_and_what_was_foreseen_is_what_happens() {
    on_a_fleet("harmless", PROGRAM, |deployment| {
        deployment.stop();
        let last_event = deployment.last_event();
        let before = Snapshot::take(deployment.lab);
        look(deployment);
        let after = Snapshot::take(deployment.lab);
        println!("harmless: {} facts compared", before.len());
        assert!(before.len() > 5000, "only {} facts were compared", before.len());
        assert_eq!(before.difference(&after), Vec::<String>::new());
        assert_eq!(began(deployment, last_event), Vec::<Step>::new());

        let bump = deployment.replace("mode     = \"report\"", "mode     = \"reconcile\"").commit(NEW);
        roll_out_as_foreseen(deployment, &bump);
        if long() {
            let back = deployment.commit(OLD);
            roll_out_as_foreseen(deployment, &back);
        }
    });
}
