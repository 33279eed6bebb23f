//! A load balancer node: rows, their administrative state, checks and sessions, as HAProxy keeps them.

use std::collections::{BTreeMap, BTreeSet};

use model::{Admin, BackendName, HostName, LoadBalancerName, Row, RowCheck, ServerName, SmolStr, Track};
use smol_str::format_smolstr;

use crate::chance::Chance;
use crate::fence::Fences;
use crate::host::{Link, Machine};
use crate::pace::Pace;

/// A row's place on its node.
pub(crate) type RowKey = (BackendName, ServerName);

/// A session that does not end by itself.
pub(crate) const NEVER_MS: u64 = u64::MAX;

/// Who took a row out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakenBy {
    Nobody,
    Us,
    /// A person, at this time.
    Person(u64),
    /// A person, on a host that carries our mark, or got it before anybody looked: nobody can tell whose the one drain bit
    /// is.
    Unclear,
}

impl TakenBy {
    pub(crate) fn may_be_us(self) -> bool {
        matches!(self, Self::Us | Self::Unclear)
    }
}

/// A server of a backend.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) host: HostName,
    pub(crate) track: Track,
    pub(crate) address: SmolStr,
    pub(crate) admin: Admin,
    pub(crate) taken_by: TakenBy,
    pub(crate) weight: u32,
    /// As haproxy.cfg has it.
    configured_weight: u32,
    /// What HAProxy believes of the application.
    pub(crate) up: bool,
    pub(crate) check: RowCheck,
    /// The belief changes at the second of these times, unless something happens before.
    pub(crate) pending_ms: Option<(u64, u64)>,
    /// Counts changes that make checks under way worthless.
    pub(crate) epoch: u64,
    /// When it last left rotation without us.
    pub(crate) lost_ms: Option<u64>,
    /// When it last came back into rotation.
    pub(crate) came_ms: Option<u64>,
    /// When it last left rotation, by whomever.
    pub(crate) left_ms: Option<u64>,
    /// When it last came back into rotation without us.
    pub(crate) undone_ms: Option<u64>,
    /// When a reload or a person last undid or replaced that we had taken it out, as far as anybody can tell.
    pub(crate) ours_undone_ms: Option<u64>,
    serving: bool,
    /// Sessions that come and go while in rotation.
    steady: u64,
    /// Sessions bound by cookie: they stay until maintenance.
    bound: u64,
    /// When each remaining session ends.
    ends_ms: Vec<u64>,
}

/// A load balancer node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) machine: Machine,
    pub(crate) load_balancer: LoadBalancerName,
    /// Counts HAProxy's workers.
    pub(crate) worker: u32,
    /// The name of that worker.
    pub(crate) process: SmolStr,
    /// When it was last looked at.
    pub(crate) looked_ms: u64,
    /// The highest generation of each service that ever changed anything here, or claimed a host behind it.
    pub(crate) fences: Fences,
    pub(crate) rows: BTreeMap<RowKey, Server>,
    /// Rows that its configuration has lost.
    pub(crate) lost: BTreeMap<RowKey, Server>,
    pub(crate) sticky: BTreeSet<BackendName>,
    /// Ends of sessions that live in workers from before a reload.
    pub(crate) old_ends_ms: BTreeMap<RowKey, Vec<u64>>,
}

impl Node {
    /// The name of a worker.
    pub(crate) fn process(name: &HostName, worker: u32) -> SmolStr {
        format_smolstr!("{worker}-{name}")
    }

    /// Whether it passes traffic on.
    pub(crate) fn passes_traffic(&self) -> bool {
        matches!(self.machine.link, Link::Up | Link::CutOff)
    }

    /// Sessions that would never end do so now, in old workers as well.
    pub(crate) fn end_endless_sessions(&mut self, key: &RowKey) {
        if let Some(ends_ms) = self.old_ends_ms.get_mut(key) {
            ends_ms.retain(|end| *end != NEVER_MS);
        }
        if let Some(row) = self.rows.get_mut(key) {
            row.ends_ms.retain(|end| *end != NEVER_MS);
        }
    }

    pub(crate) fn old_sessions(&self, now_ms: u64) -> BTreeMap<RowKey, u32> {
        let alive = self.old_ends_ms.iter().map(|(key, ends)| (key, count(ends, now_ms)));
        alive.filter(|(_, n)| *n > 0).map(|(key, n)| (key.clone(), n)).collect()
    }
}

fn count(ends_ms: &[u64], now_ms: u64) -> u32 {
    u32::try_from(ends_ms.iter().filter(|end| **end > now_ms).count()).unwrap_or(u32::MAX)
}

impl Server {
    /// As HAProxy begins with it. A row of weight 0 takes no traffic until it is weighed.
    pub(crate) fn configured(
        host: &HostName,
        track: Track,
        address: SmolStr,
        weight: u32,
        steady: u64,
    ) -> Self {
        Self {
            host: host.clone(),
            track,
            address,
            admin: Admin::Ready,
            taken_by: TakenBy::Nobody,
            weight,
            configured_weight: weight,
            up: true,
            check: RowCheck::Passed,
            pending_ms: None,
            epoch: 0,
            lost_ms: None,
            came_ms: None,
            left_ms: None,
            undone_ms: None,
            ours_undone_ms: None,
            serving: weight > 0,
            steady: if weight > 0 { steady } else { 0 },
            bound: 0,
            ends_ms: Vec::new(),
        }
    }

    /// Whether HAProxy sends it new traffic; `UP 1/3` does.
    pub(crate) fn takes_traffic(&self) -> bool {
        self.admin == Admin::Ready && self.up && self.weight > 0
    }

    pub(crate) fn sessions(&self, now_ms: u64) -> u32 {
        let open = u32::try_from(self.steady + self.bound).unwrap_or(u32::MAX);
        open.saturating_add(count(&self.ends_ms, now_ms))
    }

    /// HAProxy's word.
    pub(crate) fn status(&self, now_ms: u64) -> &'static str {
        let wavering = self.pending_ms.is_some_and(|(from, at)| now_ms >= from.midpoint(at));
        match (self.admin, self.up) {
            (Admin::Maint, _) => "MAINT",
            (Admin::Drain, true) => "DRAIN",
            (Admin::Ready, true) if self.check == RowCheck::Pending || wavering => "UP 1/3",
            (Admin::Ready, true) => "UP",
            (_, false) if wavering => "DOWN 1/2",
            (_, false) => "DOWN",
        }
    }

    pub(crate) fn row(&self, now_ms: u64) -> Row {
        Row {
            status: SmolStr::new_static(self.status(now_ms)),
            admin: self.admin,
            weight: self.weight,
            sessions: self.sessions(now_ms),
            address: self.address.clone(),
            check: if self.admin == Admin::Maint { RowCheck::Pending } else { self.check },
        }
    }

    /// A new administrative state. Leaving maintenance, the row is believed up until its first check.
    pub(crate) fn set_admin(&mut self, admin: Admin, taken_by: TakenBy) {
        let was = std::mem::replace(&mut self.admin, admin);
        self.taken_by = taken_by;
        if was != admin && (was == Admin::Maint || admin == Admin::Maint) {
            self.epoch += 1;
            self.pending_ms = None;
            self.up = true;
            self.check = RowCheck::Pending;
        }
    }

    /// HAProxy began anew: everything of the run time is forgotten. Returns when its sessions end in the old worker.
    pub(crate) fn restart(&mut self, now_ms: u64, chance: &mut Chance, pace: &Pace) -> Vec<u64> {
        let came = !self.serving && self.configured_weight > 0;
        self.quiesce(now_ms, chance, pace, 0, false);
        let ends_ms = std::mem::take(&mut self.ends_ms);
        *self = Self {
            epoch: self.epoch + 1,
            check: RowCheck::Pending,
            undone_ms: Some(now_ms),
            ours_undone_ms: self.taken_by.may_be_us().then_some(now_ms).or(self.ours_undone_ms),
            left_ms: self.left_ms,
            came_ms: came.then_some(now_ms).or(self.came_ms),
            ..Self::configured(
                &self.host,
                self.track,
                std::mem::take(&mut self.address),
                self.configured_weight,
                chance.ms(pace.sessions),
            )
        };
        ends_ms
    }

    /// Brings sessions in line with whether the row takes traffic now. Tells whether it has left rotation.
    pub(crate) fn settle(
        &mut self,
        now_ms: u64,
        chance: &mut Chance,
        pace: &Pace,
        sticky: bool,
        endless: bool,
    ) -> bool {
        let serves = self.takes_traffic();
        if serves && !self.serving {
            self.steady = chance.ms(pace.sessions);
            self.lost_ms = None;
            self.came_ms = Some(now_ms);
        }
        let left = !serves && self.serving;
        if left {
            self.left_ms = Some(now_ms);
            let bound = if sticky && self.admin == Admin::Drain { self.steady / 2 } else { 0 };
            self.quiesce(now_ms, chance, pace, bound, endless);
        }
        if self.admin == Admin::Maint && self.bound > 0 {
            let bound = std::mem::take(&mut self.bound);
            self.ends_ms.extend((0..bound).map(|_| now_ms + chance.ms(pace.session)));
        }
        self.serving = serves;
        left
    }

    /// No new sessions from here on: each of the open ones gets its end.
    fn quiesce(&mut self, now_ms: u64, chance: &mut Chance, pace: &Pace, bound: u64, endless: bool) {
        self.ends_ms.retain(|end| *end > now_ms);
        let open = std::mem::take(&mut self.steady) + std::mem::take(&mut self.bound);
        self.bound = bound.min(open);
        self.ends_ms.extend((self.bound..open).map(|_| now_ms + chance.ms(pace.session)));
        if endless {
            self.ends_ms.push(NEVER_MS);
        }
    }

    /// One more session, which does not end by itself.
    pub(crate) fn add_endless_session(&mut self) {
        self.ends_ms.push(NEVER_MS);
    }

    /// Every session that can be ended is ended. Clients bound by cookie come again at once.
    pub(crate) fn cut(&mut self, now_ms: u64) -> u32 {
        let cut = count(&self.ends_ms, now_ms);
        self.ends_ms.clear();
        cut
    }

    /// The application's process is gone, and every session with it. Returns how many were lost.
    pub(crate) fn break_sessions(&mut self, now_ms: u64) -> u32 {
        let broken = self.sessions(now_ms);
        self.ends_ms.clear();
        self.bound = 0;
        self.steady = 0;
        broken
    }
}
