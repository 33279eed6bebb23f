//! Hosts of no role that run migrations and checks: what they are to the planner.

use std::collections::BTreeMap;

use model::{CheckRun, Desired, HostName, PackageName, Role, RoleName};

/// The name of their role; no role of a file can have it.
const ROLE: &str = "(jobs)";

/// One role for each such host: the migration host with its packages, hosts of checks without any.
pub(crate) fn roles(desired: &Desired) -> Vec<Role> {
    let policy = &desired.fleet.policy;
    let mut packages: BTreeMap<&HostName, (&[PackageName], &str)> = BTreeMap::new();
    for check in policy.checks.values() {
        if let CheckRun::Command { host, .. } = &check.how {
            packages.insert(host, (&[], "{version}"));
        }
    }
    if let Some(migrations) = &policy.migrations {
        packages.insert(&migrations.host, (&migrations.packages, &migrations.package_version));
    }
    packages.into_iter().map(|(host, (packages, version))| role(host, packages, version)).collect()
}

fn role(host: &HostName, packages: &[PackageName], package_version: &str) -> Role {
    Role::of_host(RoleName::new(ROLE), host, packages, package_version)
}
