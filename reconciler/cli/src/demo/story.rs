//! Tells what happens by reading the service's journal, as any other process may.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use model::{CommitId, Event, Recorded};
use store::{JournalError, JournalReader};

use super::Stage;
use crate::error::CliError;
use crate::output;
use crate::paint::Paint;
use crate::render::{event::Teller, length};

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A rollout of the demo takes less than a minute, on slow machines some.
const PATIENCE: Duration = Duration::from_secs(600);

/// How far the journal has been told.
pub(super) struct Story {
    state_dir: PathBuf,
    told: u64,
    teller: Teller,
}

impl Story {
    pub(super) fn new(state_dir: PathBuf) -> Self {
        Self { state_dir, told: 0, teller: Teller::of_progress(Paint::stdout()) }
    }

    /// Tells until a commit is converged. False: it takes too long.
    pub(super) async fn until_converged(
        &mut self,
        commit: CommitId,
        stage: &mut impl Stage,
    ) -> Result<bool, CliError> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            for recorded in self.news()? {
                self.told = recorded.seq;
                if let Some(line) = self.teller.line(&recorded) {
                    output::data(&format!("  {line}"))?;
                }
                if matches!(&recorded.event, Event::Converged { commit: done, .. } if *done == commit) {
                    let took = SignedDuration::try_from(began.elapsed()).unwrap_or_default();
                    output::data(&format!("  took {}", length(took)))?;
                    return Ok(true);
                }
            }
            stage.check()?;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        output::aside(&format!("not converged after {} s; the last line above says why", PATIENCE.as_secs()));
        Ok(false)
    }

    fn news(&self) -> Result<Vec<Recorded>, CliError> {
        match JournalReader::open_read_only(&self.state_dir) {
            Ok(reader) => Ok(reader.replay_after(self.told)?),
            // The service has not come that far.
            Err(JournalError::Missing { .. }) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}
