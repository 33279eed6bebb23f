//! A git repository that exists only in memory: commits, reverts, nonsense, force-pushes, a remote that goes away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::Source;

use model::{
    Commit, CommitId, Desired, EnvironmentName, Reading, Reason, ReleaseEdit, Revision, Track, Version,
};
use tokio::sync::Notify;

use crate::builder::Settings;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::pace::Span;

/// In whose name the service commits.
const SERVICE: &str = "reconcile";

/// A scripted desired-state repository with its remote. Clones are handles on the same one; like a mirror on disk,
/// it remembers over restarts of a service what was accepted. Each clone knows for itself what news it has read: give
/// each service its own.
///
/// Commits are timed from the moment the source was made.
#[derive(Debug)]
pub struct SimSource {
    repository: Arc<Mutex<Repository>>,
    news: Arc<News>,
    clock: Clock,
    /// How much of the news this handle has read.
    read: AtomicU64,
}

/// How much has happened to the branch. Whoever waits is woken in the order of coming, so that a seed means one life.
#[derive(Debug, Default)]
struct News {
    count: AtomicU64,
    more: Notify,
}

#[derive(Debug)]
struct Repository {
    chance: Chance,
    git: Span,
    commits: BTreeMap<CommitId, Entry>,
    head: Option<CommitId>,
    /// The head that was last accepted, valid or not: what comes next has to descend from it.
    accepted: Option<CommitId>,
    /// Every commit that was ever handed out as in force.
    accepted_ever: BTreeSet<CommitId>,
    gone: Option<String>,
    /// The head is not signed by somebody who may, with the words of whoever looked.
    untrusted: Option<String>,
}

#[derive(Clone, Debug)]
struct Entry {
    parent: Option<CommitId>,
    commit: Commit,
    /// The environments, or every error.
    content: Result<BTreeMap<EnvironmentName, Desired>, Vec<String>>,
}

impl Clone for SimSource {
    fn clone(&self) -> Self {
        let (repository, news) = (Arc::clone(&self.repository), Arc::clone(&self.news));
        Self { repository, news, clock: self.clock.clone(), read: AtomicU64::new(0) }
    }
}

impl SimSource {
    /// An empty repository.
    pub fn new(seed: u64) -> Self {
        let settings = Settings::seeded(seed);
        let repository = Repository {
            chance: Chance::stream(seed, "desired-state repository"),
            git: settings.pace.git,
            commits: BTreeMap::new(),
            head: None,
            accepted: None,
            accepted_ever: BTreeSet::new(),
            gone: None,
            untrusted: None,
        };
        let clock = Clock::starting(settings.epoch);
        let news = Arc::default();
        Self { repository: Arc::new(Mutex::new(repository)), news, clock, read: AtomicU64::new(0) }
    }

    /// Commits these environments, whole. Their `commit` and `ranks` are filled in here.
    pub fn commit(&self, subject: &str, environments: impl IntoIterator<Item = Desired>) -> CommitId {
        let environments =
            environments.into_iter().map(|desired| (desired.environment.clone(), desired)).collect();
        self.push(subject, |repository| (repository.head.clone(), Ok(environments)))
    }

    /// Commits a change of one environment's target on top of the newest valid commit. None: there is no such one.
    pub fn bump(&self, environment: &EnvironmentName, version: &Version) -> Option<CommitId> {
        let mut environments = self.repository().newest_valid()?;
        environments.get_mut(environment)?.target = version.clone();
        Some(self.commit(&format!("{environment}: {version}"), environments.into_values()))
    }

    /// Commits what was there before the newest commit. None: there is no commit before it.
    pub fn revert(&self) -> Option<CommitId> {
        let (subject, content) = {
            let repository = self.repository();
            let head = repository.commits.get(repository.head.as_ref()?)?;
            let before = repository.commits.get(head.parent.as_ref()?)?;
            (format!("Revert \"{}\"", head.commit.subject), before.content.clone())
        };
        Some(self.push(&subject, |repository| (repository.head.clone(), content)))
    }

    /// Commits a file that is not valid.
    pub fn commit_invalid(&self, subject: &str, errors: &[&str]) -> CommitId {
        let errors = errors.iter().map(|error| (*error).to_owned()).collect();
        self.push(subject, |repository| (repository.head.clone(), Err(errors)))
    }

    /// Somebody force-pushes: the branch now ends in a new first commit, which holds these environments.
    pub fn rewrite(&self, subject: &str, environments: impl IntoIterator<Item = Desired>) -> CommitId {
        let environments =
            environments.into_iter().map(|desired| (desired.environment.clone(), desired)).collect();
        self.push(subject, |_| (None, Ok(environments)))
    }

    /// Somebody force-pushes a commit that was the head before.
    pub fn push_back(&self, commit: &CommitId) {
        self.repository().head = Some(commit.clone());
        self.tell();
    }

    /// The remote goes away, with git's words, or comes back.
    pub fn remote_gone(&self, error: Option<&str>) {
        self.repository().gone = error.map(ToOwned::to_owned);
        self.tell();
    }

    /// From now on the newest commits are not trusted, with git's words; or they are again.
    pub fn distrust(&self, error: Option<&str>) {
        self.repository().untrusted = error.map(ToOwned::to_owned);
        self.tell();
    }

    /// The head of the branch.
    pub fn head(&self) -> Option<CommitId> {
        self.repository().head.clone()
    }

    /// Whether a commit was ever in force: valid, trusted, and a descendant of what was accepted before.
    pub(crate) fn was_accepted(&self, commit: &CommitId) -> bool {
        let accepted = &self.repository().accepted_ever;
        // Where nobody reads the repository, nobody accepts anything.
        accepted.is_empty() || accepted.contains(commit)
    }

    /// What the newest valid commit says, whoever wrote it. None: there is none.
    pub fn newest(&self) -> Option<BTreeMap<EnvironmentName, Desired>> {
        self.repository().newest_valid()
    }

    /// What a commit says, with each version's rank in the history up to it. None: there is no such commit, or it is
    /// not valid.
    pub fn said(&self, commit: &CommitId) -> Option<BTreeMap<EnvironmentName, Desired>> {
        let repository = self.repository();
        let entry = repository.commits.get(commit)?;
        let mut environments = entry.content.clone().ok()?;
        for (name, desired) in &mut environments {
            desired.commit = entry.commit.clone();
            desired.ranks = repository.ranks(Some(commit), name);
        }
        Some(environments)
    }

    fn push(&self, subject: &str, make: impl FnOnce(&Repository) -> (Option<CommitId>, Content)) -> CommitId {
        self.write("Robin Example", subject, make)
    }

    fn write(
        &self,
        author: &str,
        subject: &str,
        make: impl FnOnce(&Repository) -> (Option<CommitId>, Content),
    ) -> CommitId {
        let id = {
            let mut repository = self.repository();
            let (parent, content) = make(&repository);
            let id = CommitId::new(repository.chance.hex40());
            let commit = Commit {
                id: id.clone(),
                author: author.to_owned(),
                subject: subject.to_owned(),
                at: self.clock.now(),
            };
            repository.commits.insert(id.clone(), Entry { parent, commit, content });
            repository.head = Some(id.clone());
            id
        };
        self.tell();
        id
    }

    fn tell(&self) {
        self.news.count.fetch_add(1, Ordering::SeqCst);
        self.news.more.notify_waiters();
    }

    fn repository(&self) -> MutexGuard<'_, Repository> {
        self.repository.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Content = Result<BTreeMap<EnvironmentName, Desired>, Vec<String>>;

impl Repository {
    /// A commit and all before it, newest first.
    fn history<'a>(&'a self, from: Option<&'a CommitId>) -> impl Iterator<Item = &'a Entry> {
        let entry = |id: &CommitId| self.commits.get(id);
        std::iter::successors(from.and_then(entry), move |at| at.parent.as_ref().and_then(entry))
    }

    fn newest_valid(&self) -> Option<BTreeMap<EnvironmentName, Desired>> {
        self.history(self.head.as_ref()).find_map(|entry| entry.content.clone().ok())
    }

    /// What a commit of the service would hold: the newest environments with one version changed.
    fn edited(&self, edit: &ReleaseEdit) -> Result<BTreeMap<EnvironmentName, Desired>, String> {
        if let Some(error) = &self.gone {
            return Err(error.clone());
        }
        let head = self.head.as_ref().and_then(|head| self.commits.get(head)).ok_or("there is no commit")?;
        let mut environments = head.content.clone().map_err(|errors| errors.join("; "))?;
        let desired = environments.get_mut(&edit.environment);
        let desired = desired.ok_or_else(|| format!("there is no environment {}", edit.environment))?;
        let version = match edit.track {
            Track::Main => &mut desired.target,
            Track::Canary => &mut desired.canary.as_mut().ok_or("there is no [canary]")?.version,
        };
        if *version != edit.from {
            return Err(format!("[{}] has version {version} by now, and not {}", edit.track, edit.from));
        }
        *version = edit.to.clone();
        Ok(environments)
    }

    fn descends(&self, head: &CommitId, from: &CommitId) -> bool {
        self.history(Some(head)).any(|entry| entry.commit.id == *from)
    }

    fn reading(&mut self) -> Reading {
        let obstacle = self.obstacle();
        if obstacle.is_none() {
            self.accepted.clone_from(&self.head);
        }
        let (obstacle, errors) = match (obstacle, self.accepted.as_ref().and_then(|id| self.commits.get(id)))
        {
            (None, Some(Entry { commit, content: Err(errors), .. })) => {
                (Some(invalid(commit, errors)), errors.clone())
            }
            (obstacle, _) => (obstacle, Vec::new()),
        };
        Reading { revision: self.revision(), obstacle, errors }
    }

    fn obstacle(&self) -> Option<Reason> {
        if let Some(error) = &self.gone {
            return Some(Reason::SourceUnavailable { error: error.clone() });
        }
        let (accepted, head) = (self.accepted.as_ref()?, self.head.as_ref()?);
        if let Some(error) = self.untrusted.clone().filter(|_| accepted != head) {
            return Some(Reason::CommitUntrusted { commit: head.clone(), error });
        }
        let rewritten = Reason::HistoryRewritten { accepted: accepted.clone(), found: head.clone() };
        (!self.descends(head, accepted)).then_some(rewritten)
    }

    /// The newest valid commit of the accepted history, with every version's rank in it.
    fn revision(&mut self) -> Option<Revision> {
        let valid = |entry: &'_ Entry| entry.content.is_ok();
        let newest = self.history(self.accepted.as_ref()).find(|entry| valid(entry))?;
        let mut environments = newest.content.clone().ok()?;
        for (name, desired) in &mut environments {
            desired.commit = newest.commit.clone();
            desired.ranks = self.ranks(self.accepted.as_ref(), name);
        }
        let commit = newest.commit.clone();
        self.accepted_ever.insert(commit.id.clone());
        Some(Revision { commit, environments })
    }

    fn ranks(&self, at: Option<&CommitId>, environment: &EnvironmentName) -> Vec<Version> {
        let contents = self.history(at).filter_map(|entry| entry.content.as_ref().ok());
        let mut commits: Vec<&Desired> = contents.filter_map(|all| all.get(environment)).collect();
        commits.reverse();
        let mut ranks: Vec<Version> = Vec::new();
        let canary = |desired: &'_ Desired| desired.canary.clone().map(|canary| canary.version);
        for target in commits.into_iter().flat_map(|desired| [Some(desired.target.clone()), canary(desired)])
        {
            let Some(target) = target else { continue };
            if !ranks.contains(&target) {
                ranks.push(target);
            }
        }
        ranks
    }
}

fn invalid(commit: &Commit, errors: &[String]) -> Reason {
    let error = errors.first().cloned().unwrap_or_default();
    Reason::RevisionInvalid { commit: commit.id.clone(), error, errors: errors.len() }
}

impl Source for SimSource {
    async fn read(&self) -> Reading {
        let (news, wait_ms) = {
            let mut repository = self.repository();
            let git = repository.git;
            (self.news.count.load(Ordering::SeqCst), repository.chance.ms(git))
        };
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        self.read.fetch_max(news, Ordering::SeqCst);
        self.repository().reading()
    }

    async fn changed(&self) {
        let read = self.read.load(Ordering::SeqCst);
        loop {
            let more = self.news.more.notified();
            if self.news.count.load(Ordering::SeqCst) > read {
                return;
            }
            more.await;
        }
    }

    async fn accept_history(&self, commit: &CommitId) -> Result<(), String> {
        let known = {
            let mut repository = self.repository();
            let known = repository.commits.contains_key(commit);
            if known {
                repository.accepted = Some(commit.clone());
            }
            known
        };
        self.tell();
        if known { Ok(()) } else { Err(format!("commit {commit} is not known")) }
    }

    async fn commit(&self, edit: &ReleaseEdit) -> Result<CommitId, String> {
        let wait_ms = {
            let mut repository = self.repository();
            let git = repository.git;
            repository.chance.ms(git)
        };
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        let environments = self.repository().edited(edit)?;
        let ReleaseEdit { environment, track, to, .. } = edit;
        let subject = format!("{environment}: {track} to {to}");
        Ok(self.write(SERVICE, &subject, |repository| (repository.head.clone(), Ok(environments))))
    }
}
