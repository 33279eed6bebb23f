//! Alertmanager, API v2: red while an alert matches that is neither silenced nor inhibited.
//!
//! An Alertmanager whose Prometheus is gone, or that has just started, answers with no alerts at all, which looks like
//! peace. So a heartbeat, an alert that always fires, must be among its alerts. Prometheus gives each alert an end that
//! it moves on every time it sends it (by default four minutes ahead), so this is how late a heartbeat is missed.

use std::collections::BTreeMap;

use model::Verdict;
use reqwest::Method;
use serde::Deserialize;

use super::{GateError, Said, accepted};
use crate::http::{Http, below};

/// So many alerts are named.
const NAMED: usize = 3;

/// Labels that tell people where an alert comes from, the most telling first.
const TELLING: &[&str] = &["instance", "host", "node", "service", "job", "severity"];

#[derive(Deserialize)]
struct Alert {
    labels: BTreeMap<String, String>,
}

/// Red when alerts match, no data when the heartbeat is absent, else green.
pub(super) async fn ask(
    http: &Http,
    url: &str,
    matchers: &[String],
    heartbeat: Option<&str>,
) -> Result<Said, GateError> {
    let active = ["active=true", "silenced=false", "inhibited=false", "unprocessed=false"];
    let all = ["active=true", "silenced=true", "inhibited=true", "unprocessed=true"];
    let matching = async { alerts(&fetch(http, url, &active, matchers).await?) };
    let beating = async {
        let Some(name) = heartbeat else { return Ok(true) };
        let text = fetch(http, url, &all, &[format!("alertname={}", quoted(name))]).await?;
        Ok::<_, GateError>(!alerts(&text)?.is_empty())
    };
    let (matching, beating) = tokio::join!(matching, beating);
    let matching = matching?;
    if !matching.is_empty() {
        return Ok(Said { verdict: Verdict::Red, value: told(&matching) });
    }
    Ok(match heartbeat {
        Some(name) if !beating? => Said {
            verdict: Verdict::NoData,
            value: format!("heartbeat {name} is not firing: Prometheus may be down"),
        },
        _ => Said { verdict: Verdict::Green, value: "no alerts".to_owned() },
    })
}

async fn fetch(http: &Http, url: &str, which: &[&str], matchers: &[String]) -> Result<String, GateError> {
    let mut url = below(url, &["api", "v2", "alerts"])?;
    url.set_query(Some(&which.join("&")));
    url.query_pairs_mut().extend_pairs(matchers.iter().map(|matcher| ("filter", matcher)));
    accepted(http.send(http.request(Method::GET, url)).await?, own_words)
}

/// A refusal is a JSON string.
pub(crate) fn own_words(body: &str) -> Option<String> {
    serde_json::from_str(body).ok()
}

/// How many alerts an answer holds, and their names.
pub(crate) fn read(body: &str) -> Result<(usize, String), GateError> {
    let alerts = alerts(body)?;
    Ok((alerts.len(), told(&alerts)))
}

fn alerts(body: &str) -> Result<Vec<Alert>, GateError> {
    Ok(serde_json::from_str(body)?)
}

/// A value as Alertmanager's matchers want it.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', r"\\").replace('"', "\\\""))
}

/// The alerts for people, in the order of their names, the same for the same alerts.
fn told(alerts: &[Alert]) -> String {
    let mut names: Vec<String> = alerts.iter().map(named).collect();
    names.sort();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

fn named(alert: &Alert) -> String {
    let label = |name: &str| alert.labels.get(name).filter(|value| !value.is_empty());
    let name = label("alertname").map_or("an alert without a name", String::as_str);
    let telling = TELLING.iter().filter_map(|name| Some(format!("{name} {}", label(name)?)));
    let telling: Vec<_> = telling.take(NAMED).collect();
    if telling.is_empty() { name.to_owned() } else { format!("{name} ({})", telling.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_named_with_what_tells_where_they_come_from() {
        let alerts = alerts(include_str!("samples/alerts.json")).unwrap();
        assert_eq!(
            told(&alerts),
            "DiskFull (instance db-01, severity critical), HighErrors (instance web-01:9100, job shop, severity critical)"
        );
    }

    #[test]
    fn three_are_named_and_the_others_counted() {
        let alert = |n: u32| Alert { labels: [("alertname".to_owned(), format!("A{n}"))].into() };
        let alerts: Vec<_> = (0..5).rev().map(alert).collect();
        assert_eq!(told(&alerts), "A0, A1, A2 and 2 more");
    }

    #[test]
    fn a_refusal_is_in_alertmanagers_own_words() {
        let words = own_words(include_str!("samples/bad-matcher.json"));
        assert_eq!(words.as_deref(), Some("bad matcher format: severity"));
    }

    #[test]
    fn a_heartbeats_name_cannot_end_its_matcher() {
        assert_eq!(quoted(r#"a"\b"#), r#""a\"\\b""#);
    }
}
