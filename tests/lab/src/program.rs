//! Runs programs of this machine and turns a failure into an error that names it.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::error::LabError;

/// How a program ended and what it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output, with invalid UTF-8 replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
}

impl Output {
    /// True when it exited with 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

/// Runs `command` to its end and hands back whatever it did. Only a program that cannot be started is
/// an error.
pub(crate) fn finish(command: &mut Command, input: Option<&[u8]>) -> Result<Output, LabError> {
    let failed = |error: std::io::Error, command: &Command| LabError::Program {
        what: "start a program".to_owned(),
        command: render(command),
        status: error.to_string(),
        output: String::new(),
    };
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(error, command))?;
    let writer = child.stdin.take().zip(input.map(<[u8]>::to_vec)).map(|(mut pipe, bytes)| {
        // A program may end without reading all of it; what it printed then says why.
        std::thread::spawn(move || drop(pipe.write_all(&bytes)))
    });
    let done = child.wait_with_output().map_err(|error| failed(error, command))?;
    if let Some(writer) = writer {
        drop(writer.join());
    }
    Ok(Output {
        code: done.status.code(),
        stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
    })
}

/// Runs `command` to its end; anything but success is an error that says what it was for.
pub(crate) fn succeed(what: &str, command: &mut Command) -> Result<Output, LabError> {
    let output = finish(command, None)?;
    if output.success() { Ok(output) } else { Err(failure(what, command, &output)) }
}

/// The error for a program that ran and failed.
pub(crate) fn failure(what: &str, command: &Command, output: &Output) -> LabError {
    LabError::Program {
        what: what.to_owned(),
        command: render(command),
        status: output.code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}")),
        output: format!("{}{}", last_lines(&output.stdout, 20), last_lines(&output.stderr, 20)),
    }
}

/// `program` with its arguments.
pub(crate) fn command<I, S>(program: &str, arguments: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// The last `count` lines of `text`.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].iter().fold(String::new(), |mut all, line| {
        // Writing to a String cannot fail.
        let _ = writeln!(all, "{line}");
        all
    })
}

fn render(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
