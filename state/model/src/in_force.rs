//! The revision in force, and what happened since its versions are the targets.
//!
//! A release that a commit took back begins anew when a later commit brings it again: what was begun, worked or watched before
//! that says nothing of it. What lasts is the proof that a version has passed a track.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::desired::Track;
use crate::history::History;
use crate::ids::CommitId;
use crate::pipeline::Stage;
use crate::progress::StageRun;
use crate::version::Version;

/// The revision in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The commit.
    pub commit: CommitId,
    /// The target.
    pub version: Version,
    /// The canary track's, when it has one of its own.
    pub canary: Option<Version>,
    /// Since when.
    pub at: Timestamp,
    /// Since when the main track has this target.
    pub main_since: Timestamp,
    /// Since when the canary track has its target, be it its own or main's.
    pub canary_since: Timestamp,
}

impl Accepted {
    /// A track's target.
    pub fn target_of(&self, track: Track) -> &Version {
        match (track, &self.canary) {
            (Track::Canary, Some(canary)) => canary,
            _ => &self.version,
        }
    }

    /// Whether a version is the target of some track.
    pub(crate) fn wants(&self, version: &Version) -> bool {
        [Track::Main, Track::Canary].iter().any(|track| self.target_of(*track) == version)
    }

    /// Since when a track has its target.
    pub fn since(&self, track: Track) -> Timestamp {
        match track {
            Track::Main => self.main_since,
            Track::Canary => self.canary_since,
        }
    }

    /// Takes over since when a track has its target, where that was its target before.
    pub(crate) fn after(mut self, before: &Self) -> Self {
        let stays = |track| self.target_of(track) == before.target_of(track);
        let (main, canary) = (stays(Track::Main), stays(Track::Canary));
        if main {
            self.main_since = before.main_since;
        }
        if canary {
            self.canary_since = before.canary_since;
        }
        self
    }
}

impl History {
    /// Since when a version is a track's target; none: it is not. Of a fleet for which nothing was ever accepted everything
    /// counts.
    pub fn target_since(&self, track: Track, version: &Version) -> Option<Timestamp> {
        let Some(accepted) = &self.accepted else { return Some(Timestamp::MIN) };
        (accepted.target_of(track) == version).then(|| accepted.since(track))
    }

    /// A stage's run with a version, since that is the target of the stage's track. A stage in which there was nothing to do
    /// then has begun when its work was done.
    pub fn run(&self, stage: &Stage, version: &Version) -> Option<StageRun> {
        let since = self.target_since(stage.track, version)?;
        let run = self.progress.runs.get(&stage.name).filter(|run| run.version == *version)?;
        let counts = |at: &Timestamp| *at >= since;
        let (worked, passed) = (run.worked.filter(counts), run.passed.filter(counts));
        let began = Some(run.began).filter(counts).or(worked).or(passed)?;
        Some(StageRun { version: version.clone(), began, worked, passed })
    }

    /// Whether a stage has passed with a version: since that is the target, or before, where its whole track counts as passed
    /// with it.
    pub fn has_passed(&self, stage: &Stage, version: &Version) -> bool {
        let progress = &self.progress;
        let Some(at) = progress.passed.get(version).and_then(|stages| stages.get(&stage.name)) else {
            return false;
        };
        self.target_since(stage.track, version).is_some_and(|since| *at >= since)
            || progress.pass(&self.environment, stage.track, version).is_some()
    }
}
