//! The live world against real Debian hosts: every action, its repetition, and its failures.
//!
//! Runs itself again inside the lab's network, where the hosts are.
#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

mod live_fleet;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cli::live::LiveWorld;
use engine::{DesiredByName, World};
use jiff::SignedDuration;
use lab::{HostKind, Lab, LabSpec, demo};
use live_fleet::*;
use model::{
    Action, Activate, Admin, Argv, BackendId, Commit, Deadlines, Desired, DrainPolicy, Failure, FailureKind,
    Fleet, Generation, Health, HealthState, HostName, HostState, Limit, LoadBalancer, Mode, NodeState,
    OnTimeout, Outcome, PackageName, Probe, ReadyBecause, Role, RowId, Running, Scope, Service, Step, Track,
    Unknown, UnknownKind, Version,
};
use providers::ssh::{Ssh, SshConfig};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const INSIDE: &str = "RECONCILE_TEST_LAB";

/// Debian's version of apache2; [`OLDER`] holds the same files.
const NEWER: &str = "RECONCILE_TEST_NEWER";

const OLDER: &str = "2.4.0-0lab1";

#[test]
fn the_live_world_moves_real_hosts() {
    if let Ok(name) = std::env::var(INSIDE) {
        let lab = Lab::attach(&name).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(stories(&lab));
        return;
    }
    let name = format!("live{}", std::process::id());
    let spec =
        LabSpec::empty(&name).with_hosts("fe", 1, HostKind::LoadBalancer).with_hosts("web", 2, HostKind::Web);
    let Some(lab) = Lab::up_or_skip(&LabSpec { version: demo::FIRST.to_owned(), ..spec }).unwrap() else {
        return;
    };
    let mut inside = lab.command(std::env::current_exe().unwrap());
    inside.args(["--nocapture", "--exact", "the_live_world_moves_real_hosts"]).env(INSIDE, &name);
    inside.env(NEWER, lab.repack("apache2", OLDER).unwrap().newer);
    let ended = inside.status().unwrap();
    lab.down().unwrap();
    assert!(ended.success());
}

async fn stories(lab: &Lab) {
    let mut bench = Bench::new(lab);
    looking_changes_nothing_and_tells_what_is_there(&bench).await;
    claims_fence_off(&mut bench).await;
    rows_are_taken_out_and_put_back(&mut bench).await;
    a_version_is_downloaded_and_installed_once(&mut bench).await;
    an_installed_version_runs_once_it_is_activated(&mut bench).await;
    a_job_is_found_again_by_its_name(&mut bench).await;
    failures_have_their_kinds(&mut bench).await;
    failures_of_apt_have_their_kinds(&mut bench).await;
    a_host_left_half_way_is_repaired(&mut bench).await;
    siblings_go_forward_and_back_together(&mut bench).await;
    a_full_disk_is_told(&mut bench).await;
    services_are_activated_and_stamped(&mut bench).await;
    what_somebody_installs_meanwhile_is_not_stamped(&mut bench).await;
    claims_come_off(&mut bench).await;
    figures(&bench).await;
}

struct Bench<'a> {
    lab: &'a Lab,
    world: LiveWorld,
    steps: u32,
    generation: u64,
}

impl<'a> Bench<'a> {
    fn new(lab: &'a Lab) -> Self {
        let files = lab.ssh_files();
        let ssh = Ssh::new(SshConfig {
            user: None,
            config_file: Some(files.config.clone()),
            known_hosts: None,
            key: None,
            connect_timeout: Duration::from_secs(5),
            control_parent: std::env::temp_dir(),
        });
        let desired = DesiredByName::from([("staging".into(), desired(lab))]);
        let (_, receiver) = watch::channel(Arc::new(desired));
        Self {
            lab,
            world: LiveWorld::new(ssh.unwrap(), "tester", receiver).unwrap(),
            steps: 0,
            generation: 1,
        }
    }

    fn step(&mut self, host: &str, action: Action) -> Step {
        self.steps += 1;
        Step {
            id: format!("s-{}-{}", std::process::id(), self.steps).as_str().into(),
            environment: "staging".into(),
            host: host.into(),
            role: "web".into(),
            commit: "c0ffee".into(),
            version: version(demo::SECOND),
            generation: Generation(self.generation),
            action,
            why: "a test".to_owned(),
            deadline: SignedDuration::from_secs(60),
            stage: None,
        }
    }

    async fn act(&mut self, host: &str, action: Action) -> Result<Outcome, Failure> {
        let step = self.step(host, action);
        self.again(&step).await
    }

    async fn again(&self, step: &Step) -> Result<Outcome, Failure> {
        let begin = Instant::now();
        let result = self.world.act(step, &CancellationToken::new()).await;
        eprintln!("{:>6} ms {} {}: {result:?}", begin.elapsed().as_millis(), step.host, step.action.kind());
        result
    }

    async fn host(&self, host: &str) -> Result<HostState, Unknown> {
        let host = HostName::from(host);
        let observed = self.world.observe(&Scope::Host(host.clone())).await;
        observed.hosts[&host].value.clone()
    }

    async fn see(&self, host: &str) -> HostState {
        self.host(host).await.unwrap()
    }

    async fn node(&self) -> NodeState {
        let node = HostName::from("fe-01");
        self.world.observe(&Scope::Node(node.clone())).await.nodes[&node].value.clone().unwrap()
    }

    fn sh(&self, host: &str, script: &str) -> String {
        self.lab.host(host).unwrap().expect(script).unwrap()
    }

    async fn install(&mut self, host: &str, number: &str) -> Result<Outcome, Failure> {
        self.act(host, install(number, &[], &[])).await
    }
}

fn activate(services: Vec<Service>, number: &str) -> Action {
    Action::Activate { services, packages: shop(number), stamp: version(number) }
}

fn running(state: &HostState) -> Running {
    state.services["shop.service"].running(state.packages.get("shop").map(|package| &package.version))
}

async fn looking_changes_nothing_and_tells_what_is_there(bench: &Bench<'_>) {
    let state = bench.see("web-01").await;
    assert_eq!(state.codename, "bookworm");
    assert_eq!(state.packages["shop"].version, version(demo::FIRST));
    assert!(state.packages["shop"].installed && !state.packages["shop"].held, "{state:?}");
    assert_eq!(running(&state), Running::Version(version(demo::FIRST)), "{state:?}");
    assert_eq!(state.health, HealthState::Healthy);
    assert!(state.addresses.contains(bench.lab.host("web-01").unwrap().address().to_string().as_str()));
    assert_eq!((state.claim, state.job, state.in_doubt.len()), (None, None, 0));
    assert!(!state.machine_id.is_empty() && !state.boot_id.is_empty() && !state.dpkg_interrupted);
    bench.sh("web-01", "test ! -e /var/lib/reconcile");
    let node = bench.node().await;
    assert_eq!(node.sticky, BTreeSet::from(["web_sticky".into()]));
    assert!(node.rows[&("web".into(), "web-01".into())].in_rotation(), "{node:?}");
}

async fn claims_fence_off(bench: &mut Bench<'_>) {
    let refused = bench.act("web-01", Action::Drain { rows: rows("web-01") }).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Superseded, "nothing without a claim");
    let refused = bench.install("web-01", demo::SECOND).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Superseded, "{refused:?}");
    let claim = |found: &[&str]| Action::Claim { found: found.iter().map(|server| row(server)).collect() };
    assert!(matches!(bench.act("web-01", claim(&["web-02"])).await, Ok(Outcome::Changed(_))));
    let seen = bench.see("web-01").await.claim.unwrap();
    assert_eq!((seen.generation, seen.service.as_str()), (Generation(1), "tester"));
    bench.generation = 2;
    bench.act("web-01", claim(&["web-01"])).await.unwrap();
    let found = bench.see("web-01").await.claim.unwrap().found;
    assert_eq!(
        found,
        [row("web-02")].into(),
        "the older mark knows what it found, whatever a later one takes for found"
    );
    assert_eq!(bench.act("web-01", claim(&["web-02"])).await.unwrap(), Outcome::AlreadyDone);
    bench.act("web-01", claim(&[])).await.unwrap();
    assert!(bench.see("web-01").await.claim.unwrap().found.is_empty(), "somebody put it back meanwhile");
    bench.generation = 1;
    for action in [claim(&[]), Action::Drain { rows: rows("web-01") }, Action::Release] {
        assert_eq!(bench.act("web-01", action).await.unwrap_err().kind, FailureKind::Superseded);
    }
    bench.generation = 2;
    a_copy_of_the_journal_has_no_second_turn(bench).await;
}

async fn a_copy_of_the_journal_has_no_second_turn(bench: &mut Bench<'_>) {
    let claim = |found: &[&str]| Action::Claim { found: found.iter().map(|server| row(server)).collect() };
    bench.act("web-02", claim(&[])).await.unwrap();
    let mut twin = Bench { generation: 2, ..Bench::new(bench.lab) };
    let refused = twin.act("web-02", claim(&[])).await.unwrap_err();
    assert!(
        refused.what.contains("another process"),
        "a copy of the journal has no second turn: {refused:?}"
    );
    assert_eq!(bench.node().await.last_generation, Some(Generation(2)), "a host's claim fences its node");
}

async fn rows_are_taken_out_and_put_back(bench: &mut Bench<'_>) {
    let key = ("web".into(), "web-01".into());
    bench.act("web-01", Action::Drain { rows: rows("web-01") }).await.unwrap();
    assert_eq!(bench.act("web-01", Action::Drain { rows: rows("web-01") }).await, Ok(Outcome::AlreadyDone));
    assert_eq!(bench.node().await.rows[&key].admin, Admin::Drain);
    let before = bench.node().await.process;
    bench.sh("fe-01", "systemctl reload haproxy");
    let mut node = bench.node().await;
    while node.process == before {
        tokio::time::sleep(Duration::from_millis(20)).await;
        node = bench.node().await;
    }
    assert_eq!(node.rows[&key].admin, Admin::Ready, "a reload forgets");
    bench.act("web-01", Action::Cut { rows: rows("web-01") }).await.unwrap();
    let ready = Action::Ready { rows: rows("web-01"), because: ReadyBecause::Healthy };
    bench.act("web-01", ready).await.unwrap();
}

async fn a_version_is_downloaded_and_installed_once(bench: &mut Bench<'_>) {
    let download = || Action::Download { packages: shop(demo::SECOND) };
    assert!(matches!(bench.act("web-01", download()).await, Ok(Outcome::Changed(_))));
    assert_eq!(bench.act("web-01", download()).await, Ok(Outcome::AlreadyDone));
    assert!(bench.see("web-01").await.staged["shop"].contains(&version(demo::SECOND)));
    assert_eq!(bench.see("web-01").await.packages["shop"].version, version(demo::FIRST));

    let marked =
        install(demo::SECOND, &[words(&["touch", "/root/it's before"])], &[words(&["touch", "/root/after"])]);
    assert!(matches!(bench.act("web-01", marked.clone()).await, Ok(Outcome::Changed(_))));
    let state = bench.see("web-01").await;
    assert!(state.packages["shop"].installed && state.packages["shop"].held, "{state:?}");
    assert_eq!(running(&state), Running::Older);
    bench.sh("web-01", "test -e \"/root/it's before\" && test -e /root/after");
    bench.sh("web-01", "apt-get -s -q dist-upgrade | grep -q '^Inst shop' && exit 1; exit 0");
    assert_eq!(bench.act("web-01", marked).await, Ok(Outcome::AlreadyDone));
    assert_eq!(bench.sh("web-01", "grep -c 1.1.0-1 /var/lib/shop/installs.log").trim(), "1");
}

async fn an_installed_version_runs_once_it_is_activated(bench: &mut Bench<'_>) {
    let activate = |number: &str| activate(vec![unit(Activate::Restart)], number);
    bench.act("web-01", activate(demo::SECOND)).await.unwrap();
    let state = bench.see("web-01").await;
    assert_eq!(state.services["shop.service"].stamped, Some(version(demo::SECOND)), "{state:?}");

    bench.install("web-01", demo::FIRST).await.unwrap();
    let state = bench.see("web-01").await;
    assert_eq!(state.packages["shop"].version, version(demo::FIRST));
    assert_eq!(running(&state), Running::Version(version(demo::SECOND)), "not activated yet");
    bench.act("web-01", activate(demo::FIRST)).await.unwrap();
    assert_eq!(running(&bench.see("web-01").await), Running::Version(version(demo::FIRST)));
}

async fn a_job_is_found_again_by_its_name(bench: &mut Bench<'_>) {
    let step = bench.step("web-02", install(demo::SLOW_TO_INSTALL, &[], &[]));
    {
        // The first call is dropped in the midst of the install, as by a crash; a second service looks for it.
        let cancel = CancellationToken::new();
        let call = bench.world.act(&step, &cancel);
        assert!(tokio::time::timeout(Duration::from_millis(1500), call).await.is_err());
    }
    let other = Bench::new(bench.lab);
    assert_eq!(other.see("web-02").await.job, Some(step.id.clone()));
    assert!(matches!(other.again(&step).await, Ok(Outcome::Changed(_))));
    assert!(matches!(other.again(&step).await, Ok(Outcome::Changed(_))), "its end is kept");
    assert_eq!(bench.sh("web-02", "grep -c 1.4.0-1 /var/lib/shop/installs.log").trim(), "1");
    assert_eq!(
        bench.sh("web-02", "systemctl list-units --all --plain --no-legend 'reconcile-*' | wc -l").trim(),
        "0"
    );

    let (step, cancel) = (
        bench.step("web-02", install(demo::FIRST, &[words(&["sleep", "2"])], &[])),
        CancellationToken::new(),
    );
    let canceller = cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        canceller.cancel();
    });
    assert_eq!(bench.world.act(&step, &cancel).await.unwrap_err().kind, FailureKind::Interrupted);
    bench
        .sh("web-02", &format!("systemctl kill --kill-whom=all --signal=KILL reconcile-{}.service", step.id));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bench.see("web-02").await.in_doubt, BTreeSet::from([step.id.clone()]));
    let lost = bench.again(&step).await.unwrap_err();
    assert_eq!(lost.kind, FailureKind::InstallFailed, "{lost:?}");
    bench.install("web-02", demo::FIRST).await.unwrap();
    assert!(bench.see("web-02").await.in_doubt.is_empty(), "a later success of its kind settles it");
}

async fn failures_have_their_kinds(bench: &mut Bench<'_>) {
    let kind = |result: Result<Outcome, Failure>| result.unwrap_err().kind;
    let nowhere = Action::Download { packages: shop("9.9-9") };
    assert_eq!(kind(bench.act("web-02", nowhere).await), FailureKind::VersionNotFound);
    assert_eq!(kind(bench.install("web-02", "9.9-9").await), FailureKind::VersionNotFound);

    let failing = install(demo::SECOND, &[words(&["false", "argument"])], &[]);
    let failed = bench.act("web-02", failing).await.unwrap_err();
    assert_eq!(
        (failed.kind, failed.what.as_str()),
        (FailureKind::CommandFailed, "web-02: false argument ended with 1")
    );
    assert_eq!(bench.see("web-02").await.packages["shop"].version, version(demo::FIRST));
    let failing = install(demo::SECOND, &[], &[words(&["sh", "-c", "test -e /root/mended"])]);
    assert_eq!(kind(bench.act("web-02", failing.clone()).await), FailureKind::CommandFailed);
    let state = bench.see("web-02").await;
    assert!(!state.packages["shop"].installed, "not whole until it is configured: {state:?}");
    bench.sh("web-02", "touch /root/mended");
    bench.act("web-02", failing).await.unwrap();
    assert!(bench.see("web-02").await.packages["shop"].installed);
    assert_eq!(bench.sh("web-02", "grep -c 1.1.0-1 /var/lib/shop/installs.log").trim(), "1");
}

async fn failures_of_apt_have_their_kinds(bench: &mut Bench<'_>) {
    let kind = |result: Result<Outcome, Failure>| result.unwrap_err().kind;
    let broken = bench.install("web-02", demo::FAILS_TO_INSTALL).await.unwrap_err();
    assert_eq!(broken.kind, FailureKind::InstallFailed, "{broken:?}");
    assert!(!bench.see("web-02").await.packages["shop"].installed);
    bench.install("web-02", demo::SECOND).await.unwrap();
    assert!(bench.see("web-02").await.packages["shop"].installed, "the one before replaces it");

    let holder = "flock-holder";
    let script = "use Fcntl; open(F, '>>', '/var/lib/dpkg/lock-frontend'); \
                  my $l = pack('s s x4 q q i x4', F_WRLCK, 0, 0, 0, 0); fcntl(F, F_SETLK, $l) || die; sleep 1000;";
    bench.lab.host("web-02").unwrap().write("/root/hold.pl", script).unwrap();
    bench.sh("web-02", &format!("systemd-run --quiet --unit={holder} perl /root/hold.pl; sleep 0.5"));
    assert_eq!(kind(bench.install("web-02", demo::FIRST).await), FailureKind::PackageLocked);
    bench.sh("web-02", &format!("systemctl stop {holder}"));

    let elsewhere = bench.host("web-77").await.unwrap_err();
    assert_eq!(elsewhere.kind, UnknownKind::Unreachable, "{elsewhere:?}");
}

async fn a_host_left_half_way_is_repaired(bench: &mut Bench<'_>) {
    // Unpacked and not configured, with dpkg's journal not empty: as a power cut leaves it.
    bench.sh(
        "web-02",
        "cd /root && apt-get -q download shop=1.4.0-1 2>&1 && dpkg --unpack shop_1.4.0-1_*.deb && \
              dpkg-query -s shop > /var/lib/dpkg/updates/0001",
    );
    let state = bench.see("web-02").await;
    assert!(state.dpkg_interrupted && !state.packages["shop"].installed, "{state:?}");
    bench.act("web-02", Action::Download { packages: shop(demo::SECOND) }).await.unwrap();
    bench.install("web-02", demo::SECOND).await.unwrap();
    let state = bench.see("web-02").await;
    assert!(!state.dpkg_interrupted && state.packages["shop"].installed, "{state:?}");
}

/// A real package of Debian's archive, locked to its siblings; the older version is a repacking of the same files.
async fn siblings_go_forward_and_back_together(bench: &mut Bench<'_>) {
    let newer = std::env::var(NEWER).unwrap();
    let seen = |bench: &Bench<'_>| {
        bench.sh(
            "web-01",
            "dpkg-query -W -f '${Version} ${db:Status-Abbrev}\\n' apache2 apache2-bin apache2-data",
        )
    };
    for number in [OLDER, newer.as_str(), OLDER] {
        let packages = BTreeMap::from([("apache2".into(), version(number))]);
        bench.act("web-01", Action::Download { packages: packages.clone() }).await.unwrap();
        let before = bench.sh("web-01", "ls /etc/apt/preferences.d");
        let install = Action::Install { packages, prepare: Vec::new(), configure: Vec::new() };
        bench.act("web-01", install.clone()).await.unwrap();
        assert_eq!(seen(bench).lines().filter(|line| line.starts_with(number)).count(), 3, "{}", seen(bench));
        assert_eq!(bench.act("web-01", install).await, Ok(Outcome::AlreadyDone));
        assert!(before.contains("reconcile-shop.pref"), "{before}");
    }
}

async fn a_full_disk_is_told(bench: &mut Bench<'_>) {
    let small = |place: &str| {
        format!(
            "mount -t tmpfs -o size=64k none {place} && (cat /dev/zero > {place}/filler || true) 2>/dev/null"
        )
    };
    for place in ["/var/cache/apt/archives", "/var/lib/reconcile/jobs"] {
        bench.sh("web-01", &small(place));
        let full = bench.install("web-01", demo::SECOND).await.unwrap_err();
        assert_eq!(full.kind, FailureKind::DiskFull, "{place}: {full:?}");
        bench.sh("web-01", &format!("umount {place}"));
    }
    assert!(bench.see("web-01").await.packages["shop"].installed);
}

async fn services_are_activated_and_stamped(bench: &mut Bench<'_>) {
    let own = Service {
        name: "mine".into(),
        systemd: false,
        activate: Activate::Command(words(&["sh", "-c", "echo {host}-{version} > /root/mine"])),
        running: Some(words(&["cat", "/root/mine"])),
    };
    let activate = |services: Vec<Service>| activate(services, demo::SECOND);
    bench.act("web-02", activate(vec![own, unit(Activate::Restart)])).await.unwrap();
    assert_eq!(bench.sh("web-02", "cat /root/mine").trim(), "web-02-1.1.0-1");
    let stamp = bench.sh("web-02", "cut -d' ' -f1,3-5 /var/lib/reconcile/stamps/mine");
    assert_eq!(stamp.trim(), "1.1.0-1 - - web-02-1.1.0-1");

    let missing = Service { name: "nothing.service".into(), ..unit(Activate::Restart) };
    let failed = bench.act("web-02", activate(vec![missing])).await.unwrap_err();
    assert_eq!(failed.kind, FailureKind::ActivateFailed);
    assert_eq!(failed.what, "web-02: nothing.service could not be restarted");
    bench.sh("web-02", "systemctl restart shop");
    assert_eq!(bench.see("web-02").await.services["shop.service"].stamped, None, "another process");
}

async fn what_somebody_installs_meanwhile_is_not_stamped(bench: &mut Bench<'_>) {
    let by_hand =
        format!("apt-get -y -q --allow-downgrades --allow-change-held-packages install shop={}", demo::FIRST);
    let meddled = Service {
        name: "mine".into(),
        systemd: false,
        activate: Activate::Command(words(&["sh", "-c", &by_hand])),
        running: None,
    };
    let failed = bench.act("web-02", activate(vec![meddled], demo::SECOND)).await.unwrap_err();
    assert_eq!(failed.kind, FailureKind::ActivateFailed);
    assert_eq!(failed.what, format!("web-02: shop={} is not wholly installed", demo::SECOND));
    bench.sh("web-02", "test ! -e /var/lib/reconcile/stamps/mine");
    let restart = activate(vec![unit(Activate::Restart)], demo::SECOND);
    let failed = bench.act("web-02", restart).await.unwrap_err();
    assert_eq!(failed.what, format!("web-02: shop={} is not wholly installed", demo::SECOND));
    bench.install("web-02", demo::SECOND).await.unwrap();
}

async fn claims_come_off(bench: &mut Bench<'_>) {
    for host in ["web-01", "web-02"] {
        assert!(matches!(bench.act(host, Action::Release).await, Ok(Outcome::Changed(_))));
        assert_eq!(bench.act(host, Action::Release).await, Ok(Outcome::AlreadyDone));
        assert_eq!(bench.see(host).await.claim, None);
    }
}

async fn figures(bench: &Bench<'_>) {
    for (what, scope) in [("host", Scope::Host("web-01".into())), ("node", Scope::Node("fe-01".into()))] {
        let begin = Instant::now();
        for _ in 0..20 {
            bench.world.observe(&scope).await;
        }
        eprintln!("observe a {what}: {:.1} ms", begin.elapsed().as_secs_f64() * 50.0);
    }
}
