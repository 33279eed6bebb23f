//! The script that patches a host, run here on folders of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use model::PatchFile;

use super::{call, parts, refusal, script};
use crate::shell::quote;

const ONE: &str = "--- a/lib/x.rb\n+++ b/lib/x.rb\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n\
                   --- /dev/null\n+++ b/lib/deep/new.rb\n@@ -0,0 +1 @@\n+new\n\
                   --- a/old.rb\n+++ /dev/null\n@@ -1 +0,0 @@\n-old\n";
const OTHER: &str = "--- a/lib/x.rb\n+++ b/lib/x.rb\n@@ -1,3 +1,3 @@\n one\n TWO\n-three\n+THREE\n";
const ALONE: &str = "--- a/lib/y.rb\n+++ b/lib/y.rb\n@@ -1 +1 @@\n-y\n+Y\n";
const UNFIT: &str = "--- a/lib/y.rb\n+++ b/lib/y.rb\n@@ -1 +1 @@\n-something else\n+Y\n";

/// A host's folders. `lib/x.rb`, `lib/y.rb` and `old.rb` belong to a package.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(host.path().join("root/lib")).unwrap();
        fs::create_dir_all(host.path().join("info")).unwrap();
        host.package();
        host
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// As an install brings the files.
    fn package(&self) {
        for (name, text) in [("lib/x.rb", "one\ntwo\nthree\n"), ("lib/y.rb", "y\n"), ("old.rb", "old\n")] {
            self.write(name, text);
        }
        let sums = format!(
            "cd / && md5sum {0}/lib/x.rb {0}/lib/y.rb {0}/old.rb",
            self.root().trim_start_matches('/')
        );
        fs::write(self.path().join("info/app.md5sums"), sh(&sums).1).unwrap();
    }

    fn root(&self) -> String {
        self.path().canonicalize().unwrap().join("root").display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join("root").join(name), text).unwrap();
    }

    fn patch(&self, contents: &str) -> PatchFile {
        let file = self.path().join("text");
        fs::write(&file, contents).unwrap();
        let sha256 = sh(&format!("sha256sum <{}", file.display())).1[..64].to_owned();
        PatchFile { sha256, file: "fix.patch".to_owned(), root: self.root(), contents: contents.to_owned() }
    }

    /// Exit code and output. `before` is shell text that comes first.
    fn bring_after(&self, before: &str, want: &[&str]) -> (i32, String) {
        let want: Vec<PatchFile> = want.iter().map(|contents| self.patch(contents)).collect();
        let state = self.path().join("state");
        fs::create_dir_all(state.join("incoming-patches")).unwrap();
        for patch in &want {
            fs::write(state.join("incoming-patches").join(&patch.sha256), &patch.contents).unwrap();
        }
        let (state, info) = (state.display().to_string(), self.path().join("info").display().to_string());
        sh(&format!("exec 2>&1\n{before}{}", script(&want, &state, &info).unwrap()))
    }

    fn bring(&self, want: &[&str]) -> (i32, String) {
        self.bring_after("", want)
    }

    /// Every file below the root with its contents, and the checksums of marked patches.
    fn look(&self) -> String {
        let text = "cd root && for F in $(find . -type f | sort); do echo \"$F: $(tr '\\n' ' ' <$F)\"; done";
        let files = sh(&format!("cd {} && {text}", self.path().display())).1;
        let marks = sh(&format!(
            "cd {} && cat state/patches/*/mark 2>/dev/null | grep order | sort",
            self.path().display()
        ));
        files + &marks.1
    }
}

fn sh(script: &str) -> (i32, String) {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap_or(-1), text)
}

const FRESH: &str = "./lib/x.rb: one two three \n./lib/y.rb: y \n./old.rb: old \n";
const PATCHED: &str = "./lib/deep/new.rb: new \n./lib/x.rb: one TWO three \n./lib/y.rb: y \norder 1\n";
const BOTH: &str = "./lib/deep/new.rb: new \n./lib/x.rb: one TWO THREE \n./lib/y.rb: y \norder 1\norder 2\n";

#[test]
fn a_host_is_brought_to_exactly_the_wanted_patches_and_back() {
    let host = Host::new();
    sh(&format!("chmod 751 {}/lib/x.rb", host.root()));
    assert_eq!(host.bring(&[ONE]).0, 0);
    assert_eq!(host.look(), PATCHED);
    assert_eq!(sh(&format!("stat -c %a {}/lib/x.rb", host.root())).1, "751\n");
    let again = host.bring(&[ONE]);
    assert!(again.0 == 0 && again.1.contains("@@already"), "{again:?}");
    assert_eq!(host.bring(&[ONE, OTHER]).0, 0);
    assert_eq!(host.look(), BOTH);
    let all = host.bring(&[ALONE, ONE]);
    assert_eq!(all.0, 0, "{all:?}");
    assert!(host.look().contains("y.rb: Y") && host.look().contains("TWO three"), "{}", host.look());
    assert_eq!(host.bring(&[]).0, 0);
    assert_eq!(host.look(), FRESH);
    assert_eq!(sh(&format!("stat -c %a {}/lib/x.rb; find {0} -name '*reconcile*'", host.root())).1, "751\n");
}

#[test]
fn a_crash_at_any_point_is_repaired_by_the_next_call() {
    // Every program that changes something counts down, and the shell dies at nought.
    let crash = |after: u32| {
        let one = |name: &str| format!("{name}() {{ count; command {name} \"$@\"; }}\n");
        let all: String = ["mv", "rm", "cp", "mkdir"].iter().map(|name| one(name)).collect();
        let all = all + "sync() { count; }\n";
        format!("LEFT={after}\ncount() {{ LEFT=$((LEFT - 1)); [ $LEFT -gt 0 ] || kill -9 $$ ; }}\n{all}")
    };
    let (mut after, mut crashes) = (1, 0);
    loop {
        let host = Host::new();
        assert_eq!(host.bring(&[ONE]).0, 0);
        let there = host.bring_after(&crash(after), &[ONE, OTHER]);
        assert_eq!(host.bring(&[ONE, OTHER]).0, 0, "after {after}");
        assert_eq!(host.look(), BOTH, "after {after}");
        let back = host.bring_after(&crash(after), &[]);
        assert_eq!(host.bring(&[]).0, 0, "back after {after}");
        assert_eq!(host.look(), FRESH, "back after {after}");
        crashes += u32::from(there.0 != 0) + u32::from(back.0 != 0);
        if there.0 == 0 && back.0 == 0 {
            break;
        }
        // Not each of them: a call starts some hundred programs.
        after += 3;
    }
    assert!(crashes > 10, "{crashes}");
}

#[test]
fn what_others_changed_is_named_and_stays() {
    let host = Host::new();
    host.write("lib/x.rb", "one\ntwo\nthree\nmine\n");
    let (code, output) = host.bring(&[ONE]);
    assert_eq!(
        (code, refusal(&output)),
        (24, Some(format!("changed by somebody else: {}/lib/x.rb", host.root()).as_str()))
    );
    host.package();
    assert_eq!(host.bring(&[ONE]).0, 0);
    host.write("lib/x.rb", "one\nTWO\nthree\nmine\n");
    for want in [&[][..], &[ONE], &[ALONE]] {
        let (code, output) = host.bring(want);
        let told = format!("not as the patches left them: {}/lib/x.rb", host.root());
        assert_eq!((code, refusal(&output)), (24, Some(told.as_str())));
        assert!(host.look().contains("mine") && host.look().contains("deep/new.rb"), "{}", host.look());
    }
}

#[test]
fn a_patch_that_is_there_by_another_hand_is_taken_for_applied_and_can_be_taken_back() {
    let host = Host::new();
    assert_eq!(host.bring(&[ONE]).0, 0);
    fs::remove_dir_all(host.path().join("state")).unwrap();
    let adopted = host.bring(&[ONE]);
    assert_eq!((adopted.0, host.look().as_str()), (0, PATCHED), "{adopted:?}");
    assert_eq!(host.bring(&[]).0, 0);
    assert_eq!(host.look(), FRESH);
}

#[test]
fn what_a_package_brought_anew_is_patched_anew() {
    let host = Host::new();
    assert_eq!(host.bring(&[ONE, OTHER]).0, 0);
    host.package();
    let again = host.bring(&[ONE, OTHER]);
    assert_eq!((again.0, host.look().as_str()), (0, BOTH), "{again:?}");
}

#[test]
fn a_patch_that_does_not_fit_or_leads_elsewhere_changes_nothing() {
    let host = Host::new();
    let (code, output) = host.bring(&[UNFIT]);
    assert!(code == 24 && refusal(&output).unwrap().starts_with("fix.patch does not fit"), "{output}");
    assert_eq!(host.look(), FRESH);
    let elsewhere = host.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, host.path().join("root/way")).unwrap();
    let (code, output) = host.bring(&["--- /dev/null\n+++ b/way/x\n@@ -0,0 +1 @@\n+x\n"]);
    assert!(code == 24 && refusal(&output).unwrap().contains("leads out of"), "{output}");
    assert_eq!(host.bring(&[]).0, 0);
    assert_eq!(host.look(), FRESH);
}

#[test]
fn a_long_patch_goes_in_parts_that_are_the_whole_together() {
    let text = "it's ünicode\n".repeat(20_000);
    let parts = parts(&text);
    assert!(parts.len() > 4 && parts.iter().all(|part| quote(&quote(part)).len() < 128 * 1024));
    assert_eq!(parts.concat(), text);
}

#[test]
fn a_patch_becomes_a_call_with_its_files() {
    let patch = PatchFile {
        sha256: "ab".repeat(32),
        file: "patches/fix.patch".to_owned(),
        root: "/opt/it's".to_owned(),
        contents: "--- a/x y\n+++ b/x y\n@@ -1 +1 @@\n-a\n+b\n--- /dev/null\n+++ b/z\n@@ -0,0 +1 @@\n+c\n"
            .to_owned(),
    };
    let text = call(&patch).unwrap();
    assert!(text.contains("FILES='change x y\ncreate z'; apply abab"), "{text}");
    assert!(text.contains(r"'/opt/it'\''s' 'patches/fix.patch'; }"), "{text}");
    let bad = PatchFile { sha256: "x; rm".to_owned(), ..patch };
    assert!(call(&bad).unwrap_err().contains("no sha256"));
}
