//! The live world against real Debian hosts: what a whole release needs beside a host's own way. Jobs that must not
//! run twice, the configuration agent, patches, weights.
//!
//! Runs itself again inside the lab's network, where the hosts are.
#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cli::live::LiveWorld;
use engine::{DesiredByName, World};
use jiff::{SignedDuration, Timestamp};
use lab::{HostKind, Lab, LabSpec, agent, demo};
use model::{
    Action, Admin, AgentState, Argv, Check, CheckRun, Commit, CommitId, ConfigAgent, Desired, Failure,
    FailureKind, Generation, HostName, HostState, JobKey, JobKind, JobName, MigrationJob, NodeState, Outcome,
    PatchFile, RowId, Scope, Step, Track, Version,
};
use providers::ssh::{Ssh, SshConfig};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const INSIDE: &str = "RECONCILE_TEST_LAB_RELEASE";

const ENVIRONMENT: &str = r#"
packages = ["shop"]
[[load_balancer]]
name = "fe"
nodes = ["fe-01"]
socket = "/run/haproxy/admin.sock"
server = "{host}"
backends = { web = { drain = "10s" } }
[[role]]
name = "web"
hosts = ["web-01"]
backends = ["web"]
allow_outage = true
services = [{ unit = "shop.service" }]
[migrations]
host = "deploy-01"
packages = ["shop", "base-files"]
pre = { command = ["true"], timeout = "1h" }
[config_agent]
pause = ["systemctl", "stop", "agent.timer"]
resume = ["systemctl", "start", "agent.timer"]
active = ["systemctl", "is-active", "--quiet", "agent.timer"]
busy = ["sh", "-c", "! systemctl show --property=ActiveState agent.service | grep -q inactive"]
[[stage]]
name = "migrations"
run = "migrate"
[[stage]]
name = "fleet"
run = "deploy"
roles = ["web"]
"#;

#[test]
fn the_live_world_runs_a_release_on_real_hosts() {
    if let Ok(name) = std::env::var(INSIDE) {
        let lab = Lab::attach(&name).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(stories(&lab));
        return;
    }
    let name = format!("rel{}", std::process::id());
    let spec = LabSpec::empty(&name)
        .with_hosts("fe", 1, HostKind::LoadBalancer)
        .with_hosts("web", 1, HostKind::Web)
        .with_hosts("deploy", 1, HostKind::Plain)
        .with_config_agent();
    let Some(lab) = Lab::up_or_skip(&spec).unwrap() else { return };
    let mut inside = lab.command(std::env::current_exe().unwrap());
    inside.args(["--nocapture", "--exact", "the_live_world_runs_a_release_on_real_hosts"]).env(INSIDE, &name);
    let ended = inside.status().unwrap();
    lab.down().unwrap();
    assert!(ended.success());
}

async fn stories(lab: &Lab) {
    let bench = Bench::new(lab);
    for host in ["web-01", "deploy-01"] {
        bench.act(host, Action::Claim { found: BTreeSet::new() }).await.unwrap();
    }
    a_host_without_a_role_is_looked_at_for_its_environment(&bench).await;
    a_migration_whose_caller_died_is_found_by_its_name(&bench).await;
    a_failed_migration_stays_failed(&bench).await;
    a_migration_that_was_killed_is_in_doubt(&bench).await;
    a_migration_begins_only_when_it_may(&bench).await;
    a_check_has_a_time_limit(&bench).await;
    the_agent_is_paused_and_given_back_as_found(&bench).await;
    somebody_elses_pause_stays(&bench).await;
    the_agent_is_told_a_version(&bench).await;
    patches_come_and_go(&bench).await;
    weights_are_read_back_and_a_dead_hosts_rows_are_drained(&bench).await;
    an_older_service_is_refused_for_ever_and_told_by_whom(&bench).await;
}

struct Bench<'a> {
    lab: &'a Lab,
    world: LiveWorld,
    generation: u64,
}

impl<'a> Bench<'a> {
    fn new(lab: &'a Lab) -> Self {
        let ssh = Ssh::new(SshConfig {
            user: None,
            config_file: Some(lab.ssh_files().config),
            known_hosts: None,
            key: None,
            connect_timeout: Duration::from_secs(5),
            control_parent: std::env::temp_dir(),
        });
        let (_, receiver) = watch::channel(Arc::new(DesiredByName::from([("staging".into(), desired())])));
        Self { lab, world: LiveWorld::new(ssh.unwrap(), "tester", receiver).unwrap(), generation: 3 }
    }

    fn step(&self, host: &str, action: Action) -> Step {
        Step {
            id: format!("s-{}", Timestamp::now().as_nanosecond()).as_str().into(),
            environment: "staging".into(),
            host: host.into(),
            role: "web".into(),
            commit: "c0ffee".into(),
            version: version(demo::SECOND),
            generation: Generation(self.generation),
            action,
            why: "release 1.1.0-1 of staging".to_owned(),
            deadline: SignedDuration::from_secs(60),
            stage: None,
        }
    }

    async fn act(&self, host: &str, action: Action) -> Result<Outcome, Failure> {
        let step = self.step(host, action);
        let result = self.world.act(&step, &CancellationToken::new()).await;
        eprintln!("{} {}: {result:?}", step.host, step.action.kind());
        result
    }

    async fn kind(&self, host: &str, action: Action) -> FailureKind {
        self.act(host, action).await.unwrap_err().kind
    }

    /// Begins, and is gone in the midst of it.
    async fn die_in(&self, host: &str, action: Action) {
        let (step, cancel) = (self.step(host, action), CancellationToken::new());
        let call = self.world.act(&step, &cancel);
        assert!(tokio::time::timeout(Duration::from_millis(1200), call).await.is_err());
    }

    async fn see(&self, host: &str) -> HostState {
        let host = HostName::from(host);
        self.world.observe(&Scope::Host(host.clone())).await.hosts[&host].value.clone().unwrap()
    }

    async fn node(&self) -> NodeState {
        let node = HostName::from("fe-01");
        self.world.observe(&Scope::Node(node.clone())).await.nodes[&node].value.clone().unwrap()
    }

    fn sh(&self, host: &str, script: &str) -> String {
        self.lab.host(host).unwrap().expect(script).unwrap()
    }
}

fn desired() -> Desired {
    let files = BTreeMap::from([
        ("environments/staging/environment.toml".to_owned(), ENVIRONMENT.to_owned()),
        ("environments/staging/release.toml".to_owned(), "[main]\nversion = '1.1.0-1'".to_owned()),
    ]);
    let parsed = model::parse::repository(&files).unwrap();
    let (name, spec) = parsed.environments.into_iter().next().unwrap();
    let (id, at) = (CommitId::new("c0ffee"), Timestamp::UNIX_EPOCH);
    let commit = Commit { id, author: "Ada".to_owned(), subject: "Bump".to_owned(), at };
    spec.at(name, commit, vec![version(demo::SECOND)])
}

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

fn words(text: &[&str]) -> Argv {
    Argv(text.iter().map(|word| (*word).to_owned()).collect())
}

fn key(number: &str) -> JobKey {
    JobKey { kind: JobKind::PreMigration, version: version(number) }
}

fn name(number: &str) -> JobName {
    JobName::new(&"staging".into(), &key(number), 1)
}

/// A migration that leaves a line in `/root/ran` each time that it runs.
fn migrate(number: &str, script: &str, ready: Option<Argv>) -> Action {
    let script = format!("echo \"$WHAT\" >>/root/ran; {script}");
    let run = MigrationJob {
        command: words(&["sh", "-c", &script]),
        env: BTreeMap::from([("WHAT".to_owned(), format!("{number} it's; $HOME"))]),
        timeout: SignedDuration::from_secs(60),
    };
    Action::Migrate { job: name(number), key: key(number), ready, run }
}

fn runs(bench: &Bench<'_>, number: &str) -> usize {
    let lines = bench.sh("deploy-01", "cat /root/ran 2>/dev/null; true");
    lines.lines().filter(|line| *line == format!("{number} it's; $HOME")).count()
}

fn changed(text: &str) -> Result<Outcome, Failure> {
    Ok(Outcome::Changed(text.to_owned()))
}

async fn a_host_without_a_role_is_looked_at_for_its_environment(bench: &Bench<'_>) {
    let state = bench.see("deploy-01").await;
    assert!(state.packages["base-files"].installed && state.agent.is_some(), "{state:?}");
    let observed = bench.world.observe(&Scope::Versions("staging".into())).await;
    let offered = observed.versions.unwrap().value.unwrap();
    assert!(
        offered.contains(&version(demo::FIRST)) && offered.contains(&version(demo::SECOND)),
        "{offered:?}"
    );
}

async fn a_migration_whose_caller_died_is_found_by_its_name(bench: &Bench<'_>) {
    let migration = || migrate("1.0", "sleep 8; echo migrated", None);
    bench.die_in("deploy-01", migration()).await;
    let state = bench.see("deploy-01").await;
    assert_eq!((state.job, state.in_doubt.len()), (None, 0));
    assert_eq!(state.jobs, BTreeMap::from([(name("1.0"), -1)]), "begun, without an end");
    let other = Bench::new(bench.lab);
    let (one, two) = tokio::join!(other.act("deploy-01", migration()), bench.act("deploy-01", migration()));
    assert_eq!((one, two), (changed("migrated"), changed("migrated")));
    let older = Bench { generation: 1, ..Bench::new(bench.lab) };
    assert_eq!(older.act("deploy-01", migration()).await, changed("migrated"), "an end needs no claim");
    assert_eq!(runs(bench, "1.0"), 1);
    assert_eq!(bench.see("deploy-01").await.jobs, BTreeMap::from([(name("1.0"), 0)]));
}

async fn a_failed_migration_stays_failed(bench: &Bench<'_>) {
    let migration = || migrate("2.0", "seq 30; echo 'column exists' >&2; exit 75", None);
    for _ in 0..2 {
        let failure = bench.act("deploy-01", migration()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::JobFailed);
        assert!(
            failure.what.ends_with("ended with 75") && failure.detail.ends_with("column exists"),
            "{failure:?}"
        );
        assert_eq!(failure.detail.lines().count(), 20);
    }
    assert_eq!(runs(bench, "2.0"), 1);
    assert_eq!(bench.see("deploy-01").await.jobs[&name("2.0")], 75);
}

async fn a_migration_that_was_killed_is_in_doubt(bench: &Bench<'_>) {
    let migration = || migrate("3.0", "echo half; sleep 60", None);
    bench.die_in("deploy-01", migration()).await;
    let unit = format!("reconcile-{}.service", name("3.0"));
    bench.sh("deploy-01", &format!("systemctl kill --kill-whom=all --signal=KILL {unit}; sleep 0.3"));
    for _ in 0..2 {
        let failure = bench.act("deploy-01", migration()).await.unwrap_err();
        assert_eq!((failure.kind, failure.detail.as_str()), (FailureKind::InDoubt, "half"));
        assert!(
            failure.what.contains(&format!("/var/lib/reconcile/once/{}/output", name("3.0"))),
            "{failure:?}"
        );
    }
    let state = bench.see("deploy-01").await;
    assert!(state.in_doubt.is_empty() && state.jobs[&name("3.0")] == -1, "{state:?}");
    assert_eq!(runs(bench, "3.0"), 1);
}

async fn a_migration_begins_only_when_it_may(bench: &Bench<'_>) {
    let ready = || Some(words(&["sh", "-c", "echo 2 are queued; test -e /root/quiet"]));
    let migration = || migrate("4.0", "true", ready());
    let older = Bench { generation: 2, ..Bench::new(bench.lab) };
    assert_eq!(older.kind("deploy-01", migration()).await, FailureKind::Superseded);
    let failure = bench.act("deploy-01", migration()).await.unwrap_err();
    assert_eq!((failure.kind, failure.detail.as_str()), (FailureKind::NotReady, "2 are queued"));
    bench.sh("deploy-01", "touch /root/quiet");
    bench.act("deploy-01", migration()).await.unwrap();
    bench.sh("deploy-01", "rm /root/quiet");
    bench.act("deploy-01", migration()).await.expect("what has run is not asked whether it may");
    assert_eq!(runs(bench, "4.0"), 1);
}

async fn a_check_has_a_time_limit(bench: &Bench<'_>) {
    let key = JobKey {
        kind: JobKind::Check { stage: "fleet".into(), check: "qa".into() },
        version: version("1.0"),
    };
    let check = |command: &[&str], attempt: u32| Action::Check {
        job: JobName::new(&"staging".into(), &key, attempt),
        key: key.clone(),
        track: Track::Main,
        check: Check {
            how: CheckRun::Command { host: "deploy-01".into(), command: words(command) },
            timeout: SignedDuration::from_secs(1),
        },
    };
    let told = bench.act("deploy-01", check(&["echo", "{stage} of {track} on {host}"], 1)).await;
    assert_eq!(told, changed("fleet of main on deploy-01"));
    let late =
        bench.act("deploy-01", check(&["sh", "-c", "setsid sleep 77 & sleep 78"], 2)).await.unwrap_err();
    assert_eq!(late.kind, FailureKind::JobFailed);
    assert!(late.what.ends_with("did not end within 1 s"), "{late:?}");
    assert_eq!(
        bench.sh("deploy-01", "pgrep -c -f 'sleep 7[78]' || true").trim(),
        "0",
        "nothing of it is left"
    );
}

async fn the_agent_is_paused_and_given_back_as_found(bench: &Bench<'_>) {
    let commands = desired().fleet.policy.config_agent.unwrap();
    let pause = || Action::PauseAgent { agent: commands.clone() };
    let resume = || Action::ResumeAgent { agent: commands.clone() };
    let seen = async || bench.see("web-01").await.agent.unwrap();
    let mark = "cat /var/lib/reconcile/agent-paused";

    bench.sh("web-01", &format!("systemctl start --no-block {}; sleep 0.3", agent::SERVICE));
    assert!(seen().await.busy);
    assert_eq!(bench.kind("web-01", pause()).await, FailureKind::NotReady, "a run is not killed");
    bench.sh("web-01", &format!("! {mark} 2>/dev/null"));
    while bench.act("web-01", pause()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(seen().await, AgentState { active: false, busy: false, paused_by_us: true });
    let told = bench.sh("web-01", mark);
    let wanted = "release 1.1.0-1 of staging\nby: tester\ncommit: c0ffee\nsince: 20";
    assert!(told.starts_with(wanted), "{told}");
    assert_eq!(bench.act("web-01", pause()).await, Ok(Outcome::AlreadyDone));
    let older = Bench { generation: 2, ..Bench::new(bench.lab) };
    assert_eq!(older.kind("web-01", resume()).await, FailureKind::Superseded);
    let broken = ConfigAgent { resume: words(&["true"]), ..commands.clone() };
    let still = bench.act("web-01", Action::ResumeAgent { agent: broken }).await.unwrap_err();
    assert_eq!(still.kind, FailureKind::CommandFailed, "{still:?}");
    assert!(seen().await.paused_by_us, "the mark stays until it is active");
    bench.act("web-01", resume()).await.unwrap();
    let state = seen().await;
    assert!(state.active && !state.paused_by_us, "{state:?}");
    assert_eq!(bench.act("web-01", resume()).await, Ok(Outcome::AlreadyDone));
}

async fn somebody_elses_pause_stays(bench: &Bench<'_>) {
    let commands = desired().fleet.policy.config_agent.unwrap();
    bench.sh("web-01", &format!("systemctl stop {}", agent::TIMER));
    let pause = Action::PauseAgent { agent: commands.clone() };
    assert_eq!(bench.act("web-01", pause).await, Ok(Outcome::AlreadyDone));
    let resume = Action::ResumeAgent { agent: commands };
    assert_eq!(bench.act("web-01", resume).await, Ok(Outcome::AlreadyDone));
    let state = bench.see("web-01").await.agent.unwrap();
    assert!(!state.active && !state.paused_by_us, "{state:?}");
}

async fn the_agent_is_told_a_version(bench: &Bench<'_>) {
    let pin = |command: &[&str]| Action::Pin { track: Track::Canary, command: words(command) };
    let arguments = ["agent-pin", "{environment}", "{version}-{track}-{host}"];
    bench.act("deploy-01", pin(&arguments)).await.unwrap();
    let pinned = bench.sh("deploy-01", &format!("cat {}", agent::PINS));
    assert_eq!(pinned, "staging 1.1.0-1-canary-deploy-01\n");
    assert_eq!(bench.kind("deploy-01", pin(&["false"])).await, FailureKind::CommandFailed);
}

/// Of a file that a package brought.
fn a_patch(bench: &Bench<'_>) -> PatchFile {
    let script = "cd /root && mkdir -p a b && cp /usr/share/base-files/dot.bashrc a && cp a/dot.bashrc b && \
                  echo \"# it's patched\" >>b/dot.bashrc && (diff -u a/dot.bashrc b/dot.bashrc || true)";
    let contents = bench.sh("web-01", script);
    bench.lab.host("web-01").unwrap().write("/root/fix.patch", &contents).unwrap();
    let sha256 = bench.sh("web-01", "sha256sum </root/fix.patch")[..64].to_owned();
    PatchFile { sha256, file: "patches/fix.patch".into(), root: "/usr/share/base-files".into(), contents }
}

async fn patches_come_and_go(bench: &Bench<'_>) {
    let patch = a_patch(bench);
    let want = || Action::Patch { want: vec![patch.clone()] };
    let none = || Action::Patch { want: Vec::new() };
    let there = BTreeSet::from([patch.sha256.clone()]);
    let differs =
        || bench.sh("web-01", "dpkg --verify base-files | grep -c dot.bashrc || true").trim() == "1";
    bench.act("web-01", want()).await.unwrap();
    assert!(bench.see("web-01").await.patches == there && differs());
    assert_eq!(bench.act("web-01", want()).await, Ok(Outcome::AlreadyDone));

    bench.sh("web-01", "echo mine >>/usr/share/base-files/dot.bashrc");
    assert!(bench.see("web-01").await.patches.is_empty(), "not as it was left");
    let failure = bench.act("web-01", none()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::PatchFailed);
    assert!(failure.what.ends_with("/usr/share/base-files/dot.bashrc"), "{failure:?}");
    bench.sh("web-01", "sed -i '$d' /usr/share/base-files/dot.bashrc");
    assert_eq!(bench.see("web-01").await.patches, there);
    bench.act("web-01", none()).await.unwrap();
    assert!(bench.see("web-01").await.patches.is_empty() && !differs());

    let other = PatchFile { contents: patch.contents.replace("patched", "changed"), ..patch.clone() };
    let failure = bench.act("web-01", Action::Patch { want: vec![other] }).await.unwrap_err();
    assert!(failure.kind == FailureKind::PatchFailed && failure.what.contains("checksum"), "{failure:?}");

    bench.act("web-01", want()).await.unwrap();
    let packages = BTreeMap::from([("shop".into(), version(demo::SECOND))]);
    let install = Action::Install { packages, prepare: Vec::new(), configure: Vec::new() };
    bench.act("web-01", install).await.unwrap();
    assert!(
        bench.see("web-01").await.patches.is_empty() && !differs(),
        "an install begins with what packages bring"
    );
}

async fn weights_are_read_back_and_a_dead_hosts_rows_are_drained(bench: &Bench<'_>) {
    let row = RowId { node: "fe-01".into(), backend: "web".into(), server: "web-01".into() };
    let weigh = |weight: u32| Action::Weigh { weights: BTreeMap::from([(row.clone(), weight)]) };
    bench.act("fe-01", weigh(7)).await.unwrap();
    assert_eq!(bench.act("fe-01", weigh(7)).await, Ok(Outcome::AlreadyDone));
    let seen = async || bench.node().await.rows[&("web".into(), "web-01".into())].clone();
    assert_eq!((seen().await.weight, seen().await.admin), (7, Admin::Ready));
    bench
        .act("web-99", Action::Retire { rows: BTreeSet::from([row.clone()]), found: BTreeSet::new() })
        .await
        .unwrap();
    assert_eq!(seen().await.admin, Admin::Drain);
}

async fn an_older_service_is_refused_for_ever_and_told_by_whom(bench: &Bench<'_>) {
    let claim = || Action::Claim { found: BTreeSet::new() };
    for host in ["web-01", "deploy-01"] {
        bench.act(host, Action::Release).await.unwrap();
        let older = Bench { generation: 2, ..Bench::new(bench.lab) };
        let refused = older.act(host, claim()).await.unwrap_err();
        let what = "generation 3 of service tester has been there: generation 2 may change nothing any more";
        assert!(refused.kind == FailureKind::Superseded && refused.what.ends_with(what), "{refused:?}");
        let state = bench.see(host).await;
        assert_eq!((state.claim, state.last_generation), (None, Some(Generation(3))));
    }
    let older = Bench { generation: 2, ..Bench::new(bench.lab) };
    let row = RowId { node: "fe-01".into(), backend: "web".into(), server: "web-01".into() };
    let weigh = Action::Weigh { weights: BTreeMap::from([(row.clone(), 1)]) };
    assert_eq!(older.kind("fe-01", weigh).await, FailureKind::Superseded);
    let retire = Action::Retire { rows: BTreeSet::from([row]), found: BTreeSet::new() };
    assert_eq!(older.kind("web-01", retire).await, FailureKind::Superseded);
    let packages = BTreeMap::from([("shop".into(), version(demo::FIRST))]);
    assert_eq!(older.kind("web-01", Action::Download { packages }).await, FailureKind::Superseded);
    let newer = Bench { generation: 4, ..Bench::new(bench.lab) };
    newer.act("web-01", claim()).await.unwrap();
    let claim = bench.see("web-01").await.claim.unwrap();
    let day = claim.at + SignedDuration::from_hours(24);
    assert!(claim.expires.is_some_and(|expires| expires > claim.at && expires <= day), "{claim:?}");
}
