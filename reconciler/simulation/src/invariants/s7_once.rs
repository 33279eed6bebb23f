//! S7: a job that must not run twice starts once, and one job changes a host at a time.
//!
//! Judged as jobs really begin: by their names, by the database, by what runs on the host and what a job had installed.

use model::{Action, EnvironmentName, JobKey, JobName, Step, StepId, Version};

use crate::invariants::Promise;
use crate::state::State;

impl State {
    /// A job with a lasting name was begun so many times.
    pub(crate) fn begins_once(&mut self, step: &Step, name: &JobName, begun: u32) {
        if begun > 1 {
            let what = format!("{}: job {name} was begun {begun} times", step.id);
            self.violated(Promise::S7, what);
        }
    }

    /// As the database sees it: nobody migrates what is migrated, or is being migrated.
    pub(crate) fn migrates_once(
        &mut self,
        environment: &EnvironmentName,
        key: &JobKey,
        step: &StepId,
        done: bool,
        running: bool,
    ) {
        if done {
            let what = format!("{step}: {key} began in {environment}, and had succeeded before");
            self.violated(Promise::S7, what);
        }
        if running {
            self.violated(Promise::S7, format!("{step}: {key} began in {environment} while it was running"));
        }
    }

    /// Before a job begins on a host; checks run beside others.
    pub(crate) fn runs_alone(&mut self, step: &Step) {
        let Some(host) = self.hosts.get(&step.host) else { return };
        let other = host.running_job().filter(|id| host.jobs.get(*id).is_some_and(|job| !job.is_check()));
        if let Some(other) = other.filter(|_| !matches!(step.action, Action::Check { .. })).cloned() {
            let what = format!("{} began on {} while {other} still ran there", step.id, step.host);
            self.violated(Promise::S7, what);
        }
    }

    /// An install finds everything there.
    pub(crate) fn installs_once(&mut self, step: &Step, version: Option<&Version>) {
        let by_us = self.hosts.get(&step.host).and_then(|host| host.installed_by_us.as_ref());
        if by_us.is_some() && by_us == version {
            let what = format!("{} installs again what a job had installed: {}", step.id, step.host);
            self.violated(Promise::S7, what);
        }
    }
}
