//! Whom the post-deployment migrations of a version would leave behind.

use jiff::{SignedDuration, Timestamp};
use model::{Action, InFlight, Reason, Version};

use crate::jobs::came_later;
use crate::lanes::Lane;
use crate::next::{Wait, host_scope};
use crate::position::under_way;
use crate::running::{Runs, is_whole, services};
use crate::survey::{HostView, Survey};
use crate::tuning::{AT_ONCE, SWEEP_AT_LEAST, SWEEP_PER_HOST};

/// Why those of a lane's target wait, if so: a host of any track that counts does not run the version or one that came later,
/// is being moved away from it, or is wanted before it.
pub(crate) fn left_behind(survey: &Survey<'_>, lane: &Lane<'_>) -> Option<Wait> {
    let version = lane.target;
    let older = |host: &HostView<'_>| {
        let runs = has_reached(survey, host, version).err()?;
        let (host, version) = (host.name.clone(), version.clone());
        Some(Wait::new(Reason::OlderStillRuns { host, runs, version }))
    };
    let leaving = |host: &HostView<'_>| {
        let in_flight = host.in_flight.filter(|in_flight| moves_away(survey, in_flight, version))?;
        Some(under_way(survey, in_flight))
    };
    let sent_back = |host: &HostView<'_>| {
        let lane = survey.lane_of(host).filter(|lane| came_later(survey.desired, version, lane.target))?;
        let stage = lane.rungs.get(host.rung)?.stage.name.clone();
        // Once they had begun, its way back would be barred.
        Some(Wait::new(Reason::EarlierStage { stage }))
    };
    let first = |why: &dyn Fn(&HostView<'_>) -> Option<Wait>| counting(survey).find_map(why);
    let moved = || first(&leaving).or_else(|| first(&sent_back));
    first(&older).or_else(moved)
}

/// Why those of a version wait once all else is there that they need, which was so from `ready` on: there is no way back from
/// them, and what somebody has done meanwhile on a host that is quiet is to be seen before. Until then a hold, a freeze, or a
/// person who was asked may have kept them for long: that hosts were read when everything before was passed says nothing. Nor
/// that they were read since then, where a failure, or a run of the configuration agent, keeps them still.
pub(crate) fn unread(survey: &Survey<'_>, version: &Version, ready: Option<Timestamp>) -> Option<Wait> {
    let rungs = survey.lanes.iter().filter(|lane| lane.target == version).flat_map(|lane| &lane.rungs);
    let passed = rungs.filter_map(|rung| survey.history.run(rung.stage, version)?.passed).max();
    let sweep = sweep(counting(survey).count());
    let is_older = |host: &&HostView<'_>, age: SignedDuration| {
        let from = passed.max(ready).max(Some(survey.now - age));
        !survey.host_is_fresh(host.name) || host.fact.map(|fact| fact.at) < from
    };
    if !counting(survey).any(|host| is_older(&host, sweep * 2)) {
        return None;
    }
    // Who is read after this is not too old yet when the last of them has been.
    let scopes = counting(survey).filter(|host| is_older(host, sweep)).flat_map(host_scope).collect();
    Some(Wait::new(Reason::FreshFacts).watching(scopes, AT_ONCE))
}

/// How long it may take to read so many hosts. What they run counts for twice as long.
fn sweep(hosts: usize) -> SignedDuration {
    SWEEP_AT_LEAST.max(SWEEP_PER_HOST * i32::try_from(hosts).unwrap_or(i32::MAX))
}

fn counting<'s, 'a>(survey: &'s Survey<'a>) -> impl Iterator<Item = &'s HostView<'a>> {
    survey.hosts.iter().filter(|host| host.out.is_none())
}

/// Whether a host is at a version or a later one: with what is installed, and with every service that has to take it up.
/// Else what it runs, where that can be told.
fn has_reached(survey: &Survey<'_>, host: &HostView<'_>, version: &Version) -> Result<(), Option<Version>> {
    let (Some(state), Some(installed)) = (host.state(), host.installed_release(survey)) else {
        return Err(None);
    };
    if !is_no_older(survey, &installed, version) {
        return Err(Some(installed));
    }
    let whole = is_whole(host.role, state);
    let mut up = false;
    for runs in services(survey.desired, host.role, state) {
        match runs {
            Runs::Release(runs) if !is_no_older(survey, &runs, version) => return Err(Some(runs)),
            Runs::Release(_) => up = true,
            // It runs nothing older: when somebody starts it again, it runs what is installed.
            Runs::Stopped if whole => {}
            Runs::Stopped | Runs::Untold => return Err(None),
        }
    }
    if up || whole { Ok(()) } else { Err(None) }
}

/// A version itself, or one that came later in git.
fn is_no_older(survey: &Survey<'_>, release: &Version, version: &Version) -> bool {
    let rank = |version: &Version| survey.desired.rank(version);
    release == version || rank(release) > rank(version)
}

/// A step under way that brings something older: it may have done so already.
fn moves_away(survey: &Survey<'_>, in_flight: &InFlight, version: &Version) -> bool {
    let changes = matches!(in_flight.step.action, Action::Install { .. } | Action::Activate { .. });
    changes && !is_no_older(survey, &in_flight.step.version, version)
}
