//! Freezes, resolved: both ends of one kind, and in order.

use super::policy::list;
use super::problem::Problems;
use super::raw::RawEnvironment;
use super::raw_policy::RawFreeze;
use crate::pipeline::{Freeze, Moment};

/// The windows that could be read whole, in the order of the file.
pub(super) fn resolve(file: &RawEnvironment, problems: &mut Problems) -> Vec<Freeze> {
    list(file.freeze.as_ref()).filter_map(|raw| freeze(raw, problems)).collect()
}

fn freeze(raw: &RawFreeze, problems: &mut Problems) -> Option<Freeze> {
    check_ends(raw, problems);
    Some(Freeze {
        reason: raw.reason.get()?.value.0.clone(),
        from: raw.from.get()?.value,
        to: raw.to.get()?.value,
        zone: raw.zone.get()?.value.0.clone(),
        in_flight: raw.in_flight.unwrap_or_default(),
    })
}

fn check_ends(freeze: &RawFreeze, problems: &mut Problems) {
    let (Some(from), Some(to)) = (freeze.from.get(), freeze.to.get()) else { return };
    match (from.value, to.value) {
        (Moment::Weekly(..), Moment::Weekly(..)) if from.value == to.value => {
            problems.add(to.at(), "the freeze ends when it begins");
        }
        (Moment::Weekly(..), Moment::Weekly(..)) => {}
        (Moment::Once(from), Moment::Once(until)) if from >= until => {
            problems.add(to.at(), "the freeze ends before it begins");
        }
        (Moment::Once(_), Moment::Once(_)) => {}
        _ => problems.add(to.at(), "`from` and `to` must both be days of the week, or both be dates"),
    }
}
