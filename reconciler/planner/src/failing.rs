//! Which host's failure keeps new hosts of its stage from being begun.

use model::{Failure, HostName};

use crate::next::Next;
use crate::returning;
use crate::survey::{HostView, Survey};

/// The first host of a lane that failed with its target: no new host starts. One that runs and serves since is well, whoever
/// did that; and one of a later rung that we let go keeps nobody of the active one.
pub(crate) fn first_failure(
    survey: &Survey<'_>,
    positions: &[Next],
    lane: usize,
    active: usize,
) -> Option<(HostName, Failure)> {
    let of_lane = survey.hosts.iter().zip(positions).filter(|(host, _)| host.lane == lane);
    let counts = |(host, next): &(&HostView<'_>, &Next)| {
        let is_later = host.rung > active && !host.claim.is_ours();
        host.out.is_none() && !is_later && !matches!(next, Next::Done)
    };
    of_lane.filter(counts).find_map(|(host, _)| {
        let target = host.release;
        let trouble = survey.history.trouble(host.name, target).filter(|trouble| trouble.attempts > 0);
        let failure = trouble.map(|trouble| trouble.failure.clone());
        let failure = failure.or_else(|| returning::has_failed(survey, host, target))?;
        Some((host.name.clone(), failure))
    })
}
