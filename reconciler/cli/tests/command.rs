//! The built binary, from outside: exit codes, and what goes to stdout and what to stderr. Needs no fleet.
#![allow(clippy::unwrap_used, reason = "a test may end that way")]

use std::path::Path;
use std::process::{Command, Output};

fn reconcile(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reconcile"));
    command.args(arguments).env_remove("RECONCILE_CONFIG").env_remove("RUST_LOG");
    command.output().unwrap()
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

/// A folder with a desired-state repository as `init` begins it.
fn begun() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let output = reconcile(&["init", folder.path().to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    folder
}

fn write_config(folder: &Path, text: &str) -> String {
    let path = folder.join("config.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_wrong_command_line_is_64_and_help_is_0() {
    for wrong in [&["nonsense"][..], &["plan", "--format", "xml"], &["retry", "production"], &[]] {
        let output = reconcile(wrong);
        assert_eq!((code(&output), stdout(&output)), (64, String::new()), "{wrong:?}");
        assert!(!output.stderr.is_empty());
    }
    for right in [&["--help"][..], &["plan", "--help"], &["--version"]] {
        let output = reconcile(right);
        assert_eq!((code(&output), stderr(&output)), (0, String::new()), "{right:?}");
        assert!(stdout(&output).contains("reconcile"), "{right:?}");
    }
}

#[test]
fn help_of_every_command_has_its_first_line() {
    let help = stdout(&reconcile(&["--help"]));
    for command in [
        "check", "plan", "apply", "serve", "status", "explain", "history", "retry", "schema", "init", "demo",
        "promote", "rollback", "weight", "veto", "hold", "out", "patch", "pause", "resume", "verify",
        "adopt",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is missing in\n{help}");
        assert_eq!(code(&reconcile(&[command, "--help"])), 0, "{command}");
    }
    assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
}

#[test]
fn a_new_repository_is_valid_and_nothing_is_written_over() {
    let folder = begun();
    let path = folder.path().to_str().unwrap();
    let output = reconcile(&["check", path]);
    assert_eq!((code(&output), stdout(&output).as_str()), (0, "valid: staging\n"), "{}", stderr(&output));
    assert_eq!(code(&reconcile(&["init", path])), 64);
}

#[test]
fn an_invalid_repository_is_65_with_every_problem_and_its_place() {
    let folder = begun();
    let path = folder.path().join("environments/staging/environment.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("packages =", "pakages =").replace("services =", "servces =");
    std::fs::write(&path, text).unwrap();

    let output = reconcile(&["check", folder.path().to_str().unwrap()]);
    assert_eq!(code(&output), 65);
    let told = stdout(&output);
    assert!(told.contains("environments/staging/environment.toml:4:1: error: "), "{told}");
    assert!(told.contains("did you mean `packages`?") && told.contains("did you mean `services`?"), "{told}");

    let output = reconcile(&["check", "--json", folder.path().to_str().unwrap()]);
    assert_eq!(code(&output), 65);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((json["format"].as_u64(), json["valid"].as_bool()), (Some(1), Some(false)));
    assert!(json["problems"].as_array().unwrap().iter().any(|problem| problem["line"] == 4), "{json}");
}

#[test]
fn a_folder_that_is_not_there_is_69() {
    let output = reconcile(&["check", "/nonexistent"]);
    assert_eq!((code(&output), stdout(&output)), (69, String::new()));
    assert!(stderr(&output).contains("/nonexistent"));
}

#[test]
fn both_schemas_are_json_schemas() {
    for file in ["environment", "release"] {
        let output = reconcile(&["schema", file]);
        assert_eq!(code(&output), 0);
        let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(schema["title"], format!("{file}.toml"));
    }
    assert_eq!(code(&reconcile(&["schema", "fleet"])), 64);
}

#[test]
fn without_a_config_file_it_is_said_what_to_write() {
    for command in [&["plan"][..], &["status"], &["serve"], &["apply", "staging"], &["history", "staging"]] {
        let output = reconcile(&[command, &["--config", "/nonexistent.toml"]].concat());
        assert_eq!((code(&output), stdout(&output)), (64, String::new()), "{command:?}");
        assert!(stderr(&output).contains("hint: name the service's own file with --config"), "{command:?}");
    }
}

#[test]
fn a_repository_that_is_gone_is_69_and_an_invalid_one_is_65() {
    let folder = tempfile::tempdir().unwrap();
    let (state, gone) = (folder.path().join("state"), folder.path().join("gone"));
    let text = format!("state_dir = {state:?}\nrepository = {{ url = {gone:?} }}\n");
    let output = reconcile(&["plan", "--config", &write_config(folder.path(), &text)]);
    assert_eq!(code(&output), 69, "{}", stderr(&output));

    commit_invalid(&gone);
    let output = reconcile(&["plan", "--config", &write_config(folder.path(), &text)]);
    assert_eq!(code(&output), 65, "{}", stderr(&output));
    assert!(stderr(&output).contains("environments/staging/release.toml:1:8"), "{}", stderr(&output));
    assert!(!state.exists(), "a plan makes no state directory");
}

#[test]
fn a_command_that_needs_a_journal_says_that_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("state_dir = {:?}\nrepository = {{ url = '/srv/desired' }}\n", folder.path());
    let config = write_config(folder.path(), &text);
    let output = reconcile(&["history", "production", "--config", &config]);
    assert_eq!(code(&output), 69);
    assert!(
        stderr(&output).contains("no service has run on this state directory yet"),
        "{}",
        stderr(&output)
    );
    let output = reconcile(&["retry", "production", "--reason", "mended", "--config", &config]);
    assert_eq!(code(&output), 64, "{}", stderr(&output));
}

#[test]
fn the_simulated_demo_says_that_it_is_simulated_and_both_commits_converge() {
    let output = reconcile(&["demo", "--simulated", "--fast"]);
    let told = stdout(&output);
    assert_eq!(code(&output), 0, "{told}\n{}", stderr(&output));
    assert!(told.starts_with("SIMULATED: "), "{told}");
    for version in ["1.0.0-1", "1.1.0-1"] {
        assert!(told.contains(&format!("production is converged on {version}")), "{told}");
    }
    assert!(told.contains("web-01        drain         done"), "{told}");
}

fn commit_invalid(path: &Path) {
    let folder = path.join("environments/staging");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("release.toml"), "main = 1\n").unwrap();
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "--quiet", "--message=Begin"],
    ] {
        assert!(Command::new("git").current_dir(path).args(arguments).status().unwrap().success());
    }
}

/// A repository and a service whose hosts all refuse the connection: 127.0.0.1, a port that nobody listens on.
struct Unreachable {
    folder: tempfile::TempDir,
    config: String,
}

impl Unreachable {
    fn begin() -> Self {
        let folder = begun();
        let path = folder.path();
        for arguments in [&["add", "--all"][..], &["commit", "--quiet", "--message=Begin"]] {
            let mut git = Command::new("git");
            git.current_dir(path).args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]);
            assert!(git.args(arguments).status().unwrap().success());
        }
        std::fs::write(path.join("ssh.conf"), "Host *\n  HostName 127.0.0.1\n  Port 1\n").unwrap();
        let text = format!(
            "service = 'deploy'\nstate_dir = {:?}\n[repository]\nurl = {path:?}\n[ssh]\nconfig_file = {:?}\n",
            path.join("state"),
            path.join("ssh.conf"),
        );
        let config = write_config(path, &text);
        Self { folder, config }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        reconcile(&[arguments, &["--config", &self.config]].concat())
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("state/control.sock")
    }

    /// Asks again and again until the answer's code is as it should be.
    fn until(&self, arguments: &[&str], wanted: i32) -> Output {
        let began = std::time::Instant::now();
        loop {
            let output = self.run(arguments);
            if code(&output) == wanted {
                return output;
            }
            let told = format!("{}{}", stdout(&output), stderr(&output));
            assert!(
                began.elapsed().as_secs() < 60,
                "{arguments:?} still ends with {}: {told}",
                code(&output)
            );
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

/// A running service; killed when a test fails before it has stopped it.
struct Serving(std::process::Child);

impl Serving {
    /// Returns once its socket is there.
    fn start(fleet: &Unreachable) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reconcile"));
        command.args(["serve", "--config", &fleet.config]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut serving = Self(command.spawn().unwrap());
        let began = std::time::Instant::now();
        while !fleet.socket().exists() {
            assert_eq!(serving.0.try_wait().unwrap(), None, "it ended early");
            assert!(began.elapsed().as_secs() < 60, "it never opened its socket");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        serving
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_fleet_that_cannot_be_reached_is_planned_with_69_and_nothing_is_left_behind() {
    let fleet = Unreachable::begin();
    let output = fleet.run(&["plan"]);
    assert_eq!(code(&output), 69, "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("web-04  unreachable"), "{}", stdout(&output));
    assert!(!fleet.folder.path().join("state").exists());

    let output = fleet.run(&["plan", "nosuch"]);
    assert_eq!(code(&output), 64);
    assert!(stderr(&output).contains("hint: there are: staging"), "{}", stderr(&output));

    let output = fleet.run(&["explain", "web-02", "--json"]);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert!(stderr(&output).contains("no service runs"), "{}", stderr(&output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["waiting"]["reason"]["reason"], "host-unknown", "{json}");
}

#[test]
fn apply_ends_with_3_when_only_the_world_can_go_on() {
    let fleet = Unreachable::begin();
    let output = fleet.run(&["apply", "staging"]);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("staging -> 1.0.0-1"),
        "progress is told on stderr: {}",
        stderr(&output)
    );
    assert!(stdout(&output).contains("staging: waiting, wants 1.0.0-1"), "{}", stdout(&output));

    let output = fleet.run(&["apply", "nosuch"]);
    assert_eq!(code(&output), 64, "{}", stderr(&output));
}

#[test]
fn a_running_service_answers_on_its_socket_and_stops_at_the_first_signal() {
    use std::os::unix::fs::PermissionsExt;
    let fleet = Unreachable::begin();
    let mut serve = Serving::start(&fleet);
    let output = fleet.until(&["status", "--json"], 3);
    assert_eq!(stderr(&output), "", "the service answered");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((json["service"].as_str(), json["generation"].as_u64()), (Some("deploy"), Some(1)));
    let mode = std::fs::metadata(fleet.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let output = fleet.run(&["retry", "staging", "--reason", "cable mended"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(code(&fleet.run(&["retry", "nosuch", "--reason", "why not"])), 64);
    let output = fleet.run(&["history", "staging"]);
    assert!(stdout(&output).contains("asked to try again: cable mended"), "{}", stdout(&output));

    let output = fleet.run(&["serve"]);
    assert_eq!(code(&output), 69);
    assert!(stderr(&output).contains("is held by process"), "{}", stderr(&output));

    let pid = serve.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(serve.0.wait().unwrap().code(), Some(0));
    assert!(!fleet.socket().exists());
}
