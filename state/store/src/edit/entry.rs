//! An entry of release.toml (`[[veto]]`, `[emergency]`, …) as it is written.

use jiff::Timestamp;
use toml_edit::{Array, Datetime, TableLike, Value};

/// An entry: its table's name, and its keys in the order in which they are written. The first keys tell which it is.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) values: Vec<(&'static str, Value)>,
    keys: usize,
}

impl Entry {
    pub(super) fn of(name: &'static str) -> Self {
        Self { name, values: Vec::new(), keys: 0 }
    }

    /// A key that tells which entry it is; before all others.
    pub(super) fn key(mut self, key: &'static str, text: &str) -> Self {
        self.keys += 1;
        self.value(key, text)
    }

    pub(super) fn value(mut self, key: &'static str, text: &str) -> Self {
        self.values.push((key, Value::from(text)));
        self
    }

    pub(super) fn values<'a>(mut self, key: &'static str, texts: impl Iterator<Item = &'a str>) -> Self {
        self.values.push((key, Value::Array(texts.collect::<Array>())));
        self
    }

    pub(super) fn why(self, reason: &str) -> Self {
        self.value("reason", reason)
    }

    /// An instant, where there is one, to the second.
    pub(super) fn until(mut self, until: Option<Timestamp>) -> Self {
        let to_the_second = |at: Timestamp| Timestamp::from_second(at.as_second()).unwrap_or(at);
        if let Some(at) = until.and_then(|at| to_the_second(at).to_string().parse::<Datetime>().ok()) {
            self.values.push(("until", Value::from(at)));
        }
        self
    }

    /// Whether a table is about the same thing.
    pub(super) fn is_named_by(&self, table: &dyn TableLike) -> bool {
        self.values.iter().take(self.keys).all(|(key, value)| says(table, key, value))
    }

    /// Whether a table says exactly this.
    pub(super) fn is_said_by(&self, table: &dyn TableLike) -> bool {
        table.len() == self.values.len() && self.values.iter().all(|(key, value)| says(table, key, value))
    }

    /// For people: `[[veto]] version = "1.0"`.
    pub(super) fn describe(&self) -> String {
        let keys: Vec<String> =
            self.values.iter().take(self.keys).map(|(key, value)| format!("{key} = {value}")).collect();
        format!("[[{}]] {}", self.name, keys.join(", "))
    }

    /// As a block of lines, with its keys in line, without a line end after the last.
    pub(super) fn block(&self, header: &str, line_end: &str) -> String {
        let width = self.values.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
        let mut block = header.to_owned();
        for (key, value) in &self.values {
            block.push_str(&format!("{line_end}{key:width$} = {value}"));
        }
        block
    }

    /// As one value.
    pub(super) fn inline(&self) -> String {
        let values: Vec<String> = self.values.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        format!("{{ {} }}", values.join(", "))
    }
}

fn says(table: &dyn TableLike, key: &str, value: &Value) -> bool {
    table.get(key).and_then(|item| item.as_value()).is_some_and(|found| same(found, value))
}

/// Whether two values mean the same, however they are written. An instant may be written as a text.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(a, b))
        }
        (Value::Datetime(a), Value::Datetime(b)) => a.value() == b.value(),
        (Value::String(a), Value::Datetime(b)) => *a.value() == b.value().to_string(),
        (Value::String(a), Value::String(b)) => a.value() == b.value(),
        (Value::Integer(a), Value::Integer(b)) => a.value() == b.value(),
        _ => false,
    }
}
