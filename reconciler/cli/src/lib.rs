//! The command line of `reconcile`: commands, rendering, and the wiring of live parts.

mod args;
mod commands;
mod config;
pub mod control;
mod demo;
pub mod documents;
mod error;
pub mod exit;
pub mod live;
mod logging;
mod look;
mod memory;
mod output;
mod paint;
mod progress;
mod render;
mod runner;
mod wiring;

use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use clap::Parser;

use args::{Command, CommandLine};
use exit::Exit;

/// The whole program, with the process's own arguments.
pub fn main() -> ExitCode {
    run(std::env::args_os()).into()
}

/// The whole program, with these arguments; the first is the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    exit::tell_of_panics();
    let line = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line,
        Err(answer) => {
            // Nobody to tell is no error.
            let _ = answer.print();
            // Help and version are answers; clap's own code for a wrong command line would mean "changes pending".
            return if answer.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    let default_level = if matches!(line.command, Command::Serve) { "info" } else { "warn" };
    logging::begin(line.log_format, default_level);
    // The panic was told by the hook; nothing of ours is looked at after it.
    std::panic::catch_unwind(AssertUnwindSafe(|| carry_out(&line))).unwrap_or(Exit::Bug)
}

fn carry_out(line: &CommandLine) -> Exit {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::aside(&format!("error: cannot start threads: {error}"));
            return Exit::Unreachable;
        }
    };
    let ended = runtime.block_on(commands::carry_out(line));
    // Whatever still runs (a git that hangs) is not waited for.
    runtime.shutdown_background();
    ended.unwrap_or_else(|error| {
        output::error(&error);
        error.exit()
    })
}
