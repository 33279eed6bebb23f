//! `apply`: the service in this process, until one environment is where it can get.

use std::time::Duration;

use engine::{EnvironmentReport, Report};
use model::{Reason, Standing};

use crate::args::{Apply, CommandLine};
use crate::config::Config;
use crate::error::CliError;
use crate::exit::Exit;
use crate::paint::Paint;
use crate::runner::{Runner, obey_signals};
use crate::{output, progress, render, wiring};

/// Standings tell of changes at once; this is for what changes without them.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

pub(super) async fn apply(line: &CommandLine, args: &Apply) -> Result<Exit, CliError> {
    let config = Config::read(&line.config)?;
    let name = wiring::environment_name(&args.environment);
    let runner = Runner::live(&config, Some(name))?;
    obey_signals(runner.stop.clone())?;
    let told = tokio::spawn(progress::tell(runner.handle.events()));
    let settled = tokio::select! {
        // The service goes on until it is stopped below, whichever comes first.
        settled = settle(&runner, &args.environment) => settled,
        () = runner.stop.cancelled() => Ok(None),
    };
    runner.stop().await?;
    // All senders are gone, so that it ends once everything is told.
    let _ = told.await;
    let Some(report) = settled? else { return Ok(Exit::Waiting) };
    if line.json {
        output::json(&report)?;
    } else {
        output::data(&render::status::status(&report, Paint::stdout()))?;
    }
    Ok(Exit::from(&report))
}

/// Waits until nothing of the environment moves any more. None: the service has ended.
async fn settle(runner: &Runner, environment: &str) -> Result<Option<Report>, CliError> {
    let mut standings = runner.handle.standings.clone();
    loop {
        let Some(report) = runner.report().await else { return Ok(None) };
        match report.environments.get(environment) {
            Some(environment) if is_settled(environment) => return Ok(Some(report)),
            Some(_) => {}
            None => refuse(&report, environment)?,
        }
        // Standings that changed meanwhile are seen at once: the receiver remembers what it has shown.
        let _ = tokio::time::timeout(LOOK_AGAIN, standings.changed()).await;
    }
}

/// While something has not been looked at yet, a standing may be about a part of the fleet only.
fn is_settled(report: &EnvironmentReport) -> bool {
    let looking = report.plan.waiting.iter().any(|waiting| waiting.reason == Reason::FreshFacts);
    match report.standing {
        Standing::Converged => true,
        Standing::Moving => false,
        Standing::Waiting | Standing::Halted => !looking && report.in_flight.is_empty(),
    }
}

/// The environment is not there, or not yet.
fn refuse(report: &Report, environment: &str) -> Result<(), CliError> {
    match (&report.read_at, &report.commit, &report.obstacle) {
        (Some(_), None, Some(obstacle)) => Err(wiring::no_revision(obstacle, &report.errors)),
        (Some(_), Some(commit), _) => Err(CliError::no_environment(environment, std::iter::empty())
            .hint(format!("commit {} has no environments/{environment}", commit.id.short()))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    fn environment(standing: Standing) -> EnvironmentReport {
        let mut report = samples::report().environments.remove("production").unwrap();
        (report.standing, report.in_flight) = (standing, vec![]);
        report
    }

    #[test]
    fn an_environment_that_moves_is_not_settled() {
        assert!(!is_settled(&environment(Standing::Moving)));
        assert!(is_settled(&environment(Standing::Converged)));
        assert!(is_settled(&environment(Standing::Halted)));
    }

    #[test]
    fn a_standing_of_a_fleet_that_is_still_looked_at_is_not_settled() {
        let mut report = environment(Standing::Waiting);
        report.plan.waiting[0].reason = Reason::FreshFacts;
        assert!(!is_settled(&report));
    }
}
