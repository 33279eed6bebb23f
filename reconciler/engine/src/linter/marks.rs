//! Our mark and other people's doings: nothing changes without the one, and the others stay as found.

use std::collections::BTreeSet;

use model::{
    Action, Activate, Admin, Claim, HealthState, HostName, HostState, ReadyBecause, Role, RowId, Running,
    Service, Step, TakenOut,
};

use super::evidence::{Evidence, Mark, Target, target};
use super::{Findings, Promise};

pub(super) fn lint(evidence: &Evidence<'_>, found: &mut Findings) {
    for step in &evidence.plan.steps {
        let Target::Host(host) = target(step) else { continue };
        let mark = evidence.mark(host);
        is_ours(evidence, step, mark, found);
        leaves_alone(step, mark, found);
        match &step.action {
            Action::Claim { found: rows } => notes_what_it_found(evidence, step, mark, rows, found),
            Action::Ready { because: ReadyBecause::Healthy, .. } => is_well(evidence, step, found),
            Action::Release => is_given_back(evidence, step, mark, found),
            Action::PauseAgent { .. } | Action::ResumeAgent { .. } => agent(evidence, step, found),
            _ => {}
        }
    }
}

/// Every change but a claim needs our mark, seen on the host, of this generation. A host that is declared out may be
/// dead, a download changes nothing that runs, and whoever gives back goes by the journal's word.
fn is_ours(evidence: &Evidence<'_>, step: &Step, mark: Mark<'_>, found: &mut Findings) {
    if matches!(step.action, Action::Retire { .. }) {
        return;
    }
    if let Mark::Other(Claim { service, generation, .. }) = mark {
        let of = format_args!("is on a host of service {service}, generation {generation}");
        found.step(Promise::S6, step, of);
        return;
    }
    let exempt = matches!(
        step.action,
        Action::Claim { .. } | Action::Download { .. } | Action::Release | Action::ResumeAgent { .. }
    );
    if !exempt && !matches!(mark, Mark::Ours { current: true, .. }) {
        found.step(Promise::S6, step, "needs our mark of this generation there");
    }
    let running = evidence.state(&step.host).and_then(|state| state.job.as_ref());
    let changes =
        matches!(step.action, Action::Install { .. } | Action::Activate { .. } | Action::Patch { .. });
    if let Some(job) = running.filter(|_| changes && evidence.role(step).is_some()) {
        found.step(Promise::S7, step, format_args!("would begin beside job {job} of ours"));
    }
}

/// Rows that were out already when we came are not ours to move. Declaring a host out moves them all.
fn leaves_alone(step: &Step, mark: Mark<'_>, found: &mut Findings) {
    let Mark::Ours { found: foreign, .. } = mark else { return };
    let rows = step.action.rows().filter(|_| !matches!(step.action, Action::Retire { .. }));
    if let Some(row) = rows.and_then(|rows| rows.intersection(foreign).next()) {
        found.step(Promise::S12, step, format_args!("moves {row}, which somebody else has taken out"));
    }
}

/// A first claim remembers every row that is out; a renewed one remembers what the first did.
fn notes_what_it_found(
    evidence: &Evidence<'_>,
    step: &Step,
    mark: Mark<'_>,
    rows: &BTreeSet<RowId>,
    found: &mut Findings,
) {
    let Some(role) = evidence.role(step) else { return };
    let out = match mark {
        Mark::None => rows_out(evidence, role, &step.host),
        // What others have put back is nobody's any more.
        Mark::Ours { found, .. } => {
            let taken_out = &evidence.history.taken_out;
            let ours = |row: &RowId| serves(evidence, row) || taken_out.how(&step.host, row).is_some();
            found.iter().filter(|row| !ours(row)).cloned().collect()
        }
        Mark::Other(_) => return,
    };
    if let Some(row) = out.difference(rows).next() {
        found.step(Promise::S12, step, format_args!("forgets that somebody else has taken {row} out"));
    }
}

/// Rows of a host that were seen out of rotation by command.
fn serves(evidence: &Evidence<'_>, row: &RowId) -> bool {
    evidence.row(row).is_some_and(|row| row.admin == Admin::Ready)
}

fn rows_out<'a>(evidence: &Evidence<'a>, role: &'a Role, host: &HostName) -> BTreeSet<RowId> {
    let rows = evidence.rows(role, host).into_iter();
    let out = rows.filter(|seen| seen.row.is_some_and(|row| row.admin != Admin::Ready));
    out.map(|seen| seen.id).collect()
}

/// Back into rotation: the host is well, and runs the release that the step names.
fn is_well(evidence: &Evidence<'_>, step: &Step, found: &mut Findings) {
    let (Some(role), Some(state)) = (evidence.role(step), evidence.state(&step.host)) else { return };
    if let HealthState::Unhealthy(answer) = &state.health {
        found.step(Promise::Health, step, format_args!("would serve, and is not well: {answer}"));
    }
    if !evidence.has_some_of(role, &step.host, &step.version) && !is_at(role, state, step) {
        found.step(Promise::Health, step, format_args!("would serve without {} installed", step.version));
    }
    let patched = evidence.desired.patches(&role.name, &step.version).next().is_some();
    if patched || !state.patches.is_empty() {
        // Only our own stamp tells which patches run.
        return;
    }
    let mut must_run = role.services.iter().filter(|service| service.activate != Activate::None);
    if let Some(service) = must_run.find(|service| !runs(role, state, step, service)) {
        let how = format_args!("would serve, and its {} does not run {}", service.name, step.version);
        found.step(Promise::Health, step, how);
    }
}

/// A version that git never knew is named by its package.
fn is_at(role: &Role, state: &HostState, step: &Step) -> bool {
    let first = role.packages.first().and_then(|name| state.packages.get(name));
    role.packages.is_empty() || first.is_some_and(|package| package.version == step.version)
}

fn runs(role: &Role, state: &HostState, step: &Step, service: &Service) -> bool {
    let package = role.package_version(&step.version, &state.codename);
    let running = state.services.get(&service.name).map(|seen| seen.running(Some(&package)));
    matches!(running, Some(Running::Version(version)) if version == package || version == step.version)
}

/// Our mark goes last: no row of ours is out, and the agent runs as it did. Rows of a host that left the fleet may lead to another
/// one since; and where nothing is installed on it, what is out is ours only by what we know to have done.
fn is_given_back(evidence: &Evidence<'_>, step: &Step, mark: Mark<'_>, found: &mut Findings) {
    if let (Mark::Ours { found: foreign, .. }, Some(role)) = (mark, evidence.role(step)) {
        let taken_out = &evidence.history.taken_out;
        let is = |row: &RowId, whose: fn(&TakenOut, &HostName, &RowId, Admin) -> bool| {
            evidence.row(row).is_some_and(|seen| whose(taken_out, &step.host, row, seen.admin))
        };
        let is_bare = evidence.fleet_role(step).is_none() && evidence.has_nothing_of(role, &step.host);
        // The mark may still call somebody else's what we have taken out since.
        let ours =
            |row: &&RowId| match is_bare || foreign.contains(*row) || evidence.was_given_away(step, row) {
                true => is(row, TakenOut::has),
                false => !is(row, TakenOut::is_others),
            };
        if let Some(row) = rows_out(evidence, role, &step.host).iter().find(ours) {
            found.step(Promise::S12, step, format_args!("leaves {row} out of rotation"));
        }
    }
    let has_agent = evidence.desired.fleet.policy.config_agent.is_some();
    if has_agent && evidence.agent_is_paused(&step.host) {
        found.step(Promise::S12, step, "leaves the configuration agent paused");
    }
}

/// Only a running agent is paused, and only our own pause ends.
fn agent(evidence: &Evidence<'_>, step: &Step, found: &mut Findings) {
    let Some(agent) = evidence.state(&step.host).and_then(|state| state.agent.as_ref()) else { return };
    match &step.action {
        Action::ResumeAgent { .. } if !agent.paused_by_us => {
            found.step(Promise::S12, step, "starts a configuration agent that somebody else has paused");
        }
        Action::PauseAgent { .. } if !agent.active => {
            found.step(Promise::S12, step, "pauses a configuration agent that stands still already");
        }
        _ => {}
    }
}
