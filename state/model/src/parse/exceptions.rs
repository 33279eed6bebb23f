//! release.toml beside the main version, resolved: the canary, and what people take responsibility for.

use std::collections::BTreeMap;

use super::fleet::Hosts;
use super::patches;
use super::policy::list;
use super::problem::Problems;
use super::raw::RawEnvironment;
use super::raw_release::{Percent, RawCanary, RawOut, RawRelease};
use super::read::At;
use super::roles::exactly_one;
use crate::desired::{Fleet, Track};
use crate::ids::HostName;
use crate::release::{Allow, CanaryTarget, Emergency, Exceptions, Hold, Out, OutTarget, RampStep, Veto};

/// What names are looked up in: the environment's other file, and the commit.
pub(super) struct Context<'a> {
    pub(super) file: &'a RawEnvironment,
    pub(super) fleet: &'a Fleet,
    pub(super) hosts: &'a Hosts,
    pub(super) files: &'a BTreeMap<String, String>,
}

/// What has a mistake is reported and left out.
pub(super) fn resolve(release: &RawRelease, context: &Context<'_>, problems: &mut Problems) -> Exceptions {
    let emergency = release.emergency.as_ref().and_then(|raw| {
        Some(Emergency {
            version: raw.version.get()?.value.clone(),
            reason: raw.reason.get()?.value.0.clone(),
        })
    });
    let allow = release.allow.as_ref().and_then(|raw| {
        let past_post_migrations_of = raw.past_post_migrations_of.get()?.value.clone();
        Some(Allow { past_post_migrations_of, reason: raw.reason.get()?.value.0.clone() })
    });
    let vetoes = list(release.veto.as_ref()).filter_map(|raw| {
        Some(Veto { version: raw.version.get()?.value.clone(), reason: raw.reason.get()?.value.0.clone() })
    });
    let holds = list(release.hold.as_ref()).filter_map(|raw| {
        let reason = raw.reason.get()?.value.0.clone();
        Some(Hold { scope: raw.scope.get()?.value, reason, until: raw.until.map(|until| until.0) })
    });
    Exceptions {
        emergency,
        vetoes: vetoes.collect(),
        holds: holds.collect(),
        outs: list(release.out.as_ref()).filter_map(|raw| out(raw, context, problems)).collect(),
        patches: list(release.patch.as_ref())
            .filter_map(|raw| patches::resolve(raw, context, problems))
            .collect(),
        allow,
    }
}

/// The canary's target and share; `None` without one, or after a problem.
pub(super) fn canary(
    release: &RawRelease,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<CanaryTarget> {
    let raw = release.canary.as_ref()?;
    if !context.fleet.roles.iter().any(|role| role.track == Track::Canary) {
        problems.add(&raw.node.at, "no role has `track = \"canary\"`");
    }
    check_ramp(raw, problems);
    let steps = raw.ramp.iter().flatten().filter_map(|step| {
        Some(RampStep { weight: step.weight.get()?.value.0, soak: step.soak.get()?.value.0 })
    });
    Some(CanaryTarget {
        version: raw.version.get()?.value.clone(),
        weight: raw.weight.get()?.value.0,
        ramp: steps.collect(),
    })
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

fn out(raw: &At<RawOut>, context: &Context<'_>, problems: &mut Problems) -> Option<Out> {
    exactly_one("[[out]]", &["host", "load_balancer_node"], &raw.node, problems);
    if let Some(host) = &raw.host {
        check_host(host, context.hosts, problems);
    }
    if let Some(node) = &raw.load_balancer_node {
        check_node(node, context.fleet, problems);
    }
    let host = raw.host.as_ref().map(|host| OutTarget::Host(host.value.clone()));
    let node = raw.load_balancer_node.as_ref().map(|node| OutTarget::LoadBalancerNode(node.value.clone()));
    let until = raw.until.map(|until| until.0);
    Some(Out { what: host.or(node)?, reason: raw.reason.get()?.value.0.clone(), until })
}

/// A host that serves no role is not counted anyway.
fn check_host(host: &At<HostName>, hosts: &Hosts, problems: &mut Problems) {
    match hosts.owners.get(&host.value) {
        Some((owner, _)) if owner.is_role() => {}
        Some((owner, _)) => {
            let message = format!("host `{}` is in {owner}; only a host of a role can be out", host.value);
            problems.add(host.at(), message);
        }
        None => {
            let known = hosts.in_roles().map(HostName::as_str);
            let message = format!("there is no host `{}`", host.value);
            problems.unknown(host.at(), message, host.value.as_str(), known);
        }
    }
}

fn check_node(node: &At<HostName>, fleet: &Fleet, problems: &mut Problems) {
    let nodes = fleet.nodes();
    if !nodes.contains(&node.value) {
        let known = nodes.iter().map(|node| node.as_str());
        let message = format!("there is no load balancer node `{}`", node.value);
        problems.unknown(node.at(), message, node.value.as_str(), known);
    }
}
