//! `accept-history`: a person takes a history that does not descend from the accepted commit.

use jiff::Timestamp;
use model::{CommitId, Event};
use store::{SqliteJournal, StateLock};

use crate::args::{AcceptHistory, CommandLine};
use crate::config::Config;
use crate::control::{Content, Question, Unanswered, ask};
use crate::error::CliError;
use crate::exit::Exit;
use crate::wiring;

pub(super) async fn accept_history(line: &CommandLine, args: &AcceptHistory) -> Result<Exit, CliError> {
    let config = Config::read(&line.config)?;
    let (commit, by) = (CommitId::new(&args.commit), wiring::person());
    let question = Question::AcceptHistory { commit, by, reason: args.reason.clone() };
    match ask(&config.control_socket(), question).await {
        Ok(Content::Refused { why }) => return Err(CliError::new(Exit::Usage, why)),
        Ok(_) => {}
        Err(Unanswered::NoService { .. }) => accept(&config, args).await?,
        Err(error) => return Err(error.into()),
    }
    super::done(line, &format!("{} is accepted", args.commit))
}

/// No service runs: its mirror is ours for the moment.
async fn accept(config: &Config, args: &AcceptHistory) -> Result<(), CliError> {
    let now = Timestamp::now();
    let _lock = StateLock::take(&config.state_dir, now)?;
    let source = wiring::open_source(config)?;
    // Brings the branch's commits into the mirror; what stands in its way is what is accepted here.
    let _ = source.read().await;
    let commit = CommitId::new(&args.commit);
    source.accept_history(&commit).await.map_err(|why| CliError::new(Exit::Usage, why))?;
    let event = Event::HistoryAccepted { commit, by: wiring::person(), reason: args.reason.clone() };
    SqliteJournal::open(&config.state_dir)?.append(now, &[event])?;
    Ok(())
}
