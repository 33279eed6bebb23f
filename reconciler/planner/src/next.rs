//! What a host needs next, or why it waits: the answer of every part that derives a position.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use model::{
    Action, ActionKind, Cadence, Failure, FailureKind, HealthState, HostState, Reason, Scope, backoff,
};

use crate::survey::HostView;
use crate::tuning::{UNWELL_REFRESH, WATCH_CLOSELY};

/// What a host needs next.
#[derive(Clone, Debug)]
pub(crate) enum Next {
    /// Nothing: it runs its release, and is free of us.
    Done,
    /// As [`Next::Done`], with something that people should know.
    DoneBut(Reason),
    /// This step, which needs no budget (downloads), or has it already.
    Step(Action, &'static str),
    /// To be begun: needs budget and floor. The action is the claim.
    Admit(Action),
    /// To leave rotation: claimed already, but the floor is judged once more.
    Leave(Action),
    /// Time, or somebody.
    Wait(Wait),
}

impl Next {
    /// Hosts start in one order, whichever of them answers first: so a reading or a download that is about to end is waited
    /// for.
    pub(crate) fn will_be_known(&self) -> bool {
        let Self::Wait(wait) = self else { return false };
        matches!(wait.reason, Reason::FreshFacts | Reason::InFlight { action: ActionKind::Download, .. })
    }

    /// Before its role's turn a host waits with its role; only what people should know of it is said.
    pub(crate) fn before_its_turn(&self) -> Self {
        match self {
            Self::Wait(wait) => Self::Wait(wait.clone()),
            Self::DoneBut(reason) => Self::DoneBut(reason.clone()),
            Self::Done | Self::Step(..) | Self::Admit(_) | Self::Leave(_) => Self::Done,
        }
    }
}

/// Why a host waits, and what to look at meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Wait {
    pub(crate) reason: Reason,
    pub(crate) since: Option<Timestamp>,
    /// Plan again then, at the latest.
    pub(crate) wake: Option<Timestamp>,
    /// Read these when they are older than the interval.
    pub(crate) watch: Watch,
}

/// What a waiting host wants to have read, and how often.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    pub(crate) scopes: BTreeSet<Scope>,
    /// None: only when what is known is too old.
    pub(crate) cadence: Option<Cadence>,
    /// See [`model::Due`].
    pub(crate) awaited: bool,
}

impl Watch {
    /// Watched for what is to show, which is all that is waited for.
    pub(crate) fn for_change(scopes: BTreeSet<Scope>, every: SignedDuration) -> Self {
        Self { scopes, cadence: Some(Cadence::fixed(every)), awaited: false }
    }
}

impl Wait {
    pub(crate) fn new(reason: Reason) -> Self {
        Self { reason, since: None, wake: None, watch: Watch::default() }
    }

    pub(crate) fn since(self, since: Timestamp) -> Self {
        Self { since: Some(since), ..self }
    }

    pub(crate) fn until(self, wake: Timestamp) -> Self {
        Self { wake: Some(wake), ..self }
    }

    pub(crate) fn watching(self, scopes: BTreeSet<Scope>, every: SignedDuration) -> Self {
        Self { watch: Watch { scopes, cadence: Some(Cadence::fixed(every)), awaited: true }, ..self }
    }

    /// Reads what is too old, once.
    pub(crate) fn reading(self, scopes: BTreeSet<Scope>) -> Self {
        Self { watch: Watch { scopes, cadence: None, awaited: true }, ..self }
    }

    /// As [`Self::watching`], where only something else than what is known leads any further.
    pub(crate) fn watching_for_change(self, scopes: BTreeSet<Scope>, every: SignedDuration) -> Self {
        Self { watch: Watch::for_change(scopes, every), ..self }
    }

    /// Whether only a person, or another target, ends it after too many attempts.
    pub(crate) fn is_halted(&self) -> bool {
        matches!(self.reason, Reason::Halted { .. })
    }
}

/// The failure of a host that was activated and is not well.
pub(crate) fn unwell(host: &HostView<'_>, answer: &str) -> Failure {
    Failure {
        kind: FailureKind::ActivateFailed,
        what: format!("{} is not healthy: {answer}", host.name),
        detail: String::new(),
    }
}

/// The probe's answer in words.
pub(crate) fn health_answer(state: &HostState) -> String {
    match &state.health {
        HealthState::Healthy => "healthy".to_owned(),
        HealthState::Unhealthy(answer) => answer.clone(),
    }
}

/// When an activation that is not well yet may be tried again.
pub(crate) fn next_activation(overdue_at: Timestamp, times: u32) -> Timestamp {
    overdue_at + backoff(times)
}

/// The scope of a host alone.
pub(crate) fn host_scope(host: &HostView<'_>) -> BTreeSet<Scope> {
    BTreeSet::from([Scope::Host(host.name.clone())])
}

/// The scopes of a host's load balancer nodes.
pub(crate) fn node_scopes(host: &HostView<'_>) -> BTreeSet<Scope> {
    host.rows.iter().map(|row| Scope::Node(row.node.clone())).collect()
}

/// Watched while a host is to become well, by the time since its last change.
pub(crate) fn watch_health(host: &HostView<'_>, wait: Wait, since: Timestamp) -> Wait {
    let cadence = Cadence::patient(since, WATCH_CLOSELY, UNWELL_REFRESH);
    Wait { watch: Watch { scopes: host_scope(host), cadence: Some(cadence), awaited: false }, ..wait }
}
