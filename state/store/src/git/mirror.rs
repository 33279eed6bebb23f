//! The bare mirror: every commit that was seen, which one is accepted, and which valid one is in force.

use std::fs;
use std::path::{Path, PathBuf};

use git2::{ErrorCode, Oid, Repository, RepositoryInitOptions};
use model::parse::Problem;
use model::{CommitId, Reading, Reason, Version};

use super::error::GitError;
use super::ranks::Ranks;
use super::revision::{Look, Verdict, judge, look_at};
use super::trust::Signed;

/// New heads must descend from this one: the newest valid head, or a commit that a person accepted by name.
const ACCEPTED: &str = "refs/reconcile/accepted";
/// The newest valid revision: the one in force.
const VALID: &str = "refs/reconcile/valid";

/// Two commits matter at a time: the one in force and the head.
const VERDICTS_KEPT: usize = 2;

/// The mirror, open. The caller holds the state directory.
pub(super) struct Mirror {
    path: PathBuf,
    repository: Repository,
    ranks: Ranks,
    verdicts: Vec<(Oid, Verdict)>,
}

/// Why the head is not in force.
struct Obstacle {
    reason: Reason,
    errors: Vec<String>,
}

impl From<Reason> for Obstacle {
    fn from(reason: Reason) -> Self {
        Self { reason, errors: Vec::new() }
    }
}

impl Mirror {
    /// Opens the mirror, makes it when there is none, and clears away what a killed service left half-written.
    pub(super) fn open(path: &Path) -> Result<Self, GitError> {
        let opened = || -> Result<Repository, git2::Error> {
            let mut options = RepositoryInitOptions::new();
            options.bare(true).mkpath(true).external_template(false);
            let repository = Repository::init_opts(path, &options)?;
            // The accepted commit must survive a power cut.
            repository.config()?.set_bool("core.fsyncObjectFiles", true)?;
            Ok(repository)
        };
        remove_leftovers(path);
        let repository = opened().map_err(|source| GitError::Mirror { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), repository, ranks: Ranks::default(), verdicts: Vec::new() })
    }

    /// Whether a commit is here already.
    pub(super) fn has(&self, commit: Oid) -> bool {
        self.repository.find_commit(commit).is_ok()
    }

    /// What is in force, given where the remote's branch is now, or why that is not known or not trusted.
    pub(super) fn read(&mut self, head: Result<Oid, Reason>) -> Reading {
        let obstacle = match head {
            Ok(head) => self.consider(head).unwrap_or_else(|error| Some(self.broken(&error))),
            Err(reason) => Some(reason.into()),
        };
        let (revision, obstacle) = match self.in_force() {
            Ok(None) => (None, obstacle),
            Ok(Some((_, Ok(look)))) => (Some(look.revision), obstacle),
            Ok(Some((valid, Err(errors)))) => (None, obstacle.or_else(|| Some(invalid(valid, &errors)))),
            Err(error) => (None, obstacle.or_else(|| Some(self.broken(&error)))),
        };
        let (obstacle, errors) = obstacle.map(|it| (it.reason, it.errors)).unzip();
        Reading { revision, obstacle, errors: errors.unwrap_or_default() }
    }

    /// From here on, new heads must descend from this commit.
    pub(super) fn accept(&mut self, commit: &CommitId) -> Result<(), String> {
        let unknown = |_| format!("commit {commit} is not known; it must be one that the branch has shown");
        let id = self.repository.find_commit_by_prefix(commit.as_str()).map_err(unknown)?.id();
        self.point(ACCEPTED, id).map_err(|error| format!("cannot accept {commit}: {}", error.message()))
    }

    /// The commits that have to prove themselves before a head comes into force: the head first, then every one since
    /// the accepted commit along first parents, oldest first. A first head alone; none when it does not descend from
    /// the accepted commit, since it is refused for that.
    pub(super) fn unproven(&self, head: Oid) -> Result<Vec<Signed>, git2::Error> {
        let Some(accepted) = self.target(ACCEPTED)? else { return Ok(vec![self.signed(head)?]) };
        if accepted == head || !self.repository.graph_descendant_of(head, accepted)? {
            return Ok(Vec::new());
        }
        let mut walk = self.repository.revwalk()?;
        walk.push(head)?;
        walk.hide(accepted)?;
        walk.simplify_first_parent()?;
        let mut commits = walk.collect::<Result<Vec<Oid>, _>>()?;
        commits.get_mut(1..).unwrap_or_default().reverse();
        commits.into_iter().map(|commit| self.signed(commit)).collect()
    }

    fn signed(&self, commit: Oid) -> Result<Signed, git2::Error> {
        match self.repository.extract_signature(&commit, None) {
            Ok((signature, _)) => Ok(Signed { commit, signature: Some(signature.to_vec()) }),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(Signed { commit, signature: None }),
            Err(error) => Err(error),
        }
    }

    /// What the main track of an environment was to run at a commit and before it, oldest first.
    pub(super) fn main_targets(&self, commit: Oid, environment: &str) -> Result<Vec<Version>, git2::Error> {
        Ok(self.ranks.at(&self.repository, commit)?.of_main(environment))
    }

    pub(super) fn repository(&self) -> &Repository {
        &self.repository
    }

    pub(super) fn look_at(&self, revision: &str) -> Result<Look, GitError> {
        look_at(&self.repository, &self.path, revision)
    }

    /// Takes a head in when it follows the accepted commit and is valid.
    fn consider(&mut self, head: Oid) -> Result<Option<Obstacle>, git2::Error> {
        let accepted = self.target(ACCEPTED)?.unwrap_or(head);
        if accepted != head && !self.repository.graph_descendant_of(head, accepted)? {
            return Ok(Some(Reason::HistoryRewritten { accepted: name(accepted), found: name(head) }.into()));
        }
        if let Err(errors) = self.verdict(head)? {
            return Ok(Some(invalid(head, &errors)));
        }
        if self.target(VALID)? != Some(head) {
            self.point(VALID, head)?;
        }
        if self.target(ACCEPTED)? != Some(head) {
            self.point(ACCEPTED, head)?;
        }
        Ok(None)
    }

    /// The commit in force. It was valid when it was taken in; a newer program may judge otherwise.
    fn in_force(&mut self) -> Result<Option<(Oid, Verdict)>, git2::Error> {
        let Some(valid) = self.target(VALID)? else { return Ok(None) };
        Ok(Some((valid, self.verdict(valid)?)))
    }

    /// A commit never changes, so it is judged once.
    fn verdict(&mut self, commit: Oid) -> Result<Verdict, git2::Error> {
        if let Some((_, verdict)) = self.verdicts.iter().find(|(known, _)| *known == commit) {
            return Ok(verdict.clone());
        }
        let ranks = self.ranks.at(&self.repository, commit)?;
        let verdict = judge(&self.repository, commit, &ranks)?;
        if verdict.is_ok() {
            self.ranks = ranks;
        }
        if self.verdicts.len() == VERDICTS_KEPT {
            drop(self.verdicts.remove(0));
        }
        self.verdicts.push((commit, verdict.clone()));
        Ok(verdict)
    }

    fn target(&self, reference: &str) -> Result<Option<Oid>, git2::Error> {
        match self.repository.refname_to_id(reference) {
            Ok(id) => Ok(Some(id)),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn point(&self, reference: &str, commit: Oid) -> Result<(), git2::Error> {
        self.repository.reference(reference, commit, true, "reconcile").map(drop)
    }

    fn broken(&self, error: &git2::Error) -> Obstacle {
        let error = format!("the mirror {} cannot be read: {}", self.path.display(), error.message());
        Reason::SourceUnavailable { error }.into()
    }
}

fn invalid(commit: Oid, problems: &[Problem]) -> Obstacle {
    let errors: Vec<String> = problems.iter().map(Problem::to_string).collect();
    let first = errors.first().cloned().unwrap_or_default();
    let reason = Reason::RevisionInvalid { commit: name(commit), error: first, errors: errors.len() };
    Obstacle { reason, errors }
}

fn name(commit: Oid) -> CommitId {
    CommitId::new(commit.to_string())
}

/// A service that was killed while it wrote a reference leaves its lock, which would refuse every later write; one
/// that was killed while it fetched leaves part of a pack. Nobody else writes here: the state directory is held.
fn remove_leftovers(mirror: &Path) {
    for (folder, is_leftover) in [
        ("", is_lock as fn(&str) -> bool),
        ("refs/reconcile", is_lock),
        ("objects/pack", |name| name.starts_with("tmp_")),
    ] {
        let Ok(entries) = fs::read_dir(mirror.join(folder)) else { continue };
        for entry in entries.flatten().filter(|entry| is_leftover(&entry.file_name().to_string_lossy())) {
            if let Err(error) = fs::remove_file(entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "a leftover of an earlier service stays");
            }
        }
    }
}

fn is_lock(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "lock")
}
