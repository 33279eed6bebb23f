//! Gates, asked of a real Alertmanager and a real Prometheus.
#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

mod loopback;
#[path = "loopback/monitoring.rs"]
mod monitoring;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use model::{Gate, GateQuestion, GateState, Threshold, Verdict};
use monitoring::{Server, alertmanager, prometheus};
use providers::gates;
use providers::http::Http;
use serde_json::json;

async fn ask(asks: GateQuestion) -> GateState {
    let gate = Gate {
        asks,
        quiet_for: SignedDuration::ZERO,
        settle: SignedDuration::ZERO,
        no_data_is_green: false,
        observe: false,
    };
    let at = Timestamp::UNIX_EPOCH;
    let state = gates::ask(&Http::new().unwrap(), &gate, at).await;
    assert_eq!(state.since, at);
    state
}

async fn alerts(server: &Server, matcher: &str, heartbeat: Option<&str>) -> GateState {
    let (url, matchers) = (server.url.clone(), vec![matcher.to_owned()]);
    ask(GateQuestion::Alertmanager { url, matchers, heartbeat: heartbeat.map(str::to_owned) }).await
}

/// Alertmanager takes an alert or a silence into account a moment after it has accepted it.
async fn alerts_soon(server: &Server, matcher: &str, heartbeat: Option<&str>, expected: Verdict) -> String {
    for _ in 0..100 {
        let state = alerts(server, matcher, heartbeat).await;
        if state.verdict == expected {
            return state.value;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never {expected}: {:?}", alerts(server, matcher, heartbeat).await);
}

async fn query(server: &Server, query: &str, threshold: Threshold) -> (Verdict, String) {
    let (url, query) = (server.url.clone(), query.to_owned());
    let state = ask(GateQuestion::Prometheus { url, query, threshold }).await;
    (state.verdict, state.value)
}

#[tokio::test]
async fn an_alert_is_red_while_it_fires() {
    let Some(server) = alertmanager() else { return };
    let critical = r#"severity="critical""#;
    let quiet = alerts(&server, critical, None).await;
    assert_eq!((quiet.verdict, quiet.value.as_str()), (Verdict::Green, "no alerts"));
    let labels = json!({ "alertname": "HighErrors", "severity": "critical", "instance": "web-01" });
    server.fire(labels.clone()).await;
    server.fire(json!({ "alertname": "Noise", "severity": "warning" })).await;
    let red = alerts_soon(&server, critical, None, Verdict::Red).await;
    assert_eq!(red, "HighErrors (instance web-01, severity critical)");
    server.resolve(labels).await;
    alerts_soon(&server, critical, None, Verdict::Green).await;
}

#[tokio::test]
async fn a_silenced_or_inhibited_alert_does_not_count() {
    let Some(server) = alertmanager() else { return };
    for name in ["Silenced", "Leaf"] {
        server.fire(json!({ "alertname": name, "team": "shop" })).await;
    }
    assert_eq!(alerts_soon(&server, "team=shop", None, Verdict::Red).await, "Leaf, Silenced");
    server.silence("Silenced").await;
    server.fire(json!({ "alertname": "Root" })).await;
    alerts_soon(&server, "team=shop", None, Verdict::Green).await;
}

#[tokio::test]
async fn no_alerts_are_no_data_unless_the_heartbeat_fires() {
    let Some(server) = alertmanager() else { return };
    let gate = async |expected| alerts_soon(&server, "team=shop", Some("Watchdog"), expected).await;
    assert_eq!(gate(Verdict::NoData).await, "heartbeat Watchdog is not firing: Prometheus may be down");
    let watchdog = json!({ "alertname": "Watchdog" });
    server.fire(watchdog.clone()).await;
    gate(Verdict::Green).await;
    server.silence("Watchdog").await;
    alerts_soon(&server, "alertname=Watchdog", None, Verdict::Green).await;
    assert_eq!(gate(Verdict::Green).await, "no alerts", "a silenced heartbeat beats all the same");
    server.resolve(watchdog).await;
    gate(Verdict::NoData).await;
    server.fire(json!({ "alertname": "HighErrors", "team": "shop" })).await;
    assert_eq!(gate(Verdict::Red).await, "HighErrors", "an alert is red whatever the heartbeat does");
}

#[tokio::test]
async fn what_alertmanager_refuses_and_an_alertmanager_that_is_down_are_errors() {
    let Some(mut server) = alertmanager() else { return };
    let state = alerts(&server, "severity", None).await;
    assert_eq!(state.verdict, Verdict::Error);
    assert!(state.value.ends_with("400 Bad Request: bad matcher format: severity"), "{}", state.value);
    server.process.0.kill().unwrap();
    server.process.0.wait().unwrap();
    let state = alerts(&server, "team=shop", None).await;
    assert_eq!(state.verdict, Verdict::Error);
    assert!(
        state.value.starts_with(&format!("GET {}/api/v2/alerts: no answer", server.url)),
        "{}",
        state.value
    );
    assert!(state.value.contains("refused"), "{}", state.value);
}

#[tokio::test]
async fn a_query_is_judged_by_its_threshold() {
    let Some(server) = prometheus() else { return };
    let below = Threshold::Below(0.05);
    assert_eq!(query(&server, "vector(0.0231)", below).await, (Verdict::Green, "0.0231".to_owned()));
    assert_eq!(query(&server, "vector(0.0731)", below).await, (Verdict::Red, "0.0731".to_owned()));
    assert_eq!(
        query(&server, "scalar(vector(3))", Threshold::Above(2.5)).await,
        (Verdict::Green, "3".to_owned())
    );
    assert_eq!(query(&server, "vector(1) / 0", below).await.0, Verdict::Red, "infinity is a number");
}

#[tokio::test]
async fn a_query_without_one_number_is_no_data_or_an_error() {
    let Some(server) = prometheus() else { return };
    let ask = async |text: &str| query(&server, text, Threshold::Below(1.0)).await;
    assert_eq!(ask("no_such_metric").await, (Verdict::NoData, "the query has no result".to_owned()));
    let (verdict, value) = ask("vector(0) / 0").await;
    assert_eq!(verdict, Verdict::NoData);
    assert!(value.starts_with("NaN"), "{value}");
    let (verdict, value) = ask(r#"vector(1) or label_replace(vector(2), "a", "b", "", "")"#).await;
    assert_eq!(verdict, Verdict::Error);
    assert!(value.contains("answers 2 samples: aggregate them"), "{value}");
    let (verdict, value) = ask("sum(").await;
    assert_eq!(verdict, Verdict::Error);
    assert!(value.contains("400 Bad Request: invalid parameter \"query\""), "{value}");
}

#[tokio::test]
async fn a_server_that_is_none_is_an_error() {
    let asks = |url: &str| GateQuestion::Prometheus {
        url: url.to_owned(),
        query: "1".to_owned(),
        threshold: Threshold::Below(1.0),
    };
    let state = ask(asks("prometheus:9090")).await;
    assert_eq!(state.verdict, Verdict::Error);
    assert!(state.value.contains("is not an http address"), "{}", state.value);
    assert_eq!(ask(asks("http://127.0.0.1:1")).await.verdict, Verdict::Error);
}

#[tokio::test]
async fn a_server_that_never_answers_is_an_error_within_five_seconds() {
    // Connections wait in its queue for ever.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let threshold = Threshold::Below(1.0);
    let state = ask(GateQuestion::Prometheus { url, query: "1".to_owned(), threshold }).await;
    assert_eq!(state.verdict, Verdict::Error);
    assert!(state.value.ends_with("/api/v1/query: no answer in 5 s"), "{}", state.value);
}
