//! What people get wrong around a fleet: rows that are missing or point elsewhere, a machine with two names, a second
//! service that works on the same hosts.

use std::collections::BTreeSet;

use model::{Claim, CommitId, Generation, HostName, RowId, SmolStr};

use crate::world::SimWorld;

/// Names of hosts and rows that do not exist are ignored.
impl SimWorld {
    /// A load balancer node's configuration loses a row. Its sessions go on elsewhere.
    pub fn row_vanishes(&self, row: &RowId) {
        let mut state = self.state();
        let (now_ms, key) = (state.now_ms, (row.backend.clone(), row.server.clone()));
        let Some(node) = state.nodes.get_mut(&row.node) else { return };
        let Some(mut server) = node.rows.remove(&key) else { return };
        let left = server.takes_traffic();
        server.up = false;
        if left {
            server.left_ms = Some(now_ms);
        }
        let of_main = server.track == model::Track::Main;
        node.lost.insert(key, server);
        if left && of_main {
            state.share_will_be_judged(&row.node);
        }
    }

    /// A load balancer node gets a row again that it had lost, as its configuration file has it.
    pub fn row_returns(&self, row: &RowId) {
        let mut state = self.state();
        let (now_ms, pace) = (state.now_ms, state.pace.clone());
        let key = (row.backend.clone(), row.server.clone());
        let Some(node) = state.nodes.get_mut(&row.node) else { return };
        if let Some(mut server) = node.lost.remove(&key) {
            server.restart(now_ms, &mut node.machine.chance, &pace);
            node.rows.insert(key.clone(), server);
            state.check_later(&row.node, &key, 1);
        }
    }

    /// A row leads to this address from now on.
    pub fn row_points_to(&self, row: &RowId, address: &str) {
        let mut state = self.state();
        let key = (row.backend.clone(), row.server.clone());
        if let Some(server) = state.nodes.get_mut(&row.node).and_then(|node| node.rows.get_mut(&key)) {
            server.address = address.into();
        }
    }

    /// The address of a host. None: there is no such host.
    pub fn address(&self, host: &HostName) -> Option<SmolStr> {
        self.state().hosts.get(host).map(|host| host.address.clone())
    }

    /// A host shows another host's machine-id: it was cloned, or it has two names.
    pub fn shows_machine_of(&self, host: &HostName, other: &HostName) {
        let mut state = self.state();
        let id = state.hosts.get(other).map(|other| other.machine_id.clone());
        if let (Some(host), Some(id)) = (state.hosts.get_mut(host), id) {
            host.machine_id = id;
        }
    }

    /// A host gets a machine-id of its own.
    pub fn gets_machine_id(&self, host: &HostName) {
        if let Some(host) = self.state().hosts.get_mut(host) {
            host.machine_id = host.machine.chance.hex40().split_off(8).into();
        }
    }

    /// Another service puts its mark on a host, or takes it off.
    pub fn other_service_claims(&self, host: &HostName, service: &str, claims: bool) {
        let mut state = self.state();
        let at = state.clock.now();
        let Some(host) = state.hosts.get_mut(host) else { return };
        host.claim = claims.then(|| Claim {
            generation: Generation(1),
            service: service.to_owned(),
            environment: host.environment.clone(),
            commit: CommitId::new("0"),
            found: BTreeSet::new(),
            at,
            expires: None,
        });
    }
}
