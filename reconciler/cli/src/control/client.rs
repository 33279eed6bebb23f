//! Asks a running service.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{Answer, Ask, CONTROL_FORMAT, Content, Question};

/// The service answers between two passes; only a new history that has to be fetched takes long.
const PATIENCE: Duration = Duration::from_secs(90);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// No service listens there.
    #[error("no service listens on {}", path.display())]
    NoService { path: PathBuf },
    /// The socket is not ours to open.
    #[error("not allowed to ask the service at {}", path.display())]
    NotAllowed { path: PathBuf },
    /// It listens and cannot be understood.
    #[error("the service at {} did not answer", path.display())]
    Broken {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Asks one question.
pub(crate) async fn ask(socket: &Path, question: Question) -> Result<Content, Unanswered> {
    let path = || socket.to_owned();
    let stream = UnixStream::connect(socket).await.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Unanswered::NoService { path: path() },
        io::ErrorKind::PermissionDenied => Unanswered::NotAllowed { path: path() },
        _ => Unanswered::Broken { path: path(), source },
    })?;
    let answered = timeout(PATIENCE, exchange(stream, question)).await;
    let answered = answered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    answered.map_err(|source| Unanswered::Broken { path: path(), source })
}

async fn exchange(stream: UnixStream, question: Question) -> io::Result<Content> {
    let (reading, mut writing) = stream.into_split();
    let line = serde_json::to_string(&Ask { format: CONTROL_FORMAT, question })?;
    writing.write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(reading).read_line(&mut answer).await?;
    let Answer { format, content } = serde_json::from_str(&answer)?;
    if format > CONTROL_FORMAT {
        let newer = format!("it answers in format {format}, and this program knows up to {CONTROL_FORMAT}");
        return Err(io::Error::new(io::ErrorKind::Unsupported, newer));
    }
    Ok(content)
}
