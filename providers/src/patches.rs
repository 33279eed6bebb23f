//! Post-deployment patches: a host is brought to exactly a set of patches, in order.
//!
//! What applying a patch did stands below `/var/lib/reconcile/patches/<sha256>`: the originals, the checksums of every
//! file before and after, and, written and synced last, a mark. `patch` itself never works in place: it patches a
//! copy, so that what would come out is known, and on disk, before any file is replaced, each as a whole. Hence a
//! crash at any point leaves each file as before or as after, and the next call takes the patch back and begins anew.
//!
//! Files that somebody else has changed are told by the checksums that `dpkg --verify` uses. When they are exactly as
//! the patch would leave them, the patch is taken for applied.

pub(crate) mod parse;

use std::time::Duration;

use model::{Failure, FailureKind, HostName, Outcome, PatchFile, StepId};

use crate::claim::{Owner, STATE_DIR, succeeded};
use crate::jobs::{self, Ended, Job};
use crate::shell::{last_lines, quote};
use crate::ssh::Ssh;
use parse::{Touch, touched};

/// Where dpkg keeps the checksums of packages' files.
pub(crate) const DPKG_INFO: &str = "/var/lib/dpkg/info";

/// Where patches lie until they are applied.
const INCOMING: &str = "incoming-patches";

/// For one part of a patch on its way to the host.
const DEADLINE: Duration = Duration::from_secs(30);

/// Linux takes arguments of at most 128 KiB, and a quotation mark is quoted twice on its way.
const PART_BYTES: usize = 64 * 1024;
const QUOTED_BYTES: usize = 13;

/// Brings a host to exactly these patches in this order: takes back what else is applied, last one first, then applies
/// what is missing. Each must fit exactly; a file is changed, created or deleted, not renamed, and lies below its root.
///
/// # Errors
/// `PatchFailed`, naming the file: it is not as a patch left it, or somebody else changed it (then nothing was done); a
/// patch does not fit (what comes before it is applied, it is not); or the patch is refused, or `patch` is missing.
/// `DiskFull`; `Superseded`; or no connection, and the job runs on.
pub async fn bring(
    ssh: &Ssh,
    host: &HostName,
    step: &StepId,
    owner: &Owner,
    want: &[PatchFile],
) -> Result<Outcome, Failure> {
    let script = script(want, STATE_DIR, DPKG_INFO).map_err(|reason| failed(host, reason, ""))?;
    for patch in want {
        upload(ssh, host, owner, patch).await?;
    }
    let output = match jobs::run(ssh, &Job { host, step, kind: "patch", owner, script: &script }).await? {
        Ended::Exited { code: 0, output } if output.contains("@@already") => return Ok(Outcome::AlreadyDone),
        Ended::Exited { code: 0, output } => return Ok(Outcome::Changed(last_lines(&output, 20))),
        Ended::Exited { output, .. } => output,
        // The next call finds every file as before or as after.
        Ended::Lost { output } => return Err(failed(host, "patching was killed".to_owned(), &output)),
    };
    if output.contains("No space left on device") {
        let what = format!("{host}: patching: no space left on the disk");
        return Err(Failure { kind: FailureKind::DiskFull, what, detail: last_lines(&output, 10) });
    }
    Err(failed(host, refusal(&output).unwrap_or("patching ended with an error").to_owned(), &output))
}

/// Why the script refused, in one line.
fn refusal(output: &str) -> Option<&str> {
    output.lines().find_map(|line| line.strip_prefix("@@refused ")).map(str::trim_end)
}

fn failed(host: &HostName, what: String, output: &str) -> Failure {
    let what = format!("{host}: {what}");
    Failure { kind: FailureKind::PatchFailed, what, detail: last_lines(output, 10) }
}

/// The script that brings a host there, or why a patch is refused.
fn script(want: &[PatchFile], state_dir: &str, dpkg_info: &str) -> Result<String, String> {
    let mut calls = String::new();
    for patch in want {
        calls += &call(patch).map_err(|reason| format!("{}: {reason}", patch.file))?;
    }
    let names: Vec<&str> = want.iter().map(|patch| patch.sha256.as_str()).collect();
    Ok(format!(
        "PATCHES={state_dir}/patches\nINCOMING={state_dir}/{INCOMING}\nINFO={dpkg_info}\nWANTED={}\n{calls}{}{}",
        quote(&names.join(" ")),
        include_str!("patches/functions.sh"),
        include_str!("patches/bring.sh")
    ))
}

/// A shell function that applies one patch.
fn call(patch: &PatchFile) -> Result<String, String> {
    let PatchFile { sha256, file, root, contents } = patch;
    if sha256.len() != 64 || !sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(format!("`{sha256}` is no sha256 checksum"));
    }
    let mut files = String::new();
    for touched in touched(contents)? {
        let kind = match touched.touch {
            Touch::Change => "change",
            Touch::Create => "create",
            Touch::Delete => "delete",
        };
        files += &format!("{kind} {}\n", touched.file);
    }
    Ok(format!(
        "apply_{sha256}() {{ FILES={}; apply {sha256} {} {}; }}\n",
        quote(files.trim_end()),
        quote(root),
        quote(file)
    ))
}

/// Brings a patch's text to the host, beside everything that counts.
async fn upload(ssh: &Ssh, host: &HostName, owner: &Owner, patch: &PatchFile) -> Result<(), Failure> {
    let (at, part) = (format!("{STATE_DIR}/{INCOMING}"), format!("{}.{}", patch.sha256, owner.generation));
    let mut sign = ">";
    for text in parts(&patch.contents) {
        let put = format!("mkdir -p {at} && printf '%s' {} {sign}{at}/{part}", quote(text));
        let script = owner.fence().held("claimed") + &put;
        let output = ssh.run(host, &script, DEADLINE).await.map_err(|error| error.to_failure())?;
        succeeded(host, "sending a patch", &output)?;
        sign = ">>";
    }
    let script = format!(
        "cd {at} && echo '{}  {part}' | sha256sum --check --status && mv {part} {}",
        patch.sha256, patch.sha256
    );
    let output = ssh.run(host, &script, DEADLINE).await.map_err(|error| error.to_failure())?;
    if output.status == 0 {
        return Ok(());
    }
    let what = format!("{}: its checksum is not {} as release.toml says", patch.file, patch.sha256);
    Err(failed(host, what, &output.stderr))
}

/// The text in pieces that an argument can hold.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut begin, mut size) = (0, 0);
    for (at, c) in text.char_indices() {
        let cost = if c == '\'' { QUOTED_BYTES } else { c.len_utf8() };
        if size + cost > PART_BYTES {
            parts.push(&text[begin..at]);
            (begin, size) = (at, 0);
        }
        size += cost;
    }
    parts.push(&text[begin..]);
    parts
}

#[cfg(test)]
mod tests;
