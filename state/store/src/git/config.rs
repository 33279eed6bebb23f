//! Which repository, which branch, and how to get in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::commit::{Author, Signing};
use super::trust::Trust;

/// Where the desired state comes from and where its mirror lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitConfig {
    /// The repository.
    pub remote: Remote,
    /// The branch that counts, e.g. `main`.
    pub branch: String,
    /// How to get in; of no meaning for a repository on this machine.
    pub access: Access,
    /// The bare mirror's directory, below the state directory that the caller holds.
    pub mirror_dir: PathBuf,
    /// How often a remote is asked, ±20 %. A repository on this machine is watched instead, and asked six times more
    /// seldom.
    pub poll: Duration,
    /// How long one question to the remote, or one fetch, may take before it is ended.
    pub deadline: Duration,
    /// Whose signatures make a commit one that may come into force; none: any commit may.
    pub trust: Option<Trust>,
    /// In whose name the service commits.
    pub author: Author,
    /// How commits are signed that are written here.
    pub signing: Signing,
}

impl GitConfig {
    /// A configuration with the usual times: asked every 5 s, given up after 30 s. Asks for no signature, and signs
    /// nothing.
    pub fn new(remote: Remote, branch: impl Into<String>, mirror_dir: impl Into<PathBuf>) -> Self {
        Self {
            remote,
            branch: branch.into(),
            access: Access::default(),
            mirror_dir: mirror_dir.into(),
            poll: Duration::from_secs(5),
            deadline: Duration::from_secs(30),
            trust: None,
            author: Author { name: "reconcile".to_owned(), email: "reconcile@localhost".to_owned() },
            signing: Signing::None,
        }
    }
}

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// On this machine, bare or with a work tree: an absolute path.
    Local(PathBuf),
    /// Somewhere else, by ssh or https.
    Url(String),
}

/// How to get in. What is not given is as the `git` and `ssh` of the service's user have it: agent, keys, known
/// hosts, proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The only ssh key to offer.
    pub ssh_key: Option<PathBuf>,
    /// The host keys to trust; unknown ones are always refused.
    pub known_hosts: Option<PathBuf>,
    /// A file with the token for https, read anew each time and never shown.
    pub token_file: Option<PathBuf>,
    /// The user that belongs to the token; `oauth2` when not given, which GitLab takes with any token of a person or
    /// project.
    pub username: Option<String>,
    /// The certificates to trust for https.
    pub ca_file: Option<PathBuf>,
}

/// A text that names no repository that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// It is neither a path nor a known kind of URL.
    #[error("`{text}` is no repository: write a path, file://, ssh://, user@host:path or https://")]
    Unknown {
        /// What was written.
        text: String,
    },
    /// It holds a password, which would show up in messages and process lists.
    #[error("the repository's URL holds a password: put it into a file and name that as the token file")]
    Password,
}

impl Remote {
    /// Reads a path (relative ones are taken from the current directory), `file://`, `ssh://`, `user@host:path` or
    /// `https://`.
    ///
    /// # Errors
    /// [`RemoteError`]; plain http is refused, since anybody on the way could write the desired state.
    pub fn parse(text: &str) -> Result<Self, RemoteError> {
        let unknown = || RemoteError::Unknown { text: text.to_owned() };
        if text.is_empty() || text.starts_with('-') || text.chars().any(char::is_control) {
            return Err(unknown());
        }
        if let Some(path) = text.strip_prefix("file://") {
            return local(Path::new(path)).ok_or_else(unknown);
        }
        match text.split_once("://") {
            Some(("https" | "ssh", rest)) => url(text, rest),
            Some(_) => Err(unknown()),
            None if is_scp_like(text) => Ok(Self::Url(text.to_owned())),
            None => local(Path::new(text)).ok_or_else(unknown),
        }
    }

    /// As `git` takes it, and as people know it.
    pub fn as_text(&self) -> String {
        match self {
            Self::Local(path) => path.display().to_string(),
            Self::Url(url) => url.clone(),
        }
    }
}

fn local(path: &Path) -> Option<Remote> {
    std::path::absolute(path).ok().map(Remote::Local)
}

fn url(text: &str, rest: &str) -> Result<Remote, RemoteError> {
    let authority = rest.split('/').next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains(':') {
        return Err(RemoteError::Password);
    }
    if host.is_empty() || host.starts_with('-') || user.starts_with('-') {
        return Err(RemoteError::Unknown { text: text.to_owned() });
    }
    Ok(Remote::Url(text.to_owned()))
}

/// `user@host:path`, with the colon before any slash.
fn is_scp_like(text: &str) -> bool {
    let Some((address, path)) = text.split_once(':') else { return false };
    address.contains('@') && !address.contains('/') && !path.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_name_a_repository_is_understood() {
        assert_eq!(Remote::parse("/srv/state").unwrap(), Remote::Local("/srv/state".into()));
        assert_eq!(Remote::parse("file:///srv/state.git").unwrap(), Remote::Local("/srv/state.git".into()));
        assert!(matches!(Remote::parse("state").unwrap(), Remote::Local(path) if path.is_absolute()));
        for url in
            ["ssh://git@host:2222/a/b.git", "git@host:a/b.git", "https://host/a.git", "https://me@host/a.git"]
        {
            assert_eq!(Remote::parse(url).unwrap(), Remote::Url(url.into()));
        }
    }

    #[test]
    fn what_would_run_a_program_or_travel_in_the_clear_is_refused() {
        for bad in
            ["", "-uroot", "ext::sh -c id", "http://host/a", "git://host/a", "ssh://-oProxyCommand=id/a"]
        {
            let read = Remote::parse(bad);
            assert!(!matches!(read, Ok(Remote::Url(_))), "{bad}: {read:?}");
        }
        assert_eq!(Remote::parse("https://me:secret@host/a"), Err(RemoteError::Password));
    }
}
