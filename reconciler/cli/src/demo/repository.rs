//! The demo's desired-state repository, written with the `git` that a person would use.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use model::CommitId;

use crate::error::CliError;
use crate::exit::Exit;

const FOLDER: &str = "environments/production";

/// A git repository with one environment.
pub(super) struct Repository {
    path: PathBuf,
}

impl Repository {
    /// Makes it, with a first commit.
    pub(super) fn create(path: &Path, environment_toml: &str, version: &str) -> Result<Self, CliError> {
        let repository = Self { path: path.to_owned() };
        let folder = path.join(FOLDER);
        std::fs::create_dir_all(&folder).map_err(|error| CliError::file("make", &folder, &error))?;
        repository.git(&["init", "--quiet", "--initial-branch=main"])?;
        repository.write("environment.toml", environment_toml)?;
        repository.write("release.toml", &release(version))?;
        repository.git(&["add", "--all"])?;
        repository.git(&["commit", "--quiet", "--message", &format!("Begin with {version}")])?;
        Ok(repository)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Commits another version.
    pub(super) fn commit_version(&self, version: &str) -> Result<CommitId, CliError> {
        self.write("release.toml", &release(version))?;
        self.git(&["commit", "--quiet", "--all", "--message", &format!("Bump production to {version}")])?;
        self.head()
    }

    /// Commits what was there before the last commit.
    pub(super) fn revert(&self) -> Result<CommitId, CliError> {
        self.git(&["revert", "--no-edit", "HEAD"])?;
        self.head()
    }

    /// The newest commit.
    pub(super) fn head(&self) -> Result<CommitId, CliError> {
        self.git(&["rev-parse", "HEAD"]).map(|id| CommitId::new(id.trim()))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), CliError> {
        let path = self.path.join(FOLDER).join(name);
        std::fs::write(&path, text).map_err(|error| CliError::file("write", &path, &error))
    }

    /// As an engineer of the demo, whatever this machine's git is set to.
    fn git(&self, arguments: &[&str]) -> Result<String, CliError> {
        let mut git = Command::new("git");
        git.current_dir(&self.path).stdin(Stdio::null());
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            git.env_remove(name);
        }
        for (name, value) in [("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")] {
            git.env(name, value);
        }
        for role in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{role}_NAME"), "Ada").env(format!("GIT_{role}_EMAIL"), "ada@example.com");
        }
        let failed =
            |what: String| CliError::new(Exit::Unreachable, what).hint("the demo needs the program `git`");
        let output =
            git.args(arguments).output().map_err(|error| failed(format!("cannot start git: {error}")))?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(failed(format!("git {}: {words}", arguments.join(" "))));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn release(version: &str) -> String {
    format!("[main]\nversion = \"{version}\"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revert_brings_the_first_version_back_under_a_new_commit() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::create(folder.path(), super::super::ENVIRONMENT_TOML, "1.0").unwrap();
        let first = repository.head().unwrap();
        let bump = repository.commit_version("1.1").unwrap();
        let revert = repository.revert().unwrap();
        assert!(first != bump && bump != revert && revert != first);
        let look = store::git::revision_of_folder(folder.path()).unwrap();
        assert_eq!(look.revision.commit.id, revert);
        assert_eq!(look.revision.environments["production"].target.as_str(), "1.0");
    }
}
