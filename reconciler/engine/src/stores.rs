//! The durable implementations of two seams: the journal in SQLite, the desired state in git.

use jiff::Timestamp;
use model::{CommitId, Event, Reading, Recorded, ReleaseEdit};
use store::{GitSource, SqliteJournal};

use crate::seams::{Journal, JournalError, Source};

impl Journal for SqliteJournal {
    fn append(&self, at: Timestamp, events: &[Event]) -> Result<Vec<Recorded>, JournalError> {
        Self::append(self, at, events).map_err(|error| in_words(&error))
    }

    fn replay(&self) -> Result<Vec<Recorded>, JournalError> {
        Self::replay(self).map_err(|error| in_words(&error))
    }
}

impl Source for GitSource {
    async fn read(&self) -> Reading {
        Self::read(self).await
    }

    async fn changed(&self) {
        Self::changed(self).await;
    }

    async fn accept_history(&self, commit: &CommitId) -> Result<(), String> {
        Self::accept_history(self, commit).await
    }

    async fn commit(&self, edit: &ReleaseEdit) -> Result<CommitId, String> {
        self.commit_release(edit).await.map_err(|error| causes(&error))
    }
}

/// With every cause, since the seam carries text alone.
fn in_words(error: &dyn std::error::Error) -> JournalError {
    JournalError { what: causes(error) }
}

fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
