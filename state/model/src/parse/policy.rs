//! Rules of the rollout policy: migrations, gates, checks, promotion, follow, freeze. Not acted on yet, checked already.

use std::collections::BTreeSet;

use super::fleet::Hosts;
use super::problem::Problems;
use super::raw::RawEnvironment;
use super::raw_policy::{
    Moment, RawCheck, RawFollow, RawFreeze, RawGate, RawJob, RawMigrations, RawPromotion,
};
use super::read::{At, Map};
use super::roles::exactly_one;
use super::template;
use crate::desired::{Argv, Fleet, Track};
use crate::ids::EnvironmentName;

/// What the rules need to know beside the file.
pub(super) struct Surroundings<'a> {
    pub(super) name: &'a EnvironmentName,
    pub(super) environments: &'a BTreeSet<EnvironmentName>,
    pub(super) fleet: &'a Fleet,
}

/// Reports every breach.
pub(super) fn check(
    file: &RawEnvironment,
    around: &Surroundings<'_>,
    hosts: &mut Hosts,
    problems: &mut Problems,
) {
    if let Some(migrations) = &file.migrations {
        check_migrations(migrations, hosts, problems);
    }
    if let Some(agent) = &file.config_agent {
        let fixed =
            [&agent.pause, &agent.resume, &agent.active].into_iter().filter_map(|command| command.get());
        fixed.chain(&agent.pin).for_each(|command| template::check_command(command, problems));
    }
    entries(file.gates.as_ref()).for_each(|gate| check_gate(gate, problems));
    entries(file.checks.as_ref()).for_each(|check| check_check(check, problems));
    if let Some(promotion) = &file.promotion {
        check_promotion(promotion, around, problems);
    }
    for follow in list(file.follow.as_ref()) {
        check_follow(follow, file.promotion.as_ref(), problems);
    }
    list(file.freeze.as_ref()).for_each(|freeze| check_freeze(freeze, problems));
}

/// The items of a list that may be missing.
pub(super) fn list<T>(items: Option<&At<Vec<At<T>>>>) -> impl Iterator<Item = &At<T>> {
    items.into_iter().flat_map(|items| &items.value)
}

fn entries<K, V>(map: Option<&At<Map<K, V>>>) -> impl Iterator<Item = &At<V>> {
    map.into_iter().flat_map(|map| map.value.iter()).map(|(_, value)| value)
}

fn check_migrations(migrations: &At<RawMigrations>, hosts: &mut Hosts, problems: &mut Problems) {
    if let Some(host) = migrations.host.get() {
        match hosts.owners.get(&host.value) {
            Some((owner, _)) => {
                let message =
                    format!("migration host `{}` is in {owner}; it must belong to no role", host.value);
                problems.add(host.at(), message);
            }
            None => {
                let owner = ("the migrations".to_owned(), host.at().clone());
                hosts.owners.insert(host.value.clone(), owner);
            }
        }
    }
    if !migrations.node.has("pre") && !migrations.node.has("post") {
        problems.add(&migrations.node.at, "migrations need `pre`, `post` or both");
    }
    let jobs = migrations.pre.iter().chain(&migrations.post);
    let commands = jobs.filter_map(|job: &At<RawJob>| job.command.get()).chain(&migrations.ready);
    commands.for_each(|command: &At<Argv>| template::check_command(command, problems));
}

const OF_ALERTMANAGER: [&str; 3] = ["match", "heartbeat", "quiet_for"];
const OF_PROMETHEUS: [&str; 4] = ["query", "below", "above", "settle"];

fn check_gate(gate: &At<RawGate>, problems: &mut Problems) {
    if exactly_one("a gate", &["alertmanager", "prometheus"], &gate.node, problems).is_none() {
        return;
    }
    let (own, foreign): (&str, &[&str]) = match gate.node.has("alertmanager") {
        true => ("alertmanager", &OF_PROMETHEUS),
        false => ("prometheus", &OF_ALERTMANAGER),
    };
    for key in foreign.iter().filter(|key| gate.node.has(key)) {
        problems.add(gate.node.key_at(key), format!("`{key}` means nothing for a gate with `{own}`"));
    }
    match own {
        "alertmanager" => check_matchers(gate, problems),
        _ => check_query(gate, problems),
    }
}

fn check_matchers(gate: &At<RawGate>, problems: &mut Problems) {
    let empty = gate.r#match.as_ref().is_some_and(|matchers| matchers.node.is_empty());
    if !gate.node.has("match") || empty {
        problems.add(gate.node.key_at("match"), "a gate with `alertmanager` needs at least one `match`");
    }
}

fn check_query(gate: &At<RawGate>, problems: &mut Problems) {
    if !gate.node.has("query") {
        problems.add(&gate.node.at, "missing key `query`");
    }
    exactly_one("a gate with `prometheus`", &["below", "above"], &gate.node, problems);
}

fn check_check(check: &At<RawCheck>, problems: &mut Problems) {
    if let Some(command) = &check.command {
        template::check_command(command, problems);
    }
    if exactly_one("a check", &["command", "http", "gitlab_pipeline"], &check.node, problems).is_none() {
        return;
    }
    match (check.node.has("command"), check.node.has("host")) {
        (true, false) => {
            problems.add(&check.node.at, "a check with a `command` needs the `host` that runs it")
        }
        (false, true) => {
            problems.add(check.node.key_at("host"), "`host` is only for a check with a `command`")
        }
        _ => {}
    }
}

fn check_promotion(promotion: &At<RawPromotion>, around: &Surroundings<'_>, problems: &mut Problems) {
    let has_canary = around.fleet.roles.iter().any(|role| role.track == Track::Canary);
    if !has_canary && promotion.node.has("canary_requires") {
        problems.add(promotion.node.key_at("canary_requires"), "no role has `track = \"canary\"`");
    }
    if let Some(required) = &promotion.canary_requires {
        check_required(required, around, problems);
    }
    if let Some(required) = &promotion.main_requires {
        match required.value.as_str() {
            "canary" if has_canary => {}
            "canary" => problems.add(required.at(), "no role has `track = \"canary\"`"),
            _ => check_required(required, around, problems),
        }
    }
}

fn check_required(required: &At<EnvironmentName>, around: &Surroundings<'_>, problems: &mut Problems) {
    let name = &required.value;
    if name == around.name {
        problems.add(required.at(), "an environment cannot require itself");
    } else if !around.environments.contains(name) {
        let known = around.environments.iter().map(EnvironmentName::as_str);
        problems.unknown(required.at(), format!("there is no environment `{name}`"), name.as_str(), known);
    }
}

fn check_follow(follow: &At<RawFollow>, promotion: Option<&At<RawPromotion>>, problems: &mut Problems) {
    let (Some(track), Some(when)) = (follow.track.get(), &follow.when) else { return };
    let key = match track.value {
        Track::Canary => "canary_requires",
        Track::Main => "main_requires",
    };
    if !promotion.is_some_and(|promotion| promotion.node.has(key)) {
        let message = format!("`when = \"passed\"` needs `{key}` in [promotion]: what has to be passed?");
        problems.add(when.at(), message);
    }
}

fn check_freeze(freeze: &RawFreeze, problems: &mut Problems) {
    let (Some(from), Some(to)) = (freeze.from.get(), freeze.to.get()) else { return };
    match (from.value, to.value) {
        (Moment::Weekly(..), Moment::Weekly(..)) if from.value == to.value => {
            problems.add(to.at(), "the freeze ends when it begins");
        }
        (Moment::Weekly(..), Moment::Weekly(..)) => {}
        (Moment::Once(from), Moment::Once(until)) if from >= until => {
            problems.add(to.at(), "the freeze ends before it begins");
        }
        (Moment::Once(_), Moment::Once(_)) => {}
        _ => problems.add(to.at(), "`from` and `to` must both be days of the week, or both be dates"),
    }
}
