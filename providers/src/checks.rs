//! Checks over the network: a job behind an address ([`http`]), a pipeline of a GitLab project ([`gitlab`]).
//!
//! Both look for the job by its name first and begin it only when nobody has, so whoever asks again after a crash finds
//! it. What prevents asking is never the job's result: it is a failure of a kind that is asked again later.

pub mod gitlab;
pub mod http;

use std::time::Duration;

use jiff::SignedDuration;
use model::{CheckName, EnvironmentName, Failure, FailureKind, JobName, Outcome, StageName, Track, Version};
use tokio::time::{Instant, sleep_until};

use crate::http::{Answer, HttpError, one_line};
use crate::shell::{fill_word, last_lines};

/// No job needs longer, and clocks cannot count to everything that a file may say.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// So many of the last lines of a job's output are kept.
const LINES: usize = 20;

/// A check that is to be run once: its name, and the facts of the release that it tests.
#[derive(Clone, Copy, Debug)]
pub struct CheckJob<'a> {
    /// Its name, for ever.
    pub name: &'a JobName,
    /// In which environment.
    pub environment: &'a EnvironmentName,
    /// Which version is tested.
    pub version: &'a Version,
    /// Of which track.
    pub track: Track,
    /// After which stage.
    pub stage: &'a StageName,
    /// Which check.
    pub check: &'a CheckName,
    /// How long it may take, counted from when it was begun or found; then it has failed.
    pub timeout: SignedDuration,
}

impl CheckJob<'_> {
    /// Replaces `{environment}`, `{version}`, `{track}` and `{stage}`; `value` says how a value is written.
    fn fill(&self, text: &str, value: fn(&str) -> String) -> String {
        let track = self.track.to_string();
        let filled = [
            ("environment", value(self.environment.as_str())),
            ("version", value(self.version.as_str())),
            ("track", value(&track)),
            ("stage", value(self.stage.as_str())),
        ];
        fill_word(text, &filled.each_ref().map(|(name, value)| (*name, value.as_str())))
    }

    /// When it is too late.
    fn end(&self) -> Instant {
        Instant::now() + self.timeout.try_into().unwrap_or(Duration::ZERO).min(LONGEST)
    }
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is under way; how, for people.
    Running(String),
    /// It succeeded; its last words.
    Passed(String),
    /// It ended otherwise: how, and its last words.
    Failed(String, String),
}

impl Standing {
    /// Whether it succeeded; none while it runs.
    pub(crate) fn ended(&self) -> Option<bool> {
        match self {
            Self::Running(_) => None,
            Self::Passed(_) => Some(true),
            Self::Failed(..) => Some(false),
        }
    }
}

/// A job that can be asked how it stands.
trait Begun {
    /// Asks once.
    fn ask(&self) -> impl Future<Output = Result<Standing, Failure>> + Send;
}

/// Waits until a job ends or its time is over.
async fn wait(job: &CheckJob<'_>, begun: &impl Begun, every: Duration) -> Result<Outcome, Failure> {
    let end = job.end();
    let failed = |what: String, detail: String| {
        let what = format!("check {} after stage {}: {}", job.check, job.stage, one_line(&what));
        Err(Failure { kind: FailureKind::JobFailed, what, detail })
    };
    loop {
        match begun.ask().await? {
            Standing::Passed(words) => return Ok(Outcome::Changed(words)),
            Standing::Failed(how, words) => return failed(how, words),
            Standing::Running(how) if Instant::now() >= end => {
                return failed(format!("did not end within {:#}: {how}", job.timeout), String::new());
            }
            Standing::Running(_) => sleep_until(end.min(Instant::now() + every)).await,
        }
    }
}

/// The last lines of an output, and where more of it is; either may be missing.
fn last_words(output: &str, link: &str) -> String {
    let lines = last_lines(output, LINES);
    let parts = [lines.as_str(), link].into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("\n")
}

/// A failure that says nothing about the job: it is asked again later.
fn later(what: &str) -> Failure {
    Failure { kind: FailureKind::Unreachable, what: one_line(what), detail: String::new() }
}

/// No answer is never a result.
fn unanswered(error: &HttpError) -> Failure {
    let timed_out = matches!(error, HttpError::TimedOut { .. });
    let kind = if timed_out { FailureKind::TimedOut } else { FailureKind::Unreachable };
    Failure { kind, what: one_line(&error.words()), detail: String::new() }
}

/// A job that we know to have begun is not known there any more: nobody can tell how it ended.
fn forgotten(job: &CheckJob<'_>, answer: &Answer) -> Failure {
    let what =
        format!("{}: {}: {} was begun and is not known any more", answer.asked, answer.status, job.name);
    Failure { kind: FailureKind::InDoubt, what: one_line(&what), detail: String::new() }
}

/// An answer that is read as JSON.
fn read<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, Failure> {
    serde_json::from_str(&answer.body)
        .map_err(|error| later(&format!("{}: the answer cannot be read: {error}", answer.asked)))
}
