//! Patches as they lie in the repository, and the versions that apt offers.

use std::collections::BTreeSet;
use std::fmt::Write;

use model::PackageName;
use providers::fuzzing::{offered_versions, patched_files};

use crate::text;

/// A patch touches nothing outside its root, and no file twice.
pub(crate) fn patch(bytes: &[u8]) {
    let text = text(bytes);
    match patched_files(&text) {
        Ok(files) => {
            assert!(!files.is_empty(), "a patch of nothing");
            assert_eq!(files.iter().collect::<BTreeSet<_>>().len(), files.len(), "{files:?}");
            files.iter().for_each(|file| assert!(stays_below(file), "{file:?} leaves its root"));
        }
        Err(reason) => assert!(!reason.is_empty() && !reason.contains('\n'), "no reason: {reason:?}"),
    }
}

/// Also for a shell and for a list with one name in each line.
fn stays_below(file: &str) -> bool {
    let plain = !file.starts_with('/') && !file.chars().any(char::is_control) && !file.contains(['\\', '"']);
    plain && file.split('/').all(|part| !["", ".", ".."].contains(&part))
}

/// What `apt-cache madison` lists. What was read is written down anew, and must be read as the same.
pub(crate) fn versions(bytes: &[u8]) {
    let text = text(bytes);
    let said: BTreeSet<&str> = text.split('|').map(str::trim).collect();
    for package in ["nginx", "shop"].map(PackageName::from) {
        let offered = offered_versions(&text, &package);
        let mut listed = String::new();
        for version in &offered {
            assert!(said.contains(version.as_str()), "{version} was made up");
            writeln!(listed, " {package} | {version} | http://apt.example stable/main Packages")
                .expect("a text takes more");
        }
        assert_eq!(offered_versions(&listed, &package), offered);
    }
}
