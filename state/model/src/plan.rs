//! What may start now, and why everything else waits.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::desired::{BackendId, Direction, Track};
use crate::event::Event;
use crate::ids::{CommitId, EnvironmentName, GateName, HostName, RoleName, StageName};
use crate::step::Step;
use crate::version::Version;
use crate::waiting::{EndedBy, Reason, Subject, Waiting};

/// The answer of `plan()`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "a plan that nobody reads changes nothing"]
pub struct Plan {
    /// Which environment.
    pub environment: EnvironmentName,
    /// At which commit.
    pub commit: CommitId,
    /// What the fleet should run.
    pub target: Version,
    /// Which way this goes, when anything has to move.
    pub direction: Direction,
    /// Steps that may start now. In `mode = "report"` these are never started.
    pub steps: Vec<Step>,
    /// Why everything else waits; the primary reason of the environment first.
    pub waiting: Vec<Waiting>,
    /// What has to be looked at now.
    pub observe: BTreeSet<Scope>,
    /// What has to be looked at later, in the order of scopes, each once. No reason to plan by itself.
    #[serde(skip)]
    pub due: Vec<Due>,
    /// When to plan again if nothing happens before.
    pub wake: Option<Timestamp>,
    /// How far each role is, in the order of work.
    pub progress: Vec<RoleProgress>,
    /// Things worth telling that stop nothing.
    pub notes: Vec<String>,
    /// Each track: where it goes, and how far each of its stages is. Canary first.
    #[serde(default)]
    pub tracks: Vec<TrackProgress>,
    /// What this pass found out and the journal has to remember, before anything else starts.
    #[serde(default)]
    pub records: Vec<Event>,
    /// Commits that the service should write.
    #[serde(default)]
    pub edits: Vec<ReleaseEdit>,
    /// The canary's share of each shared backend on each node.
    #[serde(default)]
    pub shares: Vec<Share>,
}

/// A change of one version in release.toml.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseEdit {
    /// Where.
    pub environment: EnvironmentName,
    /// Which version.
    pub track: Track,
    /// What stands there now.
    pub from: Version,
    /// What should.
    pub to: Version,
    /// Why, in a few words.
    pub reason: String,
}

/// How a track moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackProgress {
    /// Which.
    pub track: Track,
    /// What it should run.
    pub target: Version,
    /// Which way.
    pub direction: Direction,
    /// In fast mode, with its reason.
    pub emergency: Option<String>,
    /// In the order of work.
    pub stages: Vec<StageProgress>,
}

/// How far a stage is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageProgress {
    /// Which.
    pub stage: StageName,
    /// How far.
    pub standing: StageStanding,
}

/// How far a stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "standing")]
pub enum StageStanding {
    /// Not begun.
    Ahead,
    /// Its work is under way, or may be.
    Working,
    /// Its work is done; checks and the soak are not.
    Watching {
        /// When the soak ends at the earliest.
        until: Timestamp,
    },
    /// Done with this version.
    Passed,
    /// Not needed this time: going back, or an emergency.
    Skipped,
}

/// The canary's share of a shared backend on one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Which backend.
    pub backend: BackendId,
    /// On which node.
    pub node: HostName,
    /// Percent that it should be now.
    pub desired: u8,
    /// Percent that the weights give, as read back.
    pub achieved: f64,
}

// Shares are computed from whole numbers above zero, so there is no NaN.
impl Eq for Share {}

/// What may be looked at by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// A managed host.
    Host(HostName),
    /// A load balancer node.
    Node(HostName),
    /// A gate of an environment.
    Gate(EnvironmentName, GateName),
    /// The package versions that an environment's sources offer.
    Versions(EnvironmentName),
}

/// How often something is read: always the same; or after a tenth of the time that somebody has waited for it, within
/// bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cadence {
    since: Timestamp,
    least: SignedDuration,
    most: SignedDuration,
}

impl Cadence {
    /// Always after the same time.
    pub fn fixed(every: SignedDuration) -> Self {
        Self { since: Timestamp::MIN, least: every, most: every }
    }

    /// What somebody waits for since a moment: the longer it takes, the less often.
    ///
    /// `least` must not be above `most`.
    pub fn patient(since: Timestamp, least: SignedDuration, most: SignedDuration) -> Self {
        Self { since, least, most }
    }

    /// The time from a reading to the next one.
    pub fn every(&self, read_at: Timestamp) -> SignedDuration {
        if self.least == self.most {
            return self.least;
        }
        (read_at.duration_since(self.since) / 10).clamp(self.least, self.most)
    }

    /// As often as either wants: exact for two that have the same bounds, or where one is fixed.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            since: self.since.max(other.since),
            least: self.least.min(other.least),
            most: self.most.min(other.most),
        }
    }
}

/// A reading that is due later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Of what.
    pub scope: Scope,
    /// When at the latest.
    pub at: Timestamp,
    /// From when on it may be read along with others.
    pub from: Timestamp,
    /// How often, while it shows the same.
    pub cadence: Cadence,
    /// The reading itself is waited for. Else there is something new to decide only when it shows something else.
    pub awaited: bool,
}

impl Due {
    /// As if it had been read at this time.
    pub fn since(self, read_at: Timestamp) -> Self {
        let early = self.at.duration_since(self.from);
        let at = read_at + self.cadence.every(read_at);
        Self { at, from: at - early, ..self }
    }

    /// Both of one scope in one: as soon and as often as either wants.
    pub fn joins(&mut self, other: &Self) {
        self.at = self.at.min(other.at);
        self.from = self.from.min(other.from);
        self.cadence = self.cadence.and(other.cadence);
        self.awaited |= other.awaited;
    }
}

/// How an environment stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Actual equals desired.
    Converged,
    /// Work is under way, or may start now.
    Moving,
    /// Nothing moves until the surroundings change.
    Waiting,
    /// Nothing moves until a person acts.
    Halted,
}

impl Plan {
    /// The reading of a scope that is due later.
    pub fn due_mut(&mut self, scope: &Scope) -> Option<&mut Due> {
        let at = self.due.binary_search_by(|due| due.scope.cmp(scope)).ok()?;
        self.due.get_mut(at)
    }

    /// When the plan may change if nothing happens before: by itself, or by a reading.
    pub fn next_turn(&self) -> Option<Timestamp> {
        self.due.iter().map(|due| due.at).chain(self.wake).min()
    }

    /// How the environment stands. `busy`: steps of it are in flight.
    pub fn standing(&self, busy: bool) -> Standing {
        let over =
            |stage: &StageProgress| matches!(stage.standing, StageStanding::Passed | StageStanding::Skipped);
        let passed = self.tracks.iter().flat_map(|track| &track.stages).all(over);
        let done = passed && self.progress.iter().all(|role| role.done == role.hosts);
        // A host that is still looked at, or let go, is not left alone yet.
        let settling = |waiting: &Waiting| {
            matches!(waiting.subject, Subject::Host(_)) && waiting.reason.ended_by() == EndedBy::Itself
        };
        let settled = self.steps.is_empty() && !busy && !self.waiting.iter().any(settling);
        if done && settled && !self.progress.is_empty() {
            return Standing::Converged;
        }
        let primary = self.waiting.first().map(|waiting| &waiting.reason);
        if matches!(primary, Some(Reason::ReportOnly { .. })) {
            return Standing::Halted;
        }
        match primary.map(Reason::ended_by) {
            Some(EndedBy::Person) if !busy && self.steps.is_empty() => Standing::Halted,
            Some(EndedBy::World) if !busy && self.steps.is_empty() => Standing::Waiting,
            _ => Standing::Moving,
        }
    }
}

/// How far a role is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleProgress {
    /// Which role.
    pub role: RoleName,
    /// All of its hosts.
    pub hosts: usize,
    /// Those that run the target, are well, and are free of any claim of ours.
    pub done: usize,
    /// Those that are out now: claimed, unhealthy or unreachable.
    pub out: usize,
    /// How many may be out.
    pub limit: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(count: i64) -> SignedDuration {
        SignedDuration::from_millis(count)
    }

    #[test]
    fn what_is_waited_for_is_read_after_a_tenth_of_the_time_that_it_took_already_within_bounds() {
        let since = Timestamp::UNIX_EPOCH;
        let cadence = Cadence::patient(since, millis(200), millis(3_000));
        let after = |waited| cadence.every(since + millis(waited));
        assert_eq!([0, 1_990, 10_000, 90_000].map(after), [200, 200, 1_000, 3_000].map(millis));
    }

    #[test]
    fn of_two_cadences_both_are_kept() {
        let since = Timestamp::UNIX_EPOCH;
        let patient = Cadence::patient(since, millis(200), millis(3_000));
        let of =
            |fixed: i64, waited| Cadence::fixed(millis(fixed)).and(patient).every(since + millis(waited));
        assert_eq!([of(500, 0), of(500, 4_000), of(500, 9_000)], [200, 400, 500].map(millis));
        assert_eq!([of(100, 0), of(100, 9_000)], [100, 100].map(millis));
        let later = Cadence::patient(since + millis(5_000), millis(200), millis(3_000));
        assert_eq!(
            patient.and(later).every(since + millis(9_000)),
            millis(400),
            "who came last waits shortest"
        );
    }
}
