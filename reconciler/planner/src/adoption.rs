//! Taking a fleet as it is found: at its first sight by ourselves; by a person's word when the world remembers more than
//! the journal does.

use std::collections::BTreeSet;

use model::{
    Desired, Event, FoundJob, Generation, HostName, HostState, JobKind, Migrations, Observed, Reason, Role,
    Track, Version,
};

use crate::jobs::came_later;
use crate::running::{Runs, installed_release, is_whole, runs_what_is_installed, services};
use crate::survey::{HostView, Survey};

/// Why nothing may act before a person adopts the fleet, if so: a host knows our service, and this journal has never
/// done anything here; or a host or load balancer node knows a later generation than this journal's, which is lost, is
/// an old copy, or belongs to the older of two services. Everything of the older one would be refused there.
pub(crate) fn missing(survey: &Survey<'_>) -> Option<Reason> {
    let ours = survey.history.generation;
    let known_before = evidence(survey).filter(|(_, generation)| !is_adopted(survey) || *generation > ours);
    let nodes = || nodes_that_remember(survey).filter(|(_, generation)| *generation > ours);
    let (host, generation) = known_before.or_else(|| nodes().max_by_key(|(_, generation)| *generation))?;
    Some(Reason::JournalLost { host: host.clone(), generation })
}

/// Whether the fleet was taken as it was found.
pub(crate) fn is_adopted(survey: &Survey<'_>) -> bool {
    survey.history.progress.adopted.is_some() || survey.history.steps > 0
}

/// The host that remembers the latest of us.
fn evidence<'a>(survey: &Survey<'a>) -> Option<(&'a HostName, Generation)> {
    let service = &survey.history.service;
    let claimed = |state: &HostState| {
        let ours = state.claim.as_ref().filter(|claim| claim.service == *service);
        ours.map(|claim| claim.generation)
    };
    let of = |state: &HostState| state.last_generation.max(claimed(state));
    let hosts = survey.hosts.iter().chain(&survey.workers);
    hosts.filter_map(|host| Some((host.name, of(host.state()?)?))).max_by_key(|(_, generation)| *generation)
}

/// Load balancer nodes may serve other environments of ours, so that they remember us says nothing by itself.
fn nodes_that_remember<'a>(survey: &Survey<'a>) -> impl Iterator<Item = (&'a HostName, Generation)> {
    let nodes = survey.desired.fleet.load_balancers.iter().flat_map(|balancer| &balancer.nodes);
    nodes.filter_map(|node| Some((node, survey.observed.node(node)?.last_generation?)))
}

/// A fleet that nobody of us has ever touched is taken as it is, once every host was looked at and none is unclear.
pub(crate) fn at_first_sight(survey: &Survey<'_>) -> Option<Event> {
    if !is_first_sight(survey) || !unclear(survey).is_empty() {
        return None;
    }
    let (by, reason) = ("reconcile".to_owned(), "first sight".to_owned());
    Some(adopted(survey.desired, survey.observed, Vec::new(), by, reason))
}

/// Every host was looked at, and nobody of us has ever been there.
fn is_first_sight(survey: &Survey<'_>) -> bool {
    let mut hosts = survey.hosts.iter().chain(&survey.workers);
    survey.history.progress.adopted.is_none()
        && hosts.all(|host| host.fact.is_some() || host.out.is_some())
        && missing(survey).is_none()
}

/// The fleet is taken as it is found, and what its hosts remember of migrations and checks as well. What no service was
/// seen to run counts for nothing: to whom that is unclear, a person says so.
pub fn adopted(
    desired: &Desired,
    observed: &Observed,
    jobs: Vec<FoundJob>,
    by: String,
    reason: String,
) -> Event {
    let migrated = Remembered { desired, jobs: &jobs };
    let whole = |version: &Version| !migrated.is_unfinished(version);
    let running: Vec<_> = releases_running(desired, observed).into_iter().filter(whole).collect();
    let early = |version: &Version| !running.contains(version) && !migrated.has_failed(version);
    let ahead = releases_on(desired, observed, Track::Canary).into_iter().filter(early).collect();
    Event::Adopted { environment: desired.environment.clone(), by, reason, running, ahead, jobs }
}

/// What hosts remember of migrations: that says more of a version than that it runs.
struct Remembered<'a> {
    desired: &'a Desired,
    jobs: &'a [FoundJob],
}

impl Remembered<'_> {
    /// How a version's migrations ended; none: no host remembers them.
    fn succeeded(&self, kind: &JobKind, version: &Version) -> Option<bool> {
        let found = self.jobs.iter().find(|job| job.key.kind == *kind && job.key.version == *version);
        found.map(|job| job.succeeded)
    }

    /// They failed, or nobody knows their end.
    fn has_failed(&self, version: &Version) -> bool {
        self.succeeded(&JobKind::PreMigration, version) == Some(false)
    }

    /// We were in the middle of its release: what is still to come of its migrations is known.
    fn is_unfinished(&self, version: &Version) -> bool {
        let migrations = self.desired.fleet.policy.migrations.as_ref();
        let has_post = migrations.is_some_and(|migrations| migrations.post.is_some());
        let began = self.succeeded(&JobKind::PreMigration, version).is_some();
        match self.succeeded(&JobKind::PostMigration, version) {
            Some(succeeded) => !succeeded,
            None => self.has_failed(version) || (began && has_post),
        }
    }
}

/// At first sight, hosts that may have run a track's target before, as far as can be told, each with that target. Where there
/// are migrations, nobody knows whether it was migrated.
pub(crate) fn unclear(survey: &Survey<'_>) -> Vec<(HostName, Version)> {
    let desired = survey.desired;
    let migrates = |of: &Migrations| of.pre.is_some() || of.post.is_some();
    if !desired.fleet.policy.migrations.as_ref().is_some_and(migrates) || !is_first_sight(survey) {
        return Vec::new();
    }
    let running = releases_running(desired, survey.observed);
    let covers = |found: &Version, target: &Version| found == target || came_later(desired, found, target);
    let targets = [Track::Canary, Track::Main].map(|track| desired.target_of(track));
    let uncovered = |target: &&Version| !running.iter().any(|found| covers(found, target));
    let targets: Vec<&Version> = targets.into_iter().filter(uncovered).collect();
    let counting = survey.hosts.iter().filter(|host| host.out.is_none());
    let of_host = |host: &HostView<'_>| {
        let told = host.state().map_or(Told::Nothing, |state| Told::by(desired, host.role, state));
        let target = targets.iter().find(|target| match &told {
            Told::All => false,
            Told::Stopped(installed) => covers(installed, target),
            Told::Nothing => true,
        })?;
        Some((host.name.clone(), (*target).clone()))
    };
    counting.filter_map(of_host).collect()
}

/// How much a host tells of what ran there when we came.
enum Told {
    All,
    /// All, but for what was installed and does not run now.
    Stopped(Version),
    Nothing,
}

impl Told {
    fn by(desired: &Desired, role: &Role, state: &HostState) -> Self {
        // Nothing was ever installed.
        let Some(installed) = installed_release(desired, role, state) else { return Self::All };
        let mut services = services(desired, role, state).peekable();
        let whole = is_whole(role, state);
        if services.peek().is_none() {
            return if whole { Self::All } else { Self::Nothing };
        }
        let mut told = Self::All;
        for runs in services {
            match runs {
                Runs::Release(_) => {}
                Runs::Stopped if whole => told = Self::Stopped(installed.clone()),
                Runs::Stopped | Runs::Untold => return Self::Nothing,
            }
        }
        told
    }
}

/// The releases that main's hosts are observed to run: their own names where git knows them, else the version that a service
/// tells.
pub fn releases_running(desired: &Desired, observed: &Observed) -> BTreeSet<Version> {
    releases_on(desired, observed, Track::Main)
}

/// The releases that only the canary's hosts are observed to run, as [`releases_running`] names them.
pub fn releases_ahead(desired: &Desired, observed: &Observed) -> BTreeSet<Version> {
    let main = releases_running(desired, observed);
    releases_on(desired, observed, Track::Canary).difference(&main).cloned().collect()
}

fn releases_on(desired: &Desired, observed: &Observed, track: Track) -> BTreeSet<Version> {
    let mut running = BTreeSet::new();
    for (role, host) in desired.fleet.hosts().filter(|(role, _)| role.track == track) {
        let Some(state) = observed.host(host) else { continue };
        if runs_what_is_installed(role) {
            let installed = installed_release(desired, role, state).filter(|_| is_whole(role, state));
            running.extend(installed.cloned());
        }
        running.extend(services(desired, role, state).filter_map(Runs::release));
    }
    running
}
