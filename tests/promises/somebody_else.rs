//! A server that somebody else has drained is theirs: reported, upgraded, and left as found.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lab::Lab;
use model::{Event, RowId, Step};
use tests::deployment::Deployment;
use tests::stories::{NEW, OLD, on_a_fleet};

use crate::{PROGRAM, balancers};

const THEIRS: &str = "web-02";

/// Told when the story is over, however it ends: a watcher that outlived a failing story would hang it.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Looks at the server until told to stop; hands back how often, and every row that was not drained and no more.
fn watch(lab: &Lab, stop: &AtomicBool) -> (usize, Vec<balancers::Seen>) {
    let (mut looks, mut other) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let rows = balancers::rows(lab).into_iter().filter(|row| row.server == THEIRS);
        other.extend(rows.filter(|row| row.admin != 8));
        looks += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    (looks, other)
}

/// Steps that touched a row of theirs.
fn touching(deployment: &Deployment<'_>) -> Vec<Step> {
    let is_theirs = |row: &RowId| row.server.as_str() == THEIRS;
    let step = |recorded: model::Recorded| match recorded.event {
        Event::StepStarted { step } => Some(step),
        _ => None,
    };
    let steps = deployment.journal().into_iter().filter_map(step);
    steps.filter(|step| step.action.rows().is_some_and(|rows| rows.iter().any(is_theirs))).collect()
}

fn version_of(deployment: &Deployment<'_>) -> String {
    let host = deployment.lab.host(THEIRS).unwrap();
    let answer = "curl -fsi http://127.0.0.1:8080/; dpkg-query -W -f '${Version}' shop";
    host.expect(answer).unwrap()
}

#[test]
fn a_server_drained_by_somebody_else_is_upgraded_as_found_and_never_made_ready() {
    on_a_fleet("foreign", PROGRAM, |deployment| {
        let lab = deployment.lab;
        // Theirs counts as out: with a budget of one, nobody else could go.
        let budget = deployment.replace("max_unavailable = 1 ", "max_unavailable = 2 ").commit(OLD);
        deployment.converges(&budget, 60);
        balancers::person_sets(lab, THEIRS, "drain");
        deployment.explains(THEIRS, "taken out by somebody else", 60);
        let stop = AtomicBool::new(false);
        let (looks, other) = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| watch(lab, &stop));
            let end = StopAtEnd(&stop);
            let bump = deployment.commit(NEW);
            deployment.converges(&bump, 180);
            drop(end);
            watcher.join().unwrap()
        });
        println!("somebody else: looked at {looks} times during the rollout");
        assert_eq!(other, [], "it was touched");
        assert!(looks > 20, "nobody looked");
        assert_eq!(touching(deployment), []);
        let version = version_of(deployment);
        assert!(version.ends_with(NEW) && version.matches(NEW).count() >= 2, "{version}");
        let out: Vec<_> = balancers::out(lab).into_iter().filter(|row| row.server != THEIRS).collect();
        assert_eq!(out, [], "others were not put back");
        deployment.explains(THEIRS, "taken out by somebody else", 10);
        balancers::person_sets(lab, THEIRS, "ready");
        deployment.all_is_well(60);
        assert!(!deployment.explain(THEIRS).contains("somebody else"));
    });
}
