//! Checks, resolved: one way each.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::fleet::{Hosts, Owner};
use super::problem::{Position, Problems};
use super::raw::RawEnvironment;
use super::raw_policy::{RawCheck, RawPipelineCheck};
use super::read::At;
use super::roles::exactly_one;
use super::template::{self, IN_CHECK_COMMANDS, IN_CHECKS};
use crate::ids::CheckName;
use crate::pipeline::{Check, CheckRun};

const DEFAULT_TIMEOUT: SignedDuration = SignedDuration::from_hours(1);

/// The checks that could be read whole.
pub(super) fn resolve(
    file: &RawEnvironment,
    hosts: &mut Hosts,
    problems: &mut Problems,
) -> BTreeMap<CheckName, Check> {
    let written = file.checks.iter().flat_map(|checks| checks.value.iter());
    let resolved =
        written.filter_map(|(name, raw)| Some((name.value.clone(), resolve_one(raw, hosts, problems)?)));
    resolved.collect()
}

fn resolve_one(raw: &At<RawCheck>, hosts: &mut Hosts, problems: &mut Problems) -> Option<Check> {
    check_keys(raw, problems);
    let command = command(raw, hosts, problems);
    let http = raw.http.as_ref().and_then(|http| {
        let url = http.url.get()?;
        check_text(&url.value.0, url.at(), problems);
        Some(CheckRun::Http { url: url.value.0.clone() })
    });
    let pipeline = raw.gitlab_pipeline.as_ref().and_then(|pipeline| gitlab_pipeline(pipeline, problems));
    let timeout = raw.timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.0);
    Some(Check { how: command.or(http).or(pipeline)?, timeout })
}

fn check_keys(raw: &At<RawCheck>, problems: &mut Problems) {
    if exactly_one("a check", &["command", "http", "gitlab_pipeline"], &raw.node, problems).is_none() {
        return;
    }
    match (raw.node.has("command"), raw.node.has("host")) {
        (true, false) => {
            problems.add(&raw.node.at, "a check with a `command` needs the `host` that runs it");
        }
        (false, true) => {
            problems.add(raw.node.key_at("host"), "`host` is only for a check with a `command`");
        }
        _ => {}
    }
}

fn command(raw: &RawCheck, hosts: &mut Hosts, problems: &mut Problems) -> Option<CheckRun> {
    let command = raw.command.as_ref()?;
    template::check_arguments(command, &IN_CHECK_COMMANDS, problems);
    let host = raw.host.as_ref()?;
    hosts.keep_out_of_roles(host, Owner::Checks, "check host", problems);
    Some(CheckRun::Command { host: host.value.clone(), command: command.value.clone() })
}

fn gitlab_pipeline(raw: &RawPipelineCheck, problems: &mut Problems) -> Option<CheckRun> {
    let mut variables = BTreeMap::new();
    for (name, value) in raw.variables.iter().flat_map(|variables| variables.iter()) {
        check_text(&value.value.0, value.at(), problems);
        variables.insert(name.value.0.clone(), value.value.0.clone());
    }
    let reference = raw.r#ref.get()?;
    check_text(&reference.value.0, reference.at(), problems);
    Some(CheckRun::GitlabPipeline {
        project: raw.project.get()?.value.0.clone(),
        reference: reference.value.0.clone(),
        variables,
    })
}

fn check_text(text: &str, at: &Position, problems: &mut Problems) {
    template::check(text, &IN_CHECKS, at, problems);
}
