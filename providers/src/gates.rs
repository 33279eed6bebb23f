//! Gates: one reading of a condition on the outside world, by Alertmanager or by Prometheus.

pub(crate) mod alertmanager;
pub(crate) mod prometheus;

use jiff::Timestamp;
use model::{Gate, GateQuestion, GateState, Verdict};
use reqwest::StatusCode;

use crate::http::{Answer, Http, HttpError, one_line};

/// What one reading says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) verdict: Verdict,
    pub(crate) value: String,
}

/// Why a gate could not be judged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GateError {
    /// No answer.
    #[error("{}", .0.words())]
    Http(#[from] HttpError),
    /// An answer, but not the one we need.
    #[error("{asked}: {status}: {words}")]
    Refused { asked: String, status: StatusCode, words: String },
    /// It cannot be read.
    #[error("the answer cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// It can be read, and has no single number in it.
    #[error("{0}")]
    NotOneNumber(String),
}

/// Asks a gate once. `at` is when the reading began; it becomes the reading's `since`.
///
/// Never fails: what stands in the way is the verdict [`Verdict::Error`] with its words. Whether no data counts as
/// green, and for how long the gate must have been green, is for others to judge.
pub async fn ask(http: &Http, gate: &Gate, at: Timestamp) -> GateState {
    let said = match &gate.asks {
        GateQuestion::Alertmanager { url, matchers, heartbeat } => {
            alertmanager::ask(http, url, matchers, heartbeat.as_deref()).await
        }
        GateQuestion::Prometheus { url, query, threshold } => {
            prometheus::ask(http, url, query, *threshold).await
        }
    };
    let said = said.unwrap_or_else(|error| Said { verdict: Verdict::Error, value: error.to_string() });
    GateState { verdict: said.verdict, value: one_line(&said.value), since: at }
}

/// The answer's text when its status is 200, else the error with the server's own words in it.
fn accepted(answer: Answer, own_words: fn(&str) -> Option<String>) -> Result<String, GateError> {
    let Answer { asked, status, body } = answer;
    if status == StatusCode::OK {
        return Ok(body);
    }
    let words = own_words(&body).unwrap_or(body);
    Err(GateError::Refused { asked, status, words })
}
