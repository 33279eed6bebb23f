//! Jobs on a host: scripts that run as transient systemd units named after their step, with durable results.
//!
//! A job's folder `/var/lib/reconcile/jobs/<step>` holds `started`, made exclusively before the first effect, and
//! `exit`, written after the last, both on disk before anything follows; and its `output`. A cut connection, a killed
//! service and a second start lose nothing and repeat nothing: whoever comes later reads the same end.
//!
//! The unit is not kept after its end (`--collect`): the files tell how it ended, also after a reboot. `KillMode` is
//! `process`, because nothing of ours may ever kill dpkg.

use std::time::Duration;

use model::{Failure, FailureKind, HostName, StepId};

use crate::claim::{NOT_OURS, Owner, STATE_DIR, locked, succeeded, superseded};
use crate::shell::{last_lines, quote, sections};
use crate::ssh::Ssh;

/// A job has no deadline of its own; the connection's keep-alive notices a host that is gone.
const FOREVER: Duration = Duration::from_secs(7 * 24 * 3600);

/// All that a job says which found the lock held: it never began.
const NOT_BEGUN: &str = "reconcile: the lock is busy";

/// A script that changes a host.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// Where.
    pub host: &'a HostName,
    /// Names it, for ever.
    pub step: &'a StepId,
    /// A word for what kind of job it is. A success makes lost jobs of the same kind irrelevant.
    pub kind: &'a str,
    /// Whose claim the host must carry at its start.
    pub owner: &'a Owner,
    /// The POSIX shell script, run as root.
    pub script: &'a str,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With an exit code.
    Exited {
        /// The code.
        code: i32,
        /// The last part of its output.
        output: String,
    },
    /// It began and stopped without telling its end: it was killed, or the host went down.
    Lost {
        /// The last part of its output.
        output: String,
    },
}

/// Starts a job, or finds it by its name when it was started before, and waits for its end.
///
/// Dropping the future leaves the job running.
///
/// # Errors
/// `Superseded` when the host's claim is not the owner's: nothing was done. `DiskFull` when there is no room for the
/// job's own files: nothing was done. A connection's failure: the job may run; asking again with the same step finds it.
pub async fn run(ssh: &Ssh, job: &Job<'_>) -> Result<Ended, Failure> {
    let output = ssh.run(job.host, &text(job), FOREVER).await.map_err(|error| error.to_failure())?;
    succeeded(job.host, job.kind, &output)?;
    let (head, words) = output.stdout.split_once("\n@@output\n").unwrap_or((&output.stdout, ""));
    let parts = sections(head);
    if let Some(code) = parts.get("exit") {
        return match code.trim().parse().unwrap_or(-1) {
            NOT_OURS => Err(superseded(job.host, last_lines(words, 1))),
            _ if words.trim_end() == NOT_BEGUN => Err(locked(job.host, job.kind, String::new())),
            code => Ok(Ended::Exited { code, output: words.to_owned() }),
        };
    }
    if parts.contains_key("lost") {
        return Ok(Ended::Lost { output: words.to_owned() });
    }
    Err(Failure {
        kind: FailureKind::CommandFailed,
        what: format!("{}: systemd did not start job {}", job.host, job.step),
        detail: last_lines(&output.stderr, 10),
    })
}

fn text(job: &Job<'_>) -> String {
    format!(
        "STEP={}\nKIND={}\nROOT={STATE_DIR}\nFENCE={}\nSCRIPT={}\nRUN={}\n{}",
        quote(job.step.as_str()),
        quote(job.kind),
        quote(job.owner.fence().text()),
        quote(job.script),
        quote(include_str!("jobs/run.sh")),
        include_str!("jobs/start.sh")
    )
}
