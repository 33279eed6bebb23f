//! Builds a world from a fleet: every host runs the same version, every server is in rotation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use model::{Fleet, HostName, LoadBalancer, Role, Version};

use crate::balancer::{Node, Server};
use crate::clock::Clock;
use crate::host::{Host, Machine};
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
    pub(crate) fn new(fleet: &Fleet, version: &Version, settings: Settings) -> Self {
        let Settings { seed, pace, epoch, traced } = settings;
        let mut state = Self {
            clock: Clock::starting(epoch),
            seed,
            pace,
            fleet: Arc::new(fleet.clone()),
            now_ms: 0,
            hosts: BTreeMap::new(),
            nodes: BTreeMap::new(),
            releases: BTreeMap::new(),
            queue: Queue::default(),
            traced,
            trace: Vec::new(),
            violations: Vec::new(),
            changes: 0,
            lost_sessions: 0,
        };
        state.build(version);
        state
    }

    fn build(&mut self, version: &Version) {
        let fleet = Arc::clone(&self.fleet);
        for role in &fleet.roles {
            let shared = Arc::new(role.clone());
            for name in &role.hosts {
                let address = address(self.hosts.len());
                let installed = role.package_version(version, "bookworm");
                let host = Host::running(self.seed, name, &shared, &installed, address);
                self.hosts.insert(name.clone(), host);
            }
        }
        for lb in &fleet.load_balancers {
            for name in &lb.nodes {
                let node = self.node(lb, name);
                self.nodes.insert(name.clone(), node);
            }
        }
    }

    fn node(&mut self, lb: &LoadBalancer, name: &HostName) -> Node {
        let mut rows = BTreeMap::new();
        let fleet = Arc::clone(&self.fleet);
        for role in &fleet.roles {
            for backend in role.backends.iter().filter(|id| id.load_balancer == lb.name) {
                for host in &role.hosts {
                    let key = (backend.backend.clone(), lb.server(host));
                    rows.extend(self.server(role, host).map(|server| (key, server)));
                }
            }
        }
        Node {
            machine: Machine::new(self.seed, name),
            load_balancer: lb.name.clone(),
            worker: 1,
            rows,
            sticky: BTreeSet::new(),
            old_ends_ms: BTreeMap::new(),
        }
    }

    fn server(&mut self, role: &Role, name: &HostName) -> Option<Server> {
        let sessions = self.pace.sessions;
        let host = self.hosts.get_mut(name)?;
        let steady = host.machine.chance.ms(sessions);
        Some(Server::in_rotation(name, role.track, host.address.clone(), steady))
    }
}

fn address(index: usize) -> String {
    format!("10.0.{}.{}", index / 250, index % 250 + 1)
}
