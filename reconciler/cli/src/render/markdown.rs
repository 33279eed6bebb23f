//! A plan as one collapsible comment for a merge request.

use std::fmt::Write;

use model::Standing;

use super::plan::{by_role, summary};
use super::{length, one_line, purpose};
use crate::documents::{PlanDocument, PlannedEnvironment};

/// GitHub takes 65,536 characters in a comment; GitLab takes more.
const MAX_BYTES: usize = 60_000;

/// One comment. What does not fit is left out, and said to be.
pub(crate) fn markdown(document: &PlanDocument) -> String {
    let mut text = String::new();
    for planned in &document.environments {
        let before = text.len();
        environment(&mut text, planned);
        if text.len() > MAX_BYTES {
            text.truncate(before);
            shortened(&mut text, planned);
        }
    }
    if !document.warnings.is_empty() {
        let _ = writeln!(text, "Warnings:\n");
        for warning in document.warnings.iter().take(20) {
            let _ = writeln!(text, "- {}", escape(warning));
        }
    }
    text
}

fn environment(text: &mut String, planned: &PlannedEnvironment) {
    open(text, planned);
    let plan = &planned.plan;
    let _ = writeln!(text, "| role | done | out | at most out |\n|---|---|---|---|");
    for role in &plan.progress {
        let _ = writeln!(
            text,
            "| {} | {} of {} | {} | {} |",
            role.role, role.done, role.hosts, role.out, role.limit
        );
    }
    let _ = writeln!(text);
    list(
        text,
        "Cannot be seen",
        planned.unseen.iter().map(|it| format!("{}: {}: {}", it.host, it.kind, it.detail)),
    );
    match &planned.preview {
        Some(preview) => rollout(text, preview),
        None => list(
            text,
            "Starts now",
            plan.steps.iter().map(|it| format!("{} {}: {}", it.host, it.action.kind(), purpose(it))),
        ),
    }
    list(
        text,
        "Waits",
        plan.waiting.iter().map(|it| format!("{}: {} ({})", it.subject, it.reason, it.reason.ends())),
    );
    list(text, "Notes", plan.notes.iter().cloned());
    let _ = writeln!(text, "</details>\n");
}

fn open(text: &mut String, planned: &PlannedEnvironment) {
    let plan = &planned.plan;
    let told = match (&planned.preview, planned.standing) {
        (_, Standing::Converged) => "nothing to do".to_owned(),
        (Some(preview), _) => format!("{}, {}", plan.direction, summary(preview)),
        (None, _) => {
            format!("{}, {} may start now", plan.direction, super::count(plan.steps.len(), "step", "steps"))
        }
    };
    let _ = writeln!(
        text,
        "<details>\n<summary><b>reconcile: {} to {}</b>: {}</summary>\n",
        escape(plan.environment.as_str()),
        escape(plan.target.as_str()),
        escape(&told),
    );
    if planned.standing != Standing::Converged {
        let _ = writeln!(text, "Goes {}: {}.\n", plan.direction, escape(&planned.direction_because));
    }
}

fn rollout(text: &mut String, preview: &planner::Preview) {
    let Some(first) = preview.steps.first().map(|step| step.start) else { return };
    for (role, steps) in by_role(preview) {
        let _ = writeln!(text, "Role {role}, in this order:\n");
        for it in steps {
            let start = length(it.start.duration_since(first));
            let words = format!("+{start} {} {}: {}", it.step.host, it.step.action.kind(), purpose(&it.step));
            let _ = writeln!(text, "1. {}", escape(&words));
        }
        let _ = writeln!(text);
    }
}

fn list(text: &mut String, heading: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return;
    }
    let _ = writeln!(text, "{heading}:\n");
    for line in lines {
        let _ = writeln!(text, "- {}", escape(&line));
    }
    let _ = writeln!(text);
}

fn shortened(text: &mut String, planned: &PlannedEnvironment) {
    if text.len() + 1_000 > MAX_BYTES {
        return;
    }
    open(text, planned);
    let _ = writeln!(
        text,
        "Too long for a comment: see `reconcile plan {} --whole`.\n</details>\n",
        planned.plan.environment
    );
}

/// Nothing from a commit or a host becomes markup.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in one_line(text).chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '|' | '*' | '_' | '[' | ']' | '`' | '\\' | '@' | '#' | '~' | '!' => {
                escaped.push('\\');
                escaped.push(c);
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    #[test]
    fn a_comment_folds_away_and_tells_the_whole_rollout() {
        insta::assert_snapshot!(markdown(&samples::planned(true)), @r"
        <details>
        <summary><b>reconcile: production to 1.1.0-1</b>: forward, 3 steps, about 2m 10s (partly guessed), never fewer than 3 in fe/web</summary>

        Goes forward: 1.1.0-1 is the newest target in git history.

        | role | done | out | at most out |
        |---|---|---|---|
        | gitaly | 0 of 1 | 0 | 1 |
        | web | 0 of 4 | 1 | 1 |

        Cannot be seen:

        - web-03: unreachable: Connection refused

        Role gitaly, in this order:

        1. +0.0 s gitaly-01 claim: to bring it to 1.1.0-1
        1. +1.0 s gitaly-01 install: store 1.1.0-1: install while drained

        Role web, in this order:

        1. +40 s web-01 drain: to install 1.1.0-1

        Waits:

        - role web: role gitaly comes first (ends when those are done)
        - web-03: unreachable: Connection refused (ends when it answers again)

        Notes:

        - web-02 is drained by somebody else

        </details>
        ");
    }

    #[test]
    fn a_plan_that_is_too_long_for_a_comment_says_so() {
        let mut document = samples::planned(false);
        let step = document.environments[0].plan.steps[0].clone();
        document.environments[0].plan.steps = vec![step; 5_000];
        let text = markdown(&document);
        assert!(text.len() < MAX_BYTES && text.contains("Too long for a comment"), "{} bytes", text.len());
        assert!(text.trim_end().ends_with("</details>"));
    }

    #[test]
    fn nothing_from_a_commit_becomes_markup() {
        assert_eq!(
            escape("</details><img src=x> [a](b) @all"),
            r"&lt;/details&gt;&lt;img src=x&gt; \[a\](b) \@all"
        );
    }
}
