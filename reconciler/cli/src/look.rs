//! A look at a fleet without a service: read everything once, then plan. Changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{EnvironmentReport, REPORT_FORMAT, Report, World, host_reports};
use model::{Desired, Direction, EnvironmentName, Fleet, Generation, History, Observed, Reading, Scope};
use tokio::task::JoinSet;

use crate::documents::{PlannedEnvironment, Unseen};
use crate::memory::Memory;

/// Reads every host and every load balancer node of a fleet, all at once; the world limits itself.
pub(crate) async fn observe<W: World>(world: &Arc<W>, fleet: &Fleet) -> Observed {
    let hosts = fleet.hosts().map(|(_, host)| Scope::Host(host.clone()));
    let nodes = fleet.nodes().into_iter().map(|node| Scope::Node(node.clone()));
    let mut readings = JoinSet::new();
    for scope in hosts.chain(nodes) {
        let world = Arc::clone(world);
        readings.spawn(async move { world.observe(&scope).await });
    }
    let mut observed = Observed::default();
    for reading in readings.join_all().await {
        observed.merge(reading);
    }
    observed
}

/// Plans for what is desired, with what was seen.
pub(crate) fn plan<W: World>(
    world: &W,
    desired: &Desired,
    observed: &Observed,
    history: &History,
    whole: bool,
) -> PlannedEnvironment {
    let now = world.now();
    let plan = planner::plan(desired, observed, history, now);
    PlannedEnvironment {
        commit: desired.commit.clone(),
        standing: plan.standing(!history.in_flight.is_empty()),
        direction_because: because(desired, plan.direction),
        preview: whole.then(|| planner::preview(desired, observed, history, now)),
        unseen: unseen(observed),
        plan,
    }
}

/// Why a change goes the way it goes, in words for a reviewer.
fn because(desired: &Desired, direction: Direction) -> String {
    let target = &desired.target;
    let later = desired.ranks.last().filter(|last| *last != target);
    match (direction, later) {
        _ if desired.direction == Some(direction) => {
            format!("release.toml says `direction = \"{direction}\"`")
        }
        (Direction::Back, Some(later)) => format!("{target} was a target before {later} in git history"),
        (Direction::Back, None) => format!("hosts run what came after {target}"),
        (Direction::Forward, None) => format!("{target} is the newest target in git history"),
        (Direction::Forward, Some(_)) => format!("no host runs what came after {target} in git history"),
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
        let observed = observe(world, &desired.fleet).await;
        let history = memory.of(name, &observed);
        generation = generation.max(history.generation);
        environments.insert(name.clone(), environment(world.as_ref(), desired, &observed, &history));
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
        environments,
    }
}

fn environment<W: World>(
    world: &W,
    desired: &Desired,
    observed: &Observed,
    history: &History,
) -> EnvironmentReport {
    let plan = planner::plan(desired, observed, history, world.now());
    let commit = &desired.commit.id;
    let converged = history.converged.as_ref().filter(|(converged, _)| converged == commit);
    EnvironmentReport {
        standing: plan.standing(!history.in_flight.is_empty()),
        plan,
        in_flight: history.in_flight.values().cloned().collect(),
        hosts: host_reports(desired, observed),
        converged_at: converged.map(|(_, at)| *at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_direction_is_told_with_its_reason_from_git_history() {
        let files = BTreeMap::from([
            (
                "environments/a/environment.toml".to_owned(),
                "packages = ['shop']\n[[role]]\nname = 'web'\nhosts = ['web-01']\nservices = [{ unit = 'shop' }]"
                    .to_owned(),
            ),
            ("environments/a/release.toml".to_owned(), "[main]\nversion = '1.0'".to_owned()),
        ]);
        let parsed = model::parse::repository(&files).unwrap();
        let (name, spec) = parsed.environments.into_iter().next().unwrap();
        let mut desired = Desired {
            environment: name,
            commit: model::Commit {
                id: model::CommitId::new("c0ffee"),
                author: "Ada".into(),
                subject: "Bump".into(),
                at: jiff::Timestamp::UNIX_EPOCH,
            },
            target: spec.target.clone(),
            direction: None,
            ranks: vec![spec.target],
            fleet: spec.fleet,
        };
        assert_eq!(because(&desired, Direction::Forward), "1.0 is the newest target in git history");
        desired.ranks.push(model::Version::parse("1.1").unwrap());
        assert_eq!(because(&desired, Direction::Back), "1.0 was a target before 1.1 in git history");
        desired.direction = Some(Direction::Back);
        assert_eq!(because(&desired, Direction::Back), "release.toml says `direction = \"back\"`");
    }
}
