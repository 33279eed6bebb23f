//! Gates, resolved: one source each, with what belongs to it.

use std::collections::BTreeMap;
use std::str::Chars;

use jiff::SignedDuration;

use super::problem::Problems;
use super::raw::RawEnvironment;
use super::raw_policy::{NoData, RawGate};
use super::read::At;
use super::roles::exactly_one;
use super::text::MAX_DURATION;
use crate::ids::GateName;
use crate::pipeline::{Gate, GateQuestion, Threshold};

const OF_ALERTMANAGER: [&str; 3] = ["match", "heartbeat", "quiet_for"];
const OF_PROMETHEUS: [&str; 4] = ["query", "below", "above", "settle"];

/// The gates that could be read whole.
pub(super) fn resolve(file: &RawEnvironment, problems: &mut Problems) -> BTreeMap<GateName, Gate> {
    let written = file.gates.iter().flat_map(|gates| gates.value.iter());
    written.filter_map(|(name, raw)| Some((name.value.clone(), gate(raw, problems)?))).collect()
}

fn gate(raw: &At<RawGate>, problems: &mut Problems) -> Option<Gate> {
    check(raw, problems);
    let asks = alertmanager(raw).or_else(|| prometheus(raw))?;
    let range = raw.query.as_ref().map_or(SignedDuration::ZERO, |query| longest_range(&query.0));
    Some(Gate {
        asks,
        quiet_for: raw.quiet_for.as_ref().map_or(SignedDuration::ZERO, |quiet| quiet.value.0),
        settle: raw.settle.as_ref().map_or(range, |settle| settle.value.0),
        no_data_is_green: raw.no_data == Some(NoData::Green),
        observe: raw.observe.unwrap_or(false),
    })
}

fn alertmanager(raw: &RawGate) -> Option<GateQuestion> {
    Some(GateQuestion::Alertmanager {
        url: raw.alertmanager.as_ref()?.value.0.clone(),
        matchers: raw.r#match.as_ref()?.iter().map(|matcher| matcher.value.0.clone()).collect(),
        heartbeat: raw.heartbeat.as_ref().map(|alert| alert.value.0.clone()),
    })
}

fn prometheus(raw: &RawGate) -> Option<GateQuestion> {
    let below = raw.below.as_ref().map(|limit| Threshold::Below(limit.value));
    let above = raw.above.as_ref().map(|limit| Threshold::Above(limit.value));
    Some(GateQuestion::Prometheus {
        url: raw.prometheus.as_ref()?.value.0.clone(),
        query: raw.query.as_ref()?.value.0.clone(),
        threshold: below.or(above)?,
    })
}

fn check(gate: &At<RawGate>, problems: &mut Problems) {
    if exactly_one("a gate", &["alertmanager", "prometheus"], &gate.node, problems).is_none() {
        return;
    }
    let (own, foreign): (&str, &[&str]) = match gate.node.has("alertmanager") {
        true => ("alertmanager", &OF_PROMETHEUS),
        false => ("prometheus", &OF_ALERTMANAGER),
    };
    for key in foreign.iter().filter(|key| gate.node.has(key)) {
        problems.add(gate.node.key_at(key), format!("`{key}` means nothing for a gate with `{own}`"));
    }
    match own {
        "alertmanager" => check_matchers(gate, problems),
        _ => check_query(gate, problems),
    }
}

fn check_matchers(gate: &At<RawGate>, problems: &mut Problems) {
    let empty = gate.r#match.as_ref().is_some_and(|matchers| matchers.node.is_empty());
    if !gate.node.has("match") || empty {
        problems.add(gate.node.key_at("match"), "a gate with `alertmanager` needs at least one `match`");
    }
}

fn check_query(gate: &At<RawGate>, problems: &mut Problems) {
    if !gate.node.has("query") {
        problems.add(&gate.node.at, "missing key `query`");
    }
    exactly_one("a gate with `prometheus`", &["below", "above"], &gate.node, problems);
}

/// The longest range that a query looks back over: of `rate(x[5m])` five minutes, of the subquery `x[1h:5m]` an hour.
/// None at all counts as zero, and so does a range that is computed.
fn longest_range(query: &str) -> SignedDuration {
    let mut longest = SignedDuration::ZERO;
    let mut rest = query.chars();
    while let Some(character) = rest.next() {
        match character {
            '"' | '\'' | '`' => skip_text(&mut rest, character),
            '#' => break,
            '[' => longest = longest.max(range(rest.as_str())),
            _ => {}
        }
    }
    longest
}

/// A label's value may well hold brackets.
fn skip_text(rest: &mut Chars<'_>, quote: char) {
    while let Some(character) = rest.next() {
        if character == quote {
            return;
        }
        if character == '\\' && quote != '`' {
            rest.next();
        }
    }
}

/// The range at the start of a text that follows a `[`.
fn range(text: &str) -> SignedDuration {
    let written = text.split([']', ':']).next().unwrap_or_default().trim();
    let seconds = || written.parse::<u64>().ok()?.checked_mul(1000);
    let millis = spelled(written).or_else(seconds).unwrap_or_default();
    SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX)).min(MAX_DURATION)
}

/// The milliseconds of a duration in Prometheus' syntax, like `1h30m`.
fn spelled(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, next) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        total = total.saturating_add(number.parse::<u64>().ok()?.saturating_mul(millis_of(unit)?));
        rest = next;
    }
    Some(total)
}

fn millis_of(unit: &str) -> Option<u64> {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60 * 1000),
        "h" => Some(60 * 60 * 1000),
        "d" => Some(DAY),
        "w" => Some(7 * DAY),
        "y" => Some(365 * DAY),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_query_looks_back_over_its_longest_range() {
        let ranges = [
            ("up", 0),
            ("up == 1 # [5m]", 0),
            ("rate(x[5m])", 300),
            ("sum(rate(a[5m])) / sum(rate(b[ 1h30m ]))", 5400),
            ("max_over_time(rate(x[5m])[1h:1m])", 3600),
            ("rate(x[90])", 90),
            ("rate(x[1500ms])", 1),
            ("rate(x[1w2d])", 9 * 86_400),
            (r#"rate(x{path="/[9h]\"[8h]", y='[7h]', z=`\`}[5m])"#, 300),
            ("rate(x[$__interval])", 0),
            ("rate(x[", 0),
            ("x[99y]", 366 * 86_400),
            ("x[99999999999999999999y]", 0),
            ("x[18446744073709551615y]", 366 * 86_400),
        ];
        for (query, seconds) in ranges {
            assert_eq!(longest_range(query).as_secs(), seconds, "{query}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_a_range_of_at_most_a_year(query in r#"[\[\]:"'`\\#0-9mhdwyµ ]{0,40}"#) {
            let range = longest_range(&query);
            prop_assert!(range >= SignedDuration::ZERO && range <= MAX_DURATION);
        }
    }
}
