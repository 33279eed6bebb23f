//! A life that a deliberate defect breaks is made smaller, and still breaks the same promise.

use simulation::{Catcher, Deed, Happening, Sabotage, Scenario, What, live_bent, shrink};

fn caught_by(scenario: &Scenario, sabotage: Option<Sabotage>) -> Option<Catcher> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let life = async { live_bent(scenario, sabotage, false).await.ending };
    runtime.expect("a runtime needs nothing").block_on(life).caught_by()
}

/// A life that a defect breaks, made smaller.
fn shrunk(defect: Sabotage, scenario: Scenario) -> Scenario {
    let by = caught_by(&scenario, Some(defect)).expect("the life shows the defect");
    assert_eq!(caught_by(&scenario, None), None, "it is well without it");
    let small = shrink(scenario, |smaller| caught_by(smaller, Some(defect)) == Some(by));
    assert_eq!(caught_by(&small, Some(defect)), Some(by), "{small}");
    assert_eq!(caught_by(&small, None), None, "it is the defect that breaks it\n{small}");
    small
}

#[test]
fn a_freeze_that_is_ignored_needs_a_freeze_and_something_to_do() {
    let small = shrunk(Sabotage::FreezeIgnored, Scenario::drawn(113));
    assert!(small.happenings.len() <= 2, "{small}");
    let freezes = |happening: &Happening| matches!(happening.what, What::Deed(Deed::Freeze, _));
    assert!(small.happenings.iter().any(freezes), "{small}");
    assert!(small.shape.machines().len() <= 4, "{small}");
}

#[test]
fn a_budget_that_is_doubled_shows_without_anything_going_wrong() {
    // A new version for everybody at the end is all that it takes.
    let small = shrunk(Sabotage::DoubleBudget, Scenario { ends_anew: true, ..Scenario::drawn(1) });
    assert_eq!(small.happenings, [], "{small}");
    assert!(small.shape.machines().len() <= 4, "{small}");
}
