//! `serve`: brings actual to desired until it is stopped.

use crate::args::CommandLine;
use crate::config::Config;
use crate::error::CliError;
use crate::exit::Exit;
use crate::runner::{Runner, obey_signals};

pub(super) async fn serve(line: &CommandLine) -> Result<Exit, CliError> {
    let config = Config::read(&line.config)?;
    let runner = Runner::live(&config, None)?;
    obey_signals(runner.stop.clone())?;
    tracing::info!(
        service = config.service,
        repository = config.repository.url,
        branch = config.repository.branch,
        state = %config.state_dir.display(),
        "serving"
    );
    runner.ended().await?;
    tracing::info!("stopped");
    Ok(Exit::Done)
}
