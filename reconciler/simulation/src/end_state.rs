//! What a world has come to: the part of its state that must not depend on how often the service died on the way.

use std::collections::{BTreeMap, BTreeSet};

use model::{Admin, EnvironmentName, HostName, JobName, PackageName, RowId, ServiceName, Version};

use crate::balancer::Node;
use crate::database::MigrationRow;
use crate::host::{Host, Phase, Process};
use crate::world::SimWorld;

/// What a rollout leaves behind, without times, process numbers and generations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndState {
    /// Every host, also those of no role.
    pub hosts: BTreeMap<HostName, EndOfHost>,
    /// Each row's administrative state and weight.
    pub rows: BTreeMap<RowId, (Admin, u32)>,
    /// Each database's own count of migrations, in order.
    pub migrations: BTreeMap<EnvironmentName, Vec<MigrationRow>>,
    /// How often each migration and check was really begun.
    pub begun: BTreeMap<JobName, u32>,
}

/// What a rollout leaves behind on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndOfHost {
    /// Each package's version, and whether it is wholly installed.
    pub packages: BTreeMap<PackageName, (Version, bool)>,
    /// The version that each service's process loaded; none: it is not there.
    pub runs: BTreeMap<ServiceName, Option<Version>>,
    /// Checksums of the patches in its files.
    pub patches: BTreeSet<String>,
    /// Whose claim it carries.
    pub claimed_by: Option<String>,
    /// Whether its configuration agent is active, and whether it carries our mark.
    pub agent: Option<(bool, bool)>,
}

impl SimWorld {
    /// What the world has come to by now.
    pub fn end_state(&self) -> EndState {
        let state = self.state();
        EndState {
            hosts: state.hosts.iter().map(|(name, host)| (name.clone(), end_of(host))).collect(),
            rows: state.nodes.iter().flat_map(|(name, node)| rows_of(name, node)).collect(),
            migrations: state
                .databases
                .iter()
                .map(|(name, database)| (name.clone(), database.rows.clone()))
                .collect(),
            begun: state.named.begun.clone(),
        }
    }
}

fn end_of(host: &Host) -> EndOfHost {
    let whole = |phase: Phase| phase == Phase::Installed && !host.interrupted;
    let version = |process: &Process| process.live().map(|live| live.version.clone());
    let packages = host.packages.iter();
    EndOfHost {
        packages: packages
            .map(|(name, package)| (name.clone(), (package.version.clone(), whole(package.phase))))
            .collect(),
        runs: host.services.iter().map(|(name, process)| (name.clone(), version(process))).collect(),
        patches: host.patches.clone(),
        claimed_by: host.claim.as_ref().map(|claim| claim.service.clone()),
        agent: host.agent.as_ref().map(|agent| (agent.active, agent.paused_by_us)),
    }
}

fn rows_of(name: &HostName, node: &Node) -> Vec<(RowId, (Admin, u32))> {
    let rows = node.rows.iter();
    rows.map(|((backend, server), row)| {
        let id = RowId { node: name.clone(), backend: backend.clone(), server: server.clone() };
        (id, (row.admin, row.weight))
    })
    .collect()
}
