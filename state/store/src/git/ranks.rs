//! Which versions were ever a target, in order of their first appearance: what decides forward and back.

use std::collections::BTreeMap;

use git2::{ObjectType, Oid, Repository, Tree};
use model::{Track, Version, parse};

use crate::edit;

/// Versions by environment, oldest first, as of one commit.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranks {
    /// Up to and including this commit.
    as_of: Option<Oid>,
    environments: BTreeMap<String, Targets>,
}

#[derive(Clone, Debug, Default)]
struct Targets {
    /// The release file that was read last: the same one says nothing new.
    blob: Option<Oid>,
    versions: Vec<Version>,
    /// Those of the main track alone.
    main: Vec<Version>,
}

impl Ranks {
    /// The ranks at a commit, along first parents. What these ranks know already is not read again.
    pub(super) fn at(&self, repository: &Repository, commit: Oid) -> Result<Self, git2::Error> {
        let (known, path) = self.path_to(repository, commit)?;
        let mut ranks = if known { self.clone() } else { Self::default() };
        let mut tree_before = None;
        for id in path.into_iter().rev() {
            let root = repository.find_commit(id)?.tree()?;
            let tree = root.get_name("environments").filter(|entry| entry.kind() == Some(ObjectType::Tree));
            let tree = tree.map(|entry| entry.id());
            if let Some(tree) = tree.filter(|_| tree != tree_before) {
                ranks.take_in(repository, &repository.find_tree(tree)?)?;
            }
            tree_before = tree;
        }
        ranks.as_of = Some(commit);
        Ok(ranks)
    }

    /// What the main track of an environment was to run, oldest first.
    pub(super) fn of_main(&self, environment: &str) -> Vec<Version> {
        self.environments.get(environment).map(|targets| targets.main.clone()).unwrap_or_default()
    }

    /// An environment's targets, of both tracks, oldest first.
    pub(super) fn of(&self, environment: &str) -> Vec<Version> {
        self.environments.get(environment).map(|targets| targets.versions.clone()).unwrap_or_default()
    }

    /// Commits from the given one back to the one that these ranks are of (true), or to the very first (false).
    fn path_to(&self, repository: &Repository, commit: Oid) -> Result<(bool, Vec<Oid>), git2::Error> {
        let mut path = Vec::new();
        let mut next = Some(commit);
        while let Some(id) = next {
            if self.as_of == Some(id) {
                return Ok((true, path));
            }
            path.push(id);
            next = repository.find_commit(id)?.parent_ids().next();
        }
        Ok((false, path))
    }

    fn take_in(&mut self, repository: &Repository, environments: &Tree<'_>) -> Result<(), git2::Error> {
        for folder in environments {
            let (Ok(name), Some(ObjectType::Tree)) = (folder.name(), folder.kind()) else { continue };
            let tree = repository.find_tree(folder.id())?;
            let Some(release) = tree.get_name("release.toml") else { continue };
            let targets = self.environments.entry(name.to_owned()).or_default();
            if release.kind() != Some(ObjectType::Blob) || targets.blob == Some(release.id()) {
                continue;
            }
            targets.blob = Some(release.id());
            let blob = repository.find_blob(release.id())?;
            let text = std::str::from_utf8(blob.content()).unwrap_or_default();
            let main = edit::version(text, Track::Main).unwrap_or_default();
            parse::targets(text).into_iter().for_each(|version| add(&mut targets.versions, version));
            main.into_iter().for_each(|version| add(&mut targets.main, version));
        }
        Ok(())
    }
}

fn add(versions: &mut Vec<Version>, version: Version) {
    if !versions.contains(&version) {
        versions.push(version);
    }
}
