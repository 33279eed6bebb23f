//! The journal as a command that changes nothing reads it.

use std::path::Path;

use jiff::Timestamp;
use model::{
    Desired, Event, Generation, Histories, History, Observed, Pass, Progress, ReachedShare, Recorded,
    Requirement, Track,
};
use store::{JournalError, JournalReader, StateLock};

use crate::error::CliError;
use crate::exit::Exit;

/// What is remembered, and by whom it is held now.
pub(crate) struct Memory {
    histories: Histories,
    service: String,
    known: bool,
}

impl Memory {
    /// Reads the journal of a state directory, when there is one. Takes nothing, writes nothing.
    ///
    /// When no service runs, steps under way are those of a dead one: they are taken as a service that starts now
    /// would take them.
    pub(crate) fn read(state_dir: &Path, service: &str, now: Timestamp) -> Result<Self, CliError> {
        let journal = match JournalReader::open_read_only(state_dir) {
            Ok(reader) => Some(reader.replay()?),
            Err(JournalError::Missing { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let known = journal.is_some();
        let mut histories = replay(&journal.unwrap_or_default())?;
        if StateLock::holder(state_dir)?.is_none() {
            let event = Event::ServiceStarted {
                generation: histories.next_generation(),
                service: service.to_owned(),
                program: env!("CARGO_PKG_VERSION").to_owned(),
            };
            histories.apply(&Recorded { seq: 0, at: now, event })?;
        }
        Ok(Self { histories, service: service.to_owned(), known })
    }

    /// Whether there is a journal at all.
    pub(crate) fn is_known(&self) -> bool {
        self.known
    }

    /// An environment's history. Without a journal the fleet is taken as it is found, with what the `accepted` commit
    /// says of it: what is not known must not look like a refusal.
    pub(crate) fn of(
        &mut self,
        desired: &Desired,
        accepted: Option<&Desired>,
        seen: &Observed,
        now: Timestamp,
    ) -> History {
        let mut history = self.histories.of(&desired.environment).clone();
        if !self.known {
            history.generation = Generation(engine::highest_generation(seen).0 + 1);
            history.service.clone_from(&self.service);
            as_found(&mut history.progress, desired, accepted, seen, now);
        }
        history
    }
}

/// What runs has been deployed and migrated, the accepted share is reached, and targets have passed what they must.
fn as_found(
    progress: &mut Progress,
    desired: &Desired,
    accepted: Option<&Desired>,
    seen: &Observed,
    now: Timestamp,
) {
    progress.adopted = Some(now);
    progress.found_running = planner::releases_running(desired, seen);
    progress.found_running.extend(planner::releases_ahead(desired, seen));
    progress.share = accepted.and_then(|accepted| accepted.canary.as_ref()).map(|canary| ReachedShare {
        version: canary.version.clone(),
        weight: canary.weight,
        at: now,
    });
    for track in [Track::Canary, Track::Main] {
        let (environment, of) = match desired.fleet.policy.promotion.of(track) {
            Some(Requirement::Canary) => (&desired.environment, Track::Canary),
            Some(Requirement::Environment(name)) => (name, Track::Main),
            None => continue,
        };
        let pass = Pass { at: now, stages: Vec::new(), word: None };
        let versions = progress.released.entry((environment.clone(), of)).or_default();
        versions.insert(desired.target_of(track).clone(), pass);
    }
}

fn replay(journal: &[Recorded]) -> Result<Histories, CliError> {
    Histories::replay(journal).map_err(|(seq, illegal)| {
        CliError::new(
            Exit::Bug,
            format!("event {seq} of the journal cannot follow those before it: {illegal}"),
        )
        .hint("this is a bug in reconcile, please report it")
    })
}
