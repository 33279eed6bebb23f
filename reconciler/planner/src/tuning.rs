//! The planner's own numbers, each with its reason.

use jiff::SignedDuration;

/// A quiet host is looked at this often: often enough to notice drift within a minute, and 1,000 hosts then cost
/// some 30 readings a second.
pub(crate) const HOST_REFRESH: SignedDuration = SignedDuration::from_secs(30);

/// A quiet load balancer node is looked at this often.
pub(crate) const NODE_REFRESH: SignedDuration = SignedDuration::from_secs(10);

/// What could not be seen, or is not well, is looked at this often, so that its return is noticed soon.
pub(crate) const UNWELL_REFRESH: SignedDuration = SignedDuration::from_secs(3);

/// No step starts on facts older than this, whatever the refresh.
pub(crate) const HOST_MAX_AGE: SignedDuration = SignedDuration::from_secs(60);

/// As [`HOST_MAX_AGE`], for load balancer nodes: the floor is judged by them, so they are read again right before
/// anybody leaves rotation.
pub(crate) const NODE_MAX_AGE: SignedDuration = SignedDuration::from_secs(3);

/// As [`HOST_MAX_AGE`], where packages are about to be changed, or migrations to run with them: somebody may have
/// installed by hand.
pub(crate) const PACKAGES_MAX_AGE: SignedDuration = SignedDuration::from_secs(3);

/// All hosts are read within this for each of them, before there is no way back from what they run: at 33 a second, as 1,000
/// quiet ones are.
pub(crate) const SWEEP_PER_HOST: SignedDuration = SignedDuration::from_millis(30);

/// As [`SWEEP_PER_HOST`], for all hosts of a small fleet.
pub(crate) const SWEEP_AT_LEAST: SignedDuration = SignedDuration::from_millis(1_500);

/// Sessions, reloads and orphaned jobs are watched this often while a host is out.
pub(crate) const WATCH: SignedDuration = SignedDuration::from_millis(500);

/// Health after an activation or an install, and the load balancer's verdict after a ready, are watched this often:
/// each interval is time that a server is out of rotation. What takes long is watched at a tenth of the time that it has
/// taken already, and every [`UNWELL_REFRESH`] at least: nobody is kept out longer than that by the watching, and a minute
/// of warming up costs tens of readings, not hundreds.
pub(crate) const WATCH_CLOSELY: SignedDuration = SignedDuration::from_millis(200);

/// Read anew now, whatever its age.
pub(crate) const AT_ONCE: SignedDuration = SignedDuration::from_millis(1);

/// A reading proves a drain only when it began this long after the drain: a request that was being assigned while
/// the command came in is then visible as a session.
pub(crate) const DRAIN_SETTLE: SignedDuration = SignedDuration::from_millis(200);

/// A gate is asked this often while a stage depends on it: going red stops new hosts within this interval.
pub(crate) const GATE_REFRESH: SignedDuration = SignedDuration::from_secs(5);

/// A gate that nothing depends on is asked this often, so that status shows it.
pub(crate) const GATE_IDLE_REFRESH: SignedDuration = SignedDuration::from_secs(30);

/// No host is begun on a verdict older than this: it is asked twice as often where a stage depends on it, and once more where
/// none did until now.
pub(crate) const GATE_MAX_AGE: SignedDuration = SignedDuration::from_secs(10);

/// Package sources are asked for new versions this often, where somebody follows them.
pub(crate) const VERSIONS_REFRESH: SignedDuration = SignedDuration::from_secs(60);

/// What would be due within this, or a quarter of its interval, is read along with what is due now. No more than that: a
/// large fleet stays spread over its interval.
pub(crate) const READ_ALONG: SignedDuration = SignedDuration::from_secs(1);
