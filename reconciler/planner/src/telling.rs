//! The plan as people and programs read it: reasons in order, progress, notes, and what the journal has to remember.

use jiff::SignedDuration;
use model::{Action, Event, HostName, Mode, Patch, Plan, Reason, RoleProgress, RowId, Step, Version};

use crate::adoption;
use crate::follow;
use crate::gates;
use crate::ladder;
use crate::next::Next;
use crate::outs;
use crate::pass::Pass;
use crate::survey::{ClaimView, HostView, Survey};

/// Turns a finished pass into the plan.
pub(crate) fn plan(mut pass: Pass<'_, '_>) -> Plan {
    pass.waiting.sort_by_key(|waiting| urgency(&waiting.reason));
    let survey = pass.survey;
    let desired = survey.desired;
    let main = survey.lanes.iter().find(|lane| lane.track == model::Track::Main);
    let lanes = survey.lanes.iter().zip(&pass.lanes);
    let mut tracks: Vec<_> = lanes.map(|(lane, state)| ladder::progress(survey, lane, state)).collect();
    tracks.sort_by_key(|progress| progress.track);
    Plan {
        environment: desired.environment.clone(),
        commit: desired.commit.id.clone(),
        target: desired.target.clone(),
        direction: main.map_or(model::Direction::Forward, crate::lanes::Lane::way),
        progress: progress(&pass),
        notes: notes(&pass),
        tracks,
        records: records(&mut pass),
        edits: follow::edits(survey),
        shares: std::mem::take(&mut pass.shares.shown),
        steps: pass.steps,
        waiting: pass.waiting,
        observe: pass.observe,
        due: pass.due,
        wake: pass.wake,
    }
}

fn records(pass: &mut Pass<'_, '_>) -> Vec<Event> {
    let mut records: Vec<Event> = adoption::at_first_sight(pass.survey).into_iter().collect();
    records.extend(gates::turned(pass.survey));
    records.append(&mut pass.shares.records);
    // What would start and does not undoes nothing.
    let starts = pass.survey.desired.fleet.mode != Mode::Report;
    let retires = |host: &HostName, row: &RowId| {
        let of_host = pass.steps.iter().filter(|step| step.host == *host);
        of_host.filter(|step| matches!(step.action, Action::Retire { .. })).any(|step| moves(step, row))
    };
    records.extend(outs::undone(pass.survey, |host, row| !(starts && retires(host, row))));
    // Both tracks may wait for one stage that migrates: it passes once.
    for event in pass.lanes.iter_mut().flat_map(|lane| std::mem::take(&mut lane.records)) {
        if !records.contains(&event) {
            records.push(event);
        }
    }
    records
}

fn moves(step: &Step, row: &RowId) -> bool {
    step.action.rows().is_some_and(|rows| rows.contains(row))
}

fn progress(pass: &Pass<'_, '_>) -> Vec<RoleProgress> {
    let survey = pass.survey;
    let mut roles: Vec<&model::Role> = Vec::new();
    for host in &survey.hosts {
        if roles.last().is_none_or(|last| last.name != host.role.name) {
            roles.push(host.role);
        }
    }
    let of = |role: &model::Role| {
        let counts = |host: &HostView<'_>| host.role.name == role.name && host.out.is_none();
        let hosts = survey.hosts.iter().zip(&pass.positions).filter(|(host, _)| counts(host));
        let done = hosts.clone().filter(|(_, next)| matches!(next, Next::Done | Next::DoneBut(_))).count();
        RoleProgress {
            role: role.name.clone(),
            hosts: hosts.count(),
            done,
            out: pass.capacity.out(&role.name),
            limit: pass.capacity.limit(survey, role),
        }
    };
    roles.into_iter().map(of).collect()
}

fn notes(pass: &Pass<'_, '_>) -> Vec<String> {
    let survey = pass.survey;
    let found =
        |host: &&HostView<'_>| matches!(host.claim, ClaimView::Ours { found, .. } if !found.is_empty());
    let found = survey.hosts.iter().filter(found);
    let foreign = found.map(|host| format!("{}: rows taken out by somebody else stay as found", host.name));
    let deadline = survey.desired.fleet.deadlines.rollout;
    let late = rollout_is_late(pass)
        .then(|| format!("this rollout has taken more than its deadline of {deadline:#}"));
    foreign.chain(late).chain(exceptions(survey)).chain(debts(survey)).chain(shares(pass)).collect()
}

/// Counted is the work of stages, from its beginning to its end: not the soaks after it, nor what people and freezes
/// kept from beginning.
fn rollout_is_late(pass: &Pass<'_, '_>) -> bool {
    let survey = pass.survey;
    let worked = |lane: &crate::lanes::Lane<'_>| -> SignedDuration {
        let stages = lane.rungs.iter().filter(|rung| rung.last);
        let of_target = stages.filter_map(|rung| survey.history.run(rung.stage, lane.target));
        of_target.map(|run| run.worked.or(run.passed).unwrap_or(survey.now).duration_since(run.began)).sum()
    };
    let under_way = survey.lanes.iter().zip(&pass.lanes).filter(|(_, state)| !state.through);
    under_way.map(|(lane, _)| worked(lane)).any(|worked| worked > survey.desired.fleet.deadlines.rollout)
}

/// Exceptions are shown until they are gone.
fn exceptions(survey: &Survey<'_>) -> Vec<String> {
    let exceptions = &survey.desired.exceptions;
    let mut notes = Vec::new();
    if let Some(emergency) = &exceptions.emergency {
        let used = survey.lanes.iter().any(|lane| lane.emergency.is_some());
        let budget = &survey.desired.fleet.policy.emergency;
        let cost = format!(
            "up to {} of each role out at once, sessions cut after {:#}, no gates, checks, soaks or promotion",
            budget.max_unavailable, budget.drain
        );
        let effect = if used { cost } else { "not a target now: without effect".to_owned() };
        notes.push(format!("emergency for {}: {effect} ({})", emergency.version, emergency.reason));
    }
    for out in &exceptions.outs {
        if let model::OutTarget::LoadBalancerNode(node) = &out.what {
            if out.until.is_none_or(|until| survey.now < until) {
                notes.push(format!("load balancer node {node} is declared free of traffic ({})", out.reason));
            }
        }
    }
    if let Some(allow) = &exceptions.allow {
        let version = &allow.past_post_migrations_of;
        notes.push(format!(
            "going back past the post-deployment migrations of {version} is allowed ({})",
            allow.reason
        ));
    }
    notes
}

/// Patches are debt until a package holds them.
fn debts(survey: &Survey<'_>) -> Vec<String> {
    let desired = survey.desired;
    let mut notes = Vec::new();
    for patch in &desired.exceptions.patches {
        let carries =
            |host: &&HostView<'_>| host.state().is_some_and(|state| state.patches.contains(&patch.sha256));
        let count = survey.hosts.iter().filter(carries).count();
        if count > 0 {
            notes.push(format!("debt: patch {} is on {count} hosts ({})", patch.file, patch.reason));
        }
        for lane in survey.lanes.iter().filter(|lane| drops(patch, lane.target)) {
            notes.push(format!("{} on track {} drops patch {}", lane.target, lane.track, patch.file));
        }
    }
    notes
}

fn drops(patch: &Patch, target: &Version) -> bool {
    *target != patch.version && !patch.incorporated_in.contains(target)
}

/// A share that the weights cannot give.
fn shares(pass: &Pass<'_, '_>) -> Vec<String> {
    let none =
        |share: &&model::Share| share.desired > 0 && share.achieved == 0.0 && pass.shares.steps.is_empty();
    let shares = pass.shares.shown.iter().filter(none);
    let coarse = pass.shares.coarse.iter().map(|(node, backend)| {
        format!(
            "backend {backend} on {node}: weights of main are under 50, too coarse for the canary's share"
        )
    });
    shares
        .map(|share| {
            format!(
                "backend {} on {}: weights of main are too small, or no canary server is up, for {} percent",
                share.backend, share.node, share.desired
            )
        })
        .chain(coarse)
        .collect()
}

/// The primary reason first: what only a person ends, then what the world ends, then what ends by itself, then what
/// holds nothing up.
fn urgency(reason: &Reason) -> u8 {
    match reason {
        Reason::HistoryRewritten { .. }
        | Reason::JournalLost { .. }
        | Reason::RunningUnknown { .. }
        | Reason::DirectionUnknown { .. }
        | Reason::PastPostMigration { .. }
        | Reason::OutageNotAllowed { .. } => 0,
        Reason::Halted { .. }
        | Reason::JobInDoubt { .. }
        | Reason::MigrationFailed { .. }
        | Reason::CheckFailed { .. }
        | Reason::ClaimedByOther { .. } => 1,
        Reason::ReportOnly { .. } => 2,
        Reason::Vetoed { .. }
        | Reason::Held { .. }
        | Reason::Paused { .. }
        | Reason::PatchNotIncorporated { .. }
        | Reason::GateNotGreen { .. } => 3,
        Reason::PromotionRequired { .. } | Reason::Frozen { .. } | Reason::WouldNotFinish { .. } => 4,
        Reason::StageFailing { .. } | Reason::StepOverdue { .. } => 4,
        Reason::SameMachine { .. } | Reason::OlderStillRuns { .. } => 4,
        Reason::RowMissing { .. } | Reason::RowElsewhere { .. } | Reason::NodeUnknown { .. } => 4,
        Reason::Backoff { .. } | Reason::HostUnknown { .. } | Reason::DrainTimedOut { .. } => 5,
        Reason::BelowFloor(_) | Reason::AgentBusy | Reason::Budget { ours: 0, .. } => 6,
        Reason::Draining { .. } | Reason::HealthPending { .. } | Reason::LoadBalancerCheck { .. } => 7,
        Reason::InFlight { .. } | Reason::JobRunning { .. } => 8,
        Reason::Downloading { .. } | Reason::Budget { .. } | Reason::Parallel { .. } => 9,
        Reason::Soaking { .. }
        | Reason::GateQuiet { .. }
        | Reason::Ramping { .. }
        | Reason::CanaryWeight { .. } => 9,
        Reason::FreshFacts => 10,
        Reason::EarlierRole { .. } | Reason::EarlierStage { .. } | Reason::MainFirst { .. } => 11,
        Reason::Unhealthy { .. } | Reason::ForeignDrain { .. } | Reason::HostOut { .. } => 12,
        Reason::SourceUnavailable { .. }
        | Reason::CommitUntrusted { .. }
        | Reason::RevisionInvalid { .. } => 13,
    }
}
