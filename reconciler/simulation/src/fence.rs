//! The fence on simulated hosts and load balancer nodes, as the live one: what is older of one service is refused, and of
//! two processes with one generation the first to come has it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::{Generation, Step};

/// Who acts.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    /// The service's own lasting name.
    pub(crate) service: Arc<str>,
    /// Tells this process from every other one.
    pub(crate) process: u64,
    /// Whether anybody asks the fence.
    pub(crate) fenced: bool,
    /// Of the newest step; 0: nothing was done yet.
    pub(crate) generation: Arc<AtomicU64>,
}

impl Owner {
    /// Who has done nothing yet, in a world without any other process.
    pub(crate) fn first(service: &str) -> Self {
        Self { service: Arc::from(service), process: 0, fenced: true, generation: Arc::default() }
    }

    /// The highest generation that a machine remembers, as a reading tells it: where another process was there with our
    /// own, that one came first, and it counts as the next one.
    pub(crate) fn remembered(&self, fences: &Fences) -> Option<Generation> {
        let ours = Generation(self.generation.load(Ordering::Relaxed));
        let taken = |seen: &&Seen| seen.generation == ours && seen.process != self.process;
        let taken = fences.get(&self.service).filter(taken).map(|_| Generation(ours.0 + 1));
        taken.or_else(|| fences.values().map(|seen| seen.generation).max())
    }
}

/// The newest of each service that was there.
pub(crate) type Fences = BTreeMap<Arc<str>, Seen>;

/// The newest of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) generation: Generation,
    process: u64,
}

impl Seen {
    /// Whether another process than the newest service was here after it, or with its generation: its journal lacks something.
    pub(crate) fn is_beyond(&self, newest: Generation, process: u64) -> bool {
        self.generation > newest || (self.generation == newest && self.process != process)
    }

    /// Why a step may not change anything here, after "the host".
    pub(crate) fn refuses(&self, step: &Step, owner: &Owner) -> Option<String> {
        let (newest, service) = (self.generation, &owner.service);
        if newest > step.generation {
            return Some(format!("has seen generation {newest} of {service}"));
        }
        let other = newest == step.generation && self.process != owner.process;
        other.then(|| format!("has seen another process with generation {newest} of {service}"))
    }
}

/// A step was let through.
pub(crate) fn saw(fences: &mut Fences, step: &Step, owner: &Owner) {
    let seen = Seen { generation: step.generation, process: owner.process };
    let newest = fences.entry(owner.service.clone()).or_insert(seen);
    if newest.generation < seen.generation {
        *newest = seen;
    }
}
