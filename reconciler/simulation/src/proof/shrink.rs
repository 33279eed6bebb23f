//! Makes a failing case smaller: fewer happenings, a plainer fleet, a better network, while it still fails.

use model::{Limit, OnRed, OnTimeout};

use crate::proof::scenario::{Mishaps, Scenario};
use crate::proof::shape::Shape;

/// Happenings are dropped two at a time when no more than this are left: there are few pairs then.
const PAIRS_UP_TO: usize = 6;

/// Each makes a fleet smaller by one, or plainer. Applied again and again, it comes to an end.
const PLAINER: [fn(&mut Shape); 21] = [
    |shape| shape.staging = false,
    |shape| shape.quiet = false,
    |shape| shape.ramp = false,
    |shape| shape.parallel = 10,
    |shape| shape.hasty = false,
    |shape| shape.follow = false,
    |shape| shape.main_requires_canary = false,
    |shape| shape.check = None,
    |shape| shape.gate = false,
    |shape| shape.migrations = false,
    |shape| shape.agent = false,
    |shape| shape.sticky = false,
    |shape| shape.reload = false,
    |shape| shape.probe = false,
    |shape| shape.on_timeout = OnTimeout::Wait,
    |shape| shape.limit = Limit::Count(1),
    unstaged,
    |shape| shape.storage = shape.storage.saturating_sub(1),
    fewer_canaries,
    |shape| shape.nodes = shape.nodes.saturating_sub(1).max(1),
    // A backend of one server could not lose it.
    |shape| shape.web = shape.web.saturating_sub(1).max(2),
];

/// The smallest scenario that leads there from `scenario` by leaving things out one after the other, so that `fails` holds
/// after each. What is left over cannot be left out by itself. Assumes that `scenario` fails, and that `fails` always says
/// the same of the same scenario.
pub fn shrink(scenario: Scenario, mut fails: impl FnMut(&Scenario) -> bool) -> Scenario {
    let mut small = scenario;
    loop {
        let before = small.clone();
        drops_happenings(&mut small, &mut fails);
        drops_pairs(&mut small, &mut fails);
        has_no_mishaps(&mut small, &mut fails);
        is_plainer(&mut small, &mut fails);
        if small == before {
            return small;
        }
    }
}

/// Takes a smaller scenario when it is one, and fails too.
fn takes(small: &mut Scenario, smaller: Scenario, fails: &mut impl FnMut(&Scenario) -> bool) -> bool {
    let fails = smaller != *small && fails(&smaller);
    if fails {
        *small = smaller;
    }
    fails
}

/// All of them first, then halves, and so on, down to one by one.
fn drops_happenings(small: &mut Scenario, fails: &mut impl FnMut(&Scenario) -> bool) {
    let mut size = small.happenings.len();
    while size > 0 {
        let mut from = 0;
        while from < small.happenings.len() {
            let mut smaller = small.clone();
            let to = (from + size).min(smaller.happenings.len());
            smaller.happenings.drain(from..to);
            if !takes(small, smaller, fails) {
                from = to;
            }
        }
        size /= 2;
    }
}

/// What one begins and another one ends goes together, or not at all.
fn drops_pairs(small: &mut Scenario, fails: &mut impl FnMut(&Scenario) -> bool) {
    if small.happenings.len() > PAIRS_UP_TO {
        return;
    }
    let count = small.happenings.len();
    let pairs = (0..count).flat_map(|first| (first + 1..count).map(move |second| (first, second)));
    for (first, second) in pairs {
        let mut smaller = small.clone();
        smaller.happenings.remove(second);
        smaller.happenings.remove(first);
        if takes(small, smaller, fails) {
            return;
        }
    }
}

fn has_no_mishaps(small: &mut Scenario, fails: &mut impl FnMut(&Scenario) -> bool) {
    let had = small.mishaps;
    let fewer = [
        Mishaps::default(),
        Mishaps { lost: 0, ..had },
        Mishaps { late: 0, ..had },
        Mishaps { repeated: 0, ..had },
    ];
    for mishaps in fewer {
        if takes(small, Scenario { mishaps, ..small.clone() }, fails) {
            return;
        }
    }
}

fn is_plainer(small: &mut Scenario, fails: &mut impl FnMut(&Scenario) -> bool) {
    for change in PLAINER {
        loop {
            let mut smaller = small.clone();
            change(&mut smaller.shape);
            if !takes(small, smaller, fails) {
                break;
            }
        }
    }
}

/// Without stages there is nothing that a gate, a check or migrations could belong to.
fn unstaged(shape: &mut Shape) {
    shape.staged = false;
    shape.migrations = false;
    shape.gate = false;
    shape.check = None;
    shape.main_requires_canary = false;
    shape.follow = false;
}

/// Without canaries nothing depends on one.
fn fewer_canaries(shape: &mut Shape) {
    shape.canary = shape.canary.saturating_sub(1);
    if shape.canary == 0 {
        shape.on_red = OnRed::Hold;
        shape.main_requires_canary = false;
        shape.follow = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::happening::{Deed, Fault, Happening, What};

    fn has(scenario: &Scenario, wanted: What) -> bool {
        scenario.happenings.iter().any(|happening| happening.what == wanted)
    }

    fn happens(what: What) -> Happening {
        Happening { at_ms: 1_000, for_ms: 500, what }
    }

    #[test]
    fn what_has_nothing_to_do_with_the_failure_is_left_out() {
        let (veto, killed) = (What::Deed(Deed::Veto, 3), What::Fault(Fault::Killed, 250));
        for seed in 1..=50 {
            let mut scenario = Scenario::drawn(seed);
            scenario.happenings.insert(1, happens(veto));
            scenario.happenings.push(happens(killed));
            scenario.mishaps = Mishaps { lost: 7, late: 8, repeated: 9 };
            let fails = |scenario: &Scenario| {
                has(scenario, veto)
                    && has(scenario, killed)
                    && scenario.mishaps.late > 0
                    && scenario.shape.web >= 3
            };
            let small = shrink(scenario, fails);
            assert_eq!(small.happenings, [happens(veto), happens(killed)], "seed {seed}");
            assert_eq!(small.mishaps, Mishaps { late: 8, ..Mishaps::default() }, "seed {seed}");
            assert_eq!(small.shape.web, 3, "seed {seed}");
            assert_eq!(
                (small.shape.storage, small.shape.canary, small.shape.nodes),
                (0, 0, 1),
                "seed {seed}"
            );
            assert!(!small.shape.staged && !small.shape.agent && !small.shape.staging, "seed {seed}");
        }
    }

    #[test]
    fn two_happenings_that_need_each_other_go_together() {
        let (out, back) = (What::Fault(Fault::Down, 1), What::Fault(Fault::Reboot, 1));
        let mut scenario = Scenario::drawn(1);
        scenario.happenings =
            [What::Deed(Deed::Bump, 0), out, What::Deed(Deed::Hold, 0), back].map(happens).into();
        let fails = |scenario: &Scenario| {
            has(scenario, What::Deed(Deed::Bump, 0))
                && has(scenario, What::Deed(Deed::Hold, 0))
                && has(scenario, out) == has(scenario, back)
        };
        let small = shrink(scenario, fails);
        assert_eq!(small.happenings, [What::Deed(Deed::Bump, 0), What::Deed(Deed::Hold, 0)].map(happens));
    }

    #[test]
    fn a_failure_that_needs_everything_stays_as_it_is() {
        let scenario = Scenario::drawn(7);
        let whole = scenario.clone();
        assert_eq!(shrink(scenario, |smaller| *smaller == whole), whole);
    }

    #[test]
    fn what_is_small_already_gets_no_smaller() {
        let fails = |scenario: &Scenario| !scenario.happenings.is_empty() && scenario.mishaps.lost == 0;
        let mut scenario = Scenario::drawn(11);
        scenario.mishaps = Mishaps::default();
        let small = shrink(scenario, fails);
        assert_eq!(small.happenings.len(), 1);
        assert_eq!(shrink(small.clone(), fails), small);
    }
}
