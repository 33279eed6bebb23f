//! Seeing a commit in a repository on this machine at once.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// A watch on a repository's references. Any change to them wakes.
pub(super) struct Watch {
    /// Dropping it ends the watch.
    _watcher: RecommendedWatcher,
    watched: Vec<(PathBuf, Identity)>,
}

/// Device and inode: a directory that was moved away and back, or made anew, needs a new watch.
type Identity = Option<(u64, u64)>;

impl Watch {
    /// Watches a repository, bare or with a work tree; none when there is nothing to watch or no way to.
    pub(super) fn arm(repository: &Path, wake: Arc<Notify>) -> Option<Self> {
        let git_dir = git_dir(repository)?;
        let places = [
            // HEAD and packed-refs are replaced by renames, so that their directory has to be watched.
            (git_dir.clone(), RecursiveMode::NonRecursive),
            (git_dir.join("refs/heads"), RecursiveMode::Recursive),
            (git_dir.join("reftable"), RecursiveMode::Recursive),
        ];
        let root = git_dir.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| matters(&root, &event)) {
                wake.notify_one();
            }
        })
        .inspect_err(|error| tracing::warn!(%error, "repositories cannot be watched; they are polled"))
        .ok()?;
        let mut watched = Vec::new();
        for (path, mode) in places {
            if path.is_dir() && watcher.watch(&path, mode).is_ok() {
                watched.push((path.clone(), identity(&path)));
            }
        }
        (!watched.is_empty()).then_some(Self { _watcher: watcher, watched })
    }

    /// Whether it still watches what is there.
    pub(super) fn is_current(&self) -> bool {
        self.watched.iter().all(|(path, known)| known.is_some() && identity(path) == *known)
    }
}

fn identity(path: &Path) -> Identity {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Reading a repository, as we do after each wake-up, must not wake again; a lock is not yet a change.
fn matters(git_dir: &Path, event: &notify::Event) -> bool {
    !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(|path| is_reference(git_dir, path))
}

fn is_reference(git_dir: &Path, path: &Path) -> bool {
    let Ok(inside) = path.strip_prefix(git_dir) else { return false };
    if inside.extension().is_some_and(|extension| extension == "lock") {
        return false;
    }
    ["HEAD", "packed-refs"].iter().any(|name| inside == Path::new(name))
        || inside.starts_with("refs")
        || inside.starts_with("reftable")
}

/// Where the references are: of a bare repository, of one with a work tree, or of the one that a linked work tree
/// belongs to. Read by hand, because a library refuses a repository of another user.
fn git_dir(repository: &Path) -> Option<PathBuf> {
    let dot_git = repository.join(".git");
    let own = if dot_git.is_file() {
        let text = fs::read_to_string(&dot_git).ok()?;
        repository.join(text.strip_prefix("gitdir:")?.trim())
    } else if dot_git.is_dir() {
        dot_git
    } else {
        repository.to_owned()
    };
    let common =
        fs::read_to_string(own.join("commondir")).map_or_else(|_| own.clone(), |text| own.join(text.trim()));
    let common = fs::canonicalize(common).ok()?;
    common.join("HEAD").exists().then_some(common)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_references_matter_and_their_locks_do_not() {
        let git_dir = Path::new("/r/.git");
        for path in ["HEAD", "packed-refs", "refs/heads/main", "refs/heads/team/x", "reftable/tables.list"] {
            assert!(is_reference(git_dir, &git_dir.join(path)), "{path}");
        }
        for path in
            ["index", "index.lock", "refs/heads/main.lock", "HEAD.lock", "COMMIT_EDITMSG", "objects/ab"]
        {
            assert!(!is_reference(git_dir, &git_dir.join(path)), "{path}");
        }
    }
}
