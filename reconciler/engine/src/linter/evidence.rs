//! What a plan is judged by: the inputs it was made of, with the places of hosts found at once.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{
    Action, Check, CheckRun, Claim, Desired, Fact, History, HostName, HostState, JobState, Observed, Plan,
    Role, Row, RowId, Step, Version,
};

/// The inputs of a plan, and the plan.
pub(super) struct Evidence<'a> {
    pub(super) desired: &'a Desired,
    pub(super) observed: &'a Observed,
    pub(super) history: &'a History,
    pub(super) plan: &'a Plan,
    pub(super) now: Timestamp,
    /// Of the hosts that steps are for.
    roles: BTreeMap<&'a HostName, &'a Role>,
}

/// Whose mark is on a host.
#[derive(Clone, Copy)]
pub(super) enum Mark<'a> {
    /// Nobody's.
    None,
    /// Ours; `current`: of this generation, and seen on the host.
    Ours { current: bool, found: &'a BTreeSet<RowId> },
    /// Another service's, or a newer generation's.
    Other(&'a Claim),
}

/// A row of a host, as last seen.
pub(super) struct SeenRow<'a> {
    pub(super) id: RowId,
    pub(super) row: Option<&'a Row>,
}

/// What a step works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target<'a> {
    /// A host, by ssh.
    Host(&'a HostName),
    /// A load balancer node, for its weights.
    Node(&'a HostName),
    /// Something over the network, which takes as many as come.
    Network,
}

impl<'a> Evidence<'a> {
    pub(super) fn gather(
        desired: &'a Desired,
        observed: &'a Observed,
        history: &'a History,
        plan: &'a Plan,
        now: Timestamp,
    ) -> Self {
        // A plan has few steps, a fleet many hosts.
        let place = |step: &'a Step| {
            let mut known = desired.fleet.roles.iter().chain(&desired.departed);
            let role = known.find(|role| role.name == step.role && role.hosts.contains(&step.host))?;
            Some((&step.host, role))
        };
        let roles = plan.steps.iter().filter_map(place).collect();
        Self { desired, observed, history, plan, now, roles }
    }

    /// The role for which a step is: of the fleet, or of a host that has left it. None: a host of no role.
    pub(super) fn role(&self, step: &Step) -> Option<&'a Role> {
        self.roles.get(&step.host).copied().filter(|role| role.name == step.role)
    }

    /// The role for which a step is, of a host that is in the fleet.
    pub(super) fn fleet_role(&self, step: &Step) -> Option<&'a Role> {
        let departed = self.desired.departed.iter().any(|role| role.hosts.contains(&step.host));
        self.role(step).filter(|_| !departed)
    }

    /// Whether a job has begun already, by the journal or by what its host remembers, so that a step for it only asks how it
    /// ended.
    pub(super) fn is_found_again(&self, step: &Step) -> bool {
        let Some((name, key)) = step.action.job() else { return false };
        let record = self.history.progress.jobs.get(key);
        let has_begun = record.is_some_and(|record| matches!(record.state, JobState::Begun { .. }));
        has_begun || self.state(&step.host).is_some_and(|state| state.jobs.contains_key(name))
    }

    /// What was seen on a host, however long ago.
    pub(super) fn state(&self, host: &HostName) -> Option<&'a HostState> {
        self.observed.hosts.get(host).and_then(Fact::known)
    }

    /// The mark that was seen on a host; the journal speaks for one that shows none, unless we meant to take it off.
    pub(super) fn mark(&self, host: &HostName) -> Mark<'a> {
        let history = self.history;
        match self.state(host).and_then(|state| state.claim.as_ref()) {
            Some(seen) if seen.service != history.service || seen.generation > history.generation => {
                Mark::Other(seen)
            }
            Some(seen) => Mark::Ours { current: seen.generation == history.generation, found: &seen.found },
            None => match history.claims.get(host).filter(|_| !self.was_let_go(host)) {
                Some(claim) => Mark::Ours { current: false, found: &claim.found },
                None => Mark::None,
            },
        }
    }

    /// A release was sent out, whatever its answer, and a later look shows no mark.
    fn was_let_go(&self, host: &HostName) -> bool {
        let last = self.history.last_action.get(host);
        let looked = |fact: &Fact<HostState>| fact.value.is_ok() && last.is_none_or(|last| *last <= fact.at);
        let of_fleet = self.desired.fleet.role_of(host).is_some();
        of_fleet
            && self.history.letting_go.contains(host)
            && self.observed.hosts.get(host).is_some_and(looked)
    }

    /// A host's rows on nodes that are declared out: there it can only be made ready.
    pub(super) fn rows_aside(&self, role: &Role, host: &HostName) -> BTreeSet<RowId> {
        let mut rows = BTreeSet::new();
        for backend in &role.backends {
            let Some(lb) = self.desired.fleet.load_balancer(&backend.load_balancer) else { continue };
            let row = |node: &HostName| RowId {
                node: node.clone(),
                backend: backend.backend.clone(),
                server: lb.server(host),
            };
            rows.extend(lb.nodes.iter().filter(|node| !self.counts(node)).map(row));
        }
        rows
    }

    /// A host's rows on every node that counts.
    pub(super) fn rows(&self, role: &'a Role, host: &HostName) -> Vec<SeenRow<'a>> {
        let mut rows = Vec::new();
        for backend in &role.backends {
            let Some(lb) = self.desired.fleet.load_balancer(&backend.load_balancer) else { continue };
            let key = (backend.backend.clone(), lb.server(host));
            for node in lb.nodes.iter().filter(|node| self.counts(node)) {
                let row = self.observed.node(node).and_then(|state| state.rows.get(&key));
                let (backend, server) = key.clone();
                rows.push(SeenRow { id: RowId { node: node.clone(), backend, server }, row });
            }
        }
        rows
    }

    /// Whether a load balancer node is not declared free of traffic.
    pub(super) fn counts(&self, node: &HostName) -> bool {
        self.desired.exceptions.node_out(node, self.now).is_none()
    }

    /// A row as last seen.
    pub(super) fn row(&self, id: &RowId) -> Option<&'a Row> {
        self.observed.node(&id.node)?.rows.get(&(id.backend.clone(), id.server.clone()))
    }

    /// Whether a host of a role is on a track that is in fast mode.
    pub(super) fn in_emergency(&self, role: &Role) -> bool {
        self.desired.emergency(self.desired.target_of(role.track)).is_some()
    }

    /// Whether the configuration agent of a host stands still because of us.
    pub(super) fn agent_is_paused(&self, host: &HostName) -> bool {
        let agent = self.state(host).and_then(|state| state.agent.as_ref());
        agent.is_some_and(|agent| agent.paused_by_us)
    }

    /// Whether a row points to none of a host's addresses, as far as those are known.
    pub(super) fn leads_elsewhere(&self, host: &HostName, row: &Row) -> bool {
        let addresses = self.state(host).map(|state| &state.addresses).filter(|known| !known.is_empty());
        addresses.is_some_and(|known| !known.contains(&row.address))
    }

    /// Whether a row of a step's host, which left the fleet, is another one's by now.
    pub(super) fn was_given_away(&self, step: &Step, row: &RowId) -> bool {
        self.fleet_role(step).is_none()
            && self.row(row).is_some_and(|row| self.leads_elsewhere(&step.host, row))
    }

    /// Whether a host was seen without any package of a role.
    pub(super) fn has_nothing_of(&self, role: &Role, host: &HostName) -> bool {
        let nothing = |state: &HostState| !role.packages.iter().any(|name| state.packages.contains_key(name));
        self.state(host).is_some_and(nothing)
    }

    /// Whether a package of the role is there already in the version of a release, installed or half-way.
    pub(super) fn has_some_of(&self, role: &Role, host: &HostName, release: &Version) -> bool {
        let Some(state) = self.state(host) else { return false };
        let version = role.package_version(release, &state.codename);
        let mut packages = role.packages.iter().filter_map(|name| state.packages.get(name));
        packages.any(|package| package.version == version)
    }
}

/// What a step works on.
pub(super) fn target(step: &Step) -> Target<'_> {
    match &step.action {
        Action::Weigh { .. } => Target::Node(&step.host),
        Action::Check { check: Check { how: CheckRun::Command { .. }, .. }, .. } => Target::Host(&step.host),
        Action::Check { .. } => Target::Network,
        _ => Target::Host(&step.host),
    }
}

/// The rows that an action takes out of rotation, where they are in it.
pub(super) fn taken_out(action: &Action) -> Option<&BTreeSet<RowId>> {
    match action {
        Action::Drain { rows } | Action::Maint { rows } | Action::Retire { rows, .. } => Some(rows),
        _ => None,
    }
}
