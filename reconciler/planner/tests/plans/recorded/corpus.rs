//! The recorded situations as they lie in a file: one line each, of which only what differs from the line before.

use model::{Due, Plan};
use serde_json::{Map, Value};

/// A situation, and what was planned in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Case {
    /// The simulated life that it comes from.
    pub(crate) seed: u64,
    /// Which of that life's situations.
    pub(crate) number: u64,
    /// All else: `now`, `desired`, `observed`, `history`, and `plan`.
    pub(crate) content: Value,
}

/// The cases of a file, one after the other.
pub(crate) struct Cases<'t> {
    lines: std::str::Lines<'t>,
    /// The newest one, whole.
    pub(crate) content: Value,
}

/// What is new in a case.
pub(crate) struct News {
    pub(crate) seed: u64,
    pub(crate) number: u64,
    /// Against the case before, as a merge patch.
    #[allow(dead_code, reason = "who records anew reads all of it")]
    pub(crate) differs: Value,
}

impl<'t> Cases<'t> {
    pub(crate) fn of(text: &'t str) -> Self {
        Self { lines: text.lines(), content: Value::Null }
    }

    /// The next case; none: that was the last.
    pub(crate) fn read(&mut self) -> Option<News> {
        let mut line: Value = serde_json::from_str(self.lines.next()?).expect("a line of the corpus is JSON");
        let differs = line["differs"].take();
        merge(&mut self.content, differs.clone());
        let number = |name: &str| line[name].as_u64().expect("a case has its numbers");
        Some(News { seed: number("seed"), number: number("number"), differs })
    }
}

/// The file of some cases.
pub(crate) fn write(cases: &[Case]) -> String {
    let mut before = Value::Null;
    let mut text = String::new();
    for case in cases {
        let content = without_nulls(&case.content);
        let differs = difference(&before, &content).unwrap_or_else(|| Value::Object(Map::new()));
        let line = serde_json::json!({"seed": case.seed, "number": case.number, "differs": differs});
        text.push_str(&line.to_string());
        text.push('\n');
        before = content;
    }
    text
}

/// Applies a JSON merge patch (RFC 7386).
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let fields = target.as_object_mut().expect("it was made one");
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(&name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// The merge patch from one value to another; none where they are equal. Neither holds a null.
fn difference(from: &Value, to: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (from, to) else {
        return match to {
            _ if from == to => None,
            // What is no object yet becomes one, field by field.
            to => Some(to.clone()),
        };
    };
    let gone = old.keys().filter(|name| !new.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let changed = new.iter().filter_map(|(name, value)| {
        let differs = difference(old.get(name).unwrap_or(&Value::Null), value)?;
        Some((name.clone(), differs))
    });
    let patch: Map<String, Value> = gone.chain(changed).collect();
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// In a merge patch a null takes a field away: an absent field means the same to every reader here.
pub(crate) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// A plan with what is due later, which its JSON leaves out: a line each, and when the first is due.
pub(crate) fn as_recorded(plan: &Plan) -> Value {
    let line = |Due { scope, at, from: _, cadence, awaited }: &Due| {
        let every = cadence.every(*at);
        format!("{scope:?} every {every:#} for {}", if *awaited { "any reading" } else { "a change" })
    };
    let mut value = without_nulls(&serde_json::to_value(plan).expect("a plan is a value"));
    value["due"] = plan.due.iter().map(line).collect();
    value["next"] = plan.next_turn().map(|turn| turn.to_string()).into();
    without_nulls(&value)
}
