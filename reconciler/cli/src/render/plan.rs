//! A plan for a terminal.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;
use model::{Plan, RoleName, RoleProgress, Standing, Step};
use planner::{Preview, PreviewedStep};

use super::{count, length, one_line, purpose, standing};
use crate::documents::{PlanDocument, PlannedEnvironment};
use crate::paint::Paint;

/// Of each list, so many lines are shown: a person reads no more, and `--format json` has them all.
const MAX_LINES: usize = 60;

/// Every environment's plan.
pub(crate) fn plan(document: &PlanDocument, paint: Paint) -> String {
    let told: Vec<String> = document.environments.iter().map(|planned| environment(planned, paint)).collect();
    told.join("\n")
}

fn environment(planned: &PlannedEnvironment, paint: Paint) -> String {
    let PlannedEnvironment { commit, plan, preview, unseen, .. } = planned;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}: {}, wants {} at {} \"{}\"",
        paint.bold(&plan.environment),
        standing(planned.standing, paint),
        paint.bold(&plan.target),
        commit.id.short(),
        one_line(&commit.subject),
    );
    if planned.standing != Standing::Converged {
        let _ = writeln!(text, "  {}: {}", plan.direction, planned.direction_because);
    }
    section(&mut text, "progress", plan.progress.iter().map(progress));
    let unseen = unseen.iter().map(|it| format!("{:<12}  {}: {}", it.host, it.kind, one_line(&it.detail)));
    section(&mut text, "cannot be seen", unseen);
    section(&mut text, &starts(plan), plan.steps.iter().map(step));
    section(&mut text, "waits", waits(plan));
    section(&mut text, "notes", plan.notes.iter().map(|note| one_line(note)));
    if let Some(preview) = preview {
        whole(&mut text, preview);
    }
    text
}

fn starts(plan: &Plan) -> String {
    let report_only = plan.waiting.iter().any(|it| matches!(it.reason, model::Reason::ReportOnly { .. }));
    if report_only { "would start (mode is report)".to_owned() } else { "starts now".to_owned() }
}

fn waits(plan: &Plan) -> impl Iterator<Item = String> {
    plan.waiting.iter().map(|waiting| {
        let reason = one_line(&waiting.reason.to_string());
        format!("{:<12}  {reason} ({})", waiting.subject.to_string(), waiting.reason.ends())
    })
}

/// A heading and its lines; nothing at all when there are none.
fn section(text: &mut String, heading: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "  {heading}");
    for line in lines.iter().take(MAX_LINES) {
        let _ = writeln!(text, "    {}", line.trim_end());
    }
    if lines.len() > MAX_LINES {
        let _ = writeln!(text, "    … and {} more", lines.len() - MAX_LINES);
    }
}

fn progress(role: &RoleProgress) -> String {
    let RoleProgress { role: name, hosts, done, out, limit } = role;
    let out = if *out == 0 { String::new() } else { format!(", {out} out (at most {limit} may be)") };
    format!("{name:<12}  {done} of {} done{out}", count(*hosts, "host", "hosts"))
}

fn step(step: &Step) -> String {
    format!("{:<12}  {:<8}  {}", step.host, step.action.kind(), purpose(step))
}

fn whole(text: &mut String, preview: &Preview) {
    let _ = writeln!(text, "  whole rollout: {}", summary(preview));
    let Some(first) = preview.steps.first().map(|step| step.start) else { return };
    for (role, steps) in by_role(preview) {
        section(
            text,
            &format!("role {role}, in this order"),
            steps.into_iter().map(|it| previewed(it, first)),
        );
    }
    let left =
        preview.waiting.iter().map(|it| format!("{}: {}", it.subject, one_line(&it.reason.to_string())));
    section(text, "at the end, these still wait", left);
}

fn previewed(it: &PreviewedStep, first: Timestamp) -> String {
    let start = format!("+{}", length(it.start.duration_since(first)));
    format!("{start:>8}  {}", step(&it.step))
}

/// `24 steps, about 2m 10s (durations are guesses), never fewer than 3 in fe/web`.
pub(crate) fn summary(preview: &Preview) -> String {
    if preview.steps.is_empty() {
        return "no step".to_owned();
    }
    let guessed = if preview.guessed_durations { " (partly guessed)" } else { "" };
    let steps = count(preview.steps.len(), "step", "steps");
    let mut text = format!("{steps}, about {}{guessed}", length(preview.duration));
    for (backend, lowest) in &preview.lowest {
        let _ = write!(text, ", never fewer than {lowest} in {backend}");
    }
    text
}

/// Steps by role; roles in the order in which they start.
pub(crate) fn by_role(preview: &Preview) -> Vec<(&RoleName, Vec<&PreviewedStep>)> {
    let mut order: Vec<&RoleName> = Vec::new();
    let mut steps: BTreeMap<&RoleName, Vec<&PreviewedStep>> = BTreeMap::new();
    for step in &preview.steps {
        let of_role = steps.entry(&step.step.role).or_default();
        if of_role.is_empty() {
            order.push(&step.step.role);
        }
        of_role.push(step);
    }
    order.into_iter().map(|role| (role, steps.remove(role).unwrap_or_default())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    #[test]
    fn a_plan_shows_progress_what_starts_and_why_the_rest_waits() {
        insta::assert_snapshot!(plan(&samples::planned(false), Paint::plain()), @r#"
        production: moving, wants 1.1.0-1 at 1f2e3d4c5b "Bump to 1.1.0-1"
          forward: 1.1.0-1 is the newest target in git history
          progress
            gitaly        0 of 1 host done
            web           0 of 4 hosts done, 1 out (at most 1 may be)
          cannot be seen
            web-03        unreachable: Connection refused
          starts now
            gitaly-01     claim     to bring it to 1.1.0-1
          waits
            role web      role gitaly comes first (ends when those are done)
            web-03        unreachable: Connection refused (ends when it answers again)
          notes
            web-02 is drained by somebody else
        "#);
    }

    #[test]
    fn the_whole_rollout_is_told_role_by_role() {
        insta::assert_snapshot!(plan(&samples::planned(true), Paint::plain()), @r#"
        production: moving, wants 1.1.0-1 at 1f2e3d4c5b "Bump to 1.1.0-1"
          forward: 1.1.0-1 is the newest target in git history
          progress
            gitaly        0 of 1 host done
            web           0 of 4 hosts done, 1 out (at most 1 may be)
          cannot be seen
            web-03        unreachable: Connection refused
          starts now
            gitaly-01     claim     to bring it to 1.1.0-1
          waits
            role web      role gitaly comes first (ends when those are done)
            web-03        unreachable: Connection refused (ends when it answers again)
          notes
            web-02 is drained by somebody else
          whole rollout: 3 steps, about 2m 10s (partly guessed), never fewer than 3 in fe/web
          role gitaly, in this order
              +0.0 s  gitaly-01     claim     to bring it to 1.1.0-1
              +1.0 s  gitaly-01     install   store 1.1.0-1: install while drained
          role web, in this order
               +40 s  web-01        drain     to install 1.1.0-1
        "#);
    }
}
