//! The rollout policy, resolved: its parts together, and promotion, follow and the configuration agent.

use std::collections::BTreeSet;

use super::fleet::Hosts;
use super::problem::Problems;
use super::raw::RawEnvironment;
use super::raw_policy::RawFollow;
use super::read::At;
use super::template::{self, IN_PIN};
use super::{checks, freezes, gates, migrations, stages};
use crate::desired::{Fleet, Policy, Track};
use crate::ids::EnvironmentName;
use crate::pipeline::{ConfigAgent, EmergencyBudget, Follow, Promotion, Requirement};

/// What the rules need to know beside the file.
pub(super) struct Surroundings<'a> {
    pub(super) name: &'a EnvironmentName,
    pub(super) environments: &'a BTreeSet<EnvironmentName>,
    pub(super) fleet: &'a Fleet,
}

impl Surroundings<'_> {
    fn has_canary(&self) -> bool {
        self.fleet.roles.iter().any(|role| role.track == Track::Canary)
    }
}

/// Resolves everything that the policy holds. What has a mistake is reported and left out.
pub(super) fn resolve(
    file: &At<RawEnvironment>,
    around: &Surroundings<'_>,
    hosts: &mut Hosts,
    problems: &mut Problems,
) -> Policy {
    Policy {
        stages: stages::resolve(file, &around.fleet.roles, problems),
        gates: gates::resolve(file, problems),
        // Before the checks: both may run on one host, which then is the migrations'.
        migrations: migrations::resolve(file, hosts, problems),
        checks: checks::resolve(file, hosts, problems),
        config_agent: config_agent(file, problems),
        promotion: promotion(file, around, problems),
        follows: follows(file, around, problems),
        freezes: freezes::resolve(file, problems),
        emergency: emergency_budget(file),
    }
}

/// The items of a list that may be missing.
pub(super) fn list<T>(items: Option<&At<Vec<At<T>>>>) -> impl Iterator<Item = &At<T>> {
    items.into_iter().flat_map(|items| &items.value)
}

fn emergency_budget(file: &RawEnvironment) -> EmergencyBudget {
    let written = file.budget.as_ref().and_then(|budget| budget.emergency.as_ref());
    let usual = EmergencyBudget::default();
    EmergencyBudget {
        max_unavailable: written.and_then(|it| it.max_unavailable).unwrap_or(usual.max_unavailable),
        drain: written.and_then(|it| it.drain).map_or(usual.drain, |drain| drain.0),
    }
}

fn config_agent(file: &RawEnvironment, problems: &mut Problems) -> Option<ConfigAgent> {
    let raw = file.config_agent.as_ref()?;
    let fixed = [&raw.pause, &raw.resume, &raw.active].into_iter().filter_map(|command| command.get());
    fixed.chain(&raw.busy).for_each(|command| template::check_command(command, problems));
    if let Some(pin) = &raw.pin {
        template::check_arguments(pin, &IN_PIN, problems);
        if file.migrations.is_none() {
            problems.add(pin.at(), "`pin` runs on the migration host, and there is no [migrations]");
        }
    }
    Some(ConfigAgent {
        pause: raw.pause.get()?.value.clone(),
        resume: raw.resume.get()?.value.clone(),
        active: raw.active.get()?.value.clone(),
        busy: raw.busy.as_ref().map(|command| command.value.clone()),
        pin: raw.pin.as_ref().map(|command| command.value.clone()),
    })
}

fn promotion(file: &RawEnvironment, around: &Surroundings<'_>, problems: &mut Problems) -> Promotion {
    let Some(raw) = &file.promotion else { return Promotion::default() };
    if !around.has_canary() && raw.node.has("canary_requires") {
        problems.add(raw.node.key_at("canary_requires"), "no role has `track = \"canary\"`");
    }
    let canary = raw.canary_requires.as_ref();
    let main = raw.main_requires.as_ref();
    Promotion {
        canary_requires: canary.and_then(|required| environment(required, around, problems)),
        main_requires: main.and_then(|required| match required.value.as_str() {
            "canary" if around.has_canary() => Some(Requirement::Canary),
            "canary" => {
                problems.add(required.at(), "no role has `track = \"canary\"`");
                None
            }
            _ => environment(required, around, problems),
        }),
    }
}

fn environment(
    required: &At<EnvironmentName>,
    around: &Surroundings<'_>,
    problems: &mut Problems,
) -> Option<Requirement> {
    let name = &required.value;
    if name == around.name {
        problems.add(required.at(), "an environment cannot require itself");
        return None;
    }
    if !around.environments.contains(name) {
        let known = around.environments.iter().map(EnvironmentName::as_str);
        problems.unknown(required.at(), format!("there is no environment `{name}`"), name.as_str(), known);
        return None;
    }
    Some(Requirement::Environment(name.clone()))
}

fn follows(file: &RawEnvironment, around: &Surroundings<'_>, problems: &mut Problems) -> Vec<Follow> {
    let mut tracks = BTreeSet::new();
    let mut follows = Vec::new();
    for raw in list(file.follow.as_ref()) {
        let Some(track) = raw.track.get() else { continue };
        if !tracks.insert(track.value) {
            problems.add(track.at(), format!("track {} already follows", track.value));
        }
        if track.value == Track::Canary && !around.has_canary() {
            problems.add(track.at(), "no role has `track = \"canary\"`");
        }
        check_requirement_exists(raw, track.value, file, problems);
        follows.extend(raw.newest.get().map(|newest| Follow {
            track: track.value,
            newest: newest.value.0.clone(),
            when_passed: raw.when.is_some(),
        }));
    }
    follows
}

fn check_requirement_exists(raw: &RawFollow, track: Track, file: &RawEnvironment, problems: &mut Problems) {
    let Some(when) = &raw.when else { return };
    let key = match track {
        Track::Canary => "canary_requires",
        Track::Main => "main_requires",
    };
    if !file.promotion.as_ref().is_some_and(|promotion| promotion.node.has(key)) {
        let message = format!("`when = \"passed\"` needs `{key}` in [promotion]: what has to be passed?");
        problems.add(when.at(), message);
    }
}
