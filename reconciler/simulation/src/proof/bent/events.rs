//! What the journal gives back.

use engine::{Journal, JournalError};
use jiff::Timestamp;
use model::{Event, Recorded};

use crate::journal::MemoryJournal;
use crate::proof::sabotage::Sabotage;

/// The journal as a service with a defect remembers it; without one, as it is.
pub(crate) struct BentJournal {
    journal: MemoryJournal,
    how: Option<Sabotage>,
}

impl BentJournal {
    pub(crate) fn new(journal: MemoryJournal, how: Option<Sabotage>) -> Self {
        Self { journal, how }
    }
}

impl Journal for BentJournal {
    fn append(&self, at: Timestamp, events: &[Event]) -> Result<Vec<Recorded>, JournalError> {
        let mut written = self.journal.append(at, events)?;
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
