//! One service is stopped in the middle of its rollout, another takes over, and the first wakes up; and a service whose
//! journal is deleted waits for a person.

use std::process::Child;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use lab::{HostKind, Lab, LabSpec, demo};
use model::{ActionKind, Event, FailureKind};
use tests::deployment::Deployment;
use tests::stories::{NEW, OLD, in_a_lab};

use crate::PROGRAM;
use crate::proof::{self, Seen, StopAtEnd};
use crate::served::{Served, Told};

const ENVIRONMENT: &str = r#"
[budget]
max_unavailable = 1
[[load_balancer]]
name = "fe"
nodes = ["fe-[01:02]"]
socket = "/run/haproxy/admin.sock"
server = "{host}"
backends = { web = { drain = "10s", on_timeout = "wait" } }
[[role]]
name = "web"
hosts = ["web-[01:03]"]
packages = ["shop"]
backends = ["web"]
services = [{ unit = "shop.service", activate = "restart" }]
health = { http = "http://{host}:8080/-/readiness", within = "60s" }
"#;

const SLOW: &str = demo::SLOW_TO_INSTALL;

/// Where the older service is stopped on its way with the first host, and where the newer one is when it wakes up.
#[derive(Clone, Copy)]
enum Stopped {
    /// While a job of it runs on the host; until the newer one installs on the second host.
    InAnInstall,
    /// After it has looked at the host's claim, with its command to make rows ready on the way to the load balancers; it
    /// arrives while the newer one installs on that very host.
    BeforeReady,
}

/// A rollout of the older service, and what the newer one is to do instead.
struct TakeOver {
    stopped: Stopped,
    theirs: &'static str,
    ours: &'static str,
}

/// Stops a service in the middle of its work on the first host.
fn stop(lab: &Lab, older: &Served<'_>, how: Stopped, before: u64) {
    match how {
        Stopped::InAnInstall => older.begins(ActionKind::Install, "web-01", before),
        Stopped::BeforeReady => {
            older.ends(ActionKind::Activate, "web-01", before);
            // Its look at the claim waits for the host's lock, and so for us to hold up what comes after it.
            let lock = HeldLock::of(lab, "web-01");
            older.begins(ActionKind::Ready, "web-01", before);
            older.signal_lines("STOP", "fe-");
            drop(lock);
            std::thread::sleep(Duration::from_millis(700));
        }
    }
    older.signal("STOP");
}

/// Wakes it in the middle of the newer one's rollout.
fn wake(older: &Served<'_>, how: Stopped, newer: &Served<'_>, after: u64) {
    match how {
        Stopped::InAnInstall => newer.begins(ActionKind::Install, "web-02", after),
        Stopped::BeforeReady => {
            newer.begins(ActionKind::Install, "web-01", after);
            older.signal_lines("CONT", "fe-");
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    older.signal("CONT");
}

/// The lock of a host, held until this is dropped.
struct HeldLock<'a> {
    lab: &'a Lab,
    host: &'a str,
    holder: Child,
}

impl<'a> HeldLock<'a> {
    fn of(lab: &'a Lab, host: &'a str) -> Self {
        let script = "exec 9>>/var/lib/reconcile/lock && flock 9 && touch /run/held && while [ -e /run/held ]; do sleep 0.05; done";
        let mut command = lab.host(host).unwrap().command("sh").unwrap();
        let holder = command.args(["-c", script]).spawn().unwrap();
        let held = "while [ ! -e /run/held ]; do sleep 0.02; done";
        lab.host(host).unwrap().expect(held).unwrap();
        Self { lab, host, holder }
    }
}

impl Drop for HeldLock<'_> {
    fn drop(&mut self) {
        self.lab.host(self.host).unwrap().expect("rm /run/held").unwrap();
        assert!(self.holder.wait().unwrap().success());
    }
}

/// Stops `older` in the middle of its rollout, lets a newer service roll another version, and wakes the older one in
/// the middle of that. Hands back the newer one, converged.
fn takes_over<'a>(deployment: &Deployment<'a>, older: Served<'a>, plan: &TakeOver) -> Served<'a> {
    let lab = deployment.lab;
    let before = older.last_event();
    deployment.commit(plan.theirs);
    stop(lab, &older, plan.stopped, before);
    let after = older.last_event();
    let begun: Vec<Vec<String>> = hosts(lab).iter().map(|host| proof::installs(lab, host)).collect();

    let over = AtomicBool::new(false);
    let (newer, seen) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| proof::watch(lab, &over));
        let end = StopAtEnd(&over);
        let commit = deployment.commit(plan.ours);
        let newer = Served::start(deployment, Some(&older));
        wake(&older, plan.stopped, &newer, after);
        older.explains("or a newer service took over");
        newer.converges(&commit);
        drop(end);
        (newer, watcher.join().unwrap())
    });
    only_the_newer_one_changed_rows_and_claims(&seen, &newer.steps_after(after));
    only_the_newer_one_installed(lab, plan, &begun);
    assert_eq!(proof::late_jobs(lab, older.generation(), &newer, after), Vec::<String>::new());
    the_older_one_was_let_do_nothing(&older, plan.stopped, (before, after));
    println!("fence: {} looks, {} changes of rows, all by the newer one", seen.looks, seen.rows.len());
    newer
}

fn only_the_newer_one_changed_rows_and_claims(seen: &Seen, newer: &[Told]) {
    assert_eq!(proof::claimed(newer).len(), 3, "every host was claimed by the newer one");
    let unaccounted = proof::unaccounted(seen, newer);
    assert!(unaccounted.is_empty(), "rows were changed by nobody we know: {unaccounted:?}");
    assert!(seen.rows.len() >= 8 && seen.looks > 20, "nobody looked: {} looks", seen.looks);
    for (host, owners) in &seen.claims {
        assert!(owners.is_sorted(), "{host} went back to an older one: {owners:?}");
    }
}

fn only_the_newer_one_installed(lab: &Lab, plan: &TakeOver, begun: &[Vec<String>]) {
    for (host, before) in hosts(lab).iter().zip(begun) {
        let since = proof::installs(lab, host).split_off(before.len());
        let of = |wanted: &str| since.iter().filter(|version| *version == wanted).count();
        // An install that was under way when it was stopped ends by itself, on the one host that it had claimed.
        assert!(of(plan.theirs) == 0 || (host == "web-01" && of(plan.theirs) == 1), "{host}: {since:?}");
        assert_eq!(of(plan.ours), 1, "{host}: {since:?}");
    }
}

/// What it began after `before` had not ended well by `after`, when it was stopped, and does not afterwards.
fn the_older_one_was_let_do_nothing(older: &Served<'_>, stopped: Stopped, (before, after): (u64, u64)) {
    let changed = |told: &&Told| !matches!(&told.end, Some((_, Err(_))));
    let woken = older.steps_after(after);
    let changes: Vec<&str> = woken.iter().filter(changed).map(|told| told.step.id.as_str()).collect();
    assert!(changes.is_empty(), "it was let do something after it woke: {changes:?}");
    if matches!(stopped, Stopped::BeforeReady) {
        let steps = older.steps_after(before);
        let ready = steps.iter().find(|told| told.step.action.kind() == ActionKind::Ready).unwrap();
        let Some((_, Err(failure))) = &ready.end else { panic!("{:?}", ready.end) };
        println!("fence: the late command ended so: {}", failure.what);
        // On a machine that is slow enough the older one no longer waits for the answer.
        assert!(matches!(failure.kind, FailureKind::Superseded | FailureKind::TimedOut), "{failure:?}");
    }
    let quiet = older.last_event();
    std::thread::sleep(Duration::from_secs(1));
    assert!(older.steps_after(quiet).is_empty(), "it stopped");
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
        let in_an_install = TakeOver { stopped: Stopped::InAnInstall, theirs: SLOW, ours: NEW };
        let service = takes_over(&deployment, service, &in_an_install);
        let before_ready = TakeOver { stopped: Stopped::BeforeReady, theirs: SLOW, ours: OLD };
        let service = takes_over(&deployment, service, &before_ready);
        a_lost_journal_waits_for_a_person(&deployment, service);
    });
}
