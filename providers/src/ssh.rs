//! One multiplexed ssh connection per host, kept and reused; every operation has its own deadline.

mod error;
mod master;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::HostName;
use openssh::{ControlPersist, KnownHosts, Session, SessionBuilder};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::time::timeout;

pub use error::SshError;
use error::{classify_command, classify_connect};
use master::ControlDir;

/// Handshakes cost a core some 50 ms each, and sshd refuses at random above 10 unfinished ones per target
/// (`MaxStartups 10:30:100`); a bastion in front of the fleet is one target.
const CONNECTS_AT_ONCE: usize = 32;

/// sshd allows ten sessions on a connection (`MaxSessions`); two stay free for a person on the same master.
const SESSIONS_PER_HOST: usize = 8;

/// A master whose service was killed leaves by itself after this. Longer than any interval at which we look at a host.
const IDLE_S: NonZeroUsize = NonZeroUsize::new(600).expect("600 is not 0");

/// Three unanswered ones end the connection: a host that vanished is noticed after 15 s also in the midst of a job.
const ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How hosts are reached.
#[derive(Clone, Debug)]
pub struct SshConfig {
    /// Log in as; none: as ssh's own configuration says. Anyone but root needs `sudo -n`.
    pub user: Option<String>,
    /// In place of `~/.ssh/config`.
    pub config_file: Option<PathBuf>,
    /// In place of `~/.ssh/known_hosts`. A host whose key is not in it is refused.
    pub known_hosts: Option<PathBuf>,
    /// The only private key to offer; none: as ssh's own configuration says.
    pub key: Option<PathBuf>,
    /// For the connection and ssh's handshake. Whole seconds.
    pub connect_timeout: Duration,
    /// Where to make the private folder for control sockets. Short: a socket's path has at most 108 bytes.
    pub control_parent: PathBuf,
}

/// What a command on a host answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exit code.
    pub status: i32,
    /// Its standard output; what is not UTF-8 is replaced.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
}

/// The connections to all hosts. Dropping it ends them.
#[derive(Debug)]
pub struct Ssh {
    config: SshConfig,
    control: ControlDir,
    hosts: Mutex<BTreeMap<HostName, Arc<Line>>>,
    connecting: Semaphore,
}

/// The line to one host: at most one connection, made when first needed.
#[derive(Debug)]
struct Line {
    folder: PathBuf,
    session: AsyncMutex<Option<Arc<Session>>>,
    sessions: Semaphore,
}

impl Ssh {
    /// Prepares a private folder for control sockets, and removes those that a killed service left behind together
    /// with their masters. Connects to nothing.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(config: SshConfig) -> std::io::Result<Self> {
        master::remove_stale(&config.control_parent);
        let control = ControlDir::create(&config.control_parent)?;
        let connecting = Semaphore::new(CONNECTS_AT_ONCE);
        Ok(Self { config, control, hosts: Mutex::default(), connecting })
    }

    /// Runs a POSIX shell script as root on a host, without a tty and with empty standard input, and waits for its end.
    ///
    /// Connects first when there is no connection; a connection that was found dead before the script was sent is
    /// made anew once. Cancel-safe for the connection; the script itself runs on.
    ///
    /// # Errors
    /// [`SshError`]. After `TimedOut`, and after `Unreachable` when a connection broke, the script may have run or
    /// may still run. In both cases the connection is gone and the next call makes a new one.
    pub async fn run(&self, host: &HostName, script: &str, deadline: Duration) -> Result<Output, SshError> {
        let line = self.line(host);
        match timeout(deadline, self.attempt(host, &line, script)).await {
            Ok(result) => result,
            Err(_) => {
                // A frozen master answers nobody and never ends by itself, so it is ended here, by its own folder.
                self.hang_up(&line).await;
                Err(SshError::TimedOut {
                    host: host.clone(),
                    detail: format!("no answer in {:.1} s", deadline.as_secs_f32()),
                })
            }
        }
    }

    /// Ends every connection and leaves no process behind.
    pub fn close_all(&self) {
        self.lines().clear();
        self.control.clear();
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, BTreeMap<HostName, Arc<Line>>> {
        self.hosts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn line(&self, host: &HostName) -> Arc<Line> {
        let mut hosts = self.lines();
        let line = hosts.entry(host.clone()).or_insert_with(|| {
            Arc::new(Line {
                folder: self.control.next_folder(),
                session: AsyncMutex::new(None),
                sessions: Semaphore::new(SESSIONS_PER_HOST),
            })
        });
        Arc::clone(line)
    }

    async fn attempt(&self, host: &HostName, line: &Line, script: &str) -> Result<Output, SshError> {
        let _permit = line.sessions.acquire().await.map_err(|_| SshError::closed(host))?;
        let command = as_root(script);
        let (session, reused) = self.session(host, line).await?;
        match execute(&session, &command).await {
            // The control socket is gone, so nothing was sent: the host rebooted, or the master left.
            Err(openssh::Error::Disconnected) if reused => {
                self.forget(line, &session).await;
                let (session, _) = self.session(host, line).await?;
                self.conclude(host, line, &session, execute(&session, &command).await).await
            }
            result => self.conclude(host, line, &session, result).await,
        }
    }

    async fn conclude(
        &self,
        host: &HostName,
        line: &Line,
        session: &Arc<Session>,
        result: Result<Output, openssh::Error>,
    ) -> Result<Output, SshError> {
        match result {
            Ok(output) => Ok(output),
            Err(error) => {
                let error = classify_command(host, &error);
                if !matches!(error, SshError::NoSuchCommand { .. }) {
                    self.forget(line, session).await;
                }
                Err(error)
            }
        }
    }

    /// The host's connection, and whether it existed already.
    async fn session(&self, host: &HostName, line: &Line) -> Result<(Arc<Session>, bool), SshError> {
        let mut slot = line.session.lock().await;
        if let Some(session) = slot.as_ref() {
            return Ok((Arc::clone(session), true));
        }
        let session = Arc::new(self.connect(host, line).await?);
        *slot = Some(Arc::clone(&session));
        Ok((session, false))
    }

    async fn connect(&self, host: &HostName, line: &Line) -> Result<Session, SshError> {
        let _permit = self.connecting.acquire().await.map_err(|_| SshError::closed(host))?;
        master::fresh(&line.folder).map_err(|error| classify_connect(host, &error.to_string()))?;
        let session = self
            .builder(&line.folder)
            .connect_mux(host.as_str())
            .await
            .map_err(|error| classify_connect(host, &error::words(&error)))?;
        // Dropping a `Session` that owns its folder asks its master to leave, and waits for the answer: for ever,
        // when the master is frozen. A resumed one leaves that to us.
        let (socket, _log) = session.detach();
        Ok(Session::resume_mux(socket, None))
    }

    fn builder(&self, folder: &Path) -> SessionBuilder {
        let SshConfig { user, config_file, known_hosts, key, connect_timeout, control_parent: _ } =
            &self.config;
        let mut builder = SessionBuilder::default();
        builder
            .known_hosts_check(KnownHosts::Strict)
            .connect_timeout(*connect_timeout)
            .server_alive_interval(ALIVE_INTERVAL)
            .control_persist(ControlPersist::IdleFor(IDLE_S))
            .control_directory(folder);
        user.as_ref().map(|user| builder.user(user.clone()));
        config_file.as_ref().map(|file| builder.config_file(file));
        known_hosts.as_ref().map(|file| builder.user_known_hosts_file(file));
        key.as_ref().map(|key| builder.keyfile(key));
        builder
    }

    /// Drops a dead connection, unless somebody has made a new one meanwhile.
    async fn forget(&self, line: &Line, dead: &Arc<Session>) {
        let mut slot = line.session.lock().await;
        if slot.as_ref().is_some_and(|session| Arc::ptr_eq(session, dead)) {
            *slot = None;
            master::end(&line.folder);
        }
    }

    /// Ends whatever there is of a connection, also one that is still being made.
    async fn hang_up(&self, line: &Line) {
        // Whoever is connecting fails now that its ssh is dead, and lets go of the slot.
        master::end(&line.folder);
        let mut slot = line.session.lock().await;
        // Somebody may have connected between these two lines; an unused master must not stay behind.
        master::end(&line.folder);
        *slot = None;
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        self.close_all();
        self.control.remove();
    }
}

async fn execute(session: &Session, command: &str) -> Result<Output, openssh::Error> {
    let output = session.raw_command(command).output().await?;
    Ok(Output {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// `/` belongs to root everywhere, so `-O /` tells without another process whether we are root.
fn as_root(script: &str) -> String {
    let script = crate::shell::quote(script);
    format!(r#"exec sh -c '[ -O / ] && exec sh -c "$0"; exec sudo -n -- sh -c "$0"' {script}"#)
}
