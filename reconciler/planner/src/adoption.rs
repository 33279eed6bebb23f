//! Taking a fleet as it is found: at its first sight by ourselves; by a person's word when the world remembers more than
//! the journal does.

use std::collections::BTreeSet;

use model::{Desired, Event, Generation, HostName, HostState, Observed, Reason, Track, Version};

use crate::survey::Survey;

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

/// A fleet that nobody of us has ever touched is taken as it is, once every host was looked at.
pub(crate) fn at_first_sight(survey: &Survey<'_>) -> Option<Event> {
    let known =
        survey.hosts.iter().chain(&survey.workers).all(|host| host.fact.is_some() || host.out.is_some());
    if survey.history.progress.adopted.is_some() || !known || missing(survey).is_some() {
        return None;
    }
    Some(Event::Adopted {
        environment: survey.desired.environment.clone(),
        by: "reconcile".to_owned(),
        reason: "first sight".to_owned(),
        running: releases_running(survey.desired, survey.observed).into_iter().collect(),
        ahead: releases_ahead(survey.desired, survey.observed).into_iter().collect(),
        jobs: Vec::new(),
    })
}

/// The releases that main's hosts are observed to run: their own names where git knows them, else the package's version.
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
        let installed = role.packages.first().and_then(|name| state.packages.get(name));
        let Some(package) = installed.filter(|package| package.installed) else { continue };
        let is = |release: &&Version| role.package_version(release, &state.codename) == package.version;
        let mut known = desired.ranks.iter().chain([desired.target_of(track)]);
        running.insert(known.find(is).unwrap_or(&package.version).clone());
    }
    running
}
