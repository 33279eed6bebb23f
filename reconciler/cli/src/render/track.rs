//! A track of a plan in words: where from, where to, which way and why, and each of its stages.

use engine::{Circumstances, GateReport};
use model::{CanaryTarget, StageStanding, Track, Version};

use super::rows::{Row, shares, span, verdict_words};
use super::{count, moment, one_line};
use crate::documents::{
    CheckPlan, JobStanding, MigrationPlan, PlannedEnvironment, PromotionPlan, PromotionStanding, StagePlan,
    TrackPlan, Verdict,
};

/// A stage in words: its name, how far it is, what it does, who watches over it.
pub(super) struct StageWords {
    pub(super) name: String,
    pub(super) standing: String,
    pub(super) does: String,
    pub(super) watched: String,
}

/// `16.4.2-ee.0`, or every version with its number of hosts.
pub(super) fn from(track: &TrackPlan) -> String {
    let one = |(version, hosts): (&Version, &usize)| format!("{version} ({hosts})");
    match track.from.len() {
        0 => "unknown".to_owned(),
        1 => track.from.keys().map(Version::to_string).collect(),
        _ => track.from.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Stays => "stays",
        Verdict::Forward => "forward",
        Verdict::Back => "back",
        Verdict::Refused => "refused",
    }
}

/// What is worth knowing of a track before its stages.
pub(super) fn facts(planned: &PlannedEnvironment, track: &TrackPlan) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut say = |name: &str, words: String| rows.push(vec![name.to_owned(), words]);
    if let Some(reason) = &track.emergency {
        say("emergency", emergency(track, reason));
    }
    // A way back asks for nothing; that an emergency does not is worth saying.
    let asks = |plan: &&PromotionPlan| {
        let not_asked = plan.standing == PromotionStanding::NotAsked;
        track.verdict != Verdict::Stays && (!not_asked || track.emergency.is_some())
    };
    if let Some(required) = track.promotion.as_ref().filter(asks) {
        say("promotion", promotion(required, &track.target));
    }
    if track.track == Track::Canary {
        let canary = planned.circumstances.canary.as_ref();
        canary.into_iter().for_each(|canary| say("traffic", traffic(canary)));
        let shown = &planned.plan.shares;
        if canary.is_some() || shown.iter().any(|share| share.achieved > 0.0) {
            shares(shown).into_iter().for_each(|share| say("share", share.join(": ")));
        }
    }
    rows
}

fn emergency(track: &TrackPlan, reason: &str) -> String {
    let roles = track.stages.iter().flat_map(|stage| &stage.roles);
    let cost: Vec<String> = roles.map(|it| format!("{} of {} {}", it.limit, it.hosts, it.role)).collect();
    format!("{}; out at once may be {}", one_line(reason), cost.join(", "))
}

fn promotion(plan: &PromotionPlan, target: &Version) -> String {
    let PromotionPlan { requires, standing } = plan;
    match standing {
        PromotionStanding::Met { pass } => match &pass.word {
            Some((by, reason)) => format!(
                "met: {target} counts as passed in {requires} by the word of {by} at {}: {}",
                moment(pass.at),
                one_line(reason)
            ),
            None => {
                let stages: Vec<&str> = pass.stages.iter().map(|stage| stage.as_str()).collect();
                format!("met: {target} passed {requires} at {}: {}", moment(pass.at), stages.join(", "))
            }
        },
        PromotionStanding::FoundRunning => {
            format!("not needed: {target} ran here when the environment was adopted")
        }
        PromotionStanding::NotAsked => format!("not asked for: {target} need not have passed {requires}"),
        PromotionStanding::Missing => format!("NOT met: {target} has not passed {requires}"),
        PromotionStanding::Unknown => {
            format!("not known without the journal: {target} must have passed {requires}")
        }
    }
}

/// `1 % for 10m, then 5 %`.
fn traffic(canary: &CanaryTarget) -> String {
    let steps = canary.ramp.iter().map(|step| format!("{} % for {}, then ", step.weight, span(step.soak)));
    format!("{}{} % of each shared backend in the end", steps.collect::<String>(), canary.weight)
}

/// Every stage of a track; of one that stays where it is, none.
pub(super) fn stages(circumstances: &Circumstances, track: &TrackPlan) -> Vec<StageWords> {
    if track.verdict == Verdict::Stays {
        return Vec::new();
    }
    let words = |stage: &StagePlan| StageWords {
        name: stage.stage.to_string(),
        standing: match (track.verdict, stage.standing) {
            (Verdict::Refused, StageStanding::Working) => "refused".to_owned(),
            _ => standing(stage.standing),
        },
        does: does(stage),
        watched: watched(circumstances, stage),
    };
    track.stages.iter().map(words).collect()
}

/// How far a stage is, in words.
pub(super) fn standing(standing: StageStanding) -> String {
    match standing {
        StageStanding::Ahead => "ahead".to_owned(),
        StageStanding::Working => "working".to_owned(),
        StageStanding::Watching { until } => format!("soaking until {}", moment(until)),
        StageStanding::Passed => "done".to_owned(),
        StageStanding::Skipped => "not needed".to_owned(),
    }
}

fn does(stage: &StagePlan) -> String {
    if let Some(migration) = &stage.migration {
        return migrates(migration);
    }
    let role = |it: &crate::documents::RoleStage| {
        format!("{}: {}, {} at a time", it.role, count(it.hosts, "host", "hosts"), it.limit)
    };
    let roles: Vec<String> = stage.roles.iter().map(role).collect();
    match (roles.is_empty(), stage.in_order) {
        (true, _) => "nothing".to_owned(),
        (false, true) => roles.join("; then "),
        (false, false) => roles.join("; "),
    }
}

fn migrates(migration: &MigrationPlan) -> String {
    let MigrationPlan { host, command, past_return, standing } = migration;
    let done = match standing {
        JobStanding::ToRun => {
            let warning = if *past_return { "; no way back without [allow] from then on" } else { "" };
            return format!("runs once on {host}: {}{warning}", one_line(command));
        }
        JobStanding::Covered => "migrated already".to_owned(),
        JobStanding::Begun { at } => format!("begun at {} on {host}", moment(*at)),
        JobStanding::Passed { at } => format!("migrated at {} on {host}", moment(*at)),
        JobStanding::Failed { at } => format!("FAILED at {} on {host}", moment(*at)),
    };
    format!("{done}: {}", one_line(command))
}

/// Gates with what they say now, checks, soak; empty: nothing watches, or nothing has to any more.
fn watched(circumstances: &Circumstances, stage: &StagePlan) -> String {
    if matches!(stage.standing, StageStanding::Passed | StageStanding::Skipped) {
        return String::new();
    }
    let mut parts = Vec::new();
    if !stage.gates.is_empty() {
        let known = |name: &model::GateName| circumstances.gates.iter().find(|gate| gate.gate == *name);
        let gate = |name| format!("{name} ({})", known(name).map_or_else(String::new, says));
        parts.push(format!("gates {}", stage.gates.iter().map(gate).collect::<Vec<_>>().join(", ")));
    }
    parts.extend(stage.checks.iter().map(check));
    if !stage.soak.is_zero() {
        parts.push(format!("soak {}", span(stage.soak)));
    }
    parts.join("; ")
}

fn says(gate: &GateReport) -> String {
    let shown = if gate.observe { ", shown only" } else { "" };
    format!("{}{shown}", verdict_words(gate))
}

fn check(check: &CheckPlan) -> String {
    let done = match check.standing {
        JobStanding::ToRun => check.place.clone(),
        JobStanding::Covered => "not needed".to_owned(),
        JobStanding::Begun { at } => format!("begun at {}", moment(at)),
        JobStanding::Passed { at } => format!("passed at {}", moment(at)),
        JobStanding::Failed { at } => format!("FAILED at {}", moment(at)),
    };
    format!("check {} {done}", check.check)
}
