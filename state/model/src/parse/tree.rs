//! A TOML file as a tree of nodes that know where they stand, and the merge that `extends` asks for.

use std::collections::BTreeMap;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{File, Position, Problems};

/// No file that people review is larger.
pub(super) const MAX_FILE_BYTES: usize = 1024 * 1024;
/// The deepest key of the format is at 6.
const MAX_DEPTH: usize = 16;

/// One value, and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime(toml::value::Datetime),
    List(Vec<Rc<Node>>),
    Table(Table),
}

/// Keys with the place of the key itself, and their values.
pub(super) type Table = BTreeMap<String, (Position, Rc<Node>)>;

impl Node {
    /// What it is, in the words of an error message.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Text(_) => "a text",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Boolean(_) => "true or false",
            Value::Datetime(_) => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// Whether it was written as an empty list or table; one whose items were refused is not empty.
    pub(super) fn is_empty(&self) -> bool {
        match &self.value {
            Value::List(items) => items.is_empty(),
            Value::Table(table) => table.is_empty(),
            _ => false,
        }
    }

    /// The value of a key, when this is a table that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Rc<Node>> {
        match &self.value {
            Value::Table(table) => table.get(key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Whether a key was written, whatever its value is worth.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The place of a key; of the table itself when the key is missing.
    pub(super) fn key_at(&self, key: &str) -> &Position {
        match &self.value {
            Value::Table(table) => table.get(key).map_or(&self.at, |(at, _)| at),
            _ => &self.at,
        }
    }
}

/// Parses one file. `None` after a syntax error: what was recovered would only breed errors that are none.
pub(super) fn read(path: &str, text: &str, problems: &mut Problems) -> Option<Rc<Node>> {
    let too_large = text.len() > MAX_FILE_BYTES;
    let kept = if too_large { String::new() } else { text.to_owned() };
    let file = Rc::new(File { path: path.to_owned(), text: kept });
    let at = |offset| Position { file: Rc::clone(&file), offset };
    if too_large {
        problems.add(&at(0), format!("the file has {} bytes; at most {MAX_FILE_BYTES} are read", text.len()));
        return None;
    }
    let (root, errors) = DeTable::parse_recoverable(&file.text);
    for error in &errors {
        problems.add(&at(error.span().map_or(0, |span| span.start)), one_line(error.message()));
    }
    if !errors.is_empty() {
        return None;
    }
    let mut growing = Growing { file: &file, problems, whole: true };
    let table = growing.table(root.into_inner(), 1);
    growing.whole.then(|| Rc::new(Node { at: at(0), value: Value::Table(table) }))
}

fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join(", ")
}

/// Turns the parser's tree into ours.
struct Growing<'a> {
    file: &'a Rc<File>,
    problems: &'a mut Problems,
    whole: bool,
}

impl Growing<'_> {
    fn at(&self, offset: usize) -> Position {
        Position { file: Rc::clone(self.file), offset }
    }

    fn table(&mut self, table: DeTable<'_>, depth: usize) -> Table {
        let mut entries = Table::new();
        for (key, value) in table {
            let at = self.at(key.span().start);
            if let Some(node) = self.node(value, depth) {
                entries.insert(key.into_inner().into_owned(), (at, Rc::new(node)));
            }
        }
        entries
    }

    fn node(&mut self, value: Spanned<DeValue<'_>>, depth: usize) -> Option<Node> {
        let at = self.at(value.span().start);
        if depth > MAX_DEPTH {
            return self.refuse(&at, format!("nested more than {MAX_DEPTH} deep"));
        }
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Boolean(truth) => Value::Boolean(truth),
            DeValue::Datetime(datetime) => Value::Datetime(datetime),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => return self.refuse(&at, format!("`{number}` is too large a number")),
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => Value::Float(number),
                Err(_) => return self.refuse(&at, format!("`{number}` is not a number")),
            },
            DeValue::Array(items) => Value::List(
                items.into_iter().filter_map(|item| self.node(item, depth + 1).map(Rc::new)).collect(),
            ),
            DeValue::Table(table) => Value::Table(self.table(table, depth + 1)),
        };
        Some(Node { at, value })
    }

    fn refuse(&mut self, at: &Position, message: String) -> Option<Node> {
        self.whole = false;
        self.problems.add(at, message);
        None
    }
}

/// What `extends` means: the other file's keys first. Plain tables at the top level merge key by key; everything else,
/// arrays of tables too, is replaced as a whole.
pub(super) fn merge(base: &Node, over: &Node) -> Node {
    let (Value::Table(base), Value::Table(own)) = (&base.value, &over.value) else {
        return Node { at: over.at.clone(), value: Value::Table(Table::new()) };
    };
    let mut merged = base.clone();
    for (key, (at, node)) in own {
        let node = match (merged.get(key).map(|(_, node)| &node.value), &node.value) {
            (Some(Value::Table(below)), Value::Table(above)) => {
                let mut both = below.clone();
                both.extend(above.clone());
                Rc::new(Node { at: node.at.clone(), value: Value::Table(both) })
            }
            _ => Rc::clone(node),
        };
        merged.insert(key.clone(), (at.clone(), node));
    }
    Node { at: over.at.clone(), value: Value::Table(merged) }
}

/// The repository path that `target` means when it is written in `from`; `None` when it leaves the repository.
pub(super) fn relative_path(from: &str, target: &str) -> Option<String> {
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    if target.starts_with('/') {
        return None;
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_climb_within_the_repository_and_not_out_of_it() {
        let from = "environments/staging/environment.toml";
        assert_eq!(relative_path(from, "../base.toml").as_deref(), Some("environments/base.toml"));
        assert_eq!(relative_path(from, "../../base.toml").as_deref(), Some("base.toml"));
        assert_eq!(relative_path(from, "./x/../y.toml").as_deref(), Some("environments/staging/y.toml"));
        assert_eq!(relative_path(from, "../../../base.toml"), None);
        assert_eq!(relative_path(from, "/etc/base.toml"), None);
    }
}
