//! Reads typed values from the tree. A value that does not fit is reported and left out; reading always goes on, so
//! that all mistakes of a file are shown at once.
//!
//! The types are the single source of truth: `table!` makes the reader of a table from its fields, and the JSON Schema
//! is derived from the same fields.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Deref;
use std::rc::Rc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::problem::{Position, Problems};
use super::tree::{Node, Table, Value};

/// A value that can be written in a file.
pub(super) trait Read: Sized {
    /// Reads it, or reports why not.
    fn read(node: &Rc<Node>, problems: &mut Problems) -> Option<Self>;
}

/// A text with a rule.
pub(super) trait Text: Sized {
    /// Checks it against its rule; the error says what is wrong.
    fn parse(text: &str) -> Result<Self, String>;
}

/// What a table holds under a key.
pub(super) trait Field: Sized {
    /// Reads the key's value. Never fails: a mistake is reported, and the field is empty.
    fn field(node: &Node, table: &Table, key: &str, problems: &mut Problems) -> Self;
}

/// A key that has to be written. Empty only after a problem was reported.
#[derive(Debug)]
pub(super) struct Need<T>(Option<At<T>>);

/// A value with its place.
#[derive(Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) node: Rc<Node>,
}

/// A table whose keys are names that the user chooses.
#[derive(Debug)]
pub(super) struct Map<K, V>(Vec<(At<K>, At<V>)>);

impl<T> Need<T> {
    pub(super) fn get(&self) -> Option<&At<T>> {
        self.0.as_ref()
    }
}

impl<T> At<T> {
    pub(super) fn at(&self) -> &Position {
        &self.node.at
    }
}

impl<T> Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<K, V> Map<K, V> {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&At<K>, &At<V>)> {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

/// The names that a table defines, those with a mistaken value too: a reference to one of them is no mistake.
pub(super) fn names_in<K, V>(map: Option<&At<Map<K, V>>>) -> BTreeSet<&str> {
    match map.map(|map| &map.node.value) {
        Some(Value::Table(table)) => table.keys().map(String::as_str).collect(),
        _ => BTreeSet::new(),
    }
}

impl<T: Read> Field for Option<T> {
    fn field(_: &Node, table: &Table, key: &str, problems: &mut Problems) -> Self {
        table.get(key).and_then(|(_, node)| T::read(node, problems))
    }
}

impl<T: Read> Field for Need<T> {
    fn field(node: &Node, table: &Table, key: &str, problems: &mut Problems) -> Self {
        let Some((_, value)) = table.get(key) else {
            problems.add(&node.at, format!("missing key `{key}`"));
            return Self(None);
        };
        Self(At::read(value, problems))
    }
}

impl<T: Read> Read for At<T> {
    fn read(node: &Rc<Node>, problems: &mut Problems) -> Option<Self> {
        T::read(node, problems).map(|value| Self { value, node: Rc::clone(node) })
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Rc<Node>, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::List(items) => Some(items.iter().filter_map(|item| T::read(item, problems)).collect()),
            _ => expected("a list", node, problems),
        }
    }
}

impl<K: Text, V: Read> Read for Map<K, V> {
    fn read(node: &Rc<Node>, problems: &mut Problems) -> Option<Self> {
        let table = table_of(node, problems)?;
        let entries = table.iter().filter_map(|(key, (at, value))| {
            let name = K::parse(key).map_err(|error| problems.add(at, error)).ok();
            let value = At::read(value, problems);
            let key = Node { at: at.clone(), value: Value::Text(key.clone()) };
            Some((At { value: name?, node: Rc::new(key) }, value?))
        });
        Some(Self(entries.collect()))
    }
}

impl<T: Text> Read for T {
    fn read(node: &Rc<Node>, problems: &mut Problems) -> Option<Self> {
        let Value::Text(text) = &node.value else { return expected("a text", node, problems) };
        T::parse(text).map_err(|error| problems.add(&node.at, error)).ok()
    }
}

impl Read for bool {
    fn read(node: &Rc<Node>, problems: &mut Problems) -> Option<Self> {
        match node.value {
            Value::Boolean(truth) => Some(truth),
            _ => expected("true or false", node, problems),
        }
    }
}

impl Read for f64 {
    fn read(node: &Rc<Node>, problems: &mut Problems) -> Option<Self> {
        match node.value {
            Value::Float(number) if number.is_finite() => Some(number),
            #[expect(clippy::cast_precision_loss, reason = "a threshold that people write")]
            Value::Integer(number) => Some(number as f64),
            _ => expected("a number", node, problems),
        }
    }
}

/// Reports a value of the wrong kind.
pub(super) fn expected<T>(what: &str, node: &Node, problems: &mut Problems) -> Option<T> {
    problems.add(&node.at, format!("expected {what}, found {}", node.kind()));
    None
}

/// The node's table, or a problem.
pub(super) fn table_of<'a>(node: &'a Node, problems: &mut Problems) -> Option<&'a Table> {
    match &node.value {
        Value::Table(table) => Some(table),
        _ => expected("a table", node, problems),
    }
}

/// Reports every key that the table does not know.
pub(super) fn refuse_unknown_keys(table: &Table, known: &[&str], problems: &mut Problems) {
    for (key, (at, _)) in table.iter().filter(|(key, _)| !known.contains(&key.as_str())) {
        problems.unknown(at, format!("unknown key `{key}`"), key, known.iter().copied());
    }
}

/// The key that a field stands for: `r#match` is written `match`.
pub(super) fn key_of(field: &'static str) -> &'static str {
    field.trim_start_matches("r#")
}

/// A table with fixed keys: `Need<T>` must be written, `Option<T>` may be.
macro_rules! table {
    ($($(#[$about:meta])* struct $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$about])*
        #[derive(Debug, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub(super) struct $name { $($(#[$doc])* pub(super) $field: $type,)* }

        impl $crate::parse::read::Read for $name {
            fn read(
                node: &std::rc::Rc<$crate::parse::tree::Node>,
                problems: &mut $crate::parse::problem::Problems,
            ) -> Option<Self> {
                use $crate::parse::read::{Field, key_of, refuse_unknown_keys, table_of};
                let table = table_of(node, problems)?;
                refuse_unknown_keys(table, &[$(key_of(stringify!($field))),*], problems);
                Some(Self { $($field: Field::field(node, table, key_of(stringify!($field)), problems),)* })
            }
        }
    )*};
}

/// A choice between a few words.
macro_rules! words {
    ($($type:ty, $name:literal: $($word:literal => $value:expr),+;)*) => {$(
        impl $crate::parse::read::Read for $type {
            fn read(
                node: &std::rc::Rc<$crate::parse::tree::Node>,
                problems: &mut $crate::parse::problem::Problems,
            ) -> Option<Self> {
                let words = [$($word),+];
                let $crate::parse::tree::Value::Text(text) = &node.value else {
                    return $crate::parse::read::expected(&$crate::parse::read::one_of(&words), node, problems);
                };
                match text.as_str() {
                    $($word => Some($value),)+
                    other => {
                        let message = format!("`{other}` is not {}", $crate::parse::read::one_of(&words));
                        problems.unknown(&node.at, message, other, words);
                        None
                    }
                }
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$($word),+] })
            }
        }
    )*};
}

pub(super) use {table, words};

/// `a`, `b` or `c`.
pub(super) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

macro_rules! schema_of_inner {
    ($($outer:ident),*) => {$(
        impl<T: JsonSchema> JsonSchema for $outer<T> {
            fn inline_schema() -> bool {
                T::inline_schema()
            }
            fn schema_name() -> Cow<'static, str> {
                T::schema_name()
            }
            fn schema_id() -> Cow<'static, str> {
                T::schema_id()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                T::json_schema(generator)
            }
        }
    )*};
}

schema_of_inner!(At, Need);

impl<K: JsonSchema, V: JsonSchema> JsonSchema for Map<K, V> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Map_of_{}", V::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (names, values) = (generator.subschema_for::<K>(), generator.subschema_for::<V>());
        json_schema!({ "type": "object", "propertyNames": names, "additionalProperties": values })
    }
}
