//! Plans that would break a promise: each is a bug, said once, and nothing of it begins.

use jiff::{SignedDuration, Timestamp};
use model::EnvironmentName;

use crate::linter::Finding;

/// A refused plan is made anew after this: by then other facts may be known.
pub(crate) const REFUSED_RETRY: SignedDuration = SignedDuration::from_secs(5);

/// The plans that a service has refused since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// How many; one that is made again with the same findings counts once.
    pub plans: u64,
    /// The newest: of which environment, when, and what was found.
    pub newest: Option<(EnvironmentName, Timestamp, Vec<Finding>)>,
}

impl Refusals {
    /// Takes in a refused plan, and says so in the log.
    pub(crate) fn tell(&mut self, environment: &EnvironmentName, now: Timestamp, findings: &[Finding]) {
        for finding in findings {
            tracing::error!(
                %environment, %finding,
                "a plan would break a promise, so nothing of it begins; this is a bug in reconcile, please report it"
            );
        }
        self.plans += 1;
        self.newest = Some((environment.clone(), now, findings.to_vec()));
    }
}
