//! What the documents name exists: links, commands and reasons to wait.

use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "src/reasons.rs"]
mod reasons;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in the repository").to_path_buf()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect("it is there and readable")
}

/// `GateNotGreen` as `gate-not-green`.
fn kebab(name: &str) -> String {
    let one =
        |c: char| if c.is_ascii_uppercase() { format!("-{}", c.to_ascii_lowercase()) } else { c.to_string() };
    name.chars().map(one).collect::<String>().trim_start_matches('-').to_owned()
}

#[test]
fn every_reason_to_wait_is_in_the_table() {
    let names: Vec<String> = reasons::names().into_iter().map(kebab).collect();
    assert!(names.len() > 40, "{names:?}");
    let table = read("docs/waiting.md");
    let missing: Vec<_> = names.iter().filter(|name| !table.contains(&format!("`{name}`"))).collect();
    assert_eq!(missing, Vec::<&String>::new());
}

#[test]
fn every_command_is_in_the_reference() {
    let help =
        Command::new(env!("CARGO_BIN_EXE_reconcile-under-test")).arg("--help").output().expect("it runs");
    let help = String::from_utf8(help.stdout).expect("help is UTF-8");
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() > 15, "{commands:?}");
    let reference = read("docs/command-line.md");
    let known = |name: &&&str| {
        **name == "help"
            || reference.contains(&format!("| `{name} "))
            || reference.contains(&format!("| `{name}`"))
    };
    let missing: Vec<_> = commands.iter().filter(|name| !known(name)).collect();
    assert_eq!(missing, Vec::<&&str>::new());
}

/// Every document of the repository, by its path.
fn documents() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "*.md"])
        .current_dir(root())
        .output()
        .expect("git is installed");
    String::from_utf8(listed.stdout).expect("names are UTF-8").lines().map(str::to_owned).collect()
}

/// The targets of a text's links within the repository.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains("://"))
        .filter_map(|target| target.split('#').next())
        .filter(|path| !path.is_empty())
}

#[test]
fn every_link_leads_somewhere() {
    let mut dead = Vec::new();
    for document in documents() {
        let folder = root().join(&document).parent().expect("a document lies in a folder").to_path_buf();
        let text = read(&document);
        dead.extend(
            links(&text).filter(|path| !folder.join(path).exists()).map(|path| format!("{document}: {path}")),
        );
    }
    assert_eq!(dead, Vec::<String>::new());
}
