//! What a proof needs of a world beside its faults: the network's luck, a process that stands still, a clock that jumps,
//! and an end of all trouble.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use model::{Admin, Failure, FailureKind, HostName, Outcome, Reason, RowId, Step};

use crate::balancer::TakenBy;
use crate::host::failure;
use crate::invariants::Violation;
use crate::pace::Span;
use crate::proof::Mishaps;
use crate::tally::Tally;
use crate::world::SimWorld;
use tokio::sync::Notify;

/// How late a late answer is.
const LATE: Span = Span::ms(500, 12_000);

/// Something that happens to one command or its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    Lost,
    Late { by_ms: u64 },
    Repeated,
}

/// Whether a process stands still. Whoever waits goes on in the order of coming.
#[derive(Debug, Default)]
pub(crate) struct Still {
    is: AtomicBool,
    moves: Notify,
    /// Until when it is held up anyway, in the world's time.
    held_up_ms: AtomicU64,
}

/// What goes astray, and what people and clocks do.
impl SimWorld {
    /// The network's luck from now on.
    pub fn has_mishaps(&self, mishaps: Mishaps) {
        self.state().mishaps = mishaps;
    }

    /// The process that holds this handle stands still, or goes on: what it began waits, what reached a host goes on there.
    pub fn process_stands_still(&self, still: bool) {
        self.still.is.store(still, Ordering::SeqCst);
        self.still.moves.notify_waiters();
    }

    /// The process is held up for so long, after whatever held it up before.
    pub(crate) fn is_held_up(&self, for_ms: u64) {
        let from_ms = self.still.held_up_ms.load(Ordering::SeqCst).max(self.clock.now_ms());
        self.still.held_up_ms.store(from_ms + for_ms, Ordering::SeqCst);
    }

    /// Whether that process stands still.
    pub(crate) fn stands_still(&self) -> bool {
        self.still.is.load(Ordering::SeqCst)
    }

    /// Whether the service is able to work now: what has to follow within a time follows within it from then on.
    pub(crate) fn service_works(&self, works: bool) {
        let mut state = self.state();
        let now_ms = state.now_ms;
        state.works_ms = if works { state.works_ms.or(Some(now_ms)) } else { None };
    }

    /// The calendar jumps.
    pub fn clock_jumps(&self, by_ms: i64) {
        self.clock.jump(by_ms);
    }

    /// A host's clock jumps back: to it, its files are from the future.
    pub fn host_clock_jumps_back(&self, host: &HostName) {
        if let Some(host) = self.state().hosts.get_mut(host) {
            host.unpacked_ms = u64::MAX;
        }
    }

    /// Whether nobody's mark is on a host.
    pub fn is_free(&self, host: &HostName) -> bool {
        self.state().hosts.get(host).is_some_and(|host| host.claim.is_none())
    }

    /// Another service takes its mark off a host, when it has one there.
    pub fn foreign_claim_goes(&self, host: &HostName, service: &str) {
        if let Some(host) = self.state().hosts.get_mut(host) {
            host.claim.take_if(|claim| claim.service == service);
        }
    }

    /// A person makes a row ready again that a person took out.
    pub fn person_gives_back(&self, row: &RowId) {
        let theirs = {
            let state = self.state();
            let key = (row.backend.clone(), row.server.clone());
            let server = state.nodes.get(&row.node).and_then(|node| node.rows.get(&key));
            server.is_some_and(|server| matches!(server.taken_by, TakenBy::Person(_) | TakenBy::Unclear))
        };
        if theirs {
            self.person_sets(row, Admin::Ready);
        }
    }

    /// A fault or deed begins to be at work, or ceases to be.
    pub fn meets(&self, what: &str, begins: bool) {
        self.state().tally.meets(what, begins);
    }

    /// Reasons to wait that somebody was told of.
    pub(crate) fn tells_reasons<'a>(&self, reasons: impl Iterator<Item = &'a Reason>) {
        let mut state = self.state();
        reasons.for_each(|reason| state.tally.waits(reason));
    }

    /// What was done and met so far.
    pub fn tally(&self) -> Tally {
        self.state().tally.clone()
    }

    /// Whether a promise was broken.
    pub fn is_broken(&self) -> bool {
        !self.state().violations.is_empty()
    }

    /// The first broken promise.
    pub fn first_violation(&self) -> Option<Violation> {
        self.state().violations.first().cloned()
    }

    /// How old the world is, by its own time.
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.state().now_ms)
    }

    /// Nothing is wrong with a host or node any more, as far as anybody but us can mend it. `stranger` gives its hosts
    /// back.
    pub fn heals(&self, machine: &HostName, stranger: &str) {
        self.comes_up(machine);
        self.wakes(machine);
        self.reconnected_if_cut_off(machine);
        self.refuses_key(machine, false);
        self.apt_lock(machine, false);
        self.disk_full(machine, false);
        self.sessions_end(machine);
        self.foreign_claim_goes(machine, stranger);
        if self.agent_is_active(machine) == Some(false) {
            self.agent_given_back(machine);
        }
        for row in self.rows_by_host(machine) {
            self.row_returns(&row);
            if let Some(address) = self.address(machine) {
                self.row_points_to(&row, &address);
            }
            self.person_gives_back(&row);
        }
    }

    /// A person ends jobs that would not end by themselves: they have failed.
    pub fn person_ends_hanging_jobs(&self, host: &HostName) {
        let mut state = self.state();
        let (now_ms, soon) = (state.now_ms, 3_600_000);
        let Some(there) = state.hosts.get_mut(host) else { return };
        let hanging = there.jobs.iter_mut().filter(|(_, job)| job.is_running() && job.due_ms > now_ms + soon);
        let ended: Vec<_> = hanging
            .map(|(id, job)| {
                job.due_ms = now_ms;
                id.clone()
            })
            .collect();
        for id in ended {
            state.job_moves(host, &id);
        }
    }

    fn reconnected_if_cut_off(&self, machine: &HostName) {
        let cut_off =
            self.state().machine(machine).is_some_and(|machine| machine.link == crate::host::Link::CutOff);
        if cut_off {
            self.reconnected(machine);
        }
    }

    /// Whoever stopped an agent, and was not us, starts it again.
    fn agent_given_back(&self, host: &HostName) {
        let ours = {
            let state = self.state();
            let agent = state.hosts.get(host).and_then(|host| host.agent.as_ref());
            agent.is_some_and(|agent| agent.paused_by_us)
        };
        if !ours {
            self.somebody_sets_agent(host, true);
        }
    }

    /// The rows that a host has on any node, or on some node.
    fn rows_by_host(&self, host: &HostName) -> Vec<RowId> {
        let state = self.state();
        let of_host = |node: &crate::balancer::Node| -> Vec<_> {
            let rows = node.rows.iter().filter(|(_, row)| row.host == *host);
            rows.map(|(key, _)| key.clone()).collect()
        };
        let keys: std::collections::BTreeSet<_> = state.nodes.values().flat_map(of_host).collect();
        let on = |node: &HostName| {
            let node = node.clone();
            keys.iter().map(move |(backend, server)| RowId {
                node: node.clone(),
                backend: backend.clone(),
                server: server.clone(),
            })
        };
        state.nodes.keys().flat_map(on).collect()
    }

    /// Returns while the process does not stand still.
    pub(crate) async fn awake(&self) {
        while let Some(held_up_ms) = self.is_held_up_until() {
            let moves = self.still.moves.notified();
            match held_up_ms {
                Some(ms) => self.waits_until(ms).await,
                None if self.stands_still() => {
                    moves.await;
                    self.lives().await;
                }
                None => {}
            }
        }
    }

    /// Whether the process does not move now; until when, where that is known.
    fn is_held_up_until(&self) -> Option<Option<u64>> {
        let held_up_ms = self.still.held_up_ms.load(Ordering::SeqCst);
        let is_held_up = held_up_ms > 0 && held_up_ms > self.clock.now_ms();
        if is_held_up { Some(Some(held_up_ms)) } else { self.stands_still().then_some(None) }
    }

    /// A step sets out: it is judged, and its luck is drawn.
    pub(crate) fn sets_out(&self, step: &Step) -> Option<Mishap> {
        let mut state = self.state();
        state.tally.sets_out(step.action.kind());
        state.begins(step, &self.owner);
        let Mishaps { lost, late, repeated } = state.mishaps;
        if lost + late + repeated == 0 {
            return None;
        }
        let luck = &mut state.machine_mut(&step.host)?.mishaps;
        let drawn = luck.below(1_000);
        match () {
            () if drawn < lost => Some(Mishap::Lost),
            () if drawn < lost + late => Some(Mishap::Late { by_ms: luck.ms(LATE) }),
            () if drawn < lost + late + repeated => Some(Mishap::Repeated),
            () => None,
        }
    }

    pub(crate) async fn meeting(&self, mishap: Option<Mishap>, step: &Step) -> Result<Outcome, Failure> {
        match mishap {
            None => self.carry_out(step).await,
            Some(Mishap::Repeated) => {
                let first = self.carry_out(step).await;
                let second = self.carry_out(step).await;
                if first.is_ok() { second } else { first }
            }
            Some(Mishap::Late { by_ms }) => {
                let result = self.carry_out(step).await;
                self.waits(by_ms).await;
                result
            }
            Some(Mishap::Lost) => {
                let _ = self.carry_out(step).await;
                let answer_ms = self.state().pace.answer_ms;
                self.waits(answer_ms).await;
                Err(failure(FailureKind::TimedOut, format!("{}: no answer in time", step.host)))
            }
        }
    }

    async fn waits(&self, ms: u64) {
        let until_ms = self.state().now_ms + ms;
        self.waits_until(until_ms).await;
    }
}
