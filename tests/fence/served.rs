//! A service with a state directory of its own, of which there may be several with one name.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lab::Lab;
use model::{ActionKind, Event, Failure, Generation, Outcome, Recorded, Step};
use tests::deployment::Deployment;

use crate::PROGRAM;

/// A running service; killed when this is dropped.
pub(crate) struct Served<'a> {
    lab: &'a Lab,
    folder: tempfile::TempDir,
    child: Child,
}

/// A step as the journal tells it; no end: it is under way.
pub(crate) struct Told {
    pub(crate) seq: u64,
    pub(crate) began: Timestamp,
    pub(crate) step: Step,
    pub(crate) end: Option<(Timestamp, Result<Outcome, Failure>)>,
}

impl<'a> Served<'a> {
    /// Starts a service of a deployment: with no memory, or with a copy of another one's as it is now.
    pub(crate) fn start(deployment: &Deployment<'a>, like: Option<&Served<'_>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if let Some(other) = like {
            let copied = Command::new("cp").arg("-a").arg(other.state_dir()).arg(folder.path()).status();
            assert!(copied.unwrap().success());
        }
        let text = std::fs::read_to_string(deployment.config()).unwrap();
        let state = folder.path().join("state");
        let text = text.replace(&format!("{:?}", deployment.state_dir()), &format!("{state:?}"));
        std::fs::write(folder.path().join("config.toml"), text).unwrap();
        let child = serve(deployment.lab, &folder);
        Self { lab: deployment.lab, folder, child }
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// `STOP` or `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// `STOP` or `CONT`, to its connections to some hosts: what it says to them stays on its way until they go on.
    pub(crate) fn signal_lines(&self, name: &str, to: &str) {
        let lines = lines_of(self.child.id(), to);
        assert!(!lines.is_empty(), "no connection to {to}");
        let sent = Command::new("kill").arg(format!("-{name}")).args(lines).status();
        assert!(sent.unwrap().success());
    }

    /// Stopped in good order, and started again without its journal.
    pub(crate) fn loses_its_journal(&mut self) {
        self.signal("TERM");
        assert!(self.child.wait().unwrap().success(), "{}", self.tail());
        for entry in std::fs::read_dir(self.state_dir()).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with(store::journal::JOURNAL_FILE) {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        self.child = serve(self.lab, &self.folder);
    }

    /// What the program prints when it is asked about this service.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let output = command(self.lab, &self.folder).args(arguments).stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    pub(crate) fn journal(&self) -> Vec<Recorded> {
        match store::journal::JournalReader::open_read_only(&self.state_dir()) {
            Ok(reader) => reader.replay().unwrap(),
            Err(_) => Vec::new(),
        }
    }

    /// The number of the newest event.
    pub(crate) fn last_event(&self) -> u64 {
        self.journal().last().map_or(0, |recorded| recorded.seq)
    }

    /// Its generation.
    pub(crate) fn generation(&self) -> Generation {
        let started = |recorded: Recorded| match recorded.event {
            Event::ServiceStarted { generation, .. } => Some(generation),
            _ => None,
        };
        self.journal().into_iter().filter_map(started).max().unwrap()
    }

    /// Steps that began after an event, each with its end.
    pub(crate) fn steps_after(&self, after: u64) -> Vec<Told> {
        let mut told: Vec<Told> = Vec::new();
        for Recorded { seq, at, event } in self.journal() {
            match event {
                Event::StepStarted { step } if seq > after => {
                    told.push(Told { seq, began: at, step, end: None });
                }
                Event::StepFinished { step, result, .. } => {
                    let begun = told.iter_mut().find(|told| told.step.id == step);
                    begun.into_iter().for_each(|told| told.end = Some((at, result.clone())));
                }
                _ => {}
            }
        }
        told
    }

    /// Waits until an action has begun on a host.
    pub(crate) fn begins(&self, kind: ActionKind, host: &str, after: u64) {
        self.wait_for(&format!("{kind} on {host}"), || {
            let is_it = |told: &Told| told.step.host.as_str() == host && told.step.action.kind() == kind;
            self.steps_after(after).iter().any(is_it)
        });
    }

    /// Waits until an action on a host has ended well.
    pub(crate) fn ends(&self, kind: ActionKind, host: &str, after: u64) {
        self.wait_for(&format!("end of {kind} on {host}"), || {
            let is_it = |told: &Told| told.step.host.as_str() == host && told.step.action.kind() == kind;
            let well = |told: &Told| matches!(told.end, Some((_, Ok(_))));
            self.steps_after(after).iter().any(|told| is_it(told) && well(told))
        });
    }

    pub(crate) fn converges(&self, commit: &str) {
        let done = |recorded: &Recorded| matches!(&recorded.event, Event::Converged { commit: at, .. } if at.as_str() == commit);
        self.wait_for(&format!("convergence on {commit}"), || self.journal().iter().any(done));
    }

    pub(crate) fn explains(&self, text: &str) {
        self.wait_for(text, || self.ask(&["explain", "production"]).contains(text));
    }

    fn wait_for(&self, what: &str, mut there: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(240);
        while !there() {
            assert!(Instant::now() < deadline, "no {what}\n{}", self.tail());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn tail(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}

/// The ssh processes of a service that lead to hosts whose names begin so.
fn lines_of(service: u32, to: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let named = processes.filter_map(|entry| {
        let line = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
        Some((entry.file_name().into_string().ok()?, line))
    });
    let leads = |line: &str| {
        let ours = line.starts_with("ssh") && line.contains(&format!("/reconcile-ssh.{service}."));
        ours && line.split('\0').any(|word| word.starts_with(to))
    };
    named.filter(|(_, line)| leads(line)).map(|(pid, _)| pid).collect()
}

fn command(lab: &Lab, folder: &tempfile::TempDir) -> Command {
    let mut command = lab.command(PROGRAM);
    command.arg("--config").arg(folder.path().join("config.toml"));
    command
}

fn serve(lab: &Lab, folder: &tempfile::TempDir) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.path().join("log")).unwrap();
    let mut command = command(lab, folder);
    command.arg("serve").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().unwrap()
}
