//! Everything that one pass derives from its inputs before it decides: hosts in order, each with its role, facts,
//! rows and claim.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{
    Action, BackendId, Claim, Desired, DrainPolicy, Fact, HostName, HostState, InFlight, NodeState, Observed,
    OnTimeout, Out, PackageName, Patch, Role, RowId, Running, Scope, Stage, Track, Version, history::History,
};

use crate::lanes::{Lane, lanes, place_of};
use crate::rows::{NodeView, Place, RowView, rows_on};

use crate::running::installed_release;
use crate::tuning::{GATE_MAX_AGE, HOST_MAX_AGE, NODE_MAX_AGE};
use crate::workers;

/// What a pass borrows and is not part of its inputs: stages of a fleet without any, roles of hosts that have none.
pub(crate) struct Ground<'a> {
    stages: Cow<'a, [Stage]>,
    workers: Vec<Role>,
}

impl<'a> Ground<'a> {
    pub(crate) fn of(desired: &'a Desired) -> Self {
        Self { stages: desired.fleet.stages(), workers: workers::roles(desired) }
    }
}

/// The inputs of a pass, and what follows from them.
pub(crate) struct Survey<'a> {
    pub(crate) desired: &'a Desired,
    pub(crate) observed: &'a Observed,
    pub(crate) history: &'a History,
    pub(crate) now: Timestamp,
    /// The one that goes first in front.
    pub(crate) lanes: Vec<Lane<'a>>,
    /// By lane and rung, then as the file has them.
    pub(crate) hosts: Vec<HostView<'a>>,
    /// Hosts that run migrations and checks.
    pub(crate) workers: Vec<HostView<'a>>,
    /// Hosts that left the fleet with our mark on them.
    pub(crate) departed: Vec<HostView<'a>>,
}

/// One host in a pass.
pub(crate) struct HostView<'a> {
    pub(crate) name: &'a HostName,
    pub(crate) role: &'a Role,
    /// What it should run.
    pub(crate) release: &'a Version,
    /// Its lane's place in [`Survey::lanes`].
    pub(crate) lane: usize,
    /// Its rung's place in that lane.
    pub(crate) rung: usize,
    pub(crate) fact: Option<&'a Fact<HostState>>,
    /// Whether its facts may be acted on: read after the last action there, and not too old.
    pub(crate) is_fresh: bool,
    pub(crate) in_flight: Option<&'a InFlight>,
    pub(crate) claim: ClaimView<'a>,
    pub(crate) rows: Vec<RowView<'a>>,
    /// Rows on nodes that are declared out: they count nowhere, and what we took out there is still ours to give back.
    pub(crate) aside: Vec<RowView<'a>>,
    /// A person's word that it does not count.
    pub(crate) out: Option<&'a Out>,
    /// The release's package version here, when the host was seen.
    target: Option<Version>,
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
        ground: &'a Ground<'a>,
    ) -> Self {
        let in_flight: BTreeMap<&HostName, &InFlight> =
            history.in_flight.values().map(|in_flight| (&in_flight.step.host, in_flight)).collect();
        let lanes = lanes(desired, observed, history, &ground.stages, now);
        let (hosts, workers, departed) = (Vec::new(), Vec::new(), Vec::new());
        let mut survey = Self { desired, observed, history, now, lanes, hosts, workers, departed };
        let placed =
            desired.fleet.roles.iter().filter_map(|role| Some((place_of(&survey.lanes, &role.name)?, role)));
        let mut placed: Vec<((usize, usize), &Role)> = placed.collect();
        placed.sort_by_key(|(place, _)| *place);
        let main = desired.target_of(Track::Main);
        let mut hosts = Vec::with_capacity(placed.iter().map(|(_, role)| role.hosts.len()).sum());
        for (place, role) in placed {
            hosts.extend(survey.views(role, place, desired.target_of(role.track), &in_flight));
        }
        let of = |roles: &'a [Role]| -> Vec<HostView<'a>> {
            roles.iter().flat_map(|role| survey.views(role, (usize::MAX, 0), main, &in_flight)).collect()
        };
        let (workers, departed) = (of(&ground.workers), of(&desired.departed));
        survey.hosts = hosts;
        survey.workers = workers;
        survey.departed = departed;
        survey
    }

    fn views(
        &self,
        role: &'a Role,
        (lane, rung): (usize, usize),
        release: &'a Version,
        in_flight: &BTreeMap<&HostName, &'a InFlight>,
    ) -> Vec<HostView<'a>> {
        let (mut packages, places) = (BTreeMap::new(), self.places_of(role));
        let mut view = |name: &'a HostName| {
            let fact = self.observed.hosts.get(name);
            let is_fresh = fact.is_some_and(|fact| self.host_fact_is_fresh(name, fact));
            let (rows, aside) = rows_on(&places, name);
            HostView {
                name,
                role,
                release,
                lane,
                rung,
                fact,
                is_fresh,
                in_flight: in_flight.get(name).copied(),
                claim: self.claim_view(name, fact.filter(|_| is_fresh), fact, lane != usize::MAX),
                rows,
                aside,
                out: self.desired.exceptions.host_out(name, self.now),
                target: fact
                    .and_then(Fact::known)
                    .map(|state| target_of(role, release, state, &mut packages)),
            }
        };
        role.hosts.iter().map(&mut view).collect()
    }

    /// The lane of a host of the fleet.
    pub(crate) fn lane_of(&self, host: &HostView<'_>) -> Option<&Lane<'a>> {
        self.lanes.get(host.lane)
    }

    /// Whether a host is worked on in fast mode.
    pub(crate) fn in_emergency(&self, host: &HostView<'_>) -> bool {
        self.lane_of(host).is_some_and(|lane| lane.emergency.is_some())
    }

    /// What stands on the host counts; the journal speaks for a host that cannot be seen or has lost its mark. It may have
    /// lost it to ourselves: the answer to a release can go astray, and whoever begins such a host begins it anew. A host
    /// that has left the fleet is let go once more instead.
    fn claim_view(
        &self,
        name: &HostName,
        fresh: Option<&Fact<HostState>>,
        fact: Option<&'a Fact<HostState>>,
        of_fleet: bool,
    ) -> ClaimView<'a> {
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
        let let_go = of_fleet && self.history.letting_go.contains(name);
        if let_go && fresh.is_some_and(|fact| fact.value.is_ok()) {
            return ClaimView::None;
        }
        match self.history.claims.get(name) {
            Some(claim) => ClaimView::Ours { current: false, found: &claim.found },
            None => ClaimView::None,
        }
    }

    /// Where the hosts of a role serve: looked up once for all of them.
    fn places_of(&self, role: &'a Role) -> Vec<Place<'a>> {
        let place = |backend: &'a BackendId| {
            let balancer = self.desired.fleet.load_balancer(&backend.load_balancer)?;
            let policy = self.policy_in_force(role, *balancer.backends.get(&backend.backend)?);
            let node = |name: &'a HostName| {
                let fact = self.observed.nodes.get(name);
                let shows = |state: &NodeState| state.sticky.contains(&backend.backend);
                let sticky = fact.and_then(Fact::known).is_some_and(shows);
                let is_fresh = fact.is_some_and(|fact| self.node_fact_is_fresh(name, fact));
                NodeView { name, fact, is_fresh, sticky, is_out: self.is_out(name) }
            };
            Some(Place { backend, balancer, policy, nodes: balancer.nodes.iter().map(node).collect() })
        };
        role.backends.iter().filter_map(place).collect()
    }

    /// Whether a person has declared a node out: no traffic passes there.
    fn is_out(&self, node: &HostName) -> bool {
        self.desired.exceptions.node_out(node, self.now).is_some()
    }

    /// In an emergency sessions have little time, and are cut.
    fn policy_in_force(&self, role: &Role, policy: DrainPolicy) -> DrainPolicy {
        if self.desired.emergency(self.desired.target_of(role.track)).is_none() {
            return policy;
        }
        let drain = self.desired.fleet.policy.emergency.drain;
        DrainPolicy { timeout: policy.timeout.min(drain), on_timeout: OnTimeout::Cut }
    }

    /// Whether a host's facts may be acted on: read after the last action there, and not too old.
    pub(crate) fn host_is_fresh(&self, host: &HostName) -> bool {
        self.observed.hosts.get(host).is_some_and(|fact| self.host_fact_is_fresh(host, fact))
    }

    fn host_fact_is_fresh(&self, host: &HostName, fact: &Fact<HostState>) -> bool {
        self.fresh(host, fact.at, HOST_MAX_AGE)
    }

    /// As [`Self::host_is_fresh`], for a load balancer node. That it cannot be seen stays true for longer: nobody acts
    /// on it, and finding out may take longer than a good reading may be old.
    pub(crate) fn node_is_fresh(&self, node: &HostName) -> bool {
        self.observed.nodes.get(node).is_some_and(|fact| self.node_fact_is_fresh(node, fact))
    }

    fn node_fact_is_fresh(&self, node: &HostName, fact: &Fact<NodeState>) -> bool {
        let max_age = if fact.value.is_ok() { NODE_MAX_AGE } else { HOST_MAX_AGE };
        self.fresh(node, fact.at, max_age)
    }

    /// Whether a load balancer node was seen after the last action there, and what it shows may still stand for it:
    /// nothing is decided on it that could take capacity away.
    pub(crate) fn node_is_known(&self, node: &HostName) -> bool {
        let fact = self.observed.nodes.get(node).filter(|fact| fact.value.is_ok());
        fact.is_some_and(|fact| self.fresh(node, fact.at, HOST_MAX_AGE))
    }

    /// When something was last read, and whether that may be acted on.
    pub(crate) fn age(&self, scope: &Scope) -> (Option<Timestamp>, bool) {
        match scope {
            Scope::Host(host) => {
                let fact = self.observed.hosts.get(host);
                (fact.map(|fact| fact.at), fact.is_some_and(|fact| self.host_fact_is_fresh(host, fact)))
            }
            Scope::Node(node) => {
                let fact = self.observed.nodes.get(node);
                (fact.map(|fact| fact.at), fact.is_some_and(|fact| self.node_fact_is_fresh(node, fact)))
            }
            Scope::Gate(_, gate) => {
                let at = self.observed.gates.get(gate).map(|fact| fact.at);
                (at, at.is_some_and(|at| self.now.duration_since(at) <= GATE_MAX_AGE))
            }
            Scope::Versions(_) => {
                let at = self.observed.versions.as_ref().map(|fact| fact.at);
                (at, at.is_some())
            }
        }
    }

    fn fresh(&self, name: &HostName, at: Timestamp, max_age: jiff::SignedDuration) -> bool {
        let after_action = self.history.last_action.get(name).is_none_or(|last| *last <= at);
        after_action && self.now.duration_since(at) <= max_age
    }
}

/// A release's package version on a host; worked out once for each code name of Debian.
fn target_of<'a>(
    role: &Role,
    release: &Version,
    state: &'a HostState,
    known: &mut BTreeMap<&'a str, Version>,
) -> Version {
    let codename = state.codename.as_str();
    known.entry(codename).or_insert_with(|| role.package_version(release, codename)).clone()
}

impl<'a> HostView<'a> {
    pub(crate) fn state(&self) -> Option<&'a HostState> {
        self.fact.and_then(Fact::known)
    }

    /// The package version that a release means on this host.
    pub(crate) fn package_for(&self, release: &Version, state: &HostState) -> Version {
        match &self.target {
            Some(target) if release == self.release => target.clone(),
            _ => self.role.package_version(release, &state.codename),
        }
    }

    /// The release that the installed package belongs to; its own version, when git never knew it.
    pub(crate) fn installed_release(&self, survey: &Survey<'_>) -> Option<Version> {
        installed_release(survey.desired, self.role, self.state()?).cloned()
    }

    /// The role's packages, all at one version.
    pub(crate) fn packages_at(&self, version: &Version) -> BTreeMap<PackageName, Version> {
        self.role.packages.iter().map(|name| (name.clone(), version.clone())).collect()
    }

    /// Whether the role's packages are wholly installed at exactly this version.
    pub(crate) fn has_installed(&self, state: &HostState, version: &Version) -> bool {
        let right = |name: &PackageName| {
            state.packages.get(name).is_some_and(|package| package.installed && package.version == *version)
        };
        self.role.packages.iter().all(right)
    }

    /// Whether the role's packages at this version are in the host's cache.
    pub(crate) fn has_staged(&self, state: &HostState, version: &Version) -> bool {
        let there =
            |name: &PackageName| state.staged.get(name).is_some_and(|versions| versions.contains(version));
        self.role.packages.iter().all(there)
    }

    /// The patches that a release has here, by checksum.
    pub(crate) fn patches(&self, survey: &Survey<'a>, release: &Version) -> Vec<&'a Patch> {
        let patches = survey.desired.exceptions.patches.iter();
        patches.filter(|patch| patch.version == *release && patch.roles.contains(&self.role.name)).collect()
    }

    /// An emergency restarts in rotation what it patched; anything else leaves first.
    pub(crate) fn restarts_in_rotation(&self, survey: &Survey<'a>, release: &Version) -> bool {
        let wanted = release == self.release && survey.in_emergency(self);
        wanted && !self.patches(survey, release).is_empty()
    }

    /// What makes the host run a release whose packages have this version.
    pub(crate) fn activation(&self, survey: &Survey<'a>, release: &Version, package: &Version) -> Action {
        let (services, packages) = (self.role.services.clone(), self.packages_at(package));
        Action::Activate { services, packages, stamp: stamp(package, &self.patches(survey, release)) }
    }

    /// Whether exactly a release's patches are applied.
    pub(crate) fn is_patched(&self, survey: &Survey<'a>, state: &HostState, release: &Version) -> bool {
        let wanted = self.patches(survey, release);
        wanted.len() == state.patches.len()
            && wanted.iter().all(|patch| state.patches.contains(&patch.sha256))
    }

    /// Whether every service that has to runs the release with its patches.
    pub(crate) fn is_running(
        &self,
        survey: &Survey<'a>,
        state: &HostState,
        release: &Version,
        package: &Version,
    ) -> bool {
        let patches = self.patches(survey, release);
        if patches.is_empty() {
            return self.runs(state, release, package);
        }
        // Only our own stamp knows of patches.
        let stamp = stamp(package, &patches);
        self.role.services.iter().filter(|service| service.activate != model::Activate::None).all(|service| {
            state
                .services
                .get(&service.name)
                .is_some_and(|seen| seen.active && seen.stamped.as_ref() == Some(&stamp))
        })
    }

    fn runs(&self, state: &HostState, release: &Version, package: &Version) -> bool {
        self.role.services.iter().filter(|service| service.activate != model::Activate::None).all(|service| {
            let running = state.services.get(&service.name).map(|service| service.running(Some(package)));
            matches!(running, Some(Running::Version(version)) if version == *package || version == *release)
        })
    }

    /// Rows that somebody else has taken out: they were so when we came, or nobody of us is here.
    pub(crate) fn foreign_rows(&self) -> BTreeSet<RowId> {
        let foreign = |row: &&RowView<'_>| match self.claim {
            ClaimView::Ours { found, .. } => found.contains(&row.id()),
            ClaimView::None | ClaimView::Other(_) => true,
        };
        self.rows
            .iter()
            .chain(&self.aside)
            .filter(|row| row.is_taken_out())
            .filter(foreign)
            .map(RowView::id)
            .collect()
    }

    /// What a first mark calls somebody else's: what others have taken out, and what cannot be seen, which may be out as well,
    /// unless that was us. Should it serve when it is seen, it is ours to move.
    pub(crate) fn not_ours(&self, survey: &Survey<'_>) -> BTreeSet<RowId> {
        let by_us = |row: &RowId| survey.history.taken_out.how(self.name, row).is_some();
        let unseen = self.rows.iter().chain(&self.aside).filter(|row| !row.is_seen());
        unseen.map(RowView::id).filter(|row| !by_us(row)).chain(self.foreign_rows()).collect()
    }

    /// Those of [`Self::our_rows`] that lead to the host, as far as its addresses are known: only they are moved.
    pub(crate) fn rows_to_move(&self) -> impl Iterator<Item = &RowView<'a>> {
        self.our_rows().filter(|row| self.elsewhere(row).is_none())
    }

    /// Rows that are ours to move: not taken out by somebody else before we came.
    pub(crate) fn our_rows(&self) -> impl Iterator<Item = &RowView<'a>> {
        let found = match self.claim {
            ClaimView::Ours { found, .. } => Some(found),
            ClaimView::None | ClaimView::Other(_) => None,
        };
        self.rows
            .iter()
            .filter(move |row| found.is_none_or(|found| found.is_empty() || !found.contains(&row.id())))
    }

    /// Whether a row is out, and may be so by us since our mark: the journal knows what we took out.
    pub(crate) fn is_out_by_us(&self, survey: &Survey<'_>, row: &RowView<'_>) -> bool {
        row.admin().is_some_and(|admin| survey.history.taken_out.has(self.name, &row.id(), admin))
    }

    /// As [`Self::is_out_by_us`]; of a row that cannot be seen the journal alone tells.
    pub(crate) fn may_be_out_by_us(&self, survey: &Survey<'_>, row: &RowView<'_>) -> bool {
        match row.is_seen() {
            true => self.is_out_by_us(survey, row),
            false => survey.history.taken_out.how(self.name, &row.id()).is_some(),
        }
    }

    /// Where a row points to that is none of the host's addresses, as far as those are known.
    pub(crate) fn elsewhere(&self, row: &RowView<'a>) -> Option<&'a str> {
        let (addresses, seen) = (&self.state()?.addresses, row.row?);
        let other = !addresses.is_empty() && !addresses.contains(&seen.address);
        other.then_some(seen.address.as_str())
    }

    /// Out already, whoever took it: not seen, or not well.
    pub(crate) fn is_unwell(&self) -> bool {
        self.state().is_none_or(|state| state.health != model::HealthState::Healthy)
    }

    /// In nobody's rotation: taking it out costs nothing. A host without rows serves by itself.
    pub(crate) fn serves_nowhere(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.row.is_some() && !row.may_take_traffic())
    }
}

/// Stands between a package's version and its patches in a stamp.
pub(crate) const PATCHED: &str = "+patched.";

/// What a service is stamped with: the package's version, and what is patched on top of it.
fn stamp(package: &Version, patches: &[&Patch]) -> Version {
    let marks: Vec<&str> =
        patches.iter().map(|patch| patch.sha256.get(..12).unwrap_or(&patch.sha256)).collect();
    if marks.is_empty() {
        return package.clone();
    }
    Version::parse(&format!("{package}{PATCHED}{}", marks.join("."))).unwrap_or_else(|_| package.clone())
}
