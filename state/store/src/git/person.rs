//! Who writes, and where to, as somebody's own git has it: for commands that a person runs.

use std::path::Path;

use git2::{Config, Repository};

use super::commit::{Author, Signing};

/// A person at a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// As `git commit` would have it; none: git was never told.
    pub author: Option<Author>,
    /// Whether `git commit` would sign.
    pub signing: Signing,
}

/// Who would commit in a folder, by the environment and git's configuration. The folder may lie outside any
/// repository.
pub fn person(folder: &Path) -> Person {
    let repository = Repository::discover(folder).and_then(|repository| repository.config());
    let config = repository.or_else(|_| Config::open_default()).and_then(|mut config| config.snapshot());
    let read = |key: &str| config.as_ref().ok()?.get_string(key).ok();
    let told = |variable: &str, key: &str| std::env::var(variable).ok().or_else(|| read(key));
    let name = told("GIT_AUTHOR_NAME", "user.name").filter(|name| !name.trim().is_empty());
    let email = told("GIT_AUTHOR_EMAIL", "user.email").filter(|email| !email.trim().is_empty());
    let signs = config.as_ref().is_ok_and(|config| config.get_bool("commit.gpgsign").unwrap_or(false));
    Person {
        author: name.zip(email).map(|(name, email)| Author { name, email }),
        signing: if signs { Signing::AsConfigured } else { Signing::None },
    }
}

/// Where a working clone sends a branch: the address of its remote. None: the folder is no working clone, or has no
/// remote.
pub fn upstream(folder: &Path, branch: &str) -> Option<String> {
    let repository = Repository::open(folder).ok().filter(|repository| !repository.is_bare())?;
    let config = repository.config().and_then(|mut config| config.snapshot()).ok()?;
    let named = config.get_string(&format!("branch.{branch}.remote"));
    let remote = repository.find_remote(&named.unwrap_or_else(|_| "origin".to_owned())).ok()?;
    let url = remote.pushurl().ok().flatten().or_else(|| remote.url().ok()).map(str::to_owned)?;
    // A relative path is relative to the clone.
    let is_path = !url.contains(':') && !url.starts_with('/');
    Some(if is_path { folder.join(url).display().to_string() } else { url })
}
