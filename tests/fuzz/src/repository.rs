//! A desired-state repository: environment.toml, release.toml, and what they name.

use std::collections::{BTreeMap, BTreeSet};

use model::parse::{Parsed, Problem, repository};

use crate::{desired, text};

const ENVIRONMENT: &str = "environments/e/environment.toml";
const RELEASE: &str = "environments/e/release.toml";
const PATCH: &str = "patches/16.4.2/session-fix.patch";
const PATCH_TEXT: &str = include_str!("../../../state/model/tests/parse/whole/session-fix.patch");

/// An environment.toml. A line `--- FILE` begins another file, of the same folder when it has no slash in its name.
/// Without a release.toml there is one with version 1.
pub(crate) fn environment(bytes: &[u8]) {
    let mut files = files(&text(bytes), ENVIRONMENT);
    files.entry(RELEASE.to_owned()).or_insert_with(|| "[main]\nversion = \"1\"\n".to_owned());
    whatever_is_written_is_answered(&files);
}

/// A release.toml, beside an environment of two tracks with everything that a release can name.
pub(crate) fn release(bytes: &[u8]) {
    let mut files = files(&text(bytes), RELEASE);
    files.entry(ENVIRONMENT.to_owned()).or_insert_with(|| include_str!("two-tracks.toml").to_owned());
    files.entry(PATCH.to_owned()).or_insert_with(|| PATCH_TEXT.to_owned());
    if let Some(main) = model::parse::main_version(&files[RELEASE]) {
        assert_eq!(model::parse::targets(&files[RELEASE]).first(), Some(&main));
    }
    whatever_is_written_is_answered(&files);
}

fn files(text: &str, first: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::from([(first.to_owned(), String::new())]);
    let mut path = first.to_owned();
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("--- ") {
            Some(next) if next.contains('/') => next.trim_end().clone_into(&mut path),
            Some(next) => path = format!("environments/e/{}", next.trim_end()),
            None => files.entry(path.clone()).or_default().push_str(line),
        }
    }
    files
}

fn whatever_is_written_is_answered(files: &BTreeMap<String, String>) {
    let answer = repository(files);
    assert_eq!(answer, repository(files), "the same text has another meaning");
    match answer {
        Ok(Parsed { environments, warnings }) => {
            every_problem_has_a_place(&warnings, files);
            assert!(!environments.is_empty(), "valid and without an environment");
            for (name, spec) in environments {
                desired::keeps_its_word(name, spec);
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            every_problem_has_a_place(&problems, files);
        }
    }
}

fn every_problem_has_a_place(problems: &[Problem], files: &BTreeMap<String, String>) {
    let widths = |text: &String| text.split('\n').map(|line| line.chars().count()).collect();
    let widths: BTreeMap<&str, Vec<usize>> =
        files.iter().map(|(path, text)| (path.as_str(), widths(text))).collect();
    let mut said = BTreeSet::new();
    for problem in problems {
        let Problem { file, line, column, message, .. } = problem;
        assert!(said.insert(problem), "said twice: {problem}");
        assert!(!message.is_empty() && !message.contains('\n'), "not one line: {problem:?}");
        let lines = widths.get(file.as_str()).map_or([0].as_slice(), Vec::as_slice);
        let exists = lines.get(line.wrapping_sub(1)).is_some_and(|width| (1..=width + 1).contains(column));
        assert!(exists, "there is no such place: {problem}");
    }
    let places = problems.iter().map(|problem| (&problem.file, problem.line, problem.column));
    assert!(places.is_sorted(), "not in the order of the file");
}
