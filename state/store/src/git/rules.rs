//! The rules of the desired-state files, as the source needs them. (stand-in)
use std::collections::BTreeMap;

use jiff::SignedDuration;
use model::{Deadlines, Direction, EnvironmentName, Fleet, Limit, Mode, Version};

use super::files::Files;

pub(super) struct Spec {
    pub(super) fleet: Fleet,
    pub(super) target: Version,
    pub(super) direction: Option<Direction>,
}

pub(super) struct Ruled {
    pub(super) environments: BTreeMap<EnvironmentName, Spec>,
    pub(super) warnings: Vec<String>,
}

pub(super) fn repository(files: &Files) -> Result<Ruled, Vec<String>> {
    let mut environments = BTreeMap::new();
    let mut errors = Vec::new();
    for (path, text) in files {
        for (n, line) in text.lines().enumerate() {
            if line.starts_with("nonsense") {
                errors.push(format!("{path}:{}:1: unknown key", n + 1));
            }
        }
        if let Some(name) = path.strip_prefix("environments/").and_then(|p| p.strip_suffix("/release.toml")) {
            match main_version(text) {
                Some(target) => {
                    let fleet = Fleet {
                        mode: Mode::Reconcile,
                        roles: vec![],
                        load_balancers: vec![],
                        backend_limit: Limit::Count(1),
                        max_parallel: 1,
                        deadlines: Deadlines {
                            step: SignedDuration::from_secs(1),
                            rollout: SignedDuration::from_secs(1),
                        },
                    };
                    environments.insert(EnvironmentName::new(name), Spec { fleet, target, direction: None });
                }
                None => errors.push(format!("{path}:1:1: no version")),
            }
        }
    }
    if errors.is_empty() { Ok(Ruled { environments, warnings: vec![] }) } else { Err(errors) }
}

pub(super) fn main_version(text: &str) -> Option<Version> {
    let line = text.lines().find_map(|line| line.strip_prefix("version = \""))?;
    Version::parse(line.trim_end_matches('"')).ok()
}
