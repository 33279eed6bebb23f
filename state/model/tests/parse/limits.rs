//! Hostile and broken input: bounded work, a message, never a panic.

use std::time::Instant;

use proptest::prelude::*;

use crate::{answer, files};

const RELEASE: (&str, &str) = ("environments/e/release.toml", "[main]\nversion = \"1\"\n");

fn environment(text: &str) -> String {
    answer(&files(&[("environments/e/environment.toml", text), RELEASE]))
}

#[test]
fn a_file_of_more_than_a_mebibyte_is_not_even_parsed() {
    let text = format!("packages = [\"shop\"]\n#{}", "x".repeat(1024 * 1024));
    assert_eq!(
        environment(&text),
        "environment.toml:1:1: the file has 1048597 bytes; at most 1048576 are read"
    );
}

#[test]
fn nesting_far_beyond_the_limit_is_an_error_and_no_crash() {
    let text = format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(environment(&text).starts_with("environment.toml:1:"));
}

#[test]
fn the_largest_fleet_is_parsed() {
    let text = "packages = [\"shop\"]\n[[role]]\nname = \"web\"\nhosts = [\"web-[00001:20000]\"]\n";
    let files = files(&[("environments/e/environment.toml", text), RELEASE]);
    let parsed = model::parse::repository(&files).unwrap();
    assert_eq!(parsed.environments["e"].fleet.hosts().count(), 20_000);
}

#[test]
fn a_file_full_of_mistakes_shows_every_one_of_them_in_bounded_time() {
    let started = Instant::now();
    let wrong: String = (0..40_000).map(|n| format!("packagez{n} = 1\n")).collect();
    assert!(environment(&wrong).lines().count() >= 40_000);
    let twice =
        format!("packages = [\"a0\"]\n[[role]]\nname = \"a\"\nhosts = [{}]\n", "\"h\",".repeat(100_000));
    // 80,000 of the 100,000 hosts are beyond the limit, which is said once; one of the others is the first.
    assert_eq!(environment(&twice).lines().count(), 20_000);
    let seconds = started.elapsed().as_secs();
    assert!(seconds < 60, "quadratic? {seconds} s");
}

#[test]
fn long_names_that_nobody_knows_buy_no_hours_of_comparing() {
    let started = Instant::now();
    let name = |n: usize, filler: &str| format!("n{n}{}", filler.repeat(4000));
    let roles: String =
        (0..100).map(|n| format!("[[role]]\nname = \"{}\"\nhosts = [\"h{n}\"]\n", name(n, "a"))).collect();
    let unknown: String = (0..100).map(|n| format!("\"{}\",", name(n, "b"))).collect();
    let text = format!(
        "packages = [\"shop\"]\n{roles}[[stage]]\nname = \"s\"\nrun = \"deploy\"\nroles = [{unknown}]\n"
    );
    assert!(environment(&text).lines().count() >= 100);
    let seconds = started.elapsed().as_secs();
    assert!(seconds < 30, "{seconds} s");
}

#[test]
fn a_repository_without_environments_says_what_is_missing() {
    let expected = "environments:1:1: there is no environment: environments/NAME/environment.toml and \
                    environments/NAME/release.toml";
    assert_eq!(answer(&files(&[])), expected);
    assert_eq!(answer(&files(&[("Cargo.toml", "[package]")])), expected);
}

proptest! {
    /// Each problem has a place that exists, and is said once, whatever is written.
    #[test]
    fn whatever_is_written_is_answered(
        lines in proptest::collection::vec(
            prop_oneof![
                Just("[[role]]"), Just("[[stage]]"), Just("[budget]"), Just("[gates.a]"), Just("[main]"),
                Just("[[load_balancer]]"), Just("[migrations]"), Just("[[freeze]]"), Just("name = \"a\""),
                Just("hosts = [\"a[1:3]\", 1]"), Just("packages = [\"aa\"]"), Just("backends = [\"a\"]"),
                Just("backends = { a = {} }"), Just("nodes = []"), Just("roles = [\"a\"]"), Just("run = \"deploy\""),
                Just("gates = [\"a\"]"), Just("extends = \"../e/release.toml\""), Just("from = \"Fri 18:00\""),
                Just("pre = { command = [\"{x}\"] }"), Just("host = \"a1\""), Just("ü = 1"), Just("x = [\n"),
                Just("]"), Just("version = \"1\""), Just("services = [{ unit = \"a\" }, { name = \"b\" }]"),
            ],
            0..14,
        ),
    ) {
        let text = lines.join("\n");
        let repository = files(&[("environments/e/environment.toml", &text), RELEASE]);
        if let Err(problems) = model::parse::repository(&repository) {
            prop_assert!(!problems.is_empty());
            for (place, problem) in problems.iter().enumerate() {
                let file = &repository[&problem.file];
                let line = file.split('\n').nth(problem.line - 1);
                prop_assert!(line.is_some_and(|line| problem.column <= line.chars().count() + 1), "{}", problem);
                prop_assert!(!problems[..place].contains(problem), "twice: {}", problem);
            }
        }
    }
}
