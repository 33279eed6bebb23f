//! The canary's share: what it should be now, and the weights that give it on each load balancer node.
//!
//! A share p over n canary servers beside main servers with weights of sum S is w = p / (100 - p) × S / n each, rounded
//! down, so that the share is never exceeded; and never more than the lightest main server weighs.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{
    Action, Admin, BackendId, CanaryTarget, Event, HostName, Reason, RowId, Run, Share, Stage, Subject, Track,
};

use crate::capacity::Capacity;
use crate::gates;
use crate::ladder::is_over;
use crate::lanes::Lane;
use crate::next::Wait;
use crate::refusals::{began, refusal};
use crate::rows::RowView;
use crate::survey::{HostView, Survey};

/// The most that HAProxy takes.
const MAX_WEIGHT: u64 = 256;

/// Weights are whole numbers: below this, one percent is none.
const FINE_WEIGHT: u64 = 50;

/// The canary's share in one pass.
pub(crate) struct Shares {
    /// Weights to be set, by node.
    pub(crate) steps: BTreeMap<HostName, BTreeMap<RowId, u32>>,
    /// What every backend shows now.
    pub(crate) shown: Vec<Share>,
    /// For the journal.
    pub(crate) records: Vec<Event>,
    /// Why the share is not what the file says in the end; none: it is.
    pub(crate) waiting: Option<(Subject, Wait)>,
    /// Rows that weigh more than they should, by node: no main server leaves there.
    too_heavy: BTreeSet<(HostName, BackendId)>,
    /// Nodes where weights are being set: what they will weigh is not seen yet.
    weighed: BTreeSet<HostName>,
    /// Backends whose main servers weigh so little that a share cannot be given exactly.
    pub(crate) coarse: BTreeSet<(HostName, BackendId)>,
}

/// One shared backend on one node.
struct Spot<'s, 'a> {
    node: &'a HostName,
    backend: &'a BackendId,
    /// Whether main servers belong there at all, be they declared out or not.
    shared: bool,
    main: Vec<(&'s HostView<'a>, &'s RowView<'a>)>,
    canary: Vec<(&'s HostView<'a>, &'s RowView<'a>)>,
}

impl Shares {
    /// Without canary roles there is nothing to weigh.
    pub(crate) fn survey<'a>(survey: &Survey<'a>, capacity: &Capacity<'_>) -> Self {
        let mut shares = Self {
            steps: BTreeMap::new(),
            shown: Vec::new(),
            records: Vec::new(),
            waiting: None,
            too_heavy: BTreeSet::new(),
            weighed: weighed(survey),
            coarse: BTreeSet::new(),
        };
        let Some(lane) = survey.lanes.iter().find(|lane| lane.track == Track::Canary) else { return shares };
        let spots = spots(survey);
        if spots.is_empty() {
            return shares;
        }
        let (percent, waiting, withdrawn) = desired_now(survey, lane);
        let mut all_right = true;
        for spot in &spots {
            all_right &= shares.weigh(survey, capacity, spot, percent);
        }
        shares.remember(survey, lane, percent, all_right, withdrawn);
        shares.waiting = waiting.or_else(|| {
            let node = shares.steps.keys().next().cloned()?;
            Some((Subject::Track(Track::Canary), Wait::new(Reason::CanaryWeight { node })))
        });
        if !all_right && shares.waiting.is_none() {
            shares.waiting = Some((Subject::Track(Track::Canary), Wait::new(Reason::FreshFacts)));
        }
        shares
    }

    /// Whether a main server may leave without making the canary's share too large.
    pub(crate) fn allows_leaving(&self, host: &HostView<'_>) -> Result<(), Reason> {
        let heavy = |row: &&RowView<'_>| {
            self.weighed.contains(row.node)
                || self.too_heavy.contains(&(row.node.clone(), row.backend.clone()))
        };
        match host.rows.iter().find(heavy) {
            Some(row) if host.role.track == Track::Main => {
                Err(Reason::CanaryWeight { node: row.node.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Works out one spot. True: it was read a moment ago, and shows the share.
    fn weigh(
        &mut self,
        survey: &Survey<'_>,
        capacity: &Capacity<'_>,
        spot: &Spot<'_, '_>,
        percent: u8,
    ) -> bool {
        let staying =
            spot.main.iter().filter(|(host, row)| row.in_rotation() && !capacity.is_leaving(host.name));
        let weights: Vec<u64> =
            staying.filter_map(|(_, row)| row.row).map(|row| u64::from(row.weight)).collect();
        if percent > 0 && weights.iter().any(|weight| *weight < FINE_WEIGHT) {
            self.coarse.insert((spot.node.clone(), spot.backend.clone()));
        }
        // Who is worked on takes no share, also where somebody has made it ready meanwhile.
        let serves =
            |(host, row): &&(&HostView<'_>, &RowView<'_>)| is_up(row) && !capacity.is_leaving(host.name);
        let up: Vec<_> = spot.canary.iter().filter(serves).collect();
        let each = weight_each(percent, &weights, up.len());
        let mut right =
            survey.node_is_known(spot.node) && spot.canary.iter().all(|(_, row)| row.row.is_some());
        for (host, row) in &spot.canary {
            let Some(seen) = row.row else { continue };
            let wanted = if up.iter().any(|(other, _)| other.name == host.name) { each } else { 0 };
            if seen.weight != wanted {
                right = false;
                self.steps.entry(spot.node.clone()).or_default().insert(row.id(), wanted);
            }
            if seen.weight > wanted {
                self.too_heavy.insert((spot.node.clone(), spot.backend.clone()));
            }
        }
        self.shown.push(shown(spot, percent));
        right
    }

    fn remember(
        &mut self,
        survey: &Survey<'_>,
        lane: &Lane<'_>,
        percent: u8,
        all_right: bool,
        withdrawn: Option<model::GateName>,
    ) {
        let environment = &survey.desired.environment;
        let progress = &survey.history.progress;
        if let Some(gate) = withdrawn.filter(|_| progress.withdrawn.is_none()) {
            self.records.push(Event::ShareWithdrawn { environment: environment.clone(), gate });
            return;
        }
        let known = progress.share.as_ref().filter(|share| share.version == *lane.target);
        let news = known.is_none_or(|share| share.weight != percent);
        // A share of the version before is not this one's.
        let begun = (percent > 0 && deployment(survey, lane) == Deployment::Done) || known.is_some();
        if all_right && news && begun {
            let (environment, version) = (environment.clone(), lane.target.clone());
            self.records.push(Event::ShareReached { environment, version, weight: percent });
        }
    }
}

fn weighed(survey: &Survey<'_>) -> BTreeSet<HostName> {
    let steps = survey.history.in_flight.values().map(|in_flight| &in_flight.step);
    steps.filter(|step| matches!(step.action, Action::Weigh { .. })).map(|step| step.host.clone()).collect()
}

fn is_up(row: &RowView<'_>) -> bool {
    row.row.is_some_and(|row| row.admin == Admin::Ready && (row.status == "UP" || row.status == "no check"))
}

/// The weight of each of n canary servers.
pub(crate) fn weight_each(percent: u8, main: &[u64], canary: usize) -> u32 {
    let (Some(lightest), true) = (main.iter().min(), canary > 0) else { return 0 };
    let (percent, sum) = (u64::from(percent.min(99)), main.iter().sum::<u64>());
    let each = percent * sum / ((100 - percent) * canary as u64);
    u32::try_from(each.min(*lightest).min(MAX_WEIGHT)).unwrap_or(0)
}

fn shown(spot: &Spot<'_, '_>, desired: u8) -> Share {
    let sum = |rows: &[(&HostView<'_>, &RowView<'_>)]| -> u64 {
        rows.iter()
            .filter(|(_, row)| row.in_rotation())
            .filter_map(|(_, row)| row.row)
            .map(|r| u64::from(r.weight))
            .sum()
    };
    let (main, canary) = (sum(&spot.main), sum(&spot.canary));
    #[expect(clippy::cast_precision_loss, reason = "sums of weights are far below 2^52")]
    let achieved = if main + canary == 0 { 0.0 } else { 100.0 * canary as f64 / (main + canary) as f64 };
    Share { backend: spot.backend.clone(), node: spot.node.clone(), desired, achieved }
}

/// Every backend on every node that servers of both tracks share.
fn spots<'s, 'a>(survey: &'s Survey<'a>) -> Vec<Spot<'s, 'a>> {
    let mut spots: BTreeMap<(&HostName, &BackendId), Spot<'s, 'a>> = BTreeMap::new();
    // A canary server that is declared out takes its part until it is taken out; a main server gives none any more.
    let still_canary = |host: &HostView<'_>, row: &RowView<'_>| {
        host.role.track == Track::Canary && row.admin() == Some(Admin::Ready)
    };
    for host in &survey.hosts {
        for row in &host.rows {
            let (node, backend) = (row.node, row.backend);
            let empty = || Spot { node, backend, shared: false, main: Vec::new(), canary: Vec::new() };
            let spot = spots.entry((node, backend)).or_insert_with(empty);
            let counts = host.out.is_none() || still_canary(host, row);
            spot.shared |= host.role.track == Track::Main;
            match host.role.track {
                Track::Main if counts => spot.main.push((host, row)),
                Track::Canary if counts => spot.canary.push((host, row)),
                _ => {}
            }
        }
    }
    spots.into_values().filter(|spot| spot.shared && !spot.canary.is_empty()).collect()
}

/// The share that there should be now, why it is not the final one, and the gate that withdraws it.
fn desired_now(
    survey: &Survey<'_>,
    lane: &Lane<'_>,
) -> (u8, Option<(Subject, Wait)>, Option<model::GateName>) {
    let Some(canary) = &survey.desired.canary else { return (0, None, None) };
    let before = survey.history.progress.share.as_ref().map_or(0, |share| share.weight);
    match deployment(survey, lane) {
        Deployment::UnderWay => return (0, None, None),
        Deployment::Ahead => return (before.min(canary.weight), None, None),
        Deployment::Done => {}
    }
    let reached = reached(survey, canary);
    let now = reached.map_or(0, |(weight, _)| weight.min(canary.weight));
    let Some(stage) = last_deploy(lane) else { return (canary.weight, None, None) };
    let proven = lane.is_unwatched() || survey.history.has_passed(stage, lane.target);
    if let Some((stage, gate)) = withdrawal(survey, lane) {
        return (0, refused(survey, lane, stage), Some(gate));
    }
    let target = if proven { canary.weight } else { next_step(canary, reached, survey.now) };
    if target <= now {
        let until =
            ramp_until(canary, now, reached.map(|(_, at)| at)).filter(|_| !proven && target < canary.weight);
        let ramping = until.map(|until| {
            let reason = Reason::Ramping { weight: now, of: canary.weight, until };
            (Subject::Track(Track::Canary), Wait::new(reason).until(until))
        });
        return (target.min(now), ramping, None);
    }
    // More traffic is something new.
    match refused(survey, lane, stage).or_else(|| unjudged(survey, lane, stage, reached.map(|(_, at)| at))) {
        Some(refusal) => (now, Some(refusal), None),
        None => (target, None, None),
    }
}

/// The share that was reached with the canary's release, and since when that counts: a release that was left and comes back
/// keeps its share, and is judged with it anew.
fn reached(survey: &Survey<'_>, canary: &CanaryTarget) -> Option<(u8, Timestamp)> {
    let share = survey.history.progress.share.as_ref().filter(|share| share.version == canary.version)?;
    let since = survey.history.target_since(Track::Canary, &canary.version).unwrap_or(survey.now);
    Some((share.weight, share.at.max(since)))
}

/// A share is judged by readings that began, and settled, after it was reached.
fn unjudged(
    survey: &Survey<'_>,
    lane: &Lane<'_>,
    stage: &Stage,
    reached: Option<Timestamp>,
) -> Option<(Subject, Wait)> {
    let from = reached.filter(|_| !lane.is_unwatched())?;
    let wait = gates::judge_since(survey, stage, Some(from)).err()?;
    Some((Subject::Stage(stage.name.clone()), wait))
}

/// A stage of the canary that is under way, takes it out of traffic when red, and is.
fn withdrawal<'a>(survey: &Survey<'_>, lane: &Lane<'a>) -> Option<(&'a Stage, model::GateName)> {
    // Who serves with the release may have got there when it was a target before, and need not be begun again.
    let serves = canary_hosts(survey).any(|host| runs_target(survey, lane, host) == Some(true));
    let under_way = |stage: &&Stage| {
        let begun =
            (serves && matches!(stage.run, Run::Deploy { .. })) || began(survey, lane, stage).is_some();
        begun && !is_over(survey, lane, stage) && withdraws(stage)
    };
    let stages = lane.rungs.iter().map(|rung| rung.stage).filter(|_| !lane.is_unwatched());
    stages.filter(under_way).find_map(|stage| Some((stage, gates::red(survey, stage)?)))
}

fn refused(survey: &Survey<'_>, lane: &Lane<'_>, stage: &Stage) -> Option<(Subject, Wait)> {
    // The share comes after the work of its stage; a version that was found running has no record of it.
    let begun = began(survey, lane, stage).or(Some(Timestamp::MIN));
    refusal(survey, lane, stage, begun).map(|refusal| (refusal.subject, refusal.wait))
}

fn withdraws(stage: &Stage) -> bool {
    stage.on_red == model::OnRed::CanaryToZero
}

/// The canary's last stage that deploys: its gates watch over the share.
pub(crate) fn last_deploy<'a>(lane: &Lane<'a>) -> Option<&'a Stage> {
    let deploys = |stage: &&Stage| matches!(stage.run, Run::Deploy { .. });
    lane.rungs.iter().map(|rung| rung.stage).rfind(deploys)
}

/// The share after the one that was reached, once that has been kept for its time.
fn next_step(canary: &CanaryTarget, reached: Option<(u8, Timestamp)>, now: Timestamp) -> u8 {
    let first = canary.ramp.first().map_or(canary.weight, |step| step.weight).min(canary.weight);
    let Some((weight, at)) = reached.filter(|(weight, _)| *weight >= first) else { return first };
    if ramp_until(canary, weight, Some(at)).is_some_and(|until| now < until) {
        return weight.min(canary.weight);
    }
    let above = canary.ramp.iter().map(|step| step.weight).find(|step| *step > weight);
    above.unwrap_or(canary.weight).min(canary.weight)
}

/// Until when a step of the ramp is kept.
fn ramp_until(canary: &CanaryTarget, weight: u8, at: Option<Timestamp>) -> Option<Timestamp> {
    let step = canary.ramp.iter().find(|step| step.weight == weight)?;
    Some(at? + step.soak)
}

/// How far the canary hosts are with their target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deployment {
    /// Some do not run it, and nobody has begun.
    Ahead,
    /// Some do not run it, and it has begun, or others run it: the canary is out of the shared traffic until all are there.
    UnderWay,
    /// All that can be seen run it.
    Done,
}

/// Those that count.
fn canary_hosts<'s, 'a>(survey: &'s Survey<'a>) -> impl Iterator<Item = &'s HostView<'a>> {
    survey.hosts.iter().filter(|host| host.role.track == Track::Canary && host.out.is_none())
}

/// Whether a host runs its lane's target; none: it cannot be seen.
fn runs_target(survey: &Survey<'_>, lane: &Lane<'_>, host: &HostView<'_>) -> Option<bool> {
    let state = host.state()?;
    let package = host.package_for(lane.target, state);
    Some(host.has_installed(state, &package) && host.is_running(survey, state, lane.target, &package))
}

fn deployment(survey: &Survey<'_>, lane: &Lane<'_>) -> Deployment {
    let runs: Vec<_> = canary_hosts(survey).map(|host| runs_target(survey, lane, host)).collect();
    let (some, behind) = (runs.contains(&Some(true)), runs.contains(&Some(false)));
    let all_behind = runs.iter().all(|runs| *runs == Some(false));
    let stage = last_deploy(lane);
    let run = stage.and_then(|stage| survey.history.run(stage, lane.target));
    let found = survey.history.progress.found_running.contains(lane.target);
    let passed = stage.is_some_and(|stage| survey.history.has_passed(stage, lane.target));
    // One server that is mended later does not take the others out; of a stage with nothing to watch only its end is told. A
    // version that was found running may have been so on other hosts alone, and one that had passed may have left them since.
    let worked = run.as_ref().is_some_and(|run| run.worked.or(run.passed).is_some());
    let steady = worked || ((found || passed) && !all_behind);
    let claimed = canary_hosts(survey).any(|host| host.claim.is_ours());
    match (steady && !lane.goes_back(), behind || claimed) {
        (true, _) | (false, false) => Deployment::Done,
        (false, true) if claimed || found || some || run.is_some() => Deployment::UnderWay,
        (false, true) => Deployment::Ahead,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_never_exceeded() {
        for percent in 0..=99u8 {
            for (main, canary) in
                [(vec![100; 4], 2), (vec![100; 20], 2), (vec![50, 200], 1), (vec![256; 3], 5)]
            {
                let each = u64::from(weight_each(percent, &main, canary));
                let (sum, whole) = (main.iter().sum::<u64>(), each * canary as u64);
                assert!(
                    whole * 100 <= u64::from(percent) * (sum + whole),
                    "{percent} {main:?} {canary} {each}"
                );
                assert!(main.iter().all(|weight| each <= *weight));
            }
        }
    }

    #[test]
    fn five_percent_of_four_servers_over_two() {
        assert_eq!(weight_each(5, &[100; 4], 2), 10);
        assert_eq!(weight_each(5, &[100; 3], 2), 7);
        assert_eq!(weight_each(0, &[100; 4], 2), 0);
        assert_eq!(weight_each(5, &[], 2), 0);
    }
}
