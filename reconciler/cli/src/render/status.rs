//! How every environment stands.

use std::fmt::Write;

use engine::{EnvironmentReport, HostReport, Report};
use jiff::Timestamp;
use model::EnvironmentName;

use super::{count, length, moment, one_line, standing};
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
}

fn environment(
    text: &mut String,
    name: &EnvironmentName,
    report: &EnvironmentReport,
    at: Timestamp,
    paint: Paint,
) {
    let EnvironmentReport { plan, in_flight, hosts, converged_at, .. } = report;
    let since = converged_at.map(|at| format!(" since {}", moment(at))).unwrap_or_default();
    let word = standing(report.standing, paint);
    let _ = writeln!(text, "{}: {word}{since}, wants {}", paint.bold(name), paint.bold(&plan.target));
    for role in &plan.progress {
        let _ = writeln!(
            text,
            "  role {:<12} {} of {} done",
            role.role,
            role.done,
            count(role.hosts, "host", "hosts")
        );
    }
    if let Some(first) = plan.waiting.first() {
        let _ = writeln!(text, "  waits: {}: {}", first.subject, one_line(&first.reason.to_string()));
        let _ = writeln!(text, "    {}", first.reason.ends());
    }
    for step in in_flight {
        let took = length(at.duration_since(step.since));
        let _ = writeln!(text, "  under way: {} {} for {took}", step.step.host, step.step.action.kind());
    }
    table(text, hosts, paint);
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
    use crate::render::samples;

    #[test]
    fn a_status_tells_of_the_service_its_environments_and_their_hosts() {
        insta::assert_snapshot!(status(&samples::report(), Paint::plain()), @r#"
        service deploy-01, generation 3
        commit 1f2e3d4c5b "Bump to 1.1.0-1" by Ada
        git: the git remote cannot be read: timed out
          tried again by itself; the last accepted commit stays in force

        production: moving, wants 1.1.0-1
          role gitaly       0 of 1 host done
          role web          0 of 4 hosts done
          waits: role web: role gitaly comes first
            ends when those are done
          under way: web-01 drain for 2.0 s
          host    role  installed  running  rotation  health
          web-01  web   1.1.0-1    1.1.0-1  0 of 2    healthy, being worked on
          web-02  web   1.1.0-1    1.1.0-1  2 of 2    unhealthy: 503
        "#);
    }
}
