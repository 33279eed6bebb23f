//! What git says, on the way in. The world judges by what it really says.

use engine::Source;
use model::{CommitId, Desired, Limit, Mode, Reading, ReleaseEdit, Revision, Run};

use crate::proof::sabotage::Sabotage;
use crate::source::SimSource;

/// The repository as a service with a defect reads it; without one, as it is.
pub(crate) struct BentSource {
    source: SimSource,
    how: Option<Sabotage>,
}

impl BentSource {
    pub(crate) fn new(source: SimSource, how: Option<Sabotage>) -> Self {
        Self { source, how }
    }

    /// The head, whatever stands against it.
    fn obeys_anybody(&self, reading: Reading) -> Reading {
        let head = self.source.head().filter(|_| reading.obstacle.is_some());
        let Some(environments) = head.and_then(|head| self.source.said(&head)) else { return reading };
        let Some(commit) = environments.values().next().map(|desired| desired.commit.clone()) else {
            return reading;
        };
        Reading { revision: Some(Revision { commit, environments }), obstacle: None, errors: Vec::new() }
    }
}

impl Source for BentSource {
    async fn read(&self) -> Reading {
        let mut reading = self.source.read().await;
        let Some(how) = self.how else { return reading };
        if how == Sabotage::UntrustedCommit {
            reading = self.obeys_anybody(reading);
        }
        let environments =
            reading.revision.iter_mut().flat_map(|revision| revision.environments.values_mut());
        environments.for_each(|desired| bend(how, desired));
        reading
    }

    async fn changed(&self) {
        if self.how == Some(Sabotage::DeafToGit) {
            std::future::pending::<()>().await;
        }
        self.source.changed().await;
    }

    async fn accept_history(&self, commit: &CommitId) -> Result<(), String> {
        self.source.accept_history(commit).await
    }

    async fn commit(&self, edit: &ReleaseEdit) -> Result<CommitId, String> {
        Source::commit(&self.source, edit).await
    }
}

fn bend(how: Sabotage, desired: &mut Desired) {
    match how {
        Sabotage::DoubleBudget => doubles_budget(desired),
        Sabotage::NoMigrations => {
            desired.fleet.policy.migrations = None;
            desired.fleet.policy.stages.retain(|stage| matches!(stage.run, Run::Deploy { .. }));
        }
        Sabotage::VetoIgnoredGoingBack => {
            let newest = desired.ranks.last().cloned();
            desired.exceptions.vetoes.retain(|veto| Some(&veto.version) == newest.as_ref());
        }
        Sabotage::HoldIgnored => desired.exceptions.holds.clear(),
        Sabotage::FreezeIgnored => desired.fleet.policy.freezes.clear(),
        Sabotage::ReportIgnored => desired.fleet.mode = Mode::Reconcile,
        _ => {}
    }
}

fn doubles_budget(desired: &mut Desired) {
    let fleet = &mut desired.fleet;
    fleet.backend_limit = match fleet.backend_limit {
        Limit::Percent(percent) => Limit::Percent((percent * 2).min(100)),
        Limit::Count(count) => Limit::Count(count * 2),
    };
    fleet.roles.iter_mut().for_each(|role| role.max_unavailable *= 2);
}
