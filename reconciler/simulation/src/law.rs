//! What git and people have said, as the promises are judged by it: not as the service has understood it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use model::{CommitId, Desired, EnvironmentName, Event, Generation, StageName, Step, Version};

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
    /// The generation of the newest service.
    newest: Generation,
    pauses: BTreeMap<EnvironmentName, (Timestamp, Timestamp)>,
    found_running: BTreeMap<EnvironmentName, BTreeSet<Version>>,
    stages: BTreeMap<(EnvironmentName, StageName, Version), Timestamp>,
}

impl Law {
    pub(crate) fn new(source: SimSource, journal: MemoryJournal) -> Self {
        let (said, pauses, found_running) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self {
            source,
            journal,
            said,
            read: 0,
            newest: Generation(0),
            pauses,
            found_running,
            stages: BTreeMap::new(),
        }
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

    /// Whether a person's pause has been in force for longer than `crossing`, and will be for a moment. A service that
    /// another one has taken over from does not hear of pauses.
    pub(crate) fn paused(&mut self, step: &Step, now: Timestamp, crossing: SignedDuration) -> bool {
        self.read_on();
        let moment = SignedDuration::from_millis(2);
        let in_force =
            |(from, until): &(Timestamp, Timestamp)| *from + crossing < now && now + moment < *until;
        step.generation >= self.newest && self.pauses.get(&step.environment).is_some_and(in_force)
    }

    /// When the service told that a stage began, if it has.
    pub(crate) fn stage_began(&mut self, stage: &(EnvironmentName, StageName, Version)) -> Option<Timestamp> {
        self.read_on();
        self.stages.get(stage).copied()
    }

    /// Whether the commit that wants a step was ever in force.
    pub(crate) fn accepts(&self, step: &Step) -> bool {
        self.source.was_accepted(&step.commit)
    }

    /// Whether a version was found running when the environment was taken as it was.
    pub(crate) fn was_found_running(&mut self, environment: &EnvironmentName, version: &Version) -> bool {
        self.read_on();
        self.found_running.get(environment).is_some_and(|versions| versions.contains(version))
    }

    /// Whether an environment was taken as it was found: before that nothing may begin.
    pub(crate) fn is_adopted(&mut self, environment: &EnvironmentName) -> bool {
        self.read_on();
        self.found_running.contains_key(environment)
    }

    fn read_on(&mut self) {
        for recorded in self.journal.events_from(self.read) {
            self.read += 1;
            match recorded.event {
                Event::ServiceStarted { generation, .. } => self.newest = generation,
                Event::StageBegan { environment, stage, version } => {
                    self.stages.insert((environment, stage, version), recorded.at);
                }
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
