//! The Debian archives this machine uses: the lab's hosts are made from the same ones.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::LabError;

/// One-line `deb` entries of the machine for `codename`, its updates and its security archive, `main`
/// only. Archives of others are left out: hosts of a lab are plain Debian.
pub(crate) fn of_this_machine(codename: &str) -> Result<Vec<String>, LabError> {
    let mut entries = Vec::new();
    for path in files() {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let deb822 = path.extension().is_some_and(|extension| extension == "sources");
        entries.extend(if deb822 { from_stanzas(&text, codename) } else { from_lines(&text, codename) });
    }
    entries.dedup();
    if entries.is_empty() {
        return Err(LabError::Unavailable {
            why: format!(
                "/etc/apt names no archive of Debian {codename} main: add one and run `apt-get update`"
            ),
        });
    }
    Ok(entries)
}

fn files() -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let parts = fs::read_dir(Path::new("/etc/apt/sources.list.d")).into_iter().flatten().flatten();
    let mut parts: Vec<PathBuf> = parts.map(|entry| entry.path()).collect();
    parts.sort();
    files.append(&mut parts);
    files
}

fn is_wanted(suite: &str, codename: &str) -> bool {
    suite == codename
        || suite.strip_prefix(codename).is_some_and(|rest| matches!(rest, "-updates" | "-security"))
}

fn from_lines(text: &str, codename: &str) -> Vec<String> {
    let debs = text.lines().map(str::trim).filter_map(|line| line.strip_prefix("deb "));
    debs.filter_map(|line| one_line(line.trim(), codename)).collect()
}

fn one_line(line: &str, codename: &str) -> Option<String> {
    let (options, rest) = match line.strip_prefix('[') {
        Some(after) => after.split_once(']').map(|(options, rest)| (format!("[{options}] "), rest))?,
        None => (String::new(), line),
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    let wanted = is_wanted(suite, codename) && words.any(|component| component == "main");
    wanted.then(|| format!("deb {options}{uri} {suite} main"))
}

fn from_stanzas(text: &str, codename: &str) -> Vec<String> {
    let without_comments: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    without_comments.join("\n").split("\n\n").flat_map(|stanza| from_stanza(stanza, codename)).collect()
}

fn from_stanza(stanza: &str, codename: &str) -> Vec<String> {
    let field = |name: &str| {
        let line = stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).unwrap_or_default()
    };
    let has = |name: &str, word: &str| field(name).split_whitespace().any(|one| one == word);
    if !has("Types", "deb") || !has("Components", "main") || field("Enabled") == "no" {
        return Vec::new();
    }
    // A key inside the file itself cannot be said in one line.
    let signed = field("Signed-By");
    let options = if signed.starts_with('/') { format!("[signed-by={signed}] ") } else { String::new() };
    let suites = field("Suites").split_whitespace().filter(|suite| is_wanted(suite, codename));
    suites
        .flat_map(|suite| {
            field("URIs")
                .split_whitespace()
                .map(|uri| format!("deb {options}{uri} {suite} main"))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stanzas() {
        let text = "Types: deb\n# note\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates bookworm-backports\n\
                    Components: main contrib\nSigned-By: /k.gpg\n\nTypes: deb\nURIs: https://other.example\nSuites: nodistro\nComponents: main\n";
        assert_eq!(
            from_stanzas(text, "bookworm"),
            [
                "deb [signed-by=/k.gpg] http://mirror.example/debian bookworm main",
                "deb [signed-by=/k.gpg] http://mirror.example/debian bookworm-updates main"
            ]
        );
    }

    #[test]
    fn lines() {
        let text = "# deb http://a.example bookworm main\ndeb [arch=amd64 trusted=yes] http://b.example bookworm-security main non-free\n\
                    deb-src http://b.example bookworm main\ndeb http://c.example cloud-bookworm main\n";
        assert_eq!(
            from_lines(text, "bookworm"),
            ["deb [arch=amd64 trusted=yes] http://b.example bookworm-security main"]
        );
    }
}
