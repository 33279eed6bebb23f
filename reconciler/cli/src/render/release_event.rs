//! Events of a release's way through its stages, as lines.

use model::{Event, Verdict, Version};

use super::{moment, one_line};
use crate::paint::Paint;

/// The line for an event of a release or of a person's word; none: told elsewhere.
pub(super) fn line(event: &Event, paint: Paint) -> Option<String> {
    let words = words(event)?;
    Some(match event {
        Event::ShareWithdrawn { .. } => paint.bad(words),
        Event::GateTurned { verdict, .. } if *verdict != Verdict::Green => paint.bad(words),
        Event::Passed { .. } | Event::StagePassed { .. } => paint.good(words),
        Event::Paused { .. } | Event::Verified { .. } | Event::Adopted { .. } => paint.notice(words),
        _ => words,
    })
}

fn words(event: &Event) -> Option<String> {
    Some(match event {
        Event::StageBegan { environment, stage, version } => {
            format!("{environment}: stage {stage} begins with {version}")
        }
        Event::StageWorked { environment, stage, version } => {
            format!("{environment}: the work of stage {stage} is done with {version}; checks and soak follow")
        }
        Event::StagePassed { environment, stage, version } => {
            format!("{environment}: {version} has passed stage {stage}")
        }
        Event::Passed { environment, track, version, stages } => {
            let stages: Vec<&str> = stages.iter().map(model::StageName::as_str).collect();
            format!("{environment}: {version} has passed all stages of track {track}: {}", stages.join(", "))
        }
        Event::Verified { environment, track, version, by, reason } => {
            format!("{environment}: {by} vouches for {version} on track {track}: {}", one_line(reason))
        }
        Event::ShareReached { environment, version, weight } => {
            format!("{environment}: canary {version} has {weight} % of the traffic")
        }
        Event::ShareWithdrawn { environment, gate } => {
            format!("{environment}: canary is out of the traffic: gate {gate} is red")
        }
        Event::GateTurned { environment, gate, verdict, value } => {
            format!("{environment}: gate {gate} is {verdict}: {}", one_line(value))
        }
        Event::Paused { environment, by, reason, until } => {
            format!("{environment}: paused by {by} until {}: {}", moment(*until), one_line(reason))
        }
        Event::Resumed { environment, by, reason } => {
            format!("{environment}: resumed by {by}: {}", one_line(reason))
        }
        Event::Adopted { environment, by, reason, running, .. } => {
            let running: Vec<&str> = running.iter().map(Version::as_str).collect();
            format!("{environment}: adopted by {by} with {}: {}", running.join(", "), one_line(reason))
        }
        Event::Departed { environment, roles } => {
            let hosts: Vec<&str> =
                roles.iter().flat_map(|role| &role.hosts).map(model::HostName::as_str).collect();
            format!("{environment}: {} left the fleet with our mark", hosts.join(", "))
        }
        Event::Undone { environment, host, rows } => {
            let rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
            format!("{environment}: {host} is no longer out as we left it: {}", rows.join(", "))
        }
        Event::Committed { environment, commit, subject } => {
            format!("{environment}: wrote commit {} \"{}\"", commit.short(), one_line(subject))
        }
        Event::ServiceStarted { .. }
        | Event::Accepted { .. }
        | Event::Refused { .. }
        | Event::HistoryAccepted { .. }
        | Event::StepStarted { .. }
        | Event::StepFinished { .. }
        | Event::Retried { .. }
        | Event::WaitingChanged { .. }
        | Event::Converged { .. } => return None,
    })
}
