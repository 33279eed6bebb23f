//! A resident reader: one session that runs the same script again each time it is asked. A session of its own for every
//! reading costs a host as much processor time as a third of the reading itself.
//!
//! It is asked by a line with a word that nobody can guess, and marks the end of its answer by the same word, so nothing
//! that a reading prints can be taken for its end. When its standard input ends, because the service, its ssh or the
//! connection is gone, it ends too.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Instant;

use openssh::{Child, ChildStderr, ChildStdin, ChildStdout, Error, Session, Stdio};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::OwnedSemaphorePermit;

use super::Output;

/// A session that waits to be asked.
#[derive(Debug)]
pub(super) struct Reader {
    script: String,
    session: Arc<Session>,
    child: Child<Arc<Session>>,
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
    used: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    /// Takes over a session that runs [`resident`] of `script`, with all three streams piped.
    pub(super) fn new(
        script: &str,
        session: Arc<Session>,
        mut child: Child<Arc<Session>>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, Error> {
        let unpiped = || Error::ChildIo(std::io::ErrorKind::BrokenPipe.into());
        Ok(Self {
            script: script.to_owned(),
            stdin: child.stdin().take().ok_or_else(unpiped)?,
            stdout: child.stdout().take().ok_or_else(unpiped)?,
            stderr: child.stderr().take().ok_or_else(unpiped)?,
            session,
            child,
            used: Instant::now(),
            _permit: permit,
        })
    }

    pub(super) fn runs(&self, script: &str) -> bool {
        self.script == script
    }

    pub(super) fn used(&self) -> Instant {
        self.used
    }

    pub(super) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Asks for one reading. False: the session was gone already, and nothing was sent.
    pub(super) async fn ask(&mut self, nonce: &str) -> bool {
        self.used = Instant::now();
        self.stdin.write_all(format!("{nonce}\n").as_bytes()).await.is_ok()
    }

    /// Waits for the answer to the question with this nonce, and gives the reader back for the next one. None: the reader
    /// itself has ended, and the output is its own status and last words.
    ///
    /// # Errors
    /// The connection broke, or the shell was killed.
    pub(super) async fn answer(mut self, nonce: &str) -> Result<(Output, Option<Self>), Error> {
        let mark = format!("\n@@{nonce} ");
        let (stdout, stderr) = tokio::try_join!(
            read_to(&mut self.stdout, mark.as_bytes()),
            read_to(&mut self.stderr, mark.as_bytes())
        )?;
        let output = |status| Output { status, stdout: stdout.text, stderr: stderr.text };
        if let (Some(status), Some(_)) = (stdout.status, stderr.status) {
            return Ok((output(status), Some(self)));
        }
        let ended = self.child.wait().await?;
        Ok((output(ended.code().unwrap_or(-1)), None))
    }
}

/// Begins a command in a session whose three streams are pipes to us.
pub(super) async fn spawn(session: &Arc<Session>, command: &str) -> Result<Child<Arc<Session>>, Error> {
    let mut command = Arc::clone(session).arc_raw_command(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().await
}

/// A word that no program on a host can know before it is sent.
pub(super) fn nonce() -> String {
    // Each state is seeded anew from the system's random numbers.
    let word = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", word(), word())
}

/// The script that waits for questions and answers each by a reading. A reading runs in a shell of its own, so that no
/// variable survives it, without the nonce, and with a pipe of its own for its output: what it leaves behind in the
/// background cannot write into a later one.
pub(super) fn resident(script: &str) -> String {
    format!("look() {{\n{script}\n}}\n{}", include_str!("reader.sh"))
}

/// What was read, and the status that the mark told; none: the stream ended without the mark.
struct Told {
    text: String,
    status: Option<i32>,
}

async fn read_to(stream: &mut (impl AsyncRead + Unpin), mark: &[u8]) -> Result<Told, Error> {
    let mut bytes = Vec::with_capacity(8192);
    loop {
        let seen = bytes.len().saturating_sub(mark.len() + 8);
        let more = stream.read_buf(&mut bytes).await.map_err(Error::ChildIo)?;
        if let Some((length, status)) = marked(&bytes, seen, mark) {
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            return Ok(Told { text, status: Some(status) });
        }
        if more == 0 {
            return Ok(Told { text: String::from_utf8_lossy(&bytes).into_owned(), status: None });
        }
    }
}

/// Where the mark begins, looked for from `from` on, and the status that stands in its line once that is complete.
fn marked(bytes: &[u8], from: usize, mark: &[u8]) -> Option<(usize, i32)> {
    let at = from + bytes.get(from..)?.windows(mark.len()).position(|window| window == mark)?;
    let rest = &bytes[at + mark.len()..];
    let line = &rest[..rest.iter().position(|byte| *byte == b'\n')?];
    Some((at, std::str::from_utf8(line).ok()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_mark_is_found_wherever_its_bytes_are_parted() {
        let text = b"one\n@@other 0\n\n@@word 13\nlater";
        for cut in 1..text.len() {
            let mut stream = text[..cut].chain(&text[cut..]);
            let told = read_to(&mut stream, b"\n@@word ").await.unwrap();
            assert_eq!((told.text.as_str(), told.status), ("one\n@@other 0\n", Some(13)), "{cut}");
        }
        let told = read_to(&mut &text[..24], b"\n@@word ").await.unwrap();
        assert_eq!(told.status, None, "cut off within the mark's line");
    }

    #[test]
    fn no_two_questions_share_a_word() {
        assert_ne!(nonce(), nonce());
    }
}
