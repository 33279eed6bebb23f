//! Checks over the network: a job behind an address, a GitLab pipeline. Both sides really talk HTTP.
#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

#[path = "loopback/api.rs"]
mod api;
#[path = "loopback/gitlab.rs"]
mod gitlab_server;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use api::Request;
use gitlab_server::{GitlabServer, TOKEN};
use jiff::SignedDuration;
use model::{
    CheckName, EnvironmentName, Failure, FailureKind, JobKey, JobKind, JobName, Outcome, StageName, Track,
    Version,
};
use providers::checks::gitlab::{Gitlab, Pipeline};
use providers::checks::{CheckJob, gitlab, http};
use providers::http::Http;
use serde_json::{Value, json};

const NAME: &str = "job.production.check.qa.canary_20_fleet.16_2e_5.1";

/// The facts of one check.
struct Release {
    name: JobName,
    environment: EnvironmentName,
    version: Version,
    stage: StageName,
    check: CheckName,
    timeout: SignedDuration,
}

impl Release {
    fn new(timeout_s: i64) -> Self {
        let (stage, check) = (StageName::from("canary fleet"), CheckName::from("qa"));
        let (environment, version) = (EnvironmentName::from("production"), Version::parse("16.5").unwrap());
        let kind = JobKind::Check { stage: stage.clone(), check: check.clone() };
        let name = JobName::new(&environment, &JobKey { kind, version: version.clone() }, 1);
        Self { name, environment, version, stage, check, timeout: SignedDuration::from_secs(timeout_s) }
    }

    fn job(&self) -> CheckJob<'_> {
        let Self { name, environment, version, stage, check, timeout } = self;
        CheckJob { name, environment, version, track: Track::Canary, stage, check, timeout: *timeout }
    }
}

/// The other side of the contract, steered by the test.
#[derive(Clone)]
struct JobServer {
    url: String,
    jobs: Arc<Mutex<Jobs>>,
}

#[derive(Default)]
struct Jobs {
    /// Bodies of every `PUT`.
    begun: Vec<Value>,
    /// What `GET` answers, by path.
    told: BTreeMap<String, Value>,
    /// What a new job answers.
    first: Value,
    /// Answered to everything.
    broken: Option<u16>,
}

impl JobServer {
    fn start(first: Value) -> Self {
        let jobs = Arc::new(Mutex::new(Jobs { first, ..Jobs::default() }));
        let shared = Arc::clone(&jobs);
        let url = api::serve(move |request| shared.lock().unwrap().answer(request));
        Self { url, jobs }
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap()
    }

    async fn check(&self, timeout_s: i64) -> Result<Outcome, Failure> {
        let url = format!("{}/{{track}}/{{stage}}/", self.url);
        http::run(&Http::new().unwrap(), &url, &Release::new(timeout_s).job()).await
    }

    fn path() -> String {
        format!("/canary/canary%20fleet/{NAME}")
    }
}

impl Jobs {
    fn answer(&mut self, request: &Request) -> (u16, Value) {
        if let Some(status) = self.broken {
            return (status, json!("out of order"));
        }
        if request.method == "PUT" {
            self.begun.push(request.body.clone());
            let first = self.first.clone();
            self.told.entry(request.target.clone()).or_insert(first);
            return (201, json!({}));
        }
        self.told.get(&request.target).map_or((404, json!({})), |told| (200, told.clone()))
    }
}

/// Lets a check run until something is so, then ends it as a killed service would.
async fn crash_once<F>(check: F, so: impl Fn() -> bool)
where
    F: Future<Output = Result<Outcome, Failure>> + Send + 'static,
{
    let running = tokio::spawn(check);
    while !so() {
        assert!(!running.is_finished(), "{:?}", running.await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.abort();
}

#[tokio::test]
async fn a_job_is_begun_with_its_facts_and_its_end_is_waited_for() {
    let server = JobServer::start(json!({ "state": "running" }));
    let (other, check) = (server.clone(), server.check(60));
    let end = async {
        while other.jobs().begun.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let passed = json!({ "state": "passed", "output": "42 tests\nall well\n", "link": "http://qa/42" });
        other.jobs().told.insert(JobServer::path(), passed);
    };
    let (outcome, ()) = tokio::join!(check, end);
    assert_eq!(outcome, Ok(Outcome::Changed("42 tests\nall well\nhttp://qa/42".to_owned())));
    let facts = json!({
        "name": NAME, "environment": "production", "version": "16.5",
        "track": "canary", "stage": "canary fleet", "check": "qa",
    });
    assert_eq!(server.jobs().begun, [facts]);
}

#[tokio::test]
async fn a_job_is_found_again_after_a_crash_and_never_begun_twice() {
    let server = JobServer::start(json!({ "state": "running" }));
    let (first, seen) = (server.clone(), server.clone());
    crash_once(async move { first.check(60).await }, || !seen.jobs().begun.is_empty()).await;
    server.jobs().told.insert(JobServer::path(), json!({ "state": "passed" }));
    assert_eq!(server.check(60).await, Ok(Outcome::Changed("passed".to_owned())));
    assert_eq!(server.jobs().begun.len(), 1);
}

#[tokio::test]
async fn a_failed_job_and_one_that_does_not_end_have_failed() {
    let server =
        JobServer::start(json!({ "state": "failed", "output": "login: 500", "link": "http://qa/7" }));
    let failure = server.check(60).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::JobFailed);
    assert_eq!(failure.what, "check qa after stage canary fleet: failed");
    assert_eq!(failure.detail, "login: 500\nhttp://qa/7");
    let server = JobServer::start(json!({ "state": "running" }));
    let failure = server.check(1).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::JobFailed);
    assert!(failure.what.contains("did not end within 1s: it is still running"), "{}", failure.what);
}

#[tokio::test]
async fn a_server_in_trouble_says_nothing_about_the_job() {
    let server = JobServer::start(json!({ "state": "passed" }));
    for status in [503, 401] {
        server.jobs().broken = Some(status);
        let failure = server.check(60).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unreachable);
        assert!(failure.what.contains(&format!("{status}")), "{}", failure.what);
    }
    server.jobs().broken = None;
    server.jobs().told.insert(JobServer::path(), json!({ "state": "green" }));
    let failure = server.check(60).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unreachable, "{}", failure.what);
    assert!(server.jobs().begun.is_empty());
    let down = http::run(&Http::new().unwrap(), "http://127.0.0.1:1", &Release::new(1).job()).await;
    assert_eq!(down.unwrap_err().kind, FailureKind::Unreachable);
}

#[tokio::test]
async fn a_job_that_was_begun_and_is_not_known_any_more_is_for_a_person() {
    let server = JobServer::start(json!({ "state": "running" }));
    let other = server.clone();
    let forget = async {
        while other.jobs().told.remove(&JobServer::path()).is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (ended, ()) = tokio::join!(server.check(60), forget);
    assert_eq!(ended.unwrap_err().kind, FailureKind::InDoubt);
    assert_eq!(server.jobs().begun.len(), 1);
}

async fn pipeline(url: &str, reference: &str, timeout_s: i64) -> Result<Outcome, Failure> {
    let gitlab = Gitlab { url: url.to_owned(), token: TOKEN.to_owned() };
    let variables = [("TARGET", "https://{track}.example/{version}"), ("RECONCILE_JOB", "the user's own")];
    let variables = variables.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let pipeline = Pipeline { project: "group/qa", reference, variables: &variables };
    gitlab::run(&Http::new().unwrap(), &gitlab, &pipeline, &Release::new(timeout_s).job()).await
}

#[tokio::test]
async fn a_pipeline_is_created_with_variables_and_its_end_is_waited_for() {
    let server = GitlabServer::start();
    let (ended, ()) = tokio::join!(pipeline(&server.url, "main", 60), server.end_the_first("success"));
    let link = format!("{}/group/qa/-/pipelines/1", server.url);
    assert_eq!(ended, Ok(Outcome::Changed(format!("pipeline 1 passed: {link}"))));
    let expected = [
        ("RECONCILE_ENVIRONMENT", "production"),
        ("RECONCILE_JOB", NAME),
        ("RECONCILE_STAGE", "canary fleet"),
        ("RECONCILE_TRACK", "canary"),
        ("RECONCILE_VERSION", "16.5"),
        ("TARGET", "https://canary.example/16.5"),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    assert_eq!(server.project().pipelines[0].variables, expected);
}

#[tokio::test]
async fn a_pipeline_is_found_again_after_a_crash_among_many_and_never_created_twice() {
    for reference in ["main", "refs/heads/main"] {
        let server = GitlabServer::start();
        let (url, seen) = (server.url.clone(), server.clone());
        crash_once(async move { pipeline(&url, reference, 60).await }, || {
            !seen.project().pipelines.is_empty()
        })
        .await;
        for _ in 0..120 {
            server.project().add("main", BTreeMap::new());
        }
        server.project().pipelines[0].status = "success".to_owned();
        let ended = pipeline(&server.url, reference, 60).await;
        assert!(
            matches!(&ended, Ok(Outcome::Changed(words)) if words.starts_with("pipeline 1 passed")),
            "{ended:?}"
        );
        assert_eq!(server.project().pipelines.len(), 121);
    }
}

#[tokio::test]
async fn a_pipeline_that_does_not_succeed_has_failed() {
    for status in ["failed", "canceled", "skipped"] {
        let server = GitlabServer::start();
        server.project().first = status.to_owned();
        let failure = pipeline(&server.url, "main", 60).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::JobFailed);
        assert!(failure.what.contains(&format!("pipeline 1 ended as {status}: http://")), "{}", failure.what);
        assert!(failure.detail.ends_with("/group/qa/-/pipelines/1"), "{}", failure.detail);
    }
}

#[tokio::test]
async fn a_pipeline_that_does_not_end_says_what_it_waits_for() {
    for (status, waits) in
        [("manual", "waits for a person"), ("waiting_for_resource", "is waiting_for_resource")]
    {
        let server = GitlabServer::start();
        server.project().first = status.to_owned();
        let failure = pipeline(&server.url, "main", 0).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::JobFailed);
        assert!(failure.what.contains("did not end within 0s"), "{}", failure.what);
        assert!(failure.what.contains(waits), "{}", failure.what);
    }
}

#[tokio::test]
async fn what_gitlab_refuses_is_told_without_the_token_and_asked_again_later() {
    let answers = [
        (401, json!({ "message": "401 Unauthorized" }), "the token is not valid"),
        (403, json!({ "message": "403 Forbidden" }), "the token's user may not"),
        (404, json!({ "message": "404 Project Not Found" }), "there is no such project"),
        (400, json!({ "message": { "base": ["Reference not found"] } }), "Reference not found"),
        (502, json!("bad gateway"), "502"),
    ];
    for (status, body, expected) in answers {
        let server = GitlabServer::start();
        server.project().refusal = Some((status, body));
        let failure = pipeline(&server.url, "main", 60).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unreachable, "{}", failure.what);
        assert!(failure.what.contains(expected), "{}", failure.what);
        assert!(!format!("{failure:?}").contains(TOKEN));
        assert!(server.project().pipelines.is_empty());
    }
    let gitlab = Gitlab { url: "http://gitlab.example".to_owned(), token: TOKEN.to_owned() };
    assert!(!format!("{gitlab:?}").contains(TOKEN));
    let down = pipeline("http://127.0.0.1:1", "main", 60).await;
    assert_eq!(down.unwrap_err().kind, FailureKind::Unreachable);
}

#[tokio::test]
async fn a_pipeline_that_was_deleted_is_for_a_person() {
    let server = GitlabServer::start();
    server.project().deletes_at_once = true;
    let failure = pipeline(&server.url, "main", 60).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::InDoubt, "{}", failure.what);
}
