//! The repository as a whole: which files there are, and what only shows between environments.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::exceptions::{self, Context};
use super::fleet::{self, Hosts, some_of};
use super::policy::{self, Surroundings};
use super::problem::{File, Position, Problem, Problems};
use super::raw::RawEnvironment;
use super::raw_release::RawRelease;
use super::read::{At, Read, Text};
use super::tree::{self, Node, Value};
use crate::desired::{Commit, Desired, Direction, Fleet};
use crate::ids::{EnvironmentName, HostName};
use crate::release::{CanaryTarget, Exceptions};
use crate::version::Version;

const ENVIRONMENT: &str = "environment.toml";
const RELEASE: &str = "release.toml";

/// One environment as its two files say. With a commit and the ranks of its history it becomes a
/// [`Desired`](crate::Desired).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentSpec {
    /// Hosts, load balancers and rollout policy.
    pub fleet: Fleet,
    /// The version that the main track should run.
    pub target: Version,
    /// What a person said about a version that git history does not know yet.
    pub direction: Option<Direction>,
    /// The canary track's target and share.
    pub canary: Option<CanaryTarget>,
    /// What people take responsibility for.
    pub exceptions: Exceptions,
}

impl EnvironmentSpec {
    /// What it says at a commit, with the targets that accepted history had up to it.
    pub fn at(self, environment: EnvironmentName, commit: Commit, ranks: Vec<Version>) -> Desired {
        let Self { fleet, target, direction, canary, exceptions } = self;
        Desired {
            environment,
            commit,
            target,
            direction,
            canary,
            exceptions,
            ranks,
            departed: Vec::new(),
            fleet,
        }
    }
}

/// A valid repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// At least one.
    pub environments: BTreeMap<EnvironmentName, EnvironmentSpec>,
    /// What is odd and does no harm.
    pub warnings: Vec<Problem>,
}

/// Parses one commit's text files, by their paths in the repository: its TOML files, and the patches below `patches/`
/// that they name. Other files may be there and are ignored.
///
/// # Errors
/// Every problem of the commit, in the order of files and lines. Never empty.
pub fn repository(files: &BTreeMap<String, String>) -> Result<Parsed, Vec<Problem>> {
    let mut documents = Documents { files, read: BTreeMap::new(), problems: Problems::default() };
    let folders = folders(files, &mut documents.problems);
    let names: BTreeSet<EnvironmentName> = folders.iter().map(|(_, name)| name.clone()).collect();
    let mut environments = BTreeMap::new();
    let mut sharing = Sharing::default();
    for (folder, name) in &folders {
        let spec = documents.environment(folder, name, &names, &mut sharing);
        environments.extend(spec.map(|spec| (name.clone(), spec)));
    }
    documents.warn_of_unread();
    let (problems, warnings) = documents.problems.into_sorted();
    if problems.is_empty() { Ok(Parsed { environments, warnings }) } else { Err(problems) }
}

/// The version of the main track in a release.toml that may be old or broken: for walking history.
pub fn main_version(release_toml: &str) -> Option<Version> {
    version_of(&lenient(release_toml)?, "main")
}

/// The versions that a release.toml, which may be old or broken, makes targets: main's, then the canary's if it has
/// one. What cannot be read is left out. For walking history.
pub fn targets(release_toml: &str) -> Vec<Version> {
    let table = lenient(release_toml).unwrap_or_default();
    ["main", "canary"].iter().filter_map(|track| version_of(&table, track)).collect()
}

fn lenient(release_toml: &str) -> Option<toml::Table> {
    if release_toml.len() > tree::MAX_FILE_BYTES {
        return None;
    }
    release_toml.parse().ok()
}

fn version_of(release: &toml::Table, track: &str) -> Option<Version> {
    Version::parse(release.get(track)?.get("version")?.as_str()?).ok()
}

/// The folders below `environments/` that hold one of the two files, with the environment's name.
fn folders(files: &BTreeMap<String, String>, problems: &mut Problems) -> Vec<(String, EnvironmentName)> {
    let folder = |path: &String| {
        let (folder, file) = path.strip_prefix("environments/")?.rsplit_once('/')?;
        (!folder.contains('/') && [ENVIRONMENT, RELEASE].contains(&file)).then(|| folder.to_owned())
    };
    let folders: BTreeSet<String> = files.keys().filter_map(folder).collect();
    if folders.is_empty() {
        let message =
            "there is no environment: environments/NAME/environment.toml and environments/NAME/release.toml";
        problems.add(&start_of("environments"), message);
    }
    let mut named = Vec::new();
    for folder in folders {
        match EnvironmentName::parse(&folder) {
            Ok(name) => named.push((format!("environments/{folder}"), name)),
            Err(error) => problems.add(&start_of(&format!("environments/{folder}")), error),
        }
    }
    named
}

fn start_of(path: &str) -> Position {
    Position { file: Rc::new(File { path: path.to_owned(), text: String::new() }), offset: 0 }
}

/// The files of the commit, each parsed at most once.
struct Documents<'a> {
    files: &'a BTreeMap<String, String>,
    read: BTreeMap<String, Option<Rc<Node>>>,
    problems: Problems,
}

impl Documents<'_> {
    /// A file's tree; `None` when it is missing or has a syntax error.
    fn tree(&mut self, path: &str) -> Option<Rc<Node>> {
        if let Some(known) = self.read.get(path) {
            return known.clone();
        }
        let text = self.files.get(path)?;
        let tree = tree::read(path, text, &mut self.problems);
        self.read.insert(path.to_owned(), tree.clone());
        tree
    }

    /// One environment. `None` after a problem that leaves nothing to go on with.
    fn environment(
        &mut self,
        folder: &str,
        name: &EnvironmentName,
        names: &BTreeSet<EnvironmentName>,
        sharing: &mut Sharing,
    ) -> Option<EnvironmentSpec> {
        let release = self.release(folder);
        let file = self.environment_file(folder)?;
        let problems = &mut self.problems;
        let fleet::Resolved { mut fleet, mut hosts } = fleet::resolve(&file, problems);
        let around = Surroundings { name, environments: names, fleet: &fleet };
        let policy = policy::resolve(&file, &around, &mut hosts, problems);
        fleet.policy = policy;
        sharing.claim(name, &hosts, problems);
        let release = release?;
        let context = Context { file: &file, fleet: &fleet, hosts: &hosts, files: self.files };
        let canary = exceptions::canary(&release, &context, problems);
        let exceptions = exceptions::resolve(&release, &context, problems);
        let main = release.main.get()?;
        let target = main.version.get()?.value.clone();
        Some(EnvironmentSpec { fleet, target, direction: main.direction, canary, exceptions })
    }

    fn release(&mut self, folder: &str) -> Option<At<RawRelease>> {
        let tree = self.required(&format!("{folder}/{RELEASE}"))?;
        At::read(&tree, &mut self.problems)
    }

    fn environment_file(&mut self, folder: &str) -> Option<At<RawEnvironment>> {
        let path = format!("{folder}/{ENVIRONMENT}");
        let own = self.required(&path)?;
        let merged = match own.get("extends") {
            Some(extends) => Rc::new(tree::merge(&*self.extended(&path, extends)?, &own)),
            None => own,
        };
        At::read(&merged, &mut self.problems)
    }

    fn required(&mut self, path: &str) -> Option<Rc<Node>> {
        if !self.files.contains_key(path) {
            self.problems.add(&start_of(path), "this file is missing");
        }
        self.tree(path)
    }

    /// The file that `extends` names.
    fn extended(&mut self, from: &str, extends: &Node) -> Option<Rc<Node>> {
        let Value::Text(target) = &extends.value else {
            return super::read::expected("a path to a .toml file", extends, &mut self.problems);
        };
        let Some(path) = tree::relative_path(from, target) else {
            self.problems.add(&extends.at, format!("`{target}` leaves the repository"));
            return None;
        };
        if !self.files.contains_key(&path) {
            let known = self.files.keys().map(String::as_str);
            self.problems.unknown(&extends.at, format!("there is no file {path}"), &path, known);
            return None;
        }
        let base = self.tree(&path)?;
        if base.has("extends") {
            let message = format!("{path} is extended itself, so it may not extend another file");
            self.problems.add(base.key_at("extends"), message);
            return None;
        }
        Some(base)
    }

    /// A misspelled file name must not go unnoticed.
    fn warn_of_unread(&mut self) {
        for path in self.files.keys().filter(|path| path.starts_with("environments/")) {
            if path.ends_with(".toml") && !self.read.contains_key(path) {
                self.problems.warn(&start_of(path), "nothing reads this file");
            }
        }
    }
}

/// Which environment has which host.
#[derive(Default)]
struct Sharing {
    owners: BTreeMap<HostName, EnvironmentName>,
}

impl Sharing {
    /// A host takes its version from one environment. Load balancer nodes may be shared.
    fn claim(&mut self, environment: &EnvironmentName, hosts: &Hosts, problems: &mut Problems) {
        // One message for each range and each other environment, not one for each host.
        let mut taken: BTreeMap<(String, usize, EnvironmentName), (Position, Vec<HostName>)> =
            BTreeMap::new();
        for (host, (_, at)) in &hosts.owners {
            match self.owners.get(host) {
                Some(other) => {
                    let key = (at.file.path.clone(), at.offset, other.clone());
                    taken.entry(key).or_insert_with(|| (at.clone(), Vec::new())).1.push(host.clone());
                }
                None => drop(self.owners.insert(host.clone(), environment.clone())),
            }
        }
        for ((_, _, other), (at, hosts)) in taken {
            problems.add(&at, format!("{} already in environment `{other}`", some_of(&hosts)));
        }
    }
}
