//! Values into text for people. Pure: the same values give the same text.

pub(crate) mod check;
pub(crate) mod event;
pub(crate) mod explain;
pub(crate) mod markdown;
pub(crate) mod plan;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod status;

use jiff::{SignedDuration, Timestamp, Unit};
use model::{Action, Failure, Reason, Standing, Step};

use crate::paint::Paint;

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

/// What a step does, in a few words; with the exact versions where it has any.
pub(crate) fn purpose(step: &Step) -> String {
    let why = one_line(&step.why);
    match &step.action {
        Action::Download { packages } | Action::Install { packages, .. } if !packages.is_empty() => {
            let exact: Vec<String> =
                packages.iter().map(|(name, version)| format!("{name} {version}")).collect();
            format!("{}: {why}", exact.join(", "))
        }
        _ => why,
    }
}

/// A failure within a reason: its detail holds the outside's own words.
pub(crate) fn failure_in(reason: &Reason) -> Option<&Failure> {
    match reason {
        Reason::Backoff { failure, .. }
        | Reason::Halted { failure, .. }
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
