//! How every environment stands.

use std::fmt::Write;

use engine::{EnvironmentReport, HostReport, Report};
use jiff::Timestamp;
use model::{EnvironmentName, HostName, StageStanding, TrackProgress};

use super::plan::rows_of;
use super::rows::{self, Row};
use super::{REFUSED, count, findings, length, moment, one_line, standing, track};
use crate::paint::Paint;

/// Hosts are listed up to this many; of a larger fleet, those that are not as they should be.
const MAX_HOSTS: usize = 100;

/// The service, then each environment, then its hosts.
pub(crate) fn status(report: &Report, paint: Paint) -> String {
    let mut text = String::new();
    service(&mut text, report, paint);
    for (name, environment) in &report.environments {
        let _ = writeln!(text);
        self::environment(&mut text, name, environment, report.at, paint);
    }
    text
}

fn service(text: &mut String, report: &Report, paint: Paint) {
    let _ = writeln!(text, "service {}, generation {}", report.service, report.generation);
    match &report.commit {
        Some(commit) => {
            let (author, subject) = (one_line(&commit.author), one_line(&commit.subject));
            let _ = writeln!(text, "commit {} \"{subject}\" by {author}", commit.id.short());
        }
        None => {
            let _ = writeln!(text, "no valid commit was ever read");
        }
    }
    if let Some(obstacle) = &report.obstacle {
        let _ = writeln!(text, "{}", paint.bad(format!("git: {}", one_line(&obstacle.to_string()))));
        let _ = writeln!(text, "  {}", obstacle.ends());
    }
    for error in &report.errors {
        let _ = writeln!(text, "  {}", one_line(error));
    }
    if let Some(error) = &report.journal_error {
        let _ = writeln!(text, "{}", paint.bad(format!("nothing starts: {}", one_line(error))));
    }
    for (environment, hosts) in &report.left_behind {
        let hosts = hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ");
        let (left, them) = match report.environments.contains_key(environment) {
            true => (format!("hosts left {environment} while no service ran"), "them"),
            false => (format!("{environment} left the repository"), "it"),
        };
        let _ = writeln!(text, "{}", paint.bad(format!("{left}, and our marks are still on {hosts}")));
        let _ = writeln!(
            text,
            "  put {them} back until it has converged, and take {them} out while the service runs"
        );
    }
}

fn environment(
    text: &mut String,
    name: &EnvironmentName,
    report: &EnvironmentReport,
    at: Timestamp,
    paint: Paint,
) {
    let EnvironmentReport { plan, in_flight, hosts, converged_at, circumstances, .. } = report;
    let since = converged_at.map(|at| format!(" since {}", moment(at))).unwrap_or_default();
    let word = standing(report.standing, paint);
    let _ = writeln!(text, "{}: {word}{since}, wants {}", paint.bold(name), paint.bold(&plan.target));
    if !report.refused_plan.is_empty() {
        let _ = writeln!(text, "  {}", paint.bad(REFUSED));
        for line in findings(&report.refused_plan) {
            let _ = writeln!(text, "    {line}");
        }
    }
    for track in &plan.tracks {
        self::track(text, track);
    }
    let roles = plan.progress.iter().map(|role| {
        let done = format!("{} of {} done", role.done, count(role.hosts, "host", "hosts"));
        vec![format!("role {}", role.role), done]
    });
    rows_of(text, "  ", &roles.collect::<Vec<_>>());
    if let Some(first) = plan.waiting.first() {
        let reason = rows::reason_in_words(&first.reason, &circumstances.freezes);
        let _ = writeln!(text, "  waits: {}: {reason}", first.subject);
        let _ = writeln!(text, "    since {}; {}", moment(first.since), first.reason.ends());
    }
    for step in in_flight {
        let took = length(at.duration_since(step.since));
        let _ = writeln!(text, "  under way: {} {} for {took}", step.step.host, step.step.action.kind());
    }
    part(text, "traffic of the canary", &rows::shares(&plan.shares));
    part(text, "gates", &rows::gates(&circumstances.gates, at));
    part(text, "jobs", &rows::jobs(&circumstances.jobs));
    part(text, "in force", &rows::exceptions(&circumstances.exceptions, circumstances.pause.as_ref()));
    part(text, "patches", &rows::patches(&circumstances.patches));
    let open: Vec<_> = circumstances.freezes.iter().filter(|freeze| freeze.open).cloned().collect();
    part(text, "freezes", &rows::freezes(&open));
    part(text, "notes", &rows::notes(&plan.notes));
    table(text, hosts, paint);
}

/// A track, and its stages where they tell more than the roles do.
fn track(text: &mut String, track: &TrackProgress) {
    let TrackProgress { track: name, target, direction, emergency, stages } = track;
    let urgent = emergency.as_ref().map_or_else(String::new, |why| format!(", EMERGENCY: {}", one_line(why)));
    let over = |standing| matches!(standing, StageStanding::Passed | StageStanding::Skipped);
    let way = if stages.iter().all(|stage| over(stage.standing)) {
        "is there".to_owned()
    } else {
        format!("goes {direction}")
    };
    let _ = writeln!(text, "  track {name}: {target}, {way}{urgent}");
    let row = |stage: &model::StageProgress| {
        vec![format!("stage {}", stage.stage), track::standing(stage.standing)]
    };
    // What ran when we came needed none of them.
    if stages.iter().any(|stage| stage.standing != StageStanding::Skipped) {
        rows_of(text, "    ", &stages.iter().map(row).collect::<Vec<_>>());
    }
}

/// A heading and its rows; nothing at all without any.
fn part(text: &mut String, heading: &str, rows: &[Row]) {
    if !rows.is_empty() {
        let _ = writeln!(text, "  {heading}");
        rows_of(text, "    ", rows);
    }
}

fn table(text: &mut String, hosts: &[HostReport], paint: Paint) {
    let all = hosts.len() <= MAX_HOSTS;
    let shown: Vec<[String; 6]> =
        hosts.iter().filter(|host| all || is_odd(host)).take(MAX_HOSTS).map(cells).collect();
    let head = ["host", "role", "installed", "running", "rotation", "health"].map(str::to_owned);
    let width =
        |column: usize| shown.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..5).map(width).collect();
    for (place, row) in [&head].into_iter().chain(&shown).enumerate() {
        let padded: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let line = format!("  {}  {}", padded.join("  "), row[5]);
        let _ = writeln!(text, "{}", if place == 0 { paint.dim(line) } else { line });
    }
    if !all {
        let _ = writeln!(text, "  ({} hosts in all; `--json` has every one)", hosts.len());
    }
}

fn is_odd(host: &HostReport) -> bool {
    host.health != "healthy" || host.claimed || host.in_rotation.0 != host.in_rotation.1
}

fn cells(host: &HostReport) -> [String; 6] {
    let (serving, rows) = host.in_rotation;
    let rotation = if rows == 0 { "-".to_owned() } else { format!("{serving} of {rows}") };
    let claim = if host.claimed { ", being worked on" } else { "" };
    [
        host.host.to_string(),
        host.role.to_string(),
        host.installed.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        one_line(&host.running),
        rotation,
        format!("{}{claim}", one_line(&host.health)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{samples, samples_of_releases};

    #[test]
    fn a_status_tells_of_the_service_its_environments_and_their_hosts() {
        insta::assert_snapshot!(status(&samples::report(), Paint::plain()), @r#"
        service deploy-01, generation 3
        commit 1f2e3d4c5b "Bump to 1.1.0-1" by Ada
        git: the git remote cannot be read: timed out
          tried again by itself; the last accepted commit stays in force

        production: moving, wants 1.1.0-1
          track main: 1.1.0-1, goes forward
            stage deploy  working
          role gitaly  0 of 1 host done
          role web     0 of 4 hosts done
          waits: role web: role gitaly comes first
            since 2026-11-22 12:00:05Z; ends when those are done
          under way: web-01 drain for 2.0 s
          notes
            web-02 is drained by somebody else
          host    role  installed  running  rotation  health
          web-01  web   1.1.0-1    1.1.0-1  0 of 2    healthy, being worked on
          web-02  web   1.1.0-1    1.1.0-1  2 of 2    unhealthy: 503
        "#);
    }

    #[test]
    fn a_release_shows_its_stages_its_gates_and_its_share() {
        let mut report = samples::report();
        let environment = samples_of_releases::to_canary().with_red_gate().report();
        report.environments.insert("production".into(), environment);
        insta::assert_snapshot!(status(&report, Paint::plain()), @r#"
        service deploy-01, generation 3
        commit 1f2e3d4c5b "Bump to 1.1.0-1" by Ada
        git: the git remote cannot be read: timed out
          tried again by itself; the last accepted commit stays in force

        production: moving, wants 1.4.2
          track canary: 1.5.0, goes forward
            stage migrations    working
            stage canary fleet  ahead
          track main: 1.4.2, is there
          role store       1 of 1 host done
          role web         4 of 4 hosts done
          role web-canary  0 of 2 hosts done
          waits: stage canary fleet: stage migrations comes first
            since 2026-11-22 12:00:00Z; ends when that is done
          traffic of the canary
            fe/web  wants 0 % now, has 0.0 % on fe-01, 0.0 % on fe-02
          gates
            alerts  green since 2026-11-22 11:00:00Z: no alert; severity="critical" is green when no such alert
            errors  red since 2026-11-22 11:58:30Z: 0.031; rate(errors[5m]) is green when below 0.01
          host      role        installed  running  rotation  health
          cny-01    web-canary  1.4.2      1.4.2    0 of 2    healthy
          cny-02    web-canary  1.4.2      1.4.2    0 of 2    healthy
          store-01  store       1.4.2      1.4.2    -         healthy
          web-01    web         1.4.2      1.4.2    2 of 2    healthy
          web-02    web         1.4.2      1.4.2    2 of 2    healthy
          web-03    web         1.4.2      1.4.2    2 of 2    healthy
          web-04    web         1.4.2      1.4.2    2 of 2    healthy
        "#);
    }

    #[test]
    fn a_plan_that_would_break_a_promise_is_told_first() {
        let mut report = samples::report();
        let environment = report.environments.values_mut().next().unwrap();
        environment.refused_plan.push(samples::finding());
        let told = status(&report, Paint::plain());
        let lines: Vec<&str> =
            told.lines().skip_while(|line| !line.starts_with("production")).skip(1).take(2).collect();
        insta::assert_snapshot!(lines.join("\n"), @"
          the plan would break a promise, so nothing of it begins; this is a bug in reconcile, please report it
            S3: install of web-01 while web/web-01 on fe-01 is in rotation (step p-3)
        ");
    }

    #[test]
    fn a_report_survives_the_way_through_the_control_socket() {
        let mut report = samples::report();
        let environment = samples_of_releases::emergency().report();
        report.environments.insert("production".into(), environment);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
