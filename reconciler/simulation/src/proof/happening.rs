//! What goes wrong, and what people do meanwhile. Plain values: a failing case shrinks by leaving some of them out.

use std::fmt;

use crate::chance::Chance;
use crate::named::Fate;

/// Something that begins at a time, and ends some time later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// When it begins, from the beginning of the world.
    pub at_ms: u64,
    /// How long it lasts, where it lasts.
    pub for_ms: u64,
    /// What.
    pub what: What,
}

impl Happening {
    /// Four times as late, and for as long where people decided it: releases end, their post-deployment migrations run, and
    /// what is wanted then is another matter than in the midst of a rollout.
    pub fn comes_slowly(&mut self) {
        self.at_ms = FIRST_MS + 4 * (self.at_ms - FIRST_MS);
        if matches!(self.what, What::Deed(..)) {
            self.for_ms *= 4;
        }
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_ms, for_ms, what } = self;
        write!(f, "{at_ms:>6} ms, for {for_ms} ms: {what:?}")
    }
}

/// Which of several: taken modulo how many there are, so that it still means something in a smaller fleet.
pub type Which = u8;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A fault of the world, or of ourselves.
    Fault(Fault, Which),
    /// A commit, or a word to the service.
    Deed(Deed, Which),
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A host or node has no power.
    Down,
    /// A host or node stands still.
    Hung,
    /// Ssh does not get to a host or node.
    CutOff,
    /// Power off and on.
    Reboot,
    /// A host or node refuses our key.
    KeyRefused,
    /// A host or node shows another host key.
    HostKeyChanged,
    /// Another process holds apt's lock.
    AptLocked,
    /// A host's disk is full.
    DiskFull,
    /// Somebody kills dpkg half-way.
    DpkgInterrupted,
    /// Somebody installs a version by hand.
    ByHand,
    /// A host's clock jumps back: what was unpacked seems newer than what was started after it.
    HostClock,
    /// A session does not end by itself.
    EndlessSession,
    /// HAProxy is reloaded.
    Reload,
    /// A node loses a row.
    RowGone,
    /// A node's row leads elsewhere.
    RowElsewhere,
    /// A person drains a row.
    PersonDrains,
    /// A person puts a row into maintenance.
    PersonMaintains,
    /// A person makes a row ready.
    PersonReadies,
    /// Somebody starts a run of the agent.
    AgentBusy,
    /// Somebody stops the agent.
    AgentStopped,
    /// A host shows the machine-id of another one.
    Cloned,
    /// Another team's service claims a host.
    ForeignClaim,
    /// The gate turns red.
    GateRed,
    /// Nobody measures what the gate asks for.
    GateNoData,
    /// The gate cannot be asked.
    GateError,
    /// The gate turns again and again.
    GateFlaps,
    /// Migrations fare badly.
    Migrations(Bad),
    /// Checks fare badly.
    Checks(Bad),
    /// The git remote is gone.
    RemoteGone,
    /// Commits are not signed by somebody who may.
    Untrusted,
    /// The journal refuses to be written.
    JournalRefuses,
    /// The journal is slow: the service waits for every write.
    JournalSlow,
    /// The journal is lost, and the service begins with an empty one.
    JournalLost,
    /// The service is killed.
    Killed,
    /// The service is killed right after one of its next events.
    KilledAfterEvent,
    /// The service stands still, and goes on later.
    Stopped,
    /// A second service with a copy of the journal takes over; the first one stands still, and wakes in the midst of it.
    Superseded,
    /// The service's clock jumps ahead.
    ClockAhead,
    /// The service's clock jumps back.
    ClockBack,
}

/// How a job may fare badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bad {
    /// It fails.
    Fails,
    /// It fails once.
    FailsOnce,
    /// It leaves no result.
    IsLost,
    /// It does not end by itself.
    Hangs,
}

impl Bad {
    pub(crate) fn fate(self) -> Fate {
        match self {
            Self::Fails => Fate::Fails,
            Self::FailsOnce => Fate::FailsOnce,
            Self::IsLost => Fate::IsLost,
            Self::Hangs => Fate::Hangs,
        }
    }
}

/// What people do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deed {
    /// The next version becomes main's target. It may be good, or bad in one of several ways.
    Bump,
    /// The newest commit is reverted.
    Revert,
    /// The next version becomes the canary's, with a share.
    Canary,
    /// What the canary runs becomes main's target.
    Promote,
    /// The canary's share changes.
    Weight,
    /// The canary goes.
    CanaryGone,
    /// Something is held, for a time.
    Hold,
    /// Main's target is vetoed.
    Veto,
    /// A host is declared out, for a time.
    HostOut,
    /// A node is declared out, for a time.
    NodeOut,
    /// A freeze, for a time.
    Freeze,
    /// An emergency for the next version.
    Emergency,
    /// A patch for main's version.
    Patch,
    /// A host leaves the fleet, and comes back.
    HostLeaves,
    /// Nothing is to be changed, for a time.
    ReportOnly,
    /// Nonsense is committed, and reverted.
    Nonsense,
    /// The branch is rewritten.
    ForcePush,
    /// A newer package is published.
    Publish,
    /// Somebody pauses the environment.
    Pause,
    /// Somebody asks to try again.
    Retry,
}

pub(crate) const FAULTS: &[Fault] = &[
    Fault::Down,
    Fault::Hung,
    Fault::CutOff,
    Fault::Reboot,
    Fault::KeyRefused,
    Fault::HostKeyChanged,
    Fault::AptLocked,
    Fault::DiskFull,
    Fault::DpkgInterrupted,
    Fault::ByHand,
    Fault::HostClock,
    Fault::EndlessSession,
    Fault::Reload,
    Fault::RowGone,
    Fault::RowElsewhere,
    Fault::PersonDrains,
    Fault::PersonMaintains,
    Fault::PersonReadies,
    Fault::AgentBusy,
    Fault::AgentStopped,
    Fault::ForeignClaim,
    Fault::GateRed,
    Fault::GateNoData,
    Fault::GateError,
    Fault::GateFlaps,
    Fault::Migrations(Bad::Fails),
    Fault::Migrations(Bad::FailsOnce),
    Fault::Migrations(Bad::IsLost),
    Fault::Migrations(Bad::Hangs),
    Fault::Checks(Bad::Fails),
    Fault::Checks(Bad::FailsOnce),
    Fault::Checks(Bad::IsLost),
    Fault::Checks(Bad::Hangs),
    Fault::RemoteGone,
    Fault::Untrusted,
    Fault::JournalRefuses,
    Fault::JournalLost,
    Fault::JournalSlow,
    Fault::Killed,
    Fault::Cloned,
    Fault::KilledAfterEvent,
    Fault::Stopped,
    Fault::Superseded,
    Fault::ClockAhead,
    Fault::ClockBack,
];

pub(crate) const DEEDS: &[Deed] = &[
    Deed::Bump,
    Deed::Revert,
    Deed::Canary,
    Deed::Canary,
    Deed::Promote,
    Deed::Weight,
    Deed::CanaryGone,
    Deed::Hold,
    Deed::Veto,
    Deed::HostOut,
    Deed::NodeOut,
    Deed::Freeze,
    Deed::Emergency,
    Deed::Patch,
    Deed::HostLeaves,
    Deed::ReportOnly,
    Deed::Nonsense,
    Deed::ForcePush,
    Deed::Publish,
    Deed::Pause,
    Deed::Retry,
];

/// How long something takes at most that lasts for a while.
const LONGEST_MS: u64 = 20_000;

/// When a world begins to change.
const FIRST_MS: u64 = 1_000;

/// Draws what happens until `until_ms`: changes of target first, then faults and other deeds, in order of time.
pub(crate) fn drawn(chance: &mut Chance, until_ms: u64) -> Vec<Happening> {
    let mut happenings =
        vec![Happening { at_ms: FIRST_MS, for_ms: 0, what: What::Deed(Deed::Bump, draw_which(chance)) }, {
            let deed = *chance.pick(&[Deed::Bump, Deed::Revert, Deed::Canary, Deed::Emergency]);
            moment(chance, until_ms, |which| What::Deed(deed, which))
        }];
    for _ in 0..chance.below(4) {
        let deed = *chance.pick(DEEDS);
        happenings.push(moment(chance, until_ms, |which| What::Deed(deed, which)));
    }
    for _ in 0..3 + chance.below(6) {
        let fault = *chance.pick(FAULTS);
        happenings.push(moment(chance, until_ms, |which| What::Fault(fault, which)));
    }
    happenings.sort_by_key(|happening| happening.at_ms);
    happenings
}

pub(crate) fn draw_which(chance: &mut Chance) -> Which {
    u8::try_from(chance.below(256)).unwrap_or(0)
}

pub(crate) fn moment(chance: &mut Chance, until_ms: u64, what: impl FnOnce(Which) -> What) -> Happening {
    let which = draw_which(chance);
    Happening {
        at_ms: FIRST_MS + chance.below(until_ms),
        for_ms: 200 + chance.below(LONGEST_MS),
        what: what(which),
    }
}
