//! Writing a commit: one release.toml edited, perhaps a patch file beside it, pushed by compare-and-swap.
//!
//! Nothing is ever checked out: the tree is made in the mirror. Whoever was faster is not overwritten: the edit is made
//! again on top of theirs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use git2::build::TreeUpdateBuilder;
use git2::{FileMode, Oid, Repository, Tree};
use model::parse::{self, Problem};
use model::{CommitId, ReleaseEdit};

use super::files::read_tree;
use super::{GitSource, jitter};
use crate::edit::{self, Edit, EditError};

/// Somebody in a loop of their own wins about every other time.
const MAX_RACES: u32 = 25;

/// Before another attempt, ±20 %: enough to get out of step with another writer.
const PAUSE_AFTER_RACE: Duration = Duration::from_millis(20);

/// A person or a service, as git knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
}

/// How commits are signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Signing {
    /// Not at all.
    #[default]
    None,
    /// With this private ssh key, which needs no passphrase or is in the agent.
    Ssh(PathBuf),
    /// As the user's own git configuration says.
    AsConfigured,
}

/// What a commit is to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The release.toml, from the repository's root.
    pub path: String,
    /// What to change in it, in this order.
    pub edits: Vec<Edit>,
    /// Files to add or replace, by their paths, with their contents.
    pub add: BTreeMap<String, String>,
    /// Files to remove, unless another `.toml` file names them. What is not there is gone already.
    pub remove: Vec<String>,
    /// Whose change it is; none: the service's.
    pub author: Option<Author>,
    /// The whole message.
    pub message: String,
}

/// A change that is not written yet, on top of the branch's head. The tree is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The head.
    pub base: CommitId,
    /// Each changed file with its text before and after; empty: not there.
    pub files: Vec<(String, String, String)>,
}

/// Why a commit was not written. The branch is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The edit cannot be made.
    #[error("{path} cannot be changed")]
    Edit {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: EditError,
    },
    /// The file is not there.
    #[error("the branch has no {path}")]
    NoFile {
        /// Which.
        path: String,
    },
    /// The file says it already.
    #[error("{path} says so already")]
    Unchanged {
        /// Which.
        path: String,
    },
    /// The desired state would not be valid any more.
    #[error("the desired state would not be valid: {}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid {
        /// Every error, of the whole repository.
        errors: Vec<Problem>,
    },
    /// The remote or the mirror cannot be read.
    #[error("the repository cannot be read: {error}")]
    Unavailable {
        /// Why.
        error: String,
    },
    /// The commit could not be made, or not be signed.
    #[error("the commit cannot be made: {error}")]
    Write {
        /// Why.
        error: String,
    },
    /// The remote does not take it.
    #[error("the push was refused: {error}")]
    Refused {
        /// The remote's words.
        error: String,
    },
    /// Somebody else was faster each time.
    #[error("the branch moved {times} times while the commit was being written")]
    Raced {
        /// How often.
        times: u32,
    },
}

impl GitSource {
    /// What a change would do, on top of the branch as it is now. Writes nothing that anybody sees.
    ///
    /// # Errors
    /// [`CommitError`], with every error of the desired state as it would be.
    pub async fn draft(&self, change: &Change) -> Result<Draft, CommitError> {
        let base = self.bring_head().await.map_err(|error| CommitError::Unavailable { error })?;
        let made = self.make_tree(base, change).await?;
        Ok(Draft { base: CommitId::new(base.to_string()), files: made.files })
    }

    /// Writes a change as one commit on top of the branch and pushes it, if the resulting desired state is valid. When
    /// somebody else was faster, the edits are made again on top of theirs, a bounded number of times.
    ///
    /// # Errors
    /// [`CommitError`]: nothing was pushed. A push that was cut off may have arrived all the same, which the next
    /// reading shows; the change again is then [`CommitError::Unchanged`].
    pub async fn commit(&self, change: &Change) -> Result<CommitId, CommitError> {
        for _ in 0..MAX_RACES {
            let base = self.bring_head().await.map_err(|error| CommitError::Unavailable { error })?;
            let tree = self.make_tree(base, change).await?.tree;
            let commit = self.make_commit(tree, base, change).await?;
            match self.contact.push(base, commit).await {
                Ok(()) => {
                    self.wake.notify_one();
                    return Ok(CommitId::new(commit.to_string()));
                }
                Err(error) if !self.was_raced(base, &error).await => {
                    return Err(CommitError::Refused { error });
                }
                Err(_) => tokio::time::sleep(PAUSE_AFTER_RACE.mul_f64(jitter())).await,
            }
        }
        Err(CommitError::Raced { times: MAX_RACES })
    }

    /// Sets a track's version in the service's own name, if it is still the one that the edit began from.
    ///
    /// # Errors
    /// As [`GitSource::commit`].
    pub async fn commit_release(&self, edit: &ReleaseEdit) -> Result<CommitId, CommitError> {
        self.commit(&follow(edit)).await
    }

    /// Whether a push failed because the branch is somewhere else by now, or is being moved in this very moment.
    async fn was_raced(&self, base: Oid, error: &str) -> bool {
        let words =
            ["stale info", "cannot lock ref", "failed to update ref", "incorrect old value", "fetch first"];
        words.iter().any(|word| error.contains(word))
            || self.contact.head().await.is_ok_and(|head| head != base)
    }

    async fn make_tree(&self, base: Oid, change: &Change) -> Result<Made, CommitError> {
        let change = change.clone();
        let made = self.with_mirror(move |mirror| make_tree(mirror.repository(), base, &change)).await;
        made.unwrap_or_else(|error| Err(CommitError::Write { error }))
    }

    async fn make_commit(&self, tree: Oid, base: Oid, change: &Change) -> Result<Oid, CommitError> {
        let author = change.author.as_ref().unwrap_or(&self.config.author);
        let mut command = self.contact.git();
        if let Signing::Ssh(key) = &self.config.signing {
            command.args(["-c", "gpg.format=ssh", "-c"]).arg(format!("user.signingkey={}", key.display()));
        }
        command.args(["commit-tree", &tree.to_string(), "-p", &base.to_string(), "-m", &change.message]);
        if self.config.signing != Signing::None {
            command.arg("-S");
        }
        for who in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{who}_NAME"), &author.name)
                .env(format!("GIT_{who}_EMAIL"), &author.email);
        }
        let made = self.contact.finish(command).await;
        let id = made.and_then(|id| Oid::from_str(id.trim()).map_err(|error| error.message().to_owned()));
        id.map_err(|error| CommitError::Write { error })
    }
}

/// A tree, with what is new in it.
struct Made {
    tree: Oid,
    files: Vec<(String, String, String)>,
}

fn make_tree(repository: &Repository, base: Oid, change: &Change) -> Result<Made, CommitError> {
    let written = |error: git2::Error| CommitError::Write { error: error.message().to_owned() };
    let old = repository.find_commit(base).and_then(|commit| commit.tree()).map_err(written)?;
    let before = text_of(repository, &old, &change.path);
    let before = before.ok_or_else(|| CommitError::NoFile { path: change.path.clone() })?;
    let mut after = before.clone();
    for edit in &change.edits {
        let failed = |source| CommitError::Edit { path: change.path.clone(), source };
        after = edit::apply(&after, edit).map_err(failed)?;
    }
    let mut files = vec![(change.path.clone(), before, after)];
    for (path, text) in &change.add {
        files.push((path.clone(), text_of(repository, &old, path).unwrap_or_default(), text.clone()));
    }
    let mut tree = upsert(repository, &old, &files).map_err(written)?;
    for path in &change.remove {
        tree = remove(repository, tree, path, &mut files).map_err(written)?;
    }
    files.retain(|(_, before, after)| before != after);
    if files.is_empty() {
        return Err(CommitError::Unchanged { path: change.path.clone() });
    }
    judge(repository, tree)?;
    Ok(Made { tree, files })
}

fn text_of(repository: &Repository, tree: &Tree<'_>, path: &str) -> Option<String> {
    let entry = tree.get_path(path.as_ref()).ok()?;
    let blob = repository.find_blob(entry.id()).ok()?;
    String::from_utf8(blob.content().to_vec()).ok()
}

fn upsert(
    repository: &Repository,
    old: &Tree<'_>,
    files: &[(String, String, String)],
) -> Result<Oid, git2::Error> {
    let mut update = TreeUpdateBuilder::new();
    for (path, _, after) in files {
        let mode = old.get_path(path.as_ref()).map_or(0, |entry| entry.filemode());
        let executable = mode == i32::from(FileMode::BlobExecutable);
        let mode = if executable { FileMode::BlobExecutable } else { FileMode::Blob };
        update.upsert(path.as_str(), repository.blob(after.as_bytes())?, mode);
    }
    update.create_updated(repository, old)
}

/// Removes a file that no `.toml` file names any more.
fn remove(
    repository: &Repository,
    tree: Oid,
    path: &str,
    files: &mut Vec<(String, String, String)>,
) -> Result<Oid, git2::Error> {
    let tree = repository.find_tree(tree)?;
    let Some(before) = text_of(repository, &tree, path) else { return Ok(tree.id()) };
    let others = read_tree(repository, &tree)?.files;
    if others.iter().any(|(file, text)| file.ends_with(".toml") && text.contains(path)) {
        return Ok(tree.id());
    }
    files.push((path.to_owned(), before, String::new()));
    TreeUpdateBuilder::new().remove(path).create_updated(repository, &tree)
}

/// What nobody could bring into force is not written.
fn judge(repository: &Repository, tree: Oid) -> Result<(), CommitError> {
    let collected = repository.find_tree(tree).and_then(|tree| read_tree(repository, &tree));
    let collected = collected.map_err(|error| CommitError::Write { error: error.message().to_owned() })?;
    if !collected.errors.is_empty() {
        return Err(CommitError::Invalid { errors: collected.errors });
    }
    parse::repository(&collected.files).map(drop).map_err(|errors| CommitError::Invalid { errors })
}

fn follow(edit: &ReleaseEdit) -> Change {
    let ReleaseEdit { environment, track, from, to, reason } = edit;
    Change {
        path: format!("environments/{environment}/release.toml"),
        edits: vec![Edit::Version { track: *track, from: Some(from.clone()), to: to.clone() }],
        add: BTreeMap::new(),
        remove: Vec::new(),
        author: None,
        message: format!("{environment}: {track} to {to}\n\n{reason}\n"),
    }
}
