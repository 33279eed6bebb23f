//! Capacity: what leaves rotation, what has to stay, and what may only be done out of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use model::{
    Action, BackendId, Fleet, HealthState, HostName, LoadBalancer, LoadBalancerName, NodeState, OutTarget,
    Role, Row, RowId, ServerName, Step, Track,
};

use super::evidence::{Evidence, Mark, taken_out};
use super::{Findings, Promise};

pub(super) fn lint(evidence: &Evidence<'_>, found: &mut Findings) {
    for step in &evidence.plan.steps {
        is_out_of_rotation(evidence, step, found);
    }
    keeps_the_floor(evidence, found);
    keeps_the_budget(evidence, found);
}

/// Also where somebody else had a row out when we came, and has given it back. Rows of a host that left the fleet may lead to
/// another one since.
fn is_out_of_rotation(evidence: &Evidence<'_>, step: &Step, found: &mut Findings) {
    if !matches!(step.action, Action::Install { .. } | Action::Activate { .. }) {
        return;
    }
    // Only what the emergency brings, not what a host goes back to in it.
    let usual = evidence.desired.emergency(&step.version).is_none();
    let Some(role) = evidence.role(step).filter(|_| usual) else { return };
    let rows = evidence.rows(role, &step.host);
    let mut serving = rows.iter().filter(|seen| seen.row.is_some_and(Row::in_rotation));
    let serving = serving.find(|seen| !evidence.was_given_away(step, &seen.id));
    if let Some(serving) = serving {
        found.step(Promise::S3, step, format_args!("while {} is in rotation", serving.id));
    }
    // Until our mark was there, an older service could have made ready what was seen to be out.
    let marked_at = evidence.history.claims.get(&step.host).map(|claim| claim.at);
    let read_at = |id: &RowId| evidence.observed.nodes.get(&id.node).map(|fact| fact.at);
    if let Some(unread) = rows.iter().find(|seen| read_at(&seen.id) < marked_at) {
        found.step(Promise::S3, step, format_args!("on a reading of {} from before its mark", unread.id));
    }
}

/// One part of the load balancers that must keep its floor, on one node.
type Part<'a> = (&'a HostName, &'a BackendId, Track);

/// The parts that a plan takes servers from, each with one of the steps that do.
fn touched<'a>(evidence: &Evidence<'a>) -> BTreeMap<Part<'a>, &'a Step> {
    let mut parts = BTreeMap::new();
    for step in &evidence.plan.steps {
        let (Some(rows), Some(role)) = (taken_out(&step.action), evidence.fleet_role(step)) else { continue };
        for row in rows.iter().filter(|row| evidence.row(row).is_some_and(Row::in_rotation)) {
            if let Some(backend) = backend_of(&evidence.desired.fleet, role, row) {
                parts.insert((&row.node, backend, role.track), step);
            }
        }
    }
    parts
}

fn backend_of<'a>(fleet: &Fleet, role: &'a Role, row: &RowId) -> Option<&'a BackendId> {
    let is_on = |id: &BackendId| {
        fleet.load_balancer(&id.load_balancer).is_some_and(|lb| lb.nodes.contains(&row.node))
    };
    role.backends.iter().find(|id| id.backend == row.backend && is_on(id))
}

fn keeps_the_floor(evidence: &Evidence<'_>, found: &mut Findings) {
    let touched = touched(evidence);
    if touched.is_empty() {
        return;
    }
    let leaving = leaving(evidence);
    let mut servers: HashMap<&LoadBalancerName, HashMap<ServerName, &Role>> = HashMap::new();
    for ((node, backend, track), step) in touched {
        let fleet = &evidence.desired.fleet;
        let Some(lb) = fleet.load_balancer(&backend.load_balancer) else { continue };
        let servers = servers.entry(&lb.name).or_insert_with(|| servers_of(fleet, lb));
        let Some(seen) = evidence.observed.node(node) else { continue };
        let staying = |track| staying((node, backend, track), seen, servers, &leaving);
        let stays = staying(track);
        // Main servers go on where a canary leaves; the other way round the canary would get everything.
        let others = || track == Track::Canary && staying(Track::Main) > 0;
        let (floor, outage) = floor(evidence, backend, track);
        if stays < floor {
            let how = format_args!(
                "leaves {stays} servers of {track} in {backend} on {node}, the floor is {floor}"
            );
            found.step(Promise::S1, step, how);
        } else if stays == 0 && !outage && !others() {
            found.step(Promise::S1, step, format_args!("leaves no server of {track} in {backend} on {node}"));
        }
    }
}

/// Node, backend and server of rows.
type Leaving<'a> = HashSet<(&'a str, &'a str, &'a str)>;

/// Rows that are on their way out: by this plan, and by steps under way.
fn leaving<'a>(evidence: &Evidence<'a>) -> Leaving<'a> {
    let under_way = evidence.history.in_flight.values().map(|under_way| &under_way.step);
    let steps = evidence.plan.steps.iter().chain(under_way);
    let rows = steps.filter_map(|step| taken_out(&step.action)).flatten();
    rows.map(|row| (row.node.as_str(), row.backend.as_str(), row.server.as_str())).collect()
}

fn servers_of<'a>(fleet: &'a Fleet, lb: &LoadBalancer) -> HashMap<ServerName, &'a Role> {
    let behind = |role: &&Role| role.backends.iter().any(|backend| backend.load_balancer == lb.name);
    let roles = fleet.roles.iter().filter(behind);
    roles.flat_map(|role| role.hosts.iter().map(move |host| (lb.server(host), role))).collect()
}

/// Servers of a part that are in rotation and stay there.
fn staying(
    (node, backend, track): Part<'_>,
    seen: &NodeState,
    servers: &HashMap<ServerName, &Role>,
    leaving: &Leaving<'_>,
) -> usize {
    let is_leaving =
        |server: &ServerName| leaving.contains(&(node.as_str(), backend.backend.as_str(), server.as_str()));
    let of_part = |server: &ServerName| {
        servers.get(server).is_some_and(|role| role.track == track && role.backends.contains(backend))
    };
    let rows = seen.rows.iter().filter(|((name, _), row)| *name == backend.backend && row.in_rotation());
    rows.filter(|((_, server), _)| of_part(server) && !is_leaving(server)).count()
}

/// What must stay of a part, and whether its last server may go. Hosts that are declared out count until they are
/// drained everywhere.
fn floor(evidence: &Evidence<'_>, backend: &BackendId, track: Track) -> (usize, bool) {
    let fleet = &evidence.desired.fleet;
    let roles = || fleet.roles.iter().filter(|role| role.track == track && role.backends.contains(backend));
    let gone = evidence.desired.exceptions.outs.iter().filter_map(|out| match &out.what {
        OutTarget::Host(host) => Some(host),
        OutTarget::LoadBalancerNode(_) => None,
    });
    let gone: BTreeSet<&HostName> = gone.filter(|host| is_gone(evidence, host)).collect();
    let gone = roles().map(|role| gone.iter().filter(|host| role.hosts.contains(host)).count());
    let configured = roles().map(|role| role.hosts.len()).sum::<usize>().saturating_sub(gone.sum::<usize>());
    let usual = fleet.backend_limit.of(configured);
    let urgent = evidence.desired.emergency(evidence.desired.target_of(track)).is_some();
    let limit = match urgent {
        true => fleet.policy.emergency.max_unavailable.of(configured).max(usual),
        false => usual,
    };
    (configured.saturating_sub(limit), roles().any(|role| role.allow_outage))
}

/// Declared out, and drained wherever a row points to it.
fn is_gone(evidence: &Evidence<'_>, host: &HostName) -> bool {
    let Some(role) = evidence.desired.fleet.role_of(host) else { return false };
    let takes_part = |row: &Row| row.in_rotation() && !evidence.leads_elsewhere(host, row);
    let serves = || evidence.rows(role, host).iter().any(|seen| seen.row.is_some_and(takes_part));
    evidence.desired.exceptions.host_out(host, evidence.now).is_some() && !serves()
}

/// Of a role, no more hosts that serve are begun than may be out.
fn keeps_the_budget(evidence: &Evidence<'_>, found: &mut Findings) {
    let mut begun: BTreeMap<&str, (usize, &Role, &Step)> = BTreeMap::new();
    for step in &evidence.plan.steps {
        let Some(role) = evidence.fleet_role(step).filter(|role| costs(evidence, role, step)) else {
            continue;
        };
        begun.entry(role.name.as_str()).or_insert((0, role, step)).0 += 1;
    }
    for (begun, role, step) in begun.into_values() {
        let out = role.hosts.iter().filter(|host| is_worked_on(evidence, host)).count();
        let limit = limit(evidence, role);
        if out + begun > limit {
            let out = out + begun;
            found.step(
                Promise::S1,
                step,
                format_args!("takes role {} to {out} hosts out of {limit}", role.name),
            );
        }
    }
}

/// A first claim of a host that is well and serves.
fn costs<'a>(evidence: &Evidence<'a>, role: &'a Role, step: &Step) -> bool {
    let is_first = matches!(step.action, Action::Claim { .. })
        && matches!(evidence.mark(&step.host), Mark::None)
        && !evidence.agent_is_paused(&step.host);
    let well = || evidence.state(&step.host).is_some_and(|state| state.health == HealthState::Healthy);
    let serves = || {
        let rows = evidence.rows(role, &step.host);
        rows.is_empty() || rows.iter().any(|seen| seen.row.is_some_and(Row::in_rotation))
    };
    is_first && well() && serves()
}

/// Marked by us, or about to be; declared out it does not count.
fn is_worked_on(evidence: &Evidence<'_>, host: &HostName) -> bool {
    evidence.desired.exceptions.host_out(host, evidence.now).is_none()
        && (matches!(evidence.mark(host), Mark::Ours { .. })
            || evidence
                .history
                .in_flight_on(host)
                .is_some_and(|under_way| matches!(under_way.step.action, Action::Claim { .. })))
}

fn limit(evidence: &Evidence<'_>, role: &Role) -> usize {
    let urgent = evidence.in_emergency(role);
    let wide = evidence.desired.fleet.policy.emergency.max_unavailable.of(role.hosts.len());
    if urgent { wide.max(role.max_unavailable) } else { role.max_unavailable }
}
