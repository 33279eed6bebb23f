//! How releases moved through an environment, folded from the journal: stages, jobs that must not run twice, the
//! canary's share, what passed where.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::desired::Track;
use crate::event::Event;
use crate::failure::Failure;
use crate::ids::{EnvironmentName, GateName, StageName};
use crate::job::{FoundJob, JobKey, JobKind, JobRecord, JobState};
use crate::observed::Verdict;
use crate::step::{Action, Outcome, Step};
use crate::version::Version;

/// What an environment remembers of its releases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// When the fleet was taken as it was found; none: nothing may act yet.
    pub adopted: Option<Timestamp>,
    /// Releases that count as wholly released because they were found running on the main track.
    pub found_running: BTreeSet<Version>,
    /// Releases that count as migrated before they serve, because they were found running on the canary track.
    pub found_ahead: BTreeSet<Version>,
    /// Those among [`Self::found_running`] whose post-deployment migrations may have run before we came.
    pub found_final: BTreeSet<Version>,
    /// Each stage's newest run.
    pub runs: BTreeMap<StageName, StageRun>,
    /// Stages that passed, by version, and when they last did.
    pub passed: BTreeMap<Version, BTreeMap<StageName, Timestamp>>,
    /// Migrations and checks.
    #[serde(with = "crate::keyed")]
    pub jobs: BTreeMap<JobKey, JobRecord>,
    /// The canary's share as it was last read back.
    pub share: Option<ReachedShare>,
    /// When a red gate took the canary out of traffic; gone when the share grows again.
    pub withdrawn: Option<Timestamp>,
    /// A person's pause.
    pub pause: Option<Pause>,
    /// The version that the configuration agent was last told, by track.
    pub pinned: BTreeMap<Track, Version>,
    /// What has passed all stages of a track, here and in the other environments.
    #[serde(with = "crate::keyed")]
    pub released: Released,
    /// Every version that was a track's target in a commit that was in force.
    pub targets: BTreeMap<Track, BTreeSet<Version>>,
    /// The same of either track, oldest first: the order is remembered when git's history is rewritten.
    #[serde(default)]
    pub appeared: Vec<Version>,
    /// What each gate said last, and since when.
    pub gates: BTreeMap<GateName, Turn>,
}

/// A gate's last change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// What it has said since.
    pub verdict: Verdict,
    /// Since when.
    pub at: Timestamp,
}

/// What has passed all stages, by environment, track and version.
pub type Released = BTreeMap<(EnvironmentName, Track), BTreeMap<Version, Pass>>;

/// A stage's newest run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageRun {
    /// With which release.
    pub version: Version,
    /// When its work began.
    pub began: Timestamp,
    /// When its work was done.
    pub worked: Option<Timestamp>,
    /// When it passed.
    pub passed: Option<Timestamp>,
}

/// Proof that a version passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// When.
    pub at: Timestamp,
    /// What it went through.
    pub stages: Vec<StageName>,
    /// A person's word instead: who, and why.
    pub word: Option<(String, String)>,
}

/// A share of the canary that every load balancer shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachedShare {
    /// The canary's release.
    pub version: Version,
    /// Percent.
    pub weight: u8,
    /// Since when.
    pub at: Timestamp,
}

/// Nothing new starts, by a person's request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
    /// Until when at the latest.
    pub until: Timestamp,
}

impl Progress {
    /// Takes in one event of this environment, or of another one where a version passed.
    pub(crate) fn apply(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::Accepted { version, canary, .. } => {
                self.targets.entry(Track::Main).or_default().insert(version.clone());
                self.targets.entry(Track::Canary).or_default().extend(canary.clone());
                for version in [version].into_iter().chain(canary) {
                    if !self.appeared.contains(version) {
                        self.appeared.push(version.clone());
                    }
                }
            }
            Event::StageBegan { stage, version, .. } => {
                let run = StageRun { version: version.clone(), began: at, worked: None, passed: None };
                self.runs.insert(stage.clone(), run);
            }
            Event::StageWorked { stage, version, .. } => {
                self.run(stage, version, at).worked = Some(at);
            }
            Event::StagePassed { stage, version, .. } => {
                self.run(stage, version, at).passed = Some(at);
                self.passed.entry(version.clone()).or_default().insert(stage.clone(), at);
            }
            Event::Passed { environment, track, version, stages } => {
                let pass = Pass { at, stages: stages.clone(), word: None };
                self.releases(environment, *track).insert(version.clone(), pass);
            }
            Event::Verified { environment, track, version, by, reason } => {
                let word = Some((by.clone(), reason.clone()));
                self.releases(environment, *track)
                    .insert(version.clone(), Pass { at, stages: Vec::new(), word });
            }
            Event::ShareReached { version, weight, .. } => {
                self.share = Some(ReachedShare { version: version.clone(), weight: *weight, at });
                self.withdrawn = self.withdrawn.filter(|_| *weight == 0);
            }
            Event::ShareWithdrawn { .. } => {
                self.share = None;
                self.withdrawn = Some(at);
            }
            Event::GateTurned { gate, verdict, .. } => {
                self.gates.insert(gate.clone(), Turn { verdict: *verdict, at });
            }
            Event::Paused { by, reason, until, .. } => {
                self.pause = Some(Pause { by: by.clone(), reason: reason.clone(), at, until: *until });
            }
            Event::Resumed { .. } => self.pause = None,
            Event::Adopted { running, ahead, jobs, .. } => {
                self.found_ahead.extend(ahead.iter().cloned());
                self.adopt(at, running, jobs);
            }
            _ => {}
        }
    }

    fn run(&mut self, stage: &StageName, version: &Version, at: Timestamp) -> &mut StageRun {
        let begun = || StageRun { version: version.clone(), began: at, worked: None, passed: None };
        let run = self.runs.entry(stage.clone()).or_insert_with(begun);
        if run.version != *version {
            *run = begun();
        }
        run
    }

    fn releases(&mut self, environment: &EnvironmentName, track: Track) -> &mut BTreeMap<Version, Pass> {
        self.released.entry((environment.clone(), track)).or_default()
    }

    fn adopt(&mut self, at: Timestamp, running: &[Version], jobs: &[FoundJob]) {
        self.adopted = Some(at);
        self.found_running.extend(running.iter().cloned());
        self.found_final.extend(running.iter().cloned());
        for FoundJob { key, succeeded, attempt } in jobs {
            let state = if *succeeded {
                JobState::Passed { at, output: "found on the host".to_owned() }
            } else {
                JobState::Begun { at }
            };
            self.jobs.entry(key.clone()).or_insert(JobRecord {
                attempt: *attempt,
                state,
                began: Some(at),
                host: None,
            });
        }
    }

    /// A step with a job begins.
    pub(crate) fn job_begins(&mut self, at: Timestamp, step: &Step) {
        let Some((_, key)) = step.action.job() else { return };
        let new = || JobRecord { attempt: 1, state: JobState::Wanted, began: None, host: None };
        let record = self.jobs.entry(key.clone()).or_insert_with(new);
        record.began = record.began.or(Some(at));
        record.state = JobState::Begun { at };
        record.host = Some(step.host.clone());
    }

    /// A step ends well.
    pub(crate) fn succeeded(&mut self, at: Timestamp, step: &Step, outcome: &Outcome) {
        if let Action::Pin { track, .. } = &step.action {
            self.pinned.insert(*track, step.version.clone());
        }
        let Some((_, key)) = step.action.job() else { return };
        let output = match outcome {
            Outcome::Changed(output) => output.clone(),
            Outcome::AlreadyDone => String::new(),
        };
        if let Some(record) = self.jobs.get_mut(key) {
            record.state = JobState::Passed { at, output };
        }
    }

    /// A step with a job ends for good: it failed, or nobody can tell how it ended.
    pub(crate) fn job_fails(&mut self, at: Timestamp, step: &Step, failure: &Failure) {
        let record = step.action.job().and_then(|(_, key)| self.jobs.get_mut(key));
        if let Some(record) = record {
            record.state = JobState::Failed { at, failure: failure.clone() };
        }
    }

    /// A step with a job ends without the job having been begun: it is wanted as before. `since`: when the step began.
    pub(crate) fn job_was_not_begun(&mut self, step: &Step, since: Timestamp) {
        let record = step.action.job().and_then(|(_, key)| self.jobs.get_mut(key));
        if let Some(record) = record {
            record.state = JobState::Wanted;
            record.began = record.began.filter(|began| *began != since);
        }
    }

    /// A person asks for another attempt of what failed, and for what was begun on a host that runs no jobs any more.
    /// What is under way is known to run.
    pub(crate) fn retry(&mut self, is_under_way: impl Fn(&JobKey) -> bool) {
        for (key, record) in &mut self.jobs {
            if !is_under_way(key) {
                record.host = None;
            }
            if matches!(record.state, JobState::Failed { .. }) {
                record.attempt += 1;
                record.state = JobState::Wanted;
            }
        }
    }

    /// Whether a job succeeded.
    pub fn job_passed(&self, key: &JobKey) -> bool {
        self.jobs.get(key).is_some_and(|record| matches!(record.state, JobState::Passed { .. }))
    }

    /// Whether a version's migrations before it serves are done: by us, or before we came.
    pub fn is_migrated(&self, version: &Version) -> bool {
        let key = JobKey { kind: JobKind::PreMigration, version: version.clone() };
        self.found_running.contains(version) || self.found_ahead.contains(version) || self.job_passed(&key)
    }

    /// Versions whose post-deployment migrations were begun, with when, whatever came of them: points of no return. Also
    /// those that ran before we came: nobody can tell.
    pub fn points_of_no_return(&self) -> impl Iterator<Item = (&Version, Timestamp)> {
        let of_post = self.jobs.iter().filter(|(key, _)| key.kind == JobKind::PostMigration);
        let begun = of_post.filter_map(|(key, record)| Some((&key.version, record.began?)));
        begun.chain(self.found_final.iter().filter_map(|version| Some((version, self.adopted?))))
    }

    /// The proof that a version passed a track of an environment.
    pub fn pass(&self, environment: &EnvironmentName, track: Track, version: &Version) -> Option<&Pass> {
        self.released.get(&(environment.clone(), track))?.get(version)
    }
}
