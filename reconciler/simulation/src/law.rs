//! What git and people have said, as the promises are judged by it: not as the service has understood it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use model::{
    CommitId, Desired, EnvironmentName, Event, Generation, Recorded, RowId, StageName, Step, StepId, Version,
};

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
    /// What the service told that it has accepted.
    in_force: BTreeMap<EnvironmentName, CommitId>,
    /// The targets of those commits, oldest first.
    targets: BTreeMap<EnvironmentName, Vec<Version>>,
    /// Events that were read already.
    read: usize,
    /// The generation of the newest service.
    newest: Generation,
    /// Until when.
    pauses: BTreeMap<EnvironmentName, Timestamp>,
    /// Steps that were decided on meanwhile.
    in_pauses: BTreeSet<StepId>,
    found_running: BTreeMap<EnvironmentName, BTreeSet<Version>>,
    /// Steps that the newest service and those before it have begun.
    steps: BTreeSet<StepId>,
    /// Rows that steps under way are about.
    under_way: BTreeMap<StepId, BTreeSet<RowId>>,
    /// Rows of which nobody knows what a step has done to them.
    unsure: BTreeSet<RowId>,
    stages: BTreeMap<(EnvironmentName, StageName, Version), Timestamp>,
    /// Those that have not passed: with what, and since when.
    open: BTreeMap<(EnvironmentName, StageName), (Version, Timestamp)>,
    /// Steps that were decided on meanwhile, with the beginning of the first of their version's open stages.
    in_flight: BTreeMap<StepId, Timestamp>,
}

impl Law {
    pub(crate) fn new(source: SimSource, journal: MemoryJournal) -> Self {
        Self {
            source,
            journal,
            said: BTreeMap::new(),
            in_force: BTreeMap::new(),
            targets: BTreeMap::new(),
            read: 0,
            newest: Generation(0),
            pauses: BTreeMap::new(),
            in_pauses: BTreeSet::new(),
            found_running: BTreeMap::new(),
            steps: BTreeSet::new(),
            under_way: BTreeMap::new(),
            unsure: BTreeSet::new(),
            stages: BTreeMap::new(),
            open: BTreeMap::new(),
            in_flight: BTreeMap::new(),
        }
    }

    /// What the commit that wants a step says; none: there is no such commit, or it is not valid.
    pub(crate) fn of(&mut self, step: &Step) -> Option<Arc<Desired>> {
        self.read_on();
        self.said(&step.commit, &step.environment)
    }

    /// What the commit says that the service acts on.
    pub(crate) fn in_force(&mut self, environment: &EnvironmentName) -> Option<Arc<Desired>> {
        self.read_on();
        let commit = self.in_force.get(environment)?.clone();
        self.said(&commit, environment)
    }

    fn said(&mut self, commit: &CommitId, environment: &EnvironmentName) -> Option<Arc<Desired>> {
        let Self { said, source, .. } = self;
        let said = said.entry(commit.clone()).or_insert_with(|| {
            let environments = source.said(commit).unwrap_or_default();
            environments.into_iter().map(|(name, desired)| (name, Arc::new(desired))).collect()
        });
        said.get(environment).cloned()
    }

    /// Whether a step was decided on in a person's pause. Whenever it arrives: it may have been on its way before. A service
    /// that another one has taken over from does not hear of pauses.
    pub(crate) fn paused(&mut self, step: &Step) -> bool {
        self.read_on();
        step.generation >= self.newest && self.in_pauses.contains(&step.id)
    }

    /// Whether a service decided on a step that another one has taken over from, or whose journal was lost: what it remembers is
    /// in its own journal.
    pub(crate) fn is_older(&mut self, step: &Step) -> bool {
        self.read_on();
        let unheard_of = self.newest > Generation(0) && !self.steps.contains(&step.id);
        step.generation < self.newest || unheard_of
    }

    /// The generation of the newest service.
    pub(crate) fn newest(&mut self) -> Generation {
        self.read_on();
        self.newest
    }

    /// When the service told that a stage began, if it has.
    pub(crate) fn stage_began(&mut self, stage: &(EnvironmentName, StageName, Version)) -> Option<Timestamp> {
        self.read_on();
        self.stages.get(stage).copied()
    }

    /// Since when some stage of a step's version had begun that had not passed when the step was decided; none: there was no such
    /// stage.
    pub(crate) fn in_flight_since(&mut self, step: &Step) -> Option<Timestamp> {
        self.read_on();
        self.in_flight.get(&step.id).copied()
    }

    /// Versions that were targets after another one, which was one as well, in the order in which the service accepted them.
    pub(crate) fn targets_after(&self, environment: &EnvironmentName, version: &Version) -> &[Version] {
        let targets = self.targets.get(environment).map_or(&[][..], Vec::as_slice);
        let at = targets.iter().position(|target| target == version);
        at.and_then(|at| targets.get(at + 1..)).unwrap_or_default()
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

    /// Whether a service that began waits for an environment to be adopted: before that it may change nothing.
    pub(crate) fn waits_for_adoption(&mut self, environment: &EnvironmentName) -> bool {
        self.read_on();
        self.newest > Generation(0) && !self.found_running.contains_key(environment)
    }

    /// Whether a step began that was to change a row, and nobody heard how it ended: the row may be out by us.
    pub(crate) fn may_have_changed(&mut self, row: &RowId) -> bool {
        self.read_on();
        self.unsure.contains(row)
    }

    fn follow_rows(&mut self, event: &Event) {
        match event {
            Event::StepStarted { step } => {
                self.steps.insert(step.id.clone());
                if let Some(rows) = step.action.rows() {
                    self.under_way.insert(step.id.clone(), rows.clone());
                }
            }
            Event::StepFinished { step, result, .. } => {
                let rows = self.under_way.remove(step).unwrap_or_default();
                match result {
                    Ok(_) => self.unsure.retain(|row| !rows.contains(row)),
                    Err(_) => self.unsure.extend(rows),
                }
            }
            Event::ServiceStarted { .. } => {
                self.unsure.extend(std::mem::take(&mut self.under_way).into_values().flatten());
            }
            _ => {}
        }
    }

    /// What was begun with a version that is no target of its track any more is not in flight, also where it is one again later.
    fn leave_stages(&mut self, environment: &EnvironmentName, commit: &CommitId) {
        let Some(desired) = self.said(commit, environment) else { return };
        let stages = desired.fleet.stages();
        self.open.retain(|(of, name), (version, _)| {
            let stage = stages.iter().find(|stage| stage.name == *name);
            of != environment || stage.is_none_or(|stage| desired.target_of(stage.track) == version)
        });
    }

    fn follow_stages(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::Accepted { environment, commit, .. } => self.leave_stages(environment, commit),
            Event::StageBegan { environment, stage, version } => {
                self.stages.insert((environment.clone(), stage.clone(), version.clone()), at);
                self.open.insert((environment.clone(), stage.clone()), (version.clone(), at));
            }
            // A stage in which there was nothing to do has begun all the same: a host may come back to it.
            Event::StageWorked { environment, stage, version } => {
                self.stages.entry((environment.clone(), stage.clone(), version.clone())).or_insert(at);
                let open = self.open.entry((environment.clone(), stage.clone()));
                let open = open.or_insert_with(|| (version.clone(), at));
                if open.0 != *version {
                    *open = (version.clone(), at);
                }
            }
            Event::StagePassed { environment, stage, version } => {
                self.stages.entry((environment.clone(), stage.clone(), version.clone())).or_insert(at);
                self.open.remove(&(environment.clone(), stage.clone()));
            }
            Event::StepStarted { step } => {
                let of_release = self.open.iter().filter(|((environment, _), (version, _))| {
                    *environment == step.environment && *version == step.version
                });
                let first = of_release.map(|(_, (_, began))| *began).min();
                self.in_flight.extend(first.map(|began| (step.id.clone(), began)));
            }
            _ => {}
        }
    }

    fn read_on(&mut self) {
        let journal = self.journal.clone();
        journal.shows_from(self.read, |recorded| self.follow(recorded));
    }

    fn follow(&mut self, recorded: &Recorded) {
        self.read += 1;
        self.follow_rows(&recorded.event);
        self.follow_stages(recorded.at, &recorded.event);
        match &recorded.event {
            Event::ServiceStarted { generation, .. } => self.newest = *generation,
            Event::Accepted { environment, commit, version, canary, .. } => {
                let targets = self.targets.entry(environment.clone()).or_default();
                for version in [version].into_iter().chain(canary) {
                    if !targets.contains(version) {
                        targets.push(version.clone());
                    }
                }
                self.in_force.insert(environment.clone(), commit.clone());
            }
            Event::Paused { environment, until, .. } => {
                self.pauses.insert(environment.clone(), *until);
            }
            Event::Resumed { environment, .. } => {
                self.pauses.remove(environment);
            }
            Event::StepStarted { step }
                if self.pauses.get(&step.environment).is_some_and(|until| recorded.at < *until) =>
            {
                self.in_pauses.insert(step.id.clone());
            }
            Event::Adopted { environment, running, ahead, .. } => {
                let found = self.found_running.entry(environment.clone()).or_default();
                found.extend(running.iter().chain(ahead).cloned());
            }
            _ => {}
        }
    }
}
