//! When a wait ends, and who or what ends it.

use jiff::Timestamp;

use crate::waiting::{EndedBy, Reason};

impl Reason {
    /// When it ends at the latest, where a time for that is known.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Draining { until, .. }
            | Self::DrainTimedOut { until }
            | Self::Backoff { until, .. }
            | Self::HealthPending { until, .. }
            | Self::Paused { until, .. }
            | Self::Frozen { until, .. }
            | Self::GateQuiet { until, .. }
            | Self::Soaking { until, .. }
            | Self::Ramping { until, .. } => Some(*until),
            Self::WouldNotFinish { freeze, .. } => Some(*freeze),
            Self::Held { until, .. } | Self::HostOut { until, .. } => *until,
            _ => None,
        }
    }

    /// Who or what ends it.
    pub fn ended_by(&self) -> EndedBy {
        match self {
            Self::HistoryRewritten { .. }
            | Self::DirectionUnknown { .. }
            | Self::OutageNotAllowed { .. }
            | Self::Halted { .. }
            | Self::JobInDoubt { .. }
            | Self::ClaimedByOther { .. }
            | Self::RowMissing { .. }
            | Self::RowElsewhere { .. }
            | Self::Vetoed { .. }
            | Self::Held { until: None, .. }
            | Self::Paused { .. }
            | Self::CheckFailed { .. }
            | Self::MigrationFailed { .. }
            | Self::PastPostMigration { .. }
            | Self::PatchNotIncorporated { .. }
            | Self::JournalLost { .. }
            | Self::RunningUnknown { .. }
            | Self::SameMachine { .. }
            | Self::ReportOnly { .. } => EndedBy::Person,
            Self::StageFailing { .. }
            | Self::StepOverdue { .. }
            | Self::NodeUnknown { .. }
            | Self::Backoff { .. }
            | Self::HostUnknown { .. }
            | Self::DrainTimedOut { .. }
            | Self::BelowFloor(_)
            | Self::Held { .. }
            | Self::Frozen { .. }
            | Self::WouldNotFinish { .. }
            | Self::OlderStillRuns { .. }
            | Self::GateNotGreen { .. }
            | Self::PromotionRequired { .. }
            | Self::AgentBusy
            | Self::Budget { ours: 0, .. } => EndedBy::World,
            Self::Draining { .. }
            | Self::HealthPending { .. }
            | Self::LoadBalancerCheck { .. }
            | Self::InFlight { .. }
            | Self::JobRunning { .. }
            | Self::Downloading { .. }
            | Self::Budget { .. }
            | Self::Parallel { .. }
            | Self::FreshFacts
            | Self::GateQuiet { .. }
            | Self::Soaking { .. }
            | Self::Ramping { .. }
            | Self::CanaryWeight { .. }
            | Self::MainFirst { .. }
            | Self::EarlierStage { .. }
            | Self::EarlierRole { .. } => EndedBy::Itself,
            Self::Unhealthy { .. }
            | Self::ForeignDrain { .. }
            | Self::HostOut { .. }
            | Self::CommitUntrusted { .. }
            | Self::SourceUnavailable { .. }
            | Self::RevisionInvalid { .. } => EndedBy::Nobody,
        }
    }
}
