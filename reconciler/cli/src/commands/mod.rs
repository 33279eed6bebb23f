//! One module for each command.

mod accept_history;
mod apply;
mod check;
mod explain;
mod history;
mod init;
mod plan;
mod retry;
mod schema;
mod serve;
mod status;
mod word;
mod write;

use crate::args::{Command, CommandLine};
use crate::error::CliError;
use crate::exit::Exit;

/// Does what the command line says.
pub(crate) async fn carry_out(line: &CommandLine) -> Result<Exit, CliError> {
    match &line.command {
        Command::Check(args) => check::check(line, args),
        Command::Plan(args) => plan::plan(line, args).await,
        Command::Apply(args) => apply::apply(line, args).await,
        Command::Serve => serve::serve(line).await,
        Command::Status(args) => status::status(line, args).await,
        Command::Explain(args) => explain::explain(line, args).await,
        Command::History(args) => history::history(line, args),
        Command::Promote(args) => write::promote(line, args).await,
        Command::Rollback(args) => write::rollback(line, args).await,
        Command::Weight(args) => write::weight(line, args).await,
        Command::Veto(args) => write::veto(line, args).await,
        Command::Hold(args) => write::hold(line, args).await,
        Command::Out(args) => write::out(line, args).await,
        Command::Patch(args) => write::patch(line, args).await,
        Command::Pause(args) => word::pause(line, args).await,
        Command::Resume(args) => word::resume(line, args).await,
        Command::Verify(args) => word::verify(line, args).await,
        Command::Adopt(args) => word::adopt(line, args).await,
        Command::Retry(args) => retry::retry(line, args).await,
        Command::AcceptHistory(args) => accept_history::accept_history(line, args).await,
        Command::Schema(args) => schema::schema(args),
        Command::Init(args) => init::init(line, args),
        Command::Demo(args) => crate::demo::demo(args).await,
    }
}

/// Says that it was done.
fn done(line: &CommandLine, what: &str) -> Result<Exit, CliError> {
    if line.json {
        let format = crate::documents::DOCUMENT_FORMAT;
        crate::output::json(&crate::documents::DoneDocument { format, done: what.to_owned() })?;
    } else {
        crate::output::data(what)?;
    }
    Ok(Exit::Done)
}
