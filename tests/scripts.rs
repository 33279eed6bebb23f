//! Every script in `tests/scripts` and its golden output beside it. `UPDATE_GOLDEN=1` writes the output anew; the diff
//! is then for review. `SCRIPTS=26` plays those alone whose names begin so.

#![allow(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::path::{Path, PathBuf};

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "script"))
        .collect();
    scripts.sort();
    scripts
}

fn is_wanted(script: &Path) -> bool {
    let name = script.file_name().unwrap().to_string_lossy().into_owned();
    std::env::var("SCRIPTS").is_ok_and(|wanted| name.starts_with(&wanted))
        || std::env::var_os("SCRIPTS").is_none()
}

fn play(script: &Path) -> String {
    let text = std::fs::read_to_string(script).unwrap();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    eprintln!("{}", script.display());
    runtime.block_on(tests::script::run(&text))
}

#[test]
fn every_script_ends_as_its_golden_file_says() {
    let scripts = scripts();
    assert!(scripts.len() >= 10, "only {} scripts", scripts.len());
    let mut wrong = Vec::new();
    for script in scripts {
        if !is_wanted(&script) {
            continue;
        }
        let golden = script.with_extension("out");
        let Ok(played) = std::panic::catch_unwind(|| play(&script)) else {
            wrong.push(format!("{}: cannot be played to its end", script.display()));
            continue;
        };
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &played).unwrap();
        }
        let known = std::fs::read_to_string(&golden).unwrap_or_default();
        if known != played {
            let diff = similar::TextDiff::from_lines(&known, &played);
            wrong.push(format!("{}:\n{}", script.display(), diff.unified_diff()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_script_breaks_a_promise() {
    for script in scripts() {
        let golden = std::fs::read_to_string(script.with_extension("out")).unwrap();
        assert!(!golden.contains("VIOLATION"), "{}", script.display());
    }
}
