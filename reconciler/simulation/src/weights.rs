//! Weights of load balancer rows, and the canary's share by the world's own arithmetic.

use std::collections::{BTreeMap, BTreeSet};

use model::{Action, Admin, BackendName, Desired, Failure, FailureKind, HostName, RowId, Step, Track};

use crate::balancer::{Node, Server, TakenBy};
use crate::host::failure;
use crate::state::State;

/// HAProxy's highest weight.
const HIGHEST: u32 = 256;

/// What the rows of one backend on one node weigh, of those that take traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scales {
    pub(crate) canary: u64,
    pub(crate) main: u64,
}

impl Scales {
    /// The canary's part of the traffic, in percent; none: nothing takes traffic.
    pub(crate) fn share(self) -> Option<f64> {
        let all = self.canary + self.main;
        #[expect(clippy::cast_precision_loss, reason = "weights are small")]
        let share = (all > 0).then(|| self.canary as f64 * 100.0 / all as f64);
        share
    }
}

impl Node {
    /// Backends in which both tracks have rows.
    pub(crate) fn shared_backends(&self) -> BTreeSet<BackendName> {
        let of = |track: Track| -> BTreeSet<&BackendName> {
            self.rows.iter().filter(|(_, row)| row.track == track).map(|(key, _)| &key.0).collect()
        };
        of(Track::Canary).intersection(&of(Track::Main)).map(|backend| (*backend).clone()).collect()
    }

    /// The scales of a backend with those rows that count.
    pub(crate) fn scales(&self, backend: &BackendName, counts: impl Fn(&Server) -> bool) -> Scales {
        let mut scales = Scales::default();
        let rows = self.rows.iter().chain(&self.lost);
        for (_, row) in rows.filter(|(key, row)| key.0 == *backend && counts(row)) {
            match row.track {
                Track::Canary => scales.canary += u64::from(row.weight),
                Track::Main => scales.main += u64::from(row.weight),
            }
        }
        scales
    }
}

impl State {
    /// Sets the weights of one node's rows. Tells whether anything changed.
    pub(crate) fn weights_change(&mut self, step: &Step, node: &HostName) -> Result<bool, Failure> {
        let Action::Weigh { weights } = &step.action else { return Ok(false) };
        let here: BTreeMap<&RowId, u32> =
            weights.iter().filter(|(row, _)| row.node == *node).map(|(row, weight)| (row, *weight)).collect();
        let before = self.rotation(step, node, &here.keys().map(|row| (*row).clone()).collect());
        let mut any = false;
        for (row, weight) in here {
            any |= self.weight_changes(row, weight)?;
        }
        self.share_kept(step, node);
        self.floor_kept(step, before);
        Ok(any)
    }

    fn weight_changes(&mut self, id: &RowId, weight: u32) -> Result<bool, Failure> {
        let key = (id.backend.clone(), id.server.clone());
        let row = self.nodes.get_mut(&id.node).and_then(|node| node.rows.get_mut(&key));
        let refused = |why: &str| failure(FailureKind::LoadBalancerRefused, format!("{id}: {why}"));
        let Some(row) = row else { return Err(refused("No such server.")) };
        if weight > HIGHEST {
            return Err(refused("Absolute weight can only be between 0 and 256 inclusive."));
        }
        if std::mem::replace(&mut row.weight, weight) == weight {
            return Ok(false);
        }
        self.settle(&id.node, &key);
        self.note(&id.node, || format!("{}/{} weighs {weight}", key.0, key.1));
        Ok(true)
    }

    /// The canary's share of every shared backend on every node that passes traffic, in percent.
    pub(crate) fn shares(&self) -> Vec<(HostName, BackendName, f64)> {
        let mut shares = Vec::new();
        for (name, node) in self.nodes.iter().filter(|(_, node)| node.passes_traffic()) {
            for backend in node.shared_backends() {
                let share = node.scales(&backend, Server::takes_traffic).share();
                shares.push((name.clone(), backend, share.unwrap_or(0.0)));
            }
        }
        shares
    }
}

/// What is left to do before an environment is settled.
impl State {
    /// Rows of an environment's hosts that are out because of us.
    pub(crate) fn taken_out_by_us(&self, desired: &Desired) -> Vec<String> {
        let now = self.clock.at(self.now_ms);
        let ours = |row: &Server| {
            let of_environment =
                self.hosts.get(&row.host).is_some_and(|host| host.environment == desired.environment);
            let counts = desired.exceptions.host_out(&row.host, now).is_none();
            of_environment && counts && row.taken_by == TakenBy::Us && row.admin != Admin::Ready
        };
        let rows = self
            .nodes
            .iter()
            .flat_map(|(name, node)| node.rows.iter().map(move |(key, row)| (name, key, row)));
        rows.filter(|(_, _, row)| ours(row))
            .map(|(name, key, _)| format!("{}/{} on {name} is taken out by us", key.0, key.1))
            .collect()
    }

    /// Shares that are too high, or further below the desired one than rounding explains.
    pub(crate) fn shares_off(&self, desired: &Desired) -> Vec<String> {
        let now = self.clock.at(self.now_ms);
        let wanted = desired.canary.as_ref().map_or(0, |canary| canary.weight);
        let nodes = desired.fleet.nodes();
        let counted =
            |node: &HostName| nodes.contains(node) && desired.exceptions.node_out(node, now).is_none();
        let shares = self.shares().into_iter().filter(|(node, ..)| counted(node));
        let off = shares.filter(|(.., share)| {
            let wanted = f64::from(wanted);
            *share > wanted + 1e-6 || *share < wanted * 0.8 - 1.0
        });
        off.map(|(node, backend, share)| {
            format!("the canary has {share:.2}% of {backend} on {node}, not {wanted}%")
        })
        .collect()
    }
}
