//! What ssh says when it does not work, and what that means.

use model::{Failure, FailureKind, HostName, Unknown, UnknownKind};

/// Why a host did not carry out a script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SshError {
    /// No connection, or it broke.
    #[error("{host} is unreachable: {detail}")]
    Unreachable {
        /// Which host.
        host: HostName,
        /// ssh's words.
        detail: String,
    },
    /// It took the connection and did not answer in time.
    #[error("{host} does not answer: {detail}")]
    TimedOut {
        /// Which host.
        host: HostName,
        /// How long we waited.
        detail: String,
    },
    /// It refused our key.
    #[error("{host} refuses our ssh key: {detail}")]
    KeyRefused {
        /// Which host.
        host: HostName,
        /// ssh's words.
        detail: String,
    },
    /// Its host key is not the one we know, or we know none.
    #[error("{host} shows a host key that we do not know: {detail}")]
    HostKeyChanged {
        /// Which host.
        host: HostName,
        /// ssh's words.
        detail: String,
    },
    /// The shell, or `sudo` for a user who is not root, is missing there.
    #[error("{host} cannot run our script: {detail}")]
    NoSuchCommand {
        /// Which host.
        host: HostName,
        /// What is missing.
        detail: String,
    },
}

impl SshError {
    pub(super) fn closed(host: &HostName) -> Self {
        Self::Unreachable { host: host.clone(), detail: "the service is going down".to_owned() }
    }

    /// As a fact.
    pub fn to_unknown(&self) -> Unknown {
        let (kind, detail) = match self {
            Self::Unreachable { detail, .. } => (UnknownKind::Unreachable, detail),
            Self::TimedOut { detail, .. } => (UnknownKind::TimedOut, detail),
            Self::KeyRefused { detail, .. } => (UnknownKind::KeyRefused, detail),
            Self::HostKeyChanged { detail, .. } => (UnknownKind::HostKeyChanged, detail),
            Self::NoSuchCommand { detail, .. } => (UnknownKind::Unreadable, detail),
        };
        Unknown { kind, detail: detail.clone() }
    }

    /// As an action's failure.
    pub fn to_failure(&self) -> Failure {
        let kind = match self {
            Self::Unreachable { .. } => FailureKind::Unreachable,
            Self::TimedOut { .. } => FailureKind::TimedOut,
            Self::KeyRefused { .. } => FailureKind::KeyRefused,
            Self::HostKeyChanged { .. } => FailureKind::HostKeyChanged,
            Self::NoSuchCommand { .. } => FailureKind::CommandFailed,
        };
        Failure { kind, what: self.to_string(), detail: String::new() }
    }
}

/// An error with its causes, in one line each.
pub(super) fn words(error: &openssh::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        // ssh's own words are the innermost cause; what stands around them says nothing more.
        text = cause.to_string();
        source = cause.source();
    }
    text
}

/// What a failed connection means, by ssh's own words.
pub(super) fn classify_connect(host: &HostName, words: &str) -> SshError {
    let has = |text: &str| words.contains(text);
    let detail = telling_line(words);
    let host = host.clone();
    if has("HOST IDENTIFICATION HAS CHANGED") || has("Host key verification failed") {
        SshError::HostKeyChanged { host, detail }
    } else if has("Permission denied (") || has("Too many authentication failures") {
        SshError::KeyRefused { host, detail }
    } else if has("during banner exchange") && has("timed out") {
        SshError::TimedOut { host, detail }
    } else {
        SshError::Unreachable { host, detail }
    }
}

/// What a command's failure means for the connection.
pub(super) fn classify_command(host: &HostName, error: &openssh::Error) -> SshError {
    let host = host.clone();
    match error {
        openssh::Error::Remote(_) => {
            SshError::NoSuchCommand { host, detail: "sh or sudo was not found there".to_owned() }
        }
        openssh::Error::Disconnected | openssh::Error::RemoteProcessTerminated => {
            SshError::Unreachable { host, detail: "the connection broke".to_owned() }
        }
        other => SshError::Unreachable { host, detail: telling_line(&words(other)) },
    }
}

/// sshd did not open a session on a sound connection (`MaxSessions`). The words are those of ssh's own master.
pub(super) fn session_refused(error: &openssh::Error) -> bool {
    words(error).contains("Session open refused by peer")
}

/// The one line of ssh's output that tells a person most.
fn telling_line(words: &str) -> String {
    let lines = || words.lines().map(str::trim).filter(|line| !line.is_empty());
    let telling = ["host key is known", "host key for", "Permission denied (", "Offending"];
    telling
        .iter()
        .find_map(|text| lines().find(|line| line.contains(text)))
        .or_else(|| lines().next_back())
        .unwrap_or("ssh gave no reason")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(words: &str) -> UnknownKind {
        classify_connect(&HostName::from("web-1"), words).to_unknown().kind
    }

    #[test]
    fn sshs_words_are_told_apart() {
        let recorded = [
            ("root@127.0.0.2: Permission denied (publickey).", UnknownKind::KeyRefused),
            ("Received disconnect: Too many authentication failures", UnknownKind::KeyRefused),
            (
                "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\nHost key verification failed.",
                UnknownKind::HostKeyChanged,
            ),
            (
                "No ED25519 host key is known for [127.0.0.3]:2222 and you have requested strict checking.\r\nHost key verification failed.",
                UnknownKind::HostKeyChanged,
            ),
            ("connect to host 127.0.0.1 port 1: Connection refused", UnknownKind::Unreachable),
            ("Could not resolve hostname web-77: Name or service not known", UnknownKind::Unreachable),
            ("connect to host 10.0.0.1 port 22: Connection timed out", UnknownKind::Unreachable),
            ("connect to host 10.0.0.1 port 22: No route to host", UnknownKind::Unreachable),
            ("Connection timed out during banner exchange", UnknownKind::TimedOut),
            ("kex_exchange_identification: Connection closed by remote host", UnknownKind::Unreachable),
            ("", UnknownKind::Unreachable),
        ];
        for (words, expected) in recorded {
            assert_eq!(kind(words), expected, "{words}");
        }
    }

    #[test]
    fn the_detail_is_the_line_that_tells_most() {
        let words = "No ED25519 host key is known for x and you have requested strict checking.\r\nHost key verification failed.";
        let detail = classify_connect(&HostName::from("x"), words).to_unknown().detail;
        assert!(detail.starts_with("No ED25519 host key is known"), "{detail}");
    }
}
