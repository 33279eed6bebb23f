//! The git source against real repositories: local, over `file://`, and over ssh to a real server.

#![allow(clippy::unwrap_used, reason = "a test may panic, and so may what it is made of")]

mod repository;
mod sshd;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use model::{CommitId, Reading, Reason, Version};
use repository::Repository;
use sshd::Sshd;
use store::git::{GitError, read_folder, revision_at, revision_of_folder};
use store::{GitConfig, GitSource, Remote};
use tokio::time::timeout;

/// A machine that does other things as well may take this long; the promise is a fraction of it.
const AT_ONCE: Duration = Duration::from_millis(200);

/// Polls so seldom that a test which passes cannot have been saved by a poll.
fn config(repository: &Repository, state: &Path) -> GitConfig {
    let mut config = GitConfig::new(Remote::Local(repository.path().into()), "main", state.join("mirror"));
    config.poll = Duration::from_secs(600);
    config
}

fn source(repository: &Repository, state: &Path) -> GitSource {
    GitSource::open(config(repository, state)).unwrap()
}

/// What happened before may still wake; a source that wakes itself by reading never comes to rest.
async fn settle(source: &GitSource) {
    for _ in 0..10 {
        if timeout(AT_ONCE, source.changed()).await.is_err() {
            return;
        }
        source.read().await;
    }
    panic!("it wakes for ever");
}

fn target(reading: &Reading) -> &str {
    let revision = reading.revision.as_ref().unwrap_or_else(|| panic!("nothing in force: {reading:?}"));
    revision.environments["production"].target.as_str()
}

fn ranks(reading: &Reading) -> Vec<&str> {
    let revision = reading.revision.as_ref().unwrap();
    revision.environments["production"].ranks.iter().map(Version::as_str).collect()
}

#[tokio::test]
async fn a_commit_in_a_watched_repository_is_seen_at_once() {
    let (repository, state) = (Repository::new(), tempfile::tempdir().unwrap());
    repository.release("1.0");
    let source = source(&repository, state.path());
    assert_eq!(target(&source.read().await), "1.0");
    settle(&source).await;

    let commit = repository.release("2.0");
    let committed = Instant::now();
    timeout(AT_ONCE, source.changed()).await.expect("the commit wakes");
    let reading = source.read().await;

    println!("from commit to reading: {:?}", committed.elapsed());
    assert_eq!(target(&reading), "2.0");
    assert_eq!(reading.obstacle, None);
    let seen = &reading.revision.unwrap().commit;
    assert_eq!(
        (seen.id.as_str(), seen.author.as_str(), seen.subject.as_str()),
        (&*commit, "Ada", "Release 2.0")
    );
}

#[tokio::test]
async fn a_push_into_a_watched_bare_repository_is_seen_at_once_even_with_packed_references() {
    let (work, state) = (Repository::new(), tempfile::tempdir().unwrap());
    work.release("1.0");
    let bare = work.bare_clone();
    bare.git(&["pack-refs", "--all"]);
    let source = source(&bare, state.path());
    assert_eq!(target(&source.read().await), "1.0");
    settle(&source).await;

    work.release("2.0");
    work.git(&["push", "--quiet", &bare.url(), "main"]);

    timeout(AT_ONCE, source.changed()).await.expect("the push wakes");
    assert_eq!(target(&source.read().await), "2.0");
}

#[tokio::test]
async fn many_changes_wake_once_and_waiting_may_be_given_up_without_loss() {
    let (repository, state) = (Repository::new(), tempfile::tempdir().unwrap());
    repository.release("1.0");
    let source = source(&repository, state.path());
    source.read().await;
    settle(&source).await;
    for version in ["2.0", "3.0", "4.0"] {
        repository.release(version);
    }
    tokio::time::sleep(AT_ONCE).await;

    assert!(timeout(Duration::ZERO, source.changed()).await.is_ok(), "remembered though nobody waited");
    assert_eq!(target(&source.read().await), "4.0");
    assert!(timeout(AT_ONCE, source.changed()).await.is_err(), "and nothing more");
}

#[tokio::test]
async fn a_rewritten_history_is_refused_until_a_person_accepts_it_by_name() {
    let (repository, state) = (Repository::new(), tempfile::tempdir().unwrap());
    repository.release("1.0");
    let accepted = repository.release("2.0");
    let source = source(&repository, state.path());
    source.read().await;

    repository.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let found = repository.release("3.0");
    let refused = source.read().await;

    let (old, new) = (CommitId::new(accepted), CommitId::new(found));
    assert_eq!(refused.obstacle, Some(Reason::HistoryRewritten { accepted: old, found: new.clone() }));
    assert_eq!(target(&refused), "2.0");
    let unknown = CommitId::new("1234567890123456789012345678901234567890");
    assert!(source.accept_history(&unknown).await.unwrap_err().contains("not known"));
    source.accept_history(&new).await.unwrap();
    let reading = source.read().await;
    assert_eq!((target(&reading), reading.obstacle.as_ref()), ("3.0", None));
    assert_eq!(ranks(&reading), ["1.0", "3.0"]);
}

#[tokio::test]
async fn going_back_without_a_revert_commit_is_a_rewritten_history_as_well() {
    let (repository, state) = (Repository::new(), tempfile::tempdir().unwrap());
    repository.release("1.0");
    repository.release("2.0");
    let source = source(&repository, state.path());
    source.read().await;
    repository.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let reading = source.read().await;
    assert!(matches!(reading.obstacle, Some(Reason::HistoryRewritten { .. })), "{reading:?}");
    assert_eq!(target(&reading), "2.0");
}

#[tokio::test]
async fn an_invalid_commit_on_top_leaves_the_last_valid_one_in_force_and_every_error_is_told() {
    let (repository, state) = (Repository::new(), tempfile::tempdir().unwrap());
    repository.release("1.0");
    let source = source(&repository, state.path());
    source.read().await;

    repository.write("environments/production/release.toml", "nonsense = 1\n[main]\nversion = \"2.0\"\n");
    repository.write("environments/staging/release.toml", "nonsense = 1\n[main]\nversion = \"2.0\"\n");
    let bad = repository.commit("Break everything");
    let reading = source.read().await;

    assert_eq!(target(&reading), "1.0");
    let Some(Reason::RevisionInvalid { commit, error, errors }) = &reading.obstacle else {
        panic!("{reading:?}")
    };
    assert_eq!((commit.as_str(), *errors), (&*bad, reading.errors.len()));
    assert_eq!(*error, reading.errors[0]);
    for environment in ["production", "staging"] {
        let file = format!("environments/{environment}/release.toml:1:");
        assert!(reading.errors.iter().any(|error| error.starts_with(&file)), "{reading:?}");
    }

    repository.git(&["rm", "--quiet", "-r", "environments/staging"]);
    repository.release("2.1");
    let mended = source.read().await;
    assert_eq!((target(&mended), mended.obstacle.as_ref(), mended.errors.len()), ("2.1", None, 0));
}

#[tokio::test]
async fn a_remote_that_is_moved_away_is_an_obstacle_until_it_is_back() {
    let (repository, state) = (Repository::new(), tempfile::tempdir().unwrap());
    repository.release("1.0");
    let source = source(&repository, state.path());
    source.read().await;
    let away = repository.path().with_extension("away");

    fs::rename(repository.path(), &away).unwrap();
    let gone = source.read().await;
    assert_eq!(target(&gone), "1.0");
    assert!(matches!(gone.obstacle, Some(Reason::SourceUnavailable { .. })), "{gone:?}");

    fs::rename(&away, repository.path()).unwrap();
    timeout(Duration::from_secs(2), source.changed()).await.expect("it is asked again soon");
    let back = source.read().await;
    assert_eq!((target(&back), back.obstacle.as_ref()), ("1.0", None));
    settle(&source).await;
    repository.release("2.0");
    timeout(AT_ONCE, source.changed()).await.expect("it is watched again");
}

#[tokio::test]
async fn a_branch_that_does_not_exist_is_named() {
    let (repository, state) = (Repository::new(), tempfile::tempdir().unwrap());
    repository.release("1.0");
    let mut config = config(&repository, state.path());
    config.branch = "production".into();
    let reading = GitSource::open(config).unwrap().read().await;
    let Some(Reason::SourceUnavailable { error }) = &reading.obstacle else { panic!("{reading:?}") };
    assert!(error.contains("no branch production"), "{error}");
    assert_eq!(reading.revision, None);
}

#[tokio::test]
async fn versions_rank_by_their_first_appearance_and_a_revert_brings_no_new_rank() {
    let (repository, state) = (Repository::new(), tempfile::tempdir().unwrap());
    repository.release("2.0");
    repository.release("1.0");
    let source = source(&repository, state.path());
    assert_eq!(ranks(&source.read().await), ["2.0", "1.0"]);

    repository.git(&["revert", "--no-edit", "HEAD"]);
    let reverted = source.read().await;
    assert_eq!((target(&reverted), ranks(&reverted)), ("2.0", vec!["2.0", "1.0"]));
    repository.release("3.0");
    assert_eq!(ranks(&source.read().await), ["2.0", "1.0", "3.0"]);
    let earlier = source.read_at("refs/reconcile/valid~3").await.unwrap();
    assert_eq!(
        earlier.revision.environments["production"].ranks.len(),
        1,
        "later targets are not known there"
    );
}

#[tokio::test]
async fn after_a_restart_without_its_remote_the_service_still_knows_what_is_in_force() {
    let (repository, state) = (Repository::new(), tempfile::tempdir().unwrap());
    repository.release("1.0");
    repository.release("2.0");
    let first = source(&repository, state.path());
    let before = first.read().await;
    drop(first);
    // What a service that was killed while writing leaves behind.
    fs::write(state.path().join("mirror/refs/reconcile/accepted.lock"), "").unwrap();
    fs::rename(repository.path(), repository.path().with_extension("away")).unwrap();

    let second = source(&repository, state.path());
    let after = second.read().await;

    assert_eq!(after.revision, before.revision);
    assert!(matches!(after.obstacle, Some(Reason::SourceUnavailable { .. })), "{after:?}");
    fs::rename(repository.path().with_extension("away"), repository.path()).unwrap();
    repository.git(&["commit", "--quiet", "--amend", "-m", "Another history"]);
    assert!(
        matches!(second.read().await.obstacle, Some(Reason::HistoryRewritten { .. })),
        "accepted is kept, too"
    );
    repository.git(&["reset", "--quiet", "--hard", "HEAD@{1}"]);
    repository.release("3.0");
    let newest = second.read().await;
    assert_eq!((target(&newest), newest.obstacle.as_ref()), ("3.0", None));
}

#[tokio::test]
async fn a_remote_that_takes_the_connection_and_says_nothing_does_not_hold_the_service_up() {
    let state = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ssh://git@127.0.0.1:{}/state.git", silent.local_addr().unwrap().port());
    let mut config = GitConfig::new(Remote::parse(&url).unwrap(), "main", state.path().join("mirror"));
    config.deadline = Duration::from_millis(500);
    let source = GitSource::open(config).unwrap();

    let asked = Instant::now();
    let reading = source.read().await;

    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    let Some(Reason::SourceUnavailable { error }) = &reading.obstacle else { panic!("{reading:?}") };
    assert!(error.contains("no answer within 500ms"), "{error}");
    let (mut connection, _) = silent.accept().unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    std::io::copy(&mut connection, &mut std::io::sink())
        .expect("ssh has ended with git and closed the connection");
}

#[tokio::test]
async fn file_urls_are_repositories_on_this_machine() {
    let (repository, state) = (Repository::new(), tempfile::tempdir().unwrap());
    repository.release("1.0");
    let bare = repository.bare_clone();
    let mut config = config(&repository, state.path());
    config.remote = Remote::parse(&format!("file://{}", bare.url())).unwrap();
    assert_eq!(target(&GitSource::open(config).unwrap().read().await), "1.0");
}

#[tokio::test]
async fn a_repository_of_another_user_can_be_followed() {
    if !rustix::process::getuid().is_root() {
        println!("skipped: only root can give a repository to another user");
        return;
    }
    let (repository, state) = (Repository::new(), tempfile::tempdir().unwrap());
    repository.release("1.0");
    repository.give_to(12_345);
    let source = source(&repository, state.path());
    let reading = source.read().await;
    assert_eq!((target(&reading), reading.obstacle.as_ref()), ("1.0", None));
    let refused = revision_at(repository.path(), "HEAD").unwrap_err();
    assert!(matches!(refused, GitError::Owner { .. }), "{refused:?}");
    assert!(refused.to_string().contains("safe.directory"), "{refused}");
}

#[tokio::test]
async fn a_remote_over_ssh_is_followed_and_an_unknown_host_key_is_refused() {
    let (repository, state) = (Repository::new(), tempfile::tempdir().unwrap());
    let sshd = match Sshd::start() {
        Ok(sshd) => sshd,
        Err(why) => return println!("skipped: {why}"),
    };
    repository.release("1.0");
    let mut config = config(&repository, state.path());
    config.remote = Remote::parse(&sshd.url(repository.path())).unwrap();
    config.access = sshd.access();
    config.poll = Duration::from_millis(300);
    let source = GitSource::open(config.clone()).unwrap();
    assert_eq!(source.read().await.obstacle, None);

    repository.release("2.0");
    timeout(Duration::from_secs(1), source.changed()).await.expect("a remote is asked again");
    assert_eq!(target(&source.read().await), "2.0");

    config.access.known_hosts = Some("/dev/null".into());
    let stranger = GitSource::open(config).unwrap().read().await;
    let Some(Reason::SourceUnavailable { error }) = &stranger.obstacle else { panic!("{stranger:?}") };
    assert!(error.contains("Host key verification failed"), "{error}");
    assert_eq!(target(&stranger), "2.0");
}

#[test]
fn a_folder_is_read_as_it_lies_there_with_the_versions_of_its_history() {
    let repository = Repository::new();
    repository.release("1.0");
    let head = repository.release("2.0");
    let clean = revision_of_folder(repository.path()).unwrap().revision;
    assert_eq!(clean.commit.id.as_str(), head);

    repository.write_release("3.0");
    let edited = revision_of_folder(repository.path()).unwrap().revision;

    let production = &edited.environments["production"];
    assert_eq!(production.target.as_str(), "3.0");
    assert_eq!(production.ranks.iter().map(Version::as_str).collect::<Vec<_>>(), ["1.0", "2.0", "3.0"]);
    assert_ne!(edited.commit.id.as_str(), head);
    assert!(edited.commit.subject.contains("uncommitted changes on"), "{}", edited.commit.subject);
    assert_eq!(read_folder(repository.path()).unwrap().len(), 2);
}

#[test]
fn a_folder_needs_no_repository_and_a_repository_no_commit() {
    let repository = Repository::new();
    repository.write_release("1.0");
    let unborn = revision_of_folder(repository.path()).unwrap().revision;
    fs::remove_dir_all(repository.path().join(".git")).unwrap();
    let plain = revision_of_folder(repository.path()).unwrap().revision;
    assert_eq!(unborn, plain);
    assert_eq!(plain.environments["production"].target.as_str(), "1.0");
}

#[test]
fn any_revision_can_be_looked_at_and_an_unknown_one_is_named() {
    let repository = Repository::new();
    repository.release("1.0");
    repository.release("2.0");
    let look = revision_at(repository.path(), "HEAD~1").unwrap();
    assert_eq!(look.revision.environments["production"].target.as_str(), "1.0");
    let unknown = revision_at(repository.path(), "no-such-branch").unwrap_err();
    assert!(matches!(unknown, GitError::UnknownRevision { .. }), "{unknown:?}");
}

#[test]
fn a_commit_cannot_send_escape_sequences_to_a_terminal() {
    let repository = Repository::new();
    repository.write_release("1.0");
    repository.commit("\u{1b}[2JAll is well");
    let look = revision_at(repository.path(), "HEAD").unwrap();
    assert_eq!(look.revision.commit.subject, " [2JAll is well");
}
