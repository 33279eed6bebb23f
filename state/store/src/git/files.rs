//! The files of a revision, as text: from a commit or as they lie in a folder. Nothing is followed, run or guessed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use git2::{ObjectType, Repository, Tree, TreeEntry};
use model::parse::Problem;

use super::error::GitError;

/// Path from the repository's root, with slashes, to content.
pub type Files = BTreeMap<String, String>;

/// Far above any real fleet, and small enough that a hostile revision cannot fill the memory.
const MAX_FILES: usize = 2_000;
const MAX_FILE_BYTES: usize = 1 << 20;
const MAX_TOTAL_BYTES: usize = 16 << 20;
const MAX_DEPTH: usize = 10;

const SYMBOLIC_LINK: i32 = 0o120_000;

/// What was found so far, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) files: Files,
    /// Each makes the revision invalid.
    pub(super) errors: Vec<Problem>,
    bytes: usize,
    full: bool,
}

/// Every `.toml` file of a commit's tree, and everything below `patches/`.
pub(super) fn read_tree(repository: &Repository, tree: &Tree<'_>) -> Result<Collected, git2::Error> {
    let mut collected = Collected::default();
    walk_tree(repository, tree, "", 0, &mut collected)?;
    Ok(collected)
}

/// Every `.toml` file, and everything below `patches/`, as it lies in a folder, hidden folders left out; also what git
/// does not know.
///
/// # Errors
/// [`GitError::Folder`] when something cannot be read; [`GitError::Invalid`] for links, limits, and text that is not
/// UTF-8.
pub fn read_folder(folder: &Path) -> Result<Files, GitError> {
    let mut collected = Collected::default();
    walk_folder(folder, "", 0, &mut collected)?;
    if collected.errors.is_empty() {
        Ok(collected.files)
    } else {
        Err(GitError::Invalid { errors: collected.errors })
    }
}

impl Collected {
    fn refuse(&mut self, file: &str, message: impl Into<String>) {
        let message = message.into();
        self.errors.push(Problem { file: file.to_owned(), line: 1, column: 1, message, hint: None });
    }

    fn add(&mut self, path: String, content: Vec<u8>) {
        self.bytes += content.len();
        match String::from_utf8(content) {
            Ok(text) => drop(self.files.insert(path, text)),
            Err(_) => self.refuse(&path, "is not UTF-8 text"),
        }
    }

    /// Whether a file may be read at all.
    fn has_room(&mut self, path: &str, bytes: usize) -> bool {
        if bytes > MAX_FILE_BYTES {
            self.refuse(path, format!("has {bytes} bytes; {MAX_FILE_BYTES} are allowed"));
            return false;
        }
        if self.files.len() < MAX_FILES && self.bytes + bytes <= MAX_TOTAL_BYTES {
            return true;
        }
        if !self.full {
            self.full = true;
            let limits = format!("{MAX_FILES} files with {MAX_TOTAL_BYTES} bytes are allowed");
            self.refuse(path, format!("is one file too many; {limits}"));
        }
        false
    }

    fn may_descend(&mut self, path: &str, depth: usize) -> bool {
        if depth == MAX_DEPTH {
            self.refuse(path, format!("lies too deep; {MAX_DEPTH} folders are allowed"));
        }
        depth < MAX_DEPTH && !self.full
    }

    fn refuse_link(&mut self, path: &str) {
        self.refuse(path, "is a symbolic link, which is not followed");
    }
}

fn walk_tree(
    repository: &Repository,
    tree: &Tree<'_>,
    above: &str,
    depth: usize,
    collected: &mut Collected,
) -> Result<(), git2::Error> {
    for entry in tree {
        let path = format!("{above}{}", String::from_utf8_lossy(entry.name_bytes()));
        match entry.kind() {
            Some(ObjectType::Tree) if !is_hidden(&path) && collected.may_descend(&path, depth) => {
                let tree = repository.find_tree(entry.id())?;
                walk_tree(repository, &tree, &format!("{path}/"), depth + 1, collected)?;
            }
            Some(ObjectType::Blob) if is_read(&path) => add_blob(repository, &entry, path, collected)?,
            _ => {}
        }
    }
    Ok(())
}

fn add_blob(
    repository: &Repository,
    entry: &TreeEntry<'_>,
    path: String,
    collected: &mut Collected,
) -> Result<(), git2::Error> {
    if entry.filemode() == SYMBOLIC_LINK {
        collected.refuse_link(&path);
        return Ok(());
    }
    let (bytes, _) = repository.odb()?.read_header(entry.id())?;
    if collected.has_room(&path, bytes) {
        collected.add(path, repository.find_blob(entry.id())?.content().to_vec());
    }
    Ok(())
}

fn walk_folder(folder: &Path, above: &str, depth: usize, collected: &mut Collected) -> Result<(), GitError> {
    let failed = |path: &Path, source: io::Error| GitError::Folder { path: path.to_owned(), source };
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = entries.map_err(|error| failed(folder, error))?;
    // Errors come in the order of the names, whatever the file system's order.
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (on_disk, path) = (entry.path(), format!("{above}{}", entry.file_name().to_string_lossy()));
        let kind = entry.file_type().map_err(|error| failed(&on_disk, error))?;
        if kind.is_dir() {
            if !is_hidden(&path) && collected.may_descend(&path, depth) {
                walk_folder(&on_disk, &format!("{path}/"), depth + 1, collected)?;
            }
        } else if kind.is_symlink() && is_read(&path) {
            collected.refuse_link(&path);
        } else if kind.is_file() && is_read(&path) {
            let metadata = entry.metadata().map_err(|error| failed(&on_disk, error))?;
            if collected.has_room(&path, usize::try_from(metadata.len()).unwrap_or(usize::MAX)) {
                collected.add(path, fs::read(&on_disk).map_err(|error| failed(&on_disk, error))?);
            }
        }
    }
    Ok(())
}

fn is_read(path: &str) -> bool {
    path.starts_with("patches/") || Path::new(path).extension().is_some_and(|extension| extension == "toml")
}

/// `.git`, and folders of other tools.
fn is_hidden(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        dir
    }

    fn errors(folder: &Path) -> Vec<String> {
        match read_folder(folder) {
            Err(GitError::Invalid { errors }) => errors.iter().map(Problem::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn toml_files_and_patches_are_read_with_their_paths_and_everything_else_is_left_alone() {
        let dir = folder(&[
            ("environments/a/release.toml", b"x = 1"),
            ("base.toml", b""),
            (".git/config.toml", b"hidden"),
            ("README.md", b"\xff"),
            ("patches/1.0/fix.patch", b"--- a\n"),
        ]);
        let files = read_folder(dir.path()).unwrap();
        assert_eq!(
            files.keys().collect::<Vec<_>>(),
            ["base.toml", "environments/a/release.toml", "patches/1.0/fix.patch"]
        );
        assert_eq!(files["environments/a/release.toml"], "x = 1");
    }

    #[test]
    fn a_link_a_huge_file_and_binary_data_are_all_named_at_once() {
        let huge = vec![b' '; MAX_FILE_BYTES + 1];
        let dir = folder(&[("a.toml", b"\xff\xfe"), ("b.toml", &huge), ("ok.toml", b"")]);
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("c.toml")).unwrap();
        let errors = errors(dir.path());
        assert_eq!(errors.len(), 3, "{errors:?}");
        for (error, name) in errors.iter().zip(["a.toml", "b.toml", "c.toml"]) {
            assert!(error.starts_with(name), "{error}");
        }
    }

    #[test]
    fn too_many_files_are_one_error_and_not_thousands() {
        let names: Vec<String> = (0..MAX_FILES + 50).map(|n| format!("{n}.toml")).collect();
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
        assert_eq!(errors(folder(&files).path()).len(), 1);
    }

    #[test]
    fn folders_without_end_are_refused() {
        let path = format!("{}x.toml", "d/".repeat(MAX_DEPTH + 1));
        assert!(errors(folder(&[(&path, b"")]).path())[0].contains("too deep"));
    }
}
