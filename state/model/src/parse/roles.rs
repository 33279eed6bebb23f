//! Roles, resolved.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::balancers::Balancers;
use super::fleet::{Hosts, Owner};
use super::problem::Problems;
use super::raw::{RawActivate, RawEnvironment, RawHealth, RawRole, RawService};
use super::read::{At, one_of};
use super::template;
use super::text::VersionTemplate;
use super::tree::Node;
use crate::desired::{Activate, Argv, BackendId, Health, Limit, Probe, Role, Service, Track};
use crate::ids::{BackendName, HostName, PackageName, RoleName};

const DEFAULT_WITHIN: SignedDuration = SignedDuration::from_mins(2);
pub(super) const DEFAULT_VERSION: &str = "{version}";

/// What roles are resolved against.
struct Context<'a> {
    file: &'a At<RawEnvironment>,
    balancers: &'a Balancers,
    limit: Limit,
}

/// The roles that could be read whole, in the order of the file.
pub(super) fn resolve(
    file: &At<RawEnvironment>,
    balancers: &Balancers,
    limit: Limit,
    hosts: &mut Hosts,
    problems: &mut Problems,
) -> Vec<Role> {
    check_packages(file.packages.as_ref(), problems);
    check_version_template(file.package_version.as_ref(), problems);
    let Some(written) = file.role.get() else { return Vec::new() };
    if written.node.is_empty() {
        problems.add(written.at(), "an environment needs at least one role");
    }
    let context = Context { file, balancers, limit };
    let mut names = BTreeSet::new();
    let mut resolve_one = |raw: &At<RawRole>| {
        if let Some(name) = raw.name.get() {
            if !names.insert(name.value.clone()) {
                problems.add(name.at(), format!("role `{}` is already defined", name.value));
            }
        }
        role(raw, &context, hosts, problems)
    };
    written.value.iter().filter_map(&mut resolve_one).collect()
}

fn role(
    raw: &At<RawRole>,
    context: &Context<'_>,
    hosts: &mut Hosts,
    problems: &mut Problems,
) -> Option<Role> {
    let hosts = hosts_of(raw, hosts, problems);
    let packages = packages(raw, context, problems);
    let backends = backends(raw, context, problems);
    let services = services(raw, problems);
    let health = raw.health.as_ref().and_then(|raw| health(raw, problems));
    let mut commands = |commands: &Option<Vec<At<Argv>>>| -> Vec<Argv> {
        let commands = commands.iter().flatten();
        commands
            .inspect(|command| template::check_command(command, problems))
            .map(|it| it.value.clone())
            .collect()
    };
    let (prepare, configure) = (commands(&raw.prepare), commands(&raw.configure));
    check_version_template(raw.package_version.as_ref(), problems);
    let template = raw.package_version.as_ref().or(context.file.package_version.as_ref());
    Some(Role {
        name: raw.name.get()?.value.clone(),
        track: raw.track.unwrap_or_default(),
        max_unavailable: raw.max_unavailable.unwrap_or(context.limit).of(hosts.len()),
        hosts,
        packages,
        package_version: template.map_or(DEFAULT_VERSION, |template| &template.value.0).to_owned(),
        backends,
        allow_outage: raw.allow_outage.unwrap_or(false),
        prepare,
        configure,
        services,
        health,
    })
}

fn hosts_of(raw: &At<RawRole>, hosts: &mut Hosts, problems: &mut Problems) -> Vec<HostName> {
    let Some(written) = raw.hosts.get() else { return Vec::new() };
    if written.node.is_empty() {
        problems.add(written.at(), "a role needs at least one host");
    }
    let owner = Owner::Role(raw.name.get().map(|name| name.value.clone()));
    written.value.iter().flat_map(|range| hosts.claim(range, &owner, problems)).collect()
}

/// The role's own packages, else the environment's.
fn packages(raw: &At<RawRole>, context: &Context<'_>, problems: &mut Problems) -> Vec<PackageName> {
    check_packages(raw.packages.as_ref(), problems);
    if !raw.node.has("packages") && !context.file.node.has("packages") {
        let hint = "give it `packages`, or give the environment `packages` for all roles";
        problems.add_with_hint(&raw.node.at, "a role without packages", hint);
    }
    let chosen = raw.packages.as_ref().or(context.file.packages.as_ref());
    chosen.iter().flat_map(|packages| packages.value.iter()).map(|package| package.value.clone()).collect()
}

pub(super) fn check_packages(packages: Option<&At<Vec<At<PackageName>>>>, problems: &mut Problems) {
    let Some(packages) = packages else { return };
    if packages.node.is_empty() {
        problems.add(packages.at(), "at least one package is needed");
    }
    let mut seen = BTreeSet::new();
    for package in packages.value.iter().filter(|package| !seen.insert(&package.value)) {
        problems.add(package.at(), format!("package `{}` is already in this list", package.value));
    }
}

pub(super) fn check_version_template(template: Option<&At<VersionTemplate>>, problems: &mut Problems) {
    if let Some(template) = template {
        template::check_strictly(&template.value.0, &["{version}", "{codename}"], template.at(), problems);
    }
}

fn backends(raw: &RawRole, context: &Context<'_>, problems: &mut Problems) -> Vec<BackendId> {
    let mut seen = BTreeSet::new();
    let mut backends = Vec::new();
    for name in raw.backends.iter().flatten() {
        if !seen.insert(&name.value) {
            problems.add(name.at(), format!("backend `{}` is already in this list", name.value));
            continue;
        }
        let found = context.balancers.with(&name.value);
        if found.is_empty() && context.balancers.whole {
            unknown_backend(name, context.balancers, problems);
        }
        backends.extend_from_slice(found);
    }
    backends
}

fn unknown_backend(name: &At<BackendName>, balancers: &Balancers, problems: &mut Problems) {
    let message = match balancers.groups.is_empty() {
        true => format!("backend `{}` is served, but there is no [[load_balancer]]", name.value),
        false => format!("no load balancer has a backend `{}`", name.value),
    };
    problems.unknown(name.at(), message, name.value.as_str(), balancers.backend_names());
}

fn services(raw: &RawRole, problems: &mut Problems) -> Vec<Service> {
    let mut seen = BTreeSet::new();
    let mut services = Vec::new();
    for raw in raw.services.iter().flatten() {
        let Some(service) = service(raw, problems) else { continue };
        if !seen.insert(service.name.clone()) {
            problems.add(raw.at(), format!("service `{}` is already in this role", service.name));
        }
        services.push(service);
    }
    services
}

fn service(raw: &At<RawService>, problems: &mut Problems) -> Option<Service> {
    if let Some(command) = &raw.running {
        template::check_command(command, problems);
    }
    if let Some(At { value: RawActivate::Command(argv), node }) = &raw.activate {
        template::check_command(&At { value: argv.clone(), node: node.clone() }, problems);
    }
    exactly_one("a service", &["unit", "name"], &raw.node, problems)?;
    let name = raw.unit.as_ref().or(raw.name.as_ref())?;
    let systemd = raw.unit.is_some();
    let activate = activate(raw, systemd, problems)?;
    Some(Service {
        name: name.value.clone(),
        systemd,
        activate,
        running: raw.running.as_ref().map(|running| running.value.clone()),
    })
}

/// Only systemd knows how to restart or reload by name alone.
fn activate(raw: &At<RawService>, systemd: bool, problems: &mut Problems) -> Option<Activate> {
    const HINT: &str =
        "for example `activate = [\"sv\", \"restart\", \"puma\"]`; or use `unit` for a systemd unit";
    match raw.activate.as_ref().map(|activate| (&activate.value, activate.at())) {
        None if raw.node.has("activate") => None,
        None if systemd => Some(Activate::Restart),
        None => {
            problems.add_with_hint(
                &raw.node.at,
                "a service with a `name` needs `activate` as a command",
                HINT,
            );
            None
        }
        Some((RawActivate::Restart | RawActivate::Reload, at)) if !systemd => {
            problems.add_with_hint(at, "a service with a `name` needs `activate` as a command", HINT);
            None
        }
        Some((RawActivate::Restart, _)) => Some(Activate::Restart),
        Some((RawActivate::Reload, _)) => Some(Activate::Reload),
        Some((RawActivate::None, _)) => Some(Activate::None),
        Some((RawActivate::Command(argv), _)) => Some(Activate::Command(argv.clone())),
    }
}

fn health(raw: &At<RawHealth>, problems: &mut Problems) -> Option<Health> {
    if let Some(url) = &raw.http {
        template::check(&url.value.0, &["{host}"], url.at(), problems);
    }
    if let Some(address) = &raw.tcp {
        template::check(&address.value.0, &["{host}"], address.at(), problems);
    }
    if let Some(command) = &raw.command {
        template::check_command(command, problems);
    }
    exactly_one("health", &["http", "tcp", "command"], &raw.node, problems)?;
    let http = raw.http.as_ref().map(|url| Probe::Http(url.value.0.clone()));
    let tcp = raw.tcp.as_ref().map(|address| Probe::Tcp(address.value.0.clone()));
    let command = raw.command.as_ref().map(|command| Probe::Command(command.value.clone()));
    let within = raw.within.map_or(DEFAULT_WITHIN, |within| within.0);
    Some(Health { probe: http.or(tcp).or(command)?, within })
}

/// Reports none or several of some keys. Asks what was written, so that a value with a mistake counts as given.
pub(super) fn exactly_one(what: &str, keys: &[&str], node: &Node, problems: &mut Problems) -> Option<()> {
    let given: Vec<&str> = keys.iter().copied().filter(|key| node.has(key)).collect();
    match given.as_slice() {
        [_] => Some(()),
        [] => {
            problems.add(&node.at, format!("{what} needs {}", one_of(keys)));
            None
        }
        [_, second, ..] => {
            problems.add(node.key_at(second), format!("{what} takes only one of {}", one_of(keys)));
            None
        }
    }
}

/// A backend whose last server of a track would have to go needs a person's word for it: else the rollout would wait
/// for ever.
pub(super) fn check_outages(file: &RawEnvironment, roles: &[Role], limit: Limit, problems: &mut Problems) {
    let mut servers: BTreeMap<(&BackendId, Track), usize> = BTreeMap::new();
    for role in roles {
        for backend in &role.backends {
            *servers.entry((backend, role.track)).or_default() += role.hosts.len();
        }
    }
    let by_name: BTreeMap<&RoleName, &Role> = roles.iter().map(|role| (&role.name, role)).collect();
    for raw in file.role.get().iter().flat_map(|written| &written.value) {
        let Some(role) = raw.name.get().and_then(|name| by_name.get(&name.value)) else { continue };
        for backend in role.backends.iter().filter(|_| !role.allow_outage) {
            let count = servers.get(&(backend, role.track)).copied().unwrap_or(0);
            if count > 0 && limit.of(count) >= count {
                report_outage(raw, role.track, backend, count, limit, problems);
            }
        }
    }
}

fn report_outage(
    raw: &RawRole,
    track: Track,
    backend: &BackendId,
    count: usize,
    limit: Limit,
    problems: &mut Problems,
) {
    let Some(at) = raw.backends.iter().flatten().find(|name| name.value == backend.backend) else { return };
    let servers = if count == 1 { "server" } else { "servers" };
    let message = format!(
        "backend `{backend}` would lose its last {track} server: it has {count} {servers}, and {limit} may be out at once"
    );
    let hint = "add a server, lower `budget.max_unavailable`, or set `allow_outage = true` on the role";
    problems.add_with_hint(at.at(), message, hint);
}
