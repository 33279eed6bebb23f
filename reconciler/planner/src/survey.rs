//! Everything that one pass derives from its inputs before it decides: hosts in order, each with its role, facts,
//! rows and claim.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{
    Admin, BackendId, Claim, Desired, Direction, DrainPolicy, Fact, HostName, HostState, InFlight, NodeState,
    Observed, PackageName, Role, Row, RowId, Running, Version, history::History,
};

use crate::tuning::{HOST_MAX_AGE, NODE_MAX_AGE};

/// The inputs of a pass, and what follows from them.
pub(crate) struct Survey<'a> {
    pub(crate) desired: &'a Desired,
    pub(crate) observed: &'a Observed,
    pub(crate) history: &'a History,
    pub(crate) now: Timestamp,
    pub(crate) direction: Direction,
    /// In the order of work.
    pub(crate) roles: Vec<&'a Role>,
    /// By role (the same order), then as the file has them.
    pub(crate) hosts: Vec<HostView<'a>>,
}

/// One host in a pass.
pub(crate) struct HostView<'a> {
    pub(crate) name: &'a HostName,
    pub(crate) role: &'a Role,
    /// The role's place in [`Survey::roles`].
    pub(crate) role_at: usize,
    pub(crate) fact: Option<&'a Fact<HostState>>,
    pub(crate) in_flight: Option<&'a InFlight>,
    pub(crate) claim: ClaimView<'a>,
    pub(crate) rows: Vec<RowView<'a>>,
}

/// Whose mark is on a host.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ClaimView<'a> {
    /// Nobody's.
    None,
    /// Ours. `current`: of this generation, and seen on the host.
    Ours { current: bool, found: &'a BTreeSet<RowId> },
    /// Another service's, or a newer generation's.
    Other(&'a Claim),
}

/// One row of a host, as last seen.
pub(crate) struct RowView<'a> {
    pub(crate) id: RowId,
    pub(crate) backend: BackendId,
    pub(crate) policy: DrainPolicy,
    pub(crate) sticky: bool,
    /// None: the node is unknown, or has no such row.
    pub(crate) row: Option<&'a Row>,
    /// Sessions in the current and in old workers.
    pub(crate) sessions: u32,
}

impl RowView<'_> {
    pub(crate) fn in_rotation(&self) -> bool {
        self.row.is_some_and(Row::in_rotation)
    }

    pub(crate) fn admin(&self) -> Option<Admin> {
        self.row.map(|row| row.admin)
    }
}

impl ClaimView<'_> {
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Ours { .. })
    }
}

impl<'a> Survey<'a> {
    pub(crate) fn new(
        desired: &'a Desired,
        observed: &'a Observed,
        history: &'a History,
        now: Timestamp,
        direction: Direction,
    ) -> Self {
        let mut roles: Vec<&Role> = desired.fleet.roles.iter().collect();
        if direction == Direction::Back {
            roles.reverse();
        }
        let in_flight: BTreeMap<&HostName, &InFlight> =
            history.in_flight.values().map(|in_flight| (&in_flight.step.host, in_flight)).collect();
        let mut survey = Self { desired, observed, history, now, direction, roles, hosts: Vec::new() };
        for (role_at, role) in survey.roles.iter().enumerate() {
            let view = |name| survey.host_view(name, role, role_at, in_flight.get(name).copied());
            let views: Vec<_> = role.hosts.iter().map(view).collect();
            survey.hosts.extend(views);
        }
        survey
    }

    fn host_view(
        &self,
        name: &'a HostName,
        role: &'a Role,
        role_at: usize,
        in_flight: Option<&'a InFlight>,
    ) -> HostView<'a> {
        let fact = self.observed.hosts.get(name);
        let claim = self.claim_view(name, fact);
        let rows = self.rows_of(name, role);
        HostView { name, role, role_at, fact, in_flight, claim, rows }
    }

    /// What stands on the host counts; the journal speaks for a host that cannot be seen or has lost its mark.
    fn claim_view(&self, name: &HostName, fact: Option<&'a Fact<HostState>>) -> ClaimView<'a> {
        let seen = fact.and_then(Fact::known).and_then(|state| state.claim.as_ref());
        if let Some(claim) = seen {
            let ours = claim.service == self.history.service && claim.generation <= self.history.generation;
            if !ours {
                return ClaimView::Other(claim);
            }
            return ClaimView::Ours {
                current: claim.generation == self.history.generation,
                found: &claim.found,
            };
        }
        match self.history.claims.get(name) {
            Some(claim) => ClaimView::Ours { current: false, found: &claim.found },
            None => ClaimView::None,
        }
    }

    fn rows_of(&self, host: &HostName, role: &Role) -> Vec<RowView<'a>> {
        let mut rows = Vec::new();
        for backend in &role.backends {
            let Some(lb) = self.desired.fleet.load_balancer(&backend.load_balancer) else { continue };
            let Some(policy) = lb.backends.get(&backend.backend) else { continue };
            let key = (backend.backend.clone(), lb.server(host));
            for node in &lb.nodes {
                let state = self.observed.node(node);
                let row = state.and_then(|state| state.rows.get(&key));
                rows.push(RowView {
                    id: RowId { node: node.clone(), backend: key.0.clone(), server: key.1.clone() },
                    backend: backend.clone(),
                    policy: *policy,
                    sticky: state.is_some_and(|state| state.sticky.contains(&backend.backend)),
                    row,
                    sessions: sessions(state, &key, row),
                });
            }
        }
        rows
    }

    /// Whether a host's facts may be acted on: read after the last action there, and not too old.
    pub(crate) fn host_is_fresh(&self, host: &HostName) -> bool {
        self.observed.hosts.get(host).is_some_and(|fact| self.fresh(host, fact.at, HOST_MAX_AGE))
    }

    /// As [`Self::host_is_fresh`], for a load balancer node.
    pub(crate) fn node_is_fresh(&self, node: &HostName) -> bool {
        self.observed.nodes.get(node).is_some_and(|fact| self.fresh(node, fact.at, NODE_MAX_AGE))
    }

    fn fresh(&self, name: &HostName, at: Timestamp, max_age: jiff::SignedDuration) -> bool {
        let after_action = self.history.last_action.get(name).is_none_or(|last| *last <= at);
        after_action && self.now.duration_since(at) <= max_age
    }
}

fn sessions(
    state: Option<&NodeState>,
    key: &(model::BackendName, model::ServerName),
    row: Option<&Row>,
) -> u32 {
    let old = state.and_then(|state| state.old_sessions.get(key)).copied().unwrap_or(0);
    row.map_or(0, |row| row.sessions).saturating_add(old)
}

impl<'a> HostView<'a> {
    pub(crate) fn state(&self) -> Option<&'a HostState> {
        self.fact.and_then(Fact::known)
    }

    /// The exact packages that a release means on this host.
    pub(crate) fn packages_for(
        &self,
        release: &Version,
        state: &HostState,
    ) -> BTreeMap<PackageName, Version> {
        let version = self.role.package_version(release, &state.codename);
        self.role.packages.iter().map(|name| (name.clone(), version.clone())).collect()
    }

    /// Whether exactly these packages are wholly installed.
    pub(crate) fn has_installed(state: &HostState, packages: &BTreeMap<PackageName, Version>) -> bool {
        let right = |(name, version): (&PackageName, &Version)| {
            state.packages.get(name).is_some_and(|package| package.installed && package.version == *version)
        };
        packages.iter().all(right)
    }

    /// Whether these packages are in the host's cache.
    pub(crate) fn has_staged(state: &HostState, packages: &BTreeMap<PackageName, Version>) -> bool {
        let there = |(name, version): (&PackageName, &Version)| {
            state.staged.get(name).is_some_and(|versions| versions.contains(version))
        };
        packages.iter().all(there)
    }

    /// Whether every service that has to runs the release, or rather its package version.
    pub(crate) fn is_running(&self, state: &HostState, release: &Version, package: &Version) -> bool {
        self.role.services.iter().filter(|service| service.activate != model::Activate::None).all(|service| {
            let running = state.services.get(&service.name).map(|service| service.running(Some(package)));
            matches!(running, Some(Running::Version(version)) if version == *package || version == *release)
        })
    }

    /// Rows that somebody else has taken out: they were so when we came, or nobody of us is here.
    pub(crate) fn foreign_rows(&self) -> BTreeSet<RowId> {
        let taken_out = |row: &&RowView<'_>| matches!(row.admin(), Some(Admin::Drain | Admin::Maint));
        let foreign = |row: &&RowView<'_>| match self.claim {
            ClaimView::Ours { found, .. } => found.contains(&row.id),
            ClaimView::None | ClaimView::Other(_) => true,
        };
        self.rows.iter().filter(taken_out).filter(foreign).map(|row| row.id.clone()).collect()
    }

    /// Rows that are ours to move: not taken out by somebody else before we came.
    pub(crate) fn our_rows(&self) -> impl Iterator<Item = &RowView<'a>> {
        let found = match self.claim {
            ClaimView::Ours { found, .. } => Some(found),
            ClaimView::None | ClaimView::Other(_) => None,
        };
        self.rows.iter().filter(move |row| found.is_none_or(|found| !found.contains(&row.id)))
    }

    /// Out already, whoever took it: not seen, or not well.
    pub(crate) fn is_unwell(&self) -> bool {
        self.state().is_none_or(|state| state.health != model::HealthState::Healthy)
    }

    /// In nobody's rotation: taking it out costs nothing. A host without rows serves by itself.
    pub(crate) fn serves_nowhere(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.row.is_some() && !row.in_rotation())
    }
}
