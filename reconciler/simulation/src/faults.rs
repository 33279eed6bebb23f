//! What can go wrong, and what other people do: callable at any time, with effect at once.

use model::{Action, Admin, BackendId, HostName, RowId, StepId, Version};

use crate::balancer::{Node, RowKey, TakenBy};
use crate::host::{Host, Keys, Link, Phase};
use crate::state::{Due, State};
use crate::world::SimWorld;

/// Faults. Names of hosts and nodes that do not exist are ignored.
impl SimWorld {
    /// A host or load balancer node loses power. Jobs die, dpkg is interrupted, sessions break.
    pub fn goes_down(&self, name: &HostName) {
        self.state().goes_down(name);
    }

    /// A host or node gets power again; a host takes its time to boot.
    pub fn comes_up(&self, name: &HostName) {
        self.state().comes_up(name);
    }

    /// Power off and on again.
    pub fn reboots(&self, name: &HostName) {
        let mut state = self.state();
        state.goes_down(name);
        state.comes_up(name);
    }

    /// A host or node stands still: it accepts connections and answers nothing. Not one without power.
    pub fn hangs(&self, name: &HostName) {
        self.state().link_turns(name, &[Link::Up, Link::CutOff], Link::Hung);
    }

    /// A host or node that stood still moves again.
    pub fn wakes(&self, name: &HostName) {
        self.state().wakes(name);
    }

    /// ssh does not get to a host or node that works and serves. Only to such a one.
    pub fn cut_off(&self, name: &HostName) {
        self.state().link_turns(name, &[Link::Up], Link::CutOff);
    }

    /// ssh gets there again.
    pub fn reconnected(&self, name: &HostName) {
        self.state().link_turns(name, &[Link::CutOff], Link::Up);
    }

    /// A host or node refuses our key, or takes it again.
    pub fn refuses_key(&self, name: &HostName, refuses: bool) {
        self.state().keys_become(name, if refuses { Keys::Refused } else { Keys::Good });
    }

    /// A host or node shows another host key, or the one that we know.
    pub fn changes_host_key(&self, name: &HostName, changed: bool) {
        self.state().keys_become(name, if changed { Keys::HostKeyChanged } else { Keys::Good });
    }

    /// Another process takes apt's lock, or lets go of it.
    pub fn apt_lock(&self, host: &HostName, held: bool) {
        if let Some(host) = self.state().hosts.get_mut(host) {
            host.apt_locked = held;
        }
    }

    /// A host's disk is full, or has room again.
    pub fn disk_full(&self, host: &HostName, full: bool) {
        if let Some(host) = self.state().hosts.get_mut(host) {
            host.disk_full = full;
        }
    }

    /// Somebody kills dpkg half-way through an upgrade of their own to `version`.
    pub fn interrupts_dpkg(&self, host: &HostName, version: &Version) {
        self.state().files_change(host, version, Phase::Unpacked);
    }

    /// Somebody installs a version by hand; services are not restarted. apt refuses where dpkg was interrupted, so they
    /// have mended that first.
    pub fn installs_by_hand(&self, host: &HostName, version: &Version) {
        self.state().files_change(host, version, Phase::Installed);
    }

    /// From now on, one session of the host does not end by itself when it is drained.
    pub fn session_never_ends(&self, host: &HostName) {
        let mut state = self.state();
        if let Some(host) = state.hosts.get_mut(host) {
            host.never_ends = true;
        }
        let first = state.rows_of(host).into_iter().next();
        let Some((node, key)) = first else { return };
        let row = state.nodes.get_mut(&node).and_then(|node| node.rows.get_mut(&key));
        if let Some(row) = row.filter(|row| !row.takes_traffic()) {
            row.add_endless_session();
        }
    }

    /// Sessions that would never end do so now, and there are no more of them.
    pub fn sessions_end(&self, host: &HostName) {
        let mut state = self.state();
        if let Some(host) = state.hosts.get_mut(host) {
            host.never_ends = false;
        }
        for (node, key) in state.rows_of(host) {
            if let Some(node) = state.nodes.get_mut(&node) {
                node.end_endless_sessions(&key);
            }
        }
    }

    /// HAProxy is reloaded: drains and weights are forgotten, sessions go on in the old worker.
    pub fn reloads(&self, node: &HostName) {
        self.state().new_worker(node, true);
    }

    /// A backend binds clients to servers by cookie from now on.
    pub fn make_sticky(&self, backend: &BackendId) {
        for node in self.state().nodes.values_mut().filter(|node| node.load_balancer == backend.load_balancer)
        {
            node.sticky.insert(backend.backend.clone());
        }
    }

    /// A person sets a row's administrative state.
    ///
    /// While a claim of ours lies on the host, and it does not name the row as found, nobody can tell whose the one
    /// drain bit is: it then counts as ours.
    pub fn person_sets(&self, row: &RowId, admin: Admin) {
        let mut state = self.state();
        let key = (row.backend.clone(), row.server.clone());
        let Some(node) = state.nodes.get(&row.node) else { return };
        let Some(server) = node.rows.get(&key) else { return };
        let claim = state.hosts.get(&server.host).and_then(|host| host.claim.as_ref());
        let marked =
            claim.is_some_and(|claim| *claim.service == *self.owner.service && !claim.found.contains(row));
        // A host that is declared out is drained by us without a mark: another drain cannot be told from ours, nor one that
        // comes in place of ours before anybody has seen that a reload or a person had undone or replaced it.
        let unseen = server.ours_undone_ms.is_some_and(|undone| undone >= node.looked_ms);
        let ours = marked || unseen || (server.taken_by.may_be_us() && server.admin == admin);
        let by = match admin {
            Admin::Ready => TakenBy::Nobody,
            Admin::Drain | Admin::Maint if ours => TakenBy::Unclear,
            Admin::Drain | Admin::Maint => TakenBy::Person(state.now_ms),
        };
        let (now_ms, undoes) = (state.now_ms, server.taken_by.may_be_us() && server.admin != admin);
        state.set_admin(&row.node, &key, admin, by);
        let server = state.nodes.get_mut(&row.node).and_then(|node| node.rows.get_mut(&key));
        if let Some(server) = server {
            server.undone_ms = (admin == Admin::Ready).then_some(now_ms).or(server.undone_ms);
            server.ours_undone_ms = undoes.then_some(now_ms).or(server.ours_undone_ms);
        }
    }

    /// A person drains the rest of a host that is out on some nodes, when its packages are not wholly installed, or do not run.
    pub fn person_takes_out_half_upgraded(&self, host: &HostName) {
        let rows: Vec<(RowId, Admin)> = {
            let state = self.state();
            let half = state.hosts.get(host).is_some_and(Host::is_half_upgraded);
            let rows = state.rows_of(host).into_iter().filter(|_| half);
            let seen = |(node, key): (HostName, RowKey)| {
                let admin = state.nodes.get(&node)?.rows.get(&key)?.admin;
                Some((RowId { node, backend: key.0, server: key.1 }, admin))
            };
            rows.filter_map(seen).collect()
        };
        let (serving, out): (Vec<_>, Vec<_>) = rows.iter().partition(|(_, admin)| *admin == Admin::Ready);
        let half_out = !out.is_empty();
        serving.into_iter().filter(|_| half_out).for_each(|(row, _)| self.person_sets(row, Admin::Drain));
    }

    /// A person looked at a job in doubt, and cleared it away.
    pub fn person_settles(&self, host: &HostName, job: &StepId) {
        if let Some(host) = self.state().hosts.get_mut(host) {
            host.jobs.remove(job);
        }
    }
}

impl State {
    fn goes_down(&mut self, name: &HostName) {
        self.migrations_die(name);
        if let Some(host) = self.hosts.get_mut(name) {
            host.lose_power();
            self.sessions_break(name);
            self.app_may_change(name);
        }
        if self.nodes.contains_key(name) {
            self.new_worker(name, false);
            self.link_becomes(name, Link::Down);
        }
        self.note(name, || "is down".to_owned());
    }

    /// The database rolls back what is not done.
    fn migrations_die(&mut self, name: &HostName) {
        let jobs = self.hosts.get(name).map(|host| host.jobs.values()).into_iter().flatten();
        let dying = jobs.filter(|job| job.is_running()).filter_map(|job| match &job.step.action {
            Action::Migrate { key, .. } => Some((job.step.environment.clone(), key.clone())),
            _ => None,
        });
        for (environment, key) in dying.collect::<Vec<_>>() {
            self.database_ends(&environment, &key, false);
        }
    }

    fn comes_up(&mut self, name: &HostName) {
        let (now_ms, boot) = (self.now_ms, self.pace.boot);
        if let Some(host) = self.hosts.get_mut(name).filter(|host| host.machine.link == Link::Down) {
            host.boot += 1;
            let due = Due::Booted { host: name.clone(), boot: host.boot };
            let at_ms = now_ms + host.machine.chance.ms(boot);
            self.queue.push(at_ms, due);
        }
        if self.nodes.get(name).is_some_and(|node| node.machine.link == Link::Down) {
            self.link_becomes(name, Link::Up);
            self.new_worker(name, false);
        }
    }

    fn wakes(&mut self, name: &HostName) {
        if self.machine(name).is_none_or(|machine| machine.link != Link::Hung) {
            return;
        }
        self.link_becomes(name, Link::Up);
        self.thaw_jobs(name);
        self.check_all(name);
    }

    fn link_turns(&mut self, name: &HostName, from: &[Link], to: Link) {
        if self.machine(name).is_some_and(|machine| from.contains(&machine.link)) {
            self.link_becomes(name, to);
        }
    }

    fn link_becomes(&mut self, name: &HostName, link: Link) {
        let now_ms = self.now_ms;
        let Some(machine) = self.machine_mut(name) else { return };
        machine.link = link;
        machine.notes_reach(now_ms);
        self.note(name, || format!("is {link:?}"));
        self.app_may_change(name);
    }

    fn keys_become(&mut self, name: &HostName, keys: Keys) {
        let now_ms = self.now_ms;
        let Some(machine) = self.machine_mut(name) else { return };
        machine.keys = keys;
        machine.notes_reach(now_ms);
        self.note(name, || format!("shows keys: {keys:?}"));
    }

    /// Somebody leaves packages on a host like this, if it runs, and nobody else holds dpkg's lock.
    fn files_change(&mut self, name: &HostName, version: &Version, phase: Phase) {
        let now_ms = self.now_ms;
        if self.apt_lock(name).is_some() {
            return;
        }
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.machine.runs()) else { return };
        host.interrupted = phase == Phase::Unpacked;
        // What has run since before the world began is older, also in its first instant.
        host.unpacked_ms = now_ms.max(1);
        host.installed_by_us = None;
        for package in host.packages.values_mut() {
            *package = crate::host::Package { version: version.clone(), phase };
        }
        self.note(name, || format!("somebody left {version} {phase:?}"));
    }

    /// HAProxy begins anew; sessions live on in the old worker, if that is left.
    fn new_worker(&mut self, name: &HostName, old_stays: bool) {
        let now_ms = self.now_ms;
        let Some(node) = self.nodes.get_mut(name) else { return };
        node.worker += 1;
        node.process = Node::process(name, node.worker);
        if !old_stays {
            node.old_ends_ms.clear();
        }
        for (key, row) in &mut node.rows {
            let Some(host) = self.hosts.get_mut(&row.host) else { continue };
            let ends_ms = row.restart(now_ms, &mut host.machine.chance, &self.pace);
            if old_stays {
                node.old_ends_ms.entry(key.clone()).or_default().extend(ends_ms);
            }
        }
        let worker = node.worker;
        self.note(name, || format!("HAProxy worker {worker} begins"));
        self.check_all(name);
    }

    /// Every row of a node that is checked at all gets a check soon.
    fn check_all(&mut self, node: &HostName) {
        let Some(state) = self.nodes.get(node) else { return };
        let checked = state.rows.iter().filter(|(_, row)| row.admin != Admin::Maint);
        for key in checked.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.check_later(node, &key, 1);
        }
    }
}
