//! Where a commit goes, and in whose name.

use std::path::Path;

use model::{Desired, Reading, Revision};
use store::git::{Author, person, upstream};
use store::{GitConfig, GitSource, Remote};
use tempfile::TempDir;

use crate::args::{CommandLine, Writing};
use crate::config::Config;
use crate::error::CliError;
use crate::exit::Exit;
use crate::wiring;

/// A branch of a repository, with a mirror that is gone when this is dropped.
pub(super) struct Place {
    pub(super) source: GitSource,
    pub(super) url: String,
    pub(super) branch: String,
    pub(super) author: Author,
    /// The service's own file, when the repository comes from it.
    pub(super) config: Option<Config>,
    _mirror: TempDir,
}

impl Place {
    pub(super) fn open(line: &CommandLine, writing: &Writing) -> Result<Self, CliError> {
        if writing.reason.trim() != writing.reason
            || writing.reason.is_empty()
            || has_control(&writing.reason)
        {
            return Err(CliError::new(Exit::Usage, "a reason is one line of text, without blanks around it"));
        }
        let folder = tempfile::Builder::new().prefix("reconcile-").tempdir();
        let folder = folder.map_err(|error| CliError::file("make", &std::env::temp_dir(), &error))?;
        let mirror = folder.path().join("mirror.git");
        let (mut git, config) = match &writing.repository {
            Some(repository) => (named(repository, writing, mirror)?, None),
            None => {
                let config = Config::read(&line.config).map_err(|error| {
                    CliError::from(error).hint("or name the repository with --repository URL")
                })?;
                (wiring::git_config(&config, mirror)?, Some(config))
            }
        };
        if let Some(branch) = &writing.branch {
            git.branch.clone_from(branch);
        }
        let here = writing.repository.as_deref().map(Path::new).filter(|path| path.is_dir());
        let person = person(here.unwrap_or(Path::new(".")));
        // The service's key is the service's.
        git.signing = person.signing;
        let author = match &writing.author {
            Some(text) => author(text)?,
            None => person.author.ok_or_else(no_author)?,
        };
        let (url, branch) = (git.remote.as_text(), git.branch.clone());
        Ok(Self { source: GitSource::open(git)?, url, branch, author, config, _mirror: folder })
    }

    /// The newest valid revision.
    pub(super) async fn revision(&self) -> Result<Revision, CliError> {
        let Reading { revision: Some(revision), .. } = self.source.read().await else {
            return Err(wiring::no_revision_of(&self.source.read().await));
        };
        Ok(revision)
    }

    /// An environment as the newest valid revision has it.
    pub(super) async fn desired(&self, environment: &str) -> Result<Desired, CliError> {
        let mut environments = self.revision().await?.environments;
        let found = environments.remove(environment);
        found.ok_or_else(|| {
            CliError::no_environment(environment, environments.keys().map(|name| name.as_str()))
        })
    }
}

fn named(repository: &str, writing: &Writing, mirror: std::path::PathBuf) -> Result<GitConfig, CliError> {
    let branch = writing.branch.clone().unwrap_or_else(|| "main".to_owned());
    let remote = match Remote::parse(repository)? {
        Remote::Local(path) => match upstream(&path, &branch) {
            Some(url) => Remote::parse(&url)?,
            None => Remote::Local(path),
        },
        url => url,
    };
    Ok(GitConfig::new(remote, branch, mirror))
}

fn author(text: &str) -> Result<Author, CliError> {
    let parts = text.strip_suffix('>').and_then(|text| text.split_once('<'));
    match parts.map(|(name, email)| (name.trim(), email.trim())) {
        Some((name, email)) if !name.is_empty() && !email.is_empty() && !has_control(text) => {
            Ok(Author { name: name.to_owned(), email: email.to_owned() })
        }
        _ => Err(CliError::new(Exit::Usage, format!("`{text}` is no author like `Ada <ada@example.com>`"))),
    }
}

fn no_author() -> CliError {
    CliError::new(Exit::Usage, "git does not know who you are").hint(
        "name yourself with --author 'NAME <EMAIL>', or once and for all with\n  \
         git config --global user.name NAME; git config --global user.email EMAIL",
    )
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_is_written_as_git_writes_one() {
        let ada = Author { name: "Ada Example".into(), email: "ada@example.com".into() };
        assert_eq!(author("Ada Example <ada@example.com>").unwrap(), ada);
        for wrong in ["Ada", "<ada@example.com>", "Ada <>", "Ada <ada@example.com> x"] {
            assert_eq!(author(wrong).unwrap_err().exit(), Exit::Usage, "{wrong}");
        }
    }
}
