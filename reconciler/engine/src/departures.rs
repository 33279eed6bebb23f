//! Hosts and environments that leave the repository while our mark is on them: they are brought to a safe point first.

use std::collections::{BTreeMap, BTreeSet};

use model::{Desired, EnvironmentName, Event, Fact, History, HostName, Observed, Revision, Role};

use crate::seams::{Journal, Source, World};
use crate::service::{DesiredByName, Service};
use crate::word::job_hosts;

impl<W: World, J: Journal, S: Source> Service<W, J, S> {
    /// A revision's environments. One that left the repository with our marks on its hosts stays, without a fleet, until they
    /// are off.
    pub(crate) fn with_what_is_claimed(&mut self, revision: &Revision) -> DesiredByName {
        let mut wanted = revision.environments.clone();
        for (name, environment) in &self.environments {
            let history = self.memory.history(name);
            let observed = &environment.observed;
            let marked = || observed.hosts.keys().any(|host| is_marked(history, observed, host));
            let busy = !history.claims.is_empty() || !history.in_flight.is_empty() || marked();
            if busy && !wanted.contains_key(name) {
                wanted.insert(name.clone(), without_fleet(&environment.desired));
            }
        }
        wanted
    }

    /// Marks of ours on hosts that nobody here knows: they left the repository while no service ran, alone or with their
    /// environment. Whoever went over to another environment is let go there.
    pub(crate) fn left_behind(&self) -> BTreeMap<EnvironmentName, BTreeSet<HostName>> {
        let all = self.environments.iter().map(|(name, environment)| (name, &environment.desired)).collect();
        self.memory
            .histories()
            .filter_map(|history| {
                let hosts: BTreeSet<HostName> = unknown_to(&all, history).cloned().collect();
                (!hosts.is_empty()).then(|| (history.environment.clone(), hosts))
            })
            .collect()
    }

    /// Hosts that leave the fleet with our mark on them are remembered in their roles, so that they can be let go.
    pub(crate) fn departures(&mut self, wanted: &DesiredByName) -> Vec<Event> {
        let event = |(name, desired): (&EnvironmentName, &Desired)| {
            let environment = self.environments.get(name)?;
            let leaves = leaving(self.memory.history(name), &environment.observed, desired);
            let roles = former_roles(&environment.desired, desired, leaves);
            (!roles.is_empty()).then(|| Event::Departed { environment: name.clone(), roles })
        };
        wanted.iter().filter_map(event).collect()
    }
}

/// Whether a host leaves with our mark on it, or something of ours under way there.
fn leaving<'a>(
    history: &'a History,
    observed: &'a Observed,
    desired: &'a Desired,
) -> impl Fn(&HostName) -> bool + 'a {
    move |host| {
        desired.fleet.role_of(host).is_none()
            && !history.departed.contains_key(host)
            && is_begun(history, Some(observed), host)
    }
}

/// Whether our mark is on a host, or something of ours under way there.
fn is_begun(history: &History, observed: Option<&Observed>, host: &HostName) -> bool {
    history.claims.contains_key(host)
        || history.in_flight_on(host).is_some()
        || observed.is_some_and(|observed| is_marked(history, observed, host))
}

/// The roles of those who leave; whoever ran jobs has one of that kind, without packages of ours.
fn former_roles(before: &Desired, after: &Desired, leaves: impl Fn(&HostName) -> bool) -> Vec<Role> {
    let runs_jobs = |host: &&HostName| job_hosts(after).any(|known| known == *host);
    let former = job_hosts(before).filter(|host| !runs_jobs(host) && before.fleet.role_of(host).is_none());
    let jobs: BTreeSet<&HostName> = former.collect();
    let jobs = jobs.into_iter().map(|host| Role::of_host("(jobs)".into(), host, &[], "{version}"));
    let mut roles: Vec<Role> = before.fleet.roles.iter().cloned().chain(jobs).collect();
    for role in &mut roles {
        role.hosts.retain(&leaves);
    }
    roles.retain(|role| !role.hosts.is_empty());
    roles
}

/// Whether a host was seen with our mark since we did anything there: the journal does not know of one whose answer was lost.
fn is_marked(history: &History, observed: &Observed, host: &HostName) -> bool {
    let fact = observed.hosts.get(host).filter(|fact| history.last_action.get(host) <= Some(&fact.at));
    let claim = fact.and_then(Fact::known).and_then(|state| state.claim.as_ref());
    claim.is_some_and(|claim| claim.service == history.service && claim.environment == history.environment)
}

/// Hosts with our mark that have no place in any environment, and are not on their way out of their own. A place in another one
/// is none for what we keep out of rotation in this one: nobody gives it back there.
fn unknown_to<'a>(
    all: &'a BTreeMap<&EnvironmentName, &Desired>,
    history: &'a History,
) -> impl Iterator<Item = &'a HostName> {
    let is_in = |host: &HostName, desired: &Desired| {
        desired.fleet.role_of(host).is_some() || job_hosts(desired).any(|known| known == host)
    };
    let is_known = move |host: &HostName| {
        let counts =
            |name: &EnvironmentName| *name == history.environment || !history.taken_out.has_any(host);
        all.iter().any(|(name, desired)| is_in(host, desired) && counts(name))
    };
    let has_ended = !all.contains_key(&&history.environment);
    history
        .claims
        .keys()
        .filter(move |host| !is_known(host) && (has_ended || !history.departed.contains_key(*host)))
}

/// Hosts that left the fleet and still carry our mark, each in its former role. One that runs jobs now does that, unless its
/// former role has something to be given back first.
pub(crate) fn departed(history: &History, observed: Option<&Observed>, desired: &Desired) -> Vec<Role> {
    let has_ours = |host: &HostName| is_begun(history, observed, host) || history.taken_out.has_any(host);
    let has_more = |role: &Role| !(role.packages.is_empty() && role.backends.is_empty());
    let is_gone = |(host, role): &(&HostName, &Role)| {
        let runs_jobs = job_hosts(desired).any(|known| known == *host);
        desired.fleet.role_of(host).is_none() && (!runs_jobs || (has_more(role) && has_ours(host)))
    };
    let gone = history.departed.iter().filter(is_gone);
    gone.map(|(host, role)| Role { hosts: vec![host.clone()], ..role.clone() }).collect()
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
    use jiff::{SignedDuration, Timestamp};
    use model::{
        Claim, Commit, CommitId, Deadlines, Fleet, Generation, Limit, Mode, Policy, RowId, TakenOutBy,
        Version,
    };

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
        let gone = departed(&history, None, &desired(&["web-03", "web-04"]));
        let hosts: Vec<Vec<HostName>> = gone.into_iter().map(|role| role.hosts).collect();
        assert_eq!(hosts, [vec![HostName::new("web-01")], vec![HostName::new("web-02")]]);
    }

    #[test]
    fn who_left_and_runs_jobs_now_is_let_go_as_such_unless_something_is_to_be_given_back_first() {
        let mut history = History::new("production".into());
        let jobs = Role::of_host("(jobs)".into(), &"deploy-01".into(), &[], "{version}");
        let roles = vec![role(&["web-01"]), jobs];
        history
            .apply(Timestamp::UNIX_EPOCH, &Event::Departed { environment: "production".into(), roles })
            .unwrap();
        let seen_gone = |history: &History, seen: &Observed, runs_jobs: &str| {
            let mut now = desired(&["web-02"]);
            now.fleet.policy = migrates_on(runs_jobs);
            let gone = departed(history, Some(seen), &now);
            gone.into_iter().map(|role| role.hosts[0].to_string()).collect::<Vec<_>>()
        };
        let gone = |history: &History, runs_jobs| seen_gone(history, &Observed::default(), runs_jobs);
        assert_eq!(gone(&history, "deploy-02"), ["deploy-01", "web-01"]);
        assert_eq!(gone(&history, "deploy-01"), ["web-01"]);
        assert_eq!(gone(&history, "web-01"), ["deploy-01"], "it never got our mark");
        history.service = "deploy".into();
        assert_eq!(seen_gone(&history, &marked_web_01(), "web-01"), ["deploy-01", "web-01"], "seen with it");
        let mut has_rows_out = history.clone();
        let drained = [(web_01_on_fe_01(), TakenOutBy::Drain)];
        has_rows_out.taken_out = [("web-01".into(), drained.into())].into_iter().collect();
        assert_eq!(gone(&has_rows_out, "web-01"), ["deploy-01", "web-01"]);
        for host in ["web-01", "deploy-01"] {
            history.claims.insert(host.into(), claim());
        }
        assert_eq!(gone(&history, "web-01"), ["deploy-01", "web-01"]);
        assert_eq!(gone(&history, "deploy-01"), ["web-01"], "nothing of its own is to be given back");
    }

    fn web_01_on_fe_01() -> RowId {
        RowId { node: "fe-01".into(), backend: "web".into(), server: "web-01".into() }
    }

    /// As somebody who saw our mark.
    fn marked_web_01() -> Observed {
        let mut state = crate::word::tests::host();
        state.claim = Some(claim());
        let fact = Fact { at: Timestamp::UNIX_EPOCH, value: Ok(state) };
        Observed { hosts: [("web-01".into(), fact)].into(), ..Observed::default() }
    }

    fn migrates_on(host: &str) -> Policy {
        let migrations = model::Migrations {
            host: host.into(),
            packages: Vec::new(),
            package_version: "{version}".to_owned(),
            ready: None,
            pre: None,
            post: None,
        };
        Policy { migrations: Some(migrations), ..Policy::default() }
    }

    fn claim() -> Claim {
        Claim {
            generation: Generation(1),
            service: "deploy".into(),
            environment: "production".into(),
            commit: CommitId::new("0"),
            found: BTreeSet::new(),
            at: Timestamp::UNIX_EPOCH,
            expires: None,
        }
    }

    /// Who leaves between two commits, by role.
    fn gone(
        history: &History,
        observed: &Observed,
        before: &Desired,
        after: &Desired,
    ) -> Vec<(String, String)> {
        let roles = former_roles(before, after, leaving(history, observed, after));
        let hosts = roles
            .iter()
            .flat_map(|role| role.hosts.iter().map(|host| (role.name.to_string(), host.to_string())));
        hosts.collect()
    }

    fn told(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(role, host)| ((*role).to_owned(), (*host).to_owned())).collect()
    }

    #[test]
    fn who_leaves_with_our_mark_is_remembered_also_who_ran_jobs() {
        let (mut before, mut after) = (desired(&["web-01", "web-02"]), desired(&["web-02"]));
        before.fleet.policy = migrates_on("deploy-01");
        after.fleet.policy = migrates_on("deploy-01");
        let (mut history, observed) = (History::new("production".into()), Observed::default());
        assert_eq!(
            gone(&history, &observed, &before, &after),
            [],
            "without a mark there is nothing to take off"
        );
        for host in ["web-01", "web-02", "deploy-01"] {
            history.claims.insert(host.into(), claim());
        }
        assert_eq!(gone(&history, &observed, &before, &after), told(&[("web", "web-01")]));
        after.fleet.policy = migrates_on("deploy-02");
        let both = [("web", "web-01"), ("(jobs)", "deploy-01")];
        assert_eq!(gone(&history, &observed, &before, &after), told(&both));
        let roles = former_roles(&before, &after, leaving(&history, &observed, &after));
        history
            .apply(Timestamp::UNIX_EPOCH, &Event::Departed { environment: "production".into(), roles })
            .unwrap();
        assert_eq!(gone(&history, &observed, &before, &after), [], "it is said once");
    }

    #[test]
    fn a_mark_of_which_the_journal_does_not_know_is_ours_where_it_was_seen_since() {
        let mut history = History::new("production".into());
        history.service = "deploy".into();
        let mut observed = marked_web_01();
        let at = Timestamp::UNIX_EPOCH;
        let (before, after) = (desired(&["web-01", "web-02"]), desired(&["web-02"]));
        assert_eq!(gone(&history, &observed, &before, &after), told(&[("web", "web-01")]));
        let mut later = history.clone();
        later.last_action.insert("web-01".into(), at + SignedDuration::from_secs(1));
        assert_eq!(gone(&later, &observed, &before, &after), [], "it may be off by now");
        for other in
            [Claim { service: "other".into(), ..claim() }, Claim { environment: "x".into(), ..claim() }]
        {
            let Ok(state) = &mut observed.hosts.get_mut("web-01").unwrap().value else { panic!() };
            state.claim = Some(other);
            assert_eq!(gone(&history, &observed, &before, &after), []);
        }
    }

    #[test]
    fn marks_on_hosts_of_no_role_are_left_behind() {
        let mut history = History::new("production".into());
        for host in ["web-01", "web-02", "web-03", "deploy-01"] {
            history.claims.insert(host.into(), claim());
        }
        let roles = vec![role(&["web-03"])];
        history
            .apply(Timestamp::UNIX_EPOCH, &Event::Departed { environment: "production".into(), roles })
            .unwrap();
        let mut now = desired(&["web-02"]);
        now.fleet.policy = migrates_on("deploy-01");
        let left = |history: &History, all: &[(&str, &Desired)]| {
            let names: Vec<EnvironmentName> = all.iter().map(|(name, _)| (*name).into()).collect();
            let all = names.iter().zip(all.iter().map(|(_, desired)| *desired)).collect();
            unknown_to(&all, history).map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(left(&history, &[("production", &now)]), ["web-01"]);
        assert_eq!(
            left(&history, &[]),
            ["deploy-01", "web-01", "web-02", "web-03"],
            "with their environment"
        );
        let other = desired(&["web-01"]);
        let went_over: [String; 0] = [];
        assert_eq!(
            left(&history, &[("production", &now), ("staging", &other)]),
            went_over,
            "to be let go there"
        );
        let drained = [(web_01_on_fe_01(), TakenOutBy::Drain)];
        history.taken_out = [("web-01".into(), drained.into())].into_iter().collect();
        assert_eq!(
            left(&history, &[("production", &now), ("staging", &other)]),
            ["web-01"],
            "it is out here"
        );
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
        before.fleet.policy.migrations = migrates_on("deploy-01").migrations;
        let after = without_fleet(&before);
        assert_eq!(after.fleet.roles, []);
        assert_eq!(after.fleet.policy, before.fleet.policy);
    }
}
