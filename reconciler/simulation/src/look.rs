//! What a look at the world shows: the same facts as a look at real hosts and real HAProxy.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use model::{
    Failure, FailureKind, HealthState, HostName, HostState, NodeState, PackageState, ServiceState, Unknown,
    UnknownKind,
};

use crate::balancer::Server;
use crate::fence::Owner;
use crate::host::{Host, Live, Phase, Process, Run};
use crate::state::State;

/// How long a unit must have kept its pid where a role names no probe.
const STEADY_MS: u64 = 10_000;

impl State {
    pub(crate) fn host_state(&self, name: &HostName, reader: &Owner) -> Result<HostState, Unknown> {
        let Some(host) = self.hosts.get(name) else { return Err(nowhere(name)) };
        Ok(HostState {
            machine_id: host.machine_id.clone(),
            boot_id: host.boot_id(),
            codename: "bookworm".into(),
            addresses: BTreeSet::from([host.address.clone()]),
            packages: host
                .packages
                .iter()
                .map(|(name, package)| (name.clone(), dpkg_tells(package)))
                .collect(),
            dpkg_interrupted: host.interrupted,
            staged: host.staged.clone(),
            services: host
                .services
                .keys()
                .map(|name| (name.clone(), self.service_state(host, name)))
                .collect(),
            health: self.health(host),
            claim: host.claim.clone(),
            job: host
                .jobs
                .iter()
                .find(|(_, job)| job.is_running() && !job.is_once())
                .map(|(id, _)| id.clone()),
            in_doubt: host
                .jobs
                .iter()
                .filter(|(_, job)| job.is_lost() && !job.is_once())
                .map(|(id, _)| id.clone())
                .collect(),
            patches: host.patches.clone(),
            agent: host.agent.as_ref().map(|agent| agent.state(self.now_ms)),
            last_generation: reader.remembered(&host.fences),
            jobs: self.once_jobs(name),
        })
    }

    pub(crate) fn node_state(&mut self, name: &HostName, reader: &Owner) -> Result<NodeState, Unknown> {
        let now_ms = self.now_ms;
        let Some(node) = self.nodes.get_mut(name) else { return Err(nowhere(name)) };
        node.looked_ms = now_ms;
        let row = |row: &Server| row.row(now_ms);
        Ok(NodeState {
            process: node.process.clone(),
            rows: node.rows.iter().map(|(key, server)| (key.clone(), row(server))).collect(),
            sticky: node.sticky.clone(),
            old_sessions: node.old_sessions(now_ms),
            last_generation: reader.remembered(&node.fences),
        })
    }

    fn service_state(&self, host: &Host, name: &model::ServiceName) -> ServiceState {
        let process = host.services.get(name);
        let live = process.and_then(Process::live);
        let state = match process.map(|process| &process.run) {
            Some(Run::Gone(word)) => word,
            Some(Run::Live(_)) => "active",
            None => "inactive",
        };
        let tells = process.is_some_and(|process| process.spec.running.is_some());
        ServiceState {
            active: live.is_some(),
            state: state.into(),
            pid: live.map(|live| live.pid),
            uptime: live.map(|live| {
                SignedDuration::from_millis(i64::try_from(self.uptime_ms(live)).unwrap_or(i64::MAX))
            }),
            started_after_unpack: live.map(|live| live.since_ms >= host.unpacked_ms),
            stamped: host.valid_stamp(name).cloned(),
            reported: live.filter(|_| tells).map(|live| live.version.clone()),
        }
    }

    fn uptime_ms(&self, live: &Live) -> u64 {
        // Processes from before the world began have run for an hour.
        let before_ms = if live.since_ms == 0 { 3_600_000 } else { 0 };
        self.now_ms.saturating_sub(live.since_ms) + before_ms
    }

    pub(crate) fn health(&self, host: &Host) -> HealthState {
        if host.role.health.is_some() {
            let answer = if host.services.values().all(|process| process.live().is_some()) {
                "503"
            } else {
                "refused"
            };
            return if host.answering {
                HealthState::Healthy
            } else {
                HealthState::Unhealthy(answer.to_owned())
            };
        }
        let unsteady = host
            .services
            .iter()
            .find(|(_, process)| process.live().is_none_or(|live| self.uptime_ms(live) < STEADY_MS));
        match unsteady {
            Some((name, _)) => HealthState::Unhealthy(format!("{name} is not up for 10 s yet")),
            None => HealthState::Healthy,
        }
    }
}

fn dpkg_tells(package: &crate::host::Package) -> PackageState {
    let status = match package.phase {
        Phase::Unpacked => "iU ",
        Phase::HalfConfigured => "iF ",
        Phase::Installed => "ii ",
    };
    PackageState {
        version: package.version.clone(),
        installed: package.phase == Phase::Installed,
        status: status.into(),
        held: false,
    }
}

fn nowhere(name: &HostName) -> Unknown {
    Unknown { kind: UnknownKind::Unreachable, detail: format!("{name}: no such host") }
}

/// What an obstacle on the way is to a look.
pub(crate) fn unknown(failure: &Failure) -> Unknown {
    let kind = match failure.kind {
        FailureKind::TimedOut => UnknownKind::TimedOut,
        FailureKind::KeyRefused => UnknownKind::KeyRefused,
        FailureKind::HostKeyChanged => UnknownKind::HostKeyChanged,
        _ => UnknownKind::Unreachable,
    };
    Unknown { kind, detail: failure.what.clone() }
}
