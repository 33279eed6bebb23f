//! Rules of release.toml beside the version itself: canary, out, patch. Not acted on yet, checked already.

use std::collections::BTreeSet;

use super::fleet::Hosts;
use super::policy::list;
use super::problem::Problems;
use super::raw::RawEnvironment;
use super::raw_release::{Percent, RawCanary, RawOut, RawPatch, RawRelease};
use super::read::{At, names_in};
use super::roles::exactly_one;
use super::stages::written_roles;
use crate::desired::{Fleet, Track};
use crate::ids::HostName;

/// Reports every breach. Names are looked up in the environment's other file.
pub(super) fn check(
    release: &RawRelease,
    file: &RawEnvironment,
    fleet: &Fleet,
    hosts: &Hosts,
    problems: &mut Problems,
) {
    if let Some(canary) = &release.canary {
        if !fleet.roles.iter().any(|role| role.track == Track::Canary) {
            problems.add(&canary.node.at, "no role has `track = \"canary\"`");
        }
        check_ramp(canary, problems);
    }
    list(release.out.as_ref()).for_each(|out| check_out(out, fleet, hosts, problems));
    list(release.patch.as_ref()).for_each(|patch| check_patch(patch, file, problems));
}

fn check_ramp(canary: &RawCanary, problems: &mut Problems) {
    let mut last: Option<Percent> = None;
    for weight in canary.ramp.iter().flatten().filter_map(|step| step.weight.get()) {
        if last.is_some_and(|last| weight.value <= last) {
            problems.add(weight.at(), "the weights of a ramp must ascend");
        }
        if let Some(whole) = canary.weight.get().filter(|whole| weight.value >= whole.value) {
            problems.add(
                weight.at(),
                format!("the weights of a ramp must stay below the weight, {}", whole.value.0),
            );
        }
        last = Some(weight.value);
    }
}

fn check_out(out: &At<RawOut>, fleet: &Fleet, hosts: &Hosts, problems: &mut Problems) {
    exactly_one("[[out]]", &["host", "load_balancer_node"], &out.node, problems);
    if let Some(host) = out.host.as_ref().filter(|host| !hosts.owners.contains_key(&host.value)) {
        let known = hosts.owners.keys().map(HostName::as_str);
        problems.unknown(host.at(), format!("there is no host `{}`", host.value), host.value.as_str(), known);
    }
    let nodes = fleet.nodes();
    if let Some(node) = out.load_balancer_node.as_ref().filter(|node| !nodes.contains(&node.value)) {
        let known = nodes.iter().map(|node| node.as_str());
        let message = format!("there is no load balancer node `{}`", node.value);
        problems.unknown(node.at(), message, node.value.as_str(), known);
    }
}

fn check_patch(patch: &RawPatch, file: &RawEnvironment, problems: &mut Problems) {
    if let Some(root) = patch.root.get() {
        let known = names_in(file.patch_roots.as_ref());
        let word = root.value.0.as_str();
        if !known.contains(word) {
            let message = format!("there is no `{word}` in [patch_roots] of environment.toml");
            problems.unknown(root.at(), message, word, known);
        }
    }
    if let Some(roles) = patch.roles.get().filter(|roles| roles.node.is_empty()) {
        problems.add(roles.at(), "a patch needs at least one role");
    }
    let known: BTreeSet<&str> = written_roles(file).map(|name| name.value.as_str()).collect();
    for role in list(patch.roles.get()).filter(|role| !known.contains(role.value.as_str())) {
        let message = format!("there is no role `{}`", role.value);
        problems.unknown(role.at(), message, role.value.as_str(), known.iter().copied());
    }
}
