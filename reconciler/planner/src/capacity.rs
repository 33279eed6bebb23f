//! Budgets and floors: how many hosts may be out, and what must stay in rotation.

use std::collections::{BTreeMap, BTreeSet};

use model::{BackendId, Floor, HostName, HostState, Reason, Role, RoleName, Track};

use crate::rows::RowView;
use crate::survey::{HostView, Survey};

/// Servers of one backend and track on one node that are in rotation.
#[derive(Clone, Copy, Default)]
struct Seats {
    /// Without those that will leave: who is begun has to leave these.
    staying: usize,
    /// Without those that are on their way out: of hosts that are begun already the first ones go as far as this allows,
    /// or each would wait for the others.
    present: usize,
}

/// What is out now, and what else may go in this pass. Each admission is counted at once.
pub(crate) struct Capacity<'a> {
    max_parallel: usize,
    worked_on: BTreeSet<&'a HostName>,
    out_by_role: BTreeMap<&'a RoleName, BTreeSet<&'a HostName>>,
    /// Hosts that will leave rotation, or are admitted to.
    leaving: BTreeSet<&'a HostName>,
    /// Those of them that are on their way out.
    gone: BTreeSet<&'a HostName>,
    /// Servers in rotation, by node, backend and track.
    seats: BTreeMap<(&'a HostName, &'a BackendId, Track), Seats>,
    configured: BTreeMap<(&'a BackendId, Track), usize>,
}

impl<'a> Capacity<'a> {
    /// Counts the fleet.
    pub(crate) fn count<'b>(survey: &'a Survey<'b>) -> Self
    where
        'b: 'a,
    {
        let mut capacity = Self {
            max_parallel: survey.desired.fleet.max_parallel,
            worked_on: BTreeSet::new(),
            out_by_role: BTreeMap::new(),
            leaving: BTreeSet::new(),
            gone: BTreeSet::new(),
            seats: BTreeMap::new(),
            configured: BTreeMap::new(),
        };
        for host in &survey.hosts {
            let is_deployed = host.in_flight.is_some_and(|in_flight| deploys(survey, host, in_flight));
            capacity.count_host(host, still_leaving(survey, host), is_deployed);
        }
        capacity
    }

    /// So many hosts that are begun wait for their turn, or for others that serve in their place: with a version that never
    /// becomes well they would keep for ever what comes before them, which alone can bring another version.
    pub(crate) fn allows_beside(&mut self, waiting: usize) {
        self.max_parallel += waiting;
    }

    /// Whether a host is one of those that are worked on at once.
    pub(crate) fn is_worked_on(&self, host: &HostName) -> bool {
        self.worked_on.contains(host)
    }

    /// Whether a host will leave rotation, or is admitted to.
    pub(crate) fn is_leaving(&self, host: &HostName) -> bool {
        self.leaving.contains(host)
    }

    /// How many hosts of a role may be out.
    pub(crate) fn limit(&self, survey: &Survey<'_>, role: &Role) -> usize {
        let urgent = survey.desired.emergency(survey.desired.target_of(role.track)).is_some();
        let usual = role.max_unavailable;
        if !urgent {
            return usual;
        }
        survey.desired.fleet.policy.emergency.max_unavailable.of(role.hosts.len()).max(usual)
    }

    /// A host that is declared out and serves nowhere leaves every count, and takes no share; until then it is as any other.
    /// What a row sends elsewhere it does not serve, and we do not stop.
    fn count_host<'b>(&mut self, host: &'a HostView<'b>, leaving: bool, is_deployed: bool)
    where
        'b: 'a,
    {
        let serves = |row: &RowView<'b>| row.may_take_traffic() && host.elsewhere(row).is_none();
        if host.out.is_some() && !host.rows.iter().any(serves) {
            self.leaving.insert(host.name);
            self.gone.insert(host.name);
            return;
        }
        let worked_on = host.claim.is_ours() || host.in_flight.is_some_and(is_claiming);
        if worked_on {
            self.worked_on.insert(host.name);
        }
        if worked_on || host.is_unwell() || host.serves_nowhere() {
            self.out_by_role.entry(&host.role.name).or_default().insert(host.name);
        }
        for backend in &host.role.backends {
            *self.configured.entry((backend, host.role.track)).or_default() += 1;
        }
        for row in host.rows.iter().filter(|row| row.in_rotation()) {
            let seats = self.seats.entry((row.node, row.backend, host.role.track)).or_default();
            seats.staying += 1;
            seats.present += 1;
        }
        if leaving || is_deployed || host.in_flight.is_some_and(takes_out) {
            self.will_leave(host);
        }
        let is_leaving = |in_flight| takes_out(in_flight) && !is_claiming(in_flight);
        if is_deployed || host.in_flight.is_some_and(is_leaving) {
            self.leaves(host);
        }
    }

    /// A host will leave rotation: from now on it counts as one that does not stay.
    fn will_leave<'b>(&mut self, host: &'a HostView<'b>)
    where
        'b: 'a,
    {
        if self.leaving.insert(host.name) {
            self.each_seat(host, |seats| seats.staying -= 1);
        }
    }

    /// A host leaves rotation now.
    pub(crate) fn leaves<'b>(&mut self, host: &'a HostView<'b>)
    where
        'b: 'a,
    {
        self.will_leave(host);
        if self.gone.insert(host.name) {
            self.each_seat(host, |seats| seats.present -= 1);
        }
    }

    fn each_seat<'b>(&mut self, host: &'a HostView<'b>, change: impl Fn(&mut Seats))
    where
        'b: 'a,
    {
        for row in host.rows.iter().filter(|row| row.in_rotation()) {
            change(self.seats.entry((row.node, row.backend, host.role.track)).or_default());
        }
    }

    /// Whether a host that nobody works on may be begun; if so it counts from now on.
    pub(crate) fn admit<'b>(&mut self, survey: &Survey<'_>, host: &'a HostView<'b>) -> Result<(), Reason>
    where
        'b: 'a,
    {
        let limit = self.limit(survey, host.role);
        // An emergency's budget is a promise of speed: the usual width must not narrow it.
        let wide = if survey.in_emergency(host) { limit } else { 0 };
        let parallel = self.max_parallel.max(wide);
        if self.worked_on.len() >= parallel {
            return Err(Reason::Parallel { limit: parallel });
        }
        let out = self.out_by_role.entry(&host.role.name).or_default();
        if !out.contains(host.name) && out.len() >= limit {
            let ours = out.iter().filter(|name| self.worked_on.contains(*name)).count();
            let out = out.iter().map(|name| (*name).clone()).collect();
            return Err(Reason::Budget { out, ours, limit });
        }
        let stays = !self.leaving.contains(host.name);
        self.keeps_floor(survey, host, stays, |seats| seats.staying)?;
        self.worked_on.insert(host.name);
        self.will_leave(host);
        self.out_by_role.entry(&host.role.name).or_default().insert(host.name);
        Ok(())
    }

    /// Whether a host that is begun already may leave rotation now.
    pub(crate) fn may_leave(&self, survey: &Survey<'_>, host: &HostView<'_>) -> Result<(), Reason> {
        let stays = !self.gone.contains(host.name);
        self.keeps_floor(survey, host, stays, |seats| seats.present)
    }

    /// Whether every backend keeps its floor, on every node, without this host, which `count` may still contain. A row that
    /// is out already costs nothing, so a host that serves nowhere always may.
    fn keeps_floor(
        &self,
        survey: &Survey<'_>,
        host: &HostView<'_>,
        contained: bool,
        count: impl Fn(&Seats) -> usize,
    ) -> Result<(), Reason> {
        for row in host.rows.iter().filter(|row| row.may_take_traffic()) {
            let floor = self.floor(survey, host, row.backend);
            if floor == 0 && !host.role.allow_outage && !self.others_serve(host, row, &count) {
                return Err(Reason::OutageNotAllowed { backend: row.backend.clone() });
            }
            let key = (row.node, row.backend, host.role.track);
            let seats = self.seats.get(&key).copied().unwrap_or_default();
            let others = count(&seats).saturating_sub(usize::from(contained && row.in_rotation()));
            if others < floor {
                return Err(Reason::BelowFloor(Floor {
                    backend: row.backend.clone(),
                    node: row.node.clone(),
                    in_rotation: others + 1,
                    floor,
                }));
            }
        }
        Ok(())
    }

    /// Whether main servers go on where a canary leaves: then its backend has no outage. Not the other way round, for a
    /// canary must not get everything.
    fn others_serve(&self, host: &HostView<'_>, row: &RowView<'_>, count: &impl Fn(&Seats) -> usize) -> bool {
        let main = self.seats.get(&(row.node, row.backend, Track::Main));
        host.role.track == Track::Canary && main.is_some_and(|seats| count(seats) > 0)
    }

    fn floor(&self, survey: &Survey<'_>, host: &HostView<'_>, backend: &BackendId) -> usize {
        let configured = self.configured.get(&(backend, host.role.track)).copied().unwrap_or(0);
        let usual = survey.desired.fleet.backend_limit.of(configured);
        let limit = match survey.in_emergency(host) {
            true => survey.desired.fleet.policy.emergency.max_unavailable.of(configured).max(usual),
            false => usual,
        };
        configured.saturating_sub(limit)
    }

    /// The hosts of a role that are out.
    pub(crate) fn out(&self, role: &RoleName) -> usize {
        self.out_by_role.get(role).map_or(0, BTreeSet::len)
    }
}

/// Whether a step under way takes its host out of rotation, or will.
fn takes_out(in_flight: &model::InFlight) -> bool {
    use model::ActionKind::{Claim, Drain, Maint, Retire};
    matches!(in_flight.step.action.kind(), Claim | Drain | Maint | Retire)
}

/// Whether a step under way is one that no host serves in: also on a node that was declared out until now, or where somebody
/// has made it ready meanwhile. Only an emergency patches and restarts in rotation.
fn deploys(survey: &Survey<'_>, host: &HostView<'_>, in_flight: &model::InFlight) -> bool {
    use model::ActionKind::{Activate, Install, Patch};
    match in_flight.step.action.kind() {
        Install => true,
        Activate | Patch => !host.restarts_in_rotation(survey, host.release),
        _ => false,
    }
}

fn is_claiming(in_flight: &model::InFlight) -> bool {
    in_flight.step.action.kind() == model::ActionKind::Claim
}

/// A claimed host whose work is not done will leave rotation, if it has not yet. While rows of it are out by us, what it showed
/// before our last action there does not tell: it may have been about to be given back, and be deployed since.
fn still_leaving(survey: &Survey<'_>, host: &HostView<'_>) -> bool {
    if !host.claim.is_ours() {
        return false;
    }
    let is_out = |row: &RowView<'_>| survey.history.taken_out.how(host.name, &row.id()).is_some();
    let tells = |_: &&HostState| host.is_fresh || !host.rows.iter().any(is_out);
    let Some(state) = host.state().filter(tells) else { return true };
    let package = host.package_for(host.release, state);
    !(host.has_installed(state, &package) && host.is_running(survey, state, host.release, &package))
}
