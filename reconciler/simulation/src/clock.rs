//! The world's time: tokio's clock, counted in milliseconds from a fixed epoch. The calendar can jump, as clocks do.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// Each time they did, and what had been added before.
    jumps: Arc<Mutex<Vec<(u64, i64)>>>,
    /// The furthest that it ever was ahead.
    furthest_ms: Arc<AtomicI64>,
}

impl Clock {
    pub(crate) fn starting(epoch: Timestamp) -> Self {
        Self {
            start: Instant::now(),
            epoch,
            jumped_ms: Arc::default(),
            jumps: Arc::default(),
            furthest_ms: Arc::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.start.elapsed()).unwrap_or(SignedDuration::MAX);
        self.calendar(elapsed, self.jumped_ms.load(Ordering::Relaxed))
    }

    fn calendar(&self, elapsed: SignedDuration, jumped_ms: i64) -> Timestamp {
        let jumped = SignedDuration::from_millis(jumped_ms);
        self.epoch.saturating_add(elapsed.saturating_add(jumped)).unwrap_or(Timestamp::MAX)
    }

    /// The calendar jumps; what takes time takes as long as before.
    pub(crate) fn jump(&self, by_ms: i64) {
        let before_ms = self.jumped_ms.fetch_add(by_ms, Ordering::Relaxed);
        self.jumps().push((self.now_ms(), before_ms));
        let jumped_ms = before_ms + by_ms;
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

    /// How far the calendar was behind at a time.
    pub(crate) fn behind_at(&self, ms: u64) -> SignedDuration {
        let jumped_ms = self.jumped_at(ms);
        let jumps = self.jumps();
        let before = jumps.iter().filter(|(at_ms, _)| *at_ms <= ms).map(|(_, before_ms)| *before_ms);
        SignedDuration::from_millis(before.max().unwrap_or(jumped_ms).max(jumped_ms) - jumped_ms)
    }

    /// What the calendar showed at a time, or shows.
    pub(crate) fn at(&self, ms: u64) -> Timestamp {
        let elapsed = SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
        self.calendar(elapsed, self.jumped_at(ms))
    }

    fn jumped_at(&self, ms: u64) -> i64 {
        let later = self.jumps().iter().find(|(at_ms, _)| ms < *at_ms).map(|(_, before_ms)| *before_ms);
        later.unwrap_or_else(|| self.jumped_ms.load(Ordering::Relaxed))
    }

    fn jumps(&self) -> MutexGuard<'_, Vec<(u64, i64)>> {
        self.jumps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once `now_ms` is at least `ms`.
    pub(crate) async fn until(&self, ms: u64) {
        tokio::time::sleep_until(self.start + Duration::from_millis(ms)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_it_showed_before_a_jump_stays_what_it_showed() {
        let clock = Clock::starting(Timestamp::UNIX_EPOCH);
        clock.until(1_000).await;
        clock.jump(60_000);
        clock.until(2_000).await;
        clock.jump(-30_000);
        let shown = [500, 1_000, 1_500, 2_000].map(|ms| clock.at(ms).as_millisecond());
        assert_eq!(shown, [500, 61_000, 61_500, 32_000]);
        assert_eq!(clock.now().as_millisecond(), 32_000);
        assert_eq!(clock.behind().as_millis(), 30_000);
        let behind = [500, 1_000, 1_500, 2_000].map(|ms| clock.behind_at(ms).as_millis());
        assert_eq!(behind, [0, 0, 0, 30_000]);
    }
}
