//! Looking changes nothing, and what was foreseen is what happens.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use model::{Action, ActionKind, Event, HostName, RoleName, Step};
use serde::Deserialize;
use tests::deployment::Deployment;
use tests::stories::{NEW, on_a_fleet};

use crate::PROGRAM;
use crate::snapshot::Snapshot;

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

#[test]
fn looking_at_a_pending_change_changes_nothing() {
    on_a_fleet("harmless", PROGRAM, |deployment| {
        deployment.stop();
        let repository = deployment.repository();
        let repository = repository.to_str().expect("a plain path");
        let before_event = deployment.last_event();
        let before = Snapshot::take(deployment.lab);
        deployment.commit(NEW);
        let looks: [(&[&str], i32); 8] = [
            (&["check", repository], 0),
            (&["plan"], 2),
            (&["plan", "production", "--whole"], 2),
            (&["plan", "production", "--path", repository, "--whole", "--format", "markdown"], 2),
            (&["status"], 2),
            (&["explain", "production"], 2),
            (&["explain", "web-01"], 2),
            (&["history", "production"], 0),
        ];
        for (arguments, code) in looks {
            let output = deployment.run(arguments);
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        }
        // The same with a service that may only report.
        deployment.replace("mode     = \"reconcile\"", "mode     = \"report\"").commit(NEW);
        deployment.serve();
        deployment.explains("production", "mode is report", 60);
        for (arguments, _) in looks {
            deployment.run(arguments);
        }
        sleep(Duration::from_secs(3));
        let report = deployment.report().expect("the service answers");
        let plan = &report.environments["production"].plan;
        assert!(!plan.steps.is_empty(), "there is nothing that could have been done");
        let after = Snapshot::take(deployment.lab);
        println!("harmless: {} facts compared", before.len());
        assert!(before.len() > 5000, "only {} facts were compared", before.len());
        assert_eq!(before.difference(&after), Vec::<String>::new());
        assert_eq!(began(deployment, before_event), Vec::<Step>::new());
    });
}

#[test]
fn the_rollout_is_the_one_that_was_foreseen() {
    on_a_fleet("foreseen", PROGRAM, |deployment| {
        for forward in [true, false] {
            deployment.stop();
            let after = deployment.last_event();
            let commit = if forward { deployment.commit(NEW) } else { deployment.revert() };
            let foreseen = foreseen(deployment);
            deployment.serve();
            deployment.converges(&commit, 120);
            let began = began(deployment, after);
            println!("foreseen: {} steps, began: {}", foreseen.len(), began.len());
            assert_equal(&foreseen, &began);
        }
    });
}
