//! Whose commits come into force, with real ssh and GPG keys.

#![allow(clippy::unwrap_used, reason = "a test may panic, and so may what it is made of")]

mod repository;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use model::{CommitId, Reading, Reason, Track, Version};
use repository::Repository;
use store::edit::Edit;
use store::git::{Change, Signing, Trust};
use store::{GitConfig, GitSource, Remote};

/// Keys of somebody who may sign, and of a stranger.
struct Keys {
    dir: tempfile::TempDir,
}

impl Keys {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["ada", "stranger"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(dir.path().join(name));
            assert!(keygen.status().unwrap().success());
        }
        let public = fs::read_to_string(dir.path().join("ada.pub")).unwrap();
        fs::write(dir.path().join("allowed"), format!("ada@example namespaces=\"git\" {public}")).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn trust(&self) -> Trust {
        Trust { ssh_allowed_signers: Some(self.path("allowed")), gpg_home: None }
    }
}

fn config(repository: &Repository, state: &Path, trust: Trust) -> GitConfig {
    let mut config = GitConfig::new(Remote::Local(repository.path().into()), "main", state.join("mirror"));
    config.trust = Some(trust);
    config
}

/// Commits a bump, signed with an ssh key.
fn signed(repository: &Repository, key: &Path, version: &str) -> String {
    repository.write_release(version);
    repository.git(&["add", "--all"]);
    let key = format!("user.signingkey={}", key.display());
    repository.git(&["-c", "gpg.format=ssh", "-c", &key, "commit", "--quiet", "-S", "-m", version]);
    repository.git(&["rev-parse", "HEAD"])
}

fn target(reading: &Reading) -> Option<&str> {
    Some(reading.revision.as_ref()?.environments["production"].target.as_str())
}

/// The commit that is not trusted, and why.
fn untrusted(reading: &Reading) -> (&str, &str) {
    match &reading.obstacle {
        Some(Reason::CommitUntrusted { commit, error }) => (commit.as_str(), error),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_commit_of_an_allowed_signer_comes_into_force() {
    let (repository, keys, state) = (Repository::new(), Keys::new(), tempfile::tempdir().unwrap());
    signed(&repository, &keys.path("ada"), "1.0");
    let source = GitSource::open(config(&repository, state.path(), keys.trust())).unwrap();
    let first = source.read().await;
    assert_eq!((target(&first), first.obstacle.as_ref()), (Some("1.0"), None));
    signed(&repository, &keys.path("ada"), "2.0");
    let second = source.read().await;
    assert_eq!((target(&second), second.obstacle.as_ref()), (Some("2.0"), None));
}

#[tokio::test]
async fn an_unsigned_commit_leaves_the_last_trusted_one_in_force() {
    let (repository, keys, state) = (Repository::new(), Keys::new(), tempfile::tempdir().unwrap());
    signed(&repository, &keys.path("ada"), "1.0");
    let source = GitSource::open(config(&repository, state.path(), keys.trust())).unwrap();
    source.read().await;

    let bad = repository.release("2.0");
    let reading = source.read().await;

    assert_eq!(target(&reading), Some("1.0"));
    assert_eq!(untrusted(&reading), (bad.as_str(), "it is not signed"));
    drop(source);
    let restarted = GitSource::open(config(&repository, state.path(), keys.trust())).unwrap().read().await;
    assert_eq!((target(&restarted), untrusted(&restarted).0), (Some("1.0"), bad.as_str()));
}

#[tokio::test]
async fn a_first_commit_that_is_not_signed_is_never_in_force() {
    let (repository, keys, state) = (Repository::new(), Keys::new(), tempfile::tempdir().unwrap());
    let bad = repository.release("1.0");
    let source = GitSource::open(config(&repository, state.path(), keys.trust())).unwrap();
    let reading = source.read().await;
    assert_eq!((target(&reading), untrusted(&reading).0), (None, bad.as_str()));
}

#[tokio::test]
async fn a_strangers_signature_is_refused_with_his_key() {
    let (repository, keys, state) = (Repository::new(), Keys::new(), tempfile::tempdir().unwrap());
    signed(&repository, &keys.path("ada"), "1.0");
    let source = GitSource::open(config(&repository, state.path(), keys.trust())).unwrap();
    source.read().await;

    let bad = signed(&repository, &keys.path("stranger"), "2.0");
    let reading = source.read().await;

    let (commit, error) = untrusted(&reading);
    assert_eq!((target(&reading), commit), (Some("1.0"), bad.as_str()));
    assert!(error.starts_with("it is signed with a key of no allowed signer: SHA256:"), "{error}");
}

#[tokio::test]
async fn a_signed_commit_on_top_of_an_unsigned_one_does_not_bring_it_in() {
    let (repository, keys, state) = (Repository::new(), Keys::new(), tempfile::tempdir().unwrap());
    signed(&repository, &keys.path("ada"), "1.0");
    let source = GitSource::open(config(&repository, state.path(), keys.trust())).unwrap();
    source.read().await;

    let bad = repository.release("2.0");
    let top = signed(&repository, &keys.path("ada"), "2.1");
    let reading = source.read().await;
    assert_eq!((target(&reading), untrusted(&reading).0), (Some("1.0"), bad.as_str()));

    source.accept_history(&CommitId::new(top)).await.unwrap();
    let accepted = source.read().await;
    assert_eq!(
        (target(&accepted), accepted.obstacle.as_ref()),
        (Some("2.1"), None),
        "a person answers for it"
    );
}

#[tokio::test]
async fn a_merge_that_is_signed_answers_for_what_it_brings_in() {
    let (repository, keys, state) = (Repository::new(), Keys::new(), tempfile::tempdir().unwrap());
    signed(&repository, &keys.path("ada"), "1.0");
    let source = GitSource::open(config(&repository, state.path(), keys.trust())).unwrap();
    source.read().await;
    repository.git(&["checkout", "--quiet", "-b", "topic"]);
    repository.release("2.0");
    repository.git(&["checkout", "--quiet", "main"]);
    let key = format!("user.signingkey={}", keys.path("ada").display());
    repository.git(&[
        "-c",
        "gpg.format=ssh",
        "-c",
        &key,
        "merge",
        "--quiet",
        "--no-ff",
        "-S",
        "-m",
        "Merge",
        "topic",
    ]);
    let reading = source.read().await;
    assert_eq!((target(&reading), reading.obstacle.as_ref()), (Some("2.0"), None));
}

#[tokio::test]
async fn a_commit_that_the_service_signs_is_trusted_by_the_next_reading() {
    let (repository, keys, state) = (Repository::new(), Keys::new(), tempfile::tempdir().unwrap());
    signed(&repository, &keys.path("ada"), "1.0");
    let bare = repository.bare_clone();
    let mut config = config(&bare, state.path(), keys.trust());
    config.signing = Signing::Ssh(keys.path("ada"));
    let source = GitSource::open(config).unwrap();
    source.read().await;
    let change = Change {
        path: "environments/production/release.toml".into(),
        edits: vec![Edit::Version { track: Track::Main, from: None, to: Version::parse("2.0").unwrap() }],
        add: [].into(),
        remove: Vec::new(),
        author: None,
        message: "production: main to 2.0".into(),
    };
    let commit = source.commit(&change).await.unwrap();
    let reading = source.read().await;
    assert_eq!((target(&reading), reading.obstacle.as_ref()), (Some("2.0"), None));
    assert_eq!(bare.git(&["rev-parse", "main"]), commit.as_str());
}

#[tokio::test]
async fn gpg_signatures_count_when_their_key_is_in_the_keyring() {
    if Command::new("gpg").arg("--version").output().is_err() {
        return println!("skipped: gpg is not installed");
    }
    let (repository, keys, state) = (Repository::new(), Keys::new(), tempfile::tempdir().unwrap());
    let (ada, stranger, service) = (Gpg::with_key("ada"), Gpg::with_key("stranger"), Gpg::new());
    service.import(&ada.export());
    let trust = Trust { ssh_allowed_signers: None, gpg_home: Some(service.home.path().into()) };
    ada.signed(&repository, "1.0");
    let source = GitSource::open(config(&repository, state.path(), trust.clone())).unwrap();
    let first = source.read().await;
    assert_eq!((target(&first), first.obstacle.as_ref()), (Some("1.0"), None));

    let bad = stranger.signed(&repository, "2.0");
    let reading = source.read().await;
    let (commit, error) = untrusted(&reading);
    assert_eq!((target(&reading), commit), (Some("1.0"), bad.as_str()));
    assert!(error.contains("No public key"), "{error}");

    repository.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    signed(&repository, &keys.path("ada"), "3.0");
    let other = source.read().await;
    assert_eq!(untrusted(&other).1, "it is signed with an ssh key, and no ssh signers are configured");
    drop(source);
    let both = Trust { ssh_allowed_signers: Some(keys.path("allowed")), ..trust };
    let reading = GitSource::open(config(&repository, state.path(), both)).unwrap().read().await;
    assert_eq!(target(&reading), Some("3.0"), "either kind counts, where both are configured");
}

/// A GnuPG home of its own, with its agent.
struct Gpg {
    home: tempfile::TempDir,
}

impl Gpg {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        Self { home }
    }

    fn with_key(name: &str) -> Self {
        let gpg = Self::new();
        let user = format!("{name} <{name}@example>");
        let options = ["--quiet", "--batch", "--pinentry-mode", "loopback", "--passphrase", ""];
        gpg.run(&[&options[..], &["--quick-generate-key", &user, "ed25519", "sign", "never"]].concat());
        gpg
    }

    fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("gpg").env("GNUPGHOME", self.home.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn export(&self) -> Vec<u8> {
        self.run(&["--batch", "--export"])
    }

    fn import(&self, keys: &[u8]) {
        let file = self.home.path().join("import.gpg");
        fs::write(&file, keys).unwrap();
        self.run(&["--quiet", "--batch", "--import", file.to_str().unwrap()]);
    }

    /// Commits a bump, signed with the only key here.
    fn signed(&self, repository: &Repository, version: &str) -> String {
        repository.write_release(version);
        repository.git(&["add", "--all"]);
        let program = self.home.path().join("sign");
        let home = self.home.path().display();
        fs::write(&program, format!("#!/bin/sh\nGNUPGHOME='{home}' exec gpg \"$@\"\n")).unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let listed = String::from_utf8(self.run(&["--batch", "--with-colons", "--list-keys"])).unwrap();
        let print =
            listed.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap().trim_matches(':').to_owned();
        let (program, key) =
            (format!("gpg.program={}", program.display()), format!("user.signingkey={print}"));
        repository.git(&["-c", &program, "-c", &key, "commit", "--quiet", "-S", "-m", version]);
        repository.git(&["rev-parse", "HEAD"])
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        // Its agent ends by itself when the home is gone; this is sooner.
        let _ = Command::new("gpgconf").env("GNUPGHOME", self.home.path()).args(["--kill", "all"]).output();
    }
}
