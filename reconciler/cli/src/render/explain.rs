//! The one reason why an environment or a host is not converged.

use std::fmt::Write;

use model::{EndedBy, Reason};

use super::{clean, failure_in, length, moment, one_line, standing};
use crate::documents::Explanation;
use crate::paint::Paint;

/// Subject, reason, since when, who or what ends it.
pub(crate) fn explain(explanation: &Explanation, paint: Paint) -> String {
    let Explanation { environment, host, target, commit, waiting, ends, in_flight, at, .. } = explanation;
    let mut text = String::new();
    let subject = host
        .as_ref()
        .map_or_else(|| paint.bold(environment), |host| format!("{} in {environment}", paint.bold(host)));
    let _ = writeln!(text, "{subject}: {}", standing(explanation.standing, paint));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<9}  {value}");
    };
    line("wants", &format!("{target} at {}", commit.short()));
    match waiting {
        Some(waiting) => {
            line("reason", &format!("{}: {}", waiting.subject, one_line(&waiting.reason.to_string())));
            let ago = length(at.duration_since(waiting.since));
            let label = if is_of_git(&waiting.reason) { "seen" } else { "since" };
            line(label, &format!("{} ({ago} ago)", moment(waiting.since)));
            for (name, words) in facts(&waiting.reason) {
                line(name, &one_line(&words));
            }
            line("next", ends.as_deref().unwrap_or_default());
            line("ended by", who(&waiting.reason));
            let detail = failure_in(&waiting.reason).map_or("", |failure| failure.detail.as_str());
            for (place, words) in clean(detail).lines().enumerate() {
                line(if place == 0 { "detail" } else { "" }, words);
            }
        }
        None => match explanation.converged_at {
            Some(since) => line("since", &moment(since)),
            None => line("reason", "nothing waits"),
        },
    }
    for step in in_flight {
        let (kind, since) = (step.step.action.kind(), length(at.duration_since(step.since)));
        line("under way", &format!("{} {kind} for {since}", step.step.host));
    }
    for also in &explanation.also {
        line("also", &one_line(also));
    }
    text
}

fn who(reason: &Reason) -> &'static str {
    match reason.ended_by() {
        EndedBy::Person if reason.until().is_some() => "time; earlier by a person",
        EndedBy::Person => "a person",
        EndedBy::World if is_a_date(reason) => "time",
        EndedBy::World => "the surroundings",
        EndedBy::Itself => "itself: it is work in progress",
        EndedBy::Nobody => "nobody has to: it holds nothing up",
    }
}

/// Only the calendar ends it.
fn is_a_date(reason: &Reason) -> bool {
    matches!(reason, Reason::Held { .. } | Reason::Frozen { .. } | Reason::WouldNotFinish { .. })
}

/// What the reason's one line does not tell as clearly.
fn facts(reason: &Reason) -> Vec<(&'static str, String)> {
    let mut facts = match reason {
        Reason::GateNotGreen { gate, verdict, query, value, threshold } => vec![
            ("gate", gate.to_string()),
            ("verdict", verdict.to_string()),
            ("query", query.clone()),
            ("value", value.clone()),
            ("green is", threshold.clone()),
        ],
        Reason::CheckFailed { key, .. } | Reason::MigrationFailed { key, .. } => {
            vec![("job", key.to_string())]
        }
        Reason::Draining { row, then, .. } => vec![("row", row.to_string()), ("then", then.to_string())],
        Reason::Budget { out, .. } => {
            vec![("out", out.iter().map(|host| host.as_str()).collect::<Vec<_>>().join(", "))]
        }
        _ => Vec::new(),
    };
    facts.extend(reason.until().map(|until| ("until", moment(until))));
    facts
}

/// Git is asked again and again: what is known is when it last answered so.
fn is_of_git(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::SourceUnavailable { .. } | Reason::HistoryRewritten { .. } | Reason::RevisionInvalid { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{samples, samples_of_reasons};

    #[test]
    fn a_halted_environment_says_what_failed_and_what_a_person_can_do() {
        insta::assert_snapshot!(explain(&samples::halted(), Paint::plain()), @r"
        production: halted
          wants      1.1.0-1 at 1f2e3d4c5b
          reason     gitaly-01: 1.1.0-1 failed three times and is halted: gitaly-01: install failed (100)
          since      2026-11-22 12:00:05Z (2m 0s ago)
          next       revert the commit, commit another version, or `reconcile retry`
          ended by   a person
          detail     E: Sub-process /usr/bin/dpkg returned an error code (1)
                     E:  [31mstore [0m
          under way  web-01 drain for 5.0 s
          also       the git remote cannot be read: timed out
        ");
    }

    #[test]
    fn a_converged_environment_says_since_when() {
        let mut explanation = samples::halted();
        explanation.standing = model::Standing::Converged;
        (explanation.waiting, explanation.ends) = (None, None);
        explanation.in_flight.clear();
        explanation.converged_at = Some(samples::at(60));
        insta::assert_snapshot!(explain(&explanation, Paint::plain()), @r"
        production: converged
          wants      1.1.0-1 at 1f2e3d4c5b
          since      2026-11-22 12:01:00Z
          also       the git remote cannot be read: timed out
        ");
    }

    #[test]
    fn a_red_gate_says_what_was_asked_what_was_answered_and_what_would_be_green() {
        let mut explanation = samples::halted();
        let reason = Reason::GateNotGreen {
            gate: "errors".into(),
            verdict: model::Verdict::Red,
            query: "rate(errors[5m])".into(),
            value: "0.031".into(),
            threshold: "below 0.01".into(),
        };
        explanation.ends = Some(reason.ends());
        explanation.waiting.as_mut().unwrap().reason = reason;
        insta::assert_snapshot!(explain(&explanation, Paint::plain()), @r"
        production: halted
          wants      1.1.0-1 at 1f2e3d4c5b
          reason     gitaly-01: gate errors is red: rate(errors[5m]) gives 0.031; green is below 0.01
          since      2026-11-22 12:00:05Z (2m 0s ago)
          gate       errors
          verdict    red
          query      rate(errors[5m])
          value      0.031
          green is   below 0.01
          next       ends when the gate is green again; or revert the commit
          ended by   the surroundings
          under way  web-01 drain for 5.0 s
          also       the git remote cannot be read: timed out
        ");
    }

    #[test]
    fn every_reason_is_explained_with_who_or_what_ends_it() {
        let lines = samples_of_reasons::every()
            .into_iter()
            .map(|reason| format!("{reason}\n    {}: {}", who(&reason), reason.ends()));
        let text: String = lines.collect::<Vec<_>>().join("\n");
        assert_eq!(format!("{text}\n"), include_str!("reasons.txt"));
    }
}
