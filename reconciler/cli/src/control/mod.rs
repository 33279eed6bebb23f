//! The control socket: one request line, one answer line, both JSON.
//!
//! The socket's mode is 0600: whoever may open it is the service's user or root, and may ask everything.

mod client;
mod server;

use engine::Report;
use model::{CommitId, EnvironmentName};
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
    fn an_answer_is_one_flat_object_too() {
        let content = Content::Refused { why: "no".into() };
        let line = serde_json::to_string(&Answer { format: CONTROL_FORMAT, content }).unwrap();
        insta::assert_snapshot!(line, @r#"{"format":1,"answer":"refused","why":"no"}"#);
    }
}
