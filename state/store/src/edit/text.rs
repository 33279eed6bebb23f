//! A release.toml with the place of everything in it. Changes are cut into the text itself, so that nothing else can
//! change.

use std::ops::Range;

use model::{Track, Version};
use toml_edit::{Document, Item, TableLike, Value};

use super::entry::Entry;
use super::error::EditError;

/// The text, read.
pub(super) struct Release<'a> {
    text: &'a str,
    document: Document<&'a str>,
}

/// An entry with its place: that of its header, or of the whole value.
type Placed<'i> = (&'i dyn TableLike, Range<usize>);

/// The table of a track.
pub(super) fn table_of(track: Track) -> &'static str {
    match track {
        Track::Main => "main",
        Track::Canary => "canary",
    }
}

impl<'a> Release<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, EditError> {
        let syntax =
            |error: toml_edit::TomlError| EditError::Syntax { error: error.to_string().trim().to_owned() };
        Ok(Self { text, document: Document::parse(text).map_err(syntax)? })
    }

    pub(super) fn text_of(&self, table: &str, key: &str) -> Option<&str> {
        self.document.get(table)?.as_table_like()?.get(key)?.as_str()
    }

    pub(super) fn set_version(
        &self,
        track: Track,
        from: Option<&Version>,
        to: &Version,
    ) -> Result<String, EditError> {
        let table = table_of(track);
        let found = self.value(table, "version")?;
        let Value::String(written) = found else { return Err(form(&format!("{table}.version"))) };
        let expected = from.filter(|from| from.as_str() != written.value() && to.as_str() != written.value());
        if let Some(expected) = expected {
            let (table, found) = (table.to_owned(), written.value().clone());
            return Err(EditError::Moved { table, found, expected: expected.to_string() });
        }
        if to.as_str() == written.value() {
            return Ok(self.text.to_owned());
        }
        let span = span(found.span(), "version")?;
        // Inside the quotes, whichever they are: a version needs no escapes.
        let quote = self.text[span.clone()].chars().take_while(|c| "\"'".contains(*c)).count();
        let quote = if quote >= 3 { 3 } else { 1 };
        let text = self.cut(span.start + quote..span.end - quote, to.as_str());
        // A word about the earlier version says nothing of the next one.
        match track {
            Track::Main => Release::read(&text)?.without_direction(),
            Track::Canary => Ok(text),
        }
    }

    fn without_direction(&self) -> Result<String, EditError> {
        let (table, key) = (table_of(Track::Main), "direction");
        let Ok(word) = self.value(table, key) else { return Ok(self.text.to_owned()) };
        if self.document.get(table).is_some_and(Item::is_value) {
            return Err(form(&format!("{table}.{key}")));
        }
        let place = span(word.span(), key)?.start;
        let start = self.text[..place].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[place..].find('\n').map_or(self.text.len(), |at| place + at + 1);
        Ok(self.cut(start..end, ""))
    }

    pub(super) fn set_number(&self, table: &str, key: &str, number: i64) -> Result<String, EditError> {
        match self.value(table, key)? {
            Value::Integer(written) if *written.value() == number => Ok(self.text.to_owned()),
            found => Ok(self.cut(span(found.span(), key)?, &number.to_string())),
        }
    }

    /// Adds an entry after the last of its kind, or at the end of the file.
    pub(super) fn add(&self, entry: &Entry) -> Result<String, EditError> {
        let item = self.document.get(entry.name);
        let all = entries(item, entry.name)?;
        if all.iter().any(|(table, _)| entry.is_said_by(*table)) {
            return Ok(self.text.to_owned());
        }
        if all.iter().any(|(table, _)| entry.is_named_by(*table)) {
            return Err(EditError::There { entry: entry.describe() });
        }
        match item {
            Some(Item::Value(Value::Array(array))) => self.add_inline(array, entry),
            _ => {
                let last = all.iter().filter_map(|(table, span)| end(*table, span.clone())).max();
                Ok(self.add_block(entry, &format!("[[{}]]", entry.name), last))
            }
        }
    }

    /// Removes the one entry that is named.
    pub(super) fn remove(&self, entry: &Entry) -> Result<String, EditError> {
        let item = self.document.get(entry.name);
        let all = entries(item, entry.name)?;
        let mut named = all
            .iter()
            .enumerate()
            .filter(|(_, (table, _))| entry.is_named_by(*table))
            .map(|(place, _)| place);
        let place = named.next().ok_or_else(|| EditError::NotThere { entry: entry.describe() })?;
        let others = named.count();
        if others > 0 {
            return Err(EditError::Ambiguous { entry: entry.describe(), times: others + 1 });
        }
        if let Some(Item::Value(Value::Array(_))) = item {
            let spans: Vec<Range<usize>> = all.iter().map(|(_, span)| span.clone()).collect();
            return Ok(self.remove_inline(&spans, place));
        }
        let (table, span) = &all[place];
        Ok(self.remove_block(*table, span.clone()))
    }

    /// Writes a table that is there once or not at all.
    pub(super) fn write_table(&self, entry: &Entry) -> Result<String, EditError> {
        let Some(item) = self.document.get(entry.name) else {
            return Ok(self.add_block(entry, &format!("[{}]", entry.name), None));
        };
        let table = item.as_table_like().ok_or_else(|| form(entry.name))?;
        if entry.is_said_by(table) {
            return Ok(self.text.to_owned());
        }
        let mut text = self.text.to_owned();
        let mut places = Vec::new();
        for (key, value) in &entry.values {
            let found = self.value(entry.name, key)?;
            places.push((span(found.span(), key)?, value.to_string()));
        }
        // From the end, so that the places before stay as they are.
        places.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
        for (span, value) in places {
            text.replace_range(span, &value);
        }
        Ok(text)
    }

    pub(super) fn remove_table(&self, name: &str) -> Result<String, EditError> {
        match self.document.get(name) {
            None => Err(EditError::NotThere { entry: format!("[{name}]") }),
            Some(Item::Table(table)) if !table.is_dotted() && !table.is_implicit() => {
                Ok(self.remove_block(table, span(table.span(), name)?))
            }
            Some(Item::Value(value)) => Ok(self.remove_lines(span(value.span(), name)?)),
            Some(_) => Err(form(name)),
        }
    }

    fn value(&self, table: &str, key: &str) -> Result<&Value, EditError> {
        let missing = || EditError::Missing { table: table.to_owned(), key: key.to_owned() };
        let found = self.document.get(table).and_then(Item::as_table_like).and_then(|table| table.get(key));
        found.ok_or_else(missing)?.as_value().ok_or_else(|| form(&format!("{table}.{key}")))
    }

    fn cut(&self, span: Range<usize>, new: &str) -> String {
        let mut text = self.text.to_owned();
        text.replace_range(span, new);
        text
    }

    /// As the first line has it.
    fn line_end(&self) -> &'static str {
        match self.text.find('\n') {
            Some(at) if self.text[..at].ends_with('\r') => "\r\n",
            _ => "\n",
        }
    }

    /// Where the line ends in which a place is: before its line end.
    fn end_of_line(&self, place: usize) -> usize {
        let end = self.text[place..].find('\n').map_or(self.text.len(), |at| place + at);
        if self.text[place..end].ends_with('\r') { end - 1 } else { end }
    }

    /// A block of its own, with a blank line before it: after what ends at a place, or at the end of the file.
    fn add_block(&self, entry: &Entry, header: &str, after: Option<usize>) -> String {
        let line = self.line_end();
        let block = entry.block(header, line);
        match after {
            Some(place) => {
                let place = self.end_of_line(place);
                let end = if place == self.text.len() { line } else { "" };
                self.cut(place..place, &format!("{line}{line}{block}{end}"))
            }
            None if self.text.trim().is_empty() => format!("{}{block}{line}", self.text),
            None => {
                let missing = if self.text.ends_with('\n') { "" } else { line };
                format!("{}{missing}{line}{block}{line}", self.text)
            }
        }
    }

    /// The lines of a table, and the blank line before it.
    fn remove_block(&self, table: &dyn TableLike, header: Range<usize>) -> String {
        let end = end(table, header.clone()).unwrap_or(header.end);
        self.remove_lines(header.start..end)
    }

    fn remove_lines(&self, span: Range<usize>) -> String {
        let start = self.text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[span.end..].find('\n').map_or(self.text.len(), |at| span.end + at + 1);
        let before = &self.text[..start];
        let without = before.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text));
        let start = match without {
            // The line before is blank.
            Some(text) if text.is_empty() || text.ends_with('\n') => text.len(),
            _ => start,
        };
        self.cut(start..end, "")
    }

    fn add_inline(&self, array: &toml_edit::Array, entry: &Entry) -> Result<String, EditError> {
        let whole = span(array.span(), entry.name)?;
        let last = array.iter().filter_map(|value| value.span()).map(|span| span.end).max();
        Ok(match last {
            Some(place) => self.cut(place..place, &format!(", {}", entry.inline())),
            None => self.cut(whole.start + 1..whole.start + 1, &entry.inline()),
        })
    }

    /// An element with the comma that parts it from the next, or from the one before.
    fn remove_inline(&self, spans: &[Range<usize>], place: usize) -> String {
        let span = &spans[place];
        match (place.checked_sub(1).and_then(|before| spans.get(before)), spans.get(place + 1)) {
            (Some(before), _) => self.cut(before.end..span.end, ""),
            (None, Some(next)) => self.cut(span.start..next.start, ""),
            (None, None) => {
                let comma = self.text[span.end..].trim_start();
                let end = self.text.len() - comma.len() + 1;
                self.cut(span.start..if comma.starts_with(',') { end } else { span.end }, "")
            }
        }
    }
}

/// Every entry of a kind, however it is written.
fn entries<'i>(item: Option<&'i Item>, name: &str) -> Result<Vec<Placed<'i>>, EditError> {
    match item {
        None => Ok(Vec::new()),
        Some(Item::ArrayOfTables(tables)) => {
            tables.iter().map(|table| Ok((table as &dyn TableLike, span(table.span(), name)?))).collect()
        }
        Some(Item::Value(Value::Array(array))) => array
            .iter()
            .map(|value| {
                let table = value.as_inline_table().ok_or_else(|| form(name))?;
                Ok((table as &dyn TableLike, span(value.span(), name)?))
            })
            .collect(),
        Some(_) => Err(form(name)),
    }
}

/// Where a table ends: after its last value, or after its header.
fn end(table: &dyn TableLike, header: Range<usize>) -> Option<usize> {
    let values = table.iter().filter_map(|(_, item)| match item {
        Item::Table(inner) => end(inner, inner.span()?),
        Item::ArrayOfTables(inner) => inner.iter().filter_map(|table| end(table, table.span()?)).max(),
        _ => item.span().map(|span| span.end),
    });
    values.chain([header.end]).max()
}

fn span(span: Option<Range<usize>>, what: &str) -> Result<Range<usize>, EditError> {
    span.ok_or_else(|| form(what))
}

fn form(what: &str) -> EditError {
    EditError::Form { what: what.to_owned() }
}
