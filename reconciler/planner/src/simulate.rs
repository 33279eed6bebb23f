//! The effect of a step on what is observed, as the planner believes it. For previews only; the proof has a world of
//! its own.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use model::{
    Action, ActionKind, Admin, Claim, HealthState, HostState, Observed, PackageState, Row, RowCheck, RowId,
    Step, history::History,
};

/// Applies a step that ended at `at`.
pub(crate) fn simulate(observed: &mut Observed, step: &Step, service: &str, at: Timestamp) {
    if let Some(fact) = observed.hosts.get_mut(&step.host) {
        fact.at = at;
        if let Ok(state) = &mut fact.value {
            on_host(state, step, service, at);
        }
    }
    match &step.action {
        Action::Drain { rows } => each_row(observed, rows, |row| set(row, Admin::Drain, "DRAIN")),
        Action::Maint { rows } => each_row(observed, rows, |row| set(row, Admin::Maint, "MAINT")),
        Action::Ready { rows, .. } => each_row(observed, rows, |row| set(row, Admin::Ready, "UP")),
        Action::Retire { rows, .. } => each_row(observed, rows, |row| set(row, Admin::Drain, "DRAIN")),
        Action::Cut { rows } => each_row(observed, rows, |row| row.sessions = 0),
        Action::Weigh { weights } => {
            for (row, weight) in weights {
                each_row(observed, &BTreeSet::from([row.clone()]), |row| row.weight = *weight);
            }
        }
        Action::Download { .. }
        | Action::Claim { .. }
        | Action::Install { .. }
        | Action::Activate { .. }
        | Action::Migrate { .. }
        | Action::Check { .. }
        | Action::PauseAgent { .. }
        | Action::ResumeAgent { .. }
        | Action::Pin { .. }
        | Action::Patch { .. }
        | Action::Release => {}
    }
}

fn on_host(state: &mut HostState, step: &Step, service: &str, at: Timestamp) {
    match &step.action {
        Action::Download { packages } => {
            for (name, version) in packages {
                state.staged.entry(name.clone()).or_default().insert(version.clone());
            }
        }
        Action::Claim { found } => {
            state.claim = Some(Claim {
                generation: step.generation,
                service: service.to_owned(),
                environment: step.environment.clone(),
                commit: step.commit.clone(),
                found: found.clone(),
                at,
                expires: None,
            });
        }
        Action::Release => state.claim = None,
        Action::Install { packages, .. } => {
            for (name, version) in packages {
                let installed = PackageState {
                    version: version.clone(),
                    installed: true,
                    status: "hi".into(),
                    held: true,
                };
                state.packages.insert(name.clone(), installed);
            }
            state.patches.clear();
            for service in state.services.values_mut() {
                service.started_after_unpack = Some(false);
            }
        }
        Action::Patch { want } => {
            state.patches = want.iter().map(|patch| patch.sha256.clone()).collect();
        }
        Action::PauseAgent { .. } | Action::ResumeAgent { .. } => {
            let paused = matches!(step.action, Action::PauseAgent { .. });
            if let Some(agent) = &mut state.agent {
                (agent.active, agent.paused_by_us) = (!paused, paused);
            }
        }
        Action::Activate { services, stamp, packages: _ } => {
            for service in services {
                if let Some(service) = state.services.get_mut(&service.name) {
                    service.active = true;
                    service.stamped = Some(stamp.clone());
                }
            }
            state.health = HealthState::Healthy;
        }
        Action::Drain { .. }
        | Action::Maint { .. }
        | Action::Cut { .. }
        | Action::Ready { .. }
        | Action::Retire { .. }
        | Action::Weigh { .. }
        | Action::Migrate { .. }
        | Action::Check { .. }
        | Action::Pin { .. } => {}
    }
}

/// Sessions end at once here: how long they last is not known beforehand.
fn set(row: &mut Row, admin: Admin, status: &str) {
    row.admin = admin;
    row.status = status.into();
    row.check = RowCheck::Passed;
    row.sessions = 0;
}

fn each_row(observed: &mut Observed, rows: &BTreeSet<RowId>, change: impl Fn(&mut Row)) {
    for id in rows {
        let node = observed.nodes.get_mut(&id.node).and_then(|fact| fact.value.as_mut().ok());
        let row = node.and_then(|node| node.rows.get_mut(&(id.backend.clone(), id.server.clone())));
        if let Some(row) = row {
            change(row);
        }
    }
}

/// How long an action takes: as it did before, else a guess.
pub(crate) fn expected(history: &History, kind: ActionKind) -> SignedDuration {
    let guess_ms = match kind {
        ActionKind::Download => 20_000,
        ActionKind::Claim | ActionKind::Drain | ActionKind::Maint | ActionKind::Cut => 200,
        ActionKind::Install => 30_000,
        ActionKind::Activate => 5_000,
        ActionKind::Ready | ActionKind::Release | ActionKind::Retire | ActionKind::Weigh => 200,
        ActionKind::Migrate | ActionKind::Check => 120_000,
        ActionKind::PauseAgent | ActionKind::ResumeAgent | ActionKind::Pin => 500,
        ActionKind::Patch => 2_000,
    };
    SignedDuration::from_millis(history.durations_ms.get(&kind).copied().unwrap_or(guess_ms))
}
