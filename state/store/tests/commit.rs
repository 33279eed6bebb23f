//! Commits that are written and pushed into real repositories.

#![allow(clippy::unwrap_used, reason = "a test may panic, and so may what it is made of")]

mod repository;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use model::{ReleaseEdit, Track, Version};
use repository::Repository;
use store::edit::{Edit, EditError};
use store::git::{Author, Change, CommitError};
use store::{GitConfig, GitSource, Remote};

const RELEASE: &str = "environments/production/release.toml";

fn v(text: &str) -> Version {
    Version::parse(text).unwrap()
}

fn source(repository: &Repository, state: &Path) -> GitSource {
    let remote = Remote::Local(repository.path().into());
    GitSource::open(GitConfig::new(remote, "main", state.join("mirror"))).unwrap()
}

fn change(edit: Edit) -> Change {
    let author = Some(Author { name: "Grace".into(), email: "grace@example".into() });
    let message = "Change production\n\nfor a reason".to_owned();
    Change {
        path: RELEASE.into(),
        edits: vec![edit],
        add: BTreeMap::new(),
        remove: Vec::new(),
        author,
        message,
    }
}

fn to(version: &str) -> Edit {
    Edit::Version { track: Track::Main, from: None, to: v(version) }
}

fn veto(version: &str) -> Edit {
    Edit::Veto { version: v(version), reason: "bad".into() }
}

/// A repository with one release, and a bare clone that takes pushes.
fn repositories() -> (Repository, Repository) {
    let work = Repository::new();
    work.release("1.0");
    let bare = work.bare_clone();
    (work, bare)
}

#[tokio::test]
async fn a_commit_changes_one_line_and_carries_its_author_and_message() {
    let (_work, bare) = repositories();
    let state = tempfile::tempdir().unwrap();
    let source = source(&bare, state.path());

    let id = source.commit(&change(to("2.0"))).await.unwrap();

    assert_eq!(bare.git(&["rev-parse", "main"]), id.as_str());
    let shown = bare.git(&["show", "--format=%an <%ae>|%cn|%s|%b", "--numstat", "main"]);
    assert_eq!(
        shown,
        format!("Grace <grace@example>|Grace|Change production|for a reason\n\n\n1\t1\t{RELEASE}")
    );
    assert_eq!(bare.git(&["show", &format!("main:{RELEASE}")]), "[main]\nversion = \"2.0\"");
    let reading = source.read().await;
    assert_eq!(reading.revision.unwrap().commit.id, id, "it is in force at the next reading");
    assert_eq!(bare.git(&["fsck", "--strict"]), "");
}

#[tokio::test]
async fn a_draft_shows_the_change_and_writes_nothing() {
    let (_work, bare) = repositories();
    let state = tempfile::tempdir().unwrap();
    let head = bare.git(&["rev-parse", "main"]);

    let draft = source(&bare, state.path()).draft(&change(to("2.0"))).await.unwrap();

    let text = |version: &str| format!("[main]\nversion = \"{version}\"\n");
    assert_eq!(draft.files, [(RELEASE.to_owned(), text("1.0"), text("2.0"))]);
    assert_eq!(draft.base.as_str(), head);
    assert_eq!(bare.git(&["rev-parse", "main"]), head);
}

#[tokio::test]
async fn a_change_that_would_not_be_valid_is_refused_with_every_error_and_nothing_is_pushed() {
    let (_work, bare) = repositories();
    let state = tempfile::tempdir().unwrap();
    let head = bare.git(&["rev-parse", "main"]);
    let what = model::OutTarget::Host("web-9".into());
    let out = Edit::Out { what, reason: " blanks ".into(), until: None };

    let error = source(&bare, state.path()).commit(&change(out)).await.unwrap_err();

    let CommitError::Invalid { errors } = &error else { panic!("{error}") };
    assert_eq!(errors.len(), 2, "{error}");
    assert!(error.to_string().contains("there is no host `web-9`"), "{error}");
    assert_eq!(bare.git(&["rev-parse", "main"]), head);
}

#[tokio::test]
async fn what_is_said_already_makes_no_commit() {
    let (_work, bare) = repositories();
    let state = tempfile::tempdir().unwrap();
    let error = source(&bare, state.path()).commit(&change(to("1.0"))).await.unwrap_err();
    assert!(matches!(error, CommitError::Unchanged { .. }), "{error}");
}

#[tokio::test]
async fn the_service_sets_a_version_only_when_nobody_else_has_changed_it() {
    let (work, bare) = repositories();
    let state = tempfile::tempdir().unwrap();
    let source = source(&bare, state.path());
    let edit = |from: &str, to: &str| ReleaseEdit {
        environment: "production".into(),
        track: Track::Main,
        from: v(from),
        to: v(to),
        reason: "passed on staging".into(),
    };
    source.commit_release(&edit("1.0", "2.0")).await.unwrap();
    assert_eq!(
        bare.git(&["log", "-1", "--format=%an|%s|%b", "main"]),
        "reconcile|production: main to 2.0|passed on staging"
    );

    work.git(&["pull", "--quiet", &bare.url(), "main"]);
    work.release("3.0");
    work.git(&["push", "--quiet", &bare.url(), "main"]);
    let error = source.commit_release(&edit("2.0", "2.1")).await.unwrap_err();
    let CommitError::Edit { source: EditError::Moved { found, .. }, .. } = &error else { panic!("{error}") };
    assert_eq!(found, "3.0");
}

#[tokio::test]
async fn a_file_beside_the_edit_is_part_of_the_commit_and_goes_when_nothing_names_it() {
    let (_work, bare) = repositories();
    let state = tempfile::tempdir().unwrap();
    let source = source(&bare, state.path());
    let mut added = change(veto("0.9"));
    added.add.insert("patches/1.0/fix.patch".into(), "--- a\n+++ b\n".into());
    source.commit(&added).await.unwrap();
    assert_eq!(bare.git(&["show", "main:patches/1.0/fix.patch"]), "--- a\n+++ b");

    let mut removed = change(Edit::Unveto { version: v("0.9") });
    removed.remove.push("patches/1.0/fix.patch".into());
    source.commit(&removed).await.unwrap();
    assert_eq!(bare.git(&["diff", "--stat", "main~2", "main"]), "", "everything is as it was");
}

#[tokio::test]
async fn a_repository_with_a_checked_out_branch_takes_the_commit_and_its_files_follow() {
    let work = Repository::new();
    work.release("1.0");
    let state = tempfile::tempdir().unwrap();
    let source = source(&work, state.path());
    source.commit(&change(to("2.0"))).await.unwrap();
    assert!(fs::read_to_string(work.path().join(RELEASE)).unwrap().contains("2.0"));
    assert_eq!(work.git(&["status", "--porcelain"]), "");

    fs::write(work.path().join(RELEASE), "somebody's work").unwrap();
    let error = source.commit(&change(to("3.0"))).await.unwrap_err();
    assert!(matches!(error, CommitError::Refused { .. }), "{error}");
    assert_eq!(fs::read_to_string(work.path().join(RELEASE)).unwrap(), "somebody's work");
}

#[tokio::test]
async fn a_remote_that_refuses_says_why_and_is_asked_once() {
    let (_work, bare) = repositories();
    let state = tempfile::tempdir().unwrap();
    let hook = bare.path().join("hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\necho once >> \"$GIT_DIR/asked\"\necho protected branch >&2\nexit 1\n")
        .unwrap();
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();

    let error = source(&bare, state.path()).commit(&change(to("2.0"))).await.unwrap_err();

    assert!(matches!(error, CommitError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("protected branch"), "{error}");
    assert_eq!(fs::read_to_string(bare.path().join("asked")).unwrap(), "once\n");
}

#[test]
fn two_writers_who_race_for_one_file_both_survive() {
    const EDITS: usize = 20;
    let (_work, bare) = repositories();
    std::thread::scope(|scope| {
        for writer in ["a", "b"] {
            let bare = &bare;
            scope.spawn(move || {
                let state = tempfile::tempdir().unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let source = source(bare, state.path());
                    for edit in 0..EDITS {
                        source.commit(&change(veto(&format!("0.{edit}{writer}")))).await.unwrap();
                    }
                });
            });
        }
    });
    assert_eq!(bare.git(&["rev-list", "--count", "main"]), (1 + 2 * EDITS).to_string());
    let text = bare.git(&["show", &format!("main:{RELEASE}")]);
    for writer in ["a", "b"] {
        for edit in 0..EDITS {
            assert!(text.contains(&format!("version = \"0.{edit}{writer}\"\n")), "{edit}{writer}\n{text}");
        }
    }
}

#[tokio::test]
async fn what_main_was_to_run_is_told_in_order_without_the_canary() {
    let (work, _bare) = repositories();
    work.release("2.0");
    work.release("1.0");
    let state = tempfile::tempdir().unwrap();
    let targets = source(&work, state.path()).main_targets(&"production".into()).await.unwrap();
    assert_eq!(targets, [v("1.0"), v("2.0")]);
}
