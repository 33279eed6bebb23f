//! What a host runs: its services tell, by our stamp, by their own word, or by their start. What is installed does not: dpkg
//! names a new version as soon as an install has begun, and the services run the old one until they are activated.

use model::{Activate, Desired, HostState, PackageState, Role, Running, Service, Version};

use crate::survey::PATCHED;

/// What a service tells of the release that it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    /// By the name that git has for it, or else its own.
    Release(Version),
    /// It is not up.
    Stopped,
    /// It is up, or was not seen, and nothing tells.
    Untold,
}

impl Runs {
    /// The release, where one runs and is told.
    pub(crate) fn release(self) -> Option<Version> {
        match self {
            Self::Release(release) => Some(release),
            Self::Stopped | Self::Untold => None,
        }
    }
}

/// The services of a role that have to take up what is installed.
pub(crate) fn moving(role: &Role) -> impl Iterator<Item = &Service> {
    role.services.iter().filter(|service| service.activate != Activate::None)
}

/// What every service of a host tells that has to take up what is installed. None, where what is installed is all there is.
pub(crate) fn services<'a>(
    desired: &'a Desired,
    role: &'a Role,
    state: &'a HostState,
) -> impl Iterator<Item = Runs> + use<'a> {
    let package = package(role, state).map(|package| &package.version);
    moving(role).map(move |service| {
        match state.services.get(&service.name).map(|service| service.running(package)) {
            Some(Running::Version(runs)) => {
                let known = known_release(desired, role, &state.codename, &runs).cloned();
                Runs::Release(known.unwrap_or(runs))
            }
            Some(Running::Stopped) => Runs::Stopped,
            Some(Running::Older | Running::Unknown) | None => Runs::Untold,
        }
    })
}

/// Whether nothing on a host of a role has to take up what is installed.
pub(crate) fn runs_what_is_installed(role: &Role) -> bool {
    moving(role).next().is_none()
}

/// The release that a service means by a version: git's own name for it, its package's version, or our stamp of a patched one.
pub(crate) fn known_release<'a>(
    desired: &'a Desired,
    role: &Role,
    codename: &str,
    runs: &Version,
) -> Option<&'a Version> {
    let is = |release: &&Version| is_meant(role, release, codename, runs);
    desired.ranks.iter().chain([desired.target_of(role.track)]).find(is)
}

/// Whether a service means a release by a version.
pub(crate) fn is_meant(role: &Role, release: &Version, codename: &str, runs: &Version) -> bool {
    let says = runs.as_str();
    // Asked of every version on every host, and few are patched: a byte is found sooner than a word.
    if !says.contains('+') {
        return release == runs || role.is_package_of(runs, release, codename);
    }
    let plain = says.split(PATCHED).next().unwrap_or_default();
    release.as_str() == plain || role.package_version(release, codename).as_str() == plain
}

/// The package that gives a release its version, as dpkg tells it.
pub(crate) fn package<'a>(role: &Role, state: &'a HostState) -> Option<&'a PackageState> {
    state.packages.get(role.packages.first()?)
}

/// The release whose package is there, wholly or not: by the name that git has for it, or else the package's version.
pub(crate) fn installed_release<'a>(
    desired: &'a Desired,
    role: &Role,
    state: &'a HostState,
) -> Option<&'a Version> {
    let package = &package(role, state)?.version;
    let is = |release: &&Version| role.package_version(release, &state.codename) == *package;
    let known = desired.ranks.iter().chain([desired.target_of(role.track)]).find(is);
    Some(known.unwrap_or(package))
}

/// Whether every package of a role is wholly installed, at one version.
pub(crate) fn is_whole(role: &Role, state: &HostState) -> bool {
    let Some(first) = package(role, state) else { return false };
    let same = |package: &PackageState| package.installed && package.version == first.version;
    role.packages.iter().all(|name| state.packages.get(name).is_some_and(same))
}
