//! `history`: what happened, from the journal. The service may run or not.

use store::JournalReader;

use crate::args::{CommandLine, History};
use crate::config::Config;
use crate::documents::{DOCUMENT_FORMAT, HistoryDocument};
use crate::error::CliError;
use crate::exit::Exit;
use crate::paint::Paint;
use crate::render::event::Teller;
use crate::{output, wiring};

pub(super) fn history(line: &CommandLine, args: &History) -> Result<Exit, CliError> {
    let config = Config::read(&line.config)?;
    let environment = wiring::environment_name(&args.environment);
    let events = JournalReader::open_read_only(&config.state_dir)?.last(&environment, args.limit)?;
    if line.json {
        output::json(&HistoryDocument { format: DOCUMENT_FORMAT, environment, events })?;
        return Ok(Exit::Done);
    }
    let mut teller = Teller::of_history(Paint::stdout());
    let lines: Vec<String> = events.iter().filter_map(|event| teller.dated(event)).collect();
    if lines.is_empty() {
        output::aside(&format!("the journal says nothing about {environment}"));
    }
    output::data(&lines.join("\n"))?;
    Ok(Exit::Done)
}
