//! Each environment's database: which migrations ran against it, as it counts them itself.

use std::collections::{BTreeMap, BTreeSet};

use model::{EnvironmentName, JobKey, JobKind, StepId, Version};

use crate::state::State;
use crate::world::SimWorld;

/// A row of the table of migrations: one for every run that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationRow {
    /// Before or after a version serves.
    pub kind: JobKind,
    /// Whose migrations.
    pub version: Version,
}

/// An environment's database.
#[derive(Debug, Default)]
pub(crate) struct Database {
    pub(crate) rows: Vec<MigrationRow>,
    running: BTreeMap<JobKey, u32>,
    /// Runs that vanished: only this table tells whether they were done.
    in_doubt: BTreeSet<JobKey>,
    /// Those of them that a person has asked for once more since.
    asked_again: BTreeSet<JobKey>,
}

impl Database {
    pub(crate) fn has(&self, kind: &JobKind, version: &Version) -> bool {
        self.rows.iter().any(|row| row.kind == *kind && row.version == *version)
    }

    /// Whether they must not begin again: done, and no person who could not know it asked for them.
    pub(crate) fn must_not_repeat(&self, key: &JobKey) -> bool {
        self.has(&key.kind, &key.version) && !self.asked_again.contains(key)
    }
}

impl SimWorld {
    /// A person wants what is in doubt to be run once more.
    pub fn person_asks_again(&self, environment: &EnvironmentName) {
        if let Some(database) = self.state().databases.get_mut(environment) {
            database.asked_again.extend(database.in_doubt.iter().cloned());
        }
    }
}

impl State {
    /// A run vanished, and may have been done.
    pub(crate) fn database_is_left(&mut self, environment: &EnvironmentName, key: &JobKey, wrote: bool) {
        self.database_ends(environment, key, wrote);
        self.databases.entry(environment.clone()).or_default().in_doubt.insert(key.clone());
    }

    /// Migrations begin.
    pub(crate) fn database_begins(&mut self, environment: &EnvironmentName, key: &JobKey, step: &StepId) {
        let database = self.databases.entry(environment.clone()).or_default();
        let done = database.must_not_repeat(key);
        let running = database.running.entry(key.clone()).or_default();
        *running += 1;
        let twice = *running > 1;
        self.migrates_once(environment, key, step, done, twice);
    }

    pub(crate) fn database_ends(&mut self, environment: &EnvironmentName, key: &JobKey, wrote: bool) {
        let database = self.databases.entry(environment.clone()).or_default();
        if let Some(running) = database.running.get_mut(key) {
            *running = running.saturating_sub(1);
        }
        if wrote {
            database.rows.push(MigrationRow { kind: key.kind.clone(), version: key.version.clone() });
        }
    }
}
