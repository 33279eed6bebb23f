//! What a step starts on: facts about its host and its load balancers, read after the last action there, and not long ago.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use model::{Action, Fact, HostName, Step};

use super::evidence::{Evidence, Mark, Target, target};
use super::{Findings, Promise};

/// Nothing starts on an older look at a host.
const HOST_MAX_AGE: SignedDuration = SignedDuration::from_secs(60);

/// Nobody leaves rotation on an older look at a load balancer.
const NODE_MAX_AGE: SignedDuration = SignedDuration::from_secs(3);

pub(super) fn lint(evidence: &Evidence<'_>, found: &mut Findings) {
    for step in &evidence.plan.steps {
        host(evidence, step, found);
        for node in nodes(evidence, step) {
            let fact = evidence.observed.nodes.get(node);
            if let Some(how) = fault(evidence, node, fact, NODE_MAX_AGE) {
                found.step(Promise::Facts, step, format_args!("starts on load balancer {node}, which {how}"));
            }
        }
    }
}

/// A host that is declared out may be dead: nothing is asked of it.
fn host(evidence: &Evidence<'_>, step: &Step, found: &mut Findings) {
    let Target::Host(host) = target(step) else { return };
    if matches!(step.action, Action::Retire { .. }) {
        return;
    }
    let fact = evidence.observed.hosts.get(host);
    if let Some(how) = fault(evidence, host, fact, HOST_MAX_AGE) {
        found.step(Promise::Facts, step, format_args!("starts on a host that {how}"));
    }
}

/// The load balancers whose rows a step is judged by.
fn nodes<'s>(evidence: &'s Evidence<'_>, step: &'s Step) -> BTreeSet<&'s HostName> {
    match &step.action {
        Action::Claim { .. } if is_first_to_work(evidence, step) => {
            let role = evidence.role(step);
            let lbs = role.into_iter().flat_map(|role| &role.backends);
            let lbs = lbs.filter_map(|backend| evidence.desired.fleet.load_balancer(&backend.load_balancer));
            lbs.flat_map(|lb| &lb.nodes).filter(|node| evidence.counts(node)).collect()
        }
        _ => step.nodes(),
    }
}

/// A claim that only gives a configuration agent back takes nobody out.
fn is_first_to_work(evidence: &Evidence<'_>, step: &Step) -> bool {
    matches!(evidence.mark(&step.host), Mark::None) && !evidence.agent_is_paused(&step.host)
}

fn fault<T>(
    evidence: &Evidence<'_>,
    name: &HostName,
    fact: Option<&Fact<T>>,
    max_age: SignedDuration,
) -> Option<&'static str> {
    let last: Option<&Timestamp> = evidence.history.last_action.get(name);
    match fact {
        None => Some("was never looked at"),
        Some(fact) if fact.value.is_err() => Some("cannot be seen"),
        Some(fact) if last.is_some_and(|last| fact.at < *last) => {
            Some("was not read after the last action there")
        }
        Some(fact) if evidence.now.duration_since(fact.at) > max_age => Some("was read too long ago"),
        Some(_) => None,
    }
}
