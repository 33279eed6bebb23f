//! Alertmanager's and Prometheus' JSON.

use model::{Threshold, Verdict};
use providers::fuzzing::{alerts, judge, refusals};
use serde_json::Value;

use crate::{field, parsed, text};

/// A list of alerts: as many as there are, or an error; never fewer.
pub(crate) fn alertmanager(bytes: &[u8]) {
    let text = text(bytes);
    refusals(&text).into_iter().flatten().for_each(drop);
    let answer = parsed(&text);
    match alerts(&text) {
        Ok((count, told)) => {
            let listed = answer.map(|answer| answer.as_array().map(Vec::len));
            assert!(listed.is_none_or(|listed| listed == Some(count)), "{listed:?} alerts, {count} read");
            assert_eq!(told.is_empty(), count == 0, "{told:?}");
        }
        Err(error) => assert!(!error.is_empty()),
    }
}

/// One number, judged: green only by the number that stands there, and shown on its own side of the threshold.
pub(crate) fn prometheus(bytes: &[u8]) {
    let text = text(bytes);
    let Some(answer) = parsed(&text) else {
        let _ = judge(&text, Threshold::Below(1.0));
        return;
    };
    for limit in [0.01, 1.0, 1234.5, -1e300, 0.0] {
        for threshold in [Threshold::Below(limit), Threshold::Above(limit)] {
            match judge(&text, threshold) {
                Ok((verdict @ (Verdict::Green | Verdict::Red), value)) => {
                    judged_by_its_number(&answer, threshold, verdict, &value);
                }
                Ok((verdict, _)) => assert_eq!(verdict, Verdict::NoData),
                Err(error) => assert!(!error.is_empty()),
            }
        }
    }
}

fn judged_by_its_number(answer: &Value, threshold: Threshold, verdict: Verdict, shown: &str) {
    let number = the_number(answer).expect("a verdict without a number");
    let good = |number: f64| match threshold {
        Threshold::Below(limit) => number < limit,
        Threshold::Above(limit) => number > limit,
    };
    assert_eq!(good(number), verdict == Verdict::Green, "{number} {threshold}");
    let shown: f64 = shown.split(" (warning").next().unwrap_or_default().parse().expect("a number is shown");
    assert_eq!(good(shown), good(number), "{number} is shown as {shown}, {threshold}");
}

/// The only number of a scalar, or of the only sample.
fn the_number(answer: &Value) -> Option<f64> {
    let result = field(field(answer, "data", 0)?, "result", 1)?.as_array()?;
    let value = match result.as_slice() {
        [sample] => field(sample, "value", 0)?.get(1)?,
        [_, value] => value,
        _ => return None,
    };
    value.as_str()?.parse().ok()
}
