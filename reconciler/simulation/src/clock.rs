//! The world's time: tokio's clock, counted in milliseconds from a fixed epoch. The calendar can jump, as clocks do.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The instant a world began, and what its calendar said then.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    start: Instant,
    epoch: Timestamp,
    /// What people or NTP have added to the calendar.
    jumped_ms: Arc<AtomicI64>,
    /// The furthest that it ever was ahead.
    furthest_ms: Arc<AtomicI64>,
}

impl Clock {
    pub(crate) fn starting(epoch: Timestamp) -> Self {
        Self { start: Instant::now(), epoch, jumped_ms: Arc::default(), furthest_ms: Arc::default() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.start.elapsed()).unwrap_or(SignedDuration::MAX);
        self.calendar(elapsed)
    }

    fn calendar(&self, elapsed: SignedDuration) -> Timestamp {
        let jumped = SignedDuration::from_millis(self.jumped_ms.load(Ordering::Relaxed));
        self.epoch.saturating_add(elapsed.saturating_add(jumped)).unwrap_or(Timestamp::MAX)
    }

    /// The calendar jumps; what takes time takes as long as before.
    pub(crate) fn jump(&self, by_ms: i64) {
        let jumped_ms = self.jumped_ms.fetch_add(by_ms, Ordering::Relaxed) + by_ms;
        self.furthest_ms.fetch_max(jumped_ms, Ordering::Relaxed);
    }

    /// How far the calendar is behind what it has once shown: nobody can tell which of the two is right.
    pub(crate) fn behind(&self) -> SignedDuration {
        let (furthest_ms, jumped_ms) =
            (self.furthest_ms.load(Ordering::Relaxed), self.jumped_ms.load(Ordering::Relaxed));
        SignedDuration::from_millis(furthest_ms - jumped_ms)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn at(&self, ms: u64) -> Timestamp {
        self.calendar(SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX)))
    }

    /// Returns once `now_ms` is at least `ms`.
    pub(crate) async fn until(&self, ms: u64) {
        tokio::time::sleep_until(self.start + Duration::from_millis(ms)).await;
    }
}
