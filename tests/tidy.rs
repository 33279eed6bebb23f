//! The rules of the house that a robot can keep.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines that a file may have before its tests. Files over it; this list only ever shrinks.
const LONGEST_FILE: usize = 500;
const LONG_FILES: [&str; 0] = [];

/// Catalogues that may be longer than a function should be: one line for each case. This list only ever shrinks.
const LONG_FUNCTIONS: [&str; 2] =
    ["reconciler/cli/src/render/samples_of_reasons.rs", "state/model/src/waiting_text.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in the repository").to_path_buf()
}

/// Every Rust file that git knows or would add, by its path in the repository.
fn rust_files() -> Vec<(String, String)> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"])
        .current_dir(root())
        .output()
        .expect("git is installed");
    let names = String::from_utf8(listed.stdout).expect("names are UTF-8");
    let read = |name: &str| Some((name.to_owned(), std::fs::read_to_string(root().join(name)).ok()?));
    let files: Vec<_> = names.lines().filter_map(read).collect();
    assert!(files.len() > 50, "only {} files found: is this the repository?", files.len());
    files
}

fn offenders(rule: impl Fn(&str, &str) -> bool) -> Vec<String> {
    rust_files().into_iter().filter(|(name, text)| rule(name, text)).map(|(name, _)| name).collect()
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = offenders(|_, text| !text.lines().take(3).any(|line| line.starts_with("//!")));
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let before_tests = |text: &str| text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
    let long = offenders(|name, text| before_tests(text) > LONGEST_FILE && !LONG_FILES.contains(&name));
    assert_eq!(long, Vec::<String>::new());
}

#[test]
fn long_functions_are_catalogues_and_listed() {
    let marker = concat!("clippy::", "too_many_lines");
    let long = offenders(|name, text| text.contains(marker) && !LONG_FUNCTIONS.contains(&name));
    assert_eq!(long, Vec::<String>::new());
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    let empty = ["util", "utils", "common", "helpers", "misc"];
    let named = |name: &str| {
        Path::new(name).components().any(|part| {
            let part = part.as_os_str().to_string_lossy();
            empty.contains(&part.trim_end_matches(".rs"))
        })
    };
    assert_eq!(offenders(|name, _| named(name)), Vec::<String>::new());
}

#[test]
fn nothing_is_unfinished_and_no_test_sleeps_for_ever() {
    let marks = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("FIX", "ME"),
        concat!("#[ig", "nore"),
    ];
    assert_eq!(offenders(|_, text| marks.iter().any(|mark| text.contains(mark))), Vec::<String>::new());
}

/// Every crate that a crate of ours needs to run.
fn needs(package: &str) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "-p", package, "-e", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).expect("names are UTF-8");
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn model_and_planner_are_pure() {
    let io = ["tokio", "mio", "reqwest", "hyper", "openssh", "git2", "rusqlite", "notify", "rustix", "rand"];
    for package in ["model", "planner"] {
        let found: Vec<_> = needs(package).into_iter().filter(|name| io.contains(&name.as_str())).collect();
        assert_eq!(found, Vec::<String>::new(), "{package}");
    }
}

#[test]
fn crates_see_only_what_the_layout_allows() {
    let house = ["model", "store", "planner", "engine", "simulation", "providers", "cli", "lab", "tests"];
    let allowed: [(&str, &[&str]); 8] = [
        ("model", &[]),
        ("store", &["model"]),
        ("planner", &["model"]),
        ("providers", &["model"]),
        ("engine", &["model", "planner", "store"]),
        ("simulation", &["model", "planner", "store", "engine"]),
        ("lab", &[]),
        ("cli", &["model", "planner", "store", "engine", "simulation", "providers", "lab"]),
    ];
    for (package, allowed) in allowed {
        let seen = needs(package);
        let forbidden: Vec<_> = house
            .iter()
            .filter(|name| seen.contains(**name) && **name != package && !allowed.contains(name))
            .collect();
        assert_eq!(forbidden, Vec::<&&str>::new(), "{package}");
    }
}
