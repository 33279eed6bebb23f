//! The JSON Schemas describe the same format as the parser.

use std::collections::BTreeSet;

use model::parse::{SchemaKind, schema};
use serde_json::{Value, json};

const ENVIRONMENT: &str = include_str!("whole/environment.toml");
const RELEASE: &str = include_str!("whole/release.toml");

/// A TOML file as the JSON that an editor validates.
fn json_of(toml: &str) -> Value {
    fn convert(value: toml::Value) -> Value {
        match value {
            toml::Value::Datetime(datetime) => Value::from(datetime.to_string()),
            toml::Value::Array(items) => items.into_iter().map(convert).collect(),
            toml::Value::Table(table) => {
                table.into_iter().map(|(key, value)| (key, convert(value))).collect()
            }
            toml::Value::String(text) => Value::from(text),
            toml::Value::Integer(number) => Value::from(number),
            toml::Value::Float(number) => Value::from(number),
            toml::Value::Boolean(truth) => Value::from(truth),
        }
    }
    convert(toml::Value::Table(toml.parse().unwrap()))
}

/// A validator for the keywords that the schemas use; any other keyword fails the test.
struct Validator<'a>(&'a Value);

impl Validator<'_> {
    fn accepts(&self, schema: &Value, value: &Value) -> bool {
        let Value::Object(rules) = schema else { return schema == &Value::Bool(true) };
        rules.iter().all(|(keyword, rule)| self.keyword(keyword, rule, schema, value))
    }

    fn keyword(&self, keyword: &str, rule: &Value, schema: &Value, value: &Value) -> bool {
        match keyword {
            "$schema" | "$defs" | "title" | "description" | "format" => true,
            "$ref" => {
                self.accepts(self.0.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap(), value)
            }
            "anyOf" => rule.as_array().unwrap().iter().any(|choice| self.accepts(choice, value)),
            "enum" => rule.as_array().unwrap().contains(value),
            "type" => is(rule.as_str().unwrap(), value),
            "pattern" => value
                .as_str()
                .is_none_or(|text| regex_lite::Regex::new(rule.as_str().unwrap()).unwrap().is_match(text)),
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap()),
            "items" => value.as_array().is_none_or(|items| items.iter().all(|item| self.accepts(rule, item))),
            "required" => value.as_object().is_none_or(|table| {
                rule.as_array().unwrap().iter().all(|key| table.contains_key(key.as_str().unwrap()))
            }),
            "properties" => value.as_object().is_none_or(|table| {
                table
                    .iter()
                    .all(|(key, value)| rule.get(key).is_none_or(|schema| self.accepts(schema, value)))
            }),
            "propertyNames" => {
                value.as_object().is_none_or(|table| table.keys().all(|key| self.accepts(rule, &json!(key))))
            }
            "additionalProperties" => value.as_object().is_none_or(|table| {
                let known = schema.get("properties");
                let mut rest =
                    table.iter().filter(|(key, _)| known.is_none_or(|known| known.get(key).is_none()));
                rest.all(|(_, value)| self.accepts(rule, value))
            }),
            other => panic!("the validator does not know {other}"),
        }
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("the validator does not know type {other}"),
    }
}

fn accepts(which: SchemaKind, value: &Value) -> bool {
    let schema = schema(which);
    Validator(&schema).accepts(&schema, value)
}

#[test]
fn the_whole_format_is_valid_by_its_schema() {
    assert!(accepts(SchemaKind::Environment, &json_of(ENVIRONMENT)));
    assert!(accepts(SchemaKind::Release, &json_of(RELEASE)));
}

#[test]
fn taking_out_or_misspelling_what_is_needed_makes_it_invalid() {
    let changes: [(&str, Value); 8] = [
        ("/mode", json!("reprot")),
        ("/packages/0", json!("Not A Package")),
        ("/role/0/hosts/0", json!("-oProxyCommand=reboot")),
        ("/role/0/max_unavailable", json!("110%")),
        ("/role/1/prepare/0", json!("touch /etc/x")),
        ("/load_balancer/0/backends/web/drain", json!(7)),
        ("/stage/0/run", json!("migrations")),
        ("/gates/alerts/match/0", json!("severity")),
    ];
    for (place, wrong) in changes {
        let mut value = json_of(ENVIRONMENT);
        *value.pointer_mut(place).unwrap() = wrong;
        assert!(!accepts(SchemaKind::Environment, &value), "{place}");
    }
    let mut value = json_of(ENVIRONMENT);
    value["role"][0]["zebra"] = json!(1);
    assert!(!accepts(SchemaKind::Environment, &value), "an unknown key");
    value["role"][0].as_object_mut().unwrap().retain(|key, _| key != "zebra" && key != "hosts");
    assert!(!accepts(SchemaKind::Environment, &value), "a role without hosts");
    assert!(!accepts(SchemaKind::Release, &json!({ "main": { "version": "-1" } })));
    assert!(!accepts(SchemaKind::Release, &json!({})));
    assert!(!accepts(SchemaKind::Environment, &json!({ "packages": ["shop"] })), "no role");
}

#[test]
fn a_file_that_extends_another_need_not_have_a_role_itself() {
    assert!(accepts(SchemaKind::Environment, &json!({ "extends": "../base.toml" })));
}

/// Every key of every table that a schema defines, with its own schema.
fn keys() -> Vec<(String, Value)> {
    let schemas = [SchemaKind::Environment, SchemaKind::Release].map(schema);
    let tables =
        schemas.iter().flat_map(|schema| schema["$defs"].as_object().unwrap().values().chain([schema]));
    let keys = tables.filter_map(|table| table["properties"].as_object()).flatten();
    keys.map(|(key, schema)| (key.clone(), schema.clone())).collect()
}

#[test]
fn every_key_of_both_files_has_a_description() {
    for (key, schema) in keys() {
        assert!(schema["description"].as_str().is_some_and(|text| text.ends_with('.')), "{key}: {schema}");
    }
}

/// So that a new key cannot be forgotten in the file that shows the whole format.
#[test]
fn the_whole_format_uses_every_key_but_the_alternatives() {
    let written = [ENVIRONMENT, RELEASE].join("\n");
    let unused: BTreeSet<String> =
        keys().into_iter().map(|(key, _)| key).filter(|key| !written.contains(key.as_str())).collect();
    let alternatives = "above allow_outage direction extends gitlab_pipeline load_balancer_node package_version \
                        project ref tcp url variables";
    assert_eq!(unused.into_iter().collect::<Vec<_>>().join(" "), alternatives);
}

#[test]
fn every_key_at_the_top_stands_in_the_schema() {
    for (which, text) in [(SchemaKind::Environment, ENVIRONMENT), (SchemaKind::Release, RELEASE)] {
        let schema = schema(which);
        let properties = schema["properties"].as_object().unwrap();
        for key in json_of(text).as_object().unwrap().keys() {
            assert!(properties.contains_key(key), "{key}");
        }
    }
}

#[test]
fn nothing_in_a_schema_may_be_null_because_toml_has_no_null() {
    for which in [SchemaKind::Environment, SchemaKind::Release] {
        assert!(!schema(which).to_string().contains("null"));
    }
}
