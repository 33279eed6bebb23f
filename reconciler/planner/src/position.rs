//! A host's position, derived from what is observed: what it needs next, or why it waits.
//!
//! Nothing here is remembered from pass to pass: a crash at any instant needs no recovery code.

use model::{Action, ActionKind, Claim, FailureKind, HostState, MAX_ATTEMPTS, PatchFile, Reason, Version};

use crate::agent;
use crate::draining;
use crate::next::{Next, Wait, health_answer, host_scope, unwell};
use crate::returning;
use crate::rows::RowView;
use crate::survey::{ClaimView, HostView, Survey};
use crate::tuning::{AT_ONCE, PACKAGES_MAX_AGE, UNWELL_REFRESH, WATCH};

/// What a host should be brought to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal<'a> {
    /// This release: its role's turn has come.
    Release(&'a Version),
    /// A safe point: finish what was begun with what is installed, and begin nothing.
    Settle,
}

/// Derives a host's position.
pub(crate) fn next(survey: &Survey<'_>, host: &HostView<'_>, goal: Goal<'_>) -> Next {
    if let Some(in_flight) = host.in_flight {
        return Next::Wait(under_way(survey, in_flight));
    }
    let state = match seen(host) {
        Ok(state) => state,
        Err(wait) => return Next::Wait(wait),
    };
    if let Some((environment, other)) = survey.observed.twins.get(host.name).filter(|_| !host.claim.is_ours())
    {
        let reason = Reason::SameMachine { host: other.clone(), environment: environment.clone() };
        return Next::Wait(Wait::new(reason));
    }
    if let Some(step) = &state.job {
        let wait = Wait::new(Reason::JobRunning { step: step.clone() });
        return Next::Wait(wait.watching_for_change(host_scope(host), WATCH));
    }
    if let ClaimView::Other(claim) = host.claim {
        return Next::Wait(claimed_by_other(survey, claim));
    }
    match goal {
        Goal::Release(release) => toward(survey, host, state, release),
        Goal::Settle => settle(survey, host, state),
    }
}

pub(crate) fn under_way(survey: &Survey<'_>, in_flight: &model::InFlight) -> Wait {
    let (step, action) = (in_flight.step.id.clone(), in_flight.step.action.kind());
    let overdue_at = in_flight.since + in_flight.step.deadline;
    if survey.now >= overdue_at {
        let deadline = in_flight.step.deadline;
        return Wait::new(Reason::StepOverdue { step, action, deadline }).since(in_flight.since);
    }
    Wait::new(Reason::InFlight { step, action }).since(in_flight.since).until(overdue_at)
}

/// Somebody else works there; that it takes longer than they expected is told, and changes nothing else.
pub(crate) fn claimed_by_other(survey: &Survey<'_>, claim: &Claim) -> Wait {
    let overdue = claim.expires.is_some_and(|expires| expires <= survey.now);
    let (generation, service) = (claim.generation, claim.service.clone());
    let wait = Wait::new(Reason::ClaimedByOther { generation, service, overdue }).since(claim.at);
    claim.expires.filter(|_| !overdue).map_or(wait.clone(), |expires| wait.until(expires))
}

/// The host's state, when it may be acted on.
pub(crate) fn seen<'a>(host: &HostView<'a>) -> Result<&'a HostState, Wait> {
    let fresh = host.is_fresh;
    match host.fact.map(|fact| &fact.value) {
        Some(Ok(state)) if fresh => Ok(state),
        Some(Err(unknown)) if fresh => {
            let reason = Reason::HostUnknown { kind: unknown.kind, detail: unknown.detail.clone() };
            Err(Wait::new(reason).watching_for_change(host_scope(host), UNWELL_REFRESH))
        }
        _ => Err(Wait::new(Reason::FreshFacts).reading(host_scope(host))),
    }
}

/// The host's packages were read a moment ago.
pub(crate) fn packages_are_read(survey: &Survey<'_>, host: &HostView<'_>) -> Result<(), Wait> {
    if host.fact.is_some_and(|fact| survey.now.duration_since(fact.at) <= PACKAGES_MAX_AGE) {
        return Ok(());
    }
    Err(Wait::new(Reason::FreshFacts).watching(host_scope(host), AT_ONCE))
}

fn settle(survey: &Survey<'_>, host: &HostView<'_>, state: &HostState) -> Next {
    if !host.claim.is_ours() {
        return Next::Done;
    }
    match host.installed_release(survey) {
        // Patches are begun nowhere on the way to a safe point.
        Some(release) if !host.is_patched(survey, state, &release) => {
            returning::next(survey, host, state, &release)
        }
        Some(release) => toward(survey, host, state, &release),
        None => without_packages(survey, host, state),
    }
}

/// Nothing is installed there. What we took out is not given back with that; a host that left the fleet, and for which nothing is
/// out by us, is let go.
fn without_packages(survey: &Survey<'_>, host: &HostView<'_>, state: &HostState) -> Next {
    let has_left = survey.lane_of(host).is_none();
    let may_be_out = has_left && survey.history.taken_out.has_any(host.name);
    let read = || draining::rows_are_fresh(host).and_then(|()| draining::aside_is_read(host));
    if let Some(wait) = may_be_out.then(read).and_then(Result::err) {
        return Next::Wait(wait);
    }
    let mut rows = host.rows.iter().chain(&host.aside);
    if has_left && !rows.any(|row| host.may_be_out_by_us(survey, row)) {
        return match host.claim {
            ClaimView::Ours { current: false, found } => returning::renewed(survey, host, found),
            _ => agent::released(survey, host, "it left the fleet before anything was installed"),
        };
    }
    let wait = Wait::new(Reason::Unhealthy { answer: health_answer(state) });
    Next::Wait(wait.watching_for_change(host_scope(host), UNWELL_REFRESH))
}

fn toward(survey: &Survey<'_>, host: &HostView<'_>, state: &HostState, release: &Version) -> Next {
    let package = host.package_for(release, state);
    let installed = host.has_installed(state, &package);
    let patched = installed && host.is_patched(survey, state, release);
    let running = patched && host.is_running(survey, state, release, &package);
    if running {
        let refused = in_the_way(survey, host, release).filter(|_| blocks_return(survey, host, release));
        return refused.map_or_else(|| returning::next(survey, host, state, release), Next::Wait);
    }
    let stopped = patched && !host.claim.is_ours() && some_service_is_stopped(host, state);
    if stopped {
        let answer = health_answer(state);
        return Next::DoneBut(Reason::Unhealthy { answer });
    }
    if let Some(wait) = in_the_way(survey, host, release) {
        return give_back_while_waiting(survey, host, wait);
    }
    if !installed && !host.has_staged(state, &package) {
        let packages = host.packages_at(&package);
        return Next::Step(Action::Download { packages }, "fetch before the drain");
    }
    match host.claim {
        ClaimView::Ours { current: true, .. } => agent::quiet(survey, host, state)
            .or_else(|| out_of_rotation(survey, host, installed, release))
            .unwrap_or_else(|| work(survey, host, state, release, package)),
        ClaimView::Ours { current: false, found } => returning::renewed(survey, host, found),
        ClaimView::None | ClaimView::Other(_) => {
            agent::busy(survey, host, state).map_or_else(|| admit(survey, host), Next::Wait)
        }
    }
}

/// An emergency patches and restarts in rotation; everything else is drained first.
fn out_of_rotation(
    survey: &Survey<'_>,
    host: &HostView<'_>,
    installed: bool,
    release: &Version,
) -> Option<Next> {
    let stays = installed && host.restarts_in_rotation(survey, release);
    if stays { None } else { draining::next(survey, host) }
}

/// A claim records the rows that others have taken out: so every node must have been seen. Whether a moment ago is
/// judged when its turn has come.
fn admit(survey: &Survey<'_>, host: &HostView<'_>) -> Next {
    match draining::rows_are_seen(host) {
        Err(wait) => Next::Wait(wait),
        Ok(()) => Next::Admit(Action::Claim { found: host.not_ours(survey) }),
    }
}

/// A unit that stands still on a host that we do not work on was stopped by somebody: it is left as found.
pub(crate) fn some_service_is_stopped(host: &HostView<'_>, state: &HostState) -> bool {
    host.role.services.iter().any(|service| state.services.get(&service.name).is_some_and(|s| !s.active))
}

/// Drained: bring the package, then the services.
fn work(
    survey: &Survey<'_>,
    host: &HostView<'_>,
    state: &HostState,
    release: &Version,
    package: Version,
) -> Next {
    if !host.has_installed(state, &package) {
        if let Err(wait) = packages_are_read(survey, host) {
            return Next::Wait(wait);
        }
        let packages = host.packages_at(&package);
        let (prepare, configure) = (host.role.prepare.clone(), host.role.configure.clone());
        // Only a policy of proceeding comes here with sessions left, and it says so.
        let busy = host.our_rows().any(|row| row.sessions > 0);
        let why =
            if busy { "install beside sessions that did not end in time" } else { "install while drained" };
        return Next::Step(Action::Install { packages, prepare, configure }, why);
    }
    if !host.is_patched(survey, state, release) {
        let want = host.patches(survey, release).into_iter().map(patch_file).collect();
        return Next::Step(Action::Patch { want }, "bring it to the patches of its release");
    }
    let attempts = survey.history.activated.get(host.name).filter(|a| a.version == *release);
    if let Some(activated) = attempts.filter(|activated| activated.times >= MAX_ATTEMPTS) {
        let failure = unwell(host, "the services never ran it");
        let reason = Reason::Halted { version: release.clone(), failure };
        return Next::Wait(Wait::new(reason).since(activated.at));
    }
    Next::Step(host.activation(survey, release, &package), "run what is installed")
}

fn patch_file(patch: &model::Patch) -> PatchFile {
    PatchFile {
        sha256: patch.sha256.clone(),
        file: patch.file.clone(),
        root: patch.root.clone(),
        contents: patch.contents.clone(),
    }
}

/// A failure of this release that still stands in the way.
pub(crate) fn in_the_way(survey: &Survey<'_>, host: &HostView<'_>, release: &Version) -> Option<Wait> {
    let trouble = survey.history.trouble(host.name, release)?;
    if trouble.attempts >= MAX_ATTEMPTS {
        let reason = Reason::Halted { version: release.clone(), failure: trouble.failure.clone() };
        return Some(Wait::new(reason));
    }
    if survey.now >= trouble.until {
        return None;
    }
    let until = trouble.until;
    let reason = if trouble.action == ActionKind::Drain && trouble.failure.kind == FailureKind::TimedOut {
        Reason::DrainTimedOut { until }
    } else {
        let (action, failure, times) = (trouble.action, trouble.failure.clone(), trouble.times);
        Reason::Backoff { action, failure, times, until }
    };
    Some(Wait::new(reason).until(until))
}

/// A command that was refused on the way back is not repeated at once. A drain that took too long, or an install that
/// failed before, is no reason to keep a host out that runs its release.
fn blocks_return(survey: &Survey<'_>, host: &HostView<'_>, release: &Version) -> bool {
    let trouble = survey.history.trouble(host.name, release);
    trouble.is_some_and(|trouble| {
        let on_the_way_back = matches!(
            trouble.action,
            ActionKind::Claim | ActionKind::Drain | ActionKind::Ready | ActionKind::Release
        );
        on_the_way_back && trouble.failure.kind != FailureKind::TimedOut
    })
}

/// A claimed host that waits long and still serves is not kept claimed: others may go meanwhile. Whether it serves is told
/// by nodes that were read since: a drain that was refused on one of them may have been done on the others.
fn give_back_while_waiting(survey: &Survey<'_>, host: &HostView<'_>, wait: Wait) -> Next {
    let serves = |row: &RowView<'_>| row.is_fresh && row.in_rotation();
    let serves = !host.rows.is_empty() && host.our_rows().all(serves);
    let untouched = matches!(wait.reason, Reason::DrainTimedOut { .. } | Reason::Backoff { .. });
    if host.claim.is_ours() && serves && untouched && host.is_fresh {
        return returning::given_back(survey, host, "give back while it waits").unwrap_or(Next::Wait(wait));
    }
    Next::Wait(wait)
}
