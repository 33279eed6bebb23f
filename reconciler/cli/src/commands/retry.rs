//! `retry`: try again what failed or halted.

use jiff::Timestamp;
use model::Event;
use store::{SqliteJournal, StateLock};

use crate::args::{CommandLine, Retry};
use crate::config::Config;
use crate::control::{Content, Question, Unanswered, ask};
use crate::error::CliError;
use crate::exit::Exit;
use crate::wiring;

pub(super) async fn retry(line: &CommandLine, args: &Retry) -> Result<Exit, CliError> {
    let config = Config::read(&line.config)?;
    let (environment, by) = (wiring::environment_name(&args.environment), wiring::person());
    let question = Question::Retry { environment, by, reason: args.reason.clone() };
    match ask(&config.control_socket(), question).await {
        Ok(Content::Refused { why }) => return Err(CliError::new(Exit::Usage, why)),
        Ok(_) => {}
        Err(Unanswered::NoService { .. }) => write(&config, args)?,
        Err(error) => return Err(error.into()),
    }
    super::done(line, &format!("{}: what failed is tried again", args.environment))
}

/// No service runs: the next one finds it in the journal.
fn write(config: &Config, args: &Retry) -> Result<(), CliError> {
    let now = Timestamp::now();
    let _lock = StateLock::take(&config.state_dir, now)?;
    let journal = SqliteJournal::open(&config.state_dir)?;
    let environment = wiring::environment_name(&args.environment);
    let events = journal.replay()?;
    let is_known = events.iter().any(|it| it.event.environment() == Some(&environment));
    if !is_known {
        return Err(CliError::new(Exit::Usage, format!("the journal knows no environment {environment}")));
    }
    let event = Event::Retried { environment, by: wiring::person(), reason: args.reason.clone() };
    journal.append(now, &[event])?;
    crate::output::aside("no service runs: the next one will");
    Ok(())
}
