//! Events of the journal as lines: progress while it happens, and history afterwards.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{ActionKind, Event, Failure, HostName, Outcome, Recorded, Step, StepId};

use super::release_event;
use super::{length, moment, one_line, purpose};
use crate::paint::Paint;

/// Remembers which steps began, to tell how long they took.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    started: BTreeMap<StepId, (HostName, ActionKind, Timestamp)>,
    paint: Paint,
    with_starts: bool,
}

impl Teller {
    /// Tells of ends alone: for progress that is watched.
    pub(crate) fn of_progress(paint: Paint) -> Self {
        Self { started: BTreeMap::new(), paint, with_starts: false }
    }

    /// Tells of everything.
    pub(crate) fn of_history(paint: Paint) -> Self {
        Self { with_starts: true, ..Self::of_progress(paint) }
    }

    /// The line for an event, without its time; none: not worth a line.
    pub(crate) fn line(&mut self, recorded: &Recorded) -> Option<String> {
        let paint = self.paint;
        match &recorded.event {
            Event::StepStarted { step } => self.started(recorded.at, step),
            Event::StepFinished { step, result, .. } => Some(self.finished(recorded.at, step, result)),
            Event::ServiceStarted { generation, service, program } => self
                .with_starts
                .then(|| format!("service {service} started, generation {generation}, program {program}")),
            Event::Accepted { environment, commit, author, subject, version, canary } => {
                let (author, subject) = (one_line(author), one_line(subject));
                let commit = commit.short();
                let canary =
                    canary.as_ref().map_or_else(String::new, |version| format!(", canary {version}"));
                let target = format!("{environment} -> {version}{canary}");
                Some(paint.bold(format!("{target}  {commit} \"{subject}\" by {author}")))
            }
            Event::Refused { commit, errors } => {
                let first = errors.first().map_or_else(String::new, |error| one_line(error));
                Some(paint.bad(format!("commit {} is refused: {first}", commit.short())))
            }
            Event::HistoryAccepted { commit, by, reason } => {
                Some(format!("new history {} accepted by {by}: {}", commit.short(), one_line(reason)))
            }
            Event::Retried { environment, by, reason } => {
                Some(format!("{environment}: {by} asked to try again: {}", one_line(reason)))
            }
            Event::WaitingChanged { environment, reason: Some(reason) } => {
                Some(paint.notice(format!("{environment} waits: {}", one_line(reason))))
            }
            Event::WaitingChanged { environment, reason: None } => {
                self.with_starts.then(|| format!("{environment} waits no longer"))
            }
            Event::Converged { environment, commit, version } => {
                Some(paint.good(format!("{environment} is converged on {version} ({})", commit.short())))
            }
            other => release_event::line(other, paint),
        }
    }

    /// The line with its time before it.
    pub(crate) fn dated(&mut self, recorded: &Recorded) -> Option<String> {
        self.line(recorded).map(|line| format!("{}  {line}", moment(recorded.at)))
    }

    fn started(&mut self, at: Timestamp, step: &Step) -> Option<String> {
        let kind = step.action.kind();
        self.started.insert(step.id.clone(), (step.host.clone(), kind, at));
        let line = || format!("{:<12}  {kind:<8}  begins: {}", step.host, purpose(step));
        // Migrations and checks may take hours: people should know that they run.
        (self.with_starts || step.action.job().is_some()).then(line)
    }

    fn finished(&mut self, at: Timestamp, id: &StepId, result: &Result<Outcome, Failure>) -> String {
        let began = self.started.remove(id);
        let is_job = matches!(began, Some((_, ActionKind::Migrate | ActionKind::Check, _)));
        let (who, took) = match began {
            Some((host, kind, since)) => {
                (format!("{host:<12}  {kind:<8}"), format!(" {}", length(at.duration_since(since))))
            }
            // It began before the part of the journal that is told.
            None => (format!("{id}"), String::new()),
        };
        match result {
            Ok(Outcome::Changed(what)) => {
                // A job's output is long; its last line tells how it ended.
                let what = one_line(what.trim().lines().next_back().filter(|_| is_job).unwrap_or(what));
                format!("{who}  {}{took}  {}", self.paint.good("done"), self.paint.dim(what))
                    .trim_end()
                    .to_owned()
            }
            Ok(Outcome::AlreadyDone) => format!("{who}  {}{took}  was so already", self.paint.good("done")),
            Err(failure) => {
                format!("{who}  {}{took}  {}", self.paint.bad("FAILED"), one_line(&failure.to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{samples, samples_of_releases};

    #[test]
    fn progress_is_one_line_for_each_end() {
        let mut teller = Teller::of_progress(Paint::plain());
        let lines: Vec<String> = samples::events().iter().filter_map(|event| teller.line(event)).collect();
        insta::assert_snapshot!(lines.join("
"), @"");
    }

    #[test]
    fn history_has_times_and_beginnings() {
        let mut teller = Teller::of_history(Paint::plain());
        let lines: Vec<String> = samples::events().iter().filter_map(|event| teller.dated(event)).collect();
        insta::assert_snapshot!(lines.join("
"), @"");
    }

    #[test]
    fn the_steps_of_a_release_say_what_they_do() {
        let mut teller = Teller::of_history(Paint::plain());
        let events = samples_of_releases::steps();
        let lines: Vec<String> = events.iter().filter_map(|event| teller.line(event)).collect();
        insta::assert_snapshot!(lines.join("\n"), @"");
    }

    #[test]
    fn a_release_on_its_way_is_one_line_for_each_event() {
        let mut teller = Teller::of_history(Paint::plain());
        let events = samples_of_releases::events();
        let lines: Vec<String> = events.iter().filter_map(|event| teller.dated(event)).collect();
        assert_eq!(lines.len(), events.len());
        insta::assert_snapshot!(lines.join("\n"), @"");
    }
}
