//! Every library's errors, as a person is told them: what happened, what to do, and the exit code.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use crate::config::ConfigError;
use crate::control::Unanswered;
use crate::exit::Exit;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct CliError {
    what: String,
    hint: Option<String>,
    exit: Exit,
}

impl CliError {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None, exit }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// A file or folder that could not be read or written.
    pub(crate) fn file(what: &str, path: &Path, source: &io::Error) -> Self {
        Self::new(Exit::Unreachable, format!("cannot {what} {}: {source}", path.display()))
    }

    /// A name that is no environment of the commit in force.
    pub(crate) fn no_environment<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.collect();
        let error = Self::new(Exit::Usage, format!("there is no environment {name}"));
        if known.is_empty() { error } else { error.hint(format!("there are: {}", known.join(", "))) }
    }

    fn of(exit: Exit, error: &dyn Error) -> Self {
        Self::new(exit, chain(error))
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, hint, exit: _ } = self;
        write!(f, "{}", crate::render::clean(what))?;
        hint.as_ref().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

/// An error and what caused it, in one line, or in as many as the last cause has.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let words = source.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = source.source();
    }
    text
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        let told = Self::of(Exit::Usage, &error);
        match error {
            ConfigError::Read { .. } => told.hint(
                "name the service's own file with --config FILE or RECONCILE_CONFIG; it needs at least:\n  \
                 [repository]\n  url = \"git@example.com:team/desired-state.git\"",
            ),
            ConfigError::Invalid { .. }
            | ConfigError::NobodyTrusted { .. }
            | ConfigError::NotPositive { .. }
            | ConfigError::Service { .. } => told,
        }
    }
}

impl From<store::git::RemoteError> for CliError {
    fn from(error: store::git::RemoteError) -> Self {
        Self::of(Exit::Usage, &error)
    }
}

impl From<store::git::GitError> for CliError {
    fn from(error: store::git::GitError) -> Self {
        use store::git::GitError;
        let exit = match &error {
            GitError::Invalid { errors } => {
                let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
                return Self::new(
                    Exit::Invalid,
                    format!("the desired state is not valid\n{}", all.join("\n")),
                );
            }
            GitError::Branch { .. } | GitError::UnknownRevision { .. } => Exit::Usage,
            GitError::Mirror { .. }
            | GitError::Open { .. }
            | GitError::Owner { .. }
            | GitError::Read { .. }
            | GitError::Folder { .. } => Exit::Unreachable,
        };
        Self::of(exit, &error)
    }
}

impl From<store::git::CommitError> for CliError {
    fn from(error: store::git::CommitError) -> Self {
        use store::git::CommitError;
        let exit = match error {
            CommitError::Invalid { errors } => return store::git::GitError::Invalid { errors }.into(),
            CommitError::Edit { .. } | CommitError::NoFile { .. } | CommitError::Unchanged { .. } => {
                Exit::Usage
            }
            CommitError::Unavailable { .. }
            | CommitError::Write { .. }
            | CommitError::Refused { .. }
            | CommitError::Raced { .. } => Exit::Unreachable,
        };
        Self::of(exit, &error)
    }
}

impl From<store::JournalError> for CliError {
    fn from(error: store::JournalError) -> Self {
        let told = Self::of(Exit::Unreachable, &error);
        match error {
            store::JournalError::Missing { .. } => told.hint(
                "no service has run on this state directory yet: `reconcile serve` or `reconcile apply`",
            ),
            _ => told,
        }
    }
}

impl From<engine::JournalError> for CliError {
    fn from(error: engine::JournalError) -> Self {
        Self::of(Exit::Unreachable, &error)
    }
}

impl From<store::LockError> for CliError {
    fn from(error: store::LockError) -> Self {
        let told = Self::of(Exit::Unreachable, &error);
        match error {
            store::LockError::Held { .. } => {
                told.hint("one service at a time; ask the one that runs: `reconcile status`")
            }
            store::LockError::Io { .. } => told.hint("run as the service's user, or set `state_dir`"),
        }
    }
}

impl From<Unanswered> for CliError {
    fn from(error: Unanswered) -> Self {
        let told = Self::of(Exit::Unreachable, &error);
        match error {
            Unanswered::NotAllowed { .. } => told.hint("ask as the service's user, or as root"),
            Unanswered::NoService { .. } | Unanswered::Broken { .. } => told,
        }
    }
}

impl From<lab::LabError> for CliError {
    fn from(error: lab::LabError) -> Self {
        Self::of(Exit::Unreachable, &error)
    }
}

impl From<model::IllegalEvent> for CliError {
    fn from(error: model::IllegalEvent) -> Self {
        Self::of(Exit::Bug, &error).hint("this is a bug in reconcile, please report it")
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        Self::new(Exit::Bug, format!("cannot write JSON: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_config_file_is_a_usage_error_that_says_what_to_write() {
        let error = crate::config::Config::read(Path::new("/nonexistent/config.toml")).unwrap_err();
        let told = CliError::from(error);
        assert_eq!(told.exit(), Exit::Usage);
        insta::assert_snapshot!(told, @r#"
        cannot read /nonexistent/config.toml: No such file or directory (os error 2)
        hint: name the service's own file with --config FILE or RECONCILE_CONFIG; it needs at least:
          [repository]
          url = "git@example.com:team/desired-state.git"
        "#);
    }

    #[test]
    fn every_error_of_an_invalid_revision_is_told() {
        let problem = |file: &str| model::parse::Problem {
            file: file.into(),
            line: 1,
            column: 2,
            message: "wrong".into(),
            hint: None,
        };
        let errors = vec![problem("a.toml"), problem("b.toml")];
        let told = CliError::from(store::git::GitError::Invalid { errors });
        assert_eq!(told.exit(), Exit::Invalid);
        insta::assert_snapshot!(told, @r"
        the desired state is not valid
        a.toml:1:2: wrong
        b.toml:1:2: wrong
        ");
    }
}
