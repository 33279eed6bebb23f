//! What the journal gives back.

use std::collections::BTreeSet;

use engine::{Journal, JournalError};
use jiff::Timestamp;
use model::{Action, Event, Recorded, StepId};

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
        match self.how {
            Some(Sabotage::PauseForgotten) => forgets_pauses(&mut events),
            Some(Sabotage::UnderWayForgotten) => forgets_under_way(&mut events),
            Some(Sabotage::ClaimForgotten) => forgets_claims(&mut events),
            _ => {}
        }
        Ok(events)
    }
}

fn forgets_pauses(events: &mut Vec<Recorded>) {
    events.retain(|recorded| !matches!(recorded.event, Event::Paused { .. }));
}

/// Steps that never ended, as if they had never begun.
fn forgets_under_way(events: &mut Vec<Recorded>) {
    let end = |recorded: &Recorded| match &recorded.event {
        Event::StepFinished { step, .. } => Some(step.clone()),
        _ => None,
    };
    let ended: BTreeSet<StepId> = events.iter().filter_map(end).collect();
    events.retain(|recorded| match &recorded.event {
        Event::StepStarted { step } => ended.contains(&step.id),
        _ => true,
    });
}

fn forgets_claims(events: &mut Vec<Recorded>) {
    let claim = |recorded: &Recorded| match &recorded.event {
        Event::StepStarted { step } => matches!(step.action, Action::Claim { .. }).then(|| step.id.clone()),
        _ => None,
    };
    let claims: BTreeSet<StepId> = events.iter().filter_map(claim).collect();
    events.retain(|recorded| match &recorded.event {
        Event::StepStarted { step } => !claims.contains(&step.id),
        Event::StepFinished { step, .. } => !claims.contains(step),
        _ => true,
    });
}
