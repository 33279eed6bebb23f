//! S4: migrations before, and post-deployment migrations after. S5: vetoes.

use model::{Activate, Desired, HostName, JobKey, JobKind, Role, Step, Version};

use crate::host::{Host, Process};
use crate::invariants::Promise;
use crate::state::State;

impl State {
    /// Before a job of ours changes packages on a host.
    pub(crate) fn may_install(&mut self, step: &Step) {
        let Some(desired) = self.law_of(step) else { return };
        if desired.exceptions.veto(&step.version).is_some() && !self.has_already(step) {
            let what = format!("{}: {} is vetoed, and {} gets it", step.id, step.version, step.host);
            self.violated(Promise::S5, what);
        }
        let serves = desired.fleet.role_of(&step.host).is_some();
        if serves && !self.is_migrated(&desired, step) && !self.goes_back(&desired, step) {
            let what = format!("{}: {} gets {} before its migrations", step.id, step.host, step.version);
            self.violated(Promise::S4, what);
        }
    }

    fn has_already(&self, step: &Step) -> bool {
        let Some(host) = self.hosts.get(&step.host) else { return false };
        let wanted = host.role.package_version(&step.version, "bookworm");
        host.installed() == Some(&wanted)
            || host.services.values().any(|process| process.live().is_some_and(|live| live.version == wanted))
    }

    /// Whether a version may serve, as the database says: by its own migrations, or since before we came.
    fn is_migrated(&mut self, desired: &Desired, step: &Step) -> bool {
        let Some(migrations) = &desired.fleet.policy.migrations else { return true };
        if migrations.pre.is_none()
            || self.first.get(&step.environment).is_some_and(|v| v.contains(&step.version))
        {
            return true;
        }
        let database = self.databases.get(&step.environment);
        let done = database.is_some_and(|database| database.has(&JobKind::PreMigration, &step.version));
        done || self.law.as_mut().is_some_and(|law| law.was_found_running(&step.environment, &step.version))
    }

    /// Before migrations begin.
    pub(crate) fn may_migrate(&mut self, step: &Step, key: &JobKey) {
        let Some(desired) = self.law_of(step) else { return };
        if desired.exceptions.veto(&key.version).is_some() {
            self.violated(Promise::S5, format!("{}: {key} begin, and it is vetoed", step.id));
        }
        let Some(migrations) = &desired.fleet.policy.migrations else { return };
        let programs = self.hosts.get(&step.host).is_some_and(|host| {
            host.whole() && host.installed() == Some(&host.role.package_version(&key.version, "bookworm"))
        });
        if !programs {
            let what = format!("{}: {key} begin with other programs on {}", step.id, migrations.host);
            self.violated(Promise::S4, what);
        }
        let late = match key.kind {
            JobKind::PostMigration => self.late_host(&desired, &key.version),
            JobKind::PreMigration | JobKind::Check { .. } => None,
        };
        if let Some(host) = late {
            self.violated(
                Promise::S4,
                format!("{}: {key} begin while {host} runs an earlier version", step.id),
            );
        }
    }

    /// A host that counts and runs something from before `version`.
    fn late_host(&self, desired: &Desired, version: &Version) -> Option<HostName> {
        let now = self.clock.at(self.now_ms);
        let wanted = desired.rank(version)?;
        let counted =
            desired.fleet.hosts().filter(|(_, host)| desired.exceptions.host_out(host, now).is_none());
        let late = |(role, name): &(&Role, &HostName)| {
            let Some(host) = self.hosts.get(*name) else { return false };
            running(host).any(|runs| rank_of(desired, role, runs).is_none_or(|rank| rank < wanted))
        };
        counted.filter(late).map(|(_, name)| name.clone()).next()
    }

    /// Whether a step's track goes back: some host of it has a version from after the step's.
    pub(crate) fn goes_back(&self, desired: &Desired, step: &Step) -> bool {
        let track = desired.fleet.role_of(&step.host).map_or_else(model::Track::default, |role| role.track);
        let Some(wanted) = desired.rank(&step.version) else { return false };
        if desired.direction == Some(model::Direction::Back) && step.version == desired.target {
            return true;
        }
        let mut of_track = desired.fleet.hosts().filter(|(role, _)| role.track == track);
        of_track.any(|(role, name)| {
            let Some(host) = self.hosts.get(name) else { return false };
            let versions = host.installed().into_iter().chain(running(host));
            versions.filter_map(|version| rank_of(desired, role, version)).any(|rank| rank > wanted)
        })
    }
}

/// The package versions that a host's services run; of one without power: what it would run.
fn running(host: &Host) -> impl Iterator<Item = &Version> {
    let moving = host.services.values().filter(|process| process.spec.activate != Activate::None);
    let live = moving.filter_map(Process::live).map(|live| &live.version);
    let dead = host.services.values().all(|process| process.live().is_none());
    live.chain(host.installed().filter(|_| dead))
}

/// The rank of the release that has a package version.
fn rank_of(desired: &Desired, role: &Role, package: &Version) -> Option<usize> {
    desired.ranks.iter().position(|version| role.package_version(version, "bookworm") == *package)
}
