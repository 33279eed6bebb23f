//! Reads the environment and picks implementations: the only place where configuration becomes parts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::DesiredByName;
use model::{EnvironmentName, Reading, Reason, Revision};
use providers::ssh::{Ssh, SshConfig};
use store::git::{Author, Signing, Trust};
use store::{Access, GitConfig, GitSource, Look, Remote};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::config::{Config, unsigned};
use crate::error::CliError;
use crate::exit::Exit;
use crate::live::{GitlabAccess, LiveWorld};
use crate::output;

/// How long a host may take to accept a connection, when the file does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the world learns which hosts and load balancers there are.
pub(crate) type DesiredChannel = (watch::Sender<Arc<DesiredByName>>, watch::Receiver<Arc<DesiredByName>>);

/// An empty one.
pub(crate) fn desired_channel() -> DesiredChannel {
    watch::channel(Arc::new(DesiredByName::new()))
}

/// How the desired-state repository is reached, with a mirror at that place.
pub(crate) fn git_config(config: &Config, mirror_dir: PathBuf) -> Result<GitConfig, CliError> {
    let repository = &config.repository;
    let mut git = GitConfig::new(Remote::parse(&repository.url)?, &repository.branch, mirror_dir);
    git.poll = unsigned(repository.poll);
    git.access = Access {
        ssh_key: repository.ssh_key.clone(),
        known_hosts: repository.known_hosts.clone(),
        token_file: repository.token_file.clone(),
        username: repository.username.clone(),
        ca_file: repository.ca_file.clone(),
    };
    let trust = repository.trust.as_ref().filter(|trust| trust.require);
    git.trust = trust.map(|trust| Trust {
        ssh_allowed_signers: trust.ssh_allowed_signers.clone(),
        gpg_home: trust.gpg_home.clone(),
    });
    git.author = match &repository.author {
        Some(author) => Author { name: author.name.clone(), email: author.email.clone() },
        None => Author { name: "reconcile".to_owned(), email: format!("reconcile@{}", config.service) },
    };
    git.signing = repository.signing_key.clone().map_or(Signing::None, Signing::Ssh);
    Ok(git)
}

/// The service's mirror.
pub(crate) fn mirror_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("desired.git")
}

/// The source of a process that holds the state directory.
pub(crate) fn open_source(config: &Config) -> Result<GitSource, CliError> {
    Ok(GitSource::open(git_config(config, mirror_dir(&config.state_dir))?)?)
}

/// A look at the repository that touches no state directory: its mirror is gone when this is dropped.
pub(crate) struct PassingSource {
    source: GitSource,
    _mirror: TempDir,
}

impl PassingSource {
    pub(crate) fn open(config: &Config) -> Result<Self, CliError> {
        let folder = tempfile::Builder::new().prefix("reconcile-").tempdir();
        let folder = folder.map_err(|error| CliError::file("make", &std::env::temp_dir(), &error))?;
        let source = GitSource::open(git_config(config, folder.path().join("mirror.git"))?)?;
        Ok(Self { source, _mirror: folder })
    }

    /// The newest valid revision: of the branch; else the one that the service took last, when it has a mirror here.
    pub(crate) async fn read(&self, config: &Config) -> Reading {
        let mut reading = self.source.read().await;
        if reading.revision.is_none() {
            let taken = store::git::revision_at(&mirror_dir(&config.state_dir), "refs/reconcile/valid");
            reading.revision = taken.ok().map(|look| look.revision);
        }
        reading
    }

    /// The same, for a command that can do nothing without it. An obstacle in the
    /// way of the newest commit is told, and is an exit code.
    pub(crate) async fn accepted(&self, config: &Config) -> Result<(Revision, Exit), CliError> {
        let reading = self.read(config).await;
        let Some(revision) = reading.revision else { return Err(no_revision_of(&reading)) };
        if let Some(obstacle) = &reading.obstacle {
            output::aside(&format!("git: {obstacle}; {}", obstacle.ends()));
        }
        Ok((revision, reading.obstacle.iter().map(Exit::from).fold(Exit::Done, Exit::or_worse)))
    }

    /// A revision of the remote, after a reading. A repository on this machine knows names that a mirror does not.
    pub(crate) async fn read_at(&self, config: &Config, revision: &str) -> Result<Look, CliError> {
        match Remote::parse(&config.repository.url)? {
            Remote::Local(path) => Ok(store::git::revision_at(&path, revision)?),
            Remote::Url(_) => Ok(self.source.read_at(revision).await?),
        }
    }
}

/// There is nothing to go by: the repository cannot be read, or never was valid.
pub(crate) fn no_revision(obstacle: &Reason, errors: &[String]) -> CliError {
    let exit = match obstacle {
        Reason::RevisionInvalid { .. } => Exit::Invalid,
        _ => Exit::Unreachable,
    };
    let mut text = obstacle.to_string();
    for error in errors {
        text = format!("{text}\n{error}");
    }
    CliError::new(exit, text).hint(obstacle.ends())
}

/// The same for a reading without a revision.
pub(crate) fn no_revision_of(reading: &Reading) -> CliError {
    match &reading.obstacle {
        Some(obstacle) => no_revision(obstacle, &reading.errors),
        None => CliError::new(Exit::Unreachable, "the repository has no revision"),
    }
}

/// Real hosts and load balancers. Connects to nothing yet.
pub(crate) fn live_world(
    config: &Config,
    desired: watch::Receiver<Arc<DesiredByName>>,
) -> Result<LiveWorld, CliError> {
    let ssh = &config.ssh;
    let parent = control_parent();
    let ssh = SshConfig {
        user: ssh.user.clone(),
        config_file: ssh.config_file.clone(),
        known_hosts: ssh.known_hosts.clone(),
        key: ssh.key.clone(),
        connect_timeout: ssh.connect_timeout.map_or(CONNECT_TIMEOUT, unsigned),
        control_parent: parent.clone(),
    };
    let ssh = Ssh::new(ssh)
        .map_err(|error| CliError::file("make a folder for ssh's connections in", &parent, &error))?;
    let gitlab = config
        .gitlab
        .as_ref()
        .map(|gitlab| GitlabAccess { url: gitlab.url.clone(), token_file: gitlab.token_file.clone() });
    let world = LiveWorld::new(ssh, &config.service, desired);
    world
        .map(|world| world.with_gitlab(gitlab))
        .map_err(|error| CliError::new(Exit::Unreachable, format!("cannot set up TLS: {error}")))
}

/// Where this user keeps what lives as long as a process; a socket's path has to be short.
fn control_parent() -> PathBuf {
    let named = ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"].into_iter().find_map(std::env::var_os);
    let named = named.map(PathBuf::from).filter(|path| path.is_dir());
    named.unwrap_or_else(|| PathBuf::from("/tmp"))
}

/// The name of whoever asks, for the journal.
pub(crate) fn person() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

/// An environment's name as a person wrote it.
pub(crate) fn environment_name(text: &str) -> EnvironmentName {
    EnvironmentName::new(text)
}
