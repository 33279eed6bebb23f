//! `check`: is a desired-state repository valid?

use model::parse::{self, Problem};
use store::git::{GitError, read_folder};

use crate::args::{Check, CommandLine};
use crate::documents::{CheckDocument, DOCUMENT_FORMAT};
use crate::error::CliError;
use crate::exit::Exit;
use crate::paint::Paint;
use crate::{output, render};

pub(super) fn check(line: &CommandLine, args: &Check) -> Result<Exit, CliError> {
    let document = match read_folder(&args.path) {
        Ok(files) => match parse::repository(&files) {
            Ok(parsed) => CheckDocument {
                environments: parsed.environments.into_keys().collect(),
                warnings: parsed.warnings,
                ..verdict(Vec::new())
            },
            Err(problems) => verdict(problems),
        },
        Err(GitError::Invalid { errors }) => verdict(errors),
        Err(error) => return Err(error.into()),
    };
    if line.json {
        output::json(&document)?;
    } else {
        output::data(&render::check::check(&document, Paint::stdout()))?;
    }
    Ok(if document.valid { Exit::Done } else { Exit::Invalid })
}

fn verdict(problems: Vec<Problem>) -> CheckDocument {
    CheckDocument {
        format: DOCUMENT_FORMAT,
        valid: problems.is_empty(),
        environments: Vec::new(),
        problems,
        warnings: Vec::new(),
    }
}
