//! The world's time: tokio's clock, counted in milliseconds from a fixed epoch.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The instant a world began, and what its calendar said then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    epoch: Timestamp,
}

impl Clock {
    pub(crate) fn starting(epoch: Timestamp) -> Self {
        Self { start: Instant::now(), epoch }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.start.elapsed()).unwrap_or(SignedDuration::MAX);
        self.epoch.saturating_add(elapsed).unwrap_or(Timestamp::MAX)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn at(&self, ms: u64) -> Timestamp {
        let elapsed = SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
        self.epoch.saturating_add(elapsed).unwrap_or(Timestamp::MAX)
    }

    /// Returns once `now_ms` is at least `ms`.
    pub(crate) async fn until(&self, ms: u64) {
        tokio::time::sleep_until(self.start + Duration::from_millis(ms)).await;
    }
}
