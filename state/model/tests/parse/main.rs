//! What a desired-state repository means, and every way in which it can be wrong.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod example;
mod exceptions;
mod limits;
mod meaning;
mod policy;
mod rules;
mod schemas;

use std::collections::BTreeMap;

use model::parse::{EnvironmentSpec, repository};

/// Files of a repository, by path.
fn files(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

/// What `check` says: one line for each problem, or for each warning when all is valid.
fn answer(files: &BTreeMap<String, String>) -> String {
    let lines = match repository(files) {
        Ok(parsed) if parsed.warnings.is_empty() => vec!["valid".to_owned()],
        Ok(parsed) => parsed.warnings.iter().map(|warning| format!("warning: {warning}")).collect(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    };
    lines.join("\n").replace("environments/e/", "")
}

/// A valid environment `e` without warnings.
fn environment(environment: &str, release: &str) -> EnvironmentSpec {
    let files =
        files(&[("environments/e/environment.toml", environment), ("environments/e/release.toml", release)]);
    let mut parsed = repository(&files).unwrap();
    assert_eq!(parsed.warnings, []);
    parsed.environments.remove("e").unwrap()
}
