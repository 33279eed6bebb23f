//! Plans and standings as rows of words, for every format: what is said is decided here, how it looks elsewhere.

use engine::{ExceptionKind, ExceptionReport, FreezeReport, GateReport, JobReport, PatchReport};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use model::{
    HostName, JobState, Pause, Plan, Reason, ReleaseEdit, RoleProgress, Share, Step, Verdict, Waiting,
};
use planner::PreviewedStep;

use super::{count, length, moment, one_line, purpose};
use crate::documents::Unseen;

/// One thing that is said: who or what it is about, and in the last cell the words.
pub(super) type Row = Vec<String>;

/// Rows under a heading.
pub(super) struct Section {
    pub(super) heading: String,
    pub(super) rows: Vec<Row>,
}

impl Section {
    pub(super) fn new(heading: impl Into<String>, rows: impl IntoIterator<Item = Row>) -> Self {
        Self { heading: heading.into(), rows: rows.into_iter().collect() }
    }
}

pub(super) fn unseen(unseen: &[Unseen]) -> Vec<Row> {
    let row = |it: &Unseen| vec![it.host.to_string(), format!("{}: {}", it.kind, one_line(&it.detail))];
    unseen.iter().map(row).collect()
}

pub(super) fn progress(roles: &[RoleProgress]) -> Vec<Row> {
    let row = |it: &RoleProgress| {
        let out = if it.out == 0 {
            String::new()
        } else {
            format!(", {} out (at most {} may be)", it.out, it.limit)
        };
        vec![it.role.to_string(), format!("{} of {} done{out}", it.done, count(it.hosts, "host", "hosts"))]
    };
    roles.iter().map(row).collect()
}

pub(super) fn step(step: &Step) -> Row {
    vec![step.host.to_string(), step.action.kind().to_string(), purpose(step)]
}

pub(super) fn previewed(it: &PreviewedStep, first: Timestamp) -> Row {
    let mut row = vec![format!("+{}", length(it.start.duration_since(first)))];
    row.extend(step(&it.step));
    row
}

/// Steps that start now, those of each stage together.
pub(super) fn starts(plan: &Plan) -> Vec<Section> {
    let report_only = plan.waiting.iter().any(|it| matches!(it.reason, Reason::ReportOnly { .. }));
    let heading = if report_only { "would start (mode is report)" } else { "starts now" };
    let mut sections: Vec<Section> = Vec::new();
    for it in &plan.steps {
        let heading = match &it.stage {
            Some(stage) => format!("{heading}, stage {stage}"),
            None => heading.to_owned(),
        };
        match sections.iter_mut().find(|section| section.heading == heading) {
            Some(section) => section.rows.push(step(it)),
            None => sections.push(Section::new(heading, [step(it)])),
        }
    }
    sections
}

pub(super) fn waits(waiting: &[Waiting], freezes: &[FreezeReport]) -> Vec<Row> {
    waiting.iter().map(|it| vec![it.subject.to_string(), wait(&it.reason, freezes)]).collect()
}

/// A reason with who or what ends it.
pub(super) fn wait(reason: &Reason, freezes: &[FreezeReport]) -> String {
    format!("{} ({})", reason_in_words(reason, freezes), reason.ends())
}

/// A reason; freezes on the clock of their own zone.
pub(super) fn reason_in_words(reason: &Reason, freezes: &[FreezeReport]) -> String {
    let words = match reason {
        Reason::WouldNotFinish { stage, takes, freeze, why } => {
            let from = freezes.iter().find(|it| it.from == *freeze);
            let at = from.map_or_else(|| moment(*freeze), |it| on_the_wall(it.from, &it.zone));
            format!(
                "will not finish before the freeze at {at}: {why}; stage {stage} takes {}",
                length(*takes)
            )
        }
        Reason::Frozen { why, until } => {
            let to = freezes.iter().find(|it| it.open && it.to == *until);
            let at = to.map_or_else(|| moment(*until), |it| on_the_wall(it.to, &it.zone));
            format!("frozen until {at}: {why}")
        }
        _ => reason.to_string(),
    };
    one_line(&words)
}

/// `Fri 18:00 (Europe/Amsterdam)`, with the date: a freeze may be far away.
pub(super) fn on_the_wall(at: Timestamp, zone: &str) -> String {
    let known = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    format!("{} ({zone})", at.to_zoned(known).strftime("%a %Y-%m-%d %H:%M"))
}

pub(super) fn gates(gates: &[GateReport], at: Timestamp) -> Vec<Row> {
    gates.iter().map(|gate| vec![gate.gate.to_string(), gate_words(gate, at)]).collect()
}

/// `green since 12:00, 0.002: sum(…) is green when below 0.01`.
fn gate_words(gate: &GateReport, at: Timestamp) -> String {
    let mut words = verdict_words(gate);
    if let Some(since) = gate.since {
        words = format!("{words} since {}", moment(since));
        let counts = since + gate.quiet_for;
        if gate.verdict == Some(Verdict::Green) && counts > at {
            words = format!("{words}, counts from {}", moment(counts));
        }
    }
    if !gate.value.is_empty() {
        words = format!("{words}: {}", gate.value);
    }
    let shown = if gate.observe { ", shown and never blocking" } else { "" };
    one_line(&format!("{words}; {} is green when {}{shown}", gate.query, gate.threshold))
}

/// One word, and two where no data counts as green.
pub(super) fn verdict_words(gate: &GateReport) -> String {
    match gate.verdict {
        None => "not asked yet".to_owned(),
        Some(Verdict::NoData) if gate.no_data_is_green => "no data, which counts as green".to_owned(),
        Some(verdict) => verdict.to_string(),
    }
}

/// Exceptions of which the plan's own notes do not tell.
pub(super) fn exceptions(exceptions: &[ExceptionReport], pause: Option<&Pause>) -> Vec<Row> {
    let told = exceptions.iter().filter_map(|it| {
        let kind = match it.kind {
            ExceptionKind::Veto => "veto",
            ExceptionKind::Hold => "hold",
            ExceptionKind::Out => "out",
            ExceptionKind::Emergency | ExceptionKind::NodeOut | ExceptionKind::Allow => return None,
        };
        let until = it.until.map_or_else(String::new, |until| format!(" until {}", moment(until)));
        let over = if it.in_force { "" } else { " (over: it can leave release.toml)" };
        Some(vec![kind.to_owned(), format!("{}{until}: {}{over}", it.what, one_line(&it.reason))])
    });
    let paused = pause.map(|pause| {
        let reason = one_line(&pause.reason);
        vec!["pause".to_owned(), format!("by {} until {}: {reason}", pause.by, moment(pause.until))]
    });
    paused.into_iter().chain(told).collect()
}

pub(super) fn patches(patches: &[PatchReport]) -> Vec<Row> {
    let mut rows = Vec::new();
    for patch in patches {
        let name = patch.file.clone().unwrap_or_else(|| format!("{:.12} (left the file)", patch.sha256));
        let mut say = |words: &str, hosts: &[HostName]| {
            if !hosts.is_empty() {
                rows.push(vec![name.clone(), format!("{words} {}", some_hosts(hosts))]);
            }
        };
        say("is on", &patch.applied);
        say("will be applied to", &patch.missing);
        say("will be reverted on", &patch.reverted);
        say("goes with the old package of", &patch.dropped);
    }
    rows
}

/// Up to five by name.
fn some_hosts(hosts: &[HostName]) -> String {
    let names: Vec<&str> = hosts.iter().take(5).map(|host| host.as_str()).collect();
    match hosts.len().saturating_sub(names.len()) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

pub(super) fn freezes(freezes: &[FreezeReport]) -> Vec<Row> {
    let row = |it: &FreezeReport| {
        let is_on = if it.open { ", on now" } else { "" };
        let (from, to) = (on_the_wall(it.from, &it.zone), on_the_wall(it.to, &it.zone));
        vec![one_line(&it.reason), format!("from {from} to {to}{is_on}")]
    };
    freezes.iter().map(row).collect()
}

/// Jobs that run or failed; those that passed stand with their stages.
pub(super) fn jobs(jobs: &[JobReport]) -> Vec<Row> {
    let row = |it: &JobReport| {
        let attempt = if it.attempt > 1 { format!(", attempt {}", it.attempt) } else { String::new() };
        let words = match &it.state {
            JobState::Begun { at } => format!("begun at {}{attempt}", moment(*at)),
            JobState::Failed { at, failure } => {
                format!("FAILED at {}{attempt}: {}", moment(*at), one_line(&failure.to_string()))
            }
            JobState::Wanted | JobState::Passed { .. } => return None,
        };
        Some(vec![it.key.to_string(), words])
    };
    jobs.iter().filter_map(row).collect()
}

/// Each shared backend, with what every node of it shows.
pub(super) fn shares(shares: &[Share]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for share in shares {
        let backend = share.backend.to_string();
        let on_node = format!("{:.1} % on {}", share.achieved, share.node);
        match rows.iter_mut().find(|row| row[0] == backend) {
            Some(row) => row[1] = format!("{}, {on_node}", row[1]),
            None => rows.push(vec![backend, format!("wants {} % now, has {on_node}", share.desired)]),
        }
    }
    rows
}

pub(super) fn edits(edits: &[ReleaseEdit]) -> Vec<Row> {
    let row = |it: &ReleaseEdit| {
        vec![format!("track {}", it.track), format!("{} -> {}: {}", it.from, it.to, one_line(&it.reason))]
    };
    edits.iter().map(row).collect()
}

pub(super) fn notes(notes: &[String]) -> Vec<Row> {
    notes.iter().map(|note| vec![one_line(note)]).collect()
}

/// `10m`, `1h 30m`: as a person writes it in a file.
pub(super) fn span(duration: SignedDuration) -> String {
    format!("{duration:#}")
}

#[cfg(test)]
mod tests {
    use model::BackendId;

    use super::*;

    #[test]
    fn a_backend_has_one_row_with_all_of_its_nodes() {
        let share = |backend: &str, node: &str| Share {
            backend: BackendId { load_balancer: "fe".into(), backend: backend.into() },
            node: node.into(),
            desired: 5,
            achieved: 4.76,
        };
        let rows = shares(&[
            share("api", "fe-01"),
            share("web", "fe-01"),
            share("api", "fe-02"),
            share("web", "fe-02"),
        ]);
        assert_eq!(rows[1], ["fe/web", "wants 5 % now, has 4.8 % on fe-01, 4.8 % on fe-02"]);
        assert_eq!(rows.len(), 2);
    }
}
