//! Values into text for people. Pure: the same values give the same text.

pub(crate) mod check;
pub(crate) mod event;
pub(crate) mod explain;
pub(crate) mod markdown;
pub(crate) mod plan;
mod release_event;
mod rows;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod samples_of_reasons;
#[cfg(test)]
mod samples_of_releases;
pub(crate) mod status;
mod track;

use engine::linter::Finding;
use jiff::{SignedDuration, Timestamp, Unit};
use model::{Action, Failure, Reason, RowId, Standing, Step};

use crate::paint::Paint;

/// Said of a plan that would break a promise, before what was found.
pub(crate) const REFUSED: &str =
    "the plan would break a promise, so nothing of it begins; this is a bug in reconcile, please report it";

/// What was found against a plan, a line each.
pub(crate) fn findings(findings: &[Finding]) -> impl Iterator<Item = String> {
    findings.iter().map(|finding| one_line(&finding.to_string()))
}

/// Text from outside (hosts, git authors) as a terminal may get it: no control characters but line ends.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

/// The same in one line.
pub(crate) fn one_line(text: &str) -> String {
    clean(text).replace('\n', " ").trim().to_owned()
}

/// `0.3 s`, `42 s`, `2m 10s`, `1h 5m`: as exact as a person cares.
pub(crate) fn length(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        ..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Date and time, UTC, to the second.
pub(crate) fn moment(at: Timestamp) -> String {
    at.round(Unit::Second).unwrap_or(at).strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// `one host`, `3 hosts`.
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

/// A standing as a word.
pub(crate) fn standing(standing: Standing, paint: Paint) -> String {
    match standing {
        Standing::Converged => paint.good("converged"),
        Standing::Moving => paint.notice("moving"),
        Standing::Waiting => paint.notice("waiting"),
        Standing::Halted => paint.bad("halted"),
    }
}

/// What a step does, in a few words; with the exact versions, weights, commands and files where it has any.
pub(crate) fn purpose(step: &Step) -> String {
    let why = one_line(&step.why);
    match effect(step).filter(|effect| !effect.is_empty()) {
        Some(effect) => one_line(&format!("{effect}: {why}")),
        None => why,
    }
}

/// The particulars of an action, for those where the kind does not say it all.
fn effect(step: &Step) -> Option<String> {
    match &step.action {
        Action::Download { packages } | Action::Install { packages, .. } => {
            let exact = packages.iter().map(|(name, version)| format!("{name} {version}"));
            Some(exact.collect::<Vec<_>>().join(", "))
        }
        Action::Weigh { weights } => {
            let one =
                |(row, weight): (&RowId, &u32)| format!("{} in {} to {weight}", row.server, row.backend);
            Some(weights.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        Action::Migrate { key, run, .. } => Some(format!("{key} by {}", run.command)),
        Action::Check { key, .. } => Some(key.to_string()),
        Action::PauseAgent { agent } => Some(agent.pause.to_string()),
        Action::ResumeAgent { agent } => Some(agent.resume.to_string()),
        Action::Pin { track, .. } => Some(format!("{} for {track}", step.version)),
        Action::Patch { want } if want.is_empty() => {
            Some("none is wanted, reverts what is applied".to_owned())
        }
        Action::Patch { want } => {
            Some(want.iter().map(|patch| patch.file.as_str()).collect::<Vec<_>>().join(", "))
        }
        Action::Claim { .. }
        | Action::Drain { .. }
        | Action::Maint { .. }
        | Action::Cut { .. }
        | Action::Activate { .. }
        | Action::Ready { .. }
        | Action::Release
        | Action::Retire { .. } => None,
    }
}

/// A failure within a reason: its detail holds the outside's own words.
pub(crate) fn failure_in(reason: &Reason) -> Option<&Failure> {
    match reason {
        Reason::Backoff { failure, .. }
        | Reason::Halted { failure, .. }
        | Reason::CheckFailed { failure, .. }
        | Reason::MigrationFailed { failure, .. }
        | Reason::StageFailing { failure, .. } => Some(failure),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_exact_as_a_person_cares() {
        let told = [300, 9_900, 42_000, 130_000, 3_900_000].map(|ms| length(SignedDuration::from_millis(ms)));
        assert_eq!(told, ["0.3 s", "9.9 s", "42 s", "2m 10s", "1h 5m"]);
    }

    #[test]
    fn a_host_cannot_write_escape_sequences_into_a_terminal() {
        assert_eq!(clean("a\x1b[2Jb\nc"), "a [2Jb\nc");
    }
}
