//! Lives in which more goes wrong, and mostly at the same places. Mistakes that take several things at one host to show come to
//! light several times as often as in lives that are drawn evenly.

use crate::chance::Chance;
use crate::proof::happening::{DEEDS, Deed, FAULTS, Happening, What, Which, draw_which, drawn, moment};

/// Draws what happens until `until_ms`, in order of time: twice as much as usual, or a few kinds again and again.
pub(crate) fn happenings(chance: &mut Chance, until_ms: u64) -> Vec<Happening> {
    let mut happenings = drawn(chance, until_ms);
    if chance.one_in(2) {
        happenings.extend(drawn(chance, until_ms).into_iter().skip(1));
        let place = draw_which(chance);
        let at_place = happenings.iter_mut().filter(|_| chance.one_in(2));
        at_place.for_each(|happening| happening.what.comes_to(place));
    } else {
        happenings.truncate(1);
        happenings.extend(a_few_kinds(chance, until_ms));
    }
    happenings.sort_by_key(|happening| happening.at_ms);
    happenings
}

fn a_few_kinds(chance: &mut Chance, until_ms: u64) -> Vec<Happening> {
    let faults = some(chance, FAULTS, 5);
    let deeds = some(chance, DEEDS, 4);
    let places = [draw_which(chance), draw_which(chance)];
    let count = 6 + chance.below(6);
    let mut happenings = Vec::new();
    for _ in 0..count {
        let mut happening = if chance.below(5) < 3 {
            let fault = *chance.pick(&faults);
            moment(chance, until_ms, |which| What::Fault(fault, which))
        } else {
            let deed = *chance.pick(&deeds);
            moment(chance, until_ms, |which| What::Deed(deed, which))
        };
        if !chance.one_in(3) {
            happening.what.comes_to(*chance.pick(&places));
        }
        happenings.push(happening);
    }
    happenings
}

/// Two of these, or up to `most`.
fn some<T: Copy>(chance: &mut Chance, from: &[T], most: u64) -> Vec<T> {
    (0..2 + chance.below(most - 1)).map(|_| *chance.pick(from)).collect()
}

impl What {
    /// The same, somewhere else; of what people do, only what has a place.
    fn comes_to(&mut self, place: Which) {
        match self {
            Self::Fault(_, which) | Self::Deed(Deed::HostOut | Deed::NodeOut | Deed::HostLeaves, which) => {
                *which = place
            }
            Self::Deed(..) => {}
        }
    }
}
