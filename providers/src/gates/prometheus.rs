//! Prometheus: an instant query with one number as its answer, compared with a threshold.

use model::{Threshold, Verdict};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::{GateError, Said, accepted};
use crate::http::{Http, below};

#[derive(Deserialize)]
struct Response {
    data: Data,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    result: Vec<Value>,
}

#[derive(Deserialize)]
struct Sample {
    /// Absent in a native histogram.
    value: Option<(f64, String)>,
}

/// Green or red by the threshold; no data when the answer is empty or NaN.
pub(super) async fn ask(
    http: &Http,
    url: &str,
    query: &str,
    threshold: Threshold,
) -> Result<Said, GateError> {
    let mut url = below(url, &["api", "v1", "query"])?;
    url.query_pairs_mut().append_pair("query", query);
    judge(&accepted(http.send(http.request(Method::GET, url)).await?, own_words)?, threshold)
}

/// The field `error` of a refusal.
pub(crate) fn own_words(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    Some(body.get("error")?.as_str()?.to_owned())
}

pub(crate) fn judge(body: &str, threshold: Threshold) -> Result<Said, GateError> {
    let Response { data, warnings } = serde_json::from_str(body)?;
    let (verdict, value) = match number(&data)? {
        None => (Verdict::NoData, "the query has no result".to_owned()),
        Some(value) if value.is_nan() => (Verdict::NoData, "NaN: the query has nothing to divide".to_owned()),
        Some(value) if good(value, threshold) => (Verdict::Green, short(value, threshold)),
        Some(value) => (Verdict::Red, short(value, threshold)),
    };
    let warned = warnings.iter().map(|warning| format!(" (warning: {warning})"));
    Ok(Said { verdict, value: value + &warned.collect::<String>() })
}

/// The number in an answer; none: the answer is empty.
fn number(data: &Data) -> Result<Option<f64>, GateError> {
    match (data.kind.as_str(), data.result.as_slice()) {
        ("vector", []) => Ok(None),
        ("vector", [sample]) => {
            let Sample { value } = Sample::deserialize(sample)?;
            let (_, text) = value.ok_or_else(|| not_one("a histogram", "use histogram_quantile()"))?;
            parse(&text).map(Some)
        }
        ("vector", samples) => {
            Err(not_one(&format!("{} samples", samples.len()), "aggregate them, e.g. with sum() or max()"))
        }
        ("scalar", [_, Value::String(text)]) => parse(text).map(Some),
        ("matrix", _) => Err(not_one("a range of samples", "use e.g. rate() or avg_over_time()")),
        (kind, _) => Err(not_one(&format!("a {kind}"), "it must be a scalar or one sample")),
    }
}

fn not_one(what: &str, advice: &str) -> GateError {
    GateError::NotOneNumber(format!("the query must answer one number and answers {what}: {advice}"))
}

/// `NaN`, `+Inf` and `-Inf` are numbers too.
fn parse(text: &str) -> Result<f64, GateError> {
    text.parse().map_err(|_| GateError::NotOneNumber(format!("`{text}` is not a number")))
}

fn good(value: f64, threshold: Threshold) -> bool {
    match threshold {
        Threshold::Below(limit) => value < limit,
        Threshold::Above(limit) => value > limit,
    }
}

/// With as few digits as people need, but never so few that it would seem to lie on the threshold or beyond it.
fn short(value: f64, threshold: Threshold) -> String {
    let (Threshold::Below(limit) | Threshold::Above(limit)) = threshold;
    let rounded = |digits: usize| match value.abs() >= 1000.0 {
        true => Some(value.round()),
        false => format!("{value:.digits$e}").parse::<f64>().ok(),
    };
    let fits = |short: &f64| short.partial_cmp(&limit) == value.partial_cmp(&limit);
    [2, 5].into_iter().filter_map(rounded).find(fits).unwrap_or(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &str, threshold: Threshold) -> (Verdict, String) {
        let said = judge(body, threshold).unwrap();
        (said.verdict, said.value)
    }

    fn error(body: &str) -> String {
        judge(body, Threshold::Below(1.0)).unwrap_err().to_string()
    }

    #[test]
    fn one_number_is_compared_with_the_threshold() {
        let one = include_str!("samples/one.json");
        assert_eq!(said(one, Threshold::Below(0.05)), (Verdict::Green, "0.0231".to_owned()));
        assert_eq!(said(one, Threshold::Below(0.01)), (Verdict::Red, "0.0231".to_owned()));
        assert_eq!(said(one, Threshold::Below(0.0231)).0, Verdict::Red, "below is below");
        assert_eq!(said(one, Threshold::Above(0.01)).0, Verdict::Green);
        assert_eq!(
            said(include_str!("samples/scalar.json"), Threshold::Above(5.0)),
            (Verdict::Red, "3".to_owned())
        );
    }

    #[test]
    fn nothing_to_judge_is_no_data() {
        for sample in [include_str!("samples/empty.json"), include_str!("samples/nan.json")] {
            assert_eq!(said(sample, Threshold::Below(1.0)).0, Verdict::NoData, "{sample}");
        }
    }

    #[test]
    fn more_than_one_number_is_an_error_that_says_what_to_do() {
        assert!(
            error(include_str!("samples/two.json"))
                .ends_with("answers 2 samples: aggregate them, e.g. with sum() or max()")
        );
        assert!(error(include_str!("samples/matrix.json")).contains("answers a range of samples"));
        assert!(error("<html>").starts_with("the answer cannot be read"));
    }

    #[test]
    fn warnings_stay_in_the_value() {
        let (verdict, value) = said(include_str!("samples/warning.json"), Threshold::Below(2.0));
        assert_eq!(verdict, Verdict::Green);
        assert!(value.starts_with("1 (warning: remote_read: error sending request"), "{value}");
    }

    #[test]
    fn a_refusal_is_in_prometheus_own_words() {
        let words = own_words(include_str!("samples/bad-query.json")).unwrap();
        assert_eq!(words, "invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis");
    }

    #[test]
    fn a_short_number_never_changes_sides() {
        let short = |value| short(value, Threshold::Below(0.01));
        assert_eq!(short(0.023_123_4), "0.0231");
        assert_eq!(short(0.010_000_1), "0.0100001");
        assert_eq!(short(0.009_999_9), "0.0099999");
        assert_eq!(short(1_234_567.8), "1234568");
        assert_eq!(short(f64::INFINITY), "inf");
    }
}
