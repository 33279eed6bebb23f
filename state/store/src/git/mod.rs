//! The git source: follows one branch of one repository, wherever it is, and always knows what is in force.

mod commit;
mod config;
mod error;
mod files;
mod mirror;
mod person;
mod program;
mod ranks;
mod revision;
mod trust;
mod watch;

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use git2::Oid;
use model::{CommitId, EnvironmentName, Reading, Reason, Version};
use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedMutexGuard};
use tokio::time::Instant;

use mirror::Mirror;
use program::Contact;
use watch::Watch;

pub use commit::{Author, Change, CommitError, Draft, Signing};
pub use config::{Access, GitConfig, Remote, RemoteError};
pub use error::GitError;
pub use files::{Files, read_folder};
pub use person::{Person, person, upstream};
pub use revision::{Look, revision_at, revision_of_folder};
pub use trust::Trust;

/// A repository on this machine that cannot be watched or is gone is asked this often.
const UNWATCHED_POLL: Duration = Duration::from_secs(1);

/// The watch tells of every change; asking as well is only for file systems that tell nothing.
const WATCHED_POLL_FACTOR: u32 = 6;

/// Follows a branch. The caller holds the state directory in which the mirror lies.
///
/// A head is taken in when it descends from the accepted commit and is valid. Whatever else happens, the last valid
/// revision stays in force, also across restarts.
pub struct GitSource {
    config: GitConfig,
    contact: Contact,
    mirror: Arc<AsyncMutex<Mirror>>,
    wake: Arc<Notify>,
    /// When to ask again.
    due: Mutex<Instant>,
    watch: Mutex<Option<Watch>>,
}

impl GitSource {
    /// Opens or makes the mirror, and begins to watch a repository on this machine. Asks the remote nothing yet.
    ///
    /// # Errors
    /// [`GitError::Branch`] or [`GitError::Mirror`].
    pub fn open(config: GitConfig) -> Result<Self, GitError> {
        let reference = format!("refs/heads/{}", config.branch);
        if config.branch.starts_with('-') || !git2::Reference::is_valid_name(&reference) {
            return Err(GitError::Branch { branch: config.branch });
        }
        let source = Self {
            contact: Contact::new(&config),
            mirror: Arc::new(AsyncMutex::new(Mirror::open(&config.mirror_dir)?)),
            wake: Arc::new(Notify::new()),
            due: Mutex::new(Instant::now()),
            watch: Mutex::new(None),
            config,
        };
        source.arm_watch();
        Ok(source)
    }

    /// Asks where the branch is, fetches what is new, and judges it. Never fails: an obstacle is part of the answer.
    ///
    /// Takes at most two deadlines, one for the question and one for a fetch; when the head has not moved, one
    /// question. Cancel-safe.
    pub async fn read(&self) -> Reading {
        // Before the question: what changes after it wakes, what changed before it is seen.
        self.arm_watch();
        let head = match self.bring_head().await {
            Ok(head) => self.trusted(head).await,
            Err(error) => Err(Reason::SourceUnavailable { error }),
        };
        let reading =
            self.with_mirror(move |mirror| mirror.read(head)).await.unwrap_or_else(|error| Reading {
                revision: None,
                obstacle: Some(Reason::SourceUnavailable { error }),
                errors: Vec::new(),
            });
        self.schedule(matches!(reading.obstacle, Some(Reason::SourceUnavailable { .. })));
        reading
    }

    /// Returns when there may be something new: a change in a watched repository, or the time to ask again. Any number
    /// of changes before the call count as one. Cancel-safe: nothing is lost when it is dropped.
    pub async fn changed(&self) {
        let due = *locked(&self.due);
        tokio::select! {
            // Both may be dropped at any time: a permit that was not taken stays, and the time is absolute.
            () = self.wake.notified() => {}
            () = tokio::time::sleep_until(due) => {}
        }
        self.schedule(false);
    }

    /// A person accepts a commit that the branch has shown: from here on, heads must descend from it. The commit may
    /// be given by the beginning of its name. The next reading starts from it.
    ///
    /// # Errors
    /// The reason in words, when the commit is not known.
    pub async fn accept_history(&self, commit: &CommitId) -> Result<(), String> {
        let commit = commit.clone();
        self.with_mirror(move |mirror| mirror.accept(&commit)).await??;
        self.wake.notify_one();
        Ok(())
    }

    /// Any revision that the mirror knows: a commit of the branch, or `refs/reconcile/valid`.
    ///
    /// # Errors
    /// [`GitError::UnknownRevision`], or [`GitError::Invalid`] with every error of the revision.
    pub async fn read_at(&self, revision: &str) -> Result<Look, GitError> {
        let (path, text) = (self.config.mirror_dir.clone(), revision.to_owned());
        let looked = self.with_mirror(move |mirror| mirror.look_at(&text)).await;
        looked.unwrap_or_else(|_| Err(GitError::UnknownRevision { path, revision: revision.to_owned() }))
    }

    /// What the main track of an environment was to run in the branch's history, oldest first. Asks the remote.
    ///
    /// # Errors
    /// The reason in words, when the remote or the mirror cannot be read.
    pub async fn main_targets(&self, environment: &EnvironmentName) -> Result<Vec<Version>, String> {
        let (head, environment) = (self.bring_head().await?, environment.clone());
        let targets = self.with_mirror(move |mirror| mirror.main_targets(head, environment.as_str())).await?;
        targets.map_err(|error| error.message().to_owned())
    }

    /// The branch's head, with all of its commits in the mirror.
    async fn bring_head(&self) -> Result<Oid, String> {
        let head = self.contact.head().await?;
        if self.has(head).await? {
            return Ok(head);
        }
        self.contact.fetch().await?;
        if self.has(head).await? { Ok(head) } else { Err("the branch moved while it was fetched".to_owned()) }
    }

    async fn has(&self, commit: Oid) -> Result<bool, String> {
        self.with_mirror(move |mirror| mirror.has(commit)).await
    }

    /// The mirror is on a local disk, and a first look walks a whole history: not for the runtime's own threads.
    async fn with_mirror<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Mirror) -> T + Send + 'static,
    ) -> Result<T, String> {
        let mut mirror: OwnedMutexGuard<Mirror> = Arc::clone(&self.mirror).lock_owned().await;
        let done = tokio::task::spawn_blocking(move || work(&mut mirror)).await;
        done.map_err(|error| format!("reading the mirror ended early: {error}"))
    }

    fn arm_watch(&self) {
        let Remote::Local(path) = &self.config.remote else { return };
        let mut watch = locked(&self.watch);
        if !watch.as_ref().is_some_and(Watch::is_current) {
            *watch = Watch::arm(path, Arc::clone(&self.wake));
        }
    }

    fn schedule(&self, is_gone: bool) {
        let interval = match &self.config.remote {
            Remote::Url(_) => self.config.poll,
            Remote::Local(_) if is_gone || locked(&self.watch).is_none() => {
                UNWATCHED_POLL.min(self.config.poll)
            }
            Remote::Local(_) => self.config.poll.saturating_mul(WATCHED_POLL_FACTOR),
        };
        *locked(&self.due) = Instant::now() + interval.mul_f64(jitter());
    }
}

impl std::fmt::Debug for GitSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GitSource").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Between 0.8 and 1.2, so that many services do not ask one remote in the same instant. The standard library's
/// hasher keys are random, which is all that is needed here.
fn jitter() -> f64 {
    let random = u32::try_from(RandomState::new().hash_one(0_u8) >> 32).unwrap_or_default();
    0.8 + 0.4 * f64::from(random) / f64::from(u32::MAX)
}

/// A value that is replaced whole cannot be half changed by a panic.
fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_fifth_and_is_not_always_the_same() {
        let drawn: Vec<f64> = (0..100).map(|_| jitter()).collect();
        assert!(drawn.iter().all(|factor| (0.8..=1.2).contains(factor)), "{drawn:?}");
        assert!(drawn.iter().any(|factor| (factor - drawn[0]).abs() > 0.01), "{drawn:?}");
    }

    #[test]
    fn a_branch_that_git_could_misread_is_refused() {
        for branch in ["", "-f", "a b", "a..b", "x.lock"] {
            let config = GitConfig::new(Remote::Local("/nowhere".into()), branch, "/nowhere");
            assert!(matches!(GitSource::open(config), Err(GitError::Branch { .. })), "{branch}");
        }
    }
}
