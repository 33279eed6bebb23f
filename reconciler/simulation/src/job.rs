//! Jobs on a host: they run to their end whoever watches, keep their result, and die with the power.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{
    Action, Activate, Failure, FailureKind, HostName, Outcome, PackageName, Service, Step, StepId, Version,
};

use crate::host::{Phase, Process, Run, Stamp, failure};
use crate::named::job_id;
use crate::state::{Due, State};

/// A job named after its step.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) step: Arc<Step>,
    stage: Stage,
    /// When it moves next.
    pub(crate) due_ms: u64,
    pub(crate) end: End,
}

/// What a job does until it moves next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Fetch,
    LockWait,
    Unpack,
    Configure,
    Restart,
    Patch,
    /// Migrations or a check.
    Work,
}

/// Whether and how a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Running,
    Done(Result<Outcome, Failure>),
    /// It died with the power, and left no result.
    Lost,
}

/// What follows a stage.
pub(crate) enum Next {
    After(u64, Stage),
    End(Result<Outcome, Failure>),
    /// It is gone, and left no result.
    Lost,
}

impl Job {
    pub(crate) fn is_running(&self) -> bool {
        self.end == End::Running
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.end == End::Lost
    }

    /// Whether it has a name of its own, for ever: it is told by that alone.
    pub(crate) fn is_once(&self) -> bool {
        self.step.action.job().is_some()
    }

    pub(crate) fn is_check(&self) -> bool {
        matches!(self.step.action, Action::Check { .. })
    }

    /// Whether it changes what its host serves, now.
    pub(crate) fn deploys(&self) -> bool {
        let changes = matches!(self.step.action, Action::Install { .. } | Action::Activate { .. });
        self.is_running() && changes
    }

    /// Whether dpkg is at work for it.
    pub(crate) fn unpacks(&self) -> bool {
        self.is_running() && self.stage == Stage::Unpack
    }

    /// Its process is gone. Tells whether dpkg was at work.
    pub(crate) fn die(&mut self) -> bool {
        if !self.is_running() {
            return false;
        }
        self.end = End::Lost;
        self.stage == Stage::Unpack
    }
}

impl State {
    /// Starts a job, or finds the one of the same name, whatever became of it.
    pub(crate) fn start_job(&mut self, step: &Step) {
        let Some(host) = self.hosts.get(&step.host) else { return };
        let id = job_id(step);
        if host.jobs.contains_key(&id) {
            return;
        }
        self.runs_alone(step);
        let step = Arc::new(step.clone());
        let next = match &step.action {
            Action::Install { .. } => self.begin_install(&step),
            Action::Activate { services, packages, .. } => self.begin_activation(&step, services, packages),
            Action::Patch { .. } => self.begin_patching(&step),
            Action::Migrate { .. } => self.begin_migration(&step),
            Action::Check { .. } => self.begin_check(&step),
            _ => Next::End(Err(failure(FailureKind::Bug, format!("{} is no job", step.action.kind())))),
        };
        let job =
            Job { step: Arc::clone(&step), stage: Stage::Fetch, due_ms: self.now_ms, end: End::Running };
        if let Some(host) = self.hosts.get_mut(&step.host) {
            host.jobs.insert(id.clone(), job);
        }
        self.job_goes_on(&step.host, &id, next);
    }

    /// A job's next move is due.
    pub(crate) fn job_moves(&mut self, name: &HostName, id: &StepId) {
        let now_ms = self.now_ms;
        let Some(host) = self.hosts.get_mut(name) else { return };
        let Some(job) = host.jobs.get(id).filter(|job| job.is_running() && job.due_ms == now_ms) else {
            return;
        };
        if !host.machine.runs() {
            host.frozen.push(id.clone());
            return;
        }
        let (step, stage) = (Arc::clone(&job.step), job.stage);
        let next = match stage {
            Stage::Fetch => self.fetched(&step),
            Stage::LockWait => self.lock_waited(&step),
            Stage::Unpack => self.unpacked(&step),
            Stage::Configure => Next::End(Ok(Outcome::Changed(changed(&step)))),
            Stage::Restart => self.restarted(&step),
            Stage::Patch => self.patched(&step),
            Stage::Work => self.worked(&step),
        };
        self.job_goes_on(name, id, next);
    }

    /// A host that stood still moves again: what fell due meanwhile happens now.
    pub(crate) fn thaw_jobs(&mut self, name: &HostName) {
        let now_ms = self.now_ms;
        let Some(host) = self.hosts.get_mut(name) else { return };
        for id in std::mem::take(&mut host.frozen) {
            if let Some(job) = host.jobs.get_mut(&id) {
                job.due_ms = now_ms;
            }
            self.queue.push(now_ms, Due::Job { host: name.clone(), step: id });
        }
    }

    fn job_goes_on(&mut self, name: &HostName, id: &StepId, next: Next) {
        let due_ms = match &next {
            Next::After(wait_ms, _) => self.now_ms + wait_ms,
            Next::End(_) | Next::Lost => self.now_ms,
        };
        let Some(job) = self.hosts.get_mut(name).and_then(|host| host.jobs.get_mut(id)) else { return };
        job.due_ms = due_ms;
        match next {
            Next::After(_, stage) => {
                job.stage = stage;
                self.queue.push(due_ms, Due::Job { host: name.clone(), step: id.clone() });
            }
            Next::End(result) => {
                job.end = End::Done(result.clone());
                self.note(name, || match result {
                    Ok(outcome) => format!("job {id} ended: {outcome:?}"),
                    Err(failure) => format!("job {id} failed: {failure}"),
                });
            }
            Next::Lost => {
                job.end = End::Lost;
                self.note(name, || format!("job {id} is gone without a trace"));
            }
        }
    }

    fn begin_install(&mut self, step: &Step) -> Next {
        let Action::Install { packages, prepare, .. } = &step.action else {
            return Next::End(Ok(Outcome::AlreadyDone));
        };
        let Some(host) = self.hosts.get(&step.host) else { return Next::End(Ok(Outcome::AlreadyDone)) };
        let version = packages.values().next().cloned();
        if host.has(packages) {
            self.installs_once(step, version.as_ref());
            return Next::End(Ok(Outcome::AlreadyDone));
        }
        self.out_of_rotation(step);
        self.brings_nothing_vetoed(step);
        self.comes_after_migrations(step);
        self.agent_rests(step);
        if let Err(failure) = self.obtainable(&step.host, packages) {
            return Next::End(Err(failure));
        }
        let fetched = self.hosts.get(&step.host).is_some_and(|host| host.has_staged(packages));
        let (command, download) = (self.pace.command, self.pace.download);
        let Some(host) = self.hosts.get_mut(&step.host) else { return Next::End(Ok(Outcome::AlreadyDone)) };
        let prepare_ms: u64 = prepare.iter().map(|_| host.machine.chance.ms(command)).sum();
        let fetch_ms = if fetched { 0 } else { host.machine.chance.ms(download) };
        Next::After(prepare_ms + fetch_ms, Stage::Fetch)
    }

    fn fetched(&mut self, step: &Step) -> Next {
        if self.apt_lock(&step.host).is_some() {
            Next::After(self.pace.lock_ms, Stage::LockWait)
        } else {
            self.begin_unpacking(step)
        }
    }

    fn lock_waited(&mut self, step: &Step) -> Next {
        match self.apt_lock(&step.host) {
            Some(failure) => Next::End(Err(failure)),
            None => self.begin_unpacking(step),
        }
    }

    /// From here on the new files are there, and what runs is older than they are.
    fn begin_unpacking(&mut self, step: &Step) -> Next {
        let Action::Install { packages, .. } = &step.action else {
            return Next::End(Ok(Outcome::AlreadyDone));
        };
        let (unpack, repair, now_ms) = (self.pace.unpack, self.pace.repair, self.now_ms);
        let Some(host) = self.hosts.get_mut(&step.host) else { return Next::End(Ok(Outcome::AlreadyDone)) };
        if host.disk_full {
            return Next::End(Err(disk_full(&step.host)));
        }
        if host.has(packages) {
            return Next::End(Ok(Outcome::AlreadyDone));
        }
        let repair_ms = if host.whole() { 0 } else { host.machine.chance.ms(repair) };
        host.interrupted = false;
        host.installed_by_us = None;
        host.patches.clear();
        host.unpacked_ms = now_ms;
        let before = host.installed().cloned();
        host.had.extend(before.map(|version| (version, now_ms)));
        for (name, version) in packages {
            host.staged.entry(name.clone()).or_default().insert(version.clone());
            let package = crate::host::Package { version: version.clone(), phase: Phase::Unpacked };
            host.packages.insert(name.clone(), package);
        }
        let wait_ms = repair_ms + host.machine.chance.ms(unpack);
        self.note(&step.host, || format!("dpkg unpacks {}", versions(packages)));
        Next::After(wait_ms, Stage::Unpack)
    }

    fn unpacked(&mut self, step: &Step) -> Next {
        let Action::Install { packages, configure, .. } = &step.action else {
            return Next::End(Ok(Outcome::AlreadyDone));
        };
        let installs = packages.values().all(|version| self.release(version).installs);
        let command = self.pace.command;
        let Some(host) = self.hosts.get_mut(&step.host) else { return Next::End(Ok(Outcome::AlreadyDone)) };
        if host.disk_full {
            return Next::End(Err(disk_full(&step.host)));
        }
        let phase = if installs { Phase::Installed } else { Phase::HalfConfigured };
        for package in host.packages.values_mut() {
            package.phase = phase;
        }
        if !installs {
            let what = format!("{}: post-installation script returned error exit status 1", step.host);
            return Next::End(Err(failure(FailureKind::InstallFailed, what)));
        }
        host.installed_by_us = packages.values().next().cloned();
        let configure_ms: u64 = configure.iter().map(|_| host.machine.chance.ms(command)).sum();
        self.note(&step.host, || format!("dpkg installed {}", versions(packages)));
        Next::After(configure_ms, Stage::Configure)
    }

    fn begin_activation(
        &mut self,
        step: &Step,
        services: &[Service],
        packages: &BTreeMap<PackageName, Version>,
    ) -> Next {
        let Some(host) = self.hosts.get_mut(&step.host) else { return Next::End(Ok(Outcome::AlreadyDone)) };
        if !host.has(packages) {
            return not_installed(step, packages);
        }
        let moving = || services.iter().filter(|service| service.activate != Activate::None);
        for service in moving() {
            host.stamps.remove(&service.name);
        }
        self.out_of_rotation(step);
        let restarting: Vec<_> = moving().filter(|service| service.activate != Activate::Reload).collect();
        if !restarting.is_empty() {
            self.sessions_break(&step.host);
        }
        let (span, now_ms) = (self.pace.restart, self.now_ms);
        let Some(host) = self.hosts.get_mut(&step.host) else { return Next::End(Ok(Outcome::AlreadyDone)) };
        for service in restarting {
            let process = Process { spec: service.clone(), run: Run::Gone("deactivating") };
            let before = host.services.insert(service.name.clone(), process);
            let before = before.as_ref().and_then(Process::live).map(|live| live.version.clone());
            host.had.extend(before.map(|version| (version, now_ms)));
        }
        let wait_ms = host.machine.chance.ms(span);
        self.app_may_change(&step.host);
        Next::After(wait_ms, Stage::Restart)
    }

    fn restarted(&mut self, step: &Step) -> Next {
        let Action::Activate { services, packages, stamp } = &step.action else {
            return Next::End(Ok(Outcome::AlreadyDone));
        };
        let Some(host) = self.hosts.get(&step.host) else { return Next::End(Ok(Outcome::AlreadyDone)) };
        let (right, installed) = (host.has(packages), host.installed().cloned());
        let activates = self.release(installed.as_ref().unwrap_or(stamp)).activates;
        for service in services.iter().filter(|service| service.activate != Activate::None) {
            if activates {
                self.service_starts(&step.host, service, right.then_some(stamp));
            } else if let Some(process) = self.process_mut(&step.host, service) {
                process.run = Run::Gone("failed");
            }
        }
        self.app_may_change(&step.host);
        if activates && right {
            return Next::End(Ok(Outcome::Changed(changed(step))));
        }
        if activates {
            return not_installed(step, packages);
        }
        let what = format!("{}: the service did not start with {stamp}", step.host);
        Next::End(Err(failure(FailureKind::ActivateFailed, what)))
    }

    /// A service takes up what is installed, in a new process or, by a reload, in the one it has. It is stamped unless
    /// somebody has installed something else meanwhile.
    fn service_starts(&mut self, name: &HostName, service: &Service, stamp: Option<&Version>) {
        let (now_ms, warm_up) = (self.now_ms, self.pace.warm_up);
        let Some(host) = self.hosts.get_mut(name) else { return };
        let old = host.services.get(&service.name).and_then(Process::live).cloned();
        let live = match old.filter(|_| service.activate == Activate::Reload) {
            Some(live) => {
                let patches = host.patches.clone();
                let version = host.installed().cloned().unwrap_or_else(|| live.version.clone());
                crate::host::Live { version, patches, ..live }
            }
            None => {
                let warm_ms = now_ms + host.machine.chance.ms(warm_up);
                host.process(now_ms, warm_ms)
            }
        };
        if let Some(version) = stamp.cloned() {
            let stamp = Stamp { version, boot: host.boot, pid: live.pid, since_ms: live.since_ms };
            host.stamps.insert(service.name.clone(), stamp);
        }
        let version = live.version.clone();
        let warm_ms = live.warm_ms;
        host.services.insert(service.name.clone(), Process { spec: service.clone(), run: Run::Live(live) });
        self.keeps_what_runs(name);
        self.queue.push(warm_ms, Due::Warm { host: name.clone() });
        self.note(name, || format!("{} runs {version}", service.name));
    }

    fn process_mut(&mut self, name: &HostName, service: &Service) -> Option<&mut Process> {
        self.hosts.get_mut(name)?.services.get_mut(&service.name)
    }
}

fn changed(step: &Step) -> String {
    match &step.action {
        Action::Install { packages, .. } => format!("installed {}", versions(packages)),
        Action::Activate { stamp, .. } => format!("runs {stamp}"),
        other => other.kind().to_string(),
    }
}

fn not_installed(step: &Step, packages: &BTreeMap<PackageName, Version>) -> Next {
    let what = format!("{}: {} is not wholly installed", step.host, versions(packages));
    Next::End(Err(failure(FailureKind::ActivateFailed, what)))
}

fn versions(packages: &BTreeMap<PackageName, Version>) -> String {
    packages.iter().map(|(name, version)| format!("{name}={version}")).collect::<Vec<_>>().join(" ")
}

pub(crate) fn disk_full(name: &HostName) -> Failure {
    failure(FailureKind::DiskFull, format!("{name}: No space left on device"))
}
