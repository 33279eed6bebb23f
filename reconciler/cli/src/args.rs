//! The command line as it is written. Touches no environment; says what each word means.

mod edits;
mod words;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use edits::{Hold, Out, Patch, Promote, Rollback, Veto, Weight, Writing};
pub(crate) use words::{Adopt, Pause, Resume, Verify};

const EXAMPLES: &str = "\
Examples:
  reconcile check                       is this desired-state repository valid?
  reconcile plan production             what would happen now, and why not more?
  reconcile plan production --whole     the whole rollout before it happens
  reconcile serve                       bring actual to desired, for ever
  reconcile explain web-07              the one reason why it is not done yet
  reconcile rollback production --reason 'uploads fail'    the commit that takes it back
  reconcile demo                        see it work on this machine

Exit codes: 0 converged or nothing to do, 2 changes pending, 3 waiting or halted,
64 usage, 65 invalid desired state, 69 something unreachable, 70 bug.";

/// Brings fleets of ordinary hosts to what a git repository says.
#[derive(Debug, Parser)]
#[command(name = "reconcile", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct CommandLine {
    /// The service's own file.
    #[arg(long, global = true, env = "RECONCILE_CONFIG", value_name = "FILE")]
    #[arg(default_value = crate::config::DEFAULT_FILE)]
    pub(crate) config: PathBuf,
    /// Print JSON on stdout.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The form of log lines on stderr; RUST_LOG sets what is logged.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object in each line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Check(Check),
    Plan(Plan),
    Apply(Apply),
    /// Bring every environment to what git says, until it is stopped.
    #[command(
        after_help = "Holds the state directory: one service at a time. The first SIGTERM or Ctrl-C stops in order; jobs on \
hosts go on, and the next service finds them."
    )]
    Serve,
    Status(Status),
    Explain(Explain),
    History(History),
    Promote(Promote),
    Rollback(Rollback),
    Weight(Weight),
    Veto(Veto),
    Hold(Hold),
    Out(Out),
    Patch(Patch),
    Pause(Pause),
    Resume(Resume),
    Verify(Verify),
    Adopt(Adopt),
    Retry(Retry),
    AcceptHistory(AcceptHistory),
    Schema(Schema),
    Init(Init),
    Demo(Demo),
}

/// Validate a desired-state repository. Contacts nothing.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 valid, 65 not valid. Every problem is shown at once.\n\n\
Examples:\n  reconcile check\n  reconcile check ../desired-state --json")]
pub(crate) struct Check {
    /// The repository's folder.
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
}

/// What would happen now, and why everything else waits. Changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 nothing to do, 2 changes pending, 3 waiting or halted, 69 something \
unreachable.\n\nExamples:\n  reconcile plan production --whole\n  \
reconcile plan staging --path . --whole --format markdown    in a merge request's pipeline")]
pub(crate) struct Plan {
    /// One environment; without it all of them.
    pub(crate) environment: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: PlanFormat,
    /// Foresee the whole rollout, to its end.
    #[arg(long)]
    pub(crate) whole: bool,
    /// Plan for the files of this folder, compared with what the accepted commit's hosts show. Nothing in the folder
    /// is run.
    #[arg(long, value_name = "FOLDER", conflicts_with = "reference")]
    pub(crate) path: Option<PathBuf>,
    /// Plan for this revision of the repository: a branch, a tag or a commit.
    #[arg(long = "ref", value_name = "REVISION")]
    pub(crate) reference: Option<String>,
}

/// How a plan is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// For a terminal.
    #[default]
    Human,
    /// For programs; versioned.
    Json,
    /// One collapsible comment for a merge request.
    Markdown,
}

/// Bring one environment to what git says, then end.
#[derive(Debug, Args)]
#[command(
    after_help = "Ends when the environment is converged (0), or when nothing moves until the surroundings \
change or a person acts (3).\nCtrl-C stops gracefully; what runs on hosts goes on and is found again."
)]
pub(crate) struct Apply {
    /// Which.
    pub(crate) environment: String,
}

/// How every environment stands.
#[derive(Debug, Args)]
#[command(after_help = "Asks the running service; when none runs, looks for itself and says so on stderr.\n\
Exit codes: 0 converged, 2 changes pending, 3 waiting or halted.")]
pub(crate) struct Status {
    /// One environment; without it all of them.
    pub(crate) environment: Option<String>,
}

/// The one reason why an environment or a host is not converged, since when, and what ends it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  reconcile explain production\n  reconcile explain web-07")]
pub(crate) struct Explain {
    /// An environment or a host.
    #[arg(value_name = "ENVIRONMENT|HOST")]
    pub(crate) subject: String,
}

/// What happened, from the journal.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// Which environment.
    pub(crate) environment: String,
    /// The newest so many events.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub(crate) limit: usize,
}

/// Try again, at once, what failed or halted.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  reconcile retry production --reason 'disk on web-03 replaced'")]
pub(crate) struct Retry {
    /// Which environment.
    pub(crate) environment: String,
    /// Why; kept in the journal.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// Take a rewritten history: the branch no longer descends from the accepted commit.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  reconcile accept-history 1f2e3d4c5b --reason 'squashed with the team'")]
pub(crate) struct AcceptHistory {
    /// The new history's commit.
    pub(crate) commit: String,
    /// Why; kept in the journal.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// The JSON Schema of a file, for editors.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  reconcile schema release > release.schema.json")]
pub(crate) struct Schema {
    /// Which file.
    #[arg(value_enum)]
    pub(crate) file: SchemaFile,
}

/// A file of the desired-state repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaFile {
    /// environment.toml
    Environment,
    /// release.toml
    Release,
}

/// Begin a desired-state repository.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  reconcile init desired-state && reconcile check desired-state")]
pub(crate) struct Init {
    /// A folder that is empty or does not exist.
    pub(crate) folder: PathBuf,
}

/// A fleet, a repository, a commit that moves the fleet, and a revert that takes it back.
#[derive(Debug, Args)]
#[command(
    after_help = "Boots real Debian hosts in a network of their own when run as root on Debian; else, or \
with --simulated, the fleet is simulated, and says so.\nLeaves nothing behind."
)]
pub(crate) struct Demo {
    /// Simulate the fleet even where real hosts could be booted.
    #[arg(long)]
    pub(crate) simulated: bool,
    /// No pauses for reading.
    #[arg(long)]
    pub(crate) fast: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_plan_is_for_a_folder_or_for_a_revision_and_never_for_both() {
        let both = ["reconcile", "plan", "--path", ".", "--ref", "main"];
        assert!(CommandLine::try_parse_from(both).is_err());
    }
}
