//! After the trouble: everything that was in the way is out of it, people want one good version, and the fleet has to
//! get there within a bound, and stay.

use std::time::Duration;

use model::{GateName, Standing, Verdict, Version};
use tokio::time::Instant;

use crate::invariants::Violation;
use crate::named::Fate;
use crate::proof::life::{Ending, Life, version};
use crate::proof::troubles::OTHER_TEAM;
use crate::state::Release;

/// The last version that people want, where they want a new one.
const LAST: &str = "99";

/// The fleet has to get there within this, in the world's time: some rollouts with every backoff that was earned.
const BOUND: Duration = Duration::from_secs(900);

/// How often the person on call looks.
const LOOKS: Duration = Duration::from_secs(10);

/// Between a look and the next one at least.
const BREATH: Duration = Duration::from_secs(2);

/// How long it is watched afterwards: every quiet host and node is looked at again by then.
const STAYS: Duration = Duration::from_secs(35);

impl Life<'_> {
    /// Faults stop; then it converges, and stays.
    pub(crate) async fn calms_down(&mut self) -> Ending {
        self.heals();
        self.wants_the_last();
        let bound = Instant::now() + BOUND;
        // Nobody may be sent anywhere: what went wrong on a quiet host is seen when it is looked at again, and mended once.
        let mut may_be_found = !self.scenario.ends_anew;
        loop {
            if let Some(ending) = self.gets_there(bound).await {
                return ending;
            }
            self.sleep_until(Instant::now() + STAYS).await;
            if let Some(violation) = self.violation() {
                return Ending::Broken(violation);
            }
            if self.left().is_empty() {
                return Ending::Kept;
            }
            if !std::mem::take(&mut may_be_found) {
                return self.stuck().await;
            }
        }
    }

    /// Waits until nothing is left to do, and looks after it meanwhile. An ending: it did not get there.
    async fn gets_there(&mut self, bound: Instant) -> Option<Ending> {
        loop {
            self.waits_for_convergence(Instant::now() + LOOKS).await;
            if let Some(violation) = self.violation() {
                return Some(Ending::Broken(violation));
            }
            if self.left().is_empty() {
                return None;
            }
            if Instant::now() >= bound {
                return Some(self.stuck().await);
            }
            self.is_looked_after().await;
            self.sleep_until(Instant::now() + BREATH).await;
        }
    }

    fn violation(&self) -> Option<Violation> {
        self.world.first_violation().or_else(|| self.fault_of_its_own())
    }

    fn heals(&mut self) {
        let world = self.world.clone();
        for machine in self.scenario.shape.machines() {
            world.person_ends_hanging_jobs(&machine);
            world.heals(&machine, OTHER_TEAM);
        }
        world.gate_is(&Self::production(), &GateName::new("errors"), Verdict::Green, "0");
        world.migrations_are(&Self::production(), Fate::Works);
        world.check_is(&"qa".into(), Fate::Works);
        world.has_mishaps(crate::proof::Mishaps::default());
        self.source.remote_gone(None);
        self.source.distrust(None);
        self.journal.refuse(false);
        self.journal.takes(0);
        if let Some(process) = &self.process {
            process.world.process_stands_still(false);
        }
        if let Some(process) = self.superseded.take() {
            process.dies();
        }
        self.tend();
        self.tells_whether_it_works();
    }

    /// One good version everywhere, and nothing that people said before.
    fn wants_the_last(&mut self) {
        let last = self.last_version();
        let mut environments = self.scenario.shape.environments(&last);
        for desired in &mut environments {
            desired.canary = self.scenario.shape.canary_of(desired, &last, 10);
            desired.fleet.policy.follows.clear();
        }
        self.source.commit("the last", environments);
    }

    /// What production wants by now, when it works; else a new one that does.
    fn last_version(&self) -> Version {
        let newest = self.source.newest().unwrap_or_default();
        let wanted = newest.get(&Self::production()).map(|desired| desired.target.clone());
        let works = |wanted: &Version| self.world.release_of(wanted) == Release::GOOD;
        wanted.filter(works).filter(|_| !self.scenario.ends_anew).unwrap_or_else(|| version(LAST))
    }

    async fn waits_for_convergence(&mut self, until: Instant) {
        self.tend();
        let Some(mut standings) = self.process.as_ref().map(|process| process.handle.standings.clone())
        else {
            return self.sleep_until(until).await;
        };
        let wanted = self.source.head();
        let done = |standings: &engine::Standings| {
            let there = |(at, standing): &(model::CommitId, Standing)| {
                Some(at) == wanted.as_ref() && *standing == Standing::Converged
            };
            !standings.is_empty() && standings.values().all(there)
        };
        // A process that dies meanwhile is noticed at the next look.
        let _ = tokio::time::timeout_at(until, standings.wait_for(done)).await;
        self.tend();
    }

    /// What keeps the world from being settled, in words.
    fn left(&self) -> Vec<String> {
        let newest = self.source.newest().unwrap_or_default();
        newest.values().flat_map(|desired| self.world.unsettled_on(desired)).collect()
    }

    async fn stuck(&self) -> Ending {
        let mut left = self.left();
        if let Some(report) = self.report().await {
            left.extend(report.obstacle.iter().map(|reason| format!("git: {reason}")));
            for (name, environment) in &report.environments {
                left.push(format!("{name} is {:?}", environment.standing));
                let waiting = environment.plan.waiting.iter();
                left.extend(
                    waiting.map(|waiting| format!("{name}: {}: {}", waiting.subject, waiting.reason)),
                );
            }
        }
        Ending::Stuck { left, trace: self.world.trace(0) }
    }
}
