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
        let line = || format!("{:<12}  {kind:<12}  begins: {}", step.host, purpose(step));
        // Migrations and checks may take hours: people should know that they run.
        (self.with_starts || step.action.job().is_some()).then(line)
    }

    fn finished(&mut self, at: Timestamp, id: &StepId, result: &Result<Outcome, Failure>) -> String {
        let began = self.started.remove(id);
        let is_job = matches!(began, Some((_, ActionKind::Migrate | ActionKind::Check, _)));
        let (who, took) = match began {
            Some((host, kind, since)) => {
                (format!("{host:<12}  {kind:<12}"), format!(" {}", length(at.duration_since(since))))
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
"), @r#"
        production -> 1.1.0-1  1f2e3d4c5b "Bump to 1.1.0-1" by Ada
        web-01        drain         done 1.0 s  drained on fe-01, fe-02
        gitaly-01     install       FAILED 1.0 s  gitaly-01: install failed (100)
        web-01        drain         done 1.0 s  was so already
        p-0  done  was so already
        production waits: role web: it is Friday
        production is converged on 1.1.0-1 (1f2e3d4c5b)
        "#);
    }

    #[test]
    fn history_has_times_and_beginnings() {
        let mut teller = Teller::of_history(Paint::plain());
        let lines: Vec<String> = samples::events().iter().filter_map(|event| teller.dated(event)).collect();
        insta::assert_snapshot!(lines.join("
"), @r#"
        2026-11-22 12:00:01Z  production -> 1.1.0-1  1f2e3d4c5b "Bump to 1.1.0-1" by Ada
        2026-11-22 12:00:02Z  web-01        drain         begins: to install 1.1.0-1
        2026-11-22 12:00:03Z  web-01        drain         done 1.0 s  drained on fe-01, fe-02
        2026-11-22 12:00:04Z  gitaly-01     install       begins: store 1.1.0-1: install while drained
        2026-11-22 12:00:05Z  gitaly-01     install       FAILED 1.0 s  gitaly-01: install failed (100)
        2026-11-22 12:00:06Z  web-01        drain         begins: to install 1.1.0-1
        2026-11-22 12:00:07Z  web-01        drain         done 1.0 s  was so already
        2026-11-22 12:00:08Z  p-0  done  was so already
        2026-11-22 12:00:09Z  production waits: role web: it is Friday
        2026-11-22 12:00:10Z  production is converged on 1.1.0-1 (1f2e3d4c5b)
        "#);
    }

    #[test]
    fn the_steps_of_a_release_say_what_they_do() {
        let mut teller = Teller::of_history(Paint::plain());
        let events = samples_of_releases::steps();
        let lines: Vec<String> = events.iter().filter_map(|event| teller.line(event)).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        fe-01         weigh         begins: cny-01 in web to 10: 5 percent
        fe-01         weigh         done 1.0 s  1 of 2 2 of 2
        deploy-01     migrate       begins: migrations of 1.1.0-1 by shop-migrate: once
        deploy-01     migrate       done 1.0 s  2 of 2
        deploy-01     check         begins: check qa after stage fleet of 1.1.0-1: test the release
        deploy-01     check         done 1.0 s  2 of 2
        web-01        pause-agent   begins: systemctl stop agent.timer: while we work there
        web-01        pause-agent   done 1.0 s  1 of 2 2 of 2
        web-01        resume-agent  begins: systemctl start agent.timer: as it was found
        web-01        resume-agent  done 1.0 s  1 of 2 2 of 2
        web-02        retire        begins: declared out
        web-02        retire        done 1.0 s  1 of 2 2 of 2
        web-01        patch         begins: patches/session-fix.patch: session fixation
        web-01        patch         done 1.0 s  1 of 2 2 of 2
        web-01        patch         begins: none is wanted, reverts what is applied: it left release.toml
        web-01        patch         done 1.0 s  1 of 2 2 of 2
        deploy-01     pin           begins: 1.1.0-1 for main: agent must not undo it
        deploy-01     pin           done 1.0 s  1 of 2 2 of 2
        ");
    }

    #[test]
    fn a_release_on_its_way_is_one_line_for_each_event() {
        let mut teller = Teller::of_history(Paint::plain());
        let events = samples_of_releases::events();
        let lines: Vec<String> = events.iter().filter_map(|event| teller.dated(event)).collect();
        assert_eq!(lines.len(), events.len());
        insta::assert_snapshot!(lines.join("\n"), @r#"
        2026-11-22 12:00:01Z  production: stage fleet begins with 1.1.0-1
        2026-11-22 12:00:02Z  production: the work of stage fleet is done with 1.1.0-1; checks and soak follow
        2026-11-22 12:00:03Z  production: 1.1.0-1 has passed stage fleet
        2026-11-22 12:00:04Z  production: 1.1.0-1 has passed all stages of track canary: migrations, canary fleet
        2026-11-22 12:00:05Z  production: Ada vouches for 1.1.0-1 on track main: the journal was lost
        2026-11-22 12:00:06Z  production: canary 1.1.0-1 has 5 % of the traffic
        2026-11-22 12:00:07Z  production: canary is out of the traffic: gate errors is red
        2026-11-22 12:00:08Z  production: gate errors is red: 0.031
        2026-11-22 12:00:09Z  production: paused by Ada until 2026-11-22 13:00:00Z: load test
        2026-11-22 12:00:10Z  production: resumed by Ada: load test
        2026-11-22 12:00:11Z  production: adopted by Ada with 1.1.0-1: moved here
        2026-11-22 12:00:12Z  production: cny-01, cny-02 left the fleet with our mark
        2026-11-22 12:00:13Z  production: web-01 is no longer out as we left it: web/web-01 on fe-01
        2026-11-22 12:00:14Z  production: wrote commit 5a6b7c8d9e "canary to 1.1.0-1"
        "#);
    }
}
