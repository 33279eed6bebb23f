//! The fleet of a seed: how many hosts, and by which rules releases move there. A plain value, so that it can shrink.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use model::{
    Activate, Argv, BackendId, CanaryTarget, Check, CheckRun, Commit, ConfigAgent, Deadlines, Desired,
    DrainPolicy, EnvironmentName, Exceptions, Fleet, Follow, Gate, GateQuestion, Health, HostName, Limit,
    LoadBalancer, MigrationJob, Migrations, Mode, OnRed, OnTimeout, Policy, Probe, Promotion, RampStep,
    Requirement, Role, RoleName, Run, Service, Stage, Threshold, Track, Version,
};
use smol_str::format_smolstr;

use crate::chance::Chance;

/// The environment that every shape has.
pub const PRODUCTION: &str = "production";

/// The environment that releases pass first, where there is one.
pub const STAGING: &str = "staging";

/// Where a release's check runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckPlace {
    /// On the host of jobs.
    Host,
    /// Behind an address.
    Http,
}

/// What a fleet is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Web hosts of the main track, at least 2.
    pub web: u8,
    /// Storage hosts, which serve behind no load balancer.
    pub storage: u8,
    /// Web hosts of the canary track.
    pub canary: u8,
    /// Load balancer nodes, at least 1.
    pub nodes: u8,
    /// Of each backend's servers and each role's hosts.
    pub limit: Limit,
    /// What happens when sessions outlast a drain.
    pub on_timeout: OnTimeout,
    /// Whether clients are bound to servers by cookie.
    pub sticky: bool,
    /// Whether web services take up versions by a reload.
    pub reload: bool,
    /// Whether web hosts have a probe of their own.
    pub probe: bool,
    /// Whether there are stages with a soak, or one stage for each track.
    pub staged: bool,
    /// Whether there is a database.
    pub migrations: bool,
    /// Whether hosts have a configuration agent.
    pub agent: bool,
    /// Whether stages have a gate.
    pub gate: bool,
    /// What a red gate does to the canary.
    pub on_red: OnRed,
    /// Whether stages have a check, and where.
    pub check: Option<CheckPlace>,
    /// Whether main takes only what the canary has passed.
    pub main_requires_canary: bool,
    /// Whether the service itself moves the canary to the newest nightly.
    pub follow: bool,
    /// Whether a small staging environment comes first.
    pub staging: bool,
    /// Whether a gate has to be green for a while.
    pub quiet: bool,
    /// Whether the canary's share grows by steps.
    pub ramp: bool,
    /// How many hosts may be worked on at a time.
    pub parallel: u8,
    /// Whether steps are overdue after seconds, and not after a quarter of an hour.
    pub hasty: bool,
}

impl Shape {
    /// Draws a shape.
    /// `more` decides what came later, so that everything else stays as it was.
    pub(crate) fn drawn(chance: &mut Chance, more: &mut Chance) -> Self {
        let canary = number(chance, &[0, 1, 1, 2]);
        let staged = chance.one_in(2);
        Self {
            web: number(chance, &[3, 4, 5, 6, 6, 7]),
            storage: number(chance, &[0, 1, 1, 2]),
            canary,
            nodes: number(chance, &[2, 2, 2, 3]),
            limit: *chance.pick(&[Limit::Count(1), Limit::Count(2), Limit::Percent(25), Limit::Percent(50)]),
            on_timeout: *chance.pick(&[OnTimeout::Wait, OnTimeout::Cut, OnTimeout::Proceed]),
            sticky: chance.one_in(5),
            reload: chance.one_in(5),
            probe: !chance.one_in(4),
            staged,
            migrations: staged && chance.one_in(2),
            agent: chance.one_in(4),
            gate: staged && chance.one_in(2),
            on_red: if canary > 0 && chance.one_in(2) { OnRed::CanaryToZero } else { OnRed::Hold },
            check: (staged && chance.one_in(2)).then(|| *chance.pick(&[CheckPlace::Host, CheckPlace::Http])),
            main_requires_canary: staged && canary > 0 && chance.one_in(3),
            follow: staged && canary > 0 && chance.one_in(6),
            staging: chance.one_in(10),
            quiet: more.one_in(4),
            ramp: more.one_in(4),
            parallel: *more.pick(&[1, 2, 10, 10, 10, 10, 10, 10]),
            hasty: more.one_in(8),
        }
    }

    /// Every managed host, and the host of jobs, of production.
    pub fn hosts(&self) -> Vec<HostName> {
        let named = |name: &str, count: u8| {
            (1..=count).map(|n| HostName::new(format_smolstr!("{name}-{n}"))).collect()
        };
        let jobs: Vec<HostName> = if self.has_job_host() { vec![job_host()] } else { Vec::new() };
        let roles: [Vec<HostName>; 3] =
            [named("cny", self.canary), named("storage", self.storage), named("web", self.web)];
        roles.into_iter().flatten().chain(jobs).collect()
    }

    /// Every load balancer node of production.
    pub fn nodes(&self) -> Vec<HostName> {
        (1..=self.nodes).map(|n| HostName::new(format_smolstr!("lb-{n}"))).collect()
    }

    /// Hosts and nodes of production.
    pub fn machines(&self) -> Vec<HostName> {
        self.hosts().into_iter().chain(self.nodes()).collect()
    }

    fn has_job_host(&self) -> bool {
        self.migrations || self.check == Some(CheckPlace::Host)
    }

    /// Every environment, with `version` on all tracks and no canary of its own.
    pub fn environments(&self, version: &Version) -> Vec<Desired> {
        let production = desired(PRODUCTION, version, self.fleet());
        let staging = self.staging.then(|| desired(STAGING, version, staging_fleet()));
        staging.into_iter().chain([production]).collect()
    }

    fn fleet(&self) -> Fleet {
        let hosts = self.hosts();
        let named = |prefix: &str| -> Vec<HostName> {
            hosts.iter().filter(|host| host.as_str().starts_with(prefix)).cloned().collect()
        };
        let roles = [
            self.role("web-canary", Track::Canary, named("cny"), true),
            self.role("storage", Track::Main, named("storage"), false),
            self.role("web", Track::Main, named("web"), true),
        ];
        Fleet {
            mode: Mode::Reconcile,
            roles: roles.into_iter().filter(|role| !role.hosts.is_empty()).collect(),
            load_balancers: vec![self.load_balancer()],
            backend_limit: self.limit,
            max_parallel: self.parallel.into(),
            deadlines: self.deadlines(),
            policy: self.policy(),
        }
    }

    fn deadlines(&self) -> Deadlines {
        let usual = deadlines();
        if self.hasty { Deadlines { step: SignedDuration::from_secs(2), ..usual } } else { usual }
    }

    /// A canary at a version with a share; none: the fleet has no canary hosts.
    pub(crate) fn canary_of(&self, desired: &Desired, version: &Version, weight: u8) -> Option<CanaryTarget> {
        let tracks: BTreeSet<Track> = desired.fleet.roles.iter().map(|role| role.track).collect();
        let first = RampStep { weight: 1, soak: SignedDuration::from_secs(2) };
        let ramp = if self.ramp && weight > 1 { vec![first] } else { Vec::new() };
        let version = version.clone();
        tracks.contains(&Track::Canary).then_some(CanaryTarget { version, weight, ramp })
    }

    fn role(&self, name: &str, track: Track, hosts: Vec<HostName>, serves: bool) -> Role {
        let activate = if serves && self.reload { Activate::Reload } else { Activate::Restart };
        let max_unavailable = self.limit.of(hosts.len());
        let backends = if serves { vec![web()] } else { Vec::new() };
        let health = (serves && self.probe).then(health);
        Role { health, backends, max_unavailable, ..role(name, track, hosts, activate) }
    }

    fn load_balancer(&self) -> LoadBalancer {
        let policy = DrainPolicy { timeout: SignedDuration::from_secs(5), on_timeout: self.on_timeout };
        LoadBalancer {
            name: "fe".into(),
            nodes: self.nodes(),
            socket: "/run/haproxy/admin.sock".into(),
            server: "{host}".into(),
            backends: BTreeMap::from([("web".into(), policy)]),
        }
    }

    fn policy(&self) -> Policy {
        let mut policy = Policy::default();
        if self.staged {
            policy.stages = self.stages();
        }
        if self.gate {
            let quiet_for = SignedDuration::from_secs(if self.quiet { 3 } else { 0 });
            policy.gates.insert("errors".into(), Gate { quiet_for, ..gate() });
        }
        if let Some(place) = self.check {
            policy.checks.insert("qa".into(), check(place));
        }
        policy.migrations = self.migrations.then(migrations);
        policy.config_agent = self.agent.then(agent);
        policy.promotion = Promotion {
            canary_requires: (self.staging && self.canary > 0)
                .then(|| Requirement::Environment(EnvironmentName::new(STAGING))),
            main_requires: self.main_requires_canary.then_some(Requirement::Canary),
        };
        if self.follow {
            let nightlies =
                Follow { track: Track::Canary, newest: "9[0-9]{3}".to_owned(), when_passed: false };
            policy.follows.push(nightlies);
        }
        policy
    }

    fn stages(&self) -> Vec<Stage> {
        let deploy = |roles: &[&str]| Run::Deploy {
            roles: roles.iter().map(|role| RoleName::new(*role)).collect(),
            in_order: false,
        };
        let first = if self.canary > 0 { Track::Canary } else { Track::Main };
        let mut stages = Vec::new();
        if self.migrations {
            stages.push(self.stage("migrations", first, Run::Migrate));
        }
        if self.canary > 0 {
            stages.push(self.stage("canary fleet", Track::Canary, deploy(&["web-canary"])));
        }
        if self.storage > 0 {
            stages.push(self.stage("storage", Track::Main, deploy(&["storage"])));
        }
        stages.push(self.stage("fleet", Track::Main, deploy(&["web"])));
        if self.migrations {
            stages.push(self.stage("post-deployment migrations", Track::Main, Run::PostMigrate));
        }
        stages
    }

    fn stage(&self, name: &str, track: Track, run: Run) -> Stage {
        Stage {
            name: name.into(),
            track,
            run,
            gates: if self.gate { vec!["errors".into()] } else { Vec::new() },
            checks: if self.check.is_some() { vec!["qa".into()] } else { Vec::new() },
            soak: SignedDuration::from_secs(2),
            on_red: self.on_red,
        }
    }
}

fn number(chance: &mut Chance, from: &[u8]) -> u8 {
    *chance.pick(from)
}

/// Whether a load balancer node is the first of them.
pub(crate) fn is_first_node(name: &HostName) -> bool {
    name.as_str() == "lb-1"
}

/// Whether a host or server is of the canary track.
pub(crate) fn is_canary(name: &str) -> bool {
    name.starts_with("cny")
}

/// Where migrations and checks run.
pub(crate) fn job_host() -> HostName {
    HostName::new("deploy-1")
}

/// The backend that web hosts serve in.
pub(crate) fn web() -> BackendId {
    BackendId { load_balancer: "fe".into(), backend: "web".into() }
}

fn deadlines() -> Deadlines {
    Deadlines { step: SignedDuration::from_mins(15), rollout: SignedDuration::from_hours(4) }
}

fn health() -> Health {
    Health { probe: Probe::Http("http://{host}:8080/ready".to_owned()), within: SignedDuration::from_secs(8) }
}

fn role(name: &str, track: Track, hosts: Vec<HostName>, activate: Activate) -> Role {
    let service = Service { name: "app".into(), systemd: true, activate, running: None };
    Role {
        name: name.into(),
        track,
        max_unavailable: 1,
        hosts,
        packages: vec!["app".into()],
        package_version: "{version}".to_owned(),
        backends: Vec::new(),
        allow_outage: false,
        prepare: Vec::new(),
        configure: Vec::new(),
        services: vec![service],
        health: None,
    }
}

fn words(words: &[&str]) -> Argv {
    Argv(words.iter().map(|word| (*word).to_owned()).collect())
}

fn gate() -> Gate {
    Gate {
        asks: GateQuestion::Prometheus {
            url: "http://prometheus.example".to_owned(),
            query: "errors".to_owned(),
            threshold: Threshold::Below(0.01),
        },
        quiet_for: SignedDuration::ZERO,
        settle: SignedDuration::ZERO,
        no_data_is_green: false,
        observe: false,
    }
}

fn check(place: CheckPlace) -> Check {
    let how = match place {
        CheckPlace::Host => CheckRun::Command { host: job_host(), command: words(&["qa"]) },
        CheckPlace::Http => CheckRun::Http { url: "http://qa.example/jobs".to_owned() },
    };
    Check { how, timeout: SignedDuration::from_mins(1) }
}

fn migrations() -> Migrations {
    let job = MigrationJob {
        command: words(&["migrate"]),
        env: BTreeMap::new(),
        timeout: SignedDuration::from_mins(10),
    };
    Migrations {
        host: job_host(),
        packages: vec!["app".into()],
        package_version: "{version}".to_owned(),
        ready: None,
        pre: Some(job.clone()),
        post: Some(job),
    }
}

fn agent() -> ConfigAgent {
    let word = |word: &str| words(&["systemctl", word, "agent.timer"]);
    ConfigAgent {
        pause: word("stop"),
        resume: word("start"),
        active: word("is-active"),
        busy: None,
        pin: Some(words(&["pin", "{track}", "{version}"])),
    }
}

/// One host, behind nothing.
fn staging_fleet() -> Fleet {
    Fleet {
        mode: Mode::Reconcile,
        roles: vec![role("all", Track::Main, vec![HostName::new("staging-1")], Activate::Restart)],
        load_balancers: Vec::new(),
        backend_limit: Limit::Count(1),
        max_parallel: 10,
        deadlines: deadlines(),
        policy: Policy::default(),
    }
}

fn desired(environment: &str, version: &Version, fleet: Fleet) -> Desired {
    let commit =
        Commit { id: "0".into(), author: String::new(), subject: String::new(), at: Timestamp::UNIX_EPOCH };
    Desired {
        environment: EnvironmentName::new(environment),
        commit,
        target: version.clone(),
        direction: None,
        canary: None,
        exceptions: Exceptions::default(),
        departed: Vec::new(),
        ranks: Vec::new(),
        fleet,
    }
}
