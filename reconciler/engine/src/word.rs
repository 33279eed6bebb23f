//! What a person says about an environment, as the journal keeps it. The planner draws the conclusions.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use model::{
    CheckRun, Desired, Event, FoundJob, Generation, HostName, HostState, JobKey, JobKind, JobName, Observed,
    Track, Version,
};

/// Attempts of a job that anybody has made.
const ATTEMPTS: std::ops::RangeInclusive<u32> = 1..=9;

/// What a person says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Try again what failed or halted.
    Retry,
    /// Start nothing new.
    Pause {
        /// At most this long.
        lasts: SignedDuration,
    },
    /// A pause ends.
    Resume,
    /// A version has passed a track, or the record of it was lost.
    Verify {
        /// Which track.
        track: Track,
        /// Which version.
        version: Version,
    },
    /// Take the fleet as it was found: the journal was lost, or never knew it.
    Adopt,
}

impl Word {
    /// The event that says so.
    ///
    /// # Errors
    /// In words: what makes no sense, or what has not been seen yet.
    pub fn event(
        self,
        desired: &Desired,
        observed: &Observed,
        by: String,
        reason: String,
        now: Timestamp,
    ) -> Result<Event, String> {
        let environment = desired.environment.clone();
        Ok(match self {
            Self::Retry => Event::Retried { environment, by, reason },
            Self::Resume => Event::Resumed { environment, by, reason },
            Self::Pause { lasts } => {
                let until = now.checked_add(lasts).ok().filter(|until| *until > now);
                let until = until.ok_or_else(|| format!("{lasts:#} is no time to pause for"))?;
                Event::Paused { environment, by, reason, until }
            }
            Self::Verify { track, version } => {
                known(desired, &version)?;
                Event::Verified { environment, track, version, by, reason }
            }
            Self::Adopt => {
                let jobs = jobs(desired, observed)?;
                planner::adopted(desired, observed, jobs, by, reason)
            }
        })
    }
}

/// A misspelt version must not pass for one that was tested.
fn known(desired: &Desired, version: &Version) -> Result<(), String> {
    if desired.versions().any(|known| known == version) {
        return Ok(());
    }
    let newest: Vec<&str> = desired.ranks.iter().rev().take(3).map(Version::as_str).collect();
    let environment = &desired.environment;
    Err(format!("{version} was never a target of {environment} in git; the newest are {}", newest.join(", ")))
}

/// Migrations and checks that hosts remember, each with the result of its newest attempt. Without a look at a host
/// that runs them, a migration could run twice.
fn jobs(desired: &Desired, observed: &Observed) -> Result<Vec<FoundJob>, String> {
    for host in job_hosts(desired) {
        let fact = observed.hosts.get(host).ok_or_else(|| unseen(host, "not been looked at yet"))?;
        if let Err(unknown) = &fact.value {
            return Err(unseen(host, &format!("not been seen ({}: {})", unknown.kind, unknown.detail)));
        }
    }
    let names = job_names(desired);
    let mut newest: BTreeMap<JobKey, (u32, bool)> = BTreeMap::new();
    let states = observed.hosts.values().filter_map(|fact| fact.known());
    for (name, code) in states.flat_map(|state| &state.jobs) {
        let Some((key, attempt)) = names.get(name) else { continue };
        if newest.get(key).is_none_or(|(known, _)| known < attempt) {
            newest.insert(key.clone(), (*attempt, *code == 0));
        }
    }
    let found = newest.into_iter();
    Ok(found.map(|(key, (attempt, succeeded))| FoundJob { key, succeeded, attempt }).collect())
}

fn unseen(host: &HostName, how: &str) -> String {
    format!(
        "{host} has {how}: what it remembers of migrations and checks is needed; try again when it answers"
    )
}

/// The start of a new generation, where hosts or load balancer nodes remember one that is not below ours: a journal that
/// was lost begins to count anew, and who adopts a fleet goes on after everybody who was there.
pub fn newer_generation(observed: &Observed, ours: Generation, service: &str) -> Option<Event> {
    let highest = highest_generation(observed);
    (ours <= highest).then(|| Event::ServiceStarted {
        generation: Generation(highest.0 + 1),
        service: service.to_owned(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// The highest generation that hosts and load balancer nodes remember.
pub fn highest_generation(observed: &Observed) -> Generation {
    let states = observed.hosts.values().filter_map(|fact| fact.known());
    let of =
        |state: &HostState| state.last_generation.max(state.claim.as_ref().map(|claim| claim.generation));
    let nodes = observed.nodes.values().filter_map(|fact| fact.known()?.last_generation);
    states.filter_map(of).chain(nodes).max().unwrap_or_default()
}

/// The hosts on which migrations and checks of an environment run, which belong to no role.
pub fn job_hosts(desired: &Desired) -> impl Iterator<Item = &HostName> {
    let policy = &desired.fleet.policy;
    let checks = policy.checks.values().filter_map(|check| match &check.how {
        CheckRun::Command { host, .. } => Some(host),
        CheckRun::Http { .. } | CheckRun::GitlabPipeline { .. } => None,
    });
    policy.migrations.iter().map(|migrations| &migrations.host).chain(checks)
}

/// The names of all jobs that the environment can ever have had.
fn job_names(desired: &Desired) -> BTreeMap<JobName, (JobKey, u32)> {
    let stages = desired.fleet.policy.stages.iter();
    let checks = stages.flat_map(|stage| {
        stage.checks.iter().map(|check| JobKind::Check { stage: stage.name.clone(), check: check.clone() })
    });
    let kinds: Vec<JobKind> =
        [JobKind::PreMigration, JobKind::PostMigration].into_iter().chain(checks).collect();
    let mut names = BTreeMap::new();
    for version in desired.versions() {
        for kind in &kinds {
            let key = JobKey { kind: kind.clone(), version: version.clone() };
            for attempt in ATTEMPTS {
                names.insert(JobName::new(&desired.environment, &key, attempt), (key.clone(), attempt));
            }
        }
    }
    names
}

#[cfg(test)]
pub(crate) mod tests {
    use model::{
        Commit, CommitId, Deadlines, Fact, Fleet, Limit, Migrations, Mode, Policy, Unknown, UnknownKind,
    };

    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    fn desired() -> Desired {
        let at = Timestamp::UNIX_EPOCH;
        let hour = SignedDuration::from_hours(1);
        let migrations = Migrations {
            host: "deploy-01".into(),
            packages: vec!["shop".into()],
            package_version: "{version}".into(),
            ready: None,
            pre: None,
            post: None,
        };
        Desired {
            environment: "production".into(),
            commit: Commit { id: CommitId::new("0"), author: String::new(), subject: String::new(), at },
            target: version("2.0"),
            direction: None,
            canary: None,
            exceptions: model::Exceptions::default(),
            departed: Vec::new(),
            ranks: vec![version("1.0"), version("2.0")],
            fleet: Fleet {
                mode: Mode::Reconcile,
                roles: Vec::new(),
                load_balancers: Vec::new(),
                backend_limit: Limit::Count(1),
                max_parallel: 1,
                deadlines: Deadlines { step: hour, rollout: hour },
                policy: Policy { migrations: Some(migrations), ..Policy::default() },
            },
        }
    }

    fn say(word: Word, observed: &Observed) -> Result<Event, String> {
        word.event(&desired(), observed, "ada".into(), "because".into(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_pause_ends_by_itself_and_lasts_longer_than_nothing() {
        let paused = say(Word::Pause { lasts: SignedDuration::from_hours(2) }, &Observed::default()).unwrap();
        let until = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(2);
        assert!(matches!(paused, Event::Paused { until: at, .. } if at == until), "{paused:?}");
        assert!(say(Word::Pause { lasts: SignedDuration::ZERO }, &Observed::default()).is_err());
    }

    #[test]
    fn only_a_version_that_git_knows_can_be_verified() {
        let verify = |text| Word::Verify { track: Track::Canary, version: version(text) };
        assert!(say(verify("1.0"), &Observed::default()).is_ok());
        let error = say(verify("1.1"), &Observed::default()).unwrap_err();
        assert_eq!(error, "1.1 was never a target of production in git; the newest are 2.0, 1.0");
    }

    #[test]
    fn nothing_is_adopted_before_the_migration_host_was_seen() {
        let error = say(Word::Adopt, &Observed::default()).unwrap_err();
        assert!(error.starts_with("deploy-01 has not been looked at yet"), "{error}");
        let mut observed = Observed::default();
        let unknown = Unknown { kind: UnknownKind::Unreachable, detail: "no route".into() };
        observed.hosts.insert("deploy-01".into(), Fact { at: Timestamp::UNIX_EPOCH, value: Err(unknown) });
        let error = say(Word::Adopt, &observed).unwrap_err();
        assert!(error.contains("unreachable: no route"), "{error}");
    }

    #[test]
    fn the_newest_attempt_of_a_job_that_a_host_remembers_is_its_result() {
        let key = JobKey { kind: JobKind::PreMigration, version: version("2.0") };
        let post = JobKey { kind: JobKind::PostMigration, version: version("1.0") };
        let name = |key, attempt| JobName::new(&"production".into(), key, attempt);
        let stranger = JobName::new(&"staging".into(), &key, 1);
        let mut state = host();
        state.jobs = [(name(&key, 1), 1), (name(&key, 2), 0), (name(&post, 1), 1), (stranger, 0)].into();
        let mut observed = Observed::default();
        observed.hosts.insert("deploy-01".into(), Fact { at: Timestamp::UNIX_EPOCH, value: Ok(state) });
        let Event::Adopted { jobs, by, .. } = say(Word::Adopt, &observed).unwrap() else { panic!() };
        let second = FoundJob { key, succeeded: true, attempt: 2 };
        let first = FoundJob { key: post, succeeded: false, attempt: 1 };
        assert_eq!((jobs, by.as_str()), (vec![second, first], "ada"));
    }

    pub(crate) fn host() -> model::HostState {
        model::HostState {
            machine_id: "m".into(),
            boot_id: "b".into(),
            codename: "bookworm".into(),
            addresses: [].into(),
            packages: [].into(),
            dpkg_interrupted: false,
            staged: [].into(),
            services: [].into(),
            health: model::HealthState::Healthy,
            claim: None,
            job: None,
            in_doubt: [].into(),
            patches: [].into(),
            agent: None,
            last_generation: None,
            jobs: [].into(),
        }
    }
}
