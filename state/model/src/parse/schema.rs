//! JSON Schemas of the two files, generated from the types that read them.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::raw::RawEnvironment;
use super::raw_release::RawRelease;

/// Which file a schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaKind {
    /// environment.toml
    Environment,
    /// release.toml
    Release,
}

/// The JSON Schema (draft 2020-12) of a file, for editors and for other programs.
///
/// It says what a single value may be; rules between values (names that must exist, hosts in two roles) are
/// [`repository`](super::repository)'s.
pub fn schema(which: SchemaKind) -> Value {
    let generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
    let (schema, title) = match which {
        SchemaKind::Environment => (generator.into_root_schema_for::<RawEnvironment>(), "environment.toml"),
        SchemaKind::Release => (generator.into_root_schema_for::<RawRelease>(), "release.toml"),
    };
    let mut schema = schema.to_value();
    strip_null(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), Value::from(title));
        if which == SchemaKind::Environment {
            accept_extended(root);
        }
    }
    schema
}

/// What a file has to say, the file that it extends may say for it.
fn accept_extended(root: &mut Map<String, Value>) {
    if let Some(required) = root.shift_remove("required") {
        root.insert("anyOf".to_owned(), json!([{ "required": required }, { "required": ["extends"] }]));
    }
}

/// TOML has no null: a key is there or not. So an optional key's schema is that of its value.
fn strip_null(schema: &mut Value) {
    let children: Vec<&mut Value> = match &mut *schema {
        Value::Object(object) => object.values_mut().collect(),
        Value::Array(items) => items.iter_mut().collect(),
        _ => return,
    };
    children.into_iter().for_each(strip_null);
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(words)) = object.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            object.shift_remove("anyOf");
            for (key, value) in only {
                object.entry(key).or_insert(value);
            }
        }
    }
}
