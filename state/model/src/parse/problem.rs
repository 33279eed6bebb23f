//! What is wrong with a desired-state repository, and exactly where.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

/// Hints are not computed beyond this many problems: a hostile file must not buy hours of comparing words.
const MAX_HINTED: usize = 200;

/// Nor for longer words.
const MAX_HINTED_CHARS: usize = 100;

/// One mistake in one file, as a person needs it to mend it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// Path within the repository.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead, when that can be guessed.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message, hint } = self;
        write!(f, "{file}:{line}:{column}: {message}")?;
        hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

/// A file of the repository while it is parsed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
}

/// A place in a file. Lines and columns are counted only for the places that turn out to matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) file: Rc<File>,
    pub(super) offset: usize,
}

#[derive(Debug)]
struct Found {
    at: Position,
    message: String,
    hint: Option<String>,
}

/// Collects every problem; nothing stops at the first.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Found>,
    warnings: Vec<Found>,
}

impl Problems {
    pub(super) fn add(&mut self, at: &Position, message: impl Into<String>) {
        self.found.push(Found { at: at.clone(), message: message.into(), hint: None });
    }

    pub(super) fn add_with_hint(
        &mut self,
        at: &Position,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.found.push(Found { at: at.clone(), message: message.into(), hint: Some(hint.into()) });
    }

    /// Something odd that does no harm.
    pub(super) fn warn(&mut self, at: &Position, message: impl Into<String>) {
        self.warnings.push(Found { at: at.clone(), message: message.into(), hint: None });
    }

    /// A word that is none of the words known here.
    pub(super) fn unknown<'a>(
        &mut self,
        at: &Position,
        message: impl Into<String>,
        word: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) {
        let hint = if self.found.len() < MAX_HINTED { did_you_mean(word, known) } else { None };
        self.found.push(Found { at: at.clone(), message: message.into(), hint });
    }

    /// The problems, and the warnings.
    pub(super) fn into_sorted(self) -> (Vec<Problem>, Vec<Problem>) {
        (sorted(self.found), sorted(self.warnings))
    }
}

/// In the order of the files and of the lines in them, each once: a file that two others extend is read twice.
fn sorted(mut found: Vec<Found>) -> Vec<Problem> {
    found.sort_by(|a, b| (&a.at.file.path, a.at.offset).cmp(&(&b.at.file.path, b.at.offset)));
    let mut counter = LineCounter::default();
    let mut problems: Vec<Problem> = found.into_iter().map(|found| counter.place(found)).collect();
    let mut seen = BTreeSet::new();
    problems.retain(|problem| seen.insert(problem.clone()));
    problems
}

/// Counts lines of one file after the other in one pass over each, however many problems it has.
#[derive(Default)]
struct LineCounter {
    file: Option<Rc<File>>,
    offset: usize,
    line: usize,
    column: usize,
}

impl LineCounter {
    fn place(&mut self, found: Found) -> Problem {
        let Found { at: Position { file, offset }, message, hint } = found;
        if self.file.as_ref().is_none_or(|current| !Rc::ptr_eq(current, &file)) {
            *self = Self { file: Some(Rc::clone(&file)), offset: 0, line: 1, column: 1 };
        }
        for character in file.text.get(self.offset..offset).unwrap_or_default().chars() {
            (self.line, self.column) =
                if character == '\n' { (self.line + 1, 1) } else { (self.line, self.column + 1) };
        }
        self.offset = self.offset.max(offset);
        Problem { file: file.path.clone(), line: self.line, column: self.column, message, hint }
    }
}

/// The known word that was probably meant: one slip in a short word, more in a long one. Words are compared only when
/// they are about as long as each other, and not longer than people type: comparing takes the product of their lengths.
fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let distance =
        |candidate: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase());
    let length = word.chars().count();
    if length > MAX_HINTED_CHARS {
        return None;
    }
    let allowed = (length / 3).max(1);
    known
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= allowed)
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}
