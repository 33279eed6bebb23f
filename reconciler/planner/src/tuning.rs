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

/// Sessions, reloads and orphaned jobs are watched this often while a host is out.
pub(crate) const WATCH: SignedDuration = SignedDuration::from_millis(500);

/// Health after an activation, and the load balancer's verdict after a ready, are watched this often: each interval
/// is time that a server is out of rotation.
pub(crate) const WATCH_CLOSELY: SignedDuration = SignedDuration::from_millis(200);

/// A reading proves a drain only when it began this long after the drain: a request that was being assigned while
/// the command came in is then visible as a session.
pub(crate) const DRAIN_SETTLE: SignedDuration = SignedDuration::from_millis(200);
