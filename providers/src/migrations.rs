//! Migrations, and checks that are commands: jobs that must not run twice, on a claimed host.
//!
//! Such a job is known by its [`JobName`], the same in every life of every service. Its folder
//! `/var/lib/reconcile/once/<name>` holds `started`, made exclusively before the first effect, `exit`, written after
//! the last, both on disk before anything follows, and its `output`. Once there is a `started`, nothing is ever begun
//! under that name again: the job is waited for, its recorded end is told, or it is in doubt. The folders stay for
//! ever; the clean-up of [`crate::jobs`] does not see them.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Argv, Failure, FailureKind, HostName, JobName, Outcome};

use crate::claim::{Owner, STATE_DIR, succeeded};
use crate::shell::{command, last_lines, quote, sections};
use crate::ssh::Ssh;

/// A migration may take days; the connection's keep-alive notices a host that is gone.
const FOREVER: Duration = Duration::from_secs(30 * 24 * 3600);

/// `ready` asks a question; one that has no answer by then is not ready.
const READY_S: u32 = 600;

/// What `timeout` answers, and our script when a job's time limit has passed.
const TIMED_OUT: i32 = 124;

/// The words of our script for that: the job itself may end with the same code.
const LIMIT_PASSED: &str = "reconcile: ended by its time limit";

/// How much of a job's output is told.
const LINES: usize = 20;

/// A command that must not run twice. Placeholders are already filled.
#[derive(Clone, Debug)]
pub struct Migration<'a> {
    /// Where.
    pub host: &'a HostName,
    /// Names it, for ever.
    pub job: &'a JobName,
    /// Whose claim the host must carry when it starts.
    pub owner: &'a Owner,
    /// Must end with 0 first, each time that a start is attempted; reads only.
    pub ready: Option<&'a Argv>,
    /// What to run, as root in `/`.
    pub command: &'a Argv,
    /// Its environment variables; their names are names for a shell.
    pub env: &'a BTreeMap<String, String>,
    /// When it passes, the job is ended and has failed. None: it is never ended by us.
    pub timeout: Option<Duration>,
}

/// Starts a job, or finds it by its name whoever started it and whenever, and waits for its end. The claim is looked
/// at only before a start.
///
/// Dropping the future leaves the job running.
///
/// # Errors
/// `JobFailed`: it ended with an error, or its time limit passed. `InDoubt`: it began, does not run and told no end.
/// `NotReady`, `Superseded`, `DiskFull`: it was not begun. A connection's failure, or `TimedOut` when systemd there
/// does not answer: it may run; asking again finds it.
pub async fn run(ssh: &Ssh, migration: &Migration<'_>) -> Result<Outcome, Failure> {
    let Migration { host, job, .. } = migration;
    let output = ssh.run(host, &text(migration), FOREVER).await.map_err(|error| error.to_failure())?;
    succeeded(host, &format!("starting {job}"), &output)?;
    let (head, words) = output.stdout.split_once("\n@@output\n").unwrap_or((&output.stdout, ""));
    let parts = sections(head);
    if let Some(code) = parts.get("exit") {
        return ended(migration, code.trim().parse().unwrap_or(-1), words);
    }
    if parts.contains_key("lost") {
        return Err(lost(migration, words));
    }
    if let Some(code) = parts.get("not-ready") {
        return Err(not_ready(migration, code.trim(), words));
    }
    Err(Failure {
        kind: FailureKind::TimedOut,
        what: format!("{host}: systemd did not start {job}"),
        detail: last_lines(&output.stderr, 10),
    })
}

fn text(migration: &Migration<'_>) -> String {
    let Migration { job, owner, ready, timeout, .. } = migration;
    let ready =
        ready.map_or_else(|| ":".to_owned(), |ready| format!("timeout -k 5 {READY_S} {}", command(ready)));
    format!(
        "NAME={}\nROOT={STATE_DIR}\nKILL={}\nFENCE={}\nSCRIPT={}\nRUN={}\n{}ready() {{ {ready}; }}\n{}",
        quote(job.as_str()),
        // What a check leaves behind goes with it; a migration is never ended by us.
        if timeout.is_some() { "control-group" } else { "process" },
        quote(owner.fence().text()),
        quote(&script(migration)),
        quote(include_str!("migrations/run.sh")),
        owner.fence().text(),
        include_str!("migrations/start.sh")
    )
}

/// What the unit runs. The words of the command and the variables' values never are a shell's business.
fn script(migration: &Migration<'_>) -> String {
    let mut text = "cd /\n".to_owned();
    for (name, value) in migration.env {
        text += &format!("export {name}={}\n", quote(value));
    }
    let words = command(migration.command);
    match migration.timeout.map(|limit| limit.as_secs().max(1)) {
        None => text + "exec " + &words + "\n",
        Some(limit_s) => {
            text + &format!(
                "read -r BEGAN REST </proc/uptime\n/usr/bin/timeout -k 10 {limit_s} {words}\nCODE=$?\n\
                 read -r NOW REST </proc/uptime\n\
                 [ $((${{NOW%.*}} - ${{BEGAN%.*}})) -lt {limit_s} ] || case $CODE in {TIMED_OUT} | 137)\n\
                 printf '\\n{LIMIT_PASSED} of {limit_s} s\\n'; exit {TIMED_OUT} ;; esac\nexit $CODE\n"
            )
        }
    }
}

fn ended(migration: &Migration<'_>, code: i32, words: &str) -> Result<Outcome, Failure> {
    let Migration { host, command, .. } = migration;
    let told = last_lines(words, LINES);
    if code == 0 {
        return Ok(Outcome::Changed(if told.is_empty() {
            "ended with 0, said nothing".to_owned()
        } else {
            told
        }));
    }
    let passed = code == TIMED_OUT && last_lines(words, 1).starts_with(LIMIT_PASSED);
    let what = if passed {
        let limit_s = migration.timeout.map_or(0, |limit| limit.as_secs());
        format!("{host}: {command} did not end within {limit_s} s")
    } else {
        format!("{host}: {command} ended with {code}")
    };
    Err(Failure { kind: FailureKind::JobFailed, what, detail: told })
}

fn lost(migration: &Migration<'_>, words: &str) -> Failure {
    let Migration { host, job, command, .. } = migration;
    Failure {
        kind: FailureKind::InDoubt,
        what: format!(
            "{host}: {command} began and was killed: nobody knows what it did; its output is in {}",
            folder(job) + "/output"
        ),
        detail: last_lines(words, LINES),
    }
}

fn not_ready(migration: &Migration<'_>, code: &str, words: &str) -> Failure {
    let Migration { host, ready, .. } = migration;
    let shown = ready.map(ToString::to_string).unwrap_or_default();
    let what = match code {
        "124" | "137" => format!("{host}: {shown} did not end within {READY_S} s"),
        code => format!("{host}: not ready: {shown} ended with {code}"),
    };
    Failure { kind: FailureKind::NotReady, what, detail: last_lines(words, LINES) }
}

/// Where a job's files are on its host.
pub fn folder(job: &JobName) -> String {
    format!("{STATE_DIR}/once/{job}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Generation, JobKey, JobKind, Version};

    fn with<T>(timeout_s: Option<u64>, look: impl Fn(&Migration<'_>) -> T) -> T {
        let key = JobKey { kind: JobKind::PreMigration, version: Version::parse("1.0").unwrap() };
        let migration = Migration {
            host: &"deploy-01".into(),
            job: &JobName::new(&"staging".into(), &key, 1),
            owner: &Owner { service: "a".to_owned(), generation: Generation(1), process: "p".to_owned() },
            ready: None,
            command: &Argv(vec!["migrate".into(), "it's; $all".into()]),
            env: &BTreeMap::from([("SKIP".to_owned(), "$(true)'".to_owned())]),
            timeout: timeout_s.map(Duration::from_secs),
        };
        look(&migration)
    }

    #[test]
    fn words_and_variables_reach_the_command_as_they_are() {
        let text = with(None, script);
        assert_eq!(text, "cd /\nexport SKIP='$(true)'\\'''\nexec 'migrate' 'it'\\''s; $all'\n");
    }

    #[test]
    fn only_what_has_a_time_limit_is_ever_ended_by_us() {
        assert!(with(None, text).contains("KILL=process\n") && !with(None, script).contains("timeout"));
        assert!(with(Some(60), text).contains("KILL=control-group\n"));
    }

    #[test]
    fn a_job_that_ends_with_the_same_code_as_a_time_limit_is_told_apart() {
        let what = |words: &str| with(Some(60), |job| ended(job, 124, words).unwrap_err().what);
        assert_eq!(what("it broke\n"), "deploy-01: migrate it's; $all ended with 124");
        let passed = what("working\n\nreconcile: ended by its time limit of 60 s\n");
        assert_eq!(passed, "deploy-01: migrate it's; $all did not end within 60 s");
    }
}
