//! Actions on the way out.

use model::{Action, Admin, JobName, RowId, Step};

use crate::proof::bent::memory::Memory;
use crate::proof::sabotage::Sabotage;
use crate::proof::shape::{is_canary, is_first_node};

/// The step as it sets out; none: it never does, and is said to have worked.
pub(crate) fn bent(how: Sabotage, step: &Step, memory: &mut Memory) -> Option<Step> {
    let mut step = step.clone();
    match how {
        Sabotage::DrainOfFirstNode => drains_first_node(&mut step, memory),
        Sabotage::WeightRoundedUp => rounds_up(&mut step),
        Sabotage::MigratedAgain => names_after_life(&mut step),
        Sabotage::UndrainsOthers => readies_all(&mut step, memory),
        Sabotage::NewestInstead => takes_newest(&mut step, memory),
        Sabotage::FoundForgotten => forgets_found(&mut step),
        Sabotage::MarkStays => return marks(step, memory),
        _ => {}
    }
    Some(step)
}

fn drains_first_node(step: &mut Step, memory: &mut Memory) {
    let admin = match &step.action {
        Action::Drain { .. } | Action::Retire { .. } => Admin::Drain,
        Action::Maint { .. } => Admin::Maint,
        Action::Ready { .. } => Admin::Ready,
        _ => return,
    };
    let servers = step.action.rows().into_iter().flatten().map(|row| row.server.clone());
    memory.taken_out.extend(servers.map(|server| (server, admin)));
    if let Action::Drain { rows } | Action::Retire { rows, .. } | Action::Maint { rows } = &mut step.action {
        rows.retain(|row| is_first_node(&row.node));
    }
}

fn rounds_up(step: &mut Step) {
    if let Action::Weigh { weights } = &mut step.action {
        let canaries = weights.iter_mut().filter(|(row, _)| is_canary(row.server.as_str()));
        canaries.for_each(|(_, weight)| *weight += 1);
    }
}

fn names_after_life(step: &mut Step) {
    let (environment, life) = (step.environment.clone(), step.generation.0);
    if let Action::Migrate { job, key, .. } = &mut step.action {
        *job = JobName::new(&environment, key, u32::try_from(life).unwrap_or(u32::MAX));
    }
}

fn readies_all(step: &mut Step, memory: &Memory) {
    if let Action::Ready { rows, .. } = &mut step.action {
        let nodes: std::collections::BTreeSet<_> = rows.iter().map(|row| row.node.clone()).collect();
        let there = |row: &&RowId| nodes.contains(&row.node);
        rows.extend(memory.seen_out.iter().filter(there).cloned());
    }
}

fn forgets_found(step: &mut Step) {
    if let Action::Claim { found } = &mut step.action {
        found.clear();
    }
}

fn takes_newest(step: &mut Step, memory: &mut Memory) {
    let Action::Install { packages, .. } = &mut step.action else { return };
    for version in packages.values_mut() {
        let newest = memory.newest.take().max(Some(version.clone()));
        newest.iter().for_each(|newest| version.clone_from(newest));
        memory.newest = newest;
    }
}

fn marks(step: Step, memory: &mut Memory) -> Option<Step> {
    match step.action {
        Action::Release => {
            memory.let_go.insert(step.host);
            return None;
        }
        Action::Claim { .. } => drop(memory.let_go.remove(&step.host)),
        _ => {}
    }
    Some(step)
}
