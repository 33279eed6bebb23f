//! Who answers how often: many short requests through the load balancers.

use std::collections::BTreeMap;

use crate::error::LabError;
use crate::lab::Lab;
use crate::program::succeed;
use crate::spec::HostKind;
use crate::traffic::{TrafficReport, not_understood};

impl Lab {
    /// Makes so many short requests without cookies through the load balancers of an environment, as fast as they
    /// are answered, and waits for all of the answers.
    pub fn sample(&self, environment: &str, requests: u64) -> Result<TrafficReport, LabError> {
        let mut sampler = self.command(self.resident());
        sampler.args(["sample", "--count", &requests.to_string()]);
        for balancer in self.hosts_in(environment, HostKind::LoadBalancer) {
            sampler.args(["--target", &format!("{}:80", balancer.address())]);
        }
        let output = succeed("take a sample of the answers", &mut sampler)?;
        serde_json::from_str(&output.stdout).map_err(|error| not_understood(&error.to_string()))
    }

    /// Right answers by the track of the host that gave them: `main` or `canary`.
    pub fn by_track(&self, report: &TrafficReport) -> BTreeMap<&'static str, u64> {
        let mut tracks = BTreeMap::from([("main", 0), ("canary", 0)]);
        for (host, count) in &report.by_host {
            let canary = self.host(host).is_ok_and(|host| host.kind() == HostKind::Canary);
            *tracks.entry(if canary { "canary" } else { "main" }).or_default() += count;
        }
        tracks
    }

    /// The part of all right answers that canary hosts gave, in percent; 0 when there was none.
    pub fn canary_percent(&self, report: &TrafficReport) -> f64 {
        let tracks = self.by_track(report);
        let all: u64 = tracks.values().sum();
        if all == 0 { 0.0 } else { tracks["canary"] as f64 * 100.0 / all as f64 }
    }
}
