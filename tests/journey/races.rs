//! Two people write to one file at the same moment.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::pipeline::{Pipeline, RELEASE};

/// A clone of a person, who names it on the command line.
fn clone(pipeline: &Pipeline<'_, '_>, folder: &Path, person: &str) -> String {
    let folder = folder.join(person).display().to_string();
    let origin = pipeline.deployment.origin();
    let cloned = Command::new("git").args(["clone", "--quiet"]).arg(origin).arg(&folder).status().unwrap();
    assert!(cloned.success());
    folder
}

fn begin(pipeline: &Pipeline<'_, '_>, clone: &str, person: &str, arguments: &[&str]) -> Child {
    let author = format!("{person} <{person}@example.org>");
    let mut command = pipeline.deployment.command(arguments);
    command.args(["--reason", "as we agreed", "--yes", "--repository", clone, "--author", &author]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A veto of one and a hold of the other, pushed from two clones at once: neither is lost.
pub(crate) fn both_survive(pipeline: &Pipeline<'_, '_>) {
    let folder = tempfile::tempdir().unwrap();
    let (ada, bob) = (clone(pipeline, folder.path(), "ada"), clone(pipeline, folder.path(), "bob"));
    let veto = begin(pipeline, &ada, "ada", &["veto", "production", "9.9.9"]);
    let hold = begin(pipeline, &bob, "bob", &["hold", "production", "--scope", "canary"]);
    for (person, child) in [("ada", veto), ("bob", hold)] {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{person}: {}", String::from_utf8_lossy(&output.stderr));
    }
    pipeline.deployment.git(&["pull", "--quiet", "--rebase"]);
    let text = pipeline.deployment.git(&["show", &format!("HEAD:{RELEASE}")]);
    assert!(text.contains("version = \"9.9.9\"") && text.contains("scope"), "{text}");
    let authors = pipeline.deployment.git(&["log", "-2", "--format=%an"]);
    assert!(authors.contains("ada") && authors.contains("bob"), "{authors}");
    let head = pipeline.deployment.git(&["rev-parse", "HEAD"]);
    pipeline.deployment.converges(&head, 30);
}
