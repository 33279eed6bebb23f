//! A revision, whole: its files judged by the rules, with what history says about each environment's versions.

use std::path::Path;

use git2::{ErrorCode, Oid, Repository};
use jiff::Timestamp;
use model::parse::{self, Problem};
use model::{Commit, CommitId, EnvironmentName, Revision, Version};

use super::error::GitError;
use super::files::{Files, read_folder, read_tree};
use super::ranks::Ranks;

/// A valid revision, and what is worth telling about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The revision.
    pub revision: Revision,
    /// What is odd and does no harm.
    pub warnings: Vec<Problem>,
}

/// A commit's verdict: valid, or every error.
pub(super) type Verdict = Result<Look, Vec<Problem>>;

/// Any revision (`HEAD~1`, a branch, a commit) of a repository on this machine. Changes nothing.
///
/// # Errors
/// [`GitError::Invalid`] with every error of the revision; else why it could not be read.
pub fn revision_at(repository: &Path, revision: &str) -> Result<Look, GitError> {
    let opened = open(repository)?;
    look_at(&opened, repository, revision)
}

/// The files as they lie in a folder, committed or not, with the versions that the history of its `HEAD` knows. The
/// folder may lie outside any repository. Changes nothing.
///
/// The commit is that of `HEAD` when the files are exactly its own; else it says that they are not committed.
///
/// # Errors
/// [`GitError::Invalid`] with every error of the files; else why they could not be read.
pub fn revision_of_folder(folder: &Path) -> Result<Look, GitError> {
    let files = read_folder(folder)?;
    let read = |source| GitError::Read { path: folder.to_owned(), source };
    let head = match open(folder) {
        Ok(repository) => head_of(repository).map_err(read)?,
        Err(GitError::Open { source, .. }) if source.code() == ErrorCode::NotFound => None,
        Err(error) => return Err(error),
    };
    let (commit, ranks) = match head {
        Some((repository, head)) => {
            let ranks = Ranks::default().at(&repository, head).map_err(read)?;
            (commit_of_folder(&repository, head, &files).map_err(read)?, ranks)
        }
        None => (uncommitted(None), Ranks::default()),
    };
    build(commit, &files, &ranks).map_err(|errors| GitError::Invalid { errors })
}

pub(super) fn look_at(repository: &Repository, path: &Path, revision: &str) -> Result<Look, GitError> {
    let unknown = || GitError::UnknownRevision { path: path.to_owned(), revision: revision.to_owned() };
    let object = repository.revparse_single(revision).map_err(|_| unknown())?;
    let commit = object.peel_to_commit().map_err(|_| unknown())?.id();
    let read = |source| GitError::Read { path: path.to_owned(), source };
    let ranks = Ranks::default().at(repository, commit).map_err(read)?;
    judge(repository, commit, &ranks).map_err(read)?.map_err(|errors| GitError::Invalid { errors })
}

/// Reads and judges a commit. The outer error is the repository's, the inner ones are the author's.
pub(super) fn judge(repository: &Repository, id: Oid, ranks: &Ranks) -> Result<Verdict, git2::Error> {
    let commit = repository.find_commit(id)?;
    let collected = read_tree(repository, &commit.tree()?)?;
    if !collected.errors.is_empty() {
        return Ok(Err(collected.errors));
    }
    Ok(build(describe(&commit), &collected.files, ranks))
}

fn build(commit: Commit, files: &Files, ranks: &Ranks) -> Verdict {
    let parsed = parse::repository(files)?;
    let environments = parsed.environments.into_iter().map(|(name, spec)| {
        let canary = spec.canary.as_ref().map(|canary| &canary.version);
        let ranks = ranks_up_to(ranks, &name, [&spec.target].into_iter().chain(canary));
        (name.clone(), spec.at(name, commit.clone(), ranks))
    });
    let revision = Revision { environments: environments.collect(), commit };
    Ok(Look { revision, warnings: parsed.warnings })
}

/// A target that is not committed yet is the newest.
fn ranks_up_to<'a>(
    ranks: &Ranks,
    environment: &EnvironmentName,
    targets: impl Iterator<Item = &'a Version>,
) -> Vec<Version> {
    let mut versions = ranks.of(environment.as_str());
    for target in targets {
        if !versions.contains(target) {
            versions.push(target.clone());
        }
    }
    versions
}

fn describe(commit: &git2::Commit<'_>) -> Commit {
    let author = commit.author();
    Commit {
        id: CommitId::new(commit.id().to_string()),
        author: one_line(author.name_bytes()),
        subject: one_line(commit.summary_bytes().unwrap_or_default()),
        at: Timestamp::from_second(commit.time().seconds()).unwrap_or_default(),
    }
}

/// Anybody who may commit could otherwise write escape sequences into an operator's terminal.
fn one_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn open(path: &Path) -> Result<Repository, GitError> {
    Repository::open(path).map_err(|source| match source.code() {
        ErrorCode::Owner => GitError::Owner { path: path.to_owned() },
        _ => GitError::Open { path: path.to_owned(), source },
    })
}

/// None: nothing was ever committed.
fn head_of(repository: Repository) -> Result<Option<(Repository, Oid)>, git2::Error> {
    let head = match repository.head() {
        Ok(head) => head.peel_to_commit()?.id(),
        Err(error) if error.code() == ErrorCode::UnbornBranch => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some((repository, head)))
}

fn commit_of_folder(repository: &Repository, head: Oid, files: &Files) -> Result<Commit, git2::Error> {
    let commit = repository.find_commit(head)?;
    let committed = read_tree(repository, &commit.tree()?)?;
    Ok(if committed.files == *files { describe(&commit) } else { uncommitted(Some(&commit)) })
}

/// Files that are in no commit: an id that no commit can have, so that nobody mistakes it for the one below.
fn uncommitted(below: Option<&git2::Commit<'_>>) -> Commit {
    let subject = match below {
        Some(commit) => format!("uncommitted changes on {:.10}", commit.id().to_string()),
        None => "uncommitted files".to_owned(),
    };
    let at = below.map(|commit| describe(commit).at).unwrap_or_default();
    Commit { id: CommitId::new(Oid::ZERO_SHA1.to_string()), author: String::new(), subject, at }
}
