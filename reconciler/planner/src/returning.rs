//! Back into rotation: a host that runs its release is made ready when it is well, and then let go.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use model::{
    Action, Admin, HealthState, HostState, MAX_ATTEMPTS, ReadyBecause, Reason, RowCheck, RowId, Scope,
    Version, history::Activated,
};

use crate::agent;
use crate::draining::{
    aside_is_read, given_back_since, ids, leaving, no_longer_foreign, read_since_mark, rows_are_fresh,
    rows_are_known,
};
use crate::next::{
    Next, Wait, health_answer, host_scope, next_activation, node_scopes, unwell, watch_health,
};
use crate::position::some_service_is_stopped;
use crate::rows::RowView;
use crate::survey::{ClaimView, HostView, Survey};
use crate::tuning::{WATCH, WATCH_CLOSELY};

/// A host without a probe of its own has ten seconds to show a steady pid, and as long again to get there.
const WITHIN_WITHOUT_PROBE: SignedDuration = SignedDuration::from_secs(30);

/// What a host that runs its release needs next.
pub(crate) fn next(survey: &Survey<'_>, host: &HostView<'_>, state: &HostState, release: &Version) -> Next {
    match host.claim {
        ClaimView::None if agent::is_paused_by_us(state) => Next::Step(
            Action::Claim { found: host.not_ours(survey) },
            "the configuration agent is still paused",
        ),
        ClaimView::None | ClaimView::Other(_) => at_rest(host, state),
        ClaimView::Ours { .. } if state.health != HealthState::Healthy => {
            not_well(survey, host, state, release)
        }
        ClaimView::Ours { current: false, found } => renewed(survey, host, found),
        ClaimView::Ours { current: true, .. } => {
            no_longer_foreign(survey, host).unwrap_or_else(|| back(survey, host))
        }
    }
}

/// Our mark once more. A host that was declared out was drained without a mark: what is out there, and not by us, is somebody
/// else's, which is to be seen before our mark says whose it is; what cannot be seen may be out as well. So is everything where our
/// mark was and no longer is: an older service, or a person, has ended our work there, after which nothing of ours was out. A
/// machine that remembers nothing of us is another one.
pub(crate) fn renewed(survey: &Survey<'_>, host: &HostView<'_>, found: &BTreeSet<RowId>) -> Next {
    let unmarked = host.state().filter(|state| state.claim.is_none());
    if let Err(wait) = unmarked.map_or(Ok(()), |_| rows_are_fresh(host).and_then(|()| aside_is_read(host))) {
        return Next::Wait(wait);
    }
    let was_marked = survey.history.marked.contains(host.name);
    let is_ended = was_marked && unmarked.is_some_and(|state| state.last_generation.is_some());
    let may_be_out = |row: &RowView<'_>| row.is_taken_out() || !row.is_seen();
    let foreign = |row: &&RowView<'_>| may_be_out(row) && (is_ended || !host.may_be_out_by_us(survey, row));
    let rows = host.rows.iter().chain(&host.aside).filter(|_| unmarked.is_some());
    let given_back = if is_ended { BTreeSet::new() } else { given_back_since(survey, host, found) };
    let found = rows.filter(foreign).map(RowView::id).chain(found.difference(&given_back).cloned()).collect();
    Next::Step(Action::Claim { found }, "renew our mark")
}

/// Nobody of us is here: what is wrong is told, and left alone.
fn at_rest(host: &HostView<'_>, state: &HostState) -> Next {
    if state.health != HealthState::Healthy {
        return Next::DoneBut(Reason::Unhealthy { answer: health_answer(state) });
    }
    let foreign = host.foreign_rows();
    if foreign.is_empty() { Next::Done } else { Next::DoneBut(Reason::ForeignDrain { rows: foreign }) }
}

fn not_well(survey: &Survey<'_>, host: &HostView<'_>, state: &HostState, release: &Version) -> Next {
    let answer = health_answer(state);
    let activated = survey.history.activated.get(host.name).filter(|a| a.version == *release);
    let Some(activated) = activated else {
        let wait = Wait::new(Reason::Unhealthy { answer });
        // A package may restart its services itself: after an install as after an activation.
        let changed = survey.history.last_action.get(host.name);
        return Next::Wait(watch_health(host, wait, changed.copied().unwrap_or(Timestamp::MIN)));
    };
    let overdue_at = activated.at + within(host);
    if survey.now < overdue_at {
        let wait = Wait::new(Reason::HealthPending { answer, until: overdue_at }).since(activated.at);
        return Next::Wait(watch_health(host, wait.until(overdue_at), activated.at));
    }
    overdue(survey, host, state, release, activated)
}

/// How long an activation may take to become well.
fn within(host: &HostView<'_>) -> SignedDuration {
    host.role.health.as_ref().map_or(WITHIN_WITHOUT_PROBE, |health| health.within)
}

fn overdue(
    survey: &Survey<'_>,
    host: &HostView<'_>,
    state: &HostState,
    release: &Version,
    activated: &Activated,
) -> Next {
    let failure = unwell(host, &health_answer(state));
    if activated.times >= MAX_ATTEMPTS {
        let wait = Wait::new(Reason::Halted { version: release.clone(), failure }).since(activated.at);
        return Next::Wait(wait.watching_for_change(host_scope(host), WATCH * 4));
    }
    let until = next_activation(activated.at + within(host), activated.times);
    if survey.now < until {
        let reason =
            Reason::Backoff { action: model::ActionKind::Activate, failure, times: activated.times, until };
        let wait = Wait::new(reason).since(activated.at).until(until);
        return Next::Wait(watch_health(host, wait, activated.at));
    }
    if let ClaimView::Ours { current: false, found } = host.claim {
        return renewed(survey, host, found);
    }
    if let Some(next) = back_out_of_rotation(survey, host, release) {
        return next;
    }
    let package = host.package_for(release, state);
    Next::Step(host.activation(survey, release, &package), "not healthy in time: once more")
}

/// A load balancer that was reloaded meanwhile has forgotten the drain, and others give back what they had taken out.
fn back_out_of_rotation(survey: &Survey<'_>, host: &HostView<'_>, release: &Version) -> Option<Next> {
    if host.restarts_in_rotation(survey, release) {
        return None;
    }
    if let Err(wait) = rows_are_known(survey, host) {
        return Some(Next::Wait(wait));
    }
    no_longer_foreign(survey, host).or_else(|| leaving(survey, host))
}

/// Whether a host that was activated with this release, and has it still, is not well past its time: a failure of the
/// release.
pub(crate) fn has_failed(
    survey: &Survey<'_>,
    host: &HostView<'_>,
    release: &Version,
) -> Option<model::Failure> {
    let state = host.state()?;
    let activated = survey.history.activated.get(host.name).filter(|a| a.version == *release)?;
    let overdue = survey.now >= activated.at + within(host);
    let unwell_now = state.health != HealthState::Healthy;
    let has_it = || host.has_installed(state, &host.package_for(release, state));
    (host.claim.is_ours() && overdue && unwell_now && has_it()).then(|| unwell(host, &health_answer(state)))
}

/// The rows, node by node: out of maintenance, checked, ready, seen UP; then the mark goes.
fn back(survey: &Survey<'_>, host: &HostView<'_>) -> Next {
    if host.rows.is_empty() {
        return let_go(survey, host, "done here");
    }
    if !nodes_are_fresh(host) {
        let wait = Wait::new(Reason::FreshFacts);
        return Next::Wait(wait.reading(node_scopes(host)));
    }
    if let Err(wait) = read_since_mark(survey, host) {
        return Next::Wait(wait);
    }
    // Put there before our mark, on a node that could not be seen then.
    let taken_out = &survey.history.taken_out;
    let theirs =
        |row: &RowView<'_>| row.admin().is_some_and(|admin| taken_out.is_others(host.name, &row.id(), admin));
    let in_maint = ids(host, |row| row.admin() == Some(Admin::Maint) && !theirs(row));
    if !in_maint.is_empty() {
        return Next::Step(
            Action::Drain { rows: in_maint },
            "out of maintenance, so that it is checked again",
        );
    }
    let checked = |check: RowCheck| matches!(check, RowCheck::Passed | RowCheck::None);
    let is_drained = |row: &RowView<'_>| row.admin() == Some(Admin::Drain) && !theirs(row);
    let drained = ids(host, is_drained);
    let passed = ids(host, |row| is_drained(row) && row.row.is_some_and(|row| checked(row.check)));
    let known = rows_are_known(survey, host);
    // All nodes at once; but one that cannot be seen does not keep the host out on the others.
    if !passed.is_empty() && (passed.len() == drained.len() || known.is_err()) {
        let action = Action::Ready { rows: passed, because: ReadyBecause::Healthy };
        return Next::Step(action, "runs its release and is healthy");
    }
    if let Err(wait) = known {
        return Next::Wait(wait);
    }
    match host.rows_to_move().find(|row| !theirs(row) && row.row.is_some_and(|row| !is_up(row))) {
        Some(row) => {
            let status = row.row.map_or_else(String::new, |row| row.status.to_string());
            let wait = Wait::new(Reason::LoadBalancerCheck { row: row.id(), status });
            Next::Wait(wait.watching_for_change(node_scopes(host), WATCH_CLOSELY))
        }
        None => let_go(survey, host, "back in rotation"),
    }
}

/// Takes our hands off a host that serves, or needs no traffic: what is aside, its agent, our mark.
fn let_go(survey: &Survey<'_>, host: &HostView<'_>, why: &'static str) -> Next {
    aside(survey, host).unwrap_or_else(|| agent::released(survey, host, why))
}

/// Gives a host back that was begun in vain. None: a drain of ours would stay on a node that is declared out, since the
/// host is not well enough to be made ready there; or a service of it stands still, which would be left so without our mark.
pub(crate) fn given_back(survey: &Survey<'_>, host: &HostView<'_>, why: &'static str) -> Option<Next> {
    if let ClaimView::Ours { current: false, found } = host.claim {
        return Some(renewed(survey, host, found));
    }
    if let Some(next) = no_longer_foreign(survey, host) {
        return Some(next);
    }
    if host.state().is_some_and(|state| some_service_is_stopped(host, state)) {
        return None;
    }
    let well = host.state().is_some_and(|state| {
        let runs = |release: &Version| {
            let package = host.package_for(release, state);
            host.is_running(survey, state, release, &package)
        };
        state.health == HealthState::Healthy
            && host.installed_release(survey).is_some_and(|release| runs(&release))
    });
    match aside(survey, host) {
        Some(Next::Wait(wait)) => Some(Next::Wait(wait)),
        Some(next) => well.then_some(next),
        None => Some(agent::released(survey, host, why)),
    }
}

/// On a node that was declared out meanwhile, what we took out before is given back as well, where it can be seen: later
/// nobody could tell whose it was.
fn aside(survey: &Survey<'_>, host: &HostView<'_>) -> Option<Next> {
    let ClaimView::Ours { found, .. } = host.claim else { return None };
    // Nobody watches these nodes while work is done: what they showed before our drain says nothing.
    let unread = host.aside.iter().filter(|row| !row.is_fresh);
    let unread: BTreeSet<Scope> = unread.map(|row| Scope::Node(row.node.clone())).collect();
    if !unread.is_empty() {
        return Some(Next::Wait(Wait::new(Reason::FreshFacts).reading(unread)));
    }
    // Nobody looked at them when our mark was set: the journal tells what we took out, or is younger than the mark.
    let forgotten = !survey.history.claims.contains_key(host.name);
    let ours = |row: &&RowView<'_>| {
        host.is_out_by_us(survey, row) || (forgotten && row.admin() == Some(Admin::Drain))
    };
    let rows = host.aside.iter().filter(ours).map(RowView::id).filter(|row| !found.contains(row));
    let rows: BTreeSet<_> = rows.collect();
    if rows.is_empty() {
        return None;
    }
    let action = Action::Ready { rows, because: ReadyBecause::Healthy };
    Some(Next::Step(action, "no drain of ours stays on a load balancer node that is declared out"))
}

/// Weight is somebody else's business; the claim goes when HAProxy itself would send traffic.
fn is_up(row: &model::Row) -> bool {
    row.admin == Admin::Ready && (row.status == "UP" || row.status == "no check")
}

/// Every node was read after the last action, whether or not it could be seen.
fn nodes_are_fresh(host: &HostView<'_>) -> bool {
    host.rows.iter().all(|row| row.is_fresh)
}
