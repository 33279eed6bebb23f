//! A host that a person has declared out: it is drained, wherever it still serves, and then neither counted nor waited
//! for. It may be dead: nothing is asked of the host itself.

use std::collections::BTreeSet;

use model::{Action, Admin, Event, HostName, InFlight, Out, Reason, RowId};

use crate::draining::{rows_are_fresh, rows_are_seen};
use crate::next::{Next, Wait};
use crate::position::under_way;
use crate::rows::RowView;
use crate::survey::{HostView, Survey};

/// What such a host still needs. Where it serves nowhere, a step that is under way there is not waited for: it may never end.
pub(crate) fn next(survey: &Survey<'_>, host: &HostView<'_>, out: &Out) -> Next {
    let serves = |row: &&RowView<'_>| row.admin() == Some(Admin::Ready) && host.elsewhere(row).is_none();
    let serving: BTreeSet<_> = host.rows.iter().filter(serves).map(RowView::id).collect();
    let will_serve = |in_flight: &InFlight| matches!(in_flight.step.action, Action::Ready { .. });
    if let Some(in_flight) = host.in_flight.filter(|it| will_serve(it) || !serving.is_empty()) {
        return Next::Wait(under_way(survey, in_flight));
    }
    if serving.is_empty() {
        // A row that is missing or points elsewhere is no traffic; a node that cannot be seen may well send some.
        return match rows_are_seen(host) {
            Err(Wait { reason: Reason::RowMissing { .. } | Reason::RowElsewhere { .. }, .. }) | Ok(()) => {
                Next::DoneBut(Reason::HostOut { why: out.reason.clone(), until: out.until })
            }
            Err(wait) => Next::Wait(wait),
        };
    }
    if let Err(wait) = rows_are_fresh(host) {
        return Next::Wait(wait);
    }
    // What points elsewhere is not ours to move, now or when the host comes back.
    let elsewhere = host.rows.iter().filter(|row| host.elsewhere(row).is_some()).map(RowView::id);
    let found = host.not_ours(survey).into_iter().chain(elsewhere).collect();
    Next::Leave(Action::Retire { rows: serving, found })
}

/// Rows that are no longer as we left them, of hosts that are declared out, or were and are not marked yet, and that `stay` as
/// they are: whoever takes them out next, it is not us.
pub(crate) fn undone(survey: &Survey<'_>, stays: impl Fn(&HostName, &RowId) -> bool) -> Vec<Event> {
    // A host that cannot be seen is marked if its mark ever arrived.
    let was_marked = |host: &HostView<'_>| survey.history.marked.contains(host.name);
    let unmarked =
        |host: &HostView<'_>| host.state().map_or_else(|| !was_marked(host), |state| state.claim.is_none());
    let is_or_was_out = |host: &&HostView<'_>| host.out.is_some() || unmarked(host);
    // Most hosts have nothing that could be undone.
    let hosts = survey.hosts.iter().chain(&survey.departed);
    let hosts = hosts.filter(|host| survey.history.taken_out.has_any(host.name)).filter(is_or_was_out);
    let undone = |host: &HostView<'_>| {
        let rows = host.rows.iter().filter(|row| is_undone(survey, host, row)).map(RowView::id);
        let rows: BTreeSet<RowId> = rows.filter(|row| stays(host.name, row)).collect();
        let (environment, host) = (survey.desired.environment.clone(), host.name.clone());
        (!rows.is_empty()).then_some(Event::Undone { environment, host, rows })
    };
    hosts.filter_map(undone).collect()
}

fn is_undone(survey: &Survey<'_>, host: &HostView<'_>, row: &RowView<'_>) -> bool {
    // What is retired now is about to be as we want it.
    let is_moved = |in_flight: &InFlight| match &in_flight.step.action {
        Action::Retire { rows, .. } => rows.contains(&row.id()),
        _ => true,
    };
    let by_us = survey.history.taken_out.how(host.name, &row.id()).is_some();
    let seen = row.is_fresh && row.admin().is_some() && !host.in_flight.is_some_and(is_moved);
    by_us && seen && !host.is_out_by_us(survey, row)
}
