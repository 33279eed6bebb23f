//! Alerts, a dead Prometheus and a failing QA suite: each stops a release, and says so.

use std::thread::sleep;
use std::time::Duration;

use model::Event;

use crate::pipeline::Pipeline;

/// How often a gate is asked while a stage depends on it, and what the rest of the way from Prometheus takes.
const INTERVAL_S: u64 = 5;

const LABELS: [(&str, &str); 2] = [("env", "staging"), ("severity", "critical")];

/// The steps of a kind that began on a host after an event.
fn began(pipeline: &Pipeline<'_, '_>, after: u64, host: &str) -> Vec<String> {
    let steps = pipeline.deployment.steps_after(after);
    steps.into_iter().filter(|(on, _)| on.as_str() == host).map(|(_, kind)| kind).collect()
}

fn servers_up(pipeline: &Pipeline<'_, '_>) -> usize {
    let stat = pipeline.lab().host("stg-fe-01").unwrap().haproxy("show stat").unwrap();
    let rows = stat.lines().map(|line| line.split(',').collect::<Vec<_>>());
    rows.filter(|row| row[0].starts_with("web") && row[1].starts_with("stg-web-") && row[17] == "UP").count()
}

/// An alert in the middle of staging's fleet stops the version there, then a dead Prometheus does, then it goes on.
pub(crate) fn stop_what_is_under_way(pipeline: &Pipeline<'_, '_>, version: &str) {
    let monitoring = pipeline.lab().monitoring().unwrap();
    let start = pipeline.begins("staging", "staging fleet", version, 150).seq;
    let begun = |host: &str| !began(pipeline, start, host).is_empty();
    pipeline.deployment.wait_for("work on stg-web-01", 30, || begun("stg-web-01"));
    monitoring.fire("checkout", &LABELS).unwrap();
    an_alert_stops_new_hosts_and_leaves_none_drained(pipeline, start);
    monitoring.stop_prometheus().unwrap();
    pipeline.deployment.explains("staging", "no data", 30);
    assert!(!begun("stg-web-02"));
    // In this order: Prometheus remembers for minutes what ended while it was dead.
    monitoring.start_prometheus().unwrap();
    monitoring.clear("checkout").unwrap();
    pipeline.deployment.wait_for("work on stg-web-02", 60, || begun("stg-web-02"));
}

fn an_alert_stops_new_hosts_and_leaves_none_drained(pipeline: &Pipeline<'_, '_>, after: u64) {
    // On a busy machine the alert itself takes its time: through Prometheus, Alertmanager and a load of other work.
    let red = pipeline.deployment.event("a red gate", after, INTERVAL_S + 25, |event| {
        matches!(event, Event::GateTurned { environment, verdict, .. }
            if environment.as_str() == "staging" && *verdict == model::Verdict::Red)
    });
    pipeline.deployment.explains("staging", "env=\"staging\"", 20);
    pipeline.deployment.wait_for("four rows in rotation", 30, || servers_up(pipeline) == 4);
    sleep(Duration::from_secs(INTERVAL_S));
    assert_eq!(servers_up(pipeline), 4);
    let claims =
        pipeline.deployment.steps_after(red.seq).into_iter().filter(|(_, kind)| kind == "claim").count();
    assert_eq!(claims, 0, "a new host was begun under a red gate");
}

/// The version never gets further than the stage whose QA it fails.
pub(crate) fn a_failing_check_stops_the_version_before_production(
    pipeline: &Pipeline<'_, '_>,
    version: &str,
) {
    pipeline.deployment.explains("staging", "checkout: 2 of 40 tests failed", 150);
    sleep(Duration::from_secs(3));
    let stages = pipeline.stages("staging", version);
    assert_eq!(stages.last().map(String::as_str), Some("staging fleet"));
    let took_it = |event: &Event| {
        matches!(event, Event::Accepted { environment, canary, .. }
        if environment.as_str() == "production" && canary.as_ref().is_some_and(|canary| canary.as_str() == version))
    };
    assert!(!pipeline.deployment.journal().iter().any(|recorded| took_it(&recorded.event)));
    let again = pipeline.qa_runs("staging").iter().filter(|run| run.starts_with(version)).count();
    assert_eq!(again, 1, "a check runs once");
}
