//! How a test steers what a release meets on its way, and what it can ask the world about it.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use model::{
    BackendName, CheckName, Desired, EnvironmentName, GateName, HealthState, HostName, Track, Verdict,
    Version,
};

use crate::database::MigrationRow;
use crate::host::Process;
use crate::journal::MemoryJournal;
use crate::law::Law;
use crate::named::Fate;
use crate::source::SimSource;
use crate::world::SimWorld;

/// Releases. Names of hosts that do not exist are ignored.
impl SimWorld {
    /// From now on steps are judged by what their commits say, and by what people asked: S2, S4, S5, S8 and S9 need it.
    pub fn is_judged_by(&self, source: &SimSource, journal: &MemoryJournal) {
        self.state().law = Some(Law::new(source.clone(), journal.clone()));
    }

    /// A gate turns, and stays so. `value` is what a query answers: a number, alerts, an error.
    pub fn gate_is(&self, environment: &EnvironmentName, gate: &GateName, verdict: Verdict, value: &str) {
        self.state().gate_becomes(&(environment.clone(), gate.clone()), verdict, value);
    }

    /// A gate turns red and green, for this long each time, until somebody says how it is.
    pub fn gate_flaps(&self, environment: &EnvironmentName, gate: &GateName, every: SignedDuration) {
        self.state().gate_flaps(&(environment.clone(), gate.clone()), ms(every).max(1));
    }

    /// What becomes of an environment's migrations from now on.
    pub fn migrations_are(&self, environment: &EnvironmentName, fate: Fate) {
        self.state().named.migrations.insert(environment.clone(), fate);
    }

    /// What becomes of a check from now on, in every environment.
    pub fn check_is(&self, check: &CheckName, fate: Fate) {
        self.state().named.checks.insert(check.clone(), fate);
    }

    /// What an environment's database counts: a row for each migration that ran to its end, in order.
    pub fn migration_rows(&self, environment: &EnvironmentName) -> Vec<MigrationRow> {
        self.state().databases.get(environment).map(|database| database.rows.clone()).unwrap_or_default()
    }

    /// The archive offers a version from now on.
    pub fn publish(&self, version: &Version) {
        self.state().offered.insert(version.clone());
    }

    /// Somebody starts a run of a host's configuration agent, which takes this long.
    pub fn agent_is_busy(&self, host: &HostName, time: SignedDuration) {
        self.state().agent_made_busy(host, ms(time));
    }

    /// Somebody stops a host's configuration agent, or starts it.
    pub fn somebody_sets_agent(&self, host: &HostName, active: bool) {
        self.state().agent_set(host, active);
    }

    /// Whether a host's configuration agent is active; none: it has none.
    pub fn agent_is_active(&self, host: &HostName) -> Option<bool> {
        Some(self.state().hosts.get(host)?.agent.as_ref()?.active)
    }

    /// A patch does not fit anywhere, or fits again.
    pub fn patch_fits(&self, sha256: &str, fits: bool) {
        let mut state = self.state();
        if fits {
            state.misfits.remove(sha256);
        } else {
            state.misfits.insert(sha256.to_owned());
        }
    }

    /// The patches, by checksum, that a host's files have, and those that all of its processes have loaded.
    pub fn patches(&self, host: &HostName) -> (BTreeSet<String>, BTreeSet<String>) {
        let state = self.state();
        let Some(host) = state.hosts.get(host) else { return Default::default() };
        let mut loaded = host.patches.clone();
        for live in host.services.values().filter_map(Process::live) {
            loaded.retain(|patch| live.patches.contains(patch));
        }
        (host.patches.clone(), loaded)
    }

    /// What the configuration management was told last.
    pub fn pinned(&self, environment: &EnvironmentName, track: Track) -> Option<Version> {
        self.state().pinned.get(&(environment.clone(), track)).cloned()
    }

    /// The canary's share of each backend that both tracks serve in, on each node, in percent, as the weights of the rows
    /// that take traffic give it.
    pub fn shares(&self) -> Vec<(HostName, BackendName, f64)> {
        self.state().shares()
    }

    /// Everything that keeps one environment from being settled on what is desired, in words: versions, health, patches,
    /// claims, agents, drains and shares. Hosts and nodes that are declared out do not count.
    pub fn unsettled_on(&self, desired: &Desired) -> Vec<String> {
        let state = self.state();
        let now = state.clock.at(state.now_ms);
        let mut left = Vec::new();
        let of_environment = state.hosts.iter().filter(|(_, host)| host.environment == desired.environment);
        for (name, host) in
            of_environment.filter(|(name, _)| desired.exceptions.host_out(name, now).is_none())
        {
            left.extend(host.claim.as_ref().map(|_| format!("{name} is claimed")));
            let paused = host.agent.as_ref().is_some_and(|agent| agent.paused_by_us);
            left.extend(paused.then(|| format!("{name}: its configuration agent is paused by us")));
            if !host.has_role() {
                continue;
            }
            let release = desired.target_of(host.role.track);
            let wanted = host.role.package_version(release, "bookworm");
            let current = host.whole() && host.installed() == Some(&wanted) && host.runs(&wanted);
            left.extend((!current).then(|| format!("{name} does not run {wanted}")));
            let sick = state.health(host) != HealthState::Healthy || !host.machine.runs();
            left.extend(sick.then(|| format!("{name} is not well")));
            let patches = desired.patches(&host.role.name, release).map(|patch| patch.sha256.clone());
            let patched = host.patches == patches.collect();
            left.extend((!patched).then(|| format!("{name} does not have its patches")));
        }
        left.extend(state.taken_out_by_us(desired));
        left.extend(state.shares_off(desired));
        left
    }
}

fn ms(time: SignedDuration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(0)
}
