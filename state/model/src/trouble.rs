//! What went wrong on a host: how often, and when it is tried again.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, FailureKind};
use crate::step::{ActionKind, Step};
use crate::version::Version;

/// Attempts after which a host's release halts.
pub const MAX_ATTEMPTS: u32 = 3;

/// The first wait after a failure; doubled each time, up to [`MAX_BACKOFF`].
pub const FIRST_BACKOFF: SignedDuration = SignedDuration::from_secs(2);

/// The first wait after sessions outlasted a drain: they need time more than another try.
pub const FIRST_DRAIN_BACKOFF: SignedDuration = SignedDuration::from_secs(15);

/// The longest wait after a failure.
pub const MAX_BACKOFF: SignedDuration = SignedDuration::from_secs(60);

/// What went wrong on a host. Gone when an install or activation of it succeeds, or its target changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// With which release.
    pub version: Version,
    /// Which action.
    pub action: ActionKind,
    /// How the last one failed.
    pub failure: Failure,
    /// Failures in a row, of any kind.
    pub times: u32,
    /// Those among them that count towards [`MAX_ATTEMPTS`].
    pub attempts: u32,
    /// Not tried before this.
    pub until: Timestamp,
}

/// A trouble is over when its action succeeds. Sessions that outlasted a drain are over only when the install comes: a
/// new drain is just another try. An install of another release, as on a host that migrates for both tracks, ends none.
pub(crate) fn is_over(trouble: &Trouble, succeeded: &Step) -> bool {
    let outlasted = trouble.action == ActionKind::Drain && trouble.failure.kind == FailureKind::TimedOut;
    match succeeded.action.kind() {
        ActionKind::Install => trouble.version == succeeded.version,
        kind => trouble.action == kind && !outlasted,
    }
}

/// 2 s, 4 s, 8 s, … at most 60 s.
pub fn backoff(times: u32) -> SignedDuration {
    let doubled = 2_i32.saturating_pow(times.saturating_sub(1));
    FIRST_BACKOFF.checked_mul(doubled).map_or(MAX_BACKOFF, |wait| wait.clamp(FIRST_BACKOFF, MAX_BACKOFF))
}
