//! What can go wrong with a repository that is asked for by a person. The service's own reading never fails.

use std::io;
use std::path::PathBuf;

use model::parse::Problem;

/// Why a repository, a revision or a folder could not be read.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The branch has a name that git does not allow.
    #[error("`{branch}` is no name of a branch")]
    Branch {
        /// What was written.
        branch: String,
    },
    /// The mirror could not be made or opened.
    #[error("cannot open the mirror {}", path.display())]
    Mirror {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: git2::Error,
    },
    /// No repository lies there, or not one that can be read.
    #[error("cannot open the repository {}", path.display())]
    Open {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: git2::Error,
    },
    /// git does not read a repository of another user, because its settings can run programs.
    #[error(
        "the repository {0} belongs to another user; if you trust it: git config --global --add safe.directory {0}",
        path.display()
    )]
    Owner {
        /// Where.
        path: PathBuf,
    },
    /// The repository does not know the revision.
    #[error("{} knows no revision `{revision}`", path.display())]
    UnknownRevision {
        /// The repository.
        path: PathBuf,
        /// What was asked for.
        revision: String,
    },
    /// An object could not be read.
    #[error("cannot read from the repository {}", path.display())]
    Read {
        /// The repository.
        path: PathBuf,
        /// Why.
        #[source]
        source: git2::Error,
    },
    /// A folder or a file in it could not be read.
    #[error("cannot read {}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The desired state is not valid.
    #[error("{} in the desired state: {}", count(errors), first(errors))]
    Invalid {
        /// Every one.
        errors: Vec<Problem>,
    },
}

fn first(errors: &[Problem]) -> String {
    errors.first().map(Problem::to_string).unwrap_or_default()
}

fn count(errors: &[Problem]) -> String {
    if errors.len() == 1 { "1 error".to_owned() } else { format!("{} errors", errors.len()) }
}
