//! One multiplexed ssh connection per host, kept and reused; every operation has its own deadline.

mod error;
mod master;
mod reader;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::HostName;
use openssh::{Child, ControlPersist, KnownHosts, Session, SessionBuilder};
use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

pub use error::SshError;
use error::{classify_command, classify_connect, session_refused};
use master::ControlDir;
use reader::{Reader, spawn};

/// Handshakes cost a core some 50 ms each, and sshd refuses at random above 10 unfinished ones per target
/// (`MaxStartups 10:30:100`); a bastion in front of the fleet is one target.
const CONNECTS_AT_ONCE: usize = 32;

/// sshd allows ten sessions on a connection (`MaxSessions`); two stay free for a person on the same master.
const SESSIONS_PER_HOST: usize = 8;

/// Readers of one host that wait to be asked: a host can be a load balancer's node as well. They take up sessions.
const READERS_PER_HOST: usize = 2;

/// A reader that nobody asked for this long ends: a host that left the fleet is let go.
const READER_IDLE: Duration = Duration::from_secs(300);

/// A master whose service was killed leaves by itself after this. Longer than any interval at which we look at a host.
const IDLE_S: NonZeroUsize = NonZeroUsize::new(600).expect("600 is not 0");

/// How long sshd may refuse another session before that is a failure.
const SESSION_PATIENCE: Duration = Duration::from_secs(20);

/// Sessions end within milliseconds; a few tries more cost nothing.
const SESSION_RETRY: Duration = Duration::from_millis(50);

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
    swept: Mutex<Instant>,
}

/// The line to one host: at most one connection, made when first needed.
#[derive(Debug)]
struct Line {
    folder: PathBuf,
    session: AsyncMutex<Option<Arc<Session>>>,
    sessions: Arc<Semaphore>,
    readers: Mutex<Vec<Reader>>,
}

impl Line {
    fn readers(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A waiting reader of this script, for one question. Whoever asks holds it alone.
    fn take_reader(&self, script: &str) -> Option<Reader> {
        let mut readers = self.readers();
        let at = readers.iter().position(|reader| reader.runs(script))?;
        Some(readers.remove(at))
    }

    fn keep_reader(&self, reader: Reader) {
        let mut readers = self.readers();
        if readers.len() >= READERS_PER_HOST {
            readers.remove(0);
        }
        readers.push(reader);
    }
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
        let swept = Mutex::new(Instant::now());
        Ok(Self { config, control, hosts: Mutex::default(), connecting, swept })
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
        self.in_time(host, &line, deadline, self.attempt(host, &line, script)).await
    }

    /// Like [`run`](Self::run), for a script that changes nothing and will be run again: its session is kept, and asked
    /// anew by the next call with the same script. Nothing that one reading leaves in variables reaches the next.
    ///
    /// Line ends at the end of the standard output become one. A kept session that was found dead before it was asked is
    /// replaced once. Dropping the future ends the session.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn read(&self, host: &HostName, script: &str, deadline: Duration) -> Result<Output, SshError> {
        self.sweep();
        let line = self.line(host);
        self.in_time(host, &line, deadline, self.ask(host, &line, script)).await
    }

    /// Ends every connection and leaves no process behind.
    pub fn close_all(&self) {
        self.lines().clear();
        self.control.clear();
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<HostName, Arc<Line>>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the readers that nobody has asked for long. Looks seldom, since it looks at every host.
    fn sweep(&self) {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.elapsed() < READER_IDLE / 5 {
            return;
        }
        *swept = Instant::now();
        for line in self.lines().values() {
            line.readers().retain(|reader| reader.used().elapsed() < READER_IDLE);
        }
    }

    fn line(&self, host: &HostName) -> Arc<Line> {
        let mut hosts = self.lines();
        let line = hosts.entry(host.clone()).or_insert_with(|| {
            Arc::new(Line {
                folder: self.control.next_folder(),
                session: AsyncMutex::new(None),
                sessions: Arc::new(Semaphore::new(SESSIONS_PER_HOST)),
                readers: Mutex::default(),
            })
        });
        Arc::clone(line)
    }

    /// Gives up at the deadline.
    async fn in_time(
        &self,
        host: &HostName,
        line: &Line,
        deadline: Duration,
        attempt: impl Future<Output = Result<Output, SshError>>,
    ) -> Result<Output, SshError> {
        if let Ok(result) = timeout(deadline, attempt).await {
            return result;
        }
        // A frozen master answers nobody and never ends by itself, so it is ended here, by its own folder.
        self.hang_up(line).await;
        let detail = format!("no answer in {:.1} s", deadline.as_secs_f32());
        Err(SshError::TimedOut { host: host.clone(), detail })
    }

    async fn attempt(&self, host: &HostName, line: &Line, script: &str) -> Result<Output, SshError> {
        let (session, child, _permit) = self.open(host, line, script).await?;
        let output = child.wait_with_output().await.map(|output| Output {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
        self.conclude(host, line, &session, output).await
    }

    async fn ask(&self, host: &HostName, line: &Line, script: &str) -> Result<Output, SshError> {
        let nonce = reader::nonce();
        let mut waiting = line.take_reader(script);
        if let Some(reader) = &mut waiting
            && !reader.ask(&nonce).await
        {
            waiting = None;
        }
        let reader = match waiting {
            Some(reader) => reader,
            None => {
                let mut reader = self.reader(host, line, script).await?;
                // When it has ended already, its answer tells why.
                reader.ask(&nonce).await;
                reader
            }
        };
        let session = Arc::clone(reader.session());
        let answer = reader.answer(&nonce).await;
        let (output, reader) = self.conclude(host, line, &session, answer).await?;
        if let Some(reader) = reader {
            line.keep_reader(reader);
        }
        Ok(output)
    }

    async fn reader(&self, host: &HostName, line: &Line, script: &str) -> Result<Reader, SshError> {
        let (session, child, permit) = self.open(host, line, &reader::resident(script)).await?;
        let reader = Reader::new(script, Arc::clone(&session), child, permit);
        self.conclude(host, line, &session, reader).await
    }

    /// Begins a script in a session of the host's connection; the permit is to be held as long as the session.
    async fn open(
        &self,
        host: &HostName,
        line: &Line,
        script: &str,
    ) -> Result<(Arc<Session>, Child<Arc<Session>>, OwnedSemaphorePermit), SshError> {
        let permit = Arc::clone(&line.sessions).acquire_owned().await.map_err(|_| SshError::closed(host))?;
        let command = as_root(script);
        let (mut session, reused) = self.session(host, line).await?;
        let mut opened = patient_spawn(line, &session, &command).await;
        // The control socket is gone, so nothing was sent: the host rebooted, or the master left.
        if reused && matches!(opened, Err(openssh::Error::Disconnected)) {
            self.forget(line, &session).await;
            (session, _) = self.session(host, line).await?;
            opened = patient_spawn(line, &session, &command).await;
        }
        let child = self.conclude(host, line, &session, opened).await?;
        Ok((session, child, permit))
    }

    async fn conclude<T>(
        &self,
        host: &HostName,
        line: &Line,
        session: &Arc<Session>,
        result: Result<T, openssh::Error>,
    ) -> Result<T, SshError> {
        match result {
            Ok(result) => Ok(result),
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
        line.readers().clear();
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

/// Begins a command, and waits while sshd refuses another session: it allows fewer than we use, or has not yet noticed
/// that an earlier one ended. Nothing was sent then, and the connection is sound.
async fn patient_spawn(
    line: &Line,
    session: &Arc<Session>,
    command: &str,
) -> Result<Child<Arc<Session>>, openssh::Error> {
    let began = Instant::now();
    loop {
        match spawn(session, command).await {
            Err(error) if session_refused(&error) && began.elapsed() < SESSION_PATIENCE => {
                // What only waits to be asked makes room for what has something to do.
                line.readers().clear();
                tokio::time::sleep(SESSION_RETRY).await;
            }
            opened => return opened,
        }
    }
}

/// `/` belongs to root everywhere, so `-O /` tells without another process whether we are root.
fn as_root(script: &str) -> String {
    let script = crate::shell::quote(script);
    format!(r#"exec sh -c '[ -O / ] && exec sh -c "$0"; exec sudo -n -- sh -c "$0"' {script}"#)
}
