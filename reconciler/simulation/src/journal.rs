//! A journal in memory that outlives services, and can refuse, or stop a service after any event.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::{Journal, JournalError};
use jiff::Timestamp;
use model::{Event, Recorded};
use tokio_util::sync::CancellationToken;

/// A journal in memory. Clones are handles on the same one.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournal {
    memory: Arc<Mutex<Memory>>,
    /// Which opening this handle belongs to.
    opening: u64,
}

#[derive(Debug, Default)]
struct Memory {
    events: Vec<Recorded>,
    /// Handles of earlier openings are dead.
    opening: u64,
    refuses: bool,
    slow_ms: u64,
    stop: Option<(usize, CancellationToken)>,
    stopped: bool,
}

impl MemoryJournal {
    /// A journal in which nothing was ever written.
    pub fn new() -> Self {
        Self::holding(Vec::with_capacity(256))
    }

    /// A journal that holds these events already.
    pub fn holding(events: Vec<Recorded>) -> Self {
        let memory = Memory { events, ..Memory::default() };
        Self { memory: Arc::new(Mutex::new(memory)), opening: 0 }
    }

    /// From now on appends are refused, or accepted again. What was refused is not written.
    pub fn refuse(&self, refuses: bool) {
        self.memory().refuses = refuses;
    }

    /// From now on whoever writes waits for so long; 0: no more.
    pub(crate) fn takes(&self, slow_ms: u64) {
        self.memory().slow_ms = slow_ms;
    }

    /// For how long whoever writes has to wait.
    pub(crate) fn slow_ms(&self) -> u64 {
        self.memory().slow_ms
    }

    /// Whether it refuses to be written.
    pub(crate) fn refuses(&self) -> bool {
        self.memory().refuses
    }

    /// The returned token is cancelled as soon as `events` events are in the journal; from then on every handle is
    /// refused, as if its process were gone, until [`MemoryJournal::reopen`].
    ///
    /// Events that are appended together are written together, so that the journal may then hold a few more.
    pub fn stop_after(&self, events: usize) -> CancellationToken {
        let token = CancellationToken::new();
        let mut memory = self.memory();
        memory.stop = Some((events, token.clone()));
        memory.stop_when_due();
        token
    }

    /// The journal as the next process finds it. Handles from before are dead: they can neither read nor write.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let mut memory = self.memory();
        memory.opening += 1;
        memory.stop = None;
        memory.stopped = false;
        Self { memory: Arc::clone(&self.memory), opening: memory.opening }
    }

    /// Everything in it, whoever asks.
    pub fn events(&self) -> Vec<Recorded> {
        self.memory().events.clone()
    }

    /// Shows everything in it but the first `from` events, whoever asks.
    pub(crate) fn shows_from(&self, from: usize, each: impl FnMut(&Recorded)) {
        self.memory().events.get(from..).unwrap_or_default().iter().for_each(each);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) -> Result<MutexGuard<'_, Memory>, JournalError> {
        let memory = self.memory();
        let refusal = match () {
            () if self.opening != memory.opening => Some("another process holds it"),
            () if memory.stopped => Some("the process was stopped"),
            () => None,
        };
        refusal.map_or(Ok(memory), |what| Err(JournalError { what: what.to_owned() }))
    }
}

impl Memory {
    fn stop_when_due(&mut self) {
        if let Some((_, token)) = self.stop.take_if(|(after, _)| self.events.len() >= *after) {
            self.stopped = true;
            token.cancel();
        }
    }
}

impl Journal for MemoryJournal {
    fn append(&self, at: Timestamp, events: &[Event]) -> Result<Vec<Recorded>, JournalError> {
        let mut memory = self.opened()?;
        if memory.refuses {
            return Err(JournalError { what: "disk I/O error".to_owned() });
        }
        let from = memory.events.len();
        for event in events {
            let seq = memory.events.len() as u64 + 1;
            memory.events.push(Recorded { seq, at, event: event.clone() });
        }
        memory.stop_when_due();
        Ok(memory.events[from..].to_vec())
    }

    fn replay(&self) -> Result<Vec<Recorded>, JournalError> {
        Ok(self.opened()?.events.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(reason: &str) -> Event {
        Event::WaitingChanged { environment: "production".into(), reason: Some(reason.to_owned()) }
    }

    #[test]
    fn a_refused_append_writes_nothing_and_the_next_one_takes_its_place() {
        let journal = MemoryJournal::new();
        journal.refuse(true);
        assert!(journal.append(Timestamp::UNIX_EPOCH, &[event("a")]).is_err());
        journal.refuse(false);
        let written = journal.append(Timestamp::UNIX_EPOCH, &[event("b")]).unwrap();
        assert_eq!(written[0].seq, 1);
        assert_eq!(journal.replay().unwrap(), written);
    }

    #[test]
    fn a_service_is_stopped_exactly_after_the_event_asked_for() {
        let journal = MemoryJournal::new();
        let stop = journal.stop_after(2);
        journal.append(Timestamp::UNIX_EPOCH, &[event("a")]).unwrap();
        assert!(!stop.is_cancelled());
        journal.append(Timestamp::UNIX_EPOCH, &[event("b")]).unwrap();
        assert!(stop.is_cancelled());
        assert!(journal.append(Timestamp::UNIX_EPOCH, &[event("c")]).is_err());

        let next = journal.reopen();
        assert_eq!(next.replay().unwrap().len(), 2);
        assert_eq!(next.append(Timestamp::UNIX_EPOCH, &[event("d")]).unwrap()[0].seq, 3);
        assert!(journal.replay().is_err(), "the old process's handle is dead");
    }
}
