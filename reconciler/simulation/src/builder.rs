//! Builds a world from a fleet: every host runs the same version, every server is in rotation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use model::{
    BackendId, CheckRun, EnvironmentName, Fleet, HostName, LoadBalancer, Role, SmolStr, Track, Version,
};
use smol_str::format_smolstr;

use crate::agent::Agent;
use crate::balancer::{Node, RowKey, Server};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::host::{Host, Machine};
use crate::named::Named;
use crate::pace::Pace;
use crate::state::{Queue, State};

/// How a world begins.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Decides everything that is left to luck.
    pub seed: u64,
    /// How long things take.
    pub pace: Pace,
    /// What the calendar says at the start.
    pub epoch: Timestamp,
    /// Whether a trace for people is kept.
    pub traced: bool,
}

impl Settings {
    /// Realistic times from a fixed day on, with a trace.
    pub fn seeded(seed: u64) -> Self {
        // 2026-01-01T00:00:00Z
        let epoch = Timestamp::constant(1_767_225_600, 0);
        Self { seed, pace: Pace::realistic(), epoch, traced: true }
    }
}

impl State {
    /// A world without anything in it.
    pub(crate) fn new(settings: Settings) -> Self {
        let Settings { seed, pace, epoch, traced } = settings;
        Self {
            works_ms: Some(0),
            leaves_alone: BTreeMap::new(),
            clock: Clock::starting(epoch),
            seed,
            pace,
            chance: Chance::stream(seed, "the rest of the world"),
            fleets: BTreeMap::new(),
            migrated: BTreeMap::new(),
            ran: BTreeMap::new(),
            law: None,
            now_ms: 0,
            hosts: BTreeMap::new(),
            nodes: BTreeMap::new(),
            releases: BTreeMap::new(),
            offered: BTreeSet::new(),
            databases: BTreeMap::new(),
            named: Named::default(),
            decided_ms: BTreeMap::new(),
            gauges: BTreeMap::new(),
            misfits: BTreeSet::new(),
            pinned: BTreeMap::new(),
            canary_weights: BTreeMap::new(),
            stages: BTreeMap::new(),
            queue: Queue::default(),
            traced,
            trace: Vec::new(),
            violations: Vec::new(),
            changes: 0,
            processes: 0,
            lost_sessions: 0,
            mishaps: crate::proof::Mishaps::default(),
            tally: crate::tally::Tally::default(),
        }
    }

    /// Adds an environment, every host of which runs its track's version.
    pub(crate) fn build(
        &mut self,
        environment: &EnvironmentName,
        fleet: &Fleet,
        version: impl Fn(Track) -> Version,
    ) {
        self.fleets.insert(environment.clone(), Arc::new(fleet.clone()));
        let first = self.migrated.entry(environment.clone()).or_default();
        first.extend(fleet.roles.iter().map(|role| version(role.track)));
        first.insert(version(Track::Main));
        self.offered.extend(first.iter().cloned());
        let others = roles_of_others(fleet);
        for role in fleet.roles.iter().chain(&others) {
            let shared = Arc::new(role.clone());
            for name in &role.hosts {
                self.add_host(environment, name, &shared, &version(role.track), fleet);
            }
        }
        for lb in &fleet.load_balancers {
            for name in &lb.nodes {
                let mut rows = self.rows(fleet, lb);
                match self.nodes.get_mut(name) {
                    Some(node) => node.rows.append(&mut rows),
                    None => drop(self.nodes.insert(name.clone(), node(self.seed, lb, name, rows))),
                }
            }
        }
    }

    fn add_host(
        &mut self,
        environment: &EnvironmentName,
        name: &HostName,
        role: &Arc<Role>,
        version: &Version,
        fleet: &Fleet,
    ) {
        if self.hosts.contains_key(name) {
            return;
        }
        let address = address(self.hosts.len());
        let installed = role.package_version(version, "bookworm");
        let mut host = Host::running(self.seed, name, environment, role, &installed, address);
        let has_agent = host.has_role() && fleet.policy.config_agent.is_some();
        host.agent = has_agent.then(|| Agent::active(self.seed, name));
        self.hosts.insert(name.clone(), host);
        self.keeps_what_runs(name);
        if has_agent {
            self.agent_will_run(name);
        }
    }

    fn rows(&mut self, fleet: &Fleet, lb: &LoadBalancer) -> BTreeMap<RowKey, Server> {
        let mut rows = BTreeMap::new();
        for role in &fleet.roles {
            for backend in role.backends.iter().filter(|id| id.load_balancer == lb.name) {
                let weight = configured_weight(fleet, role, backend);
                for host in &role.hosts {
                    let key = (backend.backend.clone(), lb.server(host));
                    rows.extend(self.server(role, host, weight).map(|server| (key, server)));
                }
            }
        }
        rows
    }

    fn server(&mut self, role: &Role, name: &HostName, weight: u32) -> Option<Server> {
        let sessions = self.pace.sessions;
        let host = self.hosts.get_mut(name)?;
        let steady = host.machine.chance.ms(sessions);
        Some(Server::configured(name, role.track, host.address.clone(), weight, steady))
    }
}

/// As haproxy.cfg has to have it: canaries begin without a share of what main servers serve too.
fn configured_weight(fleet: &Fleet, role: &Role, backend: &BackendId) -> u32 {
    let is_main = |other: &&Role| other.track == Track::Main && other.backends.contains(backend);
    let shared = role.track == Track::Canary && fleet.roles.iter().any(|other| is_main(&other));
    if shared { 0 } else { 100 }
}

fn node(seed: u64, lb: &LoadBalancer, name: &HostName, rows: BTreeMap<RowKey, Server>) -> Node {
    Node {
        machine: Machine::new(seed, name),
        load_balancer: lb.name.clone(),
        worker: 1,
        process: Node::process(name, 1),
        fences: BTreeMap::new(),
        rows,
        lost: BTreeMap::new(),
        sticky: BTreeSet::new(),
        old_ends_ms: BTreeMap::new(),
        looked_ms: 0,
    }
}

/// Hosts of no role: where migrations run, and checks.
fn roles_of_others(fleet: &Fleet) -> Vec<Role> {
    let migrations = fleet.policy.migrations.iter().map(|migrations| {
        let (packages, version) = (&migrations.packages, &migrations.package_version);
        Role::of_host("[migrations]".into(), &migrations.host, packages, version)
    });
    let checks = fleet.policy.checks.values().filter_map(|check| match &check.how {
        CheckRun::Command { host, .. } => Some(Role::of_host("[checks]".into(), host, &[], "{version}")),
        CheckRun::Http { .. } | CheckRun::GitlabPipeline { .. } => None,
    });
    migrations.chain(checks).collect()
}

fn address(index: usize) -> SmolStr {
    format_smolstr!("10.0.{}.{}", index / 250, index % 250 + 1)
}
