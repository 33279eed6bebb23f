//! A check as a pipeline of a GitLab project, by its REST API, version 4.
//!
//! GitLab gives a pipeline no name that we could choose, so the job's name is the pipeline's variable `RECONCILE_JOB`, by
//! which it is found again among the newest pipelines that the API has created for the branch or tag. The token needs the
//! scope `api` and a role that may read the variables of those pipelines: the user that created them, or Maintainer.
//!
//! Between the request that creates a pipeline and its answer GitLab may be killed, or we: it is looked for again, and
//! found if it is there. A request that is still being carried out while somebody already looks again is not seen.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use model::{Failure, Outcome};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Begun, CheckJob, Standing, forgotten, later, read, unanswered, wait};
use crate::http::{Answer, Http, below, one_line};

const EVERY: Duration = Duration::from_secs(5);

/// GitLab itself gives a request up after a minute; before that, one without an answer may still have its effect.
const DEADLINE: Duration = Duration::from_secs(60);

/// The most that GitLab puts on a page.
const PER_PAGE: usize = 100;

/// A pipeline of ours is looked for among so many pages of the newest.
const PAGES: usize = 3;

/// The variable that names the job.
const JOB: &str = "RECONCILE_JOB";

/// A GitLab instance, and who we are there.
#[derive(Clone)]
pub struct Gitlab {
    /// Its address, without a path of the API.
    pub url: String,
    /// A personal, group or project access token with the scope `api`.
    pub token: String,
}

impl fmt::Debug for Gitlab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gitlab").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Which pipeline to run. Its texts may hold placeholders.
#[derive(Clone, Copy, Debug)]
pub struct Pipeline<'a> {
    /// `group/project`.
    pub project: &'a str,
    /// Branch or tag.
    pub reference: &'a str,
    /// Its variables, besides ours.
    pub variables: &'a BTreeMap<String, String>,
}

/// A pipeline as GitLab tells it.
#[derive(Deserialize)]
struct Told {
    id: u64,
    status: String,
    #[serde(default)]
    web_url: String,
}

#[derive(Deserialize)]
struct Variable {
    key: String,
    value: Option<String>,
}

/// One project of one GitLab.
struct Project<'a> {
    http: &'a Http,
    gitlab: &'a Gitlab,
    name: String,
    reference: String,
    job: &'a CheckJob<'a>,
}

/// A pipeline that was created.
struct Created<'a> {
    project: &'a Project<'a>,
    id: u64,
}

/// Creates a pipeline for a check, or finds the one that was created for it before, and waits for its end. It gets the
/// variables `RECONCILE_JOB`, `RECONCILE_ENVIRONMENT`, `RECONCILE_VERSION`, `RECONCILE_TRACK` and `RECONCILE_STAGE`.
/// Placeholders are filled here. Dropping the future leaves the pipeline running.
///
/// # Errors
/// `JobFailed` when it ended in another way than by success, or not in time; `InDoubt` when it was deleted meanwhile;
/// `Unreachable` or `TimedOut` when GitLab did not answer, refused us or could not create it: ask again later.
pub async fn run(
    http: &Http,
    gitlab: &Gitlab,
    pipeline: &Pipeline<'_>,
    job: &CheckJob<'_>,
) -> Result<Outcome, Failure> {
    let fill = |text: &str| job.fill(text, str::to_owned);
    let (name, reference) = (fill(pipeline.project), fill(pipeline.reference));
    let project = Project { http, gitlab, name, reference, job };
    let id = match project.find().await? {
        Some(id) => id,
        None => project.create(pipeline.variables).await?,
    };
    wait(job, &Created { project: &project, id }, EVERY).await
}

impl Project<'_> {
    /// The pipeline that carries the job's name.
    async fn find(&self) -> Result<Option<u64>, Failure> {
        for page in 1..=PAGES {
            let query = [
                // Pipelines carry the short name, whichever was asked for.
                ("ref", short(&self.reference)),
                ("source", "api"),
                ("order_by", "id"),
                ("sort", "desc"),
                ("per_page", &PER_PAGE.to_string()),
                ("page", &page.to_string()),
            ];
            let answer = self.get(&["pipelines"], &query).await?;
            let pipelines: Vec<Told> = read(&self.fine(answer, "list its pipelines")?)?;
            for pipeline in &pipelines {
                if self.is_ours(pipeline.id).await? {
                    return Ok(Some(pipeline.id));
                }
            }
            if pipelines.len() < PER_PAGE {
                break;
            }
        }
        Ok(None)
    }

    async fn is_ours(&self, id: u64) -> Result<bool, Failure> {
        let path = ["pipelines", &id.to_string(), "variables"];
        let answer = self.get(&path, &[("per_page", &PER_PAGE.to_string())]).await?;
        if answer.status == StatusCode::NOT_FOUND {
            // Deleted since it was listed.
            return Ok(false);
        }
        let variables: Vec<Variable> =
            read(&self.fine(answer, &format!("read the variables of pipeline {id}"))?)?;
        let name = Some(self.job.name.as_str());
        Ok(variables.iter().any(|variable| variable.key == JOB && variable.value.as_deref() == name))
    }

    async fn create(&self, variables: &BTreeMap<String, String>) -> Result<u64, Failure> {
        let variables = self.variables(variables);
        let body = json!({ "ref": self.reference, "variables": variables });
        let request = self.request(Method::POST, &["pipeline"], &[])?.json(&body);
        let answer = self.send(request).await?;
        let Told { id, .. } =
            read(&self.fine(answer, &format!("create a pipeline for {}", self.reference))?)?;
        Ok(id)
    }

    /// The user's, and ours, which win.
    fn variables(&self, users: &BTreeMap<String, String>) -> Vec<Value> {
        let mut all: BTreeMap<&str, String> = BTreeMap::new();
        all.extend(users.iter().map(|(key, value)| (key.as_str(), self.job.fill(value, str::to_owned))));
        let ours = [
            (JOB, self.job.name.to_string()),
            ("RECONCILE_ENVIRONMENT", self.job.environment.to_string()),
            ("RECONCILE_VERSION", self.job.version.to_string()),
            ("RECONCILE_TRACK", self.job.track.to_string()),
            ("RECONCILE_STAGE", self.job.stage.to_string()),
        ];
        all.extend(ours);
        all.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
    }

    async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Answer, Failure> {
        self.send(self.request(Method::GET, path, query)?).await
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<RequestBuilder, Failure> {
        let path = [&["api", "v4", "projects", self.name.as_str()], path].concat();
        let mut url = below(&self.gitlab.url, &path).map_err(|error| unanswered(&error))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url).timeout(DEADLINE);
        Ok(request.header("PRIVATE-TOKEN", &self.gitlab.token))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        self.http.send(request).await.map_err(|error| unanswered(&error))
    }

    /// The answer, when its status says that it is one.
    fn fine(&self, answer: Answer, wanted: &str) -> Result<Answer, Failure> {
        if answer.status.is_success() {
            return Ok(answer);
        }
        let hint = match answer.status {
            StatusCode::UNAUTHORIZED => "the token is not valid there, or has expired",
            StatusCode::FORBIDDEN => {
                "the token's user may not: it needs the scope api and, for pipelines that others created and for \
                 variables of its own, the role Maintainer"
            }
            StatusCode::NOT_FOUND => "there is no such project, or the token's user does not see it",
            _ => "",
        };
        let said = [hint.to_owned(), own_words(&answer.body)];
        let said = said.iter().filter(|words| !words.is_empty()).cloned().collect::<Vec<_>>().join(": ");
        let Gitlab { url, .. } = self.gitlab;
        Err(later(&format!("cannot {wanted} in {} on {url}: {}: {said}", self.name, answer.status)))
    }
}

impl Begun for Created<'_> {
    async fn ask(&self) -> Result<Standing, Failure> {
        let id = self.id.to_string();
        let answer = self.project.get(&["pipelines", &id], &[]).await?;
        if answer.status == StatusCode::NOT_FOUND {
            // A token that sees the project no more gets the same answer.
            let project = self.project.get(&[], &[]).await?;
            self.project.fine(project, &format!("read pipeline {id}"))?;
            return Err(forgotten(self.project.job, &answer));
        }
        Ok(standing(&read(&self.project.fine(answer, &format!("read pipeline {id}"))?)?))
    }
}

/// How a pipeline stands, by GitLab's answer.
pub(crate) fn read_standing(body: &str) -> Result<Standing, String> {
    serde_json::from_str(body).map(|told| standing(&told)).map_err(|error| error.to_string())
}

/// What a status means. One that is not known is under way: time tells.
fn standing(Told { id, status, web_url }: &Told) -> Standing {
    match status.as_str() {
        "success" => Standing::Passed(format!("pipeline {id} passed: {web_url}")),
        "failed" | "canceled" | "skipped" => {
            Standing::Failed(format!("pipeline {id} ended as {status}: {web_url}"), web_url.clone())
        }
        "manual" => {
            Standing::Running(format!("pipeline {id} waits for a person to start a manual job: {web_url}"))
        }
        other => Standing::Running(format!("pipeline {id} is {other}: {web_url}")),
    }
}

/// `refs/heads/main` as `main`.
fn short(reference: &str) -> &str {
    let stripped = ["refs/heads/", "refs/tags/"].iter().find_map(|prefix| reference.strip_prefix(prefix));
    stripped.unwrap_or(reference)
}

/// GitLab's errors: a field `message` or `error`, with a text, a list, or lists by field.
fn own_words(body: &str) -> String {
    let Ok(body) = serde_json::from_str::<Value>(body) else { return one_line(body) };
    let told = body.get("message").or_else(|| body.get("error"));
    told.map(|told| told.as_str().map_or_else(|| told.to_string(), str::to_owned)).unwrap_or_default()
}
