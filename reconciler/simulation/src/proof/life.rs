//! One life of a world: the service begins, things go wrong, then they stop going wrong, and it has to get there.

use std::sync::Arc;
use std::time::Duration;

use engine::{Handle, Service};
use jiff::Timestamp;
use model::{EnvironmentName, Recorded, Version};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::builder::Settings;
use crate::invariants::{Promise, Violation};
use crate::journal::MemoryJournal;
use crate::proof::bent::{BentJournal, BentSource, BentWorld};
use crate::proof::happening::What;
use crate::proof::panics::Panics;
use crate::proof::sabotage::Sabotage;
use crate::proof::scenario::Scenario;
use crate::proof::shape::PRODUCTION;
use crate::proof::witness::{Told, Witness};
use crate::source::SimSource;
use crate::state::TraceLine;
use crate::world::SimWorld;

/// How a life ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every promise was kept, and the fleet got to where it should be.
    Kept,
    /// A promise was broken.
    Broken(Violation),
    /// Faults had stopped, and it did not get there. What was left, and the events of the journal.
    Stuck {
        /// What keeps the world from being settled, and what the service waits for.
        left: Vec<String>,
        /// What went before, where the world keeps a trace.
        trace: Vec<TraceLine>,
    },
}

/// A life, and what happened in it.
#[derive(Clone, Debug)]
pub struct Lived {
    /// How it ended.
    pub ending: Ending,
    /// Events of its journals.
    pub events: usize,
    /// How long it took, in the world's time.
    pub took: Duration,
    /// The last journal, where the world keeps a trace.
    pub journal: Vec<Recorded>,
    /// What was done, and met.
    pub tally: crate::tally::Tally,
}

/// A process of the service.
pub(crate) struct Process {
    pub(crate) world: SimWorld,
    pub(crate) handle: Handle,
    pub(crate) dead: CancellationToken,
    pub(crate) task: AbortHandle,
}

impl Process {
    /// It is gone at once, wherever it is.
    pub(crate) fn dies(&self) {
        self.dead.cancel();
        self.task.abort();
    }
}

/// A world with everything around it.
pub(crate) struct Life<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) world: SimWorld,
    pub(crate) source: SimSource,
    pub(crate) journal: MemoryJournal,
    pub(crate) process: Option<Process>,
    /// The process in which the service began; a newer one took over from it, and it is still there.
    pub(crate) superseded: Option<Process>,
    /// When the next process begins, after one that died.
    restart_at: Option<Instant>,
    /// Versions that were targets, newest last.
    pub(crate) versions: Vec<Version>,
    pub(crate) nightlies: u32,
    /// Something was done that is in no journal any more: it was lost, or an older service went on beside it.
    pub(crate) journal_lacks: bool,
    /// What is wrong with its services.
    sabotage: Option<Sabotage>,
    told: Option<Told>,
    /// Of every process that there was: what it was refused counts after its end as well.
    handles: Vec<Handle>,
    panics: Panics,
    events: usize,
    traced: bool,
}

/// How long it takes to start the service again.
const RESTART: Duration = Duration::from_millis(700);

/// Lives a scenario, by tokio's clock, which should be paused. `traced` keeps what happened for people.
pub async fn live(scenario: &Scenario, traced: bool) -> Lived {
    live_bent(scenario, None, traced).await
}

/// Lives a scenario with a defect: the same life, in which one thing at the seams of the service is bent.
pub async fn live_bent(scenario: &Scenario, sabotage: Option<Sabotage>, traced: bool) -> Lived {
    Life::begin(scenario, sabotage, None, traced).passes().await
}

/// Lives a scenario while somebody is told of every situation in which the service has to plan for production.
pub async fn live_watched(scenario: &Scenario, told: Told) -> Lived {
    Life::begin(scenario, None, Some(told), false).passes().await
}

impl<'a> Life<'a> {
    fn begin(scenario: &'a Scenario, sabotage: Option<Sabotage>, told: Option<Told>, traced: bool) -> Self {
        let settings = Settings { pace: scenario.pace.clone(), traced, ..Settings::seeded(scenario.seed) };
        let first = version("1");
        let environments = scenario.shape.environments(&first);
        let world = SimWorld::of(&environments, settings);
        let source = SimSource::new(scenario.seed);
        source.commit("first", environments);
        let journal = MemoryJournal::new();
        world.is_judged_by(&source, &journal);
        world.has_mishaps(scenario.mishaps);
        if scenario.shape.sticky {
            world.make_sticky(&crate::proof::shape::web());
        }
        let mut life = Self {
            scenario,
            world,
            source,
            journal,
            process: None,
            superseded: None,
            restart_at: None,
            versions: vec![first],
            nightlies: 0,
            journal_lacks: false,
            sabotage,
            told,
            handles: Vec::new(),
            panics: Panics::watched(),
            events: 0,
            traced,
        };
        life.start();
        life
    }

    async fn passes(mut self) -> Lived {
        self.goes_wrong().await;
        let ending = self.calms_down().await;
        self.ends(ending)
    }

    pub(crate) fn now(&self) -> Timestamp {
        engine::World::now(&self.world)
    }

    pub(crate) fn production() -> EnvironmentName {
        EnvironmentName::new(PRODUCTION)
    }

    /// A process of the service begins on the journal as it is.
    pub(crate) fn start(&mut self) {
        self.restart_at = None;
        let dead = CancellationToken::new();
        let mut world = self.world.until(&dead);
        world.owner.fenced = self.sabotage != Some(Sabotage::OlderGenerationObeyed);
        let journal = self.journal.reopen();
        let (desired, _) = watch::channel(Arc::default());
        let (clock, by) = (world.clone(), Witness::new(self.told.clone()));
        let sabotage = self.sabotage;
        let started = Service::start(
            Arc::new(by.at(BentWorld::new(world.clone(), sabotage), &clock)),
            Arc::new(by.at(BentJournal::new(journal.clone(), world.clone(), sabotage), &clock)),
            Arc::new(by.at(BentSource::new(self.source.clone(), sabotage), &clock)),
            "reconcile",
            desired,
            // What a process that is gone had begun beside its loop is gone as well.
            dead.clone(),
        );
        self.journal = journal;
        let Ok((service, handle)) = started else {
            self.restart_at = Some(Instant::now() + RESTART);
            return;
        };
        self.handles.push(handle.clone());
        let task = tokio::spawn(service.run()).abort_handle();
        self.process = Some(Process { world, handle, dead, task });
        self.tells_whether_it_works();
    }

    /// The world judges a service that has a time for something by the time in which it could work.
    pub(crate) fn tells_whether_it_works(&self) {
        let moves = self.process.as_ref().is_some_and(|process| !process.world.stands_still());
        self.world.service_works(moves && !self.journal.refuses() && self.journal.slow_ms() == 0);
    }

    /// The service is gone at once, wherever it is.
    pub(crate) fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.dies();
        }
        self.restart_at = Some(Instant::now() + RESTART);
        self.tells_whether_it_works();
    }

    /// Somebody looks after the service: it is started again when it is gone, and it is time.
    pub(crate) fn tend(&mut self) {
        if self.process.as_ref().is_some_and(|process| process.dead.is_cancelled()) {
            self.kill();
        }
        if self.process.is_none() && self.restart_at.is_none_or(|at| at <= Instant::now()) {
            self.start();
        }
    }

    /// Sleeps until a moment, while somebody looks after the service.
    pub(crate) async fn sleep_until(&mut self, until: Instant) {
        while Instant::now() < until {
            self.tend();
            let wake = self.restart_at.map_or(until, |at| at.min(until));
            let dead = self.process.as_ref().map(|process| process.dead.clone()).unwrap_or_default();
            tokio::select! {
                biased;
                () = dead.cancelled() => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        self.tend();
    }

    /// The time of trouble.
    async fn goes_wrong(&mut self) {
        let began = Instant::now();
        let mut edges = Vec::new();
        for (at, happening) in self.scenario.happenings.iter().enumerate() {
            edges.push((happening.at_ms, at, true));
            edges.push((happening.at_ms + happening.for_ms, at, false));
        }
        edges.sort_unstable();
        for (at_ms, at, begins) in edges {
            self.sleep_until(began + Duration::from_millis(at_ms)).await;
            if self.is_asked() {
                let _ = self.report().await;
            }
            let happening = &self.scenario.happenings[at];
            let lasts = Duration::from_millis(happening.for_ms);
            match (happening.what, begins) {
                (What::Fault(fault, which), true) => self.trouble_begins(fault, which),
                (What::Fault(fault, which), false) => self.trouble_ends(fault, which),
                (What::Deed(deed, which), true) => self.does(deed, which, lasts).await,
                (What::Deed(deed, _), false) => self.undoes(deed),
            }
            self.tells_whether_it_works();
            if self.is_broken() {
                return;
            }
        }
    }

    /// For the histogram a few lives are asked what the service waits for, whenever something happens: it costs as much as a
    /// plan each time.
    fn is_asked(&self) -> bool {
        self.scenario.seed % 16 == 0
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.world.is_broken() || self.fault_of_its_own().is_some()
    }

    /// What is wrong with the service whatever the world says of it.
    pub(crate) fn fault_of_its_own(&self) -> Option<Violation> {
        self.refusal().or_else(|| {
            let what = self.panics.newest()?;
            Some(Violation { at: self.now(), promise: Promise::Panic, what, trace: self.world.trace(0) })
        })
    }

    /// A plan that the service's own linter refused: it would have broken a promise.
    fn refusal(&self) -> Option<Violation> {
        let (environment, at, findings) = self.handles.iter().find_map(|handle| handle.refusals().newest)?;
        let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
        let what = format!("a plan for {environment} was refused: {}", told.join("; "));
        Some(Violation { at, promise: Promise::Lint, what, trace: self.world.trace(0) })
    }

    /// Events so far of a journal that is given up.
    pub(crate) fn counts_events(&mut self) {
        self.events += self.journal.events().len();
    }

    fn ends(mut self, ending: Ending) -> Lived {
        self.counts_events();
        for process in self.process.take().into_iter().chain(self.superseded.take()) {
            process.dies();
        }
        let journal = if self.traced { self.journal.events() } else { Vec::new() };
        Lived { ending, journal, events: self.events, took: self.world.age(), tally: self.world.tally() }
    }
}

pub(crate) fn version(text: &str) -> Version {
    Version::parse(text).expect("the proof writes valid versions")
}

#[cfg(test)]
mod tests {
    use crate::proof::sabotage::Catcher;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_panic_of_the_service_breaks_a_life() {
        let panics: Told = Arc::new(|_| panic!("a mistake in the planner"));
        let ending = live_watched(&Scenario::drawn(1), panics).await.ending;
        assert_eq!(ending.caught_by(), Some(Catcher::Promise(Promise::Panic)), "{ending:?}");
        let Ending::Broken(violation) = ending else { unreachable!("it is caught by a promise") };
        assert!(
            violation.what.contains("life.rs") && violation.what.contains("a mistake in the planner"),
            "{violation}"
        );
    }
}
