//! What is valid and not acted on yet is refused by name and place: a file never says something that is ignored.

use super::problem::Problems;
use super::raw::RawEnvironment;
use super::raw_release::RawRelease;
use super::read::At;
use super::tree::{Node, Value};

const OF_RELEASE: [(&str, Form); 7] = [
    ("canary", Form::Table),
    ("emergency", Form::Table),
    ("veto", Form::List),
    ("hold", Form::List),
    ("out", Form::List),
    ("patch", Form::List),
    ("allow", Form::Table),
];

const OF_ENVIRONMENT: [(&str, Form); 10] = [
    ("migrations", Form::Table),
    ("config_agent", Form::Table),
    ("gates", Form::Tables),
    ("checks", Form::Tables),
    ("stage_defaults", Form::Table),
    ("stage", Form::List),
    ("promotion", Form::Table),
    ("follow", Form::List),
    ("freeze", Form::List),
    ("patch_roots", Form::Table),
];

/// How a key is written.
#[derive(Clone, Copy)]
enum Form {
    /// `[key]`
    Table,
    /// `[key.name]`, each refused by itself.
    Tables,
    /// `[[key]]`
    List,
}

/// Refuses what release.toml says and nothing acts on.
pub(super) fn check_release(release: &At<RawRelease>, problems: &mut Problems) {
    OF_RELEASE.iter().for_each(|(key, form)| refuse(&release.node, key, *form, problems));
}

/// Refuses what environment.toml says and nothing acts on.
pub(super) fn check_environment(file: &At<RawEnvironment>, problems: &mut Problems) {
    OF_ENVIRONMENT.iter().for_each(|(key, form)| refuse(&file.node, key, *form, problems));
    if let Some(budget) = file.node.get("budget").filter(|budget| budget.has("emergency")) {
        problems.add(budget.key_at("emergency"), "not supported yet: `budget.emergency`");
    }
}

fn refuse(node: &Node, key: &str, form: Form, problems: &mut Problems) {
    let Some(value) = node.get(key) else { return };
    match (form, &value.value) {
        (Form::Tables, Value::Table(entries)) => {
            for (name, (at, _)) in entries {
                problems.add(at, format!("not supported yet: `[{key}.{name}]`"));
            }
        }
        (Form::List, _) => problems.add(node.key_at(key), format!("not supported yet: `[[{key}]]`")),
        _ => problems.add(node.key_at(key), format!("not supported yet: `[{key}]`")),
    }
}
