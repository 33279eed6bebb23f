//! Data on stdout, everything else on stderr.

use std::io::{ErrorKind, Write};

use serde::Serialize;

use crate::error::CliError;
use crate::exit::Exit;
use crate::paint::Paint;

/// Writes data. A reader that has gone (`| head`) is no error.
pub(crate) fn data(text: &str) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let written = write!(stdout, "{text}{end}").and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(CliError::new(Exit::Unreachable, format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes data as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), CliError> {
    data(&serde_json::to_string_pretty(value)?)
}

/// Tells something beside the data.
pub(crate) fn aside(text: &str) {
    // Nobody to tell is no error.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Tells why a command did not do what was asked.
pub(crate) fn error(error: &CliError) {
    aside(&format!("{} {error}", Paint::stderr().bad("error:")));
}
