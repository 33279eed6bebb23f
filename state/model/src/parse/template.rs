//! Placeholders: `{host}` and its like, known or refused.

use super::problem::{Position, Problems};
use super::read::{At, one_of};
use crate::desired::Argv;

/// What a command on a host may be told.
pub(super) const IN_COMMANDS: [&str; 3] = ["{host}", "{version}", "{environment}"];
/// What the command that pins a configuration agent may be told.
pub(super) const IN_PIN: [&str; 4] = ["{host}", "{version}", "{environment}", "{track}"];
/// What a check may be told.
pub(super) const IN_CHECKS: [&str; 4] = ["{version}", "{environment}", "{track}", "{stage}"];
/// What a check's command on a host may be told.
pub(super) const IN_CHECK_COMMANDS: [&str; 5] =
    ["{host}", "{version}", "{environment}", "{track}", "{stage}"];

/// Reports placeholders that are none of `known`. What is no name in braces is left alone: a command may well need
/// JSON, or the `%{…}` of curl.
pub(super) fn check(text: &str, known: &[&str], at: &Position, problems: &mut Problems) {
    for placeholder in placeholders(text).filter(|placeholder| !known.contains(placeholder)) {
        let message = format!("unknown placeholder `{placeholder}`; here can stand {}", one_of(known));
        problems.unknown(at, message, placeholder, known.iter().copied());
    }
}

/// As [`check`], for a text in which braces can mean nothing else.
pub(super) fn check_strictly(text: &str, known: &[&str], at: &Position, problems: &mut Problems) {
    check(text, known, at, problems);
    let rest = placeholders(text).fold(text.to_owned(), |rest, placeholder| rest.replace(placeholder, ""));
    if rest.contains(['{', '}']) {
        problems.add(at, format!("`{text}` has a brace that belongs to no placeholder"));
    }
}

/// As [`check`], for every argument of a command.
pub(super) fn check_command(command: &At<Argv>, problems: &mut Problems) {
    check_arguments(command, &IN_COMMANDS, problems);
}

/// As [`check_command`], for a command that may be told other things.
pub(super) fn check_arguments(command: &At<Argv>, known: &[&str], problems: &mut Problems) {
    for argument in &command.value.0 {
        check(argument, known, command.at(), problems);
    }
}

/// Looks at every character once, whatever the text.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('{').filter_map(|(start, _)| {
        let rest = text.get(start + 1..)?;
        let name = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').filter(|length| *length > 0)?;
        let foreign = text.get(..start)?.ends_with('%');
        let closed = rest.get(name..)?.starts_with('}');
        (closed && !foreign).then(|| text.get(start..start + name + 2)).flatten()
    })
}
