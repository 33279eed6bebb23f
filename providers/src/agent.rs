//! The configuration agent of a host: paused while we work there, with a mark `/var/lib/reconcile/agent-paused` that
//! says why in words for people, and given back as found.
//!
//! The mark is on disk before the agent is paused and goes after it is active again, so that a crash in between leaves
//! a mark, never a pause without one. A paused agent without a mark is somebody else's, and stays.

use std::time::Duration;

use model::{Argv, CommitId, ConfigAgent, Failure, FailureKind, HostName, Outcome};

use crate::claim::{Owner, STATE_DIR, succeeded};
use crate::shell::{command, quote};
use crate::ssh::{Output, Ssh};

/// A person's command may take this long; a longer one is ended and has failed.
const COMMAND_S: u64 = 120;

/// Longer than all commands of one script together.
const DEADLINE: Duration = Duration::from_secs(4 * COMMAND_S);

/// Exit code of our script: a run of the agent is under way.
const BUSY: i32 = 27;

/// A pause, with what the mark says. Placeholders in the commands are already filled.
#[derive(Clone, Debug)]
pub struct Pause<'a> {
    /// Where.
    pub host: &'a HostName,
    /// Whose claim the host must carry.
    pub owner: &'a Owner,
    /// Its commands.
    pub agent: &'a ConfigAgent,
    /// Why, in one line.
    pub why: &'a str,
    /// For which commit.
    pub commit: &'a CommitId,
}

/// Marks the host and pauses the agent. One that is not active stays as it is, without a mark of ours.
///
/// # Errors
/// `NotReady` when a run is under way: nothing was done. `CommandFailed` when a command failed, or the agent is still
/// active after it; the mark stays. `Superseded`; or no connection.
pub async fn pause(ssh: &Ssh, pause: &Pause<'_>) -> Result<Outcome, Failure> {
    let Pause { host, owner, agent, why, commit } = pause;
    let script = format!(
        "WHY={}\nSERVICE={}\nCOMMIT={}\n{}{}",
        quote(&why.replace('\n', " ")),
        quote(&owner.service),
        quote(commit.as_str()),
        functions(owner, agent),
        include_str!("agent/pause.sh")
    );
    let output = ssh.run(host, &script, DEADLINE).await.map_err(|error| error.to_failure())?;
    if output.status == BUSY {
        let what = format!("{host}: a run of the configuration agent is under way");
        return Err(Failure { kind: FailureKind::NotReady, what, detail: String::new() });
    }
    outcome(host, "pausing the configuration agent", &output, "paused the configuration agent")
}

/// Starts the agent again that we paused, and takes the mark away. Without a mark nothing is done.
///
/// # Errors
/// `CommandFailed` when the command failed or the agent is not active after it: the mark stays; `Superseded`; or no
/// connection.
pub async fn resume(
    ssh: &Ssh,
    host: &HostName,
    owner: &Owner,
    agent: &ConfigAgent,
) -> Result<Outcome, Failure> {
    let script = functions(owner, agent) + include_str!("agent/resume.sh");
    let output = ssh.run(host, &script, DEADLINE).await.map_err(|error| error.to_failure())?;
    outcome(host, "resuming the configuration agent", &output, "resumed the configuration agent")
}

/// Runs a command that tells the agent a version. It may be run again. Placeholders are already filled.
///
/// # Errors
/// `CommandFailed` with its last words; `Superseded`; or no connection, and it may have run.
pub async fn pin(ssh: &Ssh, host: &HostName, owner: &Owner, argv: &Argv) -> Result<Outcome, Failure> {
    let script = format!(
        "{}{}lock_claimed\n{} </dev/null >&2 9>&- || told $? {}\n",
        owner.fence().text(),
        include_str!("agent/functions.sh"),
        limited(argv),
        quote(&argv.to_string())
    );
    let output = ssh.run(host, &script, DEADLINE).await.map_err(|error| error.to_failure())?;
    outcome(host, "pinning the version", &output, &argv.to_string())
}

fn outcome(host: &HostName, what: &str, output: &Output, done: &str) -> Result<Outcome, Failure> {
    succeeded(host, what, output)?;
    let already = output.stdout.contains("@@already");
    Ok(if already { Outcome::AlreadyDone } else { Outcome::Changed(done.to_owned()) })
}

fn functions(owner: &Owner, agent: &ConfigAgent) -> String {
    let ConfigAgent { pause, resume, active, busy, pin: _ } = agent;
    let asked = |argv: &Argv| format!("timeout -k 1 10 {} </dev/null 9>&-", command(argv));
    format!(
        "STATE={STATE_DIR}\nPAUSE={}\nRESUME={}\nHAS_BUSY={}\n{}\
         pause_command() {{ {} </dev/null >&2 9>&-; }}\nresume_command() {{ {} </dev/null >&2 9>&-; }}\n\
         active_command() {{ {}; }}\nbusy_command() {{ {}; }}\n{}",
        quote(&pause.to_string()),
        quote(&resume.to_string()),
        u8::from(busy.is_some()),
        owner.fence().text(),
        limited(pause),
        limited(resume),
        asked(active),
        busy.as_ref().map_or_else(|| ":".to_owned(), asked),
        include_str!("agent/functions.sh")
    )
}

fn limited(argv: &Argv) -> String {
    format!("timeout -k 5 {COMMAND_S} {}", command(argv))
}
