//! The shipping service over the simulated world, from one process to the next.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::Arc;
use std::time::Duration;

use engine::{Handle, Refusals, Service};
use model::{CommitId, Desired, Standing};
use simulation::{MemoryJournal, Pace, Settings, SimSource, SimWorld};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::sample::*;

/// Longer than any rollout here takes, in the world's time.
pub(crate) const BOUND: Duration = Duration::from_secs(1_800);

/// A world with its repository and journal: what outlives a service.
pub(crate) struct Stage {
    pub(crate) world: SimWorld,
    pub(crate) source: SimSource,
    pub(crate) journal: MemoryJournal,
}

impl Stage {
    pub(crate) fn set(seed: u64) -> Self {
        let settings = Settings { pace: Pace::brisk(), ..Settings::seeded(seed) };
        let world = SimWorld::with(&fleet(), &version("1"), settings);
        let source = SimSource::new(seed);
        source.commit("first", [desired("1")]);
        let journal = MemoryJournal::new();
        world.is_judged_by(&source, &journal);
        Self { world, source, journal }
    }

    /// As [`Stage::set`], with canaries, a database, agents and gates; and what a whole release to 2 wants.
    pub(crate) fn with_whole_release(seed: u64) -> (Self, Desired) {
        let release = whole_release();
        let before = Desired {
            target: version("1"),
            canary: None,
            exceptions: model::Exceptions::default(),
            ..release.clone()
        };
        (Self::holding(seed, before), release)
    }

    /// A world in which every host runs what its one commit says.
    pub(crate) fn holding(seed: u64, first: Desired) -> Self {
        let settings = Settings { pace: Pace::brisk(), ..Settings::seeded(seed) };
        let world = SimWorld::of([&first], settings);
        let source = SimSource::new(seed);
        source.commit("first", [first]);
        let journal = MemoryJournal::new();
        world.is_judged_by(&source, &journal);
        Self { world, source, journal }
    }

    /// The same as the next process finds it.
    pub(crate) fn reopened(self) -> Self {
        Self { journal: self.journal.reopen(), ..self }
    }

    /// One process: runs until `commit` has converged, or until it dies. Tells whether it converged.
    pub(crate) async fn run(&self, commit: &CommitId, dies: &CancellationToken) -> bool {
        self.run_through(async |_| {}, commit, dies).await
    }

    /// As [`Stage::run`]; whether it converged is asked after `trouble` alone.
    pub(crate) async fn run_through(
        &self,
        trouble: impl AsyncFnOnce(&Handle),
        commit: &CommitId,
        dies: &CancellationToken,
    ) -> bool {
        let converged = async |handle| {
            trouble(&handle).await;
            converged(handle, commit).await;
        };
        let (desired, _) = watch::channel(Arc::default());
        let started = Service::start(
            Arc::new(self.world.until(dies)),
            Arc::new(self.journal.clone()),
            Arc::new(self.source.clone()),
            "reconcile",
            desired,
            CancellationToken::new(),
        );
        let Ok((service, handle)) = started else { return false };
        let judge = handle.clone();
        let converged = tokio::select! {
            biased;
            () = dies.cancelled() => false,
            () = service.run() => false,
            () = converged(handle) => true,
        };
        assert_eq!(judge.refusals(), Refusals::default(), "a plan would have broken a promise");
        converged
    }

    /// A process that lives, and is ended when it has converged. It has to within the bound.
    pub(crate) async fn arrives(&self, commit: &CommitId, what: &str) {
        let lives = CancellationToken::new();
        let run = timeout(BOUND, self.run(commit, &lives)).await;
        lives.cancel();
        assert_eq!(run, Ok(true), "{what}: did not converge\n{}", self.told());
    }

    /// As [`Stage::arrives`]; the world is as it should be then.
    pub(crate) async fn converges(&self, commit: &CommitId, to: &str, what: &str) {
        self.arrives(commit, what).await;
        self.kept(to, what);
        assert_eq!(self.world.lost_sessions(), 0, "{what}\n{}", self.told());
    }

    /// Everything runs `to`, nothing of ours is left behind, and no promise was broken.
    pub(crate) fn kept(&self, to: &str, what: &str) {
        assert_eq!(self.world.unsettled(&version(to)), Vec::<String>::new(), "{what}\n{}", self.told());
        let violations: Vec<String> = self.world.violations().iter().map(ToString::to_string).collect();
        assert_eq!(violations, Vec::<String>::new(), "{what}");
    }

    pub(crate) fn told(&self) -> String {
        let lines: Vec<String> = self.world.trace(0).iter().map(ToString::to_string).collect();
        let events: Vec<String> =
            self.journal.events().iter().map(|r| format!("{} {} {:?}", r.seq, r.at, r.event)).collect();
        format!("{}\n{}", lines.join("\n"), events.join("\n"))
    }
}

async fn converged(mut handle: Handle, commit: &CommitId) {
    let done = |standings: &engine::Standings| {
        standings
            .get("production")
            .is_some_and(|(at, standing)| at == commit && *standing == Standing::Converged)
    };
    if handle.standings.wait_for(done).await.is_err() {
        std::future::pending::<()>().await;
    }
}
