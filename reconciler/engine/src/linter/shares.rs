//! The canary's share: weights that go up stay within what the file says.

use std::collections::{BTreeMap, HashMap};

use model::{
    Action, ActionKind, BackendId, HostName, LoadBalancer, Role, Row, RowId, ServerName, Step, Track,
};

use super::evidence::{Evidence, Mark};
use super::{Findings, Promise};

/// Servers of a load balancer, by name.
type Servers<'a> = HashMap<ServerName, (&'a Role, &'a HostName)>;

/// Servers of one backend on one node, by what they will weigh.
#[derive(Default)]
struct Spot {
    /// Of main servers in rotation.
    main: u64,
    /// Of the lightest main server that stays.
    lightest: Option<u64>,
    /// Of canary servers that take traffic.
    canary: u64,
    /// The heaviest weight that goes up, and its row.
    raised: Option<(u64, ServerName)>,
    /// One that goes up of a server that is being deployed.
    deployed: Option<ServerName>,
}

pub(super) fn lint(evidence: &Evidence<'_>, found: &mut Findings) {
    let weighs = evidence.plan.steps.iter().filter_map(|step| match &step.action {
        Action::Weigh { weights } => Some((step, weights)),
        _ => None,
    });
    let weighs: Vec<(&Step, &BTreeMap<RowId, u32>)> = weighs.collect();
    for lb in &evidence.desired.fleet.load_balancers {
        let mut of_lb = weighs.iter().filter(|(step, _)| lb.nodes.contains(&step.host)).peekable();
        let servers = if of_lb.peek().is_some() { servers(evidence, lb) } else { HashMap::new() };
        for (step, weights) in of_lb {
            for (backend, spot) in spots(evidence, &step.host, lb, (weights, &servers)) {
                is_within(evidence, step, &backend, &spot, found);
            }
        }
    }
}

fn is_within(evidence: &Evidence<'_>, step: &Step, backend: &BackendId, spot: &Spot, found: &mut Findings) {
    if let Some(server) = &spot.deployed {
        let how = format_args!("gives {server} a part of {backend} while it is being deployed");
        found.step(Promise::S2, step, how);
    }
    let Some((raised, server)) = &spot.raised else { return };
    let percent = evidence.desired.canary.as_ref().map_or(0, |canary| u64::from(canary.weight));
    if spot.canary * 100 > percent * (spot.main + spot.canary) {
        let how = format_args!("gives the canary more than {percent} % of {backend}");
        found.step(Promise::S2, step, how);
    }
    if spot.lightest.is_some_and(|lightest| *raised > lightest) {
        let how = format_args!("lets {server} weigh more than a main server of {backend}");
        found.step(Promise::S2, step, how);
    }
}

/// Every backend of a load balancer's node, as it will be.
fn spots(
    evidence: &Evidence<'_>,
    node: &HostName,
    lb: &LoadBalancer,
    (weights, servers): (&BTreeMap<RowId, u32>, &Servers<'_>),
) -> Vec<(BackendId, Spot)> {
    let Some(seen) = evidence.observed.node(node) else { return Vec::new() };
    let mut spots: BTreeMap<BackendId, Spot> = BTreeMap::new();
    for ((backend, server), row) in &seen.rows {
        let id = BackendId { load_balancer: lb.name.clone(), backend: backend.clone() };
        let Some((role, host)) = servers.get(server).filter(|(role, _)| role.backends.contains(&id)) else {
            continue;
        };
        let key = RowId { node: node.clone(), backend: backend.clone(), server: server.clone() };
        let spot = spots.entry(id).or_default();
        match role.track {
            Track::Main => main(evidence, spot, host, row),
            Track::Canary => {
                let weight = weights.get(&key).copied();
                canary(spot, server, row, weight);
                if weight > Some(row.weight) && is_deployed(evidence, host) {
                    spot.deployed = Some(server.clone());
                }
            }
        }
    }
    spots.into_iter().collect()
}

/// Servers that count: a canary's also when it is declared out, as long as it takes traffic.
fn servers<'a>(evidence: &Evidence<'a>, lb: &LoadBalancer) -> Servers<'a> {
    let hosts = evidence.desired.fleet.hosts();
    let is_out = |host: &HostName| evidence.desired.exceptions.host_out(host, evidence.now).is_some();
    let counts = |(role, host): &(&Role, &HostName)| role.track == Track::Canary || !is_out(host);
    hosts.filter(counts).map(|(role, host)| (lb.server(host), (role, host))).collect()
}

fn main(evidence: &Evidence<'_>, spot: &mut Spot, host: &HostName, row: &Row) {
    if !row.in_rotation() {
        return;
    }
    let weight = u64::from(row.weight);
    spot.main += weight;
    let stays = matches!(evidence.mark(host), Mark::None) && evidence.history.in_flight_on(host).is_none();
    if stays {
        spot.lightest = Some(spot.lightest.map_or(weight, |lightest| lightest.min(weight)));
    }
}

fn canary(spot: &mut Spot, server: &ServerName, row: &Row, weight: Option<u32>) {
    let next = weight.unwrap_or(row.weight);
    let takes_traffic = row.admin == model::Admin::Ready && (row.status == "UP" || row.status == "no check");
    if takes_traffic {
        spot.canary += u64::from(next);
    }
    if next > row.weight && spot.raised.as_ref().is_none_or(|(raised, _)| *raised < u64::from(next)) {
        spot.raised = Some((u64::from(next), server.clone()));
    }
}

fn is_deployed(evidence: &Evidence<'_>, host: &HostName) -> bool {
    let under_way = evidence.history.in_flight_on(host);
    under_way.is_some_and(|under_way| {
        matches!(under_way.step.action.kind(), ActionKind::Install | ActionKind::Activate | ActionKind::Patch)
    })
}
