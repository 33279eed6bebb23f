//! What a host is looked at for: its role, or what the environment needs to know of a host without one.

use std::collections::BTreeSet;

use engine::DesiredByName;
use jiff::Timestamp;
use model::{CheckRun, ConfigAgent, Desired, EnvironmentName, HostName, PackageName, Role, RoleName};

/// The particulars of a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) role: Role,
    pub(super) environment: EnvironmentName,
    /// To be asked how it is.
    pub(super) agent: Option<ConfigAgent>,
}

/// By the host's role; else by its former one, while our mark is there; else as the host of migrations or of a check,
/// with the packages that migrations need; else only whether it is there, and our mark.
pub(super) fn of(host: &HostName, desired: &DesiredByName) -> Place {
    let in_role =
        || desired.values().find_map(|desired| Some((desired, desired.fleet.role_of(host)?.clone())));
    let departed = || {
        desired.values().find_map(|desired| {
            let role = desired.departed.iter().find(|role| role.hosts.contains(host))?;
            Some((desired, role.clone()))
        })
    };
    let migrating = || {
        desired.values().find_map(|desired| {
            let migrations = desired.fleet.policy.migrations.as_ref()?;
            (migrations.host == *host).then(|| (desired, no_role(host, &migrations.packages)))
        })
    };
    let checking = || {
        desired.values().find(|desired| checks_run_on(desired, host)).map(|desired| {
            let migrations = desired.fleet.policy.migrations.as_ref();
            let packages = migrations.map(|migrations| migrations.packages.as_slice());
            (desired, no_role(host, packages.unwrap_or_default()))
        })
    };
    match in_role().or_else(departed).or_else(migrating).or_else(checking) {
        Some((desired, role)) => Place {
            role,
            environment: desired.environment.clone(),
            agent: desired.fleet.policy.config_agent.clone(),
        },
        None => Place { role: no_role(host, &[]), environment: EnvironmentName::from(""), agent: None },
    }
}

/// The load balancer nodes that have rows of a host, by its role or its former one. Those that are declared out pass no
/// traffic.
pub(super) fn nodes_of(host: &HostName, desired: &DesiredByName, now: Timestamp) -> BTreeSet<HostName> {
    let mut nodes = BTreeSet::new();
    for desired in desired.values() {
        let roles = desired.fleet.roles.iter().chain(&desired.departed);
        let backends = roles.filter(|role| role.hosts.contains(host)).flat_map(|role| &role.backends);
        let balancers = backends.filter_map(|backend| desired.fleet.load_balancer(&backend.load_balancer));
        let counts = |node: &&HostName| desired.exceptions.node_out(node, now).is_none();
        nodes.extend(balancers.flat_map(|balancer| balancer.nodes.iter().filter(counts)).cloned());
    }
    nodes
}

fn checks_run_on(desired: &Desired, host: &HostName) -> bool {
    let mut checks = desired.fleet.policy.checks.values();
    checks.any(|check| matches!(&check.how, CheckRun::Command { host: on, .. } if on == host))
}

fn no_role(host: &HostName, packages: &[PackageName]) -> Role {
    Role::of_host(RoleName::from("none"), host, packages, "{version}")
}

/// Who is asked for the versions of which package: the host of migrations, else the first host of each role in turn.
pub(super) fn sources(desired: &Desired) -> Vec<(&HostName, &PackageName)> {
    let policy = &desired.fleet.policy;
    if let Some(migrations) = &policy.migrations {
        return migrations.packages.first().map(|package| (&migrations.host, package)).into_iter().collect();
    }
    let roles = desired.fleet.roles.iter();
    roles.filter_map(|role| Some((role.hosts.first()?, role.packages.first()?))).collect()
}
