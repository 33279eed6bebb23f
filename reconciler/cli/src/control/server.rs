//! Answers on the control socket while the service runs.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::{Handle, Request, Word};
use model::EnvironmentName;
use rustix::fs::Mode;
use rustix::process::umask;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Answer, Ask, CONTROL_FORMAT, Content, MAX_REQUEST_BYTES, Question};

/// Whoever connects and then says nothing is let go after this.
const PATIENCE: Duration = Duration::from_secs(10);

/// The open socket. Its file is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl ControlSocket {
    /// Opens the socket with mode 0600, in place of one that a dead service left. The caller holds the state
    /// directory, so no living one is there. Called before other threads make files: the mask is the process's.
    ///
    /// # Errors
    /// The path cannot be made: too long, or no right to write there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let before = umask(Mode::from_raw_mode(0o177));
        let bound = UnixListener::bind(path);
        umask(before);
        Ok(Self { path: path.to_owned(), listener: bound? })
    }

    /// Answers until it is dropped. Every connection has a task of its own: none holds up another.
    pub(crate) async fn serve(self, handle: Handle) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(converse(stream, handle.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "the control socket takes no connection");
                    // Out of file descriptors, most likely: some are given back soon.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn converse(stream: UnixStream, handle: Handle) {
    if let Err(error) = answer_one(stream, &handle).await {
        tracing::debug!(%error, "a control connection ended early");
    }
}

async fn answer_one(stream: UnixStream, handle: &Handle) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut line = String::new();
    let mut lines = BufReader::new(reading.take(MAX_REQUEST_BYTES));
    timeout(PATIENCE, lines.read_line(&mut line)).await??;
    let content = match serde_json::from_str::<Ask>(&line) {
        Err(error) => Content::Refused { why: format!("the request is not understood: {error}") },
        Ok(Ask { format, .. }) if format > CONTROL_FORMAT => Content::Refused {
            why: format!(
                "request format {format} is newer than this service, which knows up to {CONTROL_FORMAT}"
            ),
        },
        Ok(Ask { question, .. }) => answer(question, handle).await,
    };
    let answer = serde_json::to_string(&Answer { format: CONTROL_FORMAT, content })?;
    timeout(PATIENCE, writing.write_all(format!("{answer}\n").as_bytes())).await?
}

async fn answer(question: Question, handle: &Handle) -> Content {
    match question {
        Question::Report => match request(handle, |reply| Request::Report { reply }).await {
            Some(report) => Content::Report { report: Box::new(report) },
            None => stopping(),
        },
        Question::Retry { environment, by, reason } => {
            say(handle, Word::Retry, environment, by, reason).await
        }
        Question::Pause { environment, lasts, by, reason } => {
            say(handle, Word::Pause { lasts }, environment, by, reason).await
        }
        Question::Resume { environment, by, reason } => {
            say(handle, Word::Resume, environment, by, reason).await
        }
        Question::Verify { environment, track, version, by, reason } => {
            say(handle, Word::Verify { track, version }, environment, by, reason).await
        }
        Question::Adopt { environment, by, reason } => {
            say(handle, Word::Adopt, environment, by, reason).await
        }
        Question::AcceptHistory { commit, by, reason } => {
            done(request(handle, |reply| Request::AcceptHistory { commit, by, reason, reply }).await)
        }
    }
}

async fn say(
    handle: &Handle,
    word: Word,
    environment: EnvironmentName,
    by: String,
    reason: String,
) -> Content {
    done(request(handle, |reply| Request::Say { environment, word, by, reason, reply }).await)
}

/// Asks the service loop. None: it has ended.
pub(crate) async fn request<T>(
    handle: &Handle,
    make: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    handle.requests.send(make(reply)).await.ok()?;
    answer.await.ok()
}

fn done(result: Option<Result<(), String>>) -> Content {
    match result {
        Some(Ok(())) => Content::Done,
        Some(Err(why)) => Content::Refused { why },
        None => stopping(),
    }
}

fn stopping() -> Content {
    Content::Refused { why: "the service is stopping".to_owned() }
}
