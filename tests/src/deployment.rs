//! The shipping program against a lab of real hosts: a desired-state repository, the service's own file, and what a
//! test wants to know of both.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use engine::Report;
use lab::Lab;
use model::{EnvironmentName, Event, HostName, Recorded, Standing, Step};

/// The environment that every test deploys.
pub const ENVIRONMENT: &str = "production";

/// A repository and a service in a lab. The service is killed when this is dropped.
pub struct Deployment<'a> {
    /// The hosts.
    pub lab: &'a Lab,
    folder: tempfile::TempDir,
    program: PathBuf,
    environment: String,
    service: Option<Child>,
}

impl<'a> Deployment<'a> {
    /// A repository with `examples/web` at `version`; nothing runs yet. `program` is the shipping program.
    ///
    /// # Panics
    /// When the machine has no git or no room: then no test can run.
    pub fn new(lab: &'a Lab, program: &str, version: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let environment = example_environment();
        let deployment = Self { lab, folder, program: program.into(), environment, service: None };
        deployment.write_config_for(&deployment.repository());
        deployment.git(&["init", "--quiet", "--initial-branch=main", "."]);
        deployment.commit_files("first commit", version);
        deployment
    }

    /// A repository with these files (path and text), which people push to and nobody works in; nothing runs yet.
    ///
    /// # Panics
    /// When the machine has no git or no room: then no test can run.
    pub fn with_files(lab: &'a Lab, program: &str, files: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let deployment =
            Self { lab, folder, program: program.into(), environment: String::new(), service: None };
        deployment.write_config_for(&deployment.origin());
        let origin = deployment.origin().display().to_string();
        deployment.git(&["init", "--quiet", "--bare", "--initial-branch=main", &origin]);
        deployment.git(&["init", "--quiet", "--initial-branch=main", "."]);
        deployment.git(&["remote", "add", "origin", &origin]);
        for (path, text) in files {
            let path = deployment.repository().join(path);
            std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        deployment.git(&["add", "--all"]);
        deployment.git(&["commit", "--quiet", "-m", "first commit"]);
        deployment.git(&["push", "--quiet", "--set-upstream", "origin", "main"]);
        deployment
    }

    /// The repository that people push to, of a deployment that has one.
    pub fn origin(&self) -> PathBuf {
        self.folder.path().join("origin.git")
    }

    /// Edits one file on top of what others have pushed, and pushes it. Hands back the commit.
    ///
    /// # Panics
    /// When the edit changes nothing, or git fails.
    pub fn push(&self, path: &str, subject: &str, edit: impl FnOnce(String) -> String) -> String {
        self.git(&["pull", "--quiet", "--rebase"]);
        let file = self.repository().join(path);
        let text = std::fs::read_to_string(&file).expect("a file");
        std::fs::write(file, edit(text)).expect("a file");
        self.git(&["commit", "--quiet", "--all", "-m", subject]);
        self.git(&["push", "--quiet"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Changes the text of environment.toml; takes effect with the next commit.
    ///
    /// # Panics
    /// When the text to be replaced is not there: the test would change nothing.
    pub fn replace(&mut self, from: &str, to: &str) -> &mut Self {
        assert!(self.environment.contains(from), "environment.toml has no `{from}`");
        self.environment = self.environment.replace(from, to);
        self
    }

    /// Sets the whole of environment.toml; takes effect with the next commit.
    pub fn set_environment(&mut self, text: &str) -> &mut Self {
        text.clone_into(&mut self.environment);
        self
    }

    /// The repository's folder.
    pub fn repository(&self) -> PathBuf {
        self.folder.path().join("desired")
    }

    /// The service's state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The service's own file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    fn write_config_for(&self, repository: &Path) {
        let ssh = self.lab.ssh_files();
        let text = format!(
            "state_dir = {:?}\nservice = \"deploy-01\"\n[repository]\nurl = {:?}\n[ssh]\nuser = \"root\"\nconfig_file = {:?}\nknown_hosts = {:?}\nkey = {:?}\nconnect_timeout = \"3s\"\n",
            self.state_dir(),
            repository,
            ssh.config,
            ssh.known_hosts,
            ssh.identity
        );
        std::fs::create_dir_all(self.repository()).expect("a folder");
        std::fs::write(self.config(), text).expect("a file");
    }

    /// Runs git in the repository.
    ///
    /// # Panics
    /// When git fails.
    pub fn git(&self, arguments: &[&str]) -> String {
        let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
        let output = Command::new("git")
            .args(identity)
            .args(arguments)
            .current_dir(self.repository())
            .output()
            .expect("git runs");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Commits a new target, and whatever else was changed.
    pub fn commit(&self, version: &str) -> String {
        self.commit_files(&format!("{ENVIRONMENT}: {version}"), version)
    }

    fn commit_files(&self, subject: &str, version: &str) -> String {
        let folder = self.repository().join("environments").join(ENVIRONMENT);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("environment.toml"), &self.environment).expect("a file");
        std::fs::write(folder.join("release.toml"), format!("[main]\nversion = \"{version}\"\n"))
            .expect("a file");
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", subject]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Reverts the newest commit.
    pub fn revert(&self) -> String {
        self.git(&["revert", "--no-edit", "HEAD"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// The program inside the lab's network, with this deployment's file.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.command(&self.program);
        command.arg("--config").arg(self.config()).args(arguments);
        command
    }

    /// Runs the program to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().expect("the program starts")
    }

    /// Starts the service.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn serve(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).expect("a file");
        let mut command = self.command(&["serve"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.service = Some(command.spawn().expect("the program starts"));
    }

    /// What the service logged.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("service.log")
    }

    /// The service's process id.
    pub fn pid(&self) -> Option<u32> {
        self.service.as_ref().map(Child::id)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut service) = self.service.take() {
            let _ = service.kill();
            let _ = service.wait();
        }
    }

    /// SIGTERM, and its end.
    ///
    /// # Panics
    /// When it does not end well.
    pub fn stop(&mut self) {
        let Some(mut service) = self.service.take() else { return };
        let sent = Command::new("kill").arg(service.id().to_string()).status().expect("kill runs");
        assert!(sent.success());
        let ended = service.wait().expect("it is our child");
        assert!(ended.success(), "the service ended with {ended}:\n{}", self.tail());
    }

    /// Asks the running service how everything stands; none: it does not answer (yet).
    pub fn report(&self) -> Option<Report> {
        let output = self.run(&["status", "--json"]);
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str::<serde_json::Value>(&text).ok().and_then(|value| {
            let report = value.get("report").cloned().unwrap_or(value);
            serde_json::from_value(report).ok()
        })
    }

    /// Every event of the journal.
    ///
    /// # Panics
    /// When the journal cannot be read.
    pub fn journal(&self) -> Vec<Recorded> {
        match store::journal::JournalReader::open_read_only(&self.state_dir()) {
            Ok(reader) => reader.replay().expect("the journal can be read"),
            Err(_) => Vec::new(),
        }
    }

    /// Waits until the newest commit is converged.
    ///
    /// # Panics
    /// When it is not in time; with the journal's end and the service's log.
    pub fn converges(&self, commit: &str, within_s: u64) {
        let done = |recorded: &Recorded| matches!(&recorded.event, Event::Converged { commit: at, .. } if at.as_str() == commit);
        self.wait_for(&format!("convergence on {commit}"), within_s, || self.journal().iter().any(done));
    }

    /// Waits until an environment is converged on the newest commit that it has accepted.
    ///
    /// # Panics
    /// When it is not in time.
    pub fn settles(&self, environment: &str, within_s: u64) {
        self.wait_for(&format!("convergence of {environment}"), within_s, || {
            self.report().is_some_and(|report| {
                let known = report.environments.get(environment);
                known.is_some_and(|it| it.standing == Standing::Converged)
            })
        });
    }

    /// Waits for an event after the one numbered `after`.
    ///
    /// # Panics
    /// When it does not come in time.
    pub fn event(&self, what: &str, after: u64, within_s: u64, is_it: impl Fn(&Event) -> bool) -> Recorded {
        let mut found = None;
        self.wait_for(what, within_s, || {
            let events = self.journal();
            found = events.into_iter().find(|recorded| recorded.seq > after && is_it(&recorded.event));
            found.is_some()
        });
        found.expect("it was waited for")
    }

    /// Waits until every host is healthy with all of its rows in rotation: a lab that has just booted warms up.
    ///
    /// # Panics
    /// When it is not in time.
    pub fn all_is_well(&self, within_s: u64) {
        self.wait_for("fleet that is well", within_s, || {
            let report = self.report();
            let environment = report.as_ref().and_then(|report| report.environments.get(ENVIRONMENT));
            environment.is_some_and(|environment| {
                let well = |host: &engine::HostReport| {
                    host.health == "healthy" && host.in_rotation.0 == host.in_rotation.1
                };
                environment.hosts.iter().all(well)
            })
        });
    }

    /// Waits for a condition, a look every 100 ms.
    ///
    /// # Panics
    /// When it does not come in time; with the journal's end and the service's log.
    pub fn wait_for(&self, what: &str, within_s: u64, mut there: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(within_s);
        while !there() {
            assert!(Instant::now() < deadline, "no {what} within {within_s} s\n{}", self.tail());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The end of the journal and of the log, for a failing test.
    pub fn tail(&self) -> String {
        let events = self.journal();
        let last = events.iter().rev().take(12).rev();
        let journal: Vec<String> =
            last.map(|r| serde_json::to_string(&r.event).unwrap_or_default()).collect();
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let log = lines[lines.len().saturating_sub(25)..].join("\n");
        format!("journal:\n{}\nlog:\n{log}", journal.join("\n"))
    }

    /// What `explain` prints of a host or environment.
    pub fn explain(&self, subject: &str) -> String {
        String::from_utf8_lossy(&self.run(&["explain", subject]).stdout).into_owned()
    }

    /// Waits until `explain` of a subject contains a text.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn explains(&self, subject: &str, text: &str, within_s: u64) {
        let mut last = String::new();
        let deadline = Instant::now() + Duration::from_secs(within_s);
        while !last.contains(text) {
            assert!(
                Instant::now() < deadline,
                "explain {subject} never said `{text}`, but:\n{last}\n{}",
                self.tail()
            );
            last = self.explain(subject);
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// How the environment stands.
    pub fn standing(&self) -> Option<Standing> {
        let report = self.report()?;
        report.environments.get(&EnvironmentName::from(ENVIRONMENT)).map(|environment| environment.standing)
    }

    /// `host action` of every step that began after event `after`, in order, without downloads.
    pub fn steps_after(&self, after: u64) -> Vec<(HostName, String)> {
        let began = |recorded: Recorded| match recorded.event {
            Event::StepStarted { step } if recorded.seq > after => {
                Some((step.host, step.action.kind().to_string()))
            }
            _ => None,
        };
        self.journal().into_iter().filter_map(began).filter(|(_, action)| action != "download").collect()
    }

    /// Steps that the journal calls begun and not ended, by the newest service. Right after a kill: those that it
    /// interrupted.
    pub fn open_steps(&self) -> Vec<Step> {
        let mut open = Vec::new();
        for recorded in self.journal() {
            match recorded.event {
                Event::ServiceStarted { .. } => open.clear(),
                Event::StepStarted { step } => open.push(step),
                Event::StepFinished { step: ended, .. } => open.retain(|step| step.id != ended),
                _ => {}
            }
        }
        open
    }

    /// The number of the newest event.
    pub fn last_event(&self) -> u64 {
        self.journal().last().map_or(0, |recorded| recorded.seq)
    }
}

impl Drop for Deployment<'_> {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}

fn example_environment() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in the repository");
    let path = root.join("examples/web/environments/production/environment.toml");
    std::fs::read_to_string(path).expect("the example is there")
}
