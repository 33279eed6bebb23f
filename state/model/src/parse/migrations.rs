//! Migrations, resolved: somewhere that serves nothing, and something to run.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::fleet::{Hosts, Owner};
use super::problem::Problems;
use super::raw::RawEnvironment;
use super::raw_policy::{RawJob, RawMigrations};
use super::read::At;
use super::{roles, template};
use crate::ids::PackageName;
use crate::pipeline::{MigrationJob, Migrations};

const DEFAULT_TIMEOUT: SignedDuration = SignedDuration::from_hours(12);

/// `None` when there are none, or when they could not be read whole.
pub(super) fn resolve(
    file: &At<RawEnvironment>,
    hosts: &mut Hosts,
    problems: &mut Problems,
) -> Option<Migrations> {
    let raw = file.migrations.as_ref()?;
    if let Some(host) = raw.host.get() {
        hosts.keep_out_of_roles(host, Owner::Migrations, "migration host", problems);
    }
    if !raw.node.has("pre") && !raw.node.has("post") {
        problems.add(&raw.node.at, "migrations need `pre`, `post` or both");
    }
    if let Some(command) = &raw.ready {
        template::check_command(command, problems);
    }
    roles::check_version_template(raw.package_version.as_ref(), problems);
    let template = raw.package_version.as_ref().or(file.package_version.as_ref());
    let packages = packages(raw, file, problems);
    let (pre, post) = (job(raw.pre.as_ref(), problems), job(raw.post.as_ref(), problems));
    Some(Migrations {
        host: raw.host.get()?.value.clone(),
        packages,
        package_version: template.map_or(roles::DEFAULT_VERSION, |template| &template.value.0).to_owned(),
        ready: raw.ready.as_ref().map(|command| command.value.clone()),
        pre,
        post,
    })
}

/// The host gets the version before its job, so there must be something to install.
fn packages(raw: &At<RawMigrations>, file: &At<RawEnvironment>, problems: &mut Problems) -> Vec<PackageName> {
    roles::check_packages(raw.packages.as_ref(), problems);
    if !raw.node.has("packages") && !file.node.has("packages") {
        let hint = "give them `packages`, or give the environment `packages` for everything";
        problems.add_with_hint(&raw.node.at, "migrations without packages", hint);
    }
    let chosen = raw.packages.as_ref().or(file.packages.as_ref());
    chosen.iter().flat_map(|packages| packages.value.iter()).map(|package| package.value.clone()).collect()
}

fn job(raw: Option<&At<RawJob>>, problems: &mut Problems) -> Option<MigrationJob> {
    let raw = raw?;
    let command = raw.command.get()?;
    template::check_command(command, problems);
    let env: BTreeMap<String, String> = raw
        .env
        .iter()
        .flat_map(|variables| variables.iter())
        .map(|(name, value)| (name.value.0.clone(), value.value.0.clone()))
        .collect();
    let timeout = raw.timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.0);
    Some(MigrationJob { command: command.value.clone(), env, timeout })
}
