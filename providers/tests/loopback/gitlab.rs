//! One project of a GitLab that answers as its documented REST API does, as far as pipelines go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{Request, serve};

/// The only token that it knows.
pub(crate) const TOKEN: &str = "glpat-not-to-be-told";

const PROJECT: &str = "/api/v4/projects/group%2Fqa";

/// Serves until the test ends.
#[derive(Clone)]
pub(crate) struct GitlabServer {
    pub(crate) url: String,
    project: Arc<Mutex<Project>>,
}

/// What the test steers and sees.
pub(crate) struct Project {
    pub(crate) pipelines: Vec<PipelineState>,
    /// The status of a new pipeline.
    pub(crate) first: String,
    /// Answered to everything.
    pub(crate) refusal: Option<(u16, Value)>,
    /// Somebody deletes each new pipeline.
    pub(crate) deletes_at_once: bool,
}

pub(crate) struct PipelineState {
    pub(crate) status: String,
    pub(crate) reference: String,
    pub(crate) variables: BTreeMap<String, String>,
}

impl GitlabServer {
    pub(crate) fn start() -> Self {
        let project = Project {
            pipelines: Vec::new(),
            first: "created".to_owned(),
            refusal: None,
            deletes_at_once: false,
        };
        let project = Arc::new(Mutex::new(project));
        let shared = Arc::clone(&project);
        let url = serve(move |request| shared.lock().unwrap().answer(request));
        Self { url, project }
    }

    pub(crate) fn project(&self) -> MutexGuard<'_, Project> {
        self.project.lock().unwrap()
    }

    /// Waits for the first pipeline, and gives it a status.
    pub(crate) async fn end_the_first(&self, status: &str) {
        while self.project().pipelines.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        status.clone_into(&mut self.project().pipelines[0].status);
    }
}

impl Project {
    pub(crate) fn add(&mut self, reference: &str, variables: BTreeMap<String, String>) -> usize {
        let (status, reference) = (self.first.clone(), reference.to_owned());
        self.pipelines.push(PipelineState { status, reference, variables });
        self.pipelines.len()
    }

    fn answer(&mut self, request: &Request) -> (u16, Value) {
        if let Some(refusal) = &self.refusal {
            return refusal.clone();
        }
        if request.header("private-token") != Some(TOKEN) {
            return (401, json!({ "message": "401 Unauthorized" }));
        }
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let Some(path) = path.strip_prefix(PROJECT) else {
            return (404, json!({ "message": "404 Project Not Found" }));
        };
        let parts: Vec<_> = path.split('/').skip(1).collect();
        let host = request.header("host").unwrap_or_default();
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", []) => (200, json!({ "id": 7, "path_with_namespace": "group/qa" })),
            ("GET", ["pipelines"]) => (200, self.list(host, query)),
            ("POST", ["pipeline"]) => self.create(host, &request.body),
            ("GET", ["pipelines", id]) if !self.deletes_at_once => (200, self.one(host, id.parse().unwrap())),
            ("GET", ["pipelines", id, "variables"]) => (200, self.variables(id.parse().unwrap())),
            _ => (404, json!({ "message": "404 Not found" })),
        }
    }

    fn one(&self, host: &str, id: usize) -> Value {
        let PipelineState { status, reference, .. } = &self.pipelines[id - 1];
        json!({
            "id": id, "iid": id, "project_id": 7, "sha": "50f0acb76a40e34a4ff304f7347dcc6587da8a14",
            "ref": reference, "status": status, "source": "api",
            "created_at": "2026-01-01T00:00:00.000Z", "updated_at": "2026-01-01T00:00:00.000Z",
            "web_url": format!("http://{host}/group/qa/-/pipelines/{id}"),
        })
    }

    /// The newest first, as asked for.
    fn list(&self, host: &str, query: &str) -> Value {
        let query: BTreeMap<_, _> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        assert_eq!((query["source"], query["order_by"], query["sort"]), ("api", "id", "desc"));
        let (page, size): (usize, usize) =
            (query["page"].parse().unwrap(), query["per_page"].parse().unwrap());
        let wanted = |id: &usize| self.pipelines[id - 1].reference == query["ref"];
        let ids = (1..=self.pipelines.len()).rev().filter(wanted).skip((page - 1) * size).take(size.min(100));
        ids.map(|id| self.one(host, id)).collect()
    }

    fn create(&mut self, host: &str, body: &Value) -> (u16, Value) {
        let reference = body["ref"].as_str().unwrap().trim_start_matches("refs/heads/").to_owned();
        if reference != "main" {
            return (400, json!({ "message": { "base": ["Reference not found"] } }));
        }
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let variables = body["variables"].as_array().unwrap().iter();
        let variables = variables.map(|variable| (text(&variable["key"]), text(&variable["value"])));
        let variables = variables.collect();
        let id = self.add(&reference, variables);
        (201, self.one(host, id))
    }

    fn variables(&self, id: usize) -> Value {
        let one = |(key, value): (&String, &String)| json!({ "key": key, "variable_type": "env_var", "value": value });
        self.pipelines[id - 1].variables.iter().map(one).collect()
    }
}
