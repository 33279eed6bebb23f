//! The preview equals the rollout: the planner's own idea of the world against the simulated one, which was written
//! independently of it. The same steps, the same order per host, the same start order per role.

use std::collections::BTreeMap;

use engine::{Source, World};
use model::{ActionKind, Event, Histories, HostName, Observed, RoleName, Scope, Standing, Step};
use tests::script::Stage;

/// What of a rollout has to be equal.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shape {
    by_host: BTreeMap<HostName, Vec<ActionKind>>,
    starts_by_role: BTreeMap<RoleName, Vec<HostName>>,
}

fn shape<'a>(steps: impl Iterator<Item = &'a Step>) -> Shape {
    let mut shape = Shape::default();
    for step in steps {
        shape.by_host.entry(step.host.clone()).or_default().push(step.action.kind());
        if step.action.kind() == ActionKind::Claim {
            shape.starts_by_role.entry(step.role.clone()).or_default().push(step.host.clone());
        }
    }
    shape
}

async fn look_at_everything(stage: &Stage, desired: &model::Desired) -> Observed {
    let mut observed = Observed::default();
    for (_, host) in desired.fleet.hosts() {
        observed.merge(stage.world.observe(&Scope::Host(host.clone())).await);
    }
    for node in desired.fleet.nodes() {
        observed.merge(stage.world.observe(&Scope::Node(node.clone())).await);
    }
    observed
}

/// Foresees a rollout, runs it, and returns both shapes.
async fn both(seed: u64, versions: &[&str]) -> Vec<(Shape, Shape)> {
    let mut stage = Stage::seeded(tests::script::example("web", "1.0.0"), seed);
    assert_eq!(stage.rest().await, Standing::Converged);
    let mut shapes = Vec::new();
    for version in versions {
        let _ = stage.kill();
        stage.commit(version);
        let revision = stage.source.read().await.revision.expect("a valid commit");
        let desired = revision.environments.values().next().expect("an environment").clone();
        let observed = look_at_everything(&stage, &desired).await;
        let journal = stage.journal.events();
        let history = Histories::replay(&journal).expect("a sound journal").of(&desired.environment).clone();
        let foreseen = planner::preview(&desired, &observed, &history, stage.world.now());
        assert_eq!(foreseen.waiting, [], "seed {seed}");
        let standing = stage.rest().await;
        assert_eq!(standing, Standing::Converged, "seed {seed}: {:?}", stage.journal.events().last());
        let events = stage.journal.events();
        let began = events[journal.len()..].iter().filter_map(|recorded| match &recorded.event {
            Event::StepStarted { step } => Some(step),
            _ => None,
        });
        shapes.push((shape(foreseen.steps.iter().map(|step| &step.step)), shape(began)));
    }
    shapes
}

#[test]
fn a_preview_equals_the_rollout_that_follows_forward_and_back() {
    for seed in 0..12 {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        for (foreseen, happened) in runtime.block_on(both(seed, &["1.1.0", "1.0.0"])) {
            assert_eq!(foreseen, happened, "seed {seed}");
            assert_eq!(happened.by_host.len(), 5, "every host has steps");
        }
    }
}
