//! Each environment's database: which migrations ran against it, as it counts them itself.

use std::collections::BTreeMap;

use model::{EnvironmentName, JobKey, JobKind, StepId, Version};

use crate::state::State;

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
}

impl Database {
    pub(crate) fn has(&self, kind: &JobKind, version: &Version) -> bool {
        self.rows.iter().any(|row| row.kind == *kind && row.version == *version)
    }
}

impl State {
    /// Migrations begin.
    pub(crate) fn database_begins(&mut self, environment: &EnvironmentName, key: &JobKey, step: &StepId) {
        let database = self.databases.entry(environment.clone()).or_default();
        let done = database.has(&key.kind, &key.version);
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
