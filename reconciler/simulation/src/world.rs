//! The handle of a simulated world, and the seam towards the service.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::World;
use jiff::Timestamp;
use model::{
    Action, Admin, Desired, EnvironmentName, Failure, FailureKind, Fleet, HealthState, HostName, Observed,
    Outcome, Scope, Step, StepId, Version,
};
use tokio_util::sync::CancellationToken;

use crate::balancer::TakenBy;
use crate::builder::Settings;
use crate::clock::Clock;
use crate::fence::Owner;
use crate::host::failure;
use crate::invariants::Violation;
use crate::job::End;
use crate::luck::Still;
use crate::named::{is_remote, job_id};
use crate::reach::Way;
use crate::state::{Release, State, TraceLine};

/// How often whoever waits for a job looks whether the host is still there.
const KEEPALIVE_MS: u64 = 1_000;

/// A simulated world. Clones are handles on the same one; it goes on when a service goes away.
///
/// Seen through one handle, the world is that of one service, by name: claims of other services are foreign to it.
#[derive(Clone, Debug)]
pub struct SimWorld {
    state: Arc<Mutex<State>>,
    pub(crate) clock: Clock,
    pub(crate) owner: Owner,
    /// Cancelled when the process that holds this handle is gone.
    pub(crate) dead: CancellationToken,
    /// Whether the process that holds this handle stands still.
    pub(crate) still: Arc<Still>,
}

/// What became of a job that is waited for.
enum Watched {
    Ended(Result<Outcome, Failure>),
    Running {
        look_ms: u64,
    },
    /// The connection is gone; it is noticed after this long.
    Gone {
        after_ms: u64,
        failure: Failure,
    },
}

impl SimWorld {
    /// A world of this fleet in which every host runs `version`, with realistic times. Begins now.
    pub fn fleet(fleet: &Fleet, version: &Version, seed: u64) -> Self {
        Self::with(fleet, version, Settings::seeded(seed))
    }

    /// A world with settings of one's own, of one environment, `production`. Begins now, by tokio's clock.
    pub fn with(fleet: &Fleet, version: &Version, settings: Settings) -> Self {
        let mut state = State::new(settings);
        state.build(&EnvironmentName::new("production"), fleet, |_| version.clone());
        Self::holding(state)
    }

    /// A world of several environments, in which every host runs what its track should. Begins now, by tokio's clock.
    pub fn of<'a>(environments: impl IntoIterator<Item = &'a Desired>, settings: Settings) -> Self {
        let mut state = State::new(settings);
        for desired in environments {
            state.build(&desired.environment, &desired.fleet, |track| desired.target_of(track).clone());
        }
        Self::holding(state)
    }

    fn holding(state: State) -> Self {
        let clock = state.clock.clone();
        Self {
            state: Arc::new(Mutex::new(state)),
            clock,
            owner: Owner::first("reconcile"),
            dead: CancellationToken::new(),
            still: Arc::default(),
        }
    }

    /// The same world as another service sees it.
    #[must_use]
    pub fn as_service(&self, name: &str) -> Self {
        let owner = Owner { service: Arc::from(name), ..self.owner.clone() };
        Self { owner, ..self.clone() }
    }

    /// The same world as a process sees it that ends when `dead` is cancelled: from then on nothing that was begun
    /// through this handle goes on, and nothing returns; what has reached a host by then has happened.
    #[must_use]
    pub fn until(&self, dead: &CancellationToken) -> Self {
        let process = self.state().next_process();
        let owner = Owner { process, generation: Arc::default(), ..self.owner.clone() };
        Self { dead: dead.clone(), still: Arc::default(), owner, ..self.clone() }
    }

    /// Broken promises so far.
    pub fn violations(&self) -> Vec<Violation> {
        self.state().violations.clone()
    }

    /// What happened from line `from` on. Empty when the world was told to keep no trace.
    pub fn trace(&self, from: usize) -> Vec<TraceLine> {
        self.state().trace.get(from..).unwrap_or_default().to_vec()
    }

    /// Commands of ours that were let through so far, whatever they did.
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Sessions that broke because their server went away; those that a policy cut are not counted.
    pub fn lost_sessions(&self) -> u64 {
        self.state().lost_sessions
    }

    /// The version that a host's services run; none: some do not run, or different ones.
    pub fn running(&self, host: &HostName) -> Option<Version> {
        let state = self.state();
        let host = state.hosts.get(host)?;
        let mut versions = host.services.values().map(|process| process.live().map(|live| &live.version));
        let first = versions.next()??;
        versions.all(|version| version == Some(first)).then(|| first.clone())
    }

    /// Everything that keeps this world from being settled on a release, in words. Empty: every host runs it and is
    /// well, and nothing of ours is left behind.
    pub fn unsettled(&self, version: &Version) -> Vec<String> {
        let state = self.state();
        let mut left = Vec::new();
        for (name, host) in &state.hosts {
            left.extend(host.claim.as_ref().map(|_| format!("{name} is claimed")));
            if !host.has_role() {
                continue;
            }
            let wanted = host.role.package_version(version, "bookworm");
            let current = host.whole() && host.installed() == Some(&wanted) && host.runs(&wanted);
            left.extend((!current).then(|| format!("{name} does not run {wanted}")));
            let sick = state.health(host) != HealthState::Healthy || !host.machine.runs();
            left.extend(sick.then(|| format!("{name} is not well")));
        }
        for (name, node) in &state.nodes {
            let ours =
                node.rows.iter().filter(|(_, row)| row.taken_by == TakenBy::Us && row.admin != Admin::Ready);
            left.extend(ours.map(|(key, _)| format!("{}/{} on {name} is taken out by us", key.0, key.1)));
        }
        left
    }

    /// How many servers of a backend take traffic on a node.
    pub fn in_rotation(&self, node: &HostName, backend: &model::BackendName) -> usize {
        let state = self.state();
        let rows = state.nodes.get(node).filter(|node| node.passes_traffic()).map(|node| &node.rows);
        let serving = |rows: &std::collections::BTreeMap<_, crate::balancer::Server>| {
            rows.iter()
                .filter(|(key, row): &(&crate::balancer::RowKey, _)| key.0 == *backend && row.takes_traffic())
                .count()
        };
        rows.map_or(0, serving)
    }

    /// Says what a package version is like; versions that nobody spoke of are good.
    pub fn set_release(&self, version: &Version, release: Release) {
        self.state().releases.insert(version.clone(), release);
    }

    /// What a package version is like.
    pub(crate) fn release_of(&self, version: &Version) -> Release {
        self.state().release(version)
    }

    /// The state, after everything that was due has happened. Never held across an await.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.catch_up();
        state
    }

    fn decided(&self, step: &Step) {
        let mut state = self.state();
        self.owner.generation.fetch_max(step.generation.0, Ordering::Relaxed);
        let now_ms = state.now_ms;
        state.decided_ms.entry(step.id.clone()).or_insert(now_ms);
    }

    async fn set_out(&self, step: &Step) -> Result<Outcome, Failure> {
        self.awake().await;
        let mishap = self.sets_out(step);
        let result = self.meeting(mishap, step).await;
        self.state().tally.ended(step.action.kind(), &result);
        result
    }

    pub(crate) async fn carry_out(&self, step: &Step) -> Result<Outcome, Failure> {
        match &step.action {
            Action::Drain { .. }
            | Action::Maint { .. }
            | Action::Cut { .. }
            | Action::Retire { .. }
            | Action::Weigh { .. }
            | Action::Ready { .. } => self.act_on_rows(step).await,
            Action::Check { .. } if is_remote(step) => self.act_elsewhere(step).await,
            Action::Install { .. }
            | Action::Activate { .. }
            | Action::Patch { .. }
            | Action::Migrate { .. }
            | Action::Check { .. } => self.act_by_job(step).await,
            Action::Download { .. } => self.download(step).await,
            Action::Claim { .. } => self.act_on_host(step, |state, owner| state.claimed(step, owner)).await,
            Action::Release => self.act_on_host(step, |state, _| Ok(state.released(step))).await,
            Action::PauseAgent { .. } => {
                self.act_on_host(step, |state, _| Ok(state.agent_paused(step))).await
            }
            Action::ResumeAgent { .. } => {
                self.act_on_host(step, |state, _| Ok(state.agent_resumed(step))).await
            }
            Action::Pin { .. } => self.act_on_host(step, |state, _| Ok(state.told(step))).await,
        }
    }

    async fn act_on_host(
        &self,
        step: &Step,
        effect: impl FnOnce(&mut State, &Owner) -> Result<Outcome, Failure> + Send,
    ) -> Result<Outcome, Failure> {
        let trip = self.trip();
        self.reach(&step.host, trip).await?;
        let result = {
            let mut state = self.state();
            state.guard(step, &self.owner).and_then(|()| effect(&mut state, &self.owner))
        };
        self.reach(&step.host, trip).await?;
        result
    }

    async fn download(&self, step: &Step) -> Result<Outcome, Failure> {
        let trip = self.trip();
        self.reach(&step.host, trip).await?;
        let early = {
            let state = self.state();
            let Action::Download { packages } = &step.action else { return Ok(Outcome::AlreadyDone) };
            state.apt_lock(&step.host).map_or_else(|| state.obtainable(&step.host, packages), Err).err()
        };
        let wait = if early.is_some() { trip } else { self.state().pace.download };
        self.reach(&step.host, wait).await?;
        if let Some(failure) = early {
            return Err(failure);
        }
        self.act_on_host(step, |state, _| state.downloaded(step)).await
    }

    /// Every node in the order in which the command arrives there. One that fails does not keep the others from it.
    async fn act_on_rows(&self, step: &Step) -> Result<Outcome, Failure> {
        let trip = self.trip();
        let approach = |node: &HostName| (self.state().approach(node, trip), node.clone());
        let mut arrivals: Vec<_> = step.nodes().into_iter().map(approach).collect();
        arrivals.sort_by(|a, b| (a.0.at_ms, &a.1).cmp(&(b.0.at_ms, &b.1)));
        let (mut changed, mut failed) = (0, None);
        for (Way { at_ms, obstacle }, node) in arrivals {
            self.waits_until(at_ms).await;
            self.awake().await;
            match self.act_on_node(step, &node, obstacle).await {
                Ok(any) => changed += usize::from(any),
                Err(failure) => failed = failed.or(Some(failure)),
            }
        }
        if let Some(failure) = failed {
            return Err(failure);
        }
        let kind = step.action.kind();
        Ok(if changed == 0 {
            Outcome::AlreadyDone
        } else {
            Outcome::Changed(format!("{kind} on {changed} nodes"))
        })
    }

    async fn act_on_node(
        &self,
        step: &Step,
        node: &HostName,
        obstacle: Option<Failure>,
    ) -> Result<bool, Failure> {
        if let Some(failure) = obstacle {
            return Err(failure);
        }
        self.still_there(node).await?;
        let mut state = self.state();
        if !matches!(step.action, Action::Weigh { .. } | Action::Retire { .. }) {
            state.guard(step, &self.owner)?;
        }
        state.guard_node(step, node, &self.owner)?;
        state.rows_change(step, node)
    }

    /// Starts the step's job, or attaches to it, and waits for its end. Dropped, it leaves the job running.
    async fn act_by_job(&self, step: &Step) -> Result<Outcome, Failure> {
        let trip = self.trip();
        self.reach(&step.host, trip).await?;
        {
            let mut state = self.state();
            state.guard(step, &self.owner)?;
            if let Some(refusal) = state.not_ready(step) {
                return Err(refusal);
            }
            state.start_job(step);
        }
        let id = job_id(step);
        loop {
            let watched = self.watch(&step.host, &id);
            match watched {
                Watched::Running { look_ms } => self.waits_until(look_ms).await,
                Watched::Gone { after_ms, failure } => {
                    self.waits_until(after_ms).await;
                    return Err(failure);
                }
                Watched::Ended(result) => {
                    self.reach(&step.host, trip).await?;
                    return result;
                }
            }
        }
    }

    /// Starts a check behind an address, or finds it, and asks for its result until there is one.
    async fn act_elsewhere(&self, step: &Step) -> Result<Outcome, Failure> {
        let Some((job, _)) = step.action.job() else { return Ok(Outcome::AlreadyDone) };
        self.travel().await;
        self.state().start_remote(step);
        loop {
            let (end, due_ms) = {
                let state = self.state();
                let remote = state.named.remote.get(job);
                (remote.map(|remote| remote.end.clone()), remote.map_or(0, |remote| remote.due_ms))
            };
            match end {
                Some(End::Running) => self.waits_until(due_ms).await,
                Some(End::Done(result)) => {
                    self.travel().await;
                    return result;
                }
                Some(End::Lost) | None => {
                    let what = format!("{}: job {job} is not known there", step.host);
                    return Err(failure(FailureKind::InDoubt, what));
                }
            }
        }
    }

    fn watch(&self, host: &HostName, id: &StepId) -> Watched {
        let state = self.state();
        let (now_ms, answer_ms) = (state.now_ms, state.pace.answer_ms);
        let Some(there) = state.hosts.get(host) else { return Watched::Ended(Ok(Outcome::AlreadyDone)) };
        if let Some(failure) = there.machine.obstacle(host) {
            return Watched::Gone { after_ms: now_ms + answer_ms, failure };
        }
        match there.jobs.get(id).map(|job| (&job.end, job.due_ms)) {
            Some((End::Running, due_ms)) => {
                Watched::Running { look_ms: due_ms.clamp(now_ms + 1, now_ms + KEEPALIVE_MS) }
            }
            Some((End::Done(result), _)) => Watched::Ended(result.clone()),
            Some((End::Lost, _)) | None => {
                let what = format!("{host}: job {id} began, has no end, and does not run");
                Watched::Ended(Err(failure(FailureKind::InDoubt, what)))
            }
        }
    }
}

impl World for SimWorld {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn observe(&self, scope: &Scope) -> Observed {
        self.lives().await;
        Box::pin(self.see(scope)).await
    }

    async fn act(&self, step: &Step, cancel: &CancellationToken) -> Result<Outcome, Failure> {
        self.decided(step);
        tokio::select! {
            biased;
            () = self.dead.cancelled() => std::future::pending().await,
            () = cancel.cancelled() => Err(failure(FailureKind::Interrupted, format!("{} was given up", step.id))),
            // Behind a pointer, since whoever begins it hands it on several times.
            result = Box::pin(self.set_out(step)) => result,
        }
    }
}
