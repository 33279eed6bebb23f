//! What git and people have said, as the promises are judged by it: not as the service has understood it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use model::{CommitId, Desired, EnvironmentName, Event, Step, Version};

use crate::journal::MemoryJournal;
use crate::source::SimSource;

type Said = BTreeMap<EnvironmentName, Arc<Desired>>;

/// The repository, and what people asked of the service.
#[derive(Debug)]
pub(crate) struct Law {
    source: SimSource,
    journal: MemoryJournal,
    /// Commits that were asked for already.
    said: BTreeMap<CommitId, Said>,
    /// Events that were read already.
    read: usize,
    pauses: BTreeMap<EnvironmentName, (Timestamp, Timestamp)>,
    found_running: BTreeMap<EnvironmentName, BTreeSet<Version>>,
}

impl Law {
    pub(crate) fn new(source: SimSource, journal: MemoryJournal) -> Self {
        let (said, pauses, found_running) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { source, journal, said, read: 0, pauses, found_running }
    }

    /// What the commit that wants a step says; none: there is no such commit, or it is not valid.
    pub(crate) fn of(&mut self, step: &Step) -> Option<Arc<Desired>> {
        let Self { said, source, .. } = self;
        let said = said.entry(step.commit.clone()).or_insert_with(|| {
            let environments = source.said(&step.commit).unwrap_or_default();
            environments.into_iter().map(|(name, desired)| (name, Arc::new(desired))).collect()
        });
        said.get(&step.environment).cloned()
    }

    /// Whether a person's pause has been in force since before `known`, and still is.
    pub(crate) fn paused(&mut self, environment: &EnvironmentName, known: Timestamp) -> bool {
        self.read_on();
        self.pauses.get(environment).is_some_and(|(from, until)| *from < known && known < *until)
    }

    /// Whether a version was found running when the environment was taken as it was.
    pub(crate) fn was_found_running(&mut self, environment: &EnvironmentName, version: &Version) -> bool {
        self.read_on();
        self.found_running.get(environment).is_some_and(|versions| versions.contains(version))
    }

    fn read_on(&mut self) {
        for recorded in self.journal.events_from(self.read) {
            self.read += 1;
            match recorded.event {
                Event::Paused { environment, until, .. } => {
                    self.pauses.insert(environment, (recorded.at, until));
                }
                Event::Resumed { environment, .. } => {
                    self.pauses.remove(&environment);
                }
                Event::Adopted { environment, running, ahead, .. } => {
                    self.found_running
                        .entry(environment)
                        .or_default()
                        .extend(running.into_iter().chain(ahead));
                }
                _ => {}
            }
        }
    }
}
