//! When the service decides anew.

use jiff::Timestamp;
use tokio::time::{Duration, Instant};

/// How long a decision waits for readings that were asked for: most take less, and then nothing was known before them that
/// could be decided on. One host that hangs delays nobody by more.
const PATIENCE: Duration = Duration::from_millis(100);

/// The moment of the next plan.
pub(crate) struct Turn(Instant);

impl Turn {
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn at(&self) -> Instant {
        self.0
    }

    /// At this moment, unless there is news before.
    pub(crate) fn set(&mut self, at: Instant) {
        self.0 = at;
    }

    /// There is something new to decide on.
    pub(crate) fn comes_now(&mut self) {
        self.0 = Instant::now();
    }

    /// There is something new, and maybe more in a moment: at once when everything is there that was asked for.
    pub(crate) fn comes_soon(&mut self, everything_is_there: bool) {
        let patience = if everything_is_there { Duration::ZERO } else { PATIENCE };
        self.0 = self.0.min(Instant::now() + patience);
    }
}

/// The service's time by the clock of its sleep, where it is now `here`; far away when there is none.
pub(crate) fn in_time(here: Instant, now: Timestamp, at: Option<Timestamp>) -> Instant {
    let far = Duration::from_secs(3600);
    here + at.map_or(far, |at| Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_waits_a_moment_for_what_was_asked_for_and_no_longer() {
        let mut turn = Turn::now();
        turn.set(Instant::now() + Duration::from_secs(10));
        turn.comes_soon(false);
        let first = turn.at();
        assert!(first <= Instant::now() + PATIENCE);
        std::thread::sleep(Duration::from_millis(2));
        turn.comes_soon(false);
        assert_eq!(turn.at(), first, "the first news waits no longer for the second");
        turn.comes_soon(true);
        assert!(turn.at() <= Instant::now());
    }
}
