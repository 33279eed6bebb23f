//! The claim: our mark on a host, `/var/lib/reconcile/claim.json`, and the fence that checks it.
//!
//! The file holds a [`Claim`] as one line of JSON whose first two fields are the generation and the service, so a
//! shell can check it by its beginning alone, without a JSON parser on the host.

use std::time::Duration;

use model::{Claim, Failure, FailureKind, Generation, HostName, Outcome};

use crate::shell::{last_lines, quote};
use crate::ssh::{Output, Ssh};

/// Where everything of ours on a host lives.
pub const STATE_DIR: &str = "/var/lib/reconcile";

const DEADLINE: Duration = Duration::from_secs(20);

/// Exit code of our scripts: the claim is not what we expect.
pub(crate) const NOT_OURS: i32 = 75;

/// Who is working: what a claim must say for a change to be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The service's own lasting name.
    pub service: String,
    /// Its generation.
    pub generation: Generation,
}

impl Owner {
    /// Shell text that defines `claimed`: succeeds when the claim is this owner's. To be called under the lock, which
    /// `lock_host` takes on file descriptor 9.
    pub(crate) fn fence(&self) -> String {
        format!(
            "lock_host() {{ mkdir -p {STATE_DIR} && exec 9>>{STATE_DIR}/lock && flock -w 15 9; }}\n\
             claimed() {{ case \"$(cat {STATE_DIR}/claim.json 2>/dev/null)\" in {}*) return 0;; esac\n\
             echo \"claim: $(cat {STATE_DIR}/claim.json 2>&1)\" >&2; return 1; }}\n",
            quote(&self.beginning())
        )
    }

    fn beginning(&self) -> String {
        let service = serde_json::Value::from(self.service.as_str());
        format!("{{\"generation\":{},\"service\":{service},", self.generation)
    }
}

/// Puts our mark on a host, or renews an older one of ours; rows found out of rotation by the older one stay noted.
/// The host remembers the highest generation that ever claimed it, also after the mark is gone.
///
/// # Errors
/// `Superseded` when the host carries a mark of another service or of a higher generation; no connection; `Interrupted`
/// when the mark changed while we looked.
pub async fn take(ssh: &Ssh, host: &HostName, claim: &Claim) -> Result<Outcome, Failure> {
    let mut expected = String::new();
    let mut wanted = claim.clone();
    for _ in 0..2 {
        let text = serde_json::to_string(&wanted).map_err(|error| bug(host, &error))?;
        let output = ssh
            .run(host, &swap(&expected, &text, wanted.generation), DEADLINE)
            .await
            .map_err(|e| e.to_failure())?;
        if output.status != NOT_OURS {
            let done = Outcome::Changed(format!("claimed, generation {}", wanted.generation));
            return succeeded(host, "claim", &output).map(|()| done);
        }
        output.stdout.trim_end().clone_into(&mut expected);
        if expected.is_empty() {
            continue;
        }
        let old: Claim = serde_json::from_str(&expected).map_err(|error| bug(host, &error))?;
        wanted = renew(host, &old, claim)?;
        if wanted == old {
            return Ok(Outcome::AlreadyDone);
        }
    }
    let what = format!("the claim on {host} changed while we looked");
    Err(Failure { kind: FailureKind::Interrupted, what, detail: expected })
}

/// Takes our mark off.
///
/// # Errors
/// `Superseded` when the mark is not ours any more; no connection.
pub async fn release(ssh: &Ssh, host: &HostName, owner: &Owner) -> Result<Outcome, Failure> {
    let script = format!(
        "{}lock_host || exit 1\n[ -e {STATE_DIR}/claim.json ] || {{ echo none; exit 0; }}\n\
         claimed || exit {NOT_OURS}\nrm -f {STATE_DIR}/claim.json\n",
        owner.fence()
    );
    let output = ssh.run(host, &script, DEADLINE).await.map_err(|error| error.to_failure())?;
    succeeded(host, "release", &output)?;
    let absent = output.stdout.starts_with("none");
    Ok(if absent { Outcome::AlreadyDone } else { Outcome::Changed("released".to_owned()) })
}

/// Whether the host's mark is ours, for changes elsewhere on its behalf.
///
/// # Errors
/// `Superseded` when it is not; no connection.
pub async fn check(ssh: &Ssh, host: &HostName, owner: &Owner) -> Result<(), Failure> {
    let script = format!("{}claimed || exit {NOT_OURS}\n", owner.fence());
    let output = ssh.run(host, &script, DEADLINE).await.map_err(|error| error.to_failure())?;
    succeeded(host, "check the claim", &output)
}

/// Ours, renewed from what is there.
fn renew(host: &HostName, old: &Claim, new: &Claim) -> Result<Claim, Failure> {
    if old.service != new.service || old.generation > new.generation {
        let what = format!("{host} is claimed by service {}, generation {}", old.service, old.generation);
        return Err(Failure { kind: FailureKind::Superseded, what, detail: String::new() });
    }
    let found = old.found.union(&new.found).cloned().collect();
    Ok(Claim { found, at: old.at, ..new.clone() })
}

/// Compare and swap, under the lock. On a mismatch prints what is there.
fn swap(expected: &str, wanted: &str, generation: Generation) -> String {
    format!(
        "umask 022; mkdir -p {STATE_DIR} && cd {STATE_DIR} || exit 1\n\
         exec 9>>lock && flock -w 15 9 || {{ echo 'the lock is busy' >&2; exit 1; }}\n\
         NOW=$(cat claim.json 2>/dev/null)\n\
         [ \"$NOW\" = {} ] || {{ printf '%s\\n' \"$NOW\"; exit {NOT_OURS}; }}\n\
         EVER=0; [ ! -e generation ] || read -r EVER <generation\n\
         [ \"$EVER\" -ge {generation} ] || {{ echo {generation} >generation.new && sync generation.new && \
         mv generation.new generation; }} || exit 1\n\
         printf '%s\\n' {} >claim.json.new && sync claim.json.new && mv claim.json.new claim.json\n",
        quote(expected),
        quote(wanted)
    )
}

/// Reads the end of one of our own scripts.
pub(crate) fn succeeded(host: &HostName, what: &str, output: &Output) -> Result<(), Failure> {
    let detail = last_lines(&output.stderr, 10);
    match output.status {
        0 => Ok(()),
        NOT_OURS => Err(superseded(host, detail)),
        _ if detail.contains("No space left on device") => Err(Failure {
            kind: FailureKind::DiskFull,
            what: format!("{host}: {what}: no space left on the disk"),
            detail,
        }),
        status => Err(Failure {
            kind: FailureKind::CommandFailed,
            what: format!("{host}: {what} ended with {status}: {}", last_lines(&output.stderr, 1)),
            detail,
        }),
    }
}

pub(crate) fn superseded(host: &HostName, detail: String) -> Failure {
    Failure { kind: FailureKind::Superseded, what: format!("the claim on {host} is not ours"), detail }
}

fn bug(host: &HostName, error: &serde_json::Error) -> Failure {
    let what = format!("the claim on {host} is not readable: {error}");
    Failure { kind: FailureKind::Superseded, what, detail: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::RowId;
    use std::collections::BTreeSet;

    fn claim(service: &str, generation: u64, rows: &[&str]) -> Claim {
        let row = |name: &&str| RowId { node: "lb".into(), backend: "web".into(), server: (*name).into() };
        Claim {
            generation: Generation(generation),
            service: service.into(),
            environment: "staging".into(),
            commit: "c0ffee".into(),
            found: rows.iter().map(row).collect::<BTreeSet<_>>(),
            at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_claim_begins_with_what_the_fence_looks_for() {
        let owner = Owner { service: "de\"ploy".into(), generation: Generation(7) };
        let text = serde_json::to_string(&claim("de\"ploy", 7, &[])).unwrap();
        assert!(text.starts_with(&owner.beginning()), "{text}");
        let older = serde_json::to_string(&claim("de\"ploy", 70, &[])).unwrap();
        assert!(!older.starts_with(&owner.beginning()));
    }

    #[test]
    fn an_older_claim_of_ours_is_renewed_and_keeps_what_it_found() {
        let host = HostName::from("web-1");
        let renewed = renew(&host, &claim("a", 1, &["x"]), &claim("a", 2, &["y"])).unwrap();
        assert_eq!(renewed, claim("a", 2, &["x", "y"]));
    }

    #[test]
    fn a_newer_claim_and_a_foreign_one_are_respected() {
        let host = HostName::from("web-1");
        for old in [claim("a", 3, &[]), claim("b", 1, &[])] {
            let failure = renew(&host, &old, &claim("a", 2, &[])).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Superseded);
        }
    }
}
