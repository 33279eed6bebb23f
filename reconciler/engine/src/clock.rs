//! The service's own clock: the wall's time, except that it never goes back.
//!
//! What is fresh is judged by comparing times: a fact counts when its reading began after the last action there. A wall
//! clock that jumps back would make an old fact look newer than the action. So times go on at the pace of the monotonic
//! clock until the wall has caught up, also after a restart: never before the journal's last event.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use model::{Fact, Observed};
use tokio::time::Instant;

use crate::seams::World;

/// Clones are the same clock.
pub(crate) struct Clock<W> {
    world: Arc<W>,
    last: Arc<Mutex<(Timestamp, Instant)>>,
}

impl<W> Clone for Clock<W> {
    fn clone(&self) -> Self {
        Self { world: self.world.clone(), last: self.last.clone() }
    }
}

impl<W: World> Clock<W> {
    /// A clock that does not go back behind `floor`.
    pub(crate) fn from(world: Arc<W>, floor: Timestamp) -> Self {
        Self { world, last: Arc::new(Mutex::new((floor, Instant::now()))) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// As [`Self::now`], for whoever has just asked the clock of sleeps: that says `here`.
    pub(crate) fn at(&self, here: Instant) -> Timestamp {
        let wall = self.world.now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = SignedDuration::try_from(here - last.1).unwrap_or(SignedDuration::ZERO);
        let now = wall.max(last.0.saturating_add(passed).unwrap_or(Timestamp::MAX));
        *last = (now, here);
        now
    }
}

/// Facts of a reading that began at `began`, by this clock.
pub(crate) fn read_at(observed: Observed, began: Timestamp) -> Observed {
    let Observed { mut hosts, mut nodes, mut gates, mut versions, twins } = observed;
    hosts.values_mut().for_each(|fact| fact.at = began);
    nodes.values_mut().for_each(|fact| fact.at = began);
    for fact in gates.values_mut() {
        let at = std::mem::replace(&mut fact.at, began);
        // A reading knows nothing of those before it: the gate has been so since it was asked.
        fact.value.iter_mut().filter(|state| state.since == at).for_each(|state| state.since = began);
    }
    versions.iter_mut().for_each(|fact: &mut Fact<_>| fact.at = began);
    Observed { hosts, nodes, gates, versions, twins }
}
