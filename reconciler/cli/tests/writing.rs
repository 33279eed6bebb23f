//! Commands that write commits, and those that leave a word in the journal: the built binary on local bare
//! repositories. Needs no fleet and no service.
#![allow(clippy::unwrap_used, reason = "a test may end that way")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const ENVIRONMENT: &str = r#"
packages = ["shop"]
[[load_balancer]]
name     = "fe"
nodes    = ["fe-01"]
socket   = "/run/haproxy/admin.sock"
server   = "{host}"
backends = { web = { drain = "1m", on_timeout = "wait" } }
[[role]]
name     = "web"
hosts    = ["web-[01:04]"]
backends = ["web"]
services = [{ unit = "shop", activate = "restart" }]
[[role]]
name     = "web-canary"
track    = "canary"
hosts    = ["cny-[01:02]"]
backends = ["web"]
services = [{ unit = "shop", activate = "restart" }]
[patch_roots]
shop = "/opt/shop"
[promotion]
canary_requires = "staging"
"#;

const STAGING: &str = r#"
packages = ["shop"]
[[role]]
name     = "web"
hosts    = ["staging-01"]
services = [{ unit = "shop", activate = "restart" }]
"#;

const RELEASE: &str = "# What engineers bump.\n[main]   # the fleet\nversion   = '1.1'\t# by hand\n\n[canary]\n\
                       version = \"1.2\"\nweight  = 5\n";

const PATH: &str = "environments/production/release.toml";

/// A bare repository, and the service's own file.
struct Place {
    home: tempfile::TempDir,
}

impl Place {
    /// Main went from 1.0 to 1.1, the canary from 1.1 to 1.2.
    fn new() -> Self {
        let place = Self { home: tempfile::tempdir().unwrap() };
        place.git(&["init", "--quiet", "--initial-branch=main", "work"]);
        place.git(&["init", "--quiet", "--bare", "--initial-branch=main", "state.git"]);
        place.write("environments/production/environment.toml", ENVIRONMENT);
        place.write("environments/staging/environment.toml", STAGING);
        place.write("environments/staging/release.toml", "[main]\nversion = '1.3'\n");
        place.release(&RELEASE.replace("1.1", "1.0").replace("1.2", "1.1"));
        place.release(RELEASE);
        let config = format!(
            "service = 'test'\nstate_dir = {:?}\n[repository]\nurl = {:?}\n",
            place.path("service"),
            place.path("state.git")
        );
        fs::write(place.path("config.toml"), config).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path("work").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Commits and pushes this release.toml of production.
    fn release(&self, text: &str) {
        self.write(PATH, text);
        self.git(&["-C", "work", "add", "--all"]);
        self.git(&["-C", "work", "commit", "--quiet", "-m", "Release"]);
        self.git(&["-C", "work", "push", "--quiet", "../state.git", "main"]);
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=Robin", "-c", "user.email=robin@example", "-c", "commit.gpgsign=false"]);
        let output = git.args(arguments).current_dir(self.home.path()).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What the bare repository has.
    fn shown(&self, what: &str) -> String {
        self.git(&["--git-dir", "state.git", "show", what])
    }

    fn head(&self) -> String {
        self.git(&["--git-dir", "state.git", "rev-parse", "main"]).trim().to_owned()
    }

    fn newest(&self) -> String {
        self.git(&["--git-dir", "state.git", "log", "-1", "--format=%an <%ae>|%s|%b", "main"])
            .trim()
            .to_owned()
    }

    /// As Ada, with the service's own file.
    fn run(&self, arguments: &[&str]) -> Output {
        let config = self.path("config.toml");
        self.plain(&[arguments, &["--config", config.to_str().unwrap()]].concat(), Some("Ada"))
    }

    fn plain(&self, arguments: &[&str], author: Option<&str>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reconcile"));
        command.args(arguments).current_dir(self.home.path());
        command.env_remove("RECONCILE_CONFIG").env_remove("RUST_LOG").env("HOME", self.home.path());
        command.env("GIT_CONFIG_NOSYSTEM", "1").env_remove("XDG_CONFIG_HOME");
        match author {
            Some(name) => command.env("GIT_AUTHOR_NAME", name).env("GIT_AUTHOR_EMAIL", "ada@example"),
            None => command.env_remove("GIT_AUTHOR_NAME").env_remove("GIT_AUTHOR_EMAIL"),
        };
        command.output().unwrap()
    }

    /// The same, and it does what it is asked.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_weight_is_shown_then_committed_and_nothing_else_changes() {
    let place = Place::new();
    let head = place.head();
    let weight = ["weight", "production", "25", "--reason", "an hour without errors"];

    let shown = place.ok(&[&weight[..], &["--dry-run"]].concat());
    assert!(shown.contains("-weight  = 5\n+weight  = 25\n"), "{shown}");
    assert_eq!(place.head(), head, "a dry run writes nothing");

    let output = place.run(&weight);
    assert_eq!((code(&output), stdout(&output)), (0, shown));
    assert_eq!(place.newest(), "Ada <ada@example>|production: canary weight to 25 %|an hour without errors");
    assert_eq!(place.shown(&format!("main:{PATH}")), RELEASE.replace("weight  = 5", "weight  = 25"));
    assert!(stderr(&output).contains(&place.head()[..10]), "{}", stderr(&output));

    let again = place.run(&weight);
    assert_eq!((code(&again), stdout(&again).as_str()), (0, "production is so already: nothing to commit\n"));
}

#[test]
fn promote_takes_the_canarys_version_to_main() {
    let place = Place::new();
    place.ok(&["promote", "production", "--reason", "canary is quiet"]);
    assert_eq!(place.shown(&format!("main:{PATH}")), RELEASE.replace("'1.1'", "'1.2'"));
    assert_eq!(place.newest(), "Ada <ada@example>|production: main to 1.2|canary is quiet");
    place.ok(&["promote", "production", "1.4", "--track", "canary", "--reason", "release day"]);
    assert!(place.shown(&format!("main:{PATH}")).contains("version = \"1.4\"\nweight"));
}

#[test]
fn promote_to_the_canary_takes_what_has_passed_the_required_environment_last() {
    let place = Place::new();
    let promote = ["promote", "production", "--track", "canary", "--reason", "release day"];
    let output = place.run(&promote);
    assert_eq!(code(&output), 69, "{}", stderr(&output));
    assert!(stderr(&output).contains("no service has run"), "{}", stderr(&output));

    place.ok(&["verify", "staging", "1.3", "--reason", "journal lost; QA report 4711"]);
    place.ok(&promote);
    assert_eq!(place.shown(&format!("main:{PATH}")), RELEASE.replace("1.2", "1.3"));
}

#[test]
fn rollback_goes_to_the_target_before_and_takes_a_canary_with_the_same_version_along() {
    let place = Place::new();
    place.ok(&["promote", "production", "--reason", "canary is quiet"]);
    place.ok(&["veto", "production", "1.1", "--reason", "corrupts uploads"]);

    let shown = place.ok(&["rollback", "production", "--reason", "INC-812"]);
    assert!(shown.contains("+version   = '1.0'") && shown.contains("+version = \"1.0\""), "{shown}");
    assert_eq!(place.newest(), "Ada <ada@example>|production: roll back from 1.2 to 1.0|INC-812");

    let further = place.run(&["rollback", "production", "--reason", "INC-812"]);
    assert_eq!(code(&further), 64);
    assert!(stderr(&further).contains("git knows nothing before 1.0 in production"), "{}", stderr(&further));
}

#[test]
fn rollback_to_a_version_that_main_never_had_says_which_there_were() {
    let place = Place::new();
    let output = place.run(&["rollback", "production", "0.9", "--reason", "INC-812"]);
    assert_eq!(code(&output), 64);
    let told = stderr(&output);
    assert!(told.contains("before 1.1 there were: 1.0; forward is `reconcile promote`"), "{told}");
}

#[test]
fn exceptions_are_written_and_lifted_and_leave_the_file_as_it_was() {
    let place = Place::new();
    for (write, block) in [
        (&["veto", "production", "1.4"][..], "\n[[veto]]\nversion = \"1.4\"\nreason  = \"why\"\n"),
        (
            &["hold", "production", "--scope", "canary", "--until", "2099-01-01T00:00:00Z"],
            "\n[[hold]]\nscope  = \"canary\"\nreason = \"why\"\nuntil  = 2099-01-01T00:00:00Z\n",
        ),
        (&["out", "production", "web-03"], "\n[[out]]\nhost   = \"web-03\"\nreason = \"why\"\n"),
        (
            &["out", "production", "--node", "fe-01"],
            "\n[[out]]\nload_balancer_node = \"fe-01\"\nreason             = \"why\"\n",
        ),
    ] {
        place.ok(&[write, &["--reason", "why"]].concat());
        assert_eq!(place.shown(&format!("main:{PATH}")), format!("{RELEASE}{block}"));
        let undo: Vec<&str> = write.iter().copied().take_while(|word| *word != "--until").collect();
        place.ok(&[&undo[..], &["--undo", "--reason", "all clear"]].concat());
        assert_eq!(place.shown(&format!("main:{PATH}")), RELEASE);
        let twice = place.run(&[&undo[..], &["--undo", "--reason", "all clear"]].concat());
        assert_eq!(code(&twice), 64);
        assert!(stderr(&twice).contains("it has no [["), "{}", stderr(&twice));
    }
}

#[test]
fn a_patch_and_its_file_are_one_commit() {
    let place = Place::new();
    let before = place.head();
    fs::write(place.path("fix.patch"), "--- a/app.rb\n+++ b/app.rb\n@@ -1 +1 @@\n-bad\n+good\n").unwrap();
    let what = ["patch", "production", "fix.patch", "--version", "1.1"];
    let where_to = ["--root", "shop", "--roles", "web,web-canary", "--reason", "session fixation"];

    let shown = place.ok(&[&what[..], &where_to].concat());

    assert!(shown.contains("--- /dev/null\n+++ b/patches/1.1/fix.patch\n"), "{shown}");
    let sum = Command::new("sha256sum").arg(place.path("fix.patch")).output().unwrap();
    let sum = stdout(&sum).split(' ').next().unwrap().to_owned();
    let text = place.shown(&format!("main:{PATH}"));
    for line in [
        &format!("sha256  = \"{sum}\""),
        "file    = \"patches/1.1/fix.patch\"",
        "roles   = [\"web\", \"web-canary\"]",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert_eq!(
        place.shown("main:patches/1.1/fix.patch"),
        fs::read_to_string(place.path("fix.patch")).unwrap()
    );
    assert_eq!(place.newest(), "Ada <ada@example>|production: patch 1.1 with fix.patch|session fixation");

    place.ok(&[&what[..], &["--undo", "--reason", "1.2 has it"]].concat());
    let left = place.git(&["--git-dir", "state.git", "diff", "--stat", &before, "main"]);
    assert_eq!(left, "", "the file went with its entry");
}

#[test]
fn a_change_that_would_not_be_valid_is_65_with_its_place_and_writes_nothing() {
    let place = Place::new();
    let head = place.head();
    let output = place.run(&["out", "production", "web-3", "--reason", "disk"]);
    assert_eq!((code(&output), stdout(&output).as_str()), (65, ""));
    let told = stderr(&output);
    assert!(
        told.contains("environments/production/release.toml:10:10") && told.contains("did you mean"),
        "{told}"
    );
    assert_eq!(place.head(), head);
}

#[test]
fn a_working_clone_is_not_touched_and_its_remote_takes_the_commit() {
    let place = Place::new();
    place.git(&["clone", "--quiet", "state.git", "clone"]);
    let config = place.git(&["-C", "clone", "config", "user.name", "Grace"]);
    place.git(&["-C", "clone", "config", "user.email", "grace@example"]);
    assert_eq!(config, "");
    let before = place.git(&["-C", "clone", "rev-parse", "HEAD"]);

    let output =
        place.plain(&["weight", "production", "7", "--repository", "clone", "--reason", "why"], None);

    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(place.newest(), "Grace <grace@example>|production: canary weight to 7 %|why");
    assert_eq!(place.git(&["-C", "clone", "rev-parse", "HEAD"]), before);
    assert_eq!(place.git(&["-C", "clone", "status", "--porcelain"]), "");
}

#[test]
fn what_is_missing_is_told_with_what_to_do() {
    let place = Place::new();
    let bare = place.path("state.git");
    let weight = |repository: &Path, environment: &str, author| {
        let repository = repository.to_str().unwrap();
        place.plain(&["weight", environment, "7", "--repository", repository, "--reason", "why"], author)
    };
    for (output, exit, hint) in [
        (weight(&bare, "production", None), 64, "name yourself with --author"),
        (weight(&bare, "prod", Some("Ada")), 64, "is it the right environment"),
        (weight(Path::new("gone"), "production", Some("Ada")), 69, "the repository cannot be read"),
        (place.plain(&["weight", "production", "7", "--reason", "why"], Some("Ada")), 64, "--repository URL"),
        (place.run(&["weight", "production", "100", "--reason", "why"]), 64, "0..=99"),
        (place.run(&["weight", "production", "7"]), 64, "--reason"),
        (place.run(&["weight", "production", "7", "--reason", " why"]), 64, "without blanks"),
        (place.run(&["promote", "production", "-1", "--reason", "why"]), 64, "-1"),
    ] {
        assert_eq!(code(&output), exit, "{}", stderr(&output));
        assert!(stderr(&output).contains(hint), "{hint} in {}", stderr(&output));
    }
}

#[test]
fn a_protected_branch_is_69_and_says_how_else() {
    let place = Place::new();
    let hook = place.path("state.git/hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\necho main is protected >&2\nexit 1\n").unwrap();
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = place.run(&["weight", "production", "7", "--reason", "why"]);
    assert_eq!(code(&output), 69);
    let told = stderr(&output);
    assert!(told.contains("main is protected") && told.contains("merge request"), "{told}");
}

#[test]
fn json_names_the_commit_and_holds_the_diff() {
    let place = Place::new();
    let told = place.ok(&["weight", "production", "7", "--reason", "why", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(json["commit"], place.head());
    assert_eq!(json["subject"], "production: canary weight to 7 %");
    assert!(json["diff"].as_str().unwrap().contains("+weight  = 7\n"), "{json}");
}

#[test]
fn words_to_a_service_that_does_not_run_wait_in_the_journal() {
    let place = Place::new();
    let paused = place.ok(&["pause", "production", "--for", "2h", "--reason", "network maintenance"]);
    assert_eq!(paused, "production: nothing new starts for 2h\n");
    place.ok(&["resume", "production", "--reason", "over"]);
    place.ok(&["verify", "production", "1.2", "--track", "canary", "--reason", "report 4711"]);
    let history = place.ok(&["history", "production", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&history).unwrap();
    let events: Vec<&str> =
        json["events"].as_array().unwrap().iter().map(|it| it["event"]["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["paused", "resumed", "verified"]);

    let unknown = place.run(&["verify", "production", "9.9", "--reason", "typo"]);
    assert_eq!(code(&unknown), 64);
    assert!(stderr(&unknown).contains("was never a target of production in git"), "{}", stderr(&unknown));
    for wrong in [&["pause", "nowhere", "--for", "1h"][..], &["pause", "production", "--for", "0s"]] {
        let output = place.run(&[wrong, &["--reason", "why"]].concat());
        assert_eq!(code(&output), 64, "{wrong:?}: {}", stderr(&output));
    }
}

/// `serve` on this place; ended with the test.
struct Service(Child);

impl Service {
    fn start(place: &Place) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reconcile"));
        command.args(["serve", "--config"]).arg(place.path("config.toml")).env_remove("RUST_LOG");
        let service = Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let begun = Instant::now();
        // Asked before the socket is there, `status` would look by itself.
        let answers = || {
            place.path("service/control.sock").exists()
                && !place.run(&["status", "production"]).stdout.is_empty()
        };
        while !answers() {
            assert!(begun.elapsed() < Duration::from_secs(30), "it does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        service
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn words_to_a_running_service_are_in_force_at_once() {
    let place = Place::new();
    let service = Service::start(&place);
    place.ok(&["pause", "production", "--for", "2h", "--reason", "network maintenance"]);
    place.ok(&["verify", "production", "1.2", "--reason", "report 4711"]);
    place.ok(&["adopt", "production", "--reason", "the old disk is gone"]);
    let unknown = place.run(&["verify", "production", "9.9", "--reason", "typo"]);
    assert_eq!(code(&unknown), 64, "{}", stderr(&unknown));
    let nowhere = place.run(&["resume", "nowhere", "--reason", "typo"]);
    assert_eq!(code(&nowhere), 64, "{}", stderr(&nowhere));
    let history = place.ok(&["history", "production", "--json"]);
    for event in ["\"paused\"", "\"verified\"", "\"adopted\""] {
        assert!(history.contains(event), "{event} in {history}");
    }
    drop(service);
}
