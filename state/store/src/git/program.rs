//! Asking a remote, by the `git` program: it can be ended when a remote hangs, which a library call cannot, and it
//! gets in the way its user is used to (agent, ssh configuration, known hosts, proxies).
//!
//! Nothing here writes a reference: a fetch brings objects alone, so that being killed at any instant does no harm.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use git2::Oid;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::config::{Access, GitConfig, Remote};

/// Answers longer than this are no answer to our questions.
const MAX_WORDS: usize = 500;

/// Hands the token over from its file, so that it is in no argument and no environment. Only asked for `get`.
const TOKEN_HELPER: &str = r#"!f() { test "$1" = get || exit 0; echo "username=$RECONCILE_GIT_USER"; printf 'password=%s\n' "$(cat "$RECONCILE_GIT_TOKEN_FILE")"; }; f"#;

/// Takes a push into a repository on this machine. Where the branch is checked out, its files follow; git refuses when
/// somebody has changed them.
const RECEIVE_HERE: &str = "git -c safe.directory=* -c receive.denyCurrentBranch=updateInstead receive-pack";

/// A remote's branch, and how to ask for it.
#[derive(Clone, Debug)]
pub(super) struct Contact {
    remote: Remote,
    reference: String,
    access: Access,
    mirror: PathBuf,
    deadline: Duration,
}

impl Contact {
    pub(super) fn new(config: &GitConfig) -> Self {
        Self {
            remote: config.remote.clone(),
            reference: format!("refs/heads/{}", config.branch),
            access: config.access.clone(),
            mirror: config.mirror_dir.clone(),
            deadline: config.deadline,
        }
    }

    /// Where the branch is now.
    pub(super) async fn head(&self) -> Result<Oid, String> {
        let answer = self.ask(&["ls-remote", "--quiet"]).await?;
        find_reference(&answer, &self.reference)
            .ok_or_else(|| format!("{} has no branch {}", self.remote.as_text(), self.branch()))
    }

    /// Brings the branch's commits into the mirror.
    pub(super) async fn fetch(&self) -> Result<(), String> {
        let options = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"];
        self.ask(&options).await.map(drop)
    }

    /// Moves the remote's branch from one commit to another that is in the mirror, if it is still there.
    pub(super) async fn push(&self, from: Oid, to: Oid) -> Result<(), String> {
        let mut command = self.git();
        // Compare and swap: the lease names the commit that has to be there.
        command.args(["push", "--quiet", "--no-verify", "--no-follow-tags", "--recurse-submodules=no"]);
        command.arg(format!("--force-with-lease={}:{from}", self.reference));
        if let Remote::Local(_) = self.remote {
            command.arg(format!("--receive-pack={RECEIVE_HERE}"));
        }
        command.arg("--").arg(self.remote.as_text()).arg(format!("{to}:{}", self.reference));
        self.finish(command).await.map(drop).map_err(|error| format!("{}: {error}", self.remote.as_text()))
    }

    fn branch(&self) -> &str {
        self.reference.trim_start_matches("refs/heads/")
    }

    async fn ask(&self, options: &[&str]) -> Result<String, String> {
        let mut command = self.git();
        command.args(options);
        if let Remote::Local(_) = self.remote {
            // The operator named this very path, so that it may belong to another user; git itself would refuse.
            command.arg("--upload-pack=git -c safe.directory=* upload-pack");
        }
        command.arg("--").arg(self.remote.as_text()).arg(&self.reference);
        self.finish(command).await.map_err(|error| format!("{}: {error}", self.remote.as_text()))
    }

    /// Runs git to its end or to the deadline. What it wrote, or why it failed in one line.
    pub(super) async fn finish(&self, mut command: Command) -> Result<String, String> {
        let child = command.spawn().map_err(|error| format!("cannot start the program `git`: {error}"))?;
        let group = Group::of(&child);
        let ended = tokio::time::timeout(self.deadline, child.wait_with_output()).await;
        let output = match ended {
            Err(_) => {
                return Err(format!("no answer within {:?}", self.deadline));
            }
            Ok(ended) => ended.map_err(|error| format!("cannot read from the program `git`: {error}"))?,
        };
        group.forget();
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(reason(&output))
        }
    }

    /// git on the mirror, not begun yet, with the settings of this remote and none of the surroundings.
    pub(super) fn git(&self) -> Command {
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os() {
            if is_foreign(&name.to_string_lossy()) {
                command.env_remove(name);
            }
        }
        command.arg("--git-dir").arg(&self.mirror);
        command.envs(self.settings());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        command
    }

    fn settings(&self) -> Vec<(String, String)> {
        let Access { token_file, username, ca_file, .. } = &self.access;
        let mut config = vec![
            ("gc.auto", "0".to_owned()),
            ("maintenance.auto", "false".to_owned()),
            ("core.fsync", "all".to_owned()),
            // Somebody's hooks for all repositories are not for ours.
            ("core.hooksPath", "/dev/null".to_owned()),
        ];
        let mut settings = vec![
            ("LC_ALL".to_owned(), "C".to_owned()),
            ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
            ("GIT_ALLOW_PROTOCOL".to_owned(), "file:ssh:https".to_owned()),
            ("GIT_SSH_COMMAND".to_owned(), ssh_command(&self.access)),
        ];
        if let Some(file) = token_file {
            // An empty one first: it sets aside those of the user's own configuration.
            config.extend([
                ("credential.helper", String::new()),
                ("credential.helper", TOKEN_HELPER.to_owned()),
            ]);
            let user = username.clone().unwrap_or_else(|| "oauth2".to_owned());
            settings.push(("RECONCILE_GIT_USER".to_owned(), user));
            settings.push(("RECONCILE_GIT_TOKEN_FILE".to_owned(), file.display().to_string()));
        }
        if let Some(file) = ca_file {
            // As a variable, because one that is set already would win over the configuration.
            settings.push(("GIT_SSL_CAINFO".to_owned(), file.display().to_string()));
        }
        settings.push(("GIT_CONFIG_COUNT".to_owned(), config.len().to_string()));
        for (place, (key, value)) in config.into_iter().enumerate() {
            settings.push((format!("GIT_CONFIG_KEY_{place}"), key.to_owned()));
            settings.push((format!("GIT_CONFIG_VALUE_{place}"), value));
        }
        settings
    }
}

/// Settings of a repository that the service was perhaps started from (a hook, an alias) are not for ours.
fn is_foreign(name: &str) -> bool {
    name.starts_with("GIT_") && !name.starts_with("GIT_SSL_")
}

/// Never asks a person anything, never trusts an unknown host, and notices a dead connection by itself.
fn ssh_command(access: &Access) -> String {
    let mut words = vec!["ssh".to_owned()];
    for option in ["BatchMode=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=10", "ServerAliveInterval=5"]
    {
        words.push(format!("-o{option}"));
    }
    if let Some(key) = &access.ssh_key {
        words.push("-oIdentitiesOnly=yes".to_owned());
        words.push(format!("-i{}", quoted(key)));
    }
    if let Some(file) = &access.known_hosts {
        words.push("-oGlobalKnownHostsFile=/dev/null".to_owned());
        words.push(format!("-oUserKnownHostsFile={}", quoted(file)));
    }
    words.join(" ")
}

/// For the shell that git starts ssh with.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

fn find_reference(answer: &str, reference: &str) -> Option<Oid> {
    answer.lines().find_map(|line| {
        let (id, name) = line.split_once('\t')?;
        (name == reference).then(|| Oid::from_str(id).ok()).flatten()
    })
}

/// What git said, in one line.
fn reason(output: &Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = words
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("warning:"))
        .collect();
    let text = lines.join("; ");
    if text.is_empty() {
        return format!("git ended with {}", output.status);
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WORDS).collect()
}

/// A running git with everything that it started (ssh, a helper): all end when this is dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }

    /// It ended by itself; its number may belong to somebody else by now.
    fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // It may have ended in this very moment, which is as well.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_branch_of_exactly_that_name_counts() {
        let id = "1111111111111111111111111111111111111111";
        let answer = format!(
            "2222222222222222222222222222222222222222\trefs/heads/x/refs/heads/main\n{id}\trefs/heads/main\n"
        );
        assert_eq!(find_reference(&answer, "refs/heads/main").unwrap().to_string(), id);
        assert_eq!(find_reference(&answer, "refs/heads/ma"), None);
    }

    #[test]
    fn a_path_with_a_quote_cannot_leave_its_quotes() {
        let access = Access { ssh_key: Some("/k'; reboot '".into()), ..Access::default() };
        assert!(ssh_command(&access).ends_with(r"-i'/k'\''; reboot '\'''"), "{}", ssh_command(&access));
    }
}
