//! A plan for a terminal.

use std::collections::BTreeMap;
use std::fmt::Write;

use engine::FreezeReport;
use model::{RoleName, StageName, Standing};
use planner::{Preview, PreviewedStep};

use super::rows::{self, Row, Section};
use super::track::{self, StageWords};
use super::{REFUSED, count, findings, length, one_line, standing};
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
    if !planned.refused_plan.is_empty() {
        let _ = writeln!(text, "  {}", paint.bad(REFUSED));
        for line in findings(&planned.refused_plan) {
            let _ = writeln!(text, "    {line}");
        }
    }
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
        Some("jobs") => "hosts of jobs".to_owned(),
        Some(purpose) => purpose.to_owned(),
        None => format!("role {text}"),
    }
}

/// That a freeze begins before the rollout ends.
pub(super) fn late(preview: &Preview, freezes: &[FreezeReport]) -> Option<String> {
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
        insta::assert_snapshot!(plan(&samples::planned(false), Paint::plain()), @r#"
        production: moving, wants 1.1.0-1 at 1f2e3d4c5b "Bump to 1.1.0-1"
          track main: 1.0.0-1 -> 1.1.0-1
            forward: 1.1.0-1 is the newest target in git history
            stage deploy  working  gitaly: 1 host, 1 at a time; then web: 4 hosts, 1 at a time
          progress
            gitaly  0 of 1 host done
            web     0 of 4 hosts done, 1 out (at most 1 may be)
          cannot be seen
            web-03  unreachable: Connection refused
          starts now
            gitaly-01  claim  to bring it to 1.1.0-1
          waits
            role web  role gitaly comes first (ends when those are done)
            web-03    unreachable: Connection refused (ends when it answers again)
          notes
            web-02 is drained by somebody else
        "#);
    }

    #[test]
    fn the_whole_rollout_is_told_role_by_role() {
        insta::assert_snapshot!(plan(&samples::planned(true), Paint::plain()), @r#"
        production: moving, wants 1.1.0-1 at 1f2e3d4c5b "Bump to 1.1.0-1"
          track main: 1.0.0-1 -> 1.1.0-1
            forward: 1.1.0-1 is the newest target in git history
            stage deploy  working  gitaly: 1 host, 1 at a time; then web: 4 hosts, 1 at a time
          progress
            gitaly  0 of 1 host done
            web     0 of 4 hosts done, 1 out (at most 1 may be)
          cannot be seen
            web-03  unreachable: Connection refused
          starts now
            gitaly-01  claim  to bring it to 1.1.0-1
          waits
            role web  role gitaly comes first (ends when those are done)
            web-03    unreachable: Connection refused (ends when it answers again)
          notes
            web-02 is drained by somebody else
          whole rollout
            3 steps, about 2m 10s (partly guessed), never fewer than 3 in fe/web
          role gitaly, in this order
            +0.0 s  gitaly-01  claim    to bring it to 1.1.0-1
            +1.0 s  gitaly-01  install  store 1.1.0-1: install while drained
          role web, in this order
            +40 s  web-01  drain  to install 1.1.0-1
        "#);
    }

    #[test]
    fn a_canary_shows_its_stages_its_promotion_and_its_share() {
        let document = samples_of_releases::to_canary().with_red_gate().planned(false);
        insta::assert_snapshot!(plan(&document, Paint::plain()), @r#"
        production: moving, wants 1.4.2 at 5a6b7c8d9e "Move the release"
          track canary: 1.4.2 -> 1.5.0
            forward: 1.5.0 is the newest target in git history
            promotion  met: 1.5.0 passed environment staging at 2026-11-22 11:00:00Z: migrations, fleet
            traffic    1 % for 10m, then 5 % of each shared backend in the end
            share      fe/web: wants 0 % now, has 0.0 % on fe-01, 0.0 % on fe-02
            stage migrations    working  runs once on deploy-01: shop-migrate
                                         gates alerts (green); check qa on deploy-01; soak 10m
            stage canary fleet  ahead    web-canary: 2 hosts, 1 at a time
                                         gates alerts (green), errors (red); check qa on deploy-01; soak 30m
          track main: 1.4.2
            stays: every host that was seen runs it
          progress
            store       1 of 1 host done
            web         4 of 4 hosts done
            web-canary  0 of 2 hosts done, 2 out (at most 1 may be)
          gates
            alerts  green since 2026-11-22 11:00:00Z: no alert; severity="critical" is green when no such alert
            errors  red since 2026-11-22 11:58:30Z: 0.031; rate(errors[5m]) is green when below 0.01
          freezes
            sale  from Sun 2026-11-22 13:15 (Europe/Amsterdam) to Mon 2026-11-23 06:00 (Europe/Amsterdam)
          starts now, stage migrations
            deploy-01  claim  our mark, while we work there
          waits
            stage canary fleet  stage migrations comes first (ends when that is done)
        "#);
    }

    #[test]
    fn a_whole_release_says_that_it_will_not_finish_before_a_freeze() {
        let text = plan(&samples_of_releases::to_canary().planned(true), Paint::plain());
        let after = text.split_once("  whole rollout").map_or("", |(_, after)| after);
        insta::assert_snapshot!(after, @r"
          28 steps, about 17h 12m (partly guessed), never fewer than 4 in fe/web
          will not finish before the freeze at Sun 2026-11-22 13:15 (Europe/Amsterdam): sale
        stage migrations, migrations, in this order
          +0.0 s  deploy-01  claim    our mark, while we work there
          +0.2 s  deploy-01  install  shop 1.5.0: exactly the version whose migrations run
           +30 s  deploy-01  migrate  migrations of 1.5.0 by shop-migrate: once for this version
        hosts of jobs, in this order
           +2m 30s  deploy-01  release  done here
           +4m 30s  deploy-01  release  done here
          +17h 12m  deploy-01  release  done here
        stage migrations, checks, in this order
          +2m 30s  deploy-01  claim  our mark, while we work there
          +2m 30s  deploy-01  check  check qa after stage migrations of 1.5.0: test the release
        stage canary fleet, role web-canary, in this order
          +12m 30s  cny-01  download  shop 1.5.0: fetch before the drain
          +12m 30s  cny-02  download  shop 1.5.0: fetch before the drain
          +12m 50s  cny-01  claim     next in line
          +12m 50s  cny-02  claim     next in line
          +12m 50s  cny-01  drain     out of rotation before the install
          +12m 50s  cny-02  drain     out of rotation before the install
          +14m 50s  cny-01  install   shop 1.5.0: install while drained
          +14m 50s  cny-02  install   shop 1.5.0: install while drained
          +15m 20s  cny-01  activate  run what is installed
          +15m 20s  cny-02  activate  run what is installed
          +15m 25s  cny-01  ready     runs its release and is healthy
          +15m 25s  cny-02  ready     runs its release and is healthy
          +15m 25s  cny-01  release   back in rotation
          +15m 25s  cny-02  release   back in rotation
        weights, in this order
           +17h 0m  fe-01  weigh  cny-01 in web to 2, cny-02 in web to 2: the canary's share
           +17h 0m  fe-02  weigh  cny-01 in web to 2, cny-02 in web to 2: the canary's share
          +17h 10m  fe-01  weigh  cny-01 in web to 10, cny-02 in web to 10: the canary's share
          +17h 10m  fe-02  weigh  cny-01 in web to 10, cny-02 in web to 10: the canary's share
        stage canary fleet, checks, in this order
          +17h 10m  deploy-01  claim  our mark, while we work there
          +17h 10m  deploy-01  check  check qa after stage canary fleet of 1.5.0: test the release
        ");
    }

    #[test]
    fn an_emergency_says_what_it_may_cost() {
        insta::assert_snapshot!(plan(&samples_of_releases::emergency().planned(false), Paint::plain()), @r#"
        production: moving, wants 1.4.3 at 5a6b7c8d9e "Move the release"
          track canary: 1.4.2 -> 1.4.3
            forward: 1.4.3 is the newest target in git history
            emergency  CVE-2026-0001; out at once may be 1 of 2 web-canary
            promotion  not asked for: 1.4.3 need not have passed environment staging
            stage migrations    working  runs once on deploy-01: shop-migrate
            stage canary fleet  ahead    web-canary: 2 hosts, 1 at a time
          track main: 1.4.2 -> 1.4.3
            forward: 1.4.3 is the newest target in git history
            emergency  CVE-2026-0001; out at once may be 1 of 1 store, 2 of 3 web
            promotion  not asked for: 1.4.3 need not have passed canary
            stage migrations  working  runs once on deploy-01: shop-migrate
            stage store       ahead    store: 1 host, 1 at a time
            stage fleet       ahead    web: 3 hosts, 2 at a time
          progress
            web-canary  0 of 2 hosts done, 2 out (at most 1 may be)
            store       0 of 1 host done
            web         0 of 3 hosts done
          gates
            alerts  green since 2026-11-22 11:00:00Z: no alert; severity="critical" is green when no such alert
            errors  green since 2026-11-22 11:00:00Z: 0.002; rate(errors[5m]) is green when below 0.01
          in force
            veto  1.4.1: corrupts uploads
            out   web-04 until 2026-12-01 00:00:00Z: disk replaced, INC-812
          freezes
            sale  from Sun 2026-11-22 13:15 (Europe/Amsterdam) to Mon 2026-11-23 06:00 (Europe/Amsterdam)
          starts now, stage fleet
            web-04  retire  declared out: no new traffic
          starts now, stage migrations
            deploy-01  claim  our mark, while we work there
          waits
            stage canary fleet  stage migrations comes first (ends when that is done)
            stage store         stage migrations comes first (ends when that is done)
            stage fleet         stage migrations comes first (ends when that is done)
          notes
            emergency for 1.4.3: up to 50% of each role out at once, sessions cut after 10s, no gates, checks, soaks or promotion (CVE-2026-0001)
        "#);
    }

    #[test]
    fn without_the_journal_a_way_back_says_what_is_not_known() {
        let document = samples_of_releases::back().without_journal().planned(false);
        insta::assert_snapshot!(plan(&document, Paint::plain()), @r#"
        production: moving, wants 1.4.2 at 5a6b7c8d9e "Move the release"
          track canary: 1.5.0 -> 1.4.2
            back: 1.4.2 was a target before 1.5.0 in git history; whether anything in between was post-migrated is not known here
            stage canary fleet  working  web-canary: 2 hosts, 1 at a time
          track main: 1.5.0 -> 1.4.2
            back: 1.4.2 was a target before 1.5.0 in git history; whether anything in between was post-migrated is not known here
            stage fleet  working  web: 4 hosts, 1 at a time
            stage store  ahead    store: 1 host, 1 at a time
          progress
            web         0 of 4 hosts done
            store       0 of 1 host done
            web-canary  0 of 2 hosts done, 2 out (at most 1 may be)
          gates
            alerts  green since 2026-11-22 11:00:00Z: no alert; severity="critical" is green when no such alert
            errors  green since 2026-11-22 11:00:00Z: 0.002; rate(errors[5m]) is green when below 0.01
          freezes
            sale  from Sun 2026-11-22 13:15 (Europe/Amsterdam) to Mon 2026-11-23 06:00 (Europe/Amsterdam)
          starts now, stage fleet
            web-01  download  shop 1.4.2: fetch before the drain
            web-02  download  shop 1.4.2: fetch before the drain
            web-03  download  shop 1.4.2: fetch before the drain
            web-04  download  shop 1.4.2: fetch before the drain
          waits
            stage store   stage fleet comes first (ends when that is done)
            track canary  stage fleet comes first (ends when that is done)
        "#);
    }
}
