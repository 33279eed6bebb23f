//! From the journal back to what the service remembers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{EnvironmentName, Event, Generation, History, IllegalEvent, Recorded};

/// Every environment's memory, folded from the journal one event at a time: by replay and by the live service alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histories {
    environments: BTreeMap<EnvironmentName, History>,
    /// The newest start of a service: an environment that is first mentioned later belongs to it, too.
    started: Option<(Timestamp, Event)>,
    generation: Generation,
}

/// The journal holds an event that cannot follow the ones before it.
#[derive(Debug, thiserror::Error)]
#[error("event {seq} of the journal cannot follow those before it")]
pub struct ReplayError {
    /// Which.
    pub seq: u64,
    /// Why.
    #[source]
    pub source: IllegalEvent,
}

/// Folds a whole journal.
///
/// # Errors
/// [`ReplayError`] names the event that cannot follow.
pub fn histories(events: &[Recorded]) -> Result<BTreeMap<EnvironmentName, History>, ReplayError> {
    let mut histories = Histories::default();
    for recorded in events {
        histories.apply(recorded)?;
    }
    Ok(histories.environments)
}

impl Histories {
    /// Takes in one event, in every environment that it belongs to.
    ///
    /// # Errors
    /// [`ReplayError`]; what was folded before remains usable for reading only.
    pub fn apply(&mut self, recorded: &Recorded) -> Result<(), ReplayError> {
        let Recorded { seq, at, event } = recorded;
        self.take_in(*at, event).map_err(|source| ReplayError { seq: *seq, source })
    }

    /// One environment's memory, as of now; an environment that was never mentioned has an empty one.
    pub fn of(&mut self, environment: &EnvironmentName) -> &History {
        self.entry(environment)
    }

    /// Every environment that was ever mentioned.
    pub fn environments(&self) -> &BTreeMap<EnvironmentName, History> {
        &self.environments
    }

    /// What a service that starts now must call itself: higher than any before.
    pub fn next_generation(&self) -> Generation {
        Generation(self.generation.0 + 1)
    }

    fn take_in(&mut self, at: Timestamp, event: &Event) -> Result<(), IllegalEvent> {
        if let Event::ServiceStarted { generation, .. } = event {
            self.start(at, event, *generation)?;
        }
        match event.environment() {
            Some(environment) => self.entry(environment).apply(at, event),
            None => self.environments.values_mut().try_for_each(|history| history.apply(at, event)),
        }
    }

    /// Checked here as well, because the first service starts before any environment is mentioned.
    fn start(&mut self, at: Timestamp, event: &Event, generation: Generation) -> Result<(), IllegalEvent> {
        if generation <= self.generation {
            return Err(IllegalEvent::GenerationNotRising { old: self.generation, new: generation });
        }
        self.generation = generation;
        self.started = Some((at, event.clone()));
        Ok(())
    }

    fn entry(&mut self, environment: &EnvironmentName) -> &mut History {
        let started = &self.started;
        self.environments.entry(environment.clone()).or_insert_with(|| {
            let mut history = History::new(environment.clone());
            if let Some((at, event)) = started {
                // A start always follows on nothing.
                let _ = history.apply(*at, event);
            }
            history
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::SignedDuration;

    use super::*;
    use model::{Action, CommitId, HostName, Outcome, RoleName, Step, StepId, Version};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn started(generation: u64) -> Event {
        Event::ServiceStarted { generation: Generation(generation), program: "0.1.0".into() }
    }

    fn accepted(environment: &str) -> Event {
        Event::Accepted {
            environment: environment.into(),
            commit: CommitId::new("c0ffee"),
            author: "Ada".into(),
            subject: "Bump".into(),
            version: Version::parse("2.0").unwrap(),
        }
    }

    fn drain(id: &str) -> Step {
        Step {
            id: StepId::new(id),
            environment: "production".into(),
            host: HostName::new("web-1"),
            role: RoleName::new("web"),
            commit: CommitId::new("c0ffee"),
            generation: Generation(1),
            version: Version::parse("2.0").unwrap(),
            action: Action::Drain { rows: BTreeSet::new() },
            why: "to install 2.0".into(),
            deadline: SignedDuration::from_mins(15),
        }
    }

    fn finished(id: &str) -> Event {
        Event::StepFinished {
            environment: "production".into(),
            step: StepId::new(id),
            result: Ok(Outcome::Changed),
        }
    }

    fn record(events: &[Event]) -> Vec<Recorded> {
        let places = (1..).zip(events);
        places.map(|(seq, event)| Recorded { seq, at: at(seq.cast_signed()), event: event.clone() }).collect()
    }

    #[test]
    fn an_environment_first_mentioned_after_a_start_belongs_to_that_generation() {
        let all = histories(&record(&[started(1), started(4), accepted("production")])).unwrap();
        assert_eq!(all["production"].generation, Generation(4));
    }

    #[test]
    fn a_start_reaches_every_environment_known_by_then() {
        let events = record(&[started(1), accepted("production"), accepted("staging"), started(2)]);
        let all = histories(&events).unwrap();
        assert!(all.values().all(|history| history.generation == Generation(2)), "{all:?}");
    }

    #[test]
    fn the_next_service_is_one_higher_than_any_before() {
        let mut histories = Histories::default();
        assert_eq!(histories.next_generation(), Generation(1));
        for recorded in record(&[started(7)]) {
            histories.apply(&recorded).unwrap();
        }
        assert_eq!(histories.next_generation(), Generation(8));
        assert_eq!(histories.of(&"new".into()).generation, Generation(7));
    }

    #[test]
    fn a_generation_that_does_not_rise_is_named_by_its_place() {
        let error = histories(&record(&[started(2), started(2)])).unwrap_err();
        assert_eq!(error.seq, 2);
    }

    #[test]
    fn a_service_that_dies_after_any_event_leaves_a_journal_that_a_new_one_can_fold() {
        let life = [
            started(1),
            accepted("production"),
            Event::StepStarted { step: drain("p-1") },
            finished("p-1"),
            Event::StepStarted { step: drain("p-2") },
        ];
        for survived in 0..=life.len() {
            let mut events = life[..survived].to_vec();
            let mut before = Histories::default();
            for recorded in record(&events) {
                before.apply(&recorded).unwrap();
            }
            events.push(started(before.next_generation().0));
            events.push(accepted("production"));
            let all = histories(&record(&events)).unwrap();
            let history = &all["production"];
            assert_eq!(history.generation, before.next_generation(), "after {survived} events");
            assert!(history.in_flight.is_empty(), "after {survived} events");
            assert_eq!(history.drained.contains_key("web-1"), survived >= 3, "after {survived} events");
        }
    }
}
