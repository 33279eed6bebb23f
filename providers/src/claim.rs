//! The claim: our mark on a host, `/var/lib/reconcile/claim.json`; and the fence on hosts and load balancer nodes that
//! lets no older service change what a newer one has claimed.
//!
//! The mark holds a [`Claim`] as one line of JSON whose first two fields are the generation and the service, so a
//! shell can check it by its beginning alone, without a JSON parser on the host.
//!
//! Beside it `/var/lib/reconcile/generation.SERVICE` remembers the highest generation of that service which ever
//! claimed the host, or changed the load balancer node, and which process it was. It stays when the mark goes. A
//! generation orders the lives of one service, so it is remembered for each service by itself, whatever environment it
//! acts for: a service has one journal, and one generation in all of its environments. Between services of different
//! names the mark decides on hosts, and on load balancer nodes, which they may share, nothing does: their rows are not
//! shared. The process is remembered since two services whose journals are copies may reach the same generation: then
//! the first to come has it.
//!
//! All of it is written and checked under one lock on the machine itself.

use std::time::Duration;

use model::{Claim, Failure, FailureKind, Generation, HostName, Outcome};

use crate::shell::{last_lines, quote};
use crate::ssh::{Output, Ssh};

/// Where everything of ours on a host lives.
pub const STATE_DIR: &str = "/var/lib/reconcile";

const DEADLINE: Duration = Duration::from_secs(20);

/// Exit code of our scripts: the claim is not what we expect, or a newer service has been there.
pub(crate) const NOT_OURS: i32 = 75;

/// Exit code of our scripts: somebody holds the machine's lock, nothing was done.
const LOCKED: i32 = 74;

/// Who is working: what a claim must say for a change to be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The service's own lasting name.
    pub service: String,
    /// Its generation.
    pub generation: Generation,
    /// Tells this process from every other one that may have the same generation. One word.
    pub process: String,
}

/// Shell text that knows an [`Owner`] and keeps older ones off. It defines `lock_host`, which takes the machine's lock
/// on file descriptor 9, and to be called under it: `not_newer`, whether no newer service has been there; `raise`, the
/// same and from now on nothing older may come; `claimed`, whether the host's mark is this owner's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence(String);

impl Owner {
    /// The fence of a machine whose state is where it always is.
    pub fn fence(&self) -> Fence {
        self.fence_in(STATE_DIR)
    }

    /// The fence of a machine that keeps our state in this folder.
    pub fn fence_in(&self, folder: &str) -> Fence {
        Fence(format!(
            "OUR_STATE={}\nOUR_SERVICE={}\nOUR_GENERATION={}\nOUR_PROCESS={}\nOUR_MEMORY={}\nOUR_CLAIM={}\n{}",
            quote(folder),
            quote(&self.service),
            self.generation,
            quote(&self.process),
            quote(&memory_in(folder, &self.service)),
            quote(&self.beginning()),
            include_str!("claim/fence.sh")
        ))
    }

    fn beginning(&self) -> String {
        let service = serde_json::Value::from(self.service.as_str());
        format!("{{\"generation\":{},\"service\":{service},", self.generation)
    }
}

impl Fence {
    /// The definitions alone.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// The definitions, then the lock until the script ends, and its end with the code of `condition` unless that succeeds.
    pub(crate) fn held(&self, condition: &str) -> String {
        format!(
            "umask 022\n{}lock_host || {{ echo 'the lock is busy' >&2; exit {LOCKED}; }}\n{condition} || exit $?\n",
            self.0
        )
    }
}

/// The file in which a machine remembers the generations of a service.
pub fn memory(service: &str) -> String {
    memory_in(STATE_DIR, service)
}

/// The generation that a machine's answer, `@@generation` with the memory's line below, makes of ours: where another
/// process was there with it, that one came first, and the machine is as closed to us as by a later one. None: not so.
pub(crate) fn taken(answer: &str, us: &Owner) -> Option<Generation> {
    let (_, rest) = answer.split_once("@@generation\n")?;
    let (generation, process) = rest.lines().next()?.split_once(' ')?;
    let ours = generation.parse().ok().map(Generation) == Some(us.generation);
    (ours && process != us.process).then(|| Generation(us.generation.0.saturating_add(1)))
}

fn memory_in(folder: &str, service: &str) -> String {
    format!("{folder}/generation.{service}")
}

/// Puts our mark on a host, or renews an older one of ours; rows found out of rotation by the older one stay noted.
///
/// What a load balancer does for the host is fenced by [`raise`] on its nodes, which is to come before.
///
/// # Errors
/// `Superseded` when the host carries a mark of another service, or remembers a higher generation of ours, also after
/// that one's mark is gone; no connection; `Interrupted` when the mark changed while we looked.
pub async fn take(ssh: &Ssh, host: &HostName, owner: &Owner, claim: &Claim) -> Result<Outcome, Failure> {
    let mut expected = String::new();
    let mut wanted = claim.clone();
    for _ in 0..2 {
        let text = serde_json::to_string(&wanted).map_err(|error| bug(host, &error))?;
        let script = swap(owner, &expected, &text);
        let output = ssh.run(host, &script, DEADLINE).await.map_err(|e| e.to_failure())?;
        succeeded(host, "claim", &output)?;
        let Some(there) = output.stdout.strip_prefix("there ") else {
            let already = output.stdout.starts_with("already");
            let done = format!("claimed, generation {}", wanted.generation);
            return Ok(if already { Outcome::AlreadyDone } else { Outcome::Changed(done) });
        };
        there.trim_end().clone_into(&mut expected);
        if !expected.is_empty() {
            let old: Claim = serde_json::from_str(&expected).map_err(|error| bug(host, &error))?;
            wanted = renew(host, &old, claim)?;
        }
    }
    let what = format!("the claim on {host} changed while we looked");
    Err(Failure { kind: FailureKind::Interrupted, what, detail: expected })
}

/// Lets nothing older of our service change a load balancer node any more.
///
/// This is the first part of claiming a host, on each node that has rows of it, and the mark on the host is the second.
/// Why so: an older service may be stopped at any instant and go on later, also between its last look at the host's
/// mark and its command to a node. So each command to a node carries its generation and is compared there, in the same
/// script and under the same lock as the change itself. The comparison refuses it only where the node knows of the
/// newer service, so the node has to know before that service holds the host: what the older one did by then is done
/// and is seen, and what it does later is refused.
///
/// # Errors
/// `Superseded` when the node knows of a newer service; no connection. Without it no host behind the node may be
/// claimed; a node that is dead is declared out by a person.
pub async fn raise(ssh: &Ssh, node: &HostName, owner: &Owner) -> Result<(), Failure> {
    let script = owner.fence().held("raise");
    let output = ssh.run(node, &script, DEADLINE).await.map_err(|error| error.to_failure())?;
    succeeded(node, "fence", &output)
}

/// Takes our mark off.
///
/// # Errors
/// `Superseded` when the mark is not ours any more; no connection.
pub async fn release(ssh: &Ssh, host: &HostName, owner: &Owner) -> Result<Outcome, Failure> {
    let absent_or_ours = format!("{{ not_newer && [ ! -e {STATE_DIR}/claim.json ]; }} || claimed");
    let script = format!(
        "{}[ -e {STATE_DIR}/claim.json ] || {{ echo none; exit 0; }}\nrm -f {STATE_DIR}/claim.json && sync {STATE_DIR}\n",
        owner.fence().held(&absent_or_ours)
    );
    let output = ssh.run(host, &script, DEADLINE).await.map_err(|error| error.to_failure())?;
    succeeded(host, "release", &output)?;
    let absent = output.stdout.starts_with("none");
    Ok(if absent { Outcome::AlreadyDone } else { Outcome::Changed("released".to_owned()) })
}

/// Whether the host's mark is ours, for changes elsewhere on its behalf: these are fenced where they happen.
///
/// # Errors
/// `Superseded` when it is not; no connection.
pub async fn check(ssh: &Ssh, host: &HostName, owner: &Owner) -> Result<(), Failure> {
    let script = owner.fence().held("claimed");
    let output = ssh.run(host, &script, DEADLINE).await.map_err(|error| error.to_failure())?;
    succeeded(host, "check the claim", &output)
}

/// Ours, renewed from what is there. The same life of the service has seen the mark, and says what is left of what it found;
/// a later one may take for somebody else's what the older one has drained, so the older list stands.
fn renew(host: &HostName, old: &Claim, new: &Claim) -> Result<Claim, Failure> {
    if old.service != new.service || old.generation > new.generation {
        let what = format!("{host} is claimed by service {}, generation {}", old.service, old.generation);
        return Err(Failure { kind: FailureKind::Superseded, what, detail: String::new() });
    }
    let same_life = old.generation == new.generation;
    let found = if same_life { new.found.clone() } else { old.found.clone() };
    if (old.generation, &old.commit) == (new.generation, &new.commit) {
        return Ok(Claim { found, ..old.clone() });
    }
    Ok(Claim { found, at: old.at, ..new.clone() })
}

/// Compare and swap, under the lock. On a mismatch tells what is there.
fn swap(owner: &Owner, expected: &str, wanted: &str) -> String {
    format!(
        "{}cd {STATE_DIR} || exit 1\nNOW=$(cat claim.json 2>/dev/null)\nWANTED={}\n\
         [ \"$NOW\" = {} ] || {{ printf 'there %s\\n' \"$NOW\"; exit 0; }}\n\
         [ \"$EVER $NOW\" != \"$OUR_GENERATION $WANTED\" ] || {{ echo already; exit 0; }}\n\
         raise || exit $?\n\
         printf '%s\\n' \"$WANTED\" >claim.json.new && sync claim.json.new && mv claim.json.new claim.json && sync .\n",
        owner.fence().held("not_newer"),
        quote(wanted),
        quote(expected),
    )
}

/// Reads the end of one of our own scripts.
pub(crate) fn succeeded(host: &HostName, what: &str, output: &Output) -> Result<(), Failure> {
    let detail = last_lines(&output.stderr, 10);
    match output.status {
        0 => Ok(()),
        NOT_OURS => Err(superseded(host, detail)),
        LOCKED => Err(locked(host, what, detail)),
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

/// Somebody else's command is under way there: it ends.
pub(crate) fn locked(host: &HostName, what: &str, detail: String) -> Failure {
    let what = format!("{host}: {what}: another command of reconcile holds the lock there");
    Failure { kind: FailureKind::TimedOut, what, detail }
}

/// The fence has refused us; `detail` is what it said.
pub(crate) fn superseded(host: &HostName, detail: String) -> Failure {
    let outlived = detail.lines().find(|line| line.contains(" may change nothing"));
    let what = outlived
        .map_or_else(|| format!("the claim on {host} is not ours"), |outlived| format!("{host}: {outlived}"));
    Failure { kind: FailureKind::Superseded, what, detail }
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

    #[test]
    fn our_own_generation_is_taken_where_another_process_came_first() {
        let us = Owner { service: "a".into(), generation: Generation(3), process: "7-1f".into() };
        let told = |memory: &str| taken(&format!("@@claim\n@@generation\n{memory}@@end\n"), &us);
        assert_eq!(told("3 8-1f\n"), Some(Generation(4)));
        assert_eq!(told("3 7-1f\n"), None, "it was us");
        assert_eq!(told("2 8-1f\n"), None, "an earlier life");
        assert_eq!(told("4 8-1f\n"), None, "a later one, which the number tells");
        assert_eq!(told(""), None, "nobody");
    }

    fn claim(service: &str, generation: u64, rows: &[&str]) -> Claim {
        let row = |name: &&str| RowId { node: "lb".into(), backend: "web".into(), server: (*name).into() };
        Claim {
            generation: Generation(generation),
            service: service.into(),
            environment: "staging".into(),
            commit: "c0ffee".into(),
            found: rows.iter().map(row).collect::<BTreeSet<_>>(),
            at: jiff::Timestamp::UNIX_EPOCH,
            expires: None,
        }
    }

    /// What a shell says to scripts in one folder, each its exit code and last word.
    fn fenced(scripts: &[(u64, &str, &str)]) -> Vec<(i32, String)> {
        let folder = tempfile::tempdir().unwrap();
        let run = |(generation, process, script): &(u64, &str, &str)| {
            let owner = Owner {
                service: "deploy-01".into(),
                generation: Generation(*generation),
                process: (*process).into(),
            };
            let text = owner.fence_in(&folder.path().display().to_string()).held(script);
            let output = std::process::Command::new("sh").args(["-c", &text]).output().unwrap();
            (output.status.code().unwrap(), last_lines(&String::from_utf8_lossy(&output.stderr), 1))
        };
        scripts.iter().map(run).collect()
    }

    #[test]
    fn a_claim_begins_with_what_the_fence_looks_for() {
        let process = "1".to_owned();
        let owner = Owner { service: "de\"ploy".into(), generation: Generation(7), process };
        let text = serde_json::to_string(&claim("de\"ploy", 7, &[])).unwrap();
        assert!(text.starts_with(&owner.beginning()), "{text}");
        let older = serde_json::to_string(&claim("de\"ploy", 70, &[])).unwrap();
        assert!(!older.starts_with(&owner.beginning()));
    }

    #[test]
    fn a_claim_of_a_program_that_knew_no_expiry_is_read() {
        let text = serde_json::to_string(&claim("a", 7, &[])).unwrap();
        assert!(!text.contains("expires"), "{text}");
        assert_eq!(serde_json::from_str::<Claim>(&text).unwrap(), claim("a", 7, &[]));
    }

    #[test]
    fn a_newer_generation_keeps_an_older_one_off_for_ever_and_says_which() {
        let said = fenced(&[(3, "a", "raise"), (5, "b", "raise"), (3, "a", "raise"), (5, "b", "not_newer")]);
        let codes: Vec<i32> = said.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, [0, 0, NOT_OURS, 0]);
        assert_eq!(
            said[2].1,
            "generation 5 of service deploy-01 has been there: generation 3 may change nothing any more"
        );
    }

    #[test]
    fn of_two_processes_with_one_generation_the_first_to_come_has_it() {
        let said = fenced(&[(4, "a", "raise"), (4, "b", "raise"), (4, "a", "raise"), (5, "b", "raise")]);
        assert_eq!(said.iter().map(|(code, _)| *code).collect::<Vec<_>>(), [0, NOT_OURS, 0, 0]);
        assert!(said[1].1.starts_with("another process has been there"), "{}", said[1].1);
    }

    #[test]
    fn a_memory_that_cannot_be_read_lets_nobody_pass() {
        let said = fenced(&[(4, "a", "echo x >\"$OUR_MEMORY\""), (4, "a", "raise")]);
        assert_eq!(said[1].0, NOT_OURS);
    }

    #[test]
    fn an_older_claim_of_ours_is_renewed_and_keeps_what_it_found() {
        let host = HostName::from("web-1");
        let renewed = renew(&host, &claim("a", 1, &["x"]), &claim("a", 2, &["y"])).unwrap();
        assert_eq!(renewed, claim("a", 2, &["x"]));
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
