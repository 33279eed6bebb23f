//! A look at a fleet without a service: read everything once, then plan. Changes nothing.

mod stage;
mod track;

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::linter::lint;
use engine::{Circumstances, EnvironmentReport, REPORT_FORMAT, Report, World, job_hosts};
use jiff::Timestamp;
use model::{
    Desired, EnvironmentName, Event, Fleet, Generation, History, Observed, Plan, Reading, Scope, Track,
};
use tokio::task::JoinSet;

use crate::documents::{PlannedEnvironment, Unseen};
use crate::memory::Memory;
use track::Ground;

/// Reads every host and every load balancer node of a fleet, all at once; the world limits itself.
pub(crate) async fn observe<W: World>(world: &Arc<W>, fleet: &Fleet) -> Observed {
    let hosts = fleet.hosts().map(|(_, host)| Scope::Host(host.clone()));
    let nodes = fleet.nodes().into_iter().map(|node| Scope::Node(node.clone()));
    read(world, hosts.chain(nodes)).await
}

/// The same, with all else that a release depends on: hosts of jobs, gates, and the versions on offer where they are
/// followed.
pub(crate) async fn observe_all<W: World>(world: &Arc<W>, desired: &Desired) -> Observed {
    let (environment, policy) = (&desired.environment, &desired.fleet.policy);
    let jobs = job_hosts(desired).map(|host| Scope::Host(host.clone()));
    let gates = policy.gates.keys().map(|gate| Scope::Gate(environment.clone(), gate.clone()));
    let versions = (!policy.follows.is_empty()).then(|| Scope::Versions(environment.clone()));
    let (mut fleet, rest) =
        tokio::join!(observe(world, &desired.fleet), read(world, jobs.chain(gates).chain(versions)));
    fleet.merge(rest);
    fleet
}

async fn read<W: World>(world: &Arc<W>, scopes: impl Iterator<Item = Scope>) -> Observed {
    let mut readings = JoinSet::new();
    for scope in scopes {
        let world = Arc::clone(world);
        readings.spawn(async move { world.observe(&scope).await });
    }
    let mut observed = Observed::default();
    for reading in readings.join_all().await {
        observed.merge(reading);
    }
    observed
}

/// What is planned for, with what was seen and is remembered.
pub(crate) struct Sight<'a> {
    pub(crate) desired: &'a Desired,
    pub(crate) observed: &'a Observed,
    pub(crate) history: History,
    /// Whether the history is the service's own.
    pub(crate) remembers: bool,
}

/// Plans; `whole`: to the end.
pub(crate) fn plan(sight: Sight<'_>, now: Timestamp, whole: bool) -> PlannedEnvironment {
    let Sight { desired, observed, mut history, remembers } = sight;
    let plan = at_first_sight(desired, observed, &mut history, now);
    let ground = Ground { desired, observed, history: &history, now, remembers };
    let main = track::running(&ground, Track::Main);
    PlannedEnvironment {
        commit: desired.commit.clone(),
        standing: plan.standing(!history.in_flight.is_empty()),
        direction_because: track::because(&ground, Track::Main, plan.direction, &main),
        tracks: track::tracks(&ground, &plan),
        circumstances: Circumstances::of(desired, observed, &history, now),
        preview: whole.then(|| planner::preview(desired, observed, &history, now)),
        unseen: unseen(observed),
        refused_plan: lint(desired, observed, &history, &plan, now),
        plan,
        remembers,
    }
}

/// A fleet that the journal does not know yet is taken as it is found, as the service would.
fn at_first_sight(desired: &Desired, observed: &Observed, history: &mut History, now: Timestamp) -> Plan {
    let plan = planner::plan(desired, observed, history, now);
    let Some(adopted) = plan.records.iter().find(|event| matches!(event, Event::Adopted { .. })) else {
        return plan;
    };
    match history.apply(now, adopted) {
        Ok(()) => planner::plan(desired, observed, history, now),
        Err(_) => plan,
    }
}

fn unseen(observed: &Observed) -> Vec<Unseen> {
    let hosts = observed.hosts.iter().map(|(name, fact)| (name, fact.value.as_ref().err()));
    let nodes = observed.nodes.iter().map(|(name, fact)| (name, fact.value.as_ref().err()));
    let obstacles = hosts.chain(nodes).filter_map(|(host, unknown)| {
        let unknown = unknown?;
        Some(Unseen { host: host.clone(), kind: unknown.kind, detail: unknown.detail.clone() })
    });
    obstacles.collect()
}

/// The report that a service would give if it ran.
pub(crate) async fn report<W: World>(
    world: &Arc<W>,
    reading: &Reading,
    service: &str,
    memory: &mut Memory,
    only: Option<&EnvironmentName>,
) -> Report {
    let read_at = world.now();
    let mut environments = BTreeMap::new();
    let mut generation = Generation(0);
    for (name, desired) in reading.revision.iter().flat_map(|revision| &revision.environments) {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let observed = observe_all(world, desired).await;
        let now = world.now();
        let mut history = memory.of(desired, Some(desired), &observed, now);
        generation = generation.max(history.generation);
        let mut plan = at_first_sight(desired, &observed, &mut history, now);
        let refused_plan = lint(desired, &observed, &history, &plan, now);
        if !memory.is_known() {
            plan.notes
                .push("there is no journal here: what passed, failed or was paused is not known".to_owned());
        }
        let report = EnvironmentReport::new(desired, &observed, &history, plan, now);
        environments.insert(name.clone(), EnvironmentReport { refused_plan, ..report });
    }
    Report {
        format: REPORT_FORMAT,
        at: world.now(),
        service: service.to_owned(),
        generation,
        commit: reading.revision.as_ref().map(|revision| revision.commit.clone()),
        read_at: Some(read_at),
        obstacle: reading.obstacle.clone(),
        errors: reading.errors.clone(),
        journal_error: None,
        left_behind: BTreeMap::new(),
        environments,
    }
}
