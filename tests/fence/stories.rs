//! One service is stopped in the middle of its rollout, another takes over, and the first wakes up; and a service whose
//! journal is deleted waits for a person.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use lab::{HostKind, Lab, LabSpec, demo};
use model::{ActionKind, Event, FailureKind};
use tests::deployment::Deployment;
use tests::stories::{NEW, OLD, in_a_lab};

use crate::PROGRAM;
use crate::proof::{self, StopAtEnd};
use crate::served::Served;

const ENVIRONMENT: &str = r#"
[budget]
max_unavailable = 1
[[load_balancer]]
name = "fe"
nodes = ["fe-[01:02]"]
socket = "/run/haproxy/admin.sock"
server = "{host}"
backends = { web = { drain = "10s", on_timeout = "wait" }, web_sticky = { drain = "2s", on_timeout = "wait" } }
[[role]]
name = "web"
hosts = ["web-[01:03]"]
packages = ["shop"]
backends = ["web", "web_sticky"]
services = [{ unit = "shop.service", activate = "restart" }]
health = { http = "http://{host}:8080/-/readiness", within = "60s" }
"#;

const SLOW: &str = demo::SLOW_TO_INSTALL;

/// What the older service was doing when it was stopped, what it wanted, and what the newer one is to do.
struct TakeOver {
    stopped_in: ActionKind,
    theirs: &'static str,
    ours: &'static str,
}

/// Stops `older` in the middle of its rollout, lets a newer service roll another version, and wakes the older one in
/// the middle of that. Hands back the newer one, converged.
fn takes_over<'a>(deployment: &Deployment<'a>, older: Served<'a>, plan: &TakeOver) -> Served<'a> {
    let lab = deployment.lab;
    let (before, its_generation) = (older.last_event(), older.generation());
    deployment.commit(plan.theirs);
    older.begins(plan.stopped_in, "web-01", before);
    older.signal("STOP");
    let (stopped, after) = (older.last_event(), older.last_event());
    let begun: Vec<Vec<String>> = hosts(lab).iter().map(|host| proof::installs(lab, host)).collect();

    let stop = AtomicBool::new(false);
    let (newer, seen) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| proof::watch(lab, &stop));
        let end = StopAtEnd(&stop);
        let commit = deployment.commit(plan.ours);
        let newer = Served::start(deployment, Some(&older));
        newer.begins(ActionKind::Install, "web-02", after);
        older.signal("CONT");
        older.explains("or a newer service took over");
        newer.converges(&commit);
        drop(end);
        (newer, watcher.join().unwrap())
    });
    assert!(newer.generation() > its_generation);

    let told = newer.steps_after(after);
    assert_eq!(proof::claimed(&told).len(), 3, "every host was claimed by the newer one");
    let unaccounted = proof::unaccounted(&seen, &told);
    assert!(unaccounted.is_empty(), "rows were changed by nobody we know: {unaccounted:?}");
    assert!(seen.rows.len() >= 12 && seen.looks > 20, "nobody looked: {} looks", seen.looks);
    for (host, owners) in &seen.claims {
        assert!(owners.is_sorted(), "{host} went back to an older one: {owners:?}");
    }
    assert_eq!(proof::late_jobs(lab, its_generation, &newer, after), Vec::<String>::new());
    for (host, before) in hosts(lab).iter().zip(&begun) {
        let since = proof::installs(lab, host).split_off(before.len());
        let theirs = since.iter().filter(|version| *version == plan.theirs).count();
        // An install that was under way when it was stopped ends by itself, on the one host that it had claimed.
        assert!(theirs == 0 || (host == "web-01" && theirs == 1), "{host}: {since:?}");
        assert_eq!(since.iter().filter(|version| *version == plan.ours).count(), 1, "{host}: {since:?}");
    }

    let woken: Vec<_> = older.steps_after(stopped);
    let changed = woken.iter().filter(|told| !matches!(&told.end, Some((_, Err(_)))));
    let changed: Vec<_> = changed.map(|told| told.step.id.to_string()).collect();
    assert_eq!(changed, Vec::<String>::new(), "it was let do something after it woke");
    let refused = older.steps_after(before).into_iter().filter_map(|told| told.end?.1.err());
    let refused: Vec<_> = refused.filter(|failure| failure.kind == FailureKind::Superseded).collect();
    println!(
        "fence: stopped in {}, {} looks, {} changes of rows all by the newer one; refused on hosts: {:?}",
        plan.stopped_in,
        seen.looks,
        seen.rows.len(),
        refused.iter().map(|failure| failure.what.as_str()).collect::<Vec<_>>()
    );
    let quiet = older.last_event();
    std::thread::sleep(Duration::from_secs(1));
    assert!(older.steps_after(quiet).is_empty(), "it stopped");
    newer
}

fn hosts(lab: &Lab) -> Vec<String> {
    lab.hosts_of(HostKind::Web).map(|host| host.name().to_owned()).collect()
}

fn a_lost_journal_waits_for_a_person(deployment: &Deployment<'_>, mut service: Served<'_>) {
    let lab = deployment.lab;
    let (highest, before) = (proof::highest_remembered(lab), proof::snapshot(lab));
    service.loses_its_journal();
    let commit = deployment.commit(NEW);
    service.explains("which this journal does not know");
    std::thread::sleep(Duration::from_secs(3));
    assert!(service.steps_after(0).is_empty(), "it acted before anybody said so");
    assert_eq!(proof::snapshot(lab), before);
    service.ask(&["adopt", "production", "--reason", "the disk was replaced"]);
    service.converges(&commit);
    let told = service.steps_after(0);
    assert!(!told.is_empty() && told.iter().all(|told| told.step.generation > highest), "above {highest}");
    let adopted = |recorded: &model::Recorded| matches!(recorded.event, Event::Adopted { .. });
    let journal = service.journal();
    let adopted = journal.iter().find(|recorded| adopted(recorded)).unwrap().seq;
    assert!(told.iter().all(|told| told.seq > adopted));
    for host in hosts(lab) {
        assert_eq!(proof::installs(lab, &host).last().map(String::as_str), Some(NEW), "{host}");
    }
}

#[test]
fn an_older_service_that_wakes_up_changes_nothing_and_a_lost_journal_waits_for_adopt() {
    let spec = |spec: LabSpec| {
        let spec = LabSpec::empty(&spec.name);
        spec.with_hosts("fe", 2, HostKind::LoadBalancer).with_hosts("web", 3, HostKind::Web)
    };
    in_a_lab("fence", spec, |lab| {
        let mut deployment = Deployment::new(lab, PROGRAM, OLD);
        // Git knows every version, so that none of them is on a way that nobody can tell.
        for version in [NEW, SLOW] {
            deployment.set_environment(ENVIRONMENT).commit(version);
        }
        let first = deployment.commit(OLD);
        let service = Served::start(&deployment, None);
        service.converges(&first);
        let in_an_install = TakeOver { stopped_in: ActionKind::Install, theirs: SLOW, ours: NEW };
        let service = takes_over(&deployment, service, &in_an_install);
        let in_a_drain = TakeOver { stopped_in: ActionKind::Drain, theirs: OLD, ours: SLOW };
        let service = takes_over(&deployment, service, &in_a_drain);
        a_lost_journal_waits_for_a_person(&deployment, service);
    });
}
