//! Commands that write a commit: shown first, then made on top of the branch, and pushed. Nothing else is changed, and
//! no service is needed.

mod diff;
mod exceptions;
mod patch;
mod place;
mod promote;
mod rollback;

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};

use model::Track;
use store::edit::Edit;
use store::git::{Change, CommitError};

use crate::args::{CommandLine, Weight, Writing};
use crate::documents::{DOCUMENT_FORMAT, WrittenDocument};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output;
use crate::paint::Paint;

pub(super) use exceptions::{hold, out, veto};
pub(super) use patch::patch;
use place::Place;
pub(super) use promote::promote;
pub(super) use rollback::rollback;

/// What a command wants to be written.
struct Intent {
    environment: String,
    edits: Vec<Edit>,
    add: BTreeMap<String, String>,
    remove: Vec<String>,
    /// First line of the message.
    subject: String,
}

impl Intent {
    fn new(environment: &str, edits: Vec<Edit>, subject: String) -> Self {
        Self { environment: environment.to_owned(), edits, add: BTreeMap::new(), remove: Vec::new(), subject }
    }
}

pub(super) async fn weight(line: &CommandLine, args: &Weight) -> Result<Exit, CliError> {
    let place = Place::open(line, &args.writing)?;
    let subject = format!("{}: {} weight to {} %", args.environment, Track::Canary, args.percent);
    let intent = Intent::new(&args.environment, vec![Edit::Weight(args.percent)], subject);
    write(line, &args.writing, &place, intent).await
}

/// Shows what would change, asks, commits and pushes.
async fn write(
    line: &CommandLine,
    writing: &Writing,
    place: &Place,
    intent: Intent,
) -> Result<Exit, CliError> {
    let Intent { environment, edits, add, remove, subject } = intent;
    let change = Change {
        path: format!("environments/{environment}/release.toml"),
        edits,
        add,
        remove,
        author: Some(place.author.clone()),
        message: format!("{subject}\n\n{}\n", writing.reason),
    };
    let draft = match place.source.draft(&change).await {
        Err(CommitError::Unchanged { .. }) => {
            return super::done(line, &format!("{environment} is so already: nothing to commit"));
        }
        draft => draft.map_err(|error| refused(error, place))?,
    };
    if !line.json {
        output::data(&diff::coloured(&draft, Paint::stdout()))?;
    }
    let commit = match writing.dry_run || !agreed(writing, place, &subject)? {
        true => None,
        false => Some(place.source.commit(&change).await.map_err(|error| refused(error, place))?),
    };
    let exit = if commit.is_some() || writing.dry_run { Exit::Done } else { Exit::Waiting };
    tell(
        line,
        place,
        WrittenDocument {
            format: DOCUMENT_FORMAT,
            subject,
            repository: place.url.clone(),
            branch: place.branch.clone(),
            base: draft.base.clone(),
            diff: diff::plain(&draft),
            commit,
        },
    )?;
    Ok(exit)
}

fn tell(line: &CommandLine, place: &Place, document: WrittenDocument) -> Result<(), CliError> {
    if line.json {
        return output::json(&document);
    }
    let told = match &document.commit {
        Some(commit) => {
            format!("{}: {} is on {} of {}", document.subject, commit.short(), place.branch, place.url)
        }
        None => "nothing was written".to_owned(),
    };
    output::aside(&told);
    Ok(())
}

/// Asks on a terminal; a script is taken at its word.
fn agreed(writing: &Writing, place: &Place, subject: &str) -> Result<bool, CliError> {
    if writing.yes || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(true);
    }
    eprint!("commit \"{subject}\" to {} of {}? [y/N] ", place.branch, place.url);
    let failed = |error| CliError::new(Exit::Unreachable, format!("cannot ask: {error}"));
    std::io::stderr().flush().map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

fn refused(error: CommitError, place: &Place) -> CliError {
    let hint = match &error {
        CommitError::Edit { .. } => {
            "look at the file, and change it by hand where this command cannot".to_owned()
        }
        CommitError::NoFile { .. } => {
            format!("is it the right environment, and {} the right branch of {}?", place.branch, place.url)
        }
        CommitError::Refused { .. } => {
            "may you push to this branch? When it is protected, take the change there by a merge request"
                .to_owned()
        }
        CommitError::Raced { .. } => "run the command again".to_owned(),
        CommitError::Write { .. } => "when it is about signing: try `git commit --allow-empty -S`".to_owned(),
        CommitError::Unavailable { .. } | CommitError::Unchanged { .. } | CommitError::Invalid { .. } => {
            return error.into();
        }
    };
    CliError::from(error).hint(hint)
}

/// The text of the changed release.toml, as a draft has it.
#[cfg(test)]
fn sample(before: &str, after: &str) -> store::git::Draft {
    let file = ("environments/production/release.toml".to_owned(), before.to_owned(), after.to_owned());
    store::git::Draft { base: model::CommitId::new("c0ffee"), files: vec![file] }
}
