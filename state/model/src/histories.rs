//! Every environment's history, folded from one journal.

use std::collections::BTreeMap;

use crate::event::{Event, Recorded};
use crate::history::{History, IllegalEvent};
use crate::ids::{EnvironmentName, Generation};

/// The fold of a journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histories {
    environments: BTreeMap<EnvironmentName, History>,
    /// The newest service: an environment that is first mentioned later begins under it.
    service: Option<(Generation, String)>,
}

impl Histories {
    /// Folds a whole journal.
    ///
    /// # Errors
    /// [`IllegalEvent`] of the first event that cannot follow, with its place.
    pub fn replay(journal: &[Recorded]) -> Result<Self, (u64, IllegalEvent)> {
        let mut histories = Self::default();
        for recorded in journal {
            histories.apply(recorded).map_err(|illegal| (recorded.seq, illegal))?;
        }
        Ok(histories)
    }

    /// Takes in one event.
    ///
    /// # Errors
    /// [`IllegalEvent`] when it cannot follow.
    pub fn apply(&mut self, recorded: &Recorded) -> Result<(), IllegalEvent> {
        let Recorded { at, event, .. } = recorded;
        if let Event::ServiceStarted { generation, service, .. } = event {
            self.service = Some((*generation, service.clone()));
        }
        match event.environment() {
            Some(environment) if event.concerns_every_environment() => {
                self.of(&environment.clone());
                self.environments.values_mut().try_for_each(|history| history.apply(*at, event))
            }
            Some(environment) => self.of(&environment.clone()).apply(*at, event),
            None => self.environments.values_mut().try_for_each(|history| history.apply(*at, event)),
        }
    }

    /// An environment's history; a new one under the newest service when it was never mentioned.
    pub fn of(&mut self, environment: &EnvironmentName) -> &mut History {
        if !self.environments.contains_key(environment) {
            let begun = self.begun(environment.clone());
            self.environments.insert(environment.clone(), begun);
        }
        self.environments.entry(environment.clone()).or_insert_with_key(|name| History::new(name.clone()))
    }

    fn begun(&self, environment: EnvironmentName) -> History {
        let mut history = History::new(environment);
        let any = self.environments.values().next();
        history.progress.released = any.map(|any| any.progress.released.clone()).unwrap_or_default();
        if let Some((generation, name)) = &self.service {
            history.generation = *generation;
            history.service.clone_from(name);
        }
        history
    }

    /// An environment's history, if it was ever mentioned.
    pub fn get(&self, environment: &EnvironmentName) -> Option<&History> {
        self.environments.get(environment)
    }

    /// Every environment that was ever mentioned.
    pub fn all(&self) -> impl Iterator<Item = &History> {
        self.environments.values()
    }

    /// The generation for the next service: higher than any before.
    pub fn next_generation(&self) -> Generation {
        Generation(self.service.as_ref().map_or(0, |(generation, _)| generation.0).saturating_add(1))
    }
}
