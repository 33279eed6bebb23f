//! Who a step is for: the commit and generation in force, a host of the fleet with its own rows, and one step at a time.

use std::collections::BTreeSet;

use model::{Action, PackageName, Role, Step, StepId, Version};

use super::evidence::{Evidence, Target, target};
use super::{Findings, Promise};
use crate::word::job_hosts;

pub(super) fn lint(evidence: &Evidence<'_>, found: &mut Findings) {
    if evidence.plan.commit != evidence.desired.commit.id
        || evidence.plan.environment != evidence.desired.environment
    {
        found.plan(Promise::S10, "the plan is for another commit or environment than is in force");
    }
    one_at_a_time(evidence, found);
    for step in &evidence.plan.steps {
        in_force(evidence, step, found);
        is_known(evidence, step, found);
        rows_are_its_own(evidence, step, found);
        if let Some(role) = evidence.fleet_role(step) {
            installs_what_is_wanted(evidence, step, role, found);
        }
    }
}

fn one_at_a_time(evidence: &Evidence<'_>, found: &mut Findings) {
    let under_way = &evidence.history.in_flight;
    let mut ids: BTreeSet<&StepId> = under_way.keys().collect();
    let mut busy: BTreeSet<Target<'_>> =
        under_way.values().map(|under_way| target(&under_way.step)).collect();
    for step in &evidence.plan.steps {
        if !ids.insert(&step.id) {
            found.step(Promise::S7, step, "has the name of another step");
        }
        let target = target(step);
        if !busy.insert(target) && target != Target::Network {
            found.step(Promise::Alone, step, "would begin beside another step there");
        }
    }
}

fn in_force(evidence: &Evidence<'_>, step: &Step, found: &mut Findings) {
    let Evidence { desired, history, .. } = evidence;
    if step.commit != desired.commit.id || step.environment != desired.environment {
        found.step(Promise::S10, step, "belongs to another commit or environment than is in force");
    }
    if step.generation != history.generation {
        found.step(Promise::S6, step, "belongs to another generation than this service's");
    }
}

/// A host of the fleet, one that left it with our mark, or one that runs jobs.
fn is_known(evidence: &Evidence<'_>, step: &Step, found: &mut Findings) {
    let known = match target(step) {
        Target::Network => true,
        Target::Node(node) => evidence.desired.fleet.load_balancer_of(node).is_some(),
        Target::Host(host) => {
            evidence.role(step).is_some() || job_hosts(evidence.desired).any(|known| known == host)
        }
    };
    if !known {
        found.step(Promise::S10, step, "is on a host that the commit does not know in this role");
    }
}

/// Rows that a step touches are its host's; weights are set on its node.
fn rows_are_its_own(evidence: &Evidence<'_>, step: &Step, found: &mut Findings) {
    if let Action::Weigh { weights } = &step.action {
        if let Some(row) = weights.keys().find(|row| row.node != step.host) {
            found.step(Promise::S12, step, format_args!("touches {row}"));
        }
    }
    let Some(rows) = step.action.rows() else { return };
    let mut own = BTreeSet::new();
    if let Some(role) = evidence.role(step) {
        own.extend(evidence.rows(role, &step.host).into_iter().map(|seen| seen.id));
        if matches!(step.action, Action::Ready { .. }) {
            own.append(&mut evidence.rows_aside(role, &step.host));
        }
    }
    if let Some(row) = rows.difference(&own).next() {
        found.step(Promise::S12, step, format_args!("touches {row}, which is not the host's"));
    }
}

/// The target of the track, or the version that is there already and is only finished.
fn installs_what_is_wanted(evidence: &Evidence<'_>, step: &Step, role: &Role, found: &mut Findings) {
    let Action::Install { packages, .. } = &step.action else { return };
    let Some(state) = evidence.state(&step.host) else { return };
    let wanted = role.package_version(&step.version, &state.codename);
    let all = role.packages.iter().all(|name| packages.contains_key(name));
    let right =
        |(name, version): (&PackageName, &Version)| role.packages.contains(name) && *version == wanted;
    if !all || !packages.iter().all(right) {
        found.step(Promise::S10, step, format_args!("installs something else than {}", step.version));
    }
    let is_target = step.version == *evidence.desired.target_of(role.track);
    if !is_target && !evidence.has_some_of(role, &step.host, &step.version) {
        found.step(Promise::S10, step, format_args!("brings {}, which nobody wants there", step.version));
    }
}
