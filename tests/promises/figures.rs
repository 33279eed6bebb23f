//! Figures, printed and not judged: how long things take on real hosts. Only with RECONCILE_LONG.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cli::live::LiveWorld;
use engine::{DesiredByName, World};
use jiff::Timestamp;
use lab::{HostKind, Lab, LabSpec, Repacked};
use model::{ActionKind, Event, HostName, Observed, Scope, StepId};
use providers::ssh::{Ssh, SshConfig};
use tests::deployment::Deployment;
use tests::stories::{NEW, OLD, in_a_lab, on_a_fleet};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::{PROGRAM, balancers, long};

/// How the program under test was compiled.
const BUILD: &str = if cfg!(debug_assertions) { "debug build" } else { "release build" };

fn asked_for(what: &str) -> bool {
    if !long() {
        eprintln!("{what}: SKIPPED, a benchmark; set RECONCILE_LONG to run it");
    }
    long()
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

// ---- Three web hosts, one at a time, with a real package.

const THREE_HOSTS: &str = r#"
requires = ">=0.1"
packages = ["lighttpd"]
[budget]
max_unavailable = 1
[[load_balancer]]
name   = "fe"
nodes  = ["fe-[01:02]"]
socket = "/run/haproxy/admin.sock"
server = "{host}"
[load_balancer.backends]
app = { drain = "30s", on_timeout = "wait" }
[[role]]
name     = "app"
hosts    = ["app-[01:03]"]
backends = ["app"]
services = [{ unit = "lighttpd.service", activate = "restart" }]
health   = { http = "http://{host}:80/", within = "30s" }
"#;

/// A backend of the application hosts, in the place of the lab's own.
fn put_behind_balancers(lab: &Lab) {
    let mut config =
        "\nbackend app\n    mode http\n    option httpchk GET /\n    default-server check inter 2s\n"
            .to_owned();
    for host in lab.hosts_of(HostKind::Plain) {
        config += &format!("    server {} {}:80\n", host.name(), host.address());
    }
    for node in lab.hosts_of(HostKind::LoadBalancer) {
        node.write("/tmp/app.cfg", &config).unwrap();
        node.expect("cat /tmp/app.cfg >> /etc/haproxy/haproxy.cfg && systemctl restart haproxy.service")
            .unwrap();
    }
}

/// Seconds that each server was not in rotation on every node, by looking at HAProxy until told to stop.
fn out_by_looking(lab: &Lab, stop: &AtomicBool) -> BTreeMap<String, f64> {
    let mut out: BTreeMap<String, f64> = BTreeMap::new();
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
        let servers: std::collections::BTreeSet<String> =
            balancers::out(lab).into_iter().map(|row| row.server).collect();
        let passed = last.elapsed().as_secs_f64();
        last = Instant::now();
        for server in servers {
            *out.entry(server).or_default() += passed;
        }
    }
    out
}

/// When each action of each host began and ended, after an event of the journal.
fn times(deployment: &Deployment<'_>, after: u64) -> Vec<(HostName, ActionKind, Timestamp, Timestamp)> {
    let mut open: BTreeMap<StepId, (HostName, ActionKind, Timestamp)> = BTreeMap::new();
    let mut times = Vec::new();
    for recorded in deployment.journal().into_iter().filter(|recorded| recorded.seq > after) {
        match recorded.event {
            Event::StepStarted { step } => {
                open.insert(step.id, (step.host, step.action.kind(), recorded.at));
            }
            Event::StepFinished { step, .. } => {
                if let Some((host, kind, began)) = open.remove(&step) {
                    times.push((host, kind, began, recorded.at));
                }
            }
            _ => {}
        }
    }
    times
}

fn print_rollout(deployment: &Deployment<'_>, what: &str, after: u64, looked: &BTreeMap<String, f64>) {
    let times = times(deployment, after);
    let of = |kind: ActionKind| times.iter().filter(move |time| time.1 == kind);
    let begin = of(ActionKind::Claim).map(|time| time.2).min().expect("it began");
    let end = of(ActionKind::Release).map(|time| time.3).max().expect("it ended");
    let first = times.iter().map(|time| time.2).min().expect("it began");
    println!(
        "figures | {what}: three hosts one at a time {:.2} s (and {:.2} s of downloads before), {BUILD}",
        seconds(begin, end),
        seconds(first, begin)
    );
    for (host, _, _, drained) in of(ActionKind::Drain) {
        let ready = of(ActionKind::Ready).find(|time| time.0 == *host).expect("it came back");
        let looked = looked.get(host.as_str()).copied().unwrap_or_default();
        println!(
            "figures |   {host} out of rotation {:.2} s by the journal, {looked:.2} s by looking at HAProxy",
            seconds(*drained, ready.3)
        );
        let steps = times.iter().filter(|time| time.0 == *host && time.1 != ActionKind::Download);
        let steps: Vec<String> = steps
            .map(|(_, kind, from, to)| {
                format!("{kind} +{:.2} took {:.2}", seconds(begin, *from), seconds(*from, *to))
            })
            .collect();
        println!("figures |     {}", steps.join(", "));
    }
}

#[test]
fn figure_three_web_hosts_one_at_a_time() {
    if !asked_for("figure_three_web_hosts_one_at_a_time") {
        return;
    }
    let fleet = |name: &str| {
        LabSpec::empty(name).with_hosts("fe", 2, HostKind::LoadBalancer).with_hosts("app", 3, HostKind::Plain)
    };
    in_a_lab(
        "figures-three",
        |spec| fleet(&spec.name),
        |lab| {
            put_behind_balancers(lab);
            let Repacked { newer, older, .. } = lab.repack("lighttpd", "1.4.60-0lab1").unwrap();
            println!(
                "figures | lighttpd: {newer} is Debian's own, {older} the same files repacked; two HAProxy nodes, check interval 2 s"
            );
            let mut deployment = Deployment::new(lab, PROGRAM, &older);
            deployment.set_environment(THREE_HOSTS);
            let first = deployment.commit(&older);
            deployment.serve();
            deployment.converges(&first, 180);
            for (what, version) in [("bump", &newer), ("back", &older), ("bump again", &newer)] {
                deployment.all_is_well(60);
                let after = deployment.last_event();
                let stop = AtomicBool::new(false);
                let looked = std::thread::scope(|scope| {
                    let watcher = scope.spawn(|| out_by_looking(lab, &stop));
                    let commit = deployment.commit(version);
                    deployment.wait_for("convergence, or an alarm", 180, || {
                        deployment.journal().iter().any(|recorded| {
                            matches!(&recorded.event, Event::Converged { commit: at, .. } if at.as_str() == commit)
                        })
                    });
                    stop.store(true, Ordering::Relaxed);
                    watcher.join().unwrap()
                });
                print_rollout(&deployment, what, after, &looked);
            }
            deployment.stop();
        },
    );
}

// ---- From a commit to the first step, and the memory of a quiet service.

/// When the branch came to point to a new commit, by the file system's clock, which is the service's own.
fn committed_at(deployment: &Deployment<'_>) -> Timestamp {
    let branch = deployment.repository().join(".git/refs/heads/main");
    let changed = std::fs::metadata(branch).and_then(|branch| branch.modified()).expect("there is a branch");
    Timestamp::try_from(changed).expect("a time")
}

fn first_step(deployment: &Deployment<'_>, of: &str) -> Timestamp {
    let is_first = |recorded: &model::Recorded| matches!(&recorded.event, Event::StepStarted { step } if step.commit.as_str() == of);
    deployment.journal().into_iter().find(is_first).expect("a step began").at
}

fn memory_mb(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the service runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has memory");
    let kilobytes: f64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number");
    kilobytes / 1024.0
}

#[test]
fn figure_commit_to_first_step_and_memory() {
    if !asked_for("figure_commit_to_first_step_and_memory") {
        return;
    }
    on_a_fleet("figures-commit", PROGRAM, |deployment| {
        let mut samples = Vec::new();
        for version in [NEW, OLD, NEW, OLD, NEW] {
            deployment.all_is_well(60);
            let commit = deployment.commit(version);
            let at = committed_at(deployment);
            deployment.converges(&commit, 180);
            samples.push(seconds(at, first_step(deployment, &commit)) * 1000.0);
        }
        let told: Vec<String> = samples.iter().map(|ms| format!("{ms:.0}")).collect();
        println!(
            "figures | commit to first step started: {} ms, median {:.0} ms, {BUILD}",
            told.join(", "),
            median(&samples)
        );
        std::thread::sleep(Duration::from_secs(15));
        let pid = deployment.pid().expect("the service runs");
        println!(
            "figures | memory of serve, quiet fleet of 5 hosts and 2 load balancer nodes: {:.1} MB resident, {BUILD}",
            memory_mb(pid)
        );
    });
}

// ---- A pass over a converged fleet of twenty hosts.

/// More inotify instances than the kernel allows one user by default: every host's systemd and its services need six
/// or seven, and 22 hosts do not boot with 128. The old limit comes back at the end.
struct ManyInstances(String);

impl ManyInstances {
    const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";

    fn allow() -> Self {
        let before = std::fs::read_to_string(Self::LIMIT).unwrap_or_default();
        // Without root there is no lab either, and it says so.
        let _ = std::fs::write(Self::LIMIT, "1024");
        Self(before)
    }
}

impl Drop for ManyInstances {
    fn drop(&mut self) {
        let _ = std::fs::write(Self::LIMIT, &self.0);
    }
}

/// Set for the part that runs inside the lab's network: the repository, then ssh's three files.
const INSIDE: &str = "RECONCILE_FIGURES_INSIDE";

#[test]
fn figure_pass_over_twenty_hosts() {
    if !asked_for("figure_pass_over_twenty_hosts") {
        return;
    }
    let _limit = ManyInstances::allow();
    in_a_lab(
        "figures-pass",
        |spec| spec.with_hosts("web", 19, HostKind::Web),
        |lab| {
            let mut deployment = Deployment::new(lab, PROGRAM, OLD);
            deployment.replace("web-[01:04]", "web-[01:19]");
            let commit = deployment.commit(OLD);
            deployment.serve();
            deployment.converges(&commit, 180);
            deployment.all_is_well(60);
            println!(
                "figures | memory of serve, quiet fleet of 20 hosts and 2 load balancer nodes: {:.1} MB resident, {BUILD}",
                memory_mb(deployment.pid().expect("it runs"))
            );
            deployment.stop();
            let ssh = lab.ssh_files();
            let paths = [&deployment.repository(), &ssh.config, &ssh.known_hosts, &ssh.identity];
            let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            let mut inside = lab.command(std::env::current_exe().expect("this is a program"));
            inside.args(["figures::inside_the_lab_passes_are_timed", "--exact", "--nocapture"]);
            assert!(inside.env(INSIDE, paths.join("\n")).status().expect("it starts").success());
        },
    );
}

/// The second half of the figure above, in a process of its own; nothing by itself.
#[test]
fn inside_the_lab_passes_are_timed() {
    let Ok(paths) = std::env::var(INSIDE) else { return };
    let paths: Vec<&str> = paths.lines().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let revision = store::git::revision_of_folder(paths[0].as_ref()).unwrap().revision;
        let config = SshConfig {
            user: Some("root".to_owned()),
            config_file: Some(paths[1].into()),
            known_hosts: Some(paths[2].into()),
            key: Some(paths[3].into()),
            connect_timeout: Duration::from_secs(10),
            control_parent: "/tmp".into(),
        };
        let (_keep, desired) = watch::channel(Arc::new(revision.environments.clone()));
        let world = Arc::new(LiveWorld::new(Ssh::new(config).unwrap(), "deploy-01", desired).unwrap());
        time_passes(&world, &revision.environments).await;
        world.close();
    });
}

async fn time_passes(world: &Arc<LiveWorld>, environments: &DesiredByName) {
    let (name, desired) = environments.iter().next().expect("one environment");
    let hosts = desired.fleet.hosts().map(|(_, host)| Scope::Host(host.clone()));
    let nodes = desired.fleet.nodes().into_iter().map(|node| Scope::Node(node.clone()));
    let scopes: Vec<Scope> = hosts.chain(nodes).collect();
    let mut samples = Vec::new();
    for _ in 0..12 {
        let began = Instant::now();
        let observed = observe(world, &scopes).await;
        let plan = planner::plan(desired, &observed, &model::History::new(name.clone()), world.now());
        samples.push(began.elapsed().as_secs_f64() * 1000.0);
        assert!(plan.progress.iter().all(|role| role.done == role.hosts), "not converged: {plan:?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let (cold, warm) = samples.split_first().expect("there are samples");
    let told: Vec<String> = warm.iter().map(|ms| format!("{ms:.0}")).collect();
    println!(
        "figures | a pass over {} hosts and load balancer nodes: {cold:.0} ms with new connections, then {} ms, median {:.0} ms, {BUILD}",
        scopes.len(),
        told.join(", "),
        median(warm)
    );
}

/// Everything at once, as a service looks at it.
async fn observe(world: &Arc<LiveWorld>, scopes: &[Scope]) -> Observed {
    let mut readings = JoinSet::new();
    for scope in scopes {
        let (world, scope) = (Arc::clone(world), scope.clone());
        readings.spawn(async move { world.observe(&scope).await });
    }
    let mut observed = Observed::default();
    for reading in readings.join_all().await {
        observed.merge(reading);
    }
    observed
}
