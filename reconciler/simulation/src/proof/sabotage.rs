//! Deliberate defects: the proof has to catch each of them, or it proves nothing.
//!
//! None of them is in the service. They bend what passes through its seams: what it sees, does, reads and remembers.

use std::fmt;

use crate::invariants::Promise;
use crate::proof::life::Ending;

/// A defect. A service with it breaks a promise in some life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sabotage {
    /// The floor is ignored on the second load balancer: whatever is not drained there seems to be up.
    FloorOfSecondNode,
    /// Twice as many hosts may be out as the file says.
    DoubleBudget,
    /// Every host that runs its release counts as well, whatever its probe and its load balancers' checks say.
    ReadyBeforeHealth,
    /// The canary's weights are rounded up.
    WeightRoundedUp,
    /// The first load balancer alone is drained, and believed for all.
    DrainOfFirstNode,
    /// Migrations are left out of a release.
    NoMigrations,
    /// One host is taken for its neighbour: nobody sees that it still runs an earlier version.
    LeftBehind,
    /// On the way back nobody asks whether a version is vetoed.
    VetoIgnoredGoingBack,
    /// Hosts and nodes obey a service that a newer one has taken over from.
    OlderGenerationObeyed,
    /// A migration is named after the life that begins it, so that the next life begins it again.
    MigratedAgain,
    /// An install whose answer did not come is begun again under another name.
    AnswerTakenForFailure,
    /// A gate that was green once is green ever after: an old reading is passed for new.
    OldGateReading,
    /// A gate that has no data, or cannot be asked, is taken for green.
    NoDataTakenForGreen,
    /// Holds are not read.
    HoldIgnored,
    /// Freezes are not read.
    FreezeIgnored,
    /// A pause is written to the journal and does not come back from it.
    PauseForgotten,
    /// A commit that is not trusted, or rewrites history, comes into force.
    UntrustedCommit,
    /// `mode = "report"` is not read.
    ReportIgnored,
    /// Our mark does not say what others had taken out before we came.
    FoundForgotten,
    /// Whoever makes a host ready makes everything ready that is out on the same nodes.
    UndrainsOthers,
    /// A configuration agent that is active seems to be stopped.
    AgentOverlooked,
    /// Our mark is said to be off a host, and stays.
    MarkStays,
    /// Nothing is heard of new commits.
    DeafToGit,
    /// An install takes the newest version that ever was, and not the one that is named.
    NewestInstead,
    /// What was seen is passed for new for two seconds, whatever was done meanwhile.
    OldReading,
}

/// What caught a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Catcher {
    /// A broken promise.
    Promise(Promise),
    /// Faults had stopped, and it did not get there.
    Liveness,
}

/// A defect that was caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catch {
    /// The first seed in whose life it was.
    pub seed: u64,
    /// By what.
    pub by: Catcher,
    /// How, in the words of who caught it.
    pub told: String,
}

impl Sabotage {
    /// Every defect.
    pub const ALL: [Self; 25] = [
        Self::FloorOfSecondNode,
        Self::DoubleBudget,
        Self::ReadyBeforeHealth,
        Self::WeightRoundedUp,
        Self::DrainOfFirstNode,
        Self::NoMigrations,
        Self::LeftBehind,
        Self::VetoIgnoredGoingBack,
        Self::OlderGenerationObeyed,
        Self::MigratedAgain,
        Self::AnswerTakenForFailure,
        Self::OldGateReading,
        Self::NoDataTakenForGreen,
        Self::HoldIgnored,
        Self::FreezeIgnored,
        Self::PauseForgotten,
        Self::UntrustedCommit,
        Self::ReportIgnored,
        Self::FoundForgotten,
        Self::UndrainsOthers,
        Self::AgentOverlooked,
        Self::MarkStays,
        Self::DeafToGit,
        Self::NewestInstead,
        Self::OldReading,
    ];

    /// Lives seeds until one of them shows the defect; none: no life does. `lived` lives a seed, with the defect or
    /// without; a life that goes wrong without it proves nothing, and is passed over.
    pub fn hunt(
        self,
        seeds: impl IntoIterator<Item = u64>,
        mut lived: impl FnMut(u64, Option<Self>) -> Ending,
    ) -> Option<Catch> {
        seeds.into_iter().find_map(|seed| {
            let ending = lived(seed, Some(self));
            let by = ending.caught_by()?;
            let told = match ending {
                Ending::Kept => String::new(),
                Ending::Broken(violation) => violation.what,
                Ending::Stuck { left, .. } => left.join("; "),
            };
            (lived(seed, None) == Ending::Kept).then_some(Catch { seed, by, told })
        })
    }
}

impl Ending {
    /// What caught the service at it; none: every promise was kept.
    pub fn caught_by(&self) -> Option<Catcher> {
        match self {
            Self::Kept => None,
            Self::Broken(violation) => Some(Catcher::Promise(violation.promise)),
            Self::Stuck { .. } => Some(Catcher::Liveness),
        }
    }
}

impl fmt::Display for Catcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Promise(promise) => f.pad(&format!("{promise:?}")),
            Self::Liveness => f.pad("liveness"),
        }
    }
}
