//! Debian packages at exact versions, in both directions, repaired where dpkg was left half-way.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Argv, Failure, FailureKind, HostName, Outcome, PackageName, StepId, Version};

use crate::claim::{Owner, STATE_DIR, succeeded};
use crate::jobs::{self, Ended, Job};
use crate::patches::DPKG_INFO;
use crate::shell::{command, last_lines, quote};
use crate::ssh::{Output, Ssh};

/// Exit codes of our own scripts, besides apt's.
const COMMAND_FAILED: i32 = 21;
const APT_FAILED: i32 = 22;
const NOT_RIGHT: i32 = 23;

/// What an install is to do. Placeholders in the commands are already filled.
#[derive(Clone, Debug)]
pub struct Install<'a> {
    /// Where.
    pub host: &'a HostName,
    /// Names the job.
    pub step: &'a StepId,
    /// Whose claim the host must carry.
    pub owner: &'a Owner,
    /// Exact versions.
    pub packages: &'a BTreeMap<PackageName, Version>,
    /// Before the install.
    pub prepare: &'a [Argv],
    /// After it.
    pub configure: &'a [Argv],
}

/// Fetches packages, and what they need, into the host's cache. Changes nothing that runs.
///
/// Refreshes apt's lists only when the host does not know a version yet. Needs no claim: the host is claimed later, and
/// fetches meanwhile. It is refused all the same where a newer service has been.
///
/// # Errors
/// See [`classify`]; `Superseded`; or no connection.
pub async fn download(
    ssh: &Ssh,
    host: &HostName,
    owner: &Owner,
    packages: &BTreeMap<PackageName, Version>,
    deadline: Duration,
) -> Result<Outcome, Failure> {
    let script = format!(
        "{}exec 9>&-\n{}STAGED={STATE_DIR}/staged\n{}{}",
        owner.fence().held("not_newer"),
        installed(packages),
        include_str!("apt/functions.sh"),
        include_str!("apt/download.sh")
    );
    let output = ssh.run(host, &script, deadline).await.map_err(|error| error.to_failure())?;
    match output.status {
        0 if output.stdout.contains("@@already") => Ok(Outcome::AlreadyDone),
        0 => Ok(Outcome::Changed(format!("downloaded {}", list(packages)))),
        status => Err(download_failure(host, packages, status, &output)),
    }
}

/// Brings packages to exact versions as a job, pinned and held there. Already so and configured: nothing runs.
///
/// # Errors
/// `CommandFailed` for a command of the user's; else see [`classify`]; `Superseded`; or no connection, and the job runs on.
pub async fn install(ssh: &Ssh, install: &Install<'_>) -> Result<Outcome, Failure> {
    let Install { host, step, owner, packages, prepare, configure } = install;
    let script = format!(
        "{}STATE={STATE_DIR}\nPATCHES=$STATE/patches\nINFO={DPKG_INFO}\n{}{}{}{}{}",
        installed(packages),
        commands("prepare", prepare),
        commands("configure", configure),
        include_str!("apt/functions.sh"),
        include_str!("patches/functions.sh"),
        include_str!("apt/install.sh")
    );
    let job = Job { host, step, kind: "install", owner, script: &script };
    match jobs::run(ssh, &job).await? {
        Ended::Exited { code: 0, output } if output.contains("@@already") => Ok(Outcome::AlreadyDone),
        Ended::Exited { code: 0, .. } => Ok(Outcome::Changed(format!("installed {}", list(packages)))),
        Ended::Exited { code, output } => Err(install_failure(host, packages, code, &output)),
        // An install may be repeated: it looks first what is there, and repairs it.
        Ended::Lost { output } => Err(Failure {
            kind: FailureKind::InstallFailed,
            what: format!("{host}: the install of {} was killed", list(packages)),
            detail: last_lines(&output, 10),
        }),
    }
}

/// `WANTED`, words of `name=version`, and the shell function `installed`, which tells whether a host has all of them
/// wholly installed. Names and versions hold no character that a shell knows.
pub(crate) fn installed(packages: &BTreeMap<PackageName, Version>) -> String {
    let words: Vec<_> = packages.iter().map(|(package, version)| format!("{package}={version}")).collect();
    format!("WANTED={}\n{}", quote(&words.join(" ")), include_str!("apt/installed.sh"))
}

/// A shell function that runs commands in order and ends the script at the first that fails.
fn commands(name: &str, argvs: &[Argv]) -> String {
    let mut text = format!("HAS_{name}={}\nrun_{name}() {{\n:\n", argvs.len());
    for argv in argvs {
        let shown = quote(&argv.to_string());
        let line = format!(
            "printf '@@%s %s\\n' {name} {shown}; {} || {{ C=$?; printf '\\n@@failed %s ended with %s\\n' {shown} \"$C\"; exit {COMMAND_FAILED}; }}\n",
            command(argv)
        );
        text += &line;
    }
    text + "}\n"
}

fn list(packages: &BTreeMap<PackageName, Version>) -> String {
    packages.iter().map(|(package, version)| format!("{package} {version}")).collect::<Vec<_>>().join(", ")
}

fn download_failure(
    host: &HostName,
    packages: &BTreeMap<PackageName, Version>,
    status: i32,
    output: &Output,
) -> Failure {
    let text = format!("{}\n{}", output.stdout, output.stderr);
    if status != APT_FAILED {
        return succeeded(host, "download", output).err().unwrap_or_else(|| failure(host, packages, &text));
    }
    failure(host, packages, &text)
}

fn install_failure(
    host: &HostName,
    packages: &BTreeMap<PackageName, Version>,
    code: i32,
    output: &str,
) -> Failure {
    let detail = last_lines(output, 10);
    if code == COMMAND_FAILED {
        let told = output.lines().rev().find_map(|line| line.strip_prefix("@@failed "));
        let what = format!("{host}: {}", told.unwrap_or("a command of the role failed"));
        return Failure { kind: FailureKind::CommandFailed, what, detail };
    }
    if code == NOT_RIGHT && classify(output) == FailureKind::InstallFailed {
        let seen = output.lines().rev().find_map(|line| line.strip_prefix("@@seen ")).unwrap_or("nothing");
        let what = format!("{host}: wanted {}, and after the install dpkg tells {seen}", list(packages));
        return Failure { kind: FailureKind::InstallFailed, what, detail };
    }
    failure(host, packages, output)
}

fn failure(host: &HostName, packages: &BTreeMap<PackageName, Version>, text: &str) -> Failure {
    let kind = classify(text);
    let telling = telling_line(text, kind).unwrap_or_else(|| last_lines(text, 1));
    let what = format!("{host}: {}: {kind}: {telling}", list(packages));
    Failure { kind, what, detail: last_lines(text, 10) }
}

/// What apt's and dpkg's words mean; apt answers nearly everything with exit code 100. Order matters: a full disk and a held lock make everything after them fail too,
/// and a source that cannot be read makes a version look as if it did not exist.
pub fn classify(text: &str) -> FailureKind {
    const KINDS: &[FailureKind] = &[
        FailureKind::DiskFull,
        FailureKind::PackageLocked,
        FailureKind::InstallFailed,
        FailureKind::SourceUnavailable,
        FailureKind::VersionNotFound,
    ];
    KINDS
        .iter()
        .copied()
        .find(|kind| telling_line(text, *kind).is_some())
        .unwrap_or(FailureKind::InstallFailed)
}

fn telling_line(text: &str, kind: FailureKind) -> Option<String> {
    let signs: &[&str] = match kind {
        FailureKind::DiskFull => &["No space left on device", "You don't have enough free space"],
        FailureKind::PackageLocked => &["Could not get lock", "lock was locked by another process"],
        FailureKind::InstallFailed => &[
            "returned error exit status",
            "dpkg: error processing",
            "Packages need to be removed but remove is disabled",
            "held broken packages",
        ],
        FailureKind::SourceUnavailable => &[
            "Hash Sum mismatch",
            "Failed to fetch",
            "Unable to fetch",
            "Could not connect",
            "Temporary failure",
        ],
        FailureKind::VersionNotFound => &["was not found", "Unable to locate package"],
        _ => &[],
    };
    let line = signs.iter().find_map(|sign| text.lines().find(|line| line.contains(sign)))?;
    Some(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_words_are_told_apart() {
        let recorded = [
            ("E: Version '99.0' for 'shop' was not found", FailureKind::VersionNotFound),
            ("E: Unable to locate package shop", FailureKind::VersionNotFound),
            (
                "Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 971 (perl)...",
                FailureKind::PackageLocked,
            ),
            (
                "dpkg: error: dpkg frontend lock was locked by another process with pid 7",
                FailureKind::PackageLocked,
            ),
            (
                "dpkg: error processing archive x.deb (--unpack):\n cannot copy extracted data: failed to write (No space left on device)",
                FailureKind::DiskFull,
            ),
            ("E: You don't have enough free space in /var/cache/apt/archives/.", FailureKind::DiskFull),
            (
                "W: Failed to fetch http://apt.lab/./InRelease  Could not connect to apt.lab:80\nE: Version '2' for 'shop' was not found",
                FailureKind::SourceUnavailable,
            ),
            ("E: Failed to fetch http://apt.lab/shop.deb  Hash Sum mismatch", FailureKind::SourceUnavailable),
            (
                "W: Failed to fetch http://other/InRelease\n installed shop package post-installation script subprocess returned error exit status 1",
                FailureKind::InstallFailed,
            ),
            ("E: Packages need to be removed but remove is disabled.", FailureKind::InstallFailed),
            ("something new", FailureKind::InstallFailed),
        ];
        for (text, kind) in recorded {
            assert_eq!(classify(text), kind, "{text}");
        }
    }

    #[test]
    fn a_users_command_stays_a_list_of_words() {
        let text = commands("prepare", &[Argv(vec!["touch".into(), "a b;c".into()])]);
        assert!(text.contains("'touch' 'a b;c' ||"), "{text}");
    }
}
