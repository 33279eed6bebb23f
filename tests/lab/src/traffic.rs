//! Requests at a steady rate through every load balancer, each failure counted.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::demo;
use crate::error::LabError;
use crate::host::Host;
use crate::lab::Lab;
use crate::spec::HostKind;

/// What the traffic asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficSpec {
    /// Requests a second, over all load balancers. A tenth of them lasts three seconds.
    pub rate: u32,
    /// The environment whose load balancers are asked; `None` for all of the lab.
    pub environment: Option<String>,
    /// The versions that may answer; any other answer counts as wrong. Empty: any version.
    pub versions: Vec<String>,
}

impl Default for TrafficSpec {
    /// 230 requests a second, every version that can become ready.
    fn default() -> Self {
        let ready = demo::versions().filter(|version| *version != demo::NEVER_READY);
        Self { rate: 230, environment: None, versions: ready.map(str::to_owned).collect() }
    }
}

impl TrafficSpec {
    /// 230 requests a second to the load balancers of one environment, for these versions; none for any.
    pub fn of(environment: &str, versions: &[&str]) -> Self {
        Self {
            environment: Some(environment.to_owned()),
            versions: versions.iter().map(|&version| version.to_owned()).collect(),
            ..Self::default()
        }
    }
}

/// Milliseconds from the first byte of a request to the last of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Half were faster.
    pub p50: u32,
    /// One in a hundred was slower.
    pub p99: u32,
    /// The slowest.
    pub max: u32,
}

/// What happened so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrafficReport {
    /// How long requests were started.
    pub seconds: f64,
    /// Finished requests a second.
    pub per_second: f64,
    /// Finished requests, failed ones included.
    pub requests: u64,
    /// All that failed in any way.
    pub failed: u64,
    /// The same by kind: `connect`, `closed` (no answer), `status N`, `truncated`, `timeout`, `wrong`.
    pub failures: BTreeMap<String, u64>,
    /// The first few of each kind, with time, path, load balancer and reason.
    pub examples: Vec<String>,
    /// Requests by connection: `keep-alive`, `fresh`, `sticky`, each also with ` slow`.
    pub by_kind: BTreeMap<String, u64>,
    /// Right answers by the version that gave them.
    pub by_version: BTreeMap<String, u64>,
    /// Right answers by the host that gave them.
    pub by_host: BTreeMap<String, u64>,
    /// Of right answers to quick requests.
    pub fast_ms: Latency,
    /// Of right answers to three-second requests.
    pub slow_ms: Latency,
}

impl std::fmt::Display for TrafficReport {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} requests in {:.1} s ({:.0}/s), {} failed",
            self.requests, self.seconds, self.per_second, self.failed
        )?;
        for (kind, count) in &self.failures {
            write!(formatter, ", {kind}: {count}")?;
        }
        self.examples.iter().try_for_each(|example| write!(formatter, "\n  {example}"))
    }
}

/// Running traffic. It stops when this is dropped, or when the process that started it ends.
#[derive(Debug)]
pub struct Traffic {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Traffic {
    /// Starts the default traffic: through every load balancer, for every version of the lab's packages that can
    /// become ready.
    pub fn start(lab: &Lab) -> Result<Self, LabError> {
        let ready = lab.spec().releases.iter().filter(|release| release.ready);
        let releases: Vec<String> = ready.map(|release| release.version.clone()).collect();
        let default = TrafficSpec::default();
        let versions = if releases.is_empty() { default.versions.clone() } else { releases };
        Self::start_with(lab, &TrafficSpec { versions, ..default })
    }

    /// Starts traffic through the load balancers of the spec's environment, or of the whole lab.
    pub fn start_with(lab: &Lab, spec: &TrafficSpec) -> Result<Self, LabError> {
        let mut command = lab.command(lab.resident());
        command.args(["traffic", "--rate", &spec.rate.to_string()]);
        let wanted = |host: &&Host| spec.environment.as_deref().is_none_or(|name| name == host.environment());
        for balancer in lab.hosts_of(HostKind::LoadBalancer).filter(wanted) {
            command.args(["--target", &format!("{}:80", balancer.address())]);
        }
        for version in &spec.versions {
            command.args(["--version", version]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(LabError::io("start", &lab.resident()))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = output.ok_or_else(|| not_understood("it has no output"))?;
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    /// The totals so far.
    pub fn snapshot(&mut self) -> Result<TrafficReport, LabError> {
        let input = self.input.as_mut().ok_or_else(|| not_understood("it was stopped"))?;
        input.write_all(b"snapshot\n").map_err(|error| not_understood(&error.to_string()))?;
        self.read()
    }

    /// Stops, lets requests in flight finish (up to three seconds), and hands back the totals.
    pub fn stop(mut self) -> Result<TrafficReport, LabError> {
        drop(self.input.take());
        let report = self.read();
        drop(self.child.wait());
        report
    }

    /// Waits until at least `requests` more have finished.
    pub fn wait_for(&mut self, requests: u64) -> Result<TrafficReport, LabError> {
        let goal = self.snapshot()?.requests + requests;
        loop {
            let now = self.snapshot()?;
            if now.requests >= goal {
                return Ok(now);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn read(&mut self) -> Result<TrafficReport, LabError> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| not_understood(&error.to_string()))?;
        serde_json::from_str(&line).map_err(|error| not_understood(&format!("{error} in {line:?}")))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn not_understood(detail: &str) -> LabError {
    LabError::Unexpected { what: "the traffic's report".to_owned(), detail: detail.to_owned() }
}
