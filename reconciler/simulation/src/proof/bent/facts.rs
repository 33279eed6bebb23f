//! Facts on the way in.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use model::{
    Admin, Fact, GateName, GateState, HealthState, HostName, HostState, NodeState, Observed, Row, RowCheck,
    RowId, Verdict,
};

use crate::proof::bent::memory::Memory;
use crate::proof::sabotage::Sabotage;
use crate::proof::shape::is_first_node;

/// One of these hosts is taken for the other.
const TWINS: [&str; 2] = ["web-1", "web-2"];

/// For how long an old reading is passed for new.
const OLD: SignedDuration = SignedDuration::from_secs(2);

/// Bends what was seen.
pub(crate) fn bend(how: Sabotage, observed: &mut Observed, memory: &mut Memory) {
    for (name, fact) in &mut observed.hosts {
        if how == Sabotage::OldReading {
            stays(&mut memory.hosts, name, fact);
        }
        fact.value.iter_mut().for_each(|state| host(how, name, state, memory));
    }
    for (name, fact) in &mut observed.nodes {
        if how == Sabotage::OldReading {
            stays(&mut memory.nodes, name, fact);
        }
        fact.value.iter_mut().for_each(|state| node(how, name, state, memory));
    }
    for (name, fact) in &mut observed.gates {
        fact.value.iter_mut().for_each(|state| gate(how, name, state, memory));
    }
}

/// What was seen a moment ago is what is seen now.
fn stays<T: Clone>(seen: &mut BTreeMap<HostName, Fact<T>>, name: &HostName, fact: &mut Fact<T>) {
    match seen.get(name).filter(|old| fact.at.duration_since(old.at) < OLD) {
        Some(old) => fact.value.clone_from(&old.value),
        None => drop(seen.insert(name.clone(), fact.clone())),
    }
}

fn gate(how: Sabotage, name: &GateName, state: &mut GateState, memory: &mut Memory) {
    match how {
        Sabotage::OldGateReading => {
            if state.verdict == Verdict::Green {
                memory.gates.entry(name.clone()).or_insert_with(|| state.clone());
            }
            memory.gates.get(name).into_iter().for_each(|green| state.clone_from(green));
        }
        Sabotage::NoDataTakenForGreen => takes_for_green(state),
        _ => {}
    }
}

fn takes_for_green(state: &mut GateState) {
    if matches!(state.verdict, Verdict::NoData | Verdict::Error) {
        state.verdict = Verdict::Green;
    }
}

fn host(how: Sabotage, name: &HostName, state: &mut HostState, memory: &mut Memory) {
    match how {
        Sabotage::ReadyBeforeHealth => state.health = HealthState::Healthy,
        Sabotage::LeftBehind => takes_for_neighbour(name, state, memory),
        Sabotage::OlderGenerationObeyed => state.last_generation = None,
        Sabotage::MarkStays if memory.let_go.contains(name) => state.claim = None,
        Sabotage::AgentOverlooked => {
            state.agent.iter_mut().for_each(|agent| (agent.active, agent.busy) = (false, false));
        }
        _ => {}
    }
}

fn takes_for_neighbour(name: &HostName, state: &mut HostState, memory: &mut Memory) {
    if name.as_str() == TWINS[0] {
        memory.neighbour = Some(state.clone());
    }
    let versions = |state: &HostState| state.packages.values().map(|package| package.version.clone()).max();
    let is_ahead = |neighbour: &&HostState| versions(neighbour) > versions(state);
    if let Some(neighbour) = memory.neighbour.as_ref().filter(|_| name.as_str() == TWINS[1]).filter(is_ahead)
    {
        state.packages.clone_from(&neighbour.packages);
        state.services.clone_from(&neighbour.services);
        state.patches.clone_from(&neighbour.patches);
    }
}

fn node(how: Sabotage, name: &HostName, state: &mut NodeState, memory: &mut Memory) {
    match how {
        Sabotage::FloorOfSecondNode if !is_first_node(name) => state.rows.values_mut().for_each(seems_up),
        Sabotage::ReadyBeforeHealth => {
            state.rows.values_mut().for_each(seems_up);
        }
        Sabotage::DrainOfFirstNode if !is_first_node(name) => seems_drained(state, memory),
        Sabotage::OlderGenerationObeyed => state.last_generation = None,
        Sabotage::UndrainsOthers => remembers_out(name, state, memory),
        _ => {}
    }
}

fn seems_up(row: &mut Row) {
    row.check = RowCheck::Passed;
    if row.admin == Admin::Ready {
        row.status = "UP".into();
    }
}

fn seems_drained(state: &mut NodeState, memory: &Memory) {
    for ((_, server), row) in &mut state.rows {
        let Some(admin) = memory.taken_out.get(server).filter(|admin| **admin != Admin::Ready) else {
            continue;
        };
        let status = if *admin == Admin::Maint { "MAINT" } else { "DRAIN" };
        (row.admin, row.sessions) = (*admin, 0);
        row.status = status.into();
    }
}

fn remembers_out(name: &HostName, state: &NodeState, memory: &mut Memory) {
    memory.seen_out.retain(|row| row.node != *name);
    let out = state.rows.iter().filter(|(_, row)| row.admin != Admin::Ready);
    memory.seen_out.extend(out.map(|((backend, server), _)| RowId {
        node: name.clone(),
        backend: backend.clone(),
        server: server.clone(),
    }));
}
