//! Jobs with lasting names, migrations and checks: they run once under one name, and are found again by it.

use std::collections::BTreeMap;

use model::{
    Action, CheckName, CheckRun, EnvironmentName, Failure, FailureKind, HostName, JobKey, JobKind, JobName,
    Outcome, Step, StepId,
};

use crate::host::failure;
use crate::job::{End, Next, Stage};
use crate::state::{Due, State};

/// What becomes of migrations, or of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// They end well.
    #[default]
    Works,
    /// They fail.
    Fails,
    /// They fail, and work the next time.
    FailsOnce,
    /// They begin, and leave no result.
    IsLost,
    /// Migrations: something from before is left to finish. A check does not know this, and works.
    NotReady,
    /// They do not end by themselves: a check fails at its timeout, migrations go on for a day.
    Hangs,
}

/// A day, in the eyes of whoever waits.
const DAY_MS: u64 = 86_400_000;

/// A check that runs somewhere on the network.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    key: JobKey,
    pub(crate) due_ms: u64,
    pub(crate) end: End,
}

/// How jobs with lasting names will fare, and those of them that run on no host of ours.
#[derive(Debug, Default)]
pub(crate) struct Named {
    pub(crate) migrations: BTreeMap<EnvironmentName, Fate>,
    pub(crate) checks: BTreeMap<CheckName, Fate>,
    pub(crate) remote: BTreeMap<JobName, Remote>,
    /// How often a name was really begun.
    pub(crate) begun: BTreeMap<JobName, u32>,
}

/// The name of a step's job on its host.
pub(crate) fn job_id(step: &Step) -> StepId {
    step.action.job().map_or_else(|| step.id.clone(), |(name, _)| StepId::new(name.as_str()))
}

/// Whether a check asks somebody over the network, instead of running on a host.
pub(crate) fn is_remote(step: &Step) -> bool {
    match &step.action {
        Action::Check { check, .. } => !matches!(check.how, CheckRun::Command { .. }),
        _ => false,
    }
}

impl State {
    /// Why migrations that nobody has begun yet may not begin now.
    pub(crate) fn not_ready(&self, step: &Step) -> Option<Failure> {
        let Action::Migrate { ready: Some(ready), .. } = &step.action else { return None };
        let begun = self.hosts.get(&step.host).is_some_and(|host| host.jobs.contains_key(&job_id(step)));
        let left = self.named.migrations.get(&step.environment) == Some(&Fate::NotReady);
        let what = || format!("{}: {ready} says that something from before is left to finish", step.host);
        (left && !begun).then(|| failure(FailureKind::NotReady, what()))
    }

    fn counts_begin(&mut self, step: &Step) {
        let Some((name, _)) = step.action.job() else { return };
        let begun = self.named.begun.entry(name.clone()).or_default();
        *begun += 1;
        let begun = *begun;
        self.begins_once(step, name, begun);
    }

    pub(crate) fn begin_migration(&mut self, step: &Step) -> Next {
        let Action::Migrate { key, .. } = &step.action else { return Next::End(Ok(Outcome::AlreadyDone)) };
        self.counts_begin(step);
        self.migrates_nothing_vetoed(step, key);
        self.may_migrate(step, key);
        self.database_begins(&step.environment, key, &step.id);
        let fate = self.named.migrations.get(&step.environment).copied().unwrap_or_default();
        let span = self.pace.migration;
        let Some(host) = self.hosts.get_mut(&step.host) else { return Next::End(Ok(Outcome::AlreadyDone)) };
        let wait_ms = if fate == Fate::Hangs { DAY_MS } else { host.machine.chance.ms(span) };
        self.note(&step.host, || format!("{key} begin"));
        Next::After(wait_ms, Stage::Work)
    }

    pub(crate) fn begin_check(&mut self, step: &Step) -> Next {
        let Action::Check { check, .. } = &step.action else { return Next::End(Ok(Outcome::AlreadyDone)) };
        self.counts_begin(step);
        let wait_ms = self.check_ms(step, check);
        Next::After(wait_ms, Stage::Work)
    }

    fn check_ms(&mut self, step: &Step, check: &model::Check) -> u64 {
        let hangs = check_name(step).is_some_and(|name| self.named.checks.get(name) == Some(&Fate::Hangs));
        let timeout_ms = u64::try_from(check.timeout.as_millis()).unwrap_or(DAY_MS);
        if hangs { timeout_ms } else { self.chance.ms(self.pace.check_job).min(timeout_ms) }
    }

    /// A job with a lasting name comes to its end.
    pub(crate) fn worked(&mut self, step: &Step) -> Next {
        match &step.action {
            Action::Migrate { key, .. } => self.migrated(step, key),
            Action::Check { .. } => {
                let fate = check_name(step).map(|name| self.check_fate(name)).unwrap_or_default();
                end_of_check(step, fate)
            }
            _ => Next::End(Ok(Outcome::AlreadyDone)),
        }
    }

    fn migrated(&mut self, step: &Step, key: &JobKey) -> Next {
        let fate = self.named.migrations.entry(step.environment.clone()).or_default();
        let now = *fate;
        if now == Fate::FailsOnce {
            *fate = Fate::Works;
        }
        match now {
            Fate::Works | Fate::NotReady => {
                self.database_ends(&step.environment, key, true);
                Next::End(Ok(Outcome::Changed(format!("{key}: done"))))
            }
            Fate::IsLost => {
                // Whether it wrote its row before it went, nobody can tell.
                let wrote = self.chance.below(2) == 1;
                self.database_is_left(&step.environment, key, wrote);
                Next::Lost
            }
            Fate::Fails | Fate::FailsOnce | Fate::Hangs => {
                self.database_ends(&step.environment, key, false);
                let what = format!("{}: {key} ended with 1", step.host);
                let detail = "PG::LockNotAvailable: canceling statement due to lock timeout".to_owned();
                Next::End(Err(Failure { detail, ..failure(FailureKind::JobFailed, what) }))
            }
        }
    }

    fn check_fate(&mut self, name: &CheckName) -> Fate {
        let Some(fate) = self.named.checks.get_mut(name) else { return Fate::Works };
        let now = *fate;
        if now == Fate::FailsOnce {
            *fate = Fate::Works;
        }
        now
    }

    /// Starts a check that runs elsewhere, or finds the one of the same name.
    pub(crate) fn start_remote(&mut self, step: &Step) {
        let Action::Check { job, key, check, .. } = &step.action else { return };
        if self.named.remote.contains_key(job) {
            return;
        }
        self.counts_begin(step);
        let due_ms = self.now_ms + self.check_ms(step, check);
        self.named.remote.insert(job.clone(), Remote { key: key.clone(), due_ms, end: End::Running });
        self.queue.push(due_ms, Due::Remote { job: job.clone() });
    }

    /// A check that runs elsewhere comes to its end.
    pub(crate) fn remote_ends(&mut self, job: &JobName) {
        let Some(key) = self.named.remote.get(job).map(|remote| remote.key.clone()) else { return };
        let JobKind::Check { check, .. } = &key.kind else { return };
        let fate = self.check_fate(check);
        let end = match end_of(&key, "", fate) {
            Next::End(result) => End::Done(result),
            Next::Lost | Next::After(..) => End::Lost,
        };
        if let Some(remote) = self.named.remote.get_mut(job) {
            remote.end = end;
        }
    }

    /// Jobs with lasting names that began on a host, with their exit codes; -1: no end is recorded.
    pub(crate) fn once_jobs(&self, name: &HostName) -> BTreeMap<JobName, i32> {
        let jobs = self.hosts.get(name).map(|host| host.jobs.values()).into_iter().flatten();
        jobs.filter_map(|job| {
            let (name, _) = job.step.action.job()?;
            match &job.end {
                End::Done(result) => Some((name.clone(), i32::from(result.is_err()))),
                End::Running | End::Lost => Some((name.clone(), -1)),
            }
        })
        .collect()
    }
}

fn check_name(step: &Step) -> Option<&CheckName> {
    match &step.action.job()?.1.kind {
        JobKind::Check { check, .. } => Some(check),
        JobKind::PreMigration | JobKind::PostMigration => None,
    }
}

fn end_of_check(step: &Step, fate: Fate) -> Next {
    match step.action.job() {
        Some((_, key)) => end_of(key, &format!("{}: ", step.host), fate),
        None => Next::End(Ok(Outcome::AlreadyDone)),
    }
}

fn end_of(key: &JobKey, place: &str, fate: Fate) -> Next {
    let failed = |how: &str, detail: &str| {
        let what = format!("{place}{key} {how}");
        Next::End(Err(Failure { detail: detail.to_owned(), ..failure(FailureKind::JobFailed, what) }))
    };
    match fate {
        Fate::Works | Fate::NotReady => {
            Next::End(Ok(Outcome::Changed("312 examples, 0 failures".to_owned())))
        }
        Fate::Fails | Fate::FailsOnce => failed("failed", "312 examples, 2 failures"),
        Fate::Hangs => failed("did not end in time", ""),
        Fate::IsLost => Next::Lost,
    }
}
