//! Text for a POSIX shell and back: quoting, argument lists, sections of an answer.

use std::collections::BTreeMap;

use model::Argv;

/// One word for the shell, whatever is in it.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// An argument list as one command: the number of words stays what it was.
pub fn command(argv: &Argv) -> String {
    argv.0.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

/// Replaces `{name}` by its value, within words, in one pass: a value is never looked into.
pub fn fill(argv: &Argv, values: &[(&str, &str)]) -> Argv {
    Argv(argv.0.iter().map(|word| fill_word(word, values)).collect())
}

/// See [`fill`].
pub fn fill_word(word: &str, values: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('{') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let found = values.iter().find_map(|(name, value)| {
            Some((rest.strip_prefix('{')?.strip_prefix(name)?.strip_prefix('}')?, value))
        });
        match found {
            Some((after, value)) => {
                text.push_str(value);
                rest = after;
            }
            None => {
                text.push('{');
                rest = &rest[1..];
            }
        }
    }
    text + rest
}

/// The last lines of a text that are not empty, for people.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// The field `starttime` of `/proc/<pid>/stat`. The process's name may hold blanks and parentheses.
pub fn start_ticks(stat: &str) -> Option<u64> {
    // It is field 22; the first after the name is field 3.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

/// An answer in sections, each begun by a line `@@name`. A name that comes twice keeps its first text, so that a
/// program's output cannot replace what the script said before it.
pub fn sections(text: &str) -> BTreeMap<&str, &str> {
    let mut sections = BTreeMap::new();
    for part in text.split("\n@@").map(|part| part.strip_prefix("@@").unwrap_or(part)) {
        let (name, body) = part.split_once('\n').unwrap_or((part, ""));
        sections.entry(name).or_insert(body);
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_stays_one_word_whatever_it_holds() {
        let argv = Argv(vec!["echo".into(), "it's $HOME; rm -rf /".into(), String::new()]);
        assert_eq!(command(&argv), r"'echo' 'it'\''s $HOME; rm -rf /' ''");
    }

    #[test]
    fn placeholders_are_filled_once_and_a_value_is_never_looked_into() {
        let values = [("host", "{version}"), ("version", "1.0")];
        assert_eq!(fill_word("{host}-{version}-{other}-{", &values), "{version}-1.0-{other}-{");
    }

    #[test]
    fn a_process_whose_name_looks_like_fields_is_read_right() {
        let stat = "42 (a) b 7) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        assert_eq!(start_ticks(stat), Some(98_765));
    }

    #[test]
    fn an_answer_falls_into_its_sections() {
        let sections = sections("@@one\n1\n2\n@@two\n@@three\nx");
        assert_eq!((sections["one"], sections["two"], sections["three"]), ("1\n2", "", "x"));
    }
}
