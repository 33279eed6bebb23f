//! A plan for a terminal.

use std::collections::BTreeMap;
use std::fmt::Write;

use engine::FreezeReport;
use model::{RoleName, StageName, Standing};
use planner::{Preview, PreviewedStep};

use super::rows::{self, Row, Section};
use super::track::{self, StageWords};
use super::{count, length, one_line, standing};
use crate::documents::{PlanDocument, PlannedEnvironment, TrackPlan, Verdict};
use crate::paint::Paint;

/// Of each list, so many lines are shown: a person reads no more, and `--format json` has them all.
const MAX_LINES: usize = 60;

/// Every environment's plan.
pub(crate) fn plan(document: &PlanDocument, paint: Paint) -> String {
    let told: Vec<String> = document.environments.iter().map(|it| environment(document, it, paint)).collect();
    told.join("\n")
}

fn environment(document: &PlanDocument, planned: &PlannedEnvironment, paint: Paint) -> String {
    let PlannedEnvironment { commit, plan, .. } = planned;
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
    for track in &planned.tracks {
        self::track(&mut text, planned, track, paint);
    }
    for part in sections(document, planned) {
        section(&mut text, &part);
    }
    text
}

/// Everything but the tracks, in the order in which people ask for it.
pub(super) fn sections(document: &PlanDocument, planned: &PlannedEnvironment) -> Vec<Section> {
    let PlannedEnvironment { plan, preview, unseen, circumstances, .. } = planned;
    let freezes = &circumstances.freezes;
    let mut sections = vec![
        Section::new("cannot be seen", rows::unseen(unseen)),
        Section::new("gates", rows::gates(&circumstances.gates, document.at)),
        Section::new("jobs", rows::jobs(&circumstances.jobs)),
        Section::new("in force", rows::exceptions(&circumstances.exceptions, circumstances.pause.as_ref())),
        Section::new("patches", rows::patches(&circumstances.patches)),
        Section::new("freezes", rows::freezes(freezes)),
        Section::new("the service would commit", rows::edits(&plan.edits)),
    ];
    // A converged environment has nothing to count.
    if planned.standing != Standing::Converged {
        sections.insert(0, Section::new("progress", rows::progress(&plan.progress)));
    }
    sections.extend(rows::starts(plan));
    sections.push(Section::new("waits", rows::waits(&plan.waiting, freezes)));
    sections.push(Section::new("notes", rows::notes(&plan.notes)));
    sections.extend(preview.iter().flat_map(|preview| whole(preview, freezes)));
    sections.retain(|section| !section.rows.is_empty());
    sections
}

fn track(text: &mut String, planned: &PlannedEnvironment, track: &TrackPlan, paint: Paint) {
    let word = track::verdict(track.verdict);
    let word = match track.verdict {
        Verdict::Stays => paint.good(word),
        Verdict::Forward | Verdict::Back => paint.notice(word),
        Verdict::Refused => paint.bad(word),
    };
    let way = match track.verdict {
        Verdict::Stays => track.target.to_string(),
        _ => format!("{} -> {}", track::from(track), track.target),
    };
    let _ = writeln!(text, "  track {}: {way}", paint.bold(track.track));
    let _ = writeln!(text, "    {word}: {}", one_line(&track.because));
    rows_of(text, "    ", &track::facts(planned, track));
    let stages = track::stages(&planned.circumstances, track);
    rows_of(text, "    ", &stages.into_iter().flat_map(stage).collect::<Vec<_>>());
}

/// What a stage does, and under it who watches.
fn stage(stage: StageWords) -> Vec<Row> {
    let StageWords { name, standing, does, watched } = stage;
    let mut rows = vec![vec![format!("stage {name}"), standing, does]];
    if !watched.is_empty() {
        rows.push(vec![String::new(), String::new(), watched]);
    }
    rows
}

/// A heading and its rows.
fn section(text: &mut String, section: &Section) {
    let _ = writeln!(text, "  {}", section.heading);
    rows_of(text, "    ", &section.rows);
}

/// Rows with their cells under each other; the last cell is as long as it is.
pub(super) fn rows_of(text: &mut String, indent: &str, rows: &[Row]) {
    let shown = &rows[..rows.len().min(MAX_LINES)];
    let columns = shown.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = shown.iter().filter(|row| row.len() > column + 1).map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in shown {
        let last = row.len().saturating_sub(1);
        let mut line = indent.to_owned();
        for (cell, width) in row[..last].iter().zip(&widths) {
            // Times stand under each other by their ends.
            let _ = if cell.starts_with('+') {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:<width$}  ")
            };
        }
        let _ = writeln!(text, "{}", format!("{line}{}", row.last().map_or("", String::as_str)).trim_end());
    }
    if rows.len() > shown.len() {
        let _ = writeln!(text, "{indent}… and {} more", rows.len() - shown.len());
    }
}

/// The whole rollout, stage by stage and role by role.
fn whole(preview: &Preview, freezes: &[FreezeReport]) -> Vec<Section> {
    let mut all = vec![Section::new("whole rollout", [vec![summary(preview)]])];
    all[0].rows.extend(late(preview, freezes).map(|words| vec![words]));
    if let Some(first) = preview.steps.first().map(|step| step.start) {
        all.extend(by_part(preview).into_iter().map(|((stage, role), steps)| {
            let part = match stage {
                Some(stage) => format!("stage {stage}, {}, in this order", called(role)),
                None => format!("{}, in this order", called(role)),
            };
            Section::new(part, steps.into_iter().map(|it| rows::previewed(it, first)))
        }));
    }
    all.push(Section::new("at the end, these still wait", rows::waits(&preview.waiting, freezes)));
    all
}

/// Hosts without a role are named by what they do, in brackets.
fn called(role: &RoleName) -> String {
    let text = role.as_str();
    match text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
        Some(purpose) => purpose.to_owned(),
        None => format!("role {text}"),
    }
}

/// That a freeze begins before the rollout ends.
fn late(preview: &Preview, freezes: &[FreezeReport]) -> Option<String> {
    let end = preview.steps.iter().map(|step| step.end).max()?;
    let first = preview.steps.first()?.start;
    let freeze =
        freezes.iter().filter(|freeze| first < freeze.from && freeze.from < end).min_by_key(|it| it.from)?;
    let at = rows::on_the_wall(freeze.from, &freeze.zone);
    Some(format!("will not finish before the freeze at {at}: {}", one_line(&freeze.reason)))
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

/// Where a step belongs.
type Part<'a> = (Option<&'a StageName>, &'a RoleName);

/// Steps by stage and role, in the order in which the parts start.
fn by_part(preview: &Preview) -> Vec<(Part<'_>, Vec<&PreviewedStep>)> {
    let mut order: Vec<Part<'_>> = Vec::new();
    let mut steps: BTreeMap<Part<'_>, Vec<&PreviewedStep>> = BTreeMap::new();
    for it in &preview.steps {
        let part = (it.step.stage.as_ref(), &it.step.role);
        let of_part = steps.entry(part).or_default();
        if of_part.is_empty() {
            order.push(part);
        }
        of_part.push(it);
    }
    order.into_iter().map(|part| (part, steps.remove(&part).unwrap_or_default())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{samples, samples_of_releases};

    #[test]
    fn a_plan_shows_progress_what_starts_and_why_the_rest_waits() {
        insta::assert_snapshot!(plan(&samples::planned(false), Paint::plain()), @"");
    }

    #[test]
    fn the_whole_rollout_is_told_role_by_role() {
        insta::assert_snapshot!(plan(&samples::planned(true), Paint::plain()), @"");
    }

    #[test]
    fn a_canary_shows_its_stages_its_promotion_and_its_share() {
        let document = samples_of_releases::to_canary().with_red_gate().planned(false);
        insta::assert_snapshot!(plan(&document, Paint::plain()), @"");
    }

    #[test]
    fn a_whole_release_says_that_it_will_not_finish_before_a_freeze() {
        let text = plan(&samples_of_releases::to_canary().planned(true), Paint::plain());
        let after = text.split_once("  whole rollout").map_or("", |(_, after)| after);
        insta::assert_snapshot!(after, @"");
    }

    #[test]
    fn an_emergency_says_what_it_may_cost() {
        insta::assert_snapshot!(plan(&samples_of_releases::emergency().planned(false), Paint::plain()), @"");
    }

    #[test]
    fn without_the_journal_a_way_back_says_what_is_not_known() {
        let document = samples_of_releases::back().without_journal().planned(false);
        insta::assert_snapshot!(plan(&document, Paint::plain()), @"");
    }
}
