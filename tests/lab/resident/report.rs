//! What the traffic counted, and its JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::request::Failure;

/// Examples kept of each kind of failure: enough to see what happened, too few to hide the totals.
const EXAMPLES: usize = 5;

/// Totals since the start.
#[derive(Default)]
pub(crate) struct Report {
    requests: u64,
    failures: BTreeMap<String, u64>,
    examples: BTreeMap<String, Vec<String>>,
    by_kind: BTreeMap<String, u64>,
    by_version: BTreeMap<String, u64>,
    by_host: BTreeMap<String, u64>,
    latencies: BTreeMap<&'static str, Vec<u32>>,
}

impl Report {
    /// Counts one finished request. `answer` is the host and version that answered.
    pub(crate) fn count(&mut self, kind: String, slow: bool, took: Duration, answer: (String, String)) {
        self.begin(kind);
        *self.by_host.entry(answer.0).or_default() += 1;
        *self.by_version.entry(answer.1).or_default() += 1;
        let millis = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
        self.latencies.entry(if slow { "slow_ms" } else { "fast_ms" }).or_default().push(millis);
    }

    /// Counts one request that failed; `context` says when and which.
    pub(crate) fn count_failure(&mut self, kind: String, context: &str, failure: &Failure) {
        self.begin(kind);
        *self.failures.entry(failure.kind()).or_default() += 1;
        let examples = self.examples.entry(failure.kind()).or_default();
        if examples.len() < EXAMPLES {
            examples.push(format!("{context}: {}", failure.detail()));
        }
    }

    fn begin(&mut self, kind: String) {
        self.requests += 1;
        *self.by_kind.entry(kind).or_default() += 1;
    }

    /// One line of JSON.
    pub(crate) fn json(&self, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64();
        let per_second = self.requests as f64 / seconds.max(0.001);
        let failed: u64 = self.failures.values().sum();
        let examples: Vec<String> = self.examples.values().flatten().map(|text| quote(text)).collect();
        format!(
            "{{\"seconds\":{seconds:.3},\"per_second\":{per_second:.1},\"requests\":{},\"failed\":{failed},\
             \"failures\":{},\"examples\":[{}],\"by_kind\":{},\"by_version\":{},\"by_host\":{},\
             \"fast_ms\":{},\"slow_ms\":{}}}",
            self.requests,
            object(&self.failures),
            examples.join(","),
            object(&self.by_kind),
            object(&self.by_version),
            object(&self.by_host),
            self.spread("fast_ms"),
            self.spread("slow_ms"),
        )
    }

    fn spread(&self, class: &str) -> String {
        let mut sorted = self.latencies.get(class).cloned().unwrap_or_default();
        sorted.sort_unstable();
        let at = |share: f64| {
            let index = (sorted.len() as f64 * share) as usize;
            sorted.get(index).or(sorted.last()).copied().unwrap_or(0)
        };
        format!("{{\"p50\":{},\"p99\":{},\"max\":{}}}", at(0.5), at(0.99), at(1.0))
    }
}

fn object(counts: &BTreeMap<String, u64>) -> String {
    let fields: Vec<String> = counts.iter().map(|(name, count)| format!("{}:{count}", quote(name))).collect();
    format!("{{{}}}", fields.join(","))
}

fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            plain if u32::from(plain) >= 0x20 => quoted.push(plain),
            // Writing to a String cannot fail.
            control => drop(write!(quoted, "\\u{:04x}", u32::from(control))),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_and_examples_are_told() {
        let mut report = Report::default();
        report.count("fresh".into(), false, Duration::from_millis(7), ("web-01".into(), "1.0.0-1".into()));
        for _ in 0..9 {
            report.count_failure("sticky".into(), "1.0s GET /\n", &Failure::Status(503));
        }
        let json = report.json(Duration::from_secs(2));
        assert!(json.contains("\"requests\":10,\"failed\":9,\"failures\":{\"status 503\":9}"), "{json}");
        assert_eq!(json.matches("GET /\\u000a: status 503").count(), EXAMPLES);
        assert!(json.contains("\"fast_ms\":{\"p50\":7,\"p99\":7,\"max\":7}"), "{json}");
    }
}
