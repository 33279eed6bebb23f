//! Hosts and environments that leave the repository while our mark is on them: they are brought to a safe point first.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{Desired, EnvironmentName, Event, HostName};

use crate::seams::{Journal, Source, World};
use crate::service::{DesiredByName, Service};

impl<W: World, J: Journal, S: Source> Service<W, J, S> {
    /// An environment that left the repository with our marks on its hosts stays, without a fleet, until they are off.
    pub(crate) fn keep_what_is_claimed(&mut self, wanted: &mut DesiredByName) {
        for (name, environment) in &self.environments {
            let history = self.memory.history(name);
            let busy = !history.claims.is_empty() || !history.in_flight.is_empty();
            if busy && !wanted.contains_key(name) {
                wanted.insert(name.clone(), without_fleet(&environment.desired));
            }
        }
    }

    /// Marks of ours for environments that nobody here knows: they left the repository while no service ran.
    pub(crate) fn left_behind(&self) -> BTreeMap<EnvironmentName, BTreeSet<HostName>> {
        let claimed = self.memory.histories().filter(|history| !history.claims.is_empty());
        let unknown = claimed.filter(|history| !self.environments.contains_key(&history.environment));
        unknown.map(|it| (it.environment.clone(), it.claims.keys().cloned().collect())).collect()
    }

    /// Hosts that leave the fleet with our mark on them are remembered in their roles, so that they can be let go.
    pub(crate) fn tell_departures(&mut self, name: &EnvironmentName, desired: &Desired, now: Timestamp) {
        let Some(environment) = self.environments.get(name) else { return };
        let history = self.memory.history(name);
        let leaves = |host: &model::HostName| {
            desired.fleet.role_of(host).is_none()
                && !history.departed.contains_key(host)
                && (history.claims.contains_key(host) || history.in_flight_on(host).is_some())
        };
        let mut roles: Vec<model::Role> = environment.desired.fleet.roles.clone();
        for role in &mut roles {
            role.hosts.retain(leaves);
        }
        roles.retain(|role| !role.hosts.is_empty());
        if !roles.is_empty() {
            self.memory.keep(now, Event::Departed { environment: name.clone(), roles });
        }
    }
}

/// Hosts that left the fleet and still carry our mark, each in its former role.
pub(crate) fn departed(history: &model::History, desired: &Desired) -> Vec<model::Role> {
    let gone = history.departed.iter().filter(|(host, _)| desired.fleet.role_of(host).is_none());
    gone.map(|(host, role)| model::Role { hosts: vec![host.clone()], ..role.clone() }).collect()
}

/// An environment of which only the load balancers are left, for hosts that have to be let go.
fn without_fleet(desired: &Desired) -> Desired {
    let mut desired = desired.clone();
    desired.fleet.roles.clear();
    // What stands on hosts is taken back as it was put there: agents resumed, the hosts of jobs let go.
    let model::Policy { config_agent, migrations, checks, .. } = std::mem::take(&mut desired.fleet.policy);
    desired.fleet.policy = model::Policy { config_agent, migrations, checks, ..model::Policy::default() };
    desired.exceptions = model::Exceptions::default();
    desired
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use model::{Commit, CommitId, Deadlines, Fleet, History, Limit, Mode, Policy, Role, Version};

    use super::*;

    fn role(hosts: &[&str]) -> Role {
        let hosts = hosts.iter().map(|host| HostName::new(*host)).collect();
        Role { hosts, ..Role::of_host("web".into(), &"web-01".into(), &["shop".into()], "{version}") }
    }

    fn desired(hosts: &[&str]) -> Desired {
        let at = Timestamp::UNIX_EPOCH;
        let (id, hour) = (CommitId::new("0"), SignedDuration::from_hours(1));
        Desired {
            environment: "production".into(),
            commit: Commit { id, author: String::new(), subject: String::new(), at },
            target: Version::parse("1.0").unwrap(),
            direction: None,
            canary: None,
            exceptions: model::Exceptions::default(),
            departed: Vec::new(),
            ranks: Vec::new(),
            fleet: Fleet {
                mode: Mode::Reconcile,
                roles: vec![role(hosts)],
                load_balancers: Vec::new(),
                backend_limit: Limit::Count(1),
                max_parallel: 1,
                deadlines: Deadlines { step: hour, rollout: hour },
                policy: Policy::default(),
            },
        }
    }

    #[test]
    fn hosts_that_left_together_are_let_go_one_by_one_and_one_that_came_back_is_not() {
        let mut history = History::new("production".into());
        let roles = vec![role(&["web-01", "web-02", "web-03"])];
        let left = Event::Departed { environment: "production".into(), roles };
        history.apply(Timestamp::UNIX_EPOCH, &left).unwrap();
        let gone = departed(&history, &desired(&["web-03", "web-04"]));
        let hosts: Vec<Vec<HostName>> = gone.into_iter().map(|role| role.hosts).collect();
        assert_eq!(hosts, [vec![HostName::new("web-01")], vec![HostName::new("web-02")]]);
    }

    #[test]
    fn an_environment_that_left_keeps_what_is_needed_to_take_marks_back() {
        let mut before = desired(&["web-01"]);
        let word = |word: &str| model::Argv(vec![word.to_owned()]);
        before.fleet.policy.config_agent = Some(model::ConfigAgent {
            pause: word("stop"),
            resume: word("start"),
            active: word("is-active"),
            busy: None,
            pin: None,
        });
        before.fleet.policy.migrations = Some(model::Migrations {
            host: "deploy-01".into(),
            packages: Vec::new(),
            package_version: "{version}".to_owned(),
            ready: None,
            pre: None,
            post: None,
        });
        let after = without_fleet(&before);
        assert_eq!(after.fleet.roles, []);
        assert_eq!(after.fleet.policy, before.fleet.policy);
    }
}
