//! The service's memory: the journal, and the histories folded from it, always in step.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use model::{EnvironmentName, Event, Histories, History, Recorded};
use tokio::sync::broadcast;

use crate::clock::Clock;
use crate::seams::{Journal, JournalError, World};

/// Events that a slow reader may lag behind before it misses some: a rollout of some hundred hosts.
const EVENT_BACKLOG: usize = 4096;

/// What is told to whoever listens. Before anybody does, there is no backlog. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<OnceLock<broadcast::Sender<Recorded>>>);

impl Events {
    /// Every event from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Recorded> {
        self.0.get_or_init(|| broadcast::channel(EVENT_BACKLOG).0).subscribe()
    }

    fn tell(&self, recorded: Recorded) {
        if let Some(listeners) = self.0.get() {
            // Nobody listening any more is no error.
            let _ = listeners.send(recorded);
        }
    }
}

/// Owned by the service loop alone.
pub(crate) struct Memory<J> {
    journal: Arc<J>,
    histories: Histories,
    /// Ends of steps that could not be written yet. Until they are, their steps count as in flight.
    unwritten: Vec<(Timestamp, Event)>,
    error: Option<String>,
    events: Events,
}

impl<J: Journal> Memory<J> {
    /// Reads the journal back, and takes it for a new generation. The clock never goes back behind what was written.
    pub(crate) fn open<W: World>(
        journal: Arc<J>,
        service: &str,
        world: Arc<W>,
    ) -> Result<(Self, Clock<W>), JournalError> {
        let replayed = journal.replay()?;
        let clock = Clock::from(world, replayed.last().map_or(Timestamp::MIN, |recorded| recorded.at));
        let histories = Histories::replay(&replayed).map_err(|(seq, illegal)| JournalError {
            what: format!(
                "event {seq} cannot follow what came before ({illegal}); this is a bug, please report it"
            ),
        })?;
        let started = Event::ServiceStarted {
            generation: histories.next_generation(),
            service: service.to_owned(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let (unwritten, error, events) = (Vec::new(), None, Events::default());
        let mut memory = Self { journal, histories, unwritten, error, events };
        memory.write(clock.now(), &[started])?;
        Ok((memory, clock))
    }

    pub(crate) fn events(&self) -> Events {
        self.events.clone()
    }

    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    pub(crate) fn history(&mut self, environment: &EnvironmentName) -> &History {
        self.histories.of(environment)
    }

    /// Every environment that the journal ever mentioned.
    pub(crate) fn histories(&self) -> impl Iterator<Item = &History> {
        self.histories.all()
    }

    /// Writes events that something will be built on. False: nothing was written, and nothing may start.
    pub(crate) fn record(&mut self, at: Timestamp, events: &[Event]) -> bool {
        if events.is_empty() {
            return true;
        }
        if !self.flush() {
            return false;
        }
        self.tell(at, events)
    }

    /// Keeps events that have happened already, and writes them as soon as it can.
    pub(crate) fn keep(&mut self, at: Timestamp, event: Event) {
        self.unwritten.push((at, event));
        self.flush();
    }

    /// Writes what was kept. False: the journal still refuses.
    pub(crate) fn flush(&mut self) -> bool {
        let mut kept = std::mem::take(&mut self.unwritten).into_iter();
        while let Some((at, event)) = kept.next() {
            if !self.tell(at, std::slice::from_ref(&event)) {
                self.unwritten.push((at, event));
                self.unwritten.extend(kept);
                return false;
            }
        }
        true
    }

    fn tell(&mut self, at: Timestamp, events: &[Event]) -> bool {
        let written = self.write(at, events);
        let refused = written.as_ref().err().map(ToString::to_string);
        // It is tried many times a second; it is said once.
        if let Some(error) = refused.as_ref().filter(|_| self.error != refused) {
            tracing::error!(error, "nothing new is started until the journal can be written");
        }
        self.error = refused;
        written.is_ok()
    }

    fn write(&mut self, at: Timestamp, events: &[Event]) -> Result<(), JournalError> {
        for recorded in self.journal.append(at, events)? {
            if let Err(illegal) = self.histories.apply(&recorded) {
                tracing::error!(seq = recorded.seq, %illegal, "an event cannot follow; this is a bug, please report it");
            }
            self.events.tell(recorded);
        }
        Ok(())
    }
}
