//! What went wrong on a host: how often, and when it is tried again.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, FailureKind};
use crate::ids::HostName;
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

/// What went wrong on a host with one release. Gone when an install or activation of it succeeds, or its target changes.
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

/// What went wrong on hosts and load balancer nodes, once for each release: a host that migrates for both tracks has two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Troubles(BTreeMap<HostName, Vec<Trouble>>);

impl Troubles {
    /// A host's trouble with a release.
    pub fn of(&self, host: &HostName, version: &Version) -> Option<&Trouble> {
        self.0.get(host)?.iter().find(|trouble| trouble.version == *version)
    }

    /// All of them, host by host.
    pub fn iter(&self) -> impl Iterator<Item = (&HostName, &Trouble)> {
        self.0.iter().flat_map(|(host, troubles)| troubles.iter().map(move |trouble| (host, trouble)))
    }

    /// Whether nothing went wrong that is not over.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes one in, instead of what was known of that host with that release.
    pub fn insert(&mut self, host: HostName, trouble: Trouble) {
        let of_host = self.0.entry(host).or_default();
        of_host.retain(|known| known.version != trouble.version);
        of_host.push(trouble);
    }

    /// A step succeeded: what that ends is forgotten.
    pub(crate) fn succeeded(&mut self, step: &Step, is_target: impl Fn(&Version) -> bool) {
        self.retain(|host, trouble| *host != step.host || !is_over(trouble, step, &is_target));
    }

    /// Forgets the others.
    pub(crate) fn retain(&mut self, stays: impl Fn(&HostName, &Trouble) -> bool) {
        self.0.retain(|host, troubles| {
            troubles.retain(|trouble| stays(host, trouble));
            !troubles.is_empty()
        });
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// A trouble is over when its action succeeds. Sessions that outlasted a drain are over only when the install comes: a
/// new drain is just another try. What one release needs ends no trouble of another one that is wanted still: a host may work
/// for both tracks, or be brought to a safe point before it gets what it could not.
fn is_over(trouble: &Trouble, succeeded: &Step, is_target: impl Fn(&Version) -> bool) -> bool {
    let outlasted = trouble.action == ActionKind::Drain && trouble.failure.kind == FailureKind::TimedOut;
    let is_its = trouble.version == succeeded.version;
    match succeeded.action.kind() {
        ActionKind::Install => is_its || !(succeeded.role.is_of_jobs() || is_target(&trouble.version)),
        kind @ (ActionKind::Pin | ActionKind::Migrate | ActionKind::Check) => {
            trouble.action == kind && is_its
        }
        kind => trouble.action == kind && !outlasted,
    }
}

/// 2 s, 4 s, 8 s, … at most 60 s.
pub fn backoff(times: u32) -> SignedDuration {
    let doubled = 2_i32.saturating_pow(times.saturating_sub(1));
    FIRST_BACKOFF.checked_mul(doubled).map_or(MAX_BACKOFF, |wait| wait.clamp(FIRST_BACKOFF, MAX_BACKOFF))
}
