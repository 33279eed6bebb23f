//! A plan as one comment for a merge request: what a reviewer must see first, the rest folded away.

use std::fmt::Write;

use model::Standing;

use super::plan::{late, sections, summary};
use super::rows::{self, Section};
use super::{REFUSED, count, findings, one_line, standing, track};
use crate::documents::{PlanDocument, PlannedEnvironment, TrackPlan, Verdict};
use crate::paint::Paint;

/// GitHub takes 65,536 characters in a comment; GitLab takes more.
const MAX_BYTES: usize = 60_000;

/// One comment. What does not fit is left out, and said to be.
pub(crate) fn markdown(document: &PlanDocument) -> String {
    let mut text = String::new();
    for planned in &document.environments {
        let before = text.len();
        environment(&mut text, document, planned);
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

fn environment(text: &mut String, document: &PlanDocument, planned: &PlannedEnvironment) {
    open(text, planned);
    let _ = writeln!(text, "<details>\n<summary>Stages, gates, hosts and steps</summary>\n");
    for track in &planned.tracks {
        stages(text, planned, track);
    }
    hosts(text, planned);
    for section in sections(document, planned).iter().filter(|section| !is_told(planned, section)) {
        list(text, section);
    }
    let _ = writeln!(text, "</details>\n");
}

/// What stands above already, or is the beginning of what follows.
fn is_told(planned: &PlannedEnvironment, section: &Section) -> bool {
    let heading = section.heading.as_str();
    let begins_rollout = planned.preview.is_some() && heading.starts_with("starts now");
    begins_rollout || heading == "progress" || heading == "whole rollout"
}

/// What a reviewer must see: which way each track goes, and what stands in the way.
fn open(text: &mut String, planned: &PlannedEnvironment) {
    let plan = &planned.plan;
    let told = match (&planned.preview, planned.standing) {
        (_, Standing::Converged) => "nothing to do".to_owned(),
        (Some(preview), _) => summary(preview),
        (None, _) if plan.steps.is_empty() => "nothing may start now".to_owned(),
        (None, _) => format!("{} may start now", count(plan.steps.len(), "step", "steps")),
    };
    let _ = writeln!(text, "### reconcile: {}\n", escape(plan.environment.as_str()));
    if !planned.refused_plan.is_empty() {
        let _ = writeln!(text, "**{REFUSED}:**\n");
        for line in findings(&planned.refused_plan) {
            let _ = writeln!(text, "- {}", escape(&line));
        }
        let _ = writeln!(text);
    }
    let _ = writeln!(text, "| track | from | to | verdict |\n|---|---|---|---|");
    for track in &planned.tracks {
        let verdict = track::verdict(track.verdict);
        let verdict =
            if track.verdict == Verdict::Refused { format!("**{verdict}**") } else { verdict.to_owned() };
        let (from, to) = (escape(&track::from(track)), escape(track.target.as_str()));
        let _ = writeln!(text, "| {} | {from} | {to} | {verdict}: {} |", track.track, escape(&track.because));
    }
    let _ = writeln!(text, "\n{}: {}.\n", standing(planned.standing, Paint::default()), escape(&told));
    for track in &planned.tracks {
        for fact in track::facts(planned, track) {
            let _ = writeln!(text, "- {}: {}", track.track, escape(&fact.join(": ")));
        }
    }
    let freezes = &planned.circumstances.freezes;
    if let Some(late) = planned.preview.as_ref().and_then(|preview| late(preview, freezes)) {
        let _ = writeln!(text, "- **{}**", escape(&late));
    }
    if let Some(first) = plan.waiting.first() {
        let wait = rows::wait(&first.reason, freezes);
        let _ = writeln!(text, "- **waits**: {}", escape(&format!("{}: {wait}", first.subject)));
    }
    let _ = writeln!(text);
}

fn stages(text: &mut String, planned: &PlannedEnvironment, track: &TrackPlan) {
    let stages = track::stages(&planned.circumstances, track);
    if stages.is_empty() {
        return;
    }
    let _ = writeln!(text, "Track {}, in this order:\n", track.track);
    let _ = writeln!(text, "| stage | is | does | watched by |\n|---|---|---|---|");
    for it in stages {
        let cells = [it.name, it.standing, it.does, it.watched].map(|cell| escape(&cell));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    let _ = writeln!(text);
}

fn hosts(text: &mut String, planned: &PlannedEnvironment) {
    let _ = writeln!(text, "| role | done | out | at most out |\n|---|---|---|---|");
    for role in &planned.plan.progress {
        let name = escape(role.role.as_str());
        let _ =
            writeln!(text, "| {name} | {} of {} | {} | {} |", role.done, role.hosts, role.out, role.limit);
    }
    let _ = writeln!(text);
}

/// Steps in their order are counted; everything else is not.
fn list(text: &mut String, section: &Section) {
    let _ = writeln!(text, "{}:\n", escape(&capital(&section.heading)));
    let mark = if section.heading.ends_with("in this order") { "1." } else { "-" };
    for row in &section.rows {
        let (last, subject) = row.split_last().map_or(("", &[][..]), |(last, rest)| (last.as_str(), rest));
        let words =
            if subject.is_empty() { last.to_owned() } else { format!("{}: {last}", subject.join(" ")) };
        let _ = writeln!(text, "{mark} {}", escape(&words));
    }
    let _ = writeln!(text);
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn shortened(text: &mut String, planned: &PlannedEnvironment) {
    if text.len() + 8_000 > MAX_BYTES {
        return;
    }
    let before = text.len();
    open(text, planned);
    let _ = writeln!(
        text,
        "Too long for a comment: see `reconcile plan {} --whole`.\n",
        planned.plan.environment
    );
    if text.len() > MAX_BYTES {
        text.truncate(before);
    }
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
    use crate::render::{samples, samples_of_releases};

    #[test]
    fn a_comment_shows_the_verdicts_first_and_folds_the_rest() {
        insta::assert_snapshot!(markdown(&samples::planned(true)), @r"
        ### reconcile: production

        | track | from | to | verdict |
        |---|---|---|---|
        | main | 1.0.0-1 | 1.1.0-1 | forward: 1.1.0-1 is the newest target in git history |

        moving: 3 steps, about 2m 10s (partly guessed), never fewer than 3 in fe/web.

        - **waits**: role web: role gitaly comes first (ends when those are done)

        <details>
        <summary>Stages, gates, hosts and steps</summary>

        Track main, in this order:

        | stage | is | does | watched by |
        |---|---|---|---|
        | deploy | working | gitaly: 1 host, 1 at a time; then web: 4 hosts, 1 at a time |  |

        | role | done | out | at most out |
        |---|---|---|---|
        | gitaly | 0 of 1 | 0 | 1 |
        | web | 0 of 4 | 1 | 1 |

        Cannot be seen:

        - web-03: unreachable: Connection refused

        Waits:

        - role web: role gitaly comes first (ends when those are done)
        - web-03: unreachable: Connection refused (ends when it answers again)

        Notes:

        - web-02 is drained by somebody else

        Role gitaly, in this order:

        1. +0.0 s gitaly-01 claim: to bring it to 1.1.0-1
        1. +1.0 s gitaly-01 install: store 1.1.0-1: install while drained

        Role web, in this order:

        1. +40 s web-01 drain: to install 1.1.0-1

        </details>
        ");
    }

    #[test]
    fn a_way_back_that_is_refused_stands_in_the_table() {
        insta::assert_snapshot!(markdown(&samples_of_releases::back().planned(false)), @r#"
        ### reconcile: production

        | track | from | to | verdict |
        |---|---|---|---|
        | canary | 1.5.0 | 1.4.2 | **refused**: 1.4.2 lies before the post-deployment migrations of 1.5.0, which began at 2026-11-22 10:00Z: going back past them needs \[allow\] past\_post\_migrations\_of = "1.5.0" |
        | main | 1.5.0 | 1.4.2 | **refused**: 1.4.2 lies before the post-deployment migrations of 1.5.0, which began at 2026-11-22 10:00Z: going back past them needs \[allow\] past\_post\_migrations\_of = "1.5.0" |

        halted: nothing may start now.

        - **waits**: track main: 1.4.2 lies before the post-deployment migrations of 1.5.0, which began at 2026-11-22 10:00Z (go forward; or write \[allow\] past\_post\_migrations\_of with the reason why it is safe)

        <details>
        <summary>Stages, gates, hosts and steps</summary>

        Track canary, in this order:

        | stage | is | does | watched by |
        |---|---|---|---|
        | canary fleet | refused | web-canary: 2 hosts, 1 at a time |  |

        Track main, in this order:

        | stage | is | does | watched by |
        |---|---|---|---|
        | fleet | refused | web: 4 hosts, 1 at a time |  |
        | store | ahead | store: 1 host, 1 at a time |  |

        | role | done | out | at most out |
        |---|---|---|---|
        | web | 0 of 4 | 0 | 1 |
        | store | 0 of 1 | 0 | 1 |
        | web-canary | 0 of 2 | 2 | 1 |

        Gates:

        - alerts: green since 2026-11-22 11:00:00Z: no alert; severity="critical" is green when no such alert
        - errors: green since 2026-11-22 11:00:00Z: 0.002; rate(errors\[5m\]) is green when below 0.01

        Freezes:

        - sale: from Sun 2026-11-22 13:15 (Europe/Amsterdam) to Mon 2026-11-23 06:00 (Europe/Amsterdam)

        Waits:

        - track main: 1.4.2 lies before the post-deployment migrations of 1.5.0, which began at 2026-11-22 10:00Z (go forward; or write \[allow\] past\_post\_migrations\_of with the reason why it is safe)
        - track canary: 1.4.2 lies before the post-deployment migrations of 1.5.0, which began at 2026-11-22 10:00Z (go forward; or write \[allow\] past\_post\_migrations\_of with the reason why it is safe)
        - stage store: stage fleet comes first (ends when that is done)

        </details>
        "#);
    }

    #[test]
    fn a_plan_that_is_too_long_for_a_comment_says_so() {
        let mut document = samples::planned(false);
        let step = document.environments[0].plan.steps[0].clone();
        document.environments[0].plan.steps = vec![step; 5_000];
        let text = markdown(&document);
        assert!(text.len() < MAX_BYTES && text.contains("Too long for a comment"), "{} bytes", text.len());
        assert!(!text.contains("<details>"), "what is cut off is not left half open");
    }

    #[test]
    fn nothing_from_a_commit_becomes_markup() {
        assert_eq!(
            escape("</details><img src=x> [a](b) @all"),
            r"&lt;/details&gt;&lt;img src=x&gt; \[a\](b) \@all"
        );
    }
}
