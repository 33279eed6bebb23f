//! `pause`, `resume`, `verify`, `adopt`: a person's word, which the journal keeps.

use std::sync::Arc;

use engine::Word;
use jiff::Timestamp;
use model::{Desired, Event, Generation, Histories, Observed};
use store::{SqliteJournal, StateLock};

use crate::args::{Adopt, CommandLine, Pause, Resume, Verify};
use crate::config::Config;
use crate::control::{Content, Question, Unanswered, ask};
use crate::error::CliError;
use crate::exit::Exit;
use crate::wiring::{self, PassingSource};
use crate::{look, output};

pub(super) async fn pause(line: &CommandLine, args: &Pause) -> Result<Exit, CliError> {
    let told = format!("{}: nothing new starts for {:#}", args.environment, args.lasts);
    say(line, &args.environment, &args.reason, Word::Pause { lasts: args.lasts }, &told).await
}

pub(super) async fn resume(line: &CommandLine, args: &Resume) -> Result<Exit, CliError> {
    let told = format!("{}: goes on", args.environment);
    say(line, &args.environment, &args.reason, Word::Resume, &told).await
}

pub(super) async fn verify(line: &CommandLine, args: &Verify) -> Result<Exit, CliError> {
    let (track, version) = (args.track.into(), args.version.clone());
    let told = format!("{}: {version} counts as passed on {track}", args.environment);
    say(line, &args.environment, &args.reason, Word::Verify { track, version }, &told).await
}

pub(super) async fn adopt(line: &CommandLine, args: &Adopt) -> Result<Exit, CliError> {
    let told = format!("{}: the fleet is taken as it was found", args.environment);
    say(line, &args.environment, &args.reason, Word::Adopt, &told).await
}

async fn say(
    line: &CommandLine,
    environment: &str,
    reason: &str,
    word: Word,
    told: &str,
) -> Result<Exit, CliError> {
    let config = Config::read(&line.config)?;
    let question =
        Question::of(word.clone(), wiring::environment_name(environment), wiring::person(), reason);
    match ask(&config.control_socket(), question).await {
        Ok(Content::Refused { why }) => return Err(refused(&word, why)),
        Ok(_) => {}
        Err(Unanswered::NoService { .. }) => write(&config, environment, reason, word).await?,
        Err(error) => return Err(error.into()),
    }
    super::done(line, told)
}

/// A host that did not answer may answer soon; all else has to be said differently.
fn refused(word: &Word, why: String) -> CliError {
    CliError::new(if *word == Word::Adopt { Exit::Unreachable } else { Exit::Usage }, why)
}

/// No service runs: the next one finds it in the journal.
async fn write(config: &Config, environment: &str, reason: &str, word: Word) -> Result<(), CliError> {
    let now = Timestamp::now();
    let _lock = StateLock::take(&config.state_dir, now)?;
    let (revision, _) = PassingSource::open(config)?.accepted(config).await?;
    let desired = revision.environments.get(environment).ok_or_else(|| {
        CliError::no_environment(environment, revision.environments.keys().map(|name| name.as_str()))
    })?;
    let observed = if word == Word::Adopt { observe(config, desired).await? } else { Observed::default() };
    let event = word.clone().event(desired, &observed, wiring::person(), reason.to_owned(), now);
    let event = event.map_err(|why| refused(&word, why))?;
    let journal = SqliteJournal::open(&config.state_dir)?;
    let newer = if word == Word::Adopt { newer_generation(config, &journal, &observed)? } else { None };
    journal.append(now, &newer.into_iter().chain([event]).collect::<Vec<_>>())?;
    output::aside("no service runs: the next one will take it up");
    Ok(())
}

/// As a running service would: the next one goes on above what the world remembers.
fn newer_generation(
    config: &Config,
    journal: &SqliteJournal,
    observed: &Observed,
) -> Result<Option<Event>, CliError> {
    let replayed = journal.replay()?;
    let histories = Histories::replay(&replayed).map_err(|(seq, illegal)| {
        CliError::new(Exit::Bug, format!("event {seq} of the journal: {illegal}"))
    })?;
    let ours = Generation(histories.next_generation().0.saturating_sub(1));
    Ok(engine::newer_generation(observed, ours, &config.service))
}

async fn observe(config: &Config, desired: &Desired) -> Result<Observed, CliError> {
    let (sender, receiver) = wiring::desired_channel();
    sender.send_replace(Arc::new([(desired.environment.clone(), desired.clone())].into()));
    let world = Arc::new(wiring::live_world(config, receiver)?);
    Ok(look::observe_all(&world, desired).await)
}
