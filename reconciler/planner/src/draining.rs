//! Out of rotation: every node agrees, no session is left, or the policy says what else.

use std::collections::BTreeSet;

use jiff::Timestamp;
use model::{Action, Admin, OnTimeout, ReadyBecause, Reason, RowId, Scope};

use crate::next::{Next, Wait, node_scopes};
use crate::rows::RowView;
use crate::survey::{ClaimView, HostView, Survey};
use crate::tuning::{AT_ONCE, DRAIN_SETTLE, UNWELL_REFRESH, WATCH};

/// What a claimed host still needs before it may be changed; none: it is drained, or has no rows of ours.
pub(crate) fn next(survey: &Survey<'_>, host: &HostView<'_>) -> Option<Next> {
    if host.rows.is_empty() {
        return None;
    }
    if let Err(wait) = rows_are_known(survey, host) {
        return Some(Next::Wait(wait));
    }
    if let Some(next) = no_longer_foreign(survey, host) {
        return Some(next);
    }
    if let Some(next) = leaving(survey, host) {
        return Some(next);
    }
    let drained_at = survey.history.drained.get(host.name).copied();
    // A journal that was lost does not know of the drain: not before our mark there.
    let claimed_at = || host.state().and_then(|state| state.claim.as_ref()).map(|claim| claim.at);
    let since = drained_at.or_else(claimed_at).unwrap_or(survey.now);
    if !settled(host, since) {
        // A reading of right after the drain is too early by a little: the next one is not waited for any longer.
        let wait = draining(host, since, survey.now).watching(node_scopes(host), DRAIN_SETTLE);
        return Some(Next::Wait(wait.until(since + DRAIN_SETTLE)));
    }
    sticky_next(survey, host, since).or_else(|| sessions_next(survey, host, since))
}

/// Out of rotation with what still serves; none: nothing does. A server that was down when its mark was set may be up since,
/// so it is judged by nodes that were read after the last action on the host, which has to be read then anyway.
pub(crate) fn leaving(survey: &Survey<'_>, host: &HostView<'_>) -> Option<Next> {
    let serving = ids(host, |row| row.admin() == Some(Admin::Ready));
    if serving.is_empty() {
        return read_since_mark(survey, host).err().map(Next::Wait);
    }
    let last = survey.history.last_action.get(host.name).copied();
    let next =
        read_since(host, last).map_or_else(Next::Wait, |()| Next::Leave(Action::Drain { rows: serving }));
    Some(next)
}

/// Every node that can be seen was read since our mark is on the host: until it fenced them off, older services could change
/// the rows.
pub(crate) fn read_since_mark(survey: &Survey<'_>, host: &HostView<'_>) -> Result<(), Wait> {
    read_since(host, survey.history.claims.get(host.name).map(|claim| claim.at))
}

fn read_since(host: &HostView<'_>, since: Option<Timestamp>) -> Result<(), Wait> {
    let is_older = |row: &&RowView<'_>| row.is_seen() && row.fact.map(|fact| fact.at) < since;
    let older: BTreeSet<Scope> =
        host.rows.iter().filter(is_older).map(|row| Scope::Node(row.node.clone())).collect();
    if older.is_empty() { Ok(()) } else { Err(Wait::new(Reason::FreshFacts).watching(older, AT_ONCE)) }
}

/// What our mark has to say no longer; none: nothing changed.
pub(crate) fn no_longer_foreign(survey: &Survey<'_>, host: &HostView<'_>) -> Option<Next> {
    let ClaimView::Ours { found, .. } = host.claim else { return None };
    let given_back = given_back_since(survey, host, found);
    let found = found.difference(&given_back).cloned().collect();
    let why = "rows that others had taken out serve again";
    (!given_back.is_empty()).then_some(Next::Step(Action::Claim { found }, why))
}

/// Rows that were out when we came, and that their owner has given back: they serve, or we retired them since, also where the
/// node was declared out after that. They are ours to move.
pub(crate) fn given_back_since(
    survey: &Survey<'_>,
    host: &HostView<'_>,
    found: &BTreeSet<RowId>,
) -> BTreeSet<RowId> {
    if found.is_empty() {
        return BTreeSet::new();
    }
    let serving = host.rows.iter().filter(|row| row.admin() == Some(Admin::Ready));
    let ours = host.rows.iter().chain(&host.aside).filter(|row| host.is_out_by_us(survey, row));
    serving.chain(ours).map(RowView::id).filter(|row| found.contains(row)).collect()
}

/// Every row of the host is seen, fresh, and points to it. Of one that left the fleet, rows go as well, or lead to another one,
/// where we keep nothing out.
pub(crate) fn rows_are_known(survey: &Survey<'_>, host: &HostView<'_>) -> Result<(), Wait> {
    rows_are_fresh(host)?;
    let leads_away = |row: &RowView<'_>| host.elsewhere(row).is_some() && !host.is_out_by_us(survey, row);
    let is_gone = |row: &RowView<'_>| row.is_seen() && (row.row.is_none() || leads_away(row));
    let is_known = |row: &RowView<'_>| row.row.is_some() && host.elsewhere(row).is_none();
    let has_left = survey.lane_of(host).is_none();
    if has_left && host.rows.iter().all(|row| is_known(row) || is_gone(row)) {
        return Ok(());
    }
    rows_are_seen(host)
}

/// Every node of the host was read after the last action there, a moment ago.
pub(crate) fn rows_are_fresh(host: &HostView<'_>) -> Result<(), Wait> {
    if host.rows.iter().all(|row| row.is_fresh) {
        return Ok(());
    }
    Err(Wait::new(Reason::FreshFacts).reading(node_scopes(host)))
}

/// Also the nodes that are declared out were read a moment ago, which nobody watches: the mark says what others had taken out
/// there as well. One that could not be seen may be dead, and is not asked again.
pub(crate) fn aside_is_read(host: &HostView<'_>) -> Result<(), Wait> {
    let answers = |row: &RowView<'_>| row.fact.is_none_or(|fact| fact.value.is_ok());
    let unread = host.aside.iter().filter(|row| answers(row) && !row.is_fresh);
    let scopes: BTreeSet<Scope> = unread.map(|row| Scope::Node(row.node.clone())).collect();
    if scopes.is_empty() { Ok(()) } else { Err(Wait::new(Reason::FreshFacts).reading(scopes)) }
}

/// Every row of the host was seen, however long ago, and points to it.
pub(crate) fn rows_are_seen(host: &HostView<'_>) -> Result<(), Wait> {
    for row in &host.rows {
        match row.fact.map(|fact| &fact.value) {
            None => return rows_are_fresh(host),
            Some(Err(unknown)) => {
                let (node, kind, detail) = (row.node.clone(), unknown.kind, unknown.detail.clone());
                let wait = Wait::new(Reason::NodeUnknown { node, kind, detail });
                return Err(wait.watching_for_change(node_scopes(host), UNWELL_REFRESH));
            }
            Some(Ok(_)) => {}
        }
    }
    host.rows.iter().try_for_each(|row| row_is_the_hosts(host, row))
}

fn row_is_the_hosts<'a>(host: &HostView<'a>, row: &RowView<'a>) -> Result<(), Wait> {
    if row.row.is_none() {
        return Err(Wait::new(Reason::RowMissing { row: row.id() }));
    }
    match host.elsewhere(row) {
        Some(address) => {
            let address = address.to_owned();
            Err(Wait::new(Reason::RowElsewhere { row: row.id(), address }))
        }
        None => Ok(()),
    }
}

/// Every node was read long enough after the drain.
fn settled(host: &HostView<'_>, since: Timestamp) -> bool {
    let read_at = |row: &RowView<'_>| row.fact.map(|fact| fact.at);
    host.rows_to_move().all(|row| read_at(row).is_some_and(|at| at >= since + DRAIN_SETTLE))
}

/// Clients bound by cookie or stick table ignore a drain: only maintenance sends them elsewhere. That is done when
/// nobody is there any more, at the drain's deadline otherwise.
fn sticky_next(survey: &Survey<'_>, host: &HostView<'_>, since: Timestamp) -> Option<Next> {
    let bound = |row: &RowView<'_>| row.sticky && row.admin() == Some(Admin::Drain);
    let due = |row: &RowView<'_>| row.sessions == 0 || survey.now >= since + row.policy.timeout;
    if !host.rows_to_move().any(bound) {
        return None;
    }
    if host.rows_to_move().filter(|row| bound(row)).all(due) {
        let rows = ids(host, bound);
        return Some(Next::Step(Action::Maint { rows }, "clients bound to it go elsewhere"));
    }
    let until = host.rows_to_move().filter(|row| bound(row)).map(|row| since + row.policy.timeout).min();
    let wait = draining(host, since, survey.now);
    Some(Next::Wait(match until {
        Some(until) => wait.until(until),
        None => wait,
    }))
}

/// Waits for sessions, or applies the policy of the first backend whose time is over. What an old worker has of a row that has
/// gone with its host from the fleet is waited for as long, and can be named to nobody then.
fn sessions_next(survey: &Survey<'_>, host: &HostView<'_>, since: Timestamp) -> Option<Next> {
    let busy: Vec<&RowView<'_>> = host.rows_to_move().filter(|row| row.sessions > 0).collect();
    let overdue = |row: &&&RowView<'_>| survey.now >= since + row.policy.timeout;
    let overdue_with =
        |policy| busy.iter().filter(overdue).any(|row| row.row.is_some() && row.policy.on_timeout == policy);
    if overdue_with(OnTimeout::Wait) {
        let rows = ids(host, |row| row.admin() != Some(Admin::Ready));
        let action = Action::Ready { rows, because: ReadyBecause::DrainTimeout };
        return Some(Next::Step(action, "sessions did not end in time: give the host back"));
    }
    if overdue_with(OnTimeout::Cut) {
        let cut = |row: &RowView<'_>| {
            row.sessions > 0
                && row.policy.on_timeout == OnTimeout::Cut
                && survey.now >= since + row.policy.timeout
        };
        return Some(Next::Step(Action::Cut { rows: ids(host, cut) }, "sessions did not end in time"));
    }
    let proceeds = |row: &RowView<'_>| row.row.is_none() || row.policy.on_timeout == OnTimeout::Proceed;
    let waits = |row: &&&RowView<'_>| !(overdue(row) && proceeds(row));
    let until = busy.iter().filter(waits).map(|row| since + row.policy.timeout).min()?;
    Some(Next::Wait(draining(host, since, survey.now).until(until)))
}

/// The wait for a host's sessions, with the row that has most of them.
fn draining(host: &HostView<'_>, since: Timestamp, now: Timestamp) -> Wait {
    let sessions = host.rows_to_move().map(|row| row.sessions).sum();
    let most = host.rows_to_move().max_by_key(|row| row.sessions);
    let reason = match most {
        Some(row) => Reason::Draining {
            sessions,
            row: row.id(),
            until: since + row.policy.timeout,
            then: row.policy.on_timeout,
        },
        None => Reason::FreshFacts,
    };
    Wait::new(reason).since(since.min(now)).watching_for_change(node_scopes(host), WATCH)
}

/// The host's rows that are ours to move, are there, and fit.
pub(crate) fn ids(host: &HostView<'_>, fits: impl Fn(&RowView<'_>) -> bool) -> BTreeSet<RowId> {
    host.rows_to_move().filter(|row| row.row.is_some() && fits(row)).map(RowView::id).collect()
}
