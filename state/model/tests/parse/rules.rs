//! Runs rules.txt.

use std::collections::BTreeMap;

use crate::answer;

const RULES: &str = include_str!("rules.txt");

struct Case {
    title: String,
    input: String,
    expected: String,
}

fn cases() -> Vec<Case> {
    let split = |text: &str| {
        let (title, body) = text.split_once('\n').unwrap();
        let (input, expected) = body.split_once("\n=>\n").unwrap_or((body, ""));
        Case {
            title: title.to_owned(),
            input: input.trim_end().to_owned(),
            expected: expected.trim().to_owned(),
        }
    };
    RULES.split("\n== ").skip(1).map(split).collect()
}

fn repository(input: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut path = "environments/e/environment.toml".to_owned();
    let mut text = String::new();
    for line in input.lines() {
        if let Some(next) = line.strip_prefix("--- ") {
            if !text.is_empty() {
                files.insert(path, std::mem::take(&mut text));
            }
            path = if next.contains('/') { next.to_owned() } else { format!("environments/e/{next}") };
            files.insert(path.clone(), String::new());
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    files.insert(path, text);
    files
        .entry("environments/e/release.toml".to_owned())
        .or_insert_with(|| "[main]\nversion = \"1\"\n".to_owned());
    files
}

#[test]
fn every_rule_says_what_is_wrong_and_where() {
    let introduction = RULES.split("\n== ").next().unwrap();
    let mut blessed = introduction.to_owned();
    let mut wrong = Vec::new();
    for Case { title, input, expected } in cases() {
        let said = answer(&repository(&input));
        blessed.push_str(&format!("\n== {title}\n{input}\n=>\n{said}\n"));
        if said != expected {
            wrong.push(format!("== {title}\nexpected:\n{expected}\nsaid:\n{said}\n"));
        }
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parse/rules.txt"), blessed).unwrap();
    } else {
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
