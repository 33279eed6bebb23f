//! What the journal gives back.

use engine::{Journal, JournalError};
use jiff::Timestamp;
use model::{Event, Recorded};

use crate::journal::MemoryJournal;
use crate::proof::sabotage::Sabotage;
use crate::world::SimWorld;

/// The journal as a service with a defect remembers it; without one, as it is. Where it is slow, the process that writes
/// waits.
pub(crate) struct BentJournal {
    journal: MemoryJournal,
    writer: SimWorld,
    how: Option<Sabotage>,
}

impl BentJournal {
    pub(crate) fn new(journal: MemoryJournal, writer: SimWorld, how: Option<Sabotage>) -> Self {
        Self { journal, writer, how }
    }
}

impl Journal for BentJournal {
    fn append(&self, at: Timestamp, events: &[Event]) -> Result<Vec<Recorded>, JournalError> {
        let mut written = self.journal.append(at, events)?;
        match self.journal.slow_ms() {
            0 => {}
            slow_ms => self.writer.is_held_up(slow_ms),
        }
        if self.how == Some(Sabotage::PauseForgotten) {
            forgets_pauses(&mut written);
        }
        Ok(written)
    }

    fn replay(&self) -> Result<Vec<Recorded>, JournalError> {
        let mut events = self.journal.replay()?;
        if self.how == Some(Sabotage::PauseForgotten) {
            forgets_pauses(&mut events);
        }
        Ok(events)
    }
}

fn forgets_pauses(events: &mut Vec<Recorded>) {
    events.retain(|recorded| !matches!(recorded.event, Event::Paused { .. }));
}
