//! The effect of a step on what is observed, as the planner believes it. For previews only; the proof has a world of
//! its own.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use model::{
    Action, ActionKind, Admin, Check, Claim, HealthState, HostState, Observed, PackageState, Row, RowId,
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
        Action::Cut { rows } => each_row(observed, rows, |row| row.sessions = 0),
        Action::Download { .. }
        | Action::Claim { .. }
        | Action::Install { .. }
        | Action::Activate { .. }
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
            });
        }
        Action::Release => state.claim = None,
        Action::Install { packages, .. } => {
            for (name, version) in packages {
                let installed = PackageState {
                    version: version.clone(),
                    installed: true,
                    status: "hi".to_owned(),
                    held: true,
                };
                state.packages.insert(name.clone(), installed);
            }
            for service in state.services.values_mut() {
                service.started_after_unpack = Some(false);
            }
        }
        Action::Activate { services, stamp } => {
            for service in services {
                if let Some(service) = state.services.get_mut(&service.name) {
                    service.active = true;
                    service.stamped = Some(stamp.clone());
                }
            }
            state.health = HealthState::Healthy;
        }
        Action::Drain { .. } | Action::Maint { .. } | Action::Cut { .. } | Action::Ready { .. } => {}
    }
}

/// Sessions end at once here: how long they last is not known beforehand.
fn set(row: &mut Row, admin: Admin, status: &str) {
    row.admin = admin;
    status.clone_into(&mut row.status);
    row.check = Check::Passed;
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
        ActionKind::Ready | ActionKind::Release => 200,
    };
    SignedDuration::from_millis(history.durations_ms.get(&kind).copied().unwrap_or(guess_ms))
}
