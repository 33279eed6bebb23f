//! `status`: how every environment stands.

use std::sync::Arc;

use engine::{Report, World};
use model::EnvironmentName;

use crate::args::{CommandLine, Status};
use crate::config::Config;
use crate::control::{Content, Question, Unanswered, ask};
use crate::error::CliError;
use crate::exit::Exit;
use crate::memory::Memory;
use crate::paint::Paint;
use crate::wiring::{self, PassingSource};
use crate::{look, output, render};

pub(super) async fn status(line: &CommandLine, args: &Status) -> Result<Exit, CliError> {
    let config = Config::read(&line.config)?;
    let mut report = report(&config, args.environment.as_deref()).await?;
    if let Some(only) = &args.environment {
        let found = report.environments.remove_entry(only.as_str());
        let known = report.environments.keys().map(EnvironmentName::as_str);
        report.environments =
            found.ok_or_else(|| CliError::no_environment(only, known)).map(|it| [it].into())?;
    }
    if line.json {
        output::json(&report)?;
    } else {
        output::data(&render::status::status(&report, Paint::stdout()))?;
    }
    Ok(Exit::from(&report))
}

/// The running service's report; when none runs, our own look at `only` that environment, or at all of them.
pub(super) async fn report(config: &Config, only: Option<&str>) -> Result<Report, CliError> {
    match ask(&config.control_socket(), Question::Report).await {
        Ok(Content::Report { report }) => Ok(*report),
        Ok(Content::Refused { why }) => Err(CliError::new(Exit::Unreachable, why)),
        Ok(Content::Done) => Err(CliError::new(Exit::Bug, "the service answered another question")),
        Err(Unanswered::NoService { path }) => {
            output::aside(&format!("no service runs at {}: looking at the fleet now", path.display()));
            own_look(config, only).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn own_look(config: &Config, only: Option<&str>) -> Result<Report, CliError> {
    let reading = PassingSource::open(config)?.read(config).await;
    let Some(revision) = &reading.revision else {
        return Err(wiring::no_revision_of(&reading));
    };
    let (sender, receiver) = wiring::desired_channel();
    sender.send_replace(Arc::new(revision.environments.clone()));
    let world = Arc::new(wiring::live_world(config, receiver)?);
    let mut memory = Memory::read(&config.state_dir, &config.service, world.now())?;
    let known = |name: &&str| revision.environments.contains_key(*name);
    let only = only.filter(known).map(wiring::environment_name);
    Ok(look::report(&world, &reading, &config.service, &mut memory, only.as_ref()).await)
}
