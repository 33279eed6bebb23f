//! A real desired-state repository in a temporary folder.

#![allow(dead_code, reason = "every test file uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ENVIRONMENT: &str = r#"
packages = ["shop"]
[[role]]
name  = "web"
hosts = ["web-1", "web-2"]
services = [{ unit = "shop", activate = "restart" }]
"#;

pub(crate) struct Repository {
    _home: tempfile::TempDir,
    path: PathBuf,
}

impl Repository {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let repository = Self { path: home.path().join("state"), _home: home };
        fs::create_dir(&repository.path).unwrap();
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    pub(crate) fn bare_clone(&self) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("state.git");
        self.git(&["clone", "--quiet", "--bare", ".", path.to_str().unwrap()]);
        Self { path, _home: home }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn url(&self) -> String {
        self.path.display().to_string()
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(&self.path)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn write_release(&self, version: &str) {
        self.write("environments/production/environment.toml", ENVIRONMENT);
        self.write("environments/production/release.toml", &format!("[main]\nversion = \"{version}\"\n"));
    }

    /// Commits everything; the commit's id.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Commits a bump of production; the commit's id.
    pub(crate) fn release(&self, version: &str) -> String {
        self.write_release(version);
        self.commit(&format!("Release {version}"))
    }

    pub(crate) fn give_to(&self, user: u32) {
        give(&self.path, user);
    }
}

fn give(path: &Path, user: u32) {
    std::os::unix::fs::lchown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path(), user));
    }
}
