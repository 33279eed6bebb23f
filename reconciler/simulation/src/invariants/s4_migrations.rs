//! S4: a version comes to a serving role only after its migrations, and post-deployment migrations of it run only when
//! every host that counts runs it, or a version that came later.
//!
//! Judged as installs and migrations begin, by the database's own table, and by what hosts really run. Versions from before
//! the world began, or that were found running and ever ran, count as migrated, and so do those from before one that is, for
//! good; nothing is migrated on the way back.

use model::{Desired, EnvironmentName, HostName, JobKey, JobKind, Role, Step, Version};

use crate::invariants::Promise;
use crate::invariants::begins::{rank_of, running};
use crate::state::State;

impl State {
    /// Before a job of ours changes packages on a host.
    pub(crate) fn comes_after_migrations(&mut self, step: &Step) {
        let Some(desired) = self.law_of(step) else { return };
        let serves = desired.fleet.role_of(&step.host).is_some();
        if self.is_migrated(&desired, step) {
            self.migrated.entry(step.environment.clone()).or_default().insert(step.version.clone());
        } else if serves && !self.goes_back(&desired, step) {
            let what = format!("{}: {} gets {} before its migrations", step.id, step.host, step.version);
            self.violated(Promise::S4, what);
        }
    }

    /// Whether a version may serve, as the database says: by its own migrations, or since before we came.
    fn is_migrated(&mut self, desired: &Desired, step: &Step) -> bool {
        let Some(migrations) = &desired.fleet.policy.migrations else { return true };
        if migrations.pre.is_none()
            || self.migrated.get(&step.environment).is_some_and(|v| v.contains(&step.version))
        {
            return true;
        }
        let own = desired.rank(&step.version);
        let covers =
            |version: &&Version| **version == step.version || (own.is_some() && desired.rank(version) > own);
        let covering: Vec<&Version> = desired.ranks.iter().filter(covers).chain([&step.version]).collect();
        let database = self.databases.get(&step.environment);
        let ran = |version: &&Version| {
            database.is_some_and(|database| database.has(&JobKind::PreMigration, version))
        };
        covering.iter().any(ran)
            || covering.iter().any(|version| {
                let law = self.law.as_mut();
                law.is_some_and(|law| law.was_found_running(&step.environment, version))
                    && self.ever_ran(desired, &step.environment, version)
            })
    }

    /// Whether a service ever ran a version: else nobody can have found it running.
    fn ever_ran(&self, desired: &Desired, environment: &EnvironmentName, version: &Version) -> bool {
        let Some(ran) = self.ran.get(environment) else { return false };
        desired.fleet.roles.iter().any(|role| ran.contains(&role.package_version(version, "bookworm")))
    }

    /// Whether the database is beyond a version: then nothing of it is migrated any more.
    fn is_beyond(&self, desired: &Desired, step: &Step, key: &JobKey) -> bool {
        let Some(own) = desired.rank(&key.version) else { return false };
        let Some(database) = self.databases.get(&step.environment) else { return false };
        let of = |version: &Version| JobKey { kind: key.kind.clone(), version: version.clone() };
        desired.ranks.iter().skip(own + 1).any(|version| database.must_not_repeat(&of(version)))
    }

    /// Before migrations begin.
    pub(crate) fn may_migrate(&mut self, step: &Step, key: &JobKey) {
        let Some(desired) = self.law_of(step) else { return };
        let Some(migrations) = &desired.fleet.policy.migrations else { return };
        let noticed_ms = self.had_to_know_ms(step);
        let programs = self.hosts.get(&step.host).is_some_and(|host| {
            let wanted = host.role.package_version(&key.version, "bookworm");
            host.was_changed_since(noticed_ms) || (host.whole() && host.installed() == Some(&wanted))
        });
        if !programs {
            let what = format!("{}: {key} begin with other programs on {}", step.id, migrations.host);
            self.violated(Promise::S4, what);
        }
        if self.is_beyond(&desired, step, key) {
            let what = format!("{}: {key} begin after those of a later version", step.id);
            self.violated(Promise::S4, what);
        }
        let late = match key.kind {
            JobKind::PostMigration => self.late_host(&desired, step, &key.version, noticed_ms),
            JobKind::PreMigration | JobKind::Check { .. } => None,
        };
        if let Some(host) = late {
            self.violated(
                Promise::S4,
                format!("{}: {key} begin while {host} runs an earlier version", step.id),
            );
        }
    }

    /// A host that counts and runs something from before `version`, unless somebody has brought it there so lately that nobody
    /// could know.
    fn late_host(
        &self,
        desired: &Desired,
        step: &Step,
        version: &Version,
        noticed_ms: u64,
    ) -> Option<HostName> {
        let decided = self.clock.at(self.decided_at_ms(step));
        let wanted = desired.rank(version)?;
        let counted =
            desired.fleet.hosts().filter(|(_, host)| desired.exceptions.host_out(host, decided).is_none());
        let late = |(role, name): &(&Role, &HostName)| {
            let Some(host) = self.hosts.get(*name) else { return false };
            !host.was_changed_since(noticed_ms)
                && running(host).any(|runs| rank_of(desired, role, runs).is_none_or(|rank| rank < wanted))
        };
        counted.filter(late).map(|(_, name)| name.clone()).next()
    }
}
