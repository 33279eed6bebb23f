//! A check behind an address. This is the contract that the other side keeps:
//!
//! A job is the resource `{url}/{name}`. Its name has letters, digits, `.`, `-` and `_`, is the same in every life of
//! the service, and no two jobs share one: each attempt at a check of a version after a stage has its own.
//!
//! - `GET {url}/{name}` answers `404` while nobody has begun the job.
//! - `PUT {url}/{name}` begins it, and answers `200`, `201` or `202`. Its body is JSON:
//!   `{"name": "…", "environment": "production", "version": "16.5.0", "track": "canary", "stage": "canary fleet",
//!   "check": "qa"}`. A second `PUT` of the same name must be harmless: it begins nothing and answers the same.
//! - From then on `GET {url}/{name}` answers `200` with JSON: `{"state": "running"}`, and at the end `"passed"` or
//!   `"failed"` in its place, with two texts that may be absent: `"output"`, whose last 20 lines are kept, and `"link"`,
//!   where people find more. The answer stays available as long as anybody may ask.
//!
//! The job is asked after every 2 s, until it ends or its time is over; each request must be answered within 5 s.
//! Nothing is ever cancelled. Any other answer, and none, says nothing about the job: the same is asked again later.
//! `404` after the job was begun makes the job doubtful, and a person decides.

use std::time::Duration;

use model::{Failure, Outcome};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::json;

use super::{Begun, CheckJob, Standing, forgotten, last_words, later, read, unanswered, wait};
use crate::http::{Answer, Http, below, one_line};

const EVERY: Duration = Duration::from_secs(2);

/// What the other side says of a job.
#[derive(Deserialize)]
struct Report {
    state: State,
    #[serde(default)]
    output: Option<String>,
    #[serde(default)]
    link: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Running,
    Passed,
    Failed,
}

/// A job that was begun.
struct Resource<'a> {
    http: &'a Http,
    job: &'a CheckJob<'a>,
    url: Url,
}

/// Begins a check, or finds it by its name when it was begun before, and waits for its end. Placeholders in the address
/// are filled here. Dropping the future leaves the job running.
///
/// # Errors
/// `JobFailed` when the job failed or did not end in time; `InDoubt` when it was begun and is not known any more;
/// `Unreachable` or `TimedOut` when there was no answer that this contract knows: ask again later.
pub async fn run(http: &Http, url: &str, job: &CheckJob<'_>) -> Result<Outcome, Failure> {
    let base = job.fill(url, encoded);
    let url = below(&base, &[job.name.as_str()]).map_err(|error| unanswered(&error))?;
    let resource = Resource { http, job, url };
    if resource.get().await?.status == StatusCode::NOT_FOUND {
        resource.put().await?;
    }
    wait(job, &resource, EVERY).await
}

impl Resource<'_> {
    async fn get(&self) -> Result<Answer, Failure> {
        let request = self.http.request(Method::GET, self.url.clone());
        self.http.send(request).await.map_err(|error| unanswered(&error))
    }

    async fn put(&self) -> Result<(), Failure> {
        let CheckJob { name, environment, version, track, stage, check, timeout: _ } = self.job;
        let body = json!({
            "name": name, "environment": environment, "version": version,
            "track": track.to_string(), "stage": stage, "check": check,
        });
        let request = self.http.request(Method::PUT, self.url.clone()).json(&body);
        let answer = self.http.send(request).await.map_err(|error| unanswered(&error))?;
        match answer.status {
            StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED => Ok(()),
            _ => Err(unexpected(&answer)),
        }
    }
}

impl Begun for Resource<'_> {
    async fn ask(&self) -> Result<Standing, Failure> {
        let answer = self.get().await?;
        match answer.status {
            StatusCode::OK => Ok(standing(read(&answer)?)),
            StatusCode::NOT_FOUND => Err(forgotten(self.job, &answer)),
            _ => Err(unexpected(&answer)),
        }
    }
}

fn unexpected(answer: &Answer) -> Failure {
    later(&format!("{}: {}: {}", answer.asked, answer.status, one_line(&answer.body)))
}

/// How a job stands, by the answer of its server.
pub(crate) fn read_standing(body: &str) -> Result<Standing, String> {
    serde_json::from_str(body).map(standing).map_err(|error| error.to_string())
}

fn standing(report: Report) -> Standing {
    let link = report.link.unwrap_or_default();
    let words = last_words(&report.output.unwrap_or_default(), &link);
    match report.state {
        State::Running if link.is_empty() => Standing::Running("it is still running".to_owned()),
        State::Running => Standing::Running(format!("it is still running: {link}")),
        State::Passed if words.is_empty() => Standing::Passed("passed".to_owned()),
        State::Passed => Standing::Passed(words),
        State::Failed => Standing::Failed("failed".to_owned(), words),
    }
}

/// A value as it may stand anywhere in an address.
fn encoded(value: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    value.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_leave_its_place_in_an_address() {
        assert_eq!(encoded("canary fleet/../?#1.0~rc+1"), "canary%20fleet%2F..%2F%3F%231.0~rc%2B1");
    }

    #[test]
    fn a_passed_job_leaves_its_last_lines_and_its_link() {
        let passed = r#"{"state":"passed","output":"one\ntwo\n","link":"http://qa/7"}"#;
        let said = |text: &str| standing(serde_json::from_str(text).unwrap());
        assert_eq!(said(passed), Standing::Passed("one\ntwo\nhttp://qa/7".to_owned()));
        assert_eq!(said(r#"{"state":"passed"}"#), Standing::Passed("passed".to_owned()));
        assert!(
            serde_json::from_str::<Report>(r#"{"state":"green"}"#).is_err(),
            "an unknown state is no result"
        );
    }
}
