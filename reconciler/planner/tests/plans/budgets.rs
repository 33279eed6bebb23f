//! Budgets in whole rollouts of any fleet: never more hosts of a role out than may be, never fewer servers in rotation
//! than must be.

use std::collections::BTreeSet;

use crate::fleet::{desired, history, host, observed, row, start};
use model::*;
use planner::{Preview, preview};
use proptest::prelude::*;

/// Web hosts that may be out at once, as the design says it.
fn may_be_out(hosts: usize, percent: u8) -> usize {
    (hosts * usize::from(percent) / 100).max(1)
}

fn fleet_of(web: usize, percent: u8) -> Desired {
    let mut desired = desired(web, "1.1", &["1.0", "1.1"]);
    desired.fleet.backend_limit = Limit::Percent(percent);
    desired.fleet.roles[1].max_unavailable = Limit::Percent(percent).of(web);
    desired.fleet.roles[1].allow_outage = true;
    desired
}

fn make_ill(seen: &mut Observed, name: &str) {
    host(seen, name).health = HealthState::Unhealthy("connection refused".into());
    for node in ["fe-01", "fe-02"] {
        row(seen, node, name).status = "DOWN".into();
    }
}

/// Follows a rollout: who is out when a host is begun, and how many serve when one is drained.
fn keeps_within(
    rollout: &Preview,
    ill: &BTreeSet<HostName>,
    web: usize,
    limit: usize,
) -> Result<(), TestCaseError> {
    let mut begun = BTreeSet::new();
    let mut events: Vec<_> = rollout
        .steps
        .iter()
        .filter(|step| step.step.role.as_str() == "web")
        .flat_map(|step| [(step.start, 1, &step.step), (step.end, 0, &step.step)])
        .collect();
    // What ends makes room for what begins at the same instant.
    events.sort_by_key(|(at, begins, _)| (*at, *begins));
    let (mut out, mut serving) = (ill.clone(), web - ill.len());
    for (at, begins, step) in events {
        match (step.action.kind(), begins) {
            (ActionKind::Claim, 1) => {
                let was_out = out.contains(&step.host);
                prop_assert!(begun.insert(step.host.clone()), "{} begins twice", step.host);
                out.insert(step.host.clone());
                prop_assert!(was_out || out.len() <= limit, "{at}: {out:?} are out, {limit} may be");
            }
            (ActionKind::Drain, 1) if !ill.contains(&step.host) => {
                serving -= 1;
                prop_assert!(serving + limit >= web, "{at}: {serving} of {web} serve, {limit} may be out");
            }
            (ActionKind::Ready, 0) => serving += 1,
            (ActionKind::Release, 0) => drop(out.remove(&step.host)),
            _ => {}
        }
    }
    prop_assert_eq!(begun.len(), web, "all are brought there");
    prop_assert_eq!(out.len(), 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_rollout_never_takes_out_more_than_may_be_out(web in 1_usize..24, percent in 1_u8..=100) {
        let desired = fleet_of(web, percent);
        let rollout = preview(&desired, &observed(&desired, "1.0"), &history(), start());
        prop_assert_eq!(&rollout.waiting, &[]);
        keeps_within(&rollout, &BTreeSet::new(), web, may_be_out(web, percent))?;
    }

    #[test]
    fn hosts_that_are_ill_cost_the_budget_and_are_mended_within_it(
        web in 2_usize..16, percent in 1_u8..=100, chosen in proptest::collection::vec(any::<bool>(), 16),
    ) {
        let desired = fleet_of(web, percent);
        let mut seen = observed(&desired, "1.0");
        let names = desired.fleet.roles[1].hosts.iter().zip(chosen).filter(|(_, chosen)| *chosen);
        let ill: BTreeSet<HostName> = names.map(|(name, _)| name.clone()).collect();
        ill.iter().for_each(|name| make_ill(&mut seen, name.as_str()));
        let rollout = preview(&desired, &seen, &history(), start());
        prop_assert_eq!(&rollout.waiting, &[]);
        keeps_within(&rollout, &ill, web, may_be_out(web, percent))?;
    }
}
