//! A small fleet, and steps on it: one storage host without a backend, four web hosts behind two load balancer nodes.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::{BTreeMap, BTreeSet};

use engine::World;
use jiff::{SignedDuration, Timestamp};
use model::*;
use simulation::SimWorld;
use tokio_util::sync::CancellationToken;

pub(crate) fn version(text: &str) -> Version {
    Version::parse(text).expect("tests write valid versions")
}

pub(crate) fn host(name: &str) -> HostName {
    HostName::from(name)
}

pub(crate) fn web() -> BackendId {
    BackendId { load_balancer: "fe".into(), backend: "web".into() }
}

fn role(name: &str, hosts: &[&str], backends: Vec<BackendId>) -> Role {
    let service = Service { name: "app".into(), systemd: true, activate: Activate::Restart, running: None };
    let health = Health {
        probe: Probe::Http("http://{host}:8080/ready".into()),
        within: SignedDuration::from_secs(30),
    };
    Role {
        name: name.into(),
        track: Track::Main,
        hosts: hosts.iter().map(|name| host(name)).collect(),
        packages: vec!["app".into()],
        package_version: "{version}".into(),
        health: (!backends.is_empty()).then_some(health),
        backends,
        max_unavailable: 1,
        allow_outage: false,
        prepare: Vec::new(),
        configure: vec![Argv(vec!["app-configure".into()])],
        services: vec![service],
    }
}

pub(crate) fn fleet() -> Fleet {
    let policy = DrainPolicy { timeout: SignedDuration::from_secs(30), on_timeout: OnTimeout::Wait };
    let balancer = LoadBalancer {
        name: "fe".into(),
        nodes: vec![host("lb-1"), host("lb-2")],
        socket: "/run/haproxy/admin.sock".into(),
        server: "{host}".into(),
        backends: BTreeMap::from([("web".into(), policy)]),
    };
    Fleet {
        mode: Mode::Reconcile,
        roles: vec![
            role("storage", &["storage-1"], Vec::new()),
            role("web", &["web-1", "web-2", "web-3", "web-4"], vec![web()]),
        ],
        load_balancers: vec![balancer],
        backend_limit: Limit::Percent(25),
        max_parallel: 10,
        deadlines: Deadlines { step: SignedDuration::from_mins(15), rollout: SignedDuration::from_hours(4) },
        policy: model::Policy::default(),
    }
}

pub(crate) fn desired(target: &str) -> Desired {
    let commit =
        Commit { id: "0".into(), author: String::new(), subject: String::new(), at: Timestamp::UNIX_EPOCH };
    Desired {
        environment: "production".into(),
        commit,
        target: version(target),
        direction: None,
        canary: None,
        exceptions: model::Exceptions::default(),
        departed: Vec::new(),
        ranks: Vec::new(),
        fleet: fleet(),
    }
}

pub(crate) fn rows(name: &str) -> BTreeSet<RowId> {
    ["lb-1", "lb-2"].map(|node| row(node, name)).into()
}

pub(crate) fn row(node: &str, server: &str) -> RowId {
    RowId { node: host(node), backend: "web".into(), server: server.into() }
}

/// A step with a name of its own, of generation 1.
pub(crate) fn step(id: &str, name: &str, action: Action) -> Step {
    Step {
        id: id.into(),
        environment: "production".into(),
        host: host(name),
        role: "web".into(),
        commit: "c0ffee".into(),
        version: version("2"),
        generation: Generation(1),
        action,
        why: String::new(),
        deadline: SignedDuration::from_mins(15),
        stage: None,
    }
}

pub(crate) fn install(to: &str) -> Action {
    let packages = BTreeMap::from([("app".into(), version(to))]);
    Action::Install { packages, prepare: Vec::new(), configure: Vec::new() }
}

pub(crate) fn activate(to: &str) -> Action {
    let packages = BTreeMap::from([("app".into(), version(to))]);
    Action::Activate { services: fleet().roles[1].services.clone(), packages, stamp: version(to) }
}

pub(crate) fn drain(name: &str) -> Action {
    Action::Drain { rows: rows(name) }
}

pub(crate) fn ready(name: &str) -> Action {
    Action::Ready { rows: rows(name), because: ReadyBecause::Healthy }
}

pub(crate) fn claim() -> Action {
    Action::Claim { found: BTreeSet::new() }
}

pub(crate) fn agent() -> ConfigAgent {
    let word = |word: &str| Argv(vec!["systemctl".into(), word.into(), "agent.timer".into()]);
    ConfigAgent {
        pause: word("stop"),
        resume: word("start"),
        active: word("is-active"),
        busy: None,
        pin: None,
    }
}

/// The fleet with two canaries, migrations on `deploy-1`, agents, and a gate over its canary stage.
pub(crate) fn canary_fleet() -> Fleet {
    let mut fleet = fleet();
    let canary = Role { track: Track::Canary, ..role("web-canary", &["cny-1", "cny-2"], vec![web()]) };
    fleet.roles.insert(0, canary);
    let job = MigrationJob {
        command: Argv(vec!["migrate".into()]),
        env: BTreeMap::new(),
        timeout: SignedDuration::from_hours(2),
    };
    fleet.policy.migrations = Some(Migrations {
        host: host("deploy-1"),
        packages: vec!["app".into()],
        package_version: "{version}".into(),
        ready: None,
        pre: Some(job.clone()),
        post: Some(job),
    });
    fleet.policy.config_agent = Some(agent());
    let asks = GateQuestion::Prometheus {
        url: "http://prometheus.example".into(),
        query: "errors".into(),
        threshold: Threshold::Below(0.01),
    };
    let (quiet_for, settle) = (SignedDuration::ZERO, SignedDuration::ZERO);
    let gate = Gate { asks, quiet_for, settle, no_data_is_green: false, observe: false };
    fleet.policy.gates.insert("errors".into(), gate);
    fleet.policy.stages = vec![Stage {
        name: "canary fleet".into(),
        track: Track::Canary,
        run: Run::Deploy { roles: vec!["web-canary".into()], in_order: false },
        gates: vec!["errors".into()],
        checks: Vec::new(),
        soak: SignedDuration::ZERO,
        on_red: OnRed::Hold,
    }];
    fleet
}

pub(crate) fn canary_desired(main: &str, canary: &str, weight: u8) -> Desired {
    let canary = CanaryTarget { version: version(canary), weight, ramp: Vec::new() };
    Desired { canary: Some(canary), fleet: canary_fleet(), ..desired(main) }
}

/// A whole release to 2: migrations before and after it, the canary first with its share, a check and a soak after each
/// stage, a patch on top.
pub(crate) fn whole_release() -> Desired {
    let mut desired = canary_desired("2", "2", 20);
    let stage = |name: &str, track, run| Stage {
        name: name.into(),
        track,
        run,
        gates: vec!["errors".into()],
        checks: vec!["qa".into()],
        soak: SignedDuration::from_secs(5),
        on_red: OnRed::CanaryToZero,
    };
    let deploy = |roles: &[&str]| Run::Deploy {
        roles: roles.iter().map(|role| RoleName::from(*role)).collect(),
        in_order: false,
    };
    let policy = &mut desired.fleet.policy;
    policy.stages = vec![
        stage("migrations", Track::Canary, Run::Migrate),
        stage("canary fleet", Track::Canary, deploy(&["web-canary"])),
        stage("storage", Track::Main, deploy(&["storage"])),
        stage("fleet", Track::Main, deploy(&["web"])),
        stage("post-deployment migrations", Track::Main, Run::PostMigrate),
    ];
    let how = CheckRun::Command { host: host("deploy-1"), command: Argv(vec!["qa".into()]) };
    policy.checks.insert("qa".into(), Check { how, timeout: SignedDuration::from_mins(10) });
    desired.exceptions.patches.push(Patch {
        version: version("2"),
        file: "patches/fix".into(),
        sha256: "fix".into(),
        contents: String::new(),
        root: "/opt/app".into(),
        roles: vec!["web".into()],
        reason: "a hole".into(),
        incorporated_in: Vec::new(),
    });
    desired
}

/// Does a step. A host that nobody has claimed carries our mark before it is worked on, as the service sees to.
pub(crate) async fn act_marked(world: &SimWorld, step: &Step) -> Result<Outcome, Failure> {
    let bare = !matches!(step.action, Action::Claim { .. } | Action::Release | Action::Download { .. });
    if bare && step.generation == Generation(1) && world.is_free(&step.host) {
        world.other_service_claims(&step.host, "reconcile", true);
    }
    world.act(step, &CancellationToken::new()).await
}
