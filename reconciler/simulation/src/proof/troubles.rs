//! How faults begin and end.

use model::{Admin, GateName, HostName, RowId, Verdict};

use crate::named::Fate;
use crate::proof::happening::{Fault, Which};
use crate::proof::life::{Life, Process};
use crate::proof::shape::web;

/// In whose name another team's service claims hosts.
pub(crate) const OTHER_TEAM: &str = "another-team";

/// By how much clocks jump.
const JUMP_MS: i64 = 45_000;

impl Life<'_> {
    pub(crate) fn trouble_begins(&mut self, fault: Fault, which: Which) {
        self.world.meets(&format!("{fault:?}"), true);
        let world = self.world.clone();
        let machine = self.machine(which);
        let host = self.host(which);
        let (row, gate, production) = (self.row(which), GateName::new("errors"), Self::production());
        match fault {
            Fault::Down => world.goes_down(&machine),
            Fault::Hung => world.hangs(&machine),
            Fault::CutOff => world.cut_off(&machine),
            Fault::Reboot => world.reboots(&machine),
            Fault::KeyRefused => world.refuses_key(&machine, true),
            Fault::HostKeyChanged => world.changes_host_key(&machine, true),
            Fault::AptLocked => world.apt_lock(&host, true),
            Fault::DiskFull => world.disk_full(&host, true),
            Fault::DpkgInterrupted => world.interrupts_dpkg(&host, &self.versions[0]),
            Fault::ByHand => world.installs_by_hand(&host, &self.versions[0]),
            Fault::HostClock => world.host_clock_jumps_back(&host),
            Fault::EndlessSession => world.session_never_ends(&row.1),
            Fault::Reload => world.reloads(&row.0.node),
            Fault::RowGone => world.row_vanishes(&row.0),
            Fault::RowElsewhere => world.row_points_to(&row.0, "192.0.2.1"),
            Fault::PersonDrains => world.person_sets(&row.0, Admin::Drain),
            Fault::PersonMaintains => world.person_sets(&row.0, Admin::Maint),
            Fault::PersonReadies => world.person_sets(&row.0, Admin::Ready),
            Fault::AgentBusy => world.agent_is_busy(&host, jiff::SignedDuration::from_secs(5)),
            Fault::AgentStopped => world.somebody_sets_agent(&host, false),
            Fault::Cloned => world.shows_machine_of(&host, &self.host(which.wrapping_add(1))),
            Fault::ForeignClaim if world.is_free(&host) => {
                world.other_service_claims(&host, OTHER_TEAM, true)
            }
            Fault::ForeignClaim => {}
            Fault::GateRed => world.gate_is(&production, &gate, Verdict::Red, "1"),
            Fault::GateNoData => world.gate_is(&production, &gate, Verdict::NoData, ""),
            Fault::GateError => world.gate_is(&production, &gate, Verdict::Error, "timeout"),
            Fault::GateFlaps => world.gate_flaps(&production, &gate, jiff::SignedDuration::from_secs(7)),
            Fault::Migrations(bad) => world.migrations_are(&production, bad.fate()),
            Fault::Checks(bad) => world.check_is(&"qa".into(), bad.fate()),
            Fault::RemoteGone => self.source.remote_gone(Some("connection refused")),
            Fault::Untrusted => self.source.distrust(Some("no signature")),
            Fault::JournalRefuses => self.journal.refuse(true),
            Fault::JournalSlow => self.journal.takes(100 * u64::from(which % 8 + 1)),
            Fault::JournalLost => self.journal_is_lost(),
            Fault::Killed => self.kill(),
            Fault::KilledAfterEvent => self.dies_after(usize::from(which % 16) + 1),
            Fault::Stopped => self.stands_still(true),
            Fault::Superseded => self.is_superseded(),
            Fault::ClockAhead => world.clock_jumps(JUMP_MS),
            Fault::ClockBack => world.clock_jumps(-JUMP_MS),
        }
    }

    pub(crate) fn trouble_ends(&mut self, fault: Fault, which: Which) {
        self.world.meets(&format!("{fault:?}"), false);
        let world = self.world.clone();
        let machine = self.machine(which);
        let host = self.host(which);
        let (row, gate, production) = (self.row(which), GateName::new("errors"), Self::production());
        match fault {
            Fault::Down | Fault::Reboot => world.comes_up(&machine),
            Fault::Hung => world.wakes(&machine),
            Fault::CutOff => world.reconnected(&machine),
            Fault::KeyRefused => world.refuses_key(&machine, false),
            Fault::HostKeyChanged => world.changes_host_key(&machine, false),
            Fault::AptLocked => world.apt_lock(&host, false),
            Fault::DiskFull => world.disk_full(&host, false),
            Fault::EndlessSession => world.sessions_end(&row.1),
            Fault::RowGone => world.row_returns(&row.0),
            Fault::RowElsewhere => self.row_is_right(&row),
            Fault::PersonDrains | Fault::PersonMaintains => world.person_gives_back(&row.0),
            Fault::AgentStopped => world.somebody_sets_agent(&host, true),
            Fault::Cloned => world.gets_machine_id(&host),
            Fault::ForeignClaim => world.foreign_claim_goes(&host, OTHER_TEAM),
            Fault::GateRed | Fault::GateNoData | Fault::GateError | Fault::GateFlaps => {
                world.gate_is(&production, &gate, Verdict::Green, "0");
            }
            Fault::Migrations(_) => world.migrations_are(&production, Fate::Works),
            Fault::Checks(_) => world.check_is(&"qa".into(), Fate::Works),
            Fault::RemoteGone => self.source.remote_gone(None),
            Fault::Untrusted => self.source.distrust(None),
            Fault::JournalRefuses => self.journal.refuse(false),
            Fault::JournalSlow => self.journal.takes(0),
            Fault::Stopped => self.stands_still(false),
            Fault::Superseded => self.wakes_up_too_late(),
            Fault::DpkgInterrupted
            | Fault::ByHand
            | Fault::HostClock
            | Fault::Reload
            | Fault::PersonReadies
            | Fault::AgentBusy
            | Fault::JournalLost
            | Fault::Killed
            | Fault::KilledAfterEvent
            | Fault::ClockAhead
            | Fault::ClockBack => {}
        }
    }

    fn machine(&self, which: Which) -> HostName {
        one_of(self.scenario.shape.machines(), which)
    }

    pub(crate) fn host(&self, which: Which) -> HostName {
        one_of(self.scenario.shape.hosts(), which)
    }

    /// A row of a web host, and the host.
    fn row(&self, which: Which) -> (RowId, HostName) {
        let serves = |host: &HostName| host.as_str().starts_with("web") || host.as_str().starts_with("cny");
        let hosts: Vec<HostName> = self.scenario.shape.hosts().into_iter().filter(serves).collect();
        let host = one_of(hosts, which);
        let node = one_of(self.scenario.shape.nodes(), which / 16);
        let row = RowId { node, backend: web().backend, server: model::ServerName::new(host.as_str()) };
        (row, host)
    }

    pub(crate) fn row_is_right(&self, row: &(RowId, HostName)) {
        if let Some(address) = self.world.address(&row.1) {
            self.world.row_points_to(&row.0, &address);
        }
    }

    fn journal_is_lost(&mut self) {
        self.kill();
        self.journal_lacks = true;
        self.counts_events();
        self.journal = crate::MemoryJournal::new();
        self.world.is_judged_by(&self.source, &self.journal);
    }

    fn dies_after(&mut self, events: usize) {
        let Some(process) = &self.process else { return };
        let dies = self.journal.stop_after(self.journal.events().len() + events);
        let (dead, task) = (process.dead.clone(), process.task.clone());
        tokio::spawn(async move {
            dies.cancelled().await;
            dead.cancel();
            task.abort();
        });
    }

    fn stands_still(&self, still: bool) {
        if let Some(Process { world, .. }) = &self.process {
            world.process_stands_still(still);
        }
    }

    /// The service stands still, and somebody starts it elsewhere with a copy of its journal.
    fn is_superseded(&mut self) {
        if self.superseded.is_some() {
            return;
        }
        self.stands_still(true);
        self.journal_lacks = true;
        self.superseded = self.process.take();
        self.journal = crate::MemoryJournal::holding(self.journal.events());
        self.world.is_judged_by(&self.source, &self.journal);
        self.start();
    }

    /// The older one goes on where it stood, until somebody notices.
    fn wakes_up_too_late(&mut self) {
        let Some(process) = self.superseded.take() else { return };
        process.world.process_stands_still(false);
        tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_secs(3)).await;
            process.dies();
        });
    }
}

pub(crate) fn one_of(from: Vec<HostName>, which: Which) -> HostName {
    let at = usize::from(which) % from.len().max(1);
    from.into_iter().nth(at).unwrap_or_else(|| HostName::new("nowhere"))
}
