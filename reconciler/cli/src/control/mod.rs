//! The control socket: one request line, one answer line, both JSON.
//!
//! The socket's mode is 0600: whoever may open it is the service's user or root, and may ask everything.

mod client;
mod server;

use engine::{Report, Word};
use jiff::SignedDuration;
use model::{CommitId, EnvironmentName, Track, Version};
use serde::{Deserialize, Serialize};

pub(crate) use client::{Unanswered, ask};
pub(crate) use server::{ControlSocket, request};

/// The form of [`Ask`] and [`Answer`]; grows when a field changes its meaning.
pub const CONTROL_FORMAT: u32 = 1;

/// No request is longer; a reason in words is the longest part.
const MAX_REQUEST_BYTES: u64 = 64 * 1024;

/// A request line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// [`CONTROL_FORMAT`].
    pub format: u32,
    /// What.
    #[serde(flatten)]
    pub question: Question,
}

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "request")]
pub enum Question {
    /// How does everything stand?
    Report,
    /// Try again what failed or halted.
    Retry {
        /// Where.
        environment: EnvironmentName,
        /// Who asks.
        by: String,
        /// Why.
        reason: String,
    },
    /// Start nothing new for a time.
    Pause {
        /// Where.
        environment: EnvironmentName,
        /// At most this long.
        lasts: SignedDuration,
        /// Who asks.
        by: String,
        /// Why.
        reason: String,
    },
    /// A pause ends.
    Resume {
        /// Where.
        environment: EnvironmentName,
        /// Who asks.
        by: String,
        /// Why.
        reason: String,
    },
    /// A version counts as passed.
    Verify {
        /// Where.
        environment: EnvironmentName,
        /// On which track.
        track: Track,
        /// Which.
        version: Version,
        /// Who takes responsibility.
        by: String,
        /// Why.
        reason: String,
    },
    /// Take the fleet as it was found.
    Adopt {
        /// Where.
        environment: EnvironmentName,
        /// Who takes responsibility.
        by: String,
        /// Why.
        reason: String,
    },
    /// Take a history that does not descend from the accepted commit.
    AcceptHistory {
        /// Its head.
        commit: CommitId,
        /// Who takes responsibility.
        by: String,
        /// Why.
        reason: String,
    },
}

impl Question {
    /// A person's word about an environment.
    pub fn of(word: Word, environment: EnvironmentName, by: String, reason: &str) -> Self {
        let reason = reason.to_owned();
        match word {
            Word::Retry => Self::Retry { environment, by, reason },
            Word::Pause { lasts } => Self::Pause { environment, lasts, by, reason },
            Word::Resume => Self::Resume { environment, by, reason },
            Word::Verify { track, version } => Self::Verify { environment, track, version, by, reason },
            Word::Adopt => Self::Adopt { environment, by, reason },
        }
    }
}

/// An answer line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// [`CONTROL_FORMAT`].
    pub format: u32,
    /// What.
    #[serde(flatten)]
    pub content: Content,
}

/// What may be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum Content {
    /// How everything stands.
    Report {
        /// The service at one moment.
        report: Box<Report>,
    },
    /// It was done.
    Done,
    /// It was not done.
    Refused {
        /// Why.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_flat_object_that_names_its_format() {
        let question =
            Question::Retry { environment: "production".into(), by: "ada".into(), reason: "mended".into() };
        let line = serde_json::to_string(&Ask { format: CONTROL_FORMAT, question }).unwrap();
        insta::assert_snapshot!(line, @r#"{"format":1,"request":"retry","environment":"production","by":"ada","reason":"mended"}"#);
    }

    #[test]
    fn a_pause_names_its_length_and_a_version_its_track() {
        let line = |word: Word| {
            let question = Question::of(word, "production".into(), "ada".into(), "because");
            serde_json::to_string(&Ask { format: CONTROL_FORMAT, question }).unwrap()
        };
        let pause = line(Word::Pause { lasts: SignedDuration::from_mins(90) });
        insta::assert_snapshot!(pause, @r#"{"format":1,"request":"pause","environment":"production","lasts":"PT1H30M","by":"ada","reason":"because"}"#);
        let version = Version::parse("16.5.0").unwrap();
        let verify = line(Word::Verify { track: Track::Canary, version });
        insta::assert_snapshot!(verify, @r#"{"format":1,"request":"verify","environment":"production","track":"canary","version":"16.5.0","by":"ada","reason":"because"}"#);
    }

    #[test]
    fn an_answer_is_one_flat_object_too() {
        let content = Content::Refused { why: "no".into() };
        let line = serde_json::to_string(&Answer { format: CONTROL_FORMAT, content }).unwrap();
        insta::assert_snapshot!(line, @r#"{"format":1,"answer":"refused","why":"no"}"#);
    }
}
