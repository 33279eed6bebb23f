//! What the journal says, as a script's output shows it.

use std::collections::BTreeSet;

use model::{Action, Event, Recorded, Step, StepId};

use super::ask::PERSON;

/// An event as one line, without times; none: not worth a line here. Of several environments each line names its own.
pub(super) fn told(recorded: &Recorded, several: bool) -> Option<String> {
    let line = line(&recorded.event)?;
    Some(match recorded.event.environment().filter(|_| several) {
        Some(environment) => format!("{environment}: {line}"),
        None => line,
    })
}

fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::Accepted { version, canary: None, .. } => format!("accepted {version}"),
        Event::Accepted { version, canary: Some(canary), .. } => {
            format!("accepted {version}, canary {canary}")
        }
        Event::Refused { errors, .. } => format!("refused: {}", errors.join("; ")),
        Event::StepStarted { step } => begins(step),
        Event::StepFinished { step, result: Err(failure), .. } => {
            format!("{} failed: {}", short(step), timeless(&failure.to_string()))
        }
        Event::WaitingChanged { reason: Some(reason), .. } => format!("waits: {}", timeless(reason)),
        Event::WaitingChanged { reason: None, .. } => "waits no more".to_owned(),
        Event::Converged { version, .. } => format!("converged on {version}"),
        Event::Retried { by, reason, .. } => format!("{by} retries: {reason}"),
        Event::HistoryAccepted { by, reason, .. } => format!("{by} accepts the new history: {reason}"),
        Event::ServiceStarted { generation, .. } => format!("service of generation {generation} starts"),
        other => return of_release(other),
    })
}

/// What happens to a release between its steps.
fn of_release(event: &Event) -> Option<String> {
    Some(match event {
        Event::StageBegan { stage, version, .. } => format!("stage {stage} begins with {version}"),
        Event::StagePassed { stage, version, .. } => format!("stage {stage} has passed with {version}"),
        Event::Passed { track, version, .. } => format!("{track} has passed with {version}"),
        Event::Verified { track, version, by, reason, .. } => {
            format!("{by} says that {version} has passed {track}: {reason}")
        }
        Event::ShareReached { version, weight, .. } => format!("the canary serves {weight}% with {version}"),
        Event::ShareWithdrawn { gate, .. } => format!("the canary is out of traffic: gate {gate} is red"),
        Event::GateTurned { gate, verdict, value, .. } => {
            format!("gate {gate} is {verdict}: {}", timeless(value))
        }
        Event::Paused { by, reason, .. } => format!("{by} pauses: {reason}"),
        Event::Resumed { by, reason, .. } => format!("{by} resumes: {reason}"),
        // At first sight the service adopts by itself: part of every beginning.
        Event::Adopted { by, reason, .. } if by == PERSON => format!("{by} adopts: {reason}"),
        Event::Committed { subject, .. } => format!("commits: {subject}"),
        _ => return None,
    })
}

fn begins(step: &Step) -> String {
    match &step.action {
        Action::Weigh { weights } => {
            let weights: BTreeSet<u32> = weights.values().copied().collect();
            let weights: Vec<String> = weights.iter().map(ToString::to_string).collect();
            format!("{} weigh {}", step.host, weights.join(" "))
        }
        Action::Migrate { key, .. } | Action::Check { key, .. } => format!("{} {key}", step.host),
        other => format!("{} {}", step.host, other.kind()),
    }
}

/// `web-01 install` of `g1-17-web-01-install`.
fn short(step: &StepId) -> String {
    let text = step.as_str().splitn(3, '-').nth(2).unwrap_or(step.as_str());
    match text.rsplit_once('-') {
        Some((host, action)) => format!("{host} {action}"),
        None => text.to_owned(),
    }
}

/// Without times of day and commit ids, which depend on luck and would hide what matters.
pub(super) fn timeless(text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches([',', ';', ':', ')']);
        let tail = &word[bare.len()..];
        let time = bare.len() == 9 && bare.ends_with('Z') && bare.as_bytes()[2] == b':';
        let id = (bare.len() == 10 || bare.len() == 40) && bare.bytes().all(|b| b.is_ascii_hexdigit());
        match (time, id) {
            (true, _) => format!("HH:MM:SSZ{tail}"),
            (_, true) => format!("COMMIT{tail}"),
            _ => word.to_owned(),
        }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}
