//! How far each lane is: the first rung that is not done, whether it may begin anything, and what it has to have run.

use jiff::Timestamp;
use model::{
    Event, JobKey, JobKind, Reason, Requirement, Stage, StageProgress, StageStanding, Subject, Track,
    TrackProgress,
};

use crate::behind::left_behind;
use crate::gates;
use crate::jobs::{self, Errand, Standing};
use crate::lanes::{Lane, Rung, Work, are_one_release};
use crate::next::{Next, Wait};
use crate::refusals::{Flow, Refusal, began, by_people, refusal};
use crate::shares::{Shares, last_deploy};
use crate::survey::{HostView, Survey};

/// One lane in a pass.
pub(crate) struct LaneState {
    /// The first rung that is not done.
    pub(crate) active: usize,
    /// Why nothing new begins, if so.
    pub(crate) refusal: Option<Refusal>,
    /// Why the lane itself waits, beside its hosts: soaks, jobs that failed, the other lane.
    pub(crate) waiting: Vec<(Subject, Wait)>,
    /// Jobs that have to run now.
    pub(crate) errands: Vec<Errand>,
    /// For the journal.
    pub(crate) records: Vec<Event>,
    /// Whether every rung is done.
    pub(crate) through: bool,
}

/// How far a rung is.
enum RungState {
    Done,
    /// Its work is not done.
    Working,
    /// The work of its stage is done, and something is still watched.
    Watching(Box<Watching>),
}

/// What a stage waits for whose work is done.
struct Watching {
    waiting: Option<(Subject, Wait)>,
    errands: Vec<Errand>,
    record: Option<Event>,
}

/// What a lane is judged by.
pub(crate) struct Ladder<'s, 'a> {
    pub(crate) survey: &'s Survey<'a>,
    pub(crate) positions: &'s [Next],
    pub(crate) shares: &'s Shares,
}

/// Every lane, in the order of the survey.
pub(crate) fn states(ladder: &Ladder<'_, '_>) -> Vec<LaneState> {
    let mut states: Vec<LaneState> = Vec::new();
    for at in 0..ladder.survey.lanes.len() {
        let state = ladder.state(at, states.first());
        states.push(state);
    }
    states
}

impl<'a> Ladder<'_, 'a> {
    fn state(&self, at: usize, first: Option<&LaneState>) -> LaneState {
        let lane = &self.survey.lanes[at];
        let mut state = LaneState {
            active: lane.rungs.len(),
            refusal: None,
            waiting: Vec::new(),
            errands: Vec::new(),
            records: Vec::new(),
            through: false,
        };
        for (rung_at, rung) in lane.rungs.iter().enumerate() {
            match self.rung(at, rung_at, rung) {
                RungState::Done => {}
                RungState::Working => {
                    state.active = rung_at;
                    self.work(lane, at, rung, first, &mut state);
                    return state;
                }
                RungState::Watching(watching) => {
                    state.active = rung_at;
                    state.refusal = self.refusal(lane, rung.stage, first);
                    state.records.extend(watching.record);
                    match state.refusal {
                        // A check is something new.
                        Some(_) => {}
                        None => {
                            state.errands = watching.errands;
                            state.errands.extend(self.taken_back(lane, rung.stage));
                        }
                    }
                    state.waiting.extend(watching.waiting);
                    return state;
                }
            }
        }
        state.through = true;
        state.records.extend(self.passed(lane));
        // Whatever a gate says: an agent that goes by what was taken back would install it.
        if by_people(self.survey, lane).is_none() {
            let last = lane.rungs.last().and_then(|rung| self.taken_back(lane, rung.stage));
            state.errands.extend(last);
        }
        state
    }

    /// The configuration agent was told a version that is no target any more, before anything of it was deployed.
    fn taken_back(&self, lane: &Lane<'a>, stage: &Stage) -> Option<Errand> {
        self.survey.history.progress.pinned.get(&lane.track)?;
        jobs::pin(self.survey, lane, stage)
    }

    /// The active rung's work: may it begin, and what does it need?
    fn work(
        &self,
        lane: &Lane<'a>,
        at: usize,
        rung: &Rung<'a>,
        first: Option<&LaneState>,
        state: &mut LaneState,
    ) {
        state.refusal = self.refusal(lane, rung.stage, first);
        if state.refusal.is_some() {
            return;
        }
        if let Some(pin) =
            jobs::pin(self.survey, lane, rung.stage).filter(|_| !matches!(rung.work, Work::PostMigrate))
        {
            state.errands.push(pin);
            return;
        }
        match &rung.work {
            Work::Deploy(_) => {
                if at == 0 || self.hosts_are_done(at, state.active) {
                    state.waiting.extend(self.shares.waiting.clone().filter(|_| lane.track == Track::Canary));
                }
            }
            Work::Migrate => self.job(lane, rung.stage, JobKind::PreMigration, state),
            Work::PostMigrate => match left_behind(self.survey, lane) {
                Some(wait) => {
                    state.waiting.push((Subject::Stage(rung.stage.name.clone()), wait));
                    return;
                }
                None => self.job(lane, rung.stage, JobKind::PostMigration, state),
            },
        }
        state.records.extend(self.began(lane, rung.stage).filter(|_| !rung.borrowed));
    }

    fn job(&self, lane: &Lane<'a>, stage: &Stage, kind: JobKind, state: &mut LaneState) {
        match jobs::migration(self.survey, lane, stage, kind) {
            Standing::Passed => {}
            Standing::Wanted(errand) => state.errands.push(*errand),
            Standing::Stopped(reason) => {
                state.waiting.push((Subject::Stage(stage.name.clone()), Wait::new(reason)));
            }
        }
    }

    /// Why nothing new begins on a lane: its own reasons, or the lane that goes first.
    fn refusal(&self, lane: &Lane<'a>, stage: &Stage, first: Option<&LaneState>) -> Option<Refusal> {
        let after = || {
            let wait = self.after(lane, first?)?;
            Some(Refusal { subject: Subject::Track(lane.track), wait, flow: Flow::Finish })
        };
        let own = refusal(self.survey, lane, stage, began(self.survey, lane, stage));
        match own {
            // The canary is on its way with the same release: that it has not passed yet goes without saying.
            Some(own) if self.is_unproven_alone(&own) => Some(after().unwrap_or(own)),
            own => own.or_else(after),
        }
    }

    fn is_unproven_alone(&self, refusal: &Refusal) -> bool {
        let requires = |requires: &Requirement| *requires == Requirement::Canary;
        matches!(&refusal.wait.reason, Reason::PromotionRequired { requires: of, .. } if requires(of))
            && are_one_release(&self.survey.lanes)
    }

    /// Whether the lane that goes first has to be done before this one.
    fn after(&self, lane: &Lane<'a>, first: &LaneState) -> Option<Wait> {
        let before = &self.survey.lanes[0];
        if first.through {
            return None;
        }
        if are_one_release(&self.survey.lanes) {
            // In an emergency both tracks go at once.
            let free = match lane.goes_back() {
                true => self.leaves_the_way_back(first),
                false => lane.emergency.is_some(),
            };
            let stage = before.rungs.get(first.active)?.stage.name.clone();
            return (!free).then(|| Wait::new(Reason::EarlierStage { stage }));
        }
        // A main track that only a person or the canary can move must not keep a fix from the canary. Going back never
        // waits.
        let stuck = first.refusal.as_ref().is_some_and(|refusal| is_stuck(&refusal.wait.reason))
            || first.waiting.iter().any(|(_, wait)| is_stuck(&wait.reason))
            || first.errands.iter().any(|errand| errand.halted(self.survey).is_some())
            || self
                .positions
                .iter()
                .zip(&self.survey.hosts)
                .any(|(next, host)| host.lane == 0 && is_halted(next));
        let waits = !stuck && !lane.is_unwatched();
        waits.then(|| Wait::new(Reason::MainFirst { target: before.target.clone() }))
    }

    fn rung(&self, at: usize, rung_at: usize, rung: &Rung<'a>) -> RungState {
        let lane = &self.survey.lanes[at];
        let worked = match &rung.work {
            Work::Deploy(_) => {
                let waits_for_share = lane.track == Track::Canary
                    && last_deploy(lane).is_some_and(|last| last.name == rung.stage.name)
                    && rung.last
                    && self.shares.waiting.is_some();
                self.hosts_are_done(at, rung_at) && !waits_for_share
            }
            Work::Migrate => self.is_migrated(lane, rung.stage, JobKind::PreMigration),
            Work::PostMigrate => self.is_migrated(lane, rung.stage, JobKind::PostMigration),
        };
        if !worked {
            return RungState::Working;
        }
        if !rung.last || rung.borrowed || is_over(self.survey, lane, rung.stage) {
            return RungState::Done;
        }
        RungState::Watching(Box::new(self.watch(at, rung.stage)))
    }

    fn is_migrated(&self, lane: &Lane<'a>, stage: &Stage, kind: JobKind) -> bool {
        matches!(jobs::migration(self.survey, lane, stage, kind), Standing::Passed)
    }

    fn hosts_are_done(&self, lane: usize, rung: usize) -> bool {
        let of_rung = |host: &HostView<'_>| host.lane == lane && host.rung == rung;
        let mut of_rung = self.survey.hosts.iter().zip(self.positions).filter(|(host, _)| of_rung(host));
        of_rung.all(|(_, next)| matches!(next, Next::Done | Next::DoneBut(_)))
    }

    /// The way back waits for the hosts of the lane that goes first, and for nothing that is watched there once they have arrived.
    /// Nor for one that goes forward, where nothing is begun, or that itself waits for what is on the way back.
    fn leaves_the_way_back(&self, first: &LaneState) -> bool {
        let before = &self.survey.lanes[0];
        let counts = |host: &HostView<'_>| host.lane == 0 && host.out.is_none();
        let is_begun = || self.survey.hosts.iter().any(|host| counts(host) && host.claim.is_ours());
        let waits_for_us = first.refusal.as_ref().is_some_and(|refusal| self.is_unproven_alone(refusal));
        (!before.goes_back() && (waits_for_us || !is_begun()))
            || (0..before.rungs.len()).all(|rung| self.hosts_are_done(0, rung))
    }

    /// The work of a stage is done: its checks run, and its gates are watched for the soak.
    fn watch(&self, at: usize, stage: &Stage) -> Watching {
        let lane = &self.survey.lanes[at];
        let worked = self.survey.history.run(stage, lane.target).and_then(|run| run.worked);
        let worked = worked.filter(|worked| !self.is_deployed_since(at, stage, *worked));
        let (environment, version) = (self.survey.desired.environment.clone(), lane.target.clone());
        let name = stage.name.clone();
        let plain = stage.gates.is_empty() && stage.checks.is_empty() && stage.soak.is_zero();
        let Some(worked) = worked.or(plain.then_some(self.survey.now)) else {
            let record = Some(Event::StageWorked { environment, stage: name, version });
            return Watching { waiting: None, errands: Vec::new(), record };
        };
        let (errands, stopped) = self.checks(lane, stage);
        if let Some(reason) = stopped {
            let waiting = Some((Subject::Stage(name), Wait::new(reason)));
            return Watching { waiting, errands: Vec::new(), record: None };
        }
        if let Err(wait) = self.soaked(stage, worked) {
            let waiting = Some((Subject::Stage(name), wait));
            return Watching { waiting, errands, record: None };
        }
        if !errands.is_empty() {
            return Watching { waiting: None, errands, record: None };
        }
        let record = Some(Event::StagePassed { environment, stage: name, version });
        Watching { waiting: None, errands: Vec::new(), record }
    }

    /// A host fell behind meanwhile, and was brought there again: the stage is watched from there on.
    fn is_deployed_since(&self, at: usize, stage: &Stage, worked: Timestamp) -> bool {
        let rungs = &self.survey.lanes[at].rungs;
        let of_stage = |host: &&HostView<'_>| host.lane == at && rungs[host.rung].stage.name == stage.name;
        let activated = |host: &HostView<'_>| self.survey.history.activated.get(host.name);
        self.survey.hosts.iter().filter(of_stage).filter_map(activated).any(|last| last.at > worked)
    }

    fn checks(&self, lane: &Lane<'a>, stage: &Stage) -> (Vec<Errand>, Option<Reason>) {
        let mut errands = Vec::new();
        for name in &stage.checks {
            let Some(check) = self.survey.desired.fleet.policy.checks.get(name) else { continue };
            match jobs::check(self.survey, lane, stage, name, check) {
                Standing::Passed => {}
                Standing::Wanted(errand) => errands.push(*errand),
                Standing::Stopped(reason) => return (Vec::new(), Some(reason)),
            }
        }
        (errands, None)
    }

    /// Whether the gates were green all through the soak, by readings that had settled.
    fn soaked(&self, stage: &Stage, worked: Timestamp) -> Result<(), Wait> {
        let survey = self.survey;
        if let Some(wait) = gates::judge(survey, stage).err().filter(|wait| is_red(&wait.reason)) {
            return Err(wait);
        }
        let green = gates::green_since(survey, stage).map_or(worked, |green| green.max(worked));
        let until = (worked + gates::settle(survey, stage)).max(green + stage.soak);
        if survey.now < until {
            let reason = Reason::Soaking { stage: stage.name.clone(), until };
            return Err(Wait::new(reason).since(worked).until(until));
        }
        gates::judge_since(survey, stage, Some(worked))
    }

    fn began(&self, lane: &Lane<'a>, stage: &Stage) -> Option<Event> {
        let history = self.survey.history;
        let open = history.run(stage, lane.target).is_some_and(|run| run.passed.is_none());
        let found = history.progress.found_running.contains(lane.target) && !lane.goes_back();
        let catches_up = found || history.has_passed(stage, lane.target);
        (!open && !catches_up).then(|| Event::StageBegan {
            environment: self.survey.desired.environment.clone(),
            stage: stage.name.clone(),
            version: lane.target.clone(),
        })
    }

    /// The lane is through: that is worth remembering, once, when it was watched all the way.
    fn passed(&self, lane: &Lane<'a>) -> Option<Event> {
        let (history, environment) = (self.survey.history, &self.survey.desired.environment);
        let own = lane.rungs.iter().filter(|rung| rung.last && !rung.borrowed).map(|rung| rung.stage);
        let stages: Vec<_> = own.clone().map(|stage| stage.name.clone()).collect();
        let watched = own.clone().all(|stage| history.has_passed(stage, lane.target));
        let known = history.progress.pass(environment, lane.track, lane.target).is_some();
        (watched && !known && !lane.is_unwatched()).then(|| Event::Passed {
            environment: environment.clone(),
            track: lane.track,
            version: lane.target.clone(),
            stages,
        })
    }
}

/// Nothing of a stage is watched any more, or ever was.
pub(crate) fn is_over(survey: &Survey<'_>, lane: &Lane<'_>, stage: &Stage) -> bool {
    lane.is_unwatched()
        || survey.history.progress.found_running.contains(lane.target)
        || survey.history.has_passed(stage, lane.target)
}

fn is_red(reason: &Reason) -> bool {
    matches!(reason, Reason::GateNotGreen { .. })
}

/// Only a person, another environment, or a host that is left behind moves it.
fn is_stuck(reason: &Reason) -> bool {
    reason.ended_by() == model::EndedBy::Person
        || matches!(reason, Reason::PromotionRequired { .. } | Reason::OlderStillRuns { .. })
}

fn is_halted(next: &Next) -> bool {
    matches!(next, Next::Wait(wait) if wait.is_halted())
}

/// How far the stages of a lane are, for people.
pub(crate) fn progress(survey: &Survey<'_>, lane: &Lane<'_>, state: &LaneState) -> TrackProgress {
    let mut stages: Vec<StageProgress> = Vec::new();
    for (at, rung) in lane.rungs.iter().enumerate().filter(|(_, rung)| rung.last) {
        let first = lane.rungs.iter().position(|other| other.stage.name == rung.stage.name).unwrap_or(at);
        let standing = if at < state.active {
            let passed = survey.history.has_passed(rung.stage, lane.target);
            // Of a stage of another track only the migrations are this track's own.
            let key = JobKey { kind: JobKind::PreMigration, version: lane.target.clone() };
            let migrated = rung.borrowed && survey.history.progress.job_passed(&key);
            if passed || migrated { StageStanding::Passed } else { StageStanding::Skipped }
        } else if first > state.active {
            StageStanding::Ahead
        } else {
            let until = state.waiting.iter().find_map(|(_, wait)| match wait.reason {
                Reason::Soaking { until, .. } => Some(until),
                _ => None,
            });
            until.map_or(StageStanding::Working, |until| StageStanding::Watching { until })
        };
        stages.push(StageProgress { stage: rung.stage.name.clone(), standing });
    }
    TrackProgress {
        track: lane.track,
        target: lane.target.clone(),
        direction: lane.way(),
        emergency: lane.emergency.map(|emergency| emergency.reason.clone()),
        stages,
    }
}
