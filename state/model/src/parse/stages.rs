//! Stages, resolved: every role is deployed once, on its own track, after its migrations.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::policy::list;
use super::problem::Problems;
use super::raw::RawEnvironment;
use super::raw_policy::{RawRun, RawStage};
use super::read::{At, Map, Need, names_in};
use crate::desired::{Role, Track};
use crate::ids::{CheckName, GateName};
use crate::pipeline::{OnRed, Run, Stage};

/// The stages in the order of the file; without any, one for each track. What has a mistake is reported and left out.
pub(super) fn resolve(file: &At<RawEnvironment>, roles: &[Role], problems: &mut Problems) -> Vec<Stage> {
    check(file, roles, problems);
    let defaults = Defaults::of(file);
    match &file.stage {
        Some(written) => written.value.iter().filter_map(|raw| stage(raw, roles, &defaults)).collect(),
        None => Stage::whole_fleet(roles).into_iter().map(|stage| defaults.applied(stage)).collect(),
    }
}

/// What every stage has that does not say otherwise.
struct Defaults {
    gates: Vec<GateName>,
    checks: Vec<CheckName>,
    soak: SignedDuration,
    on_red: OnRed,
}

impl Defaults {
    fn of(file: &RawEnvironment) -> Self {
        let written = file.stage_defaults.as_ref();
        Self {
            gates: written.and_then(|it| it.gates.as_deref()).map(values).unwrap_or_default(),
            checks: written.and_then(|it| it.checks.as_deref()).map(values).unwrap_or_default(),
            soak: written.and_then(|it| it.soak).map_or(SignedDuration::ZERO, |soak| soak.0),
            on_red: written.and_then(|it| it.on_red.as_ref()).map(|on_red| on_red.value).unwrap_or_default(),
        }
    }

    /// Only a stage of the canary track can take the canary out of the traffic.
    fn on_red(&self, track: Track) -> OnRed {
        match track {
            Track::Canary => self.on_red,
            Track::Main => OnRed::Hold,
        }
    }

    fn applied(&self, stage: Stage) -> Stage {
        let (gates, checks) = (self.gates.clone(), self.checks.clone());
        Stage { gates, checks, soak: self.soak, on_red: self.on_red(stage.track), ..stage }
    }
}

fn stage(raw: &RawStage, roles: &[Role], defaults: &Defaults) -> Option<Stage> {
    let track = track_of(raw);
    let run = match raw.run.get()?.value {
        RawRun::Migrate => Run::Migrate,
        RawRun::PostMigrate => Run::PostMigrate,
        RawRun::Deploy => {
            let named: BTreeSet<&str> = list(raw.roles.as_ref()).map(|role| role.value.as_str()).collect();
            let deployed = roles.iter().filter(|role| named.contains(role.name.as_str()));
            Run::Deploy { roles: deployed.map(|role| role.name.clone()).collect(), in_order: false }
        }
    };
    Some(Stage {
        name: raw.name.get()?.value.clone(),
        track,
        run,
        gates: raw.gates.as_deref().map_or_else(|| defaults.gates.clone(), values),
        checks: raw.checks.as_deref().map_or_else(|| defaults.checks.clone(), values),
        soak: raw.soak.map_or(defaults.soak, |soak| soak.0),
        on_red: raw.on_red.as_ref().map_or_else(|| defaults.on_red(track), |on_red| on_red.value),
    })
}

fn values<T: Clone>(written: &[At<T>]) -> Vec<T> {
    written.iter().map(|it| it.value.clone()).collect()
}

/// Reports every breach.
fn check(file: &At<RawEnvironment>, roles: &[Role], problems: &mut Problems) {
    let defaults = file.stage_defaults.iter();
    for names in defaults.clone().flat_map(|defaults| &defaults.gates) {
        check_names(names, file.gates.as_ref(), "gate", problems);
    }
    for names in defaults.flat_map(|defaults| &defaults.checks) {
        check_names(names, file.checks.as_ref(), "check", problems);
    }
    check_migrations_run(file, roles, problems);
    let Some(stages) = &file.stage else { return };
    let mut names = BTreeSet::new();
    for stage in &stages.value {
        if let Some(name) = stage.name.get().filter(|name| !names.insert(name.value.as_str())) {
            problems.add(name.at(), format!("stage `{}` is already defined", name.value));
        }
        check_stage(stage, file, problems);
    }
    check_deployed_once(file, roles, problems);
}

fn track_of(stage: &RawStage) -> Track {
    stage.track.as_ref().map_or(Track::Main, |track| track.value)
}

fn runs(stage: &RawStage, run: RawRun) -> bool {
    stage.run.get().is_some_and(|written| written.value == run)
}

fn check_stage(stage: &At<RawStage>, file: &RawEnvironment, problems: &mut Problems) {
    if let Some(names) = &stage.gates {
        check_names(names, file.gates.as_ref(), "gate", problems);
    }
    if let Some(names) = &stage.checks {
        check_names(names, file.checks.as_ref(), "check", problems);
    }
    if let Some(on_red) = &stage.on_red {
        if on_red.value == OnRed::CanaryToZero && track_of(stage) == Track::Main {
            problems.add(on_red.at(), "`canary-to-zero` is only for stages with `track = \"canary\"`");
        }
    }
    let Some(run) = stage.run.get() else { return };
    let empty = stage.roles.as_ref().is_some_and(|roles| roles.node.is_empty());
    match (run.value, stage.node.has("roles")) {
        (RawRun::Deploy, false) => problems.add(&stage.node.at, "a stage that deploys needs `roles`"),
        (RawRun::Deploy, true) if empty => {
            problems.add(stage.node.key_at("roles"), "a stage that deploys needs `roles`")
        }
        (RawRun::Migrate | RawRun::PostMigrate, true) => {
            problems.add(stage.node.key_at("roles"), "`roles` is only for a stage with `run = \"deploy\"`");
        }
        _ => {}
    }
    let job = if run.value == RawRun::Migrate { "pre" } else { "post" };
    let has_job = file.migrations.as_ref().is_none_or(|migrations| migrations.node.has(job));
    if run.value != RawRun::Deploy && (file.migrations.is_none() || !has_job) {
        problems.add(run.at(), format!("there is no `{job}` in [migrations] to run"));
    }
}

fn check_names<K: Borrow<str>, V>(
    names: &[At<K>],
    known: Option<&At<Map<K, V>>>,
    what: &str,
    problems: &mut Problems,
) {
    let known = names_in(known);
    for name in names.iter().filter(|name| !known.contains(name.value.borrow())) {
        let word = name.value.borrow();
        problems.unknown(name.at(), format!("there is no {what} `{word}`"), word, known.iter().copied());
    }
}

fn check_deployed_once(file: &RawEnvironment, roles: &[Role], problems: &mut Problems) {
    let written: BTreeSet<&str> = written_roles(file).map(|name| name.value.as_str()).collect();
    let tracks: BTreeMap<&str, Track> = roles.iter().map(|role| (role.name.as_str(), role.track)).collect();
    let mut deployed: BTreeMap<&str, &str> = BTreeMap::new();
    let deploying = |stage: &&At<RawStage>| stage.run.get().is_none_or(|run| run.value == RawRun::Deploy);
    for stage in list(file.stage.as_ref()).filter(deploying) {
        let stage_name = stage.name.get().map_or("", |name| name.value.as_str());
        for role in list(stage.roles.as_ref()) {
            let word = role.value.as_str();
            if !written.contains(word) {
                problems.unknown(
                    role.at(),
                    format!("there is no role `{word}`"),
                    word,
                    written.iter().copied(),
                );
            } else if let Some(earlier) = deployed.insert(word, stage_name) {
                problems.add(role.at(), format!("role `{word}` is already deployed by stage `{earlier}`"));
            }
            let track = track_of(stage);
            if let Some(other) = tracks.get(word).filter(|other| **other != track) {
                let message = format!("role `{word}` has track {other}, and this stage has track {track}");
                problems.add(role.at(), message);
            }
        }
    }
    for name in written_roles(file).filter(|name| !deployed.contains_key(name.value.as_str())) {
        problems.add(name.at(), format!("role `{}` is in no stage", name.value));
    }
}

/// The names of all roles, of those with a mistake too.
pub(super) fn written_roles(file: &RawEnvironment) -> impl Iterator<Item = &At<crate::ids::RoleName>> {
    list(file.role.get()).filter_map(|role| role.name.get())
}

/// Where migrations exist, no track may take a version before them, and none may be forgotten.
fn check_migrations_run(file: &At<RawEnvironment>, roles: &[Role], problems: &mut Problems) {
    let Some(migrations) = &file.migrations else { return };
    for (job, run, word) in
        [("pre", RawRun::Migrate, "migrate"), ("post", RawRun::PostMigrate, "post-migrate")]
    {
        if migrations.node.has(job) && !list(file.stage.as_ref()).any(|stage| runs(stage, run)) {
            let message = format!("`{job}` never runs: there is no [[stage]] with `run = \"{word}\"`");
            problems.add(migrations.node.key_at(job), message);
        }
    }
    if !migrations.node.has("pre") || !list(file.stage.as_ref()).any(|stage| runs(stage, RawRun::Migrate)) {
        return;
    }
    let covered_by_canary = roles.iter().any(|role| role.track == Track::Canary)
        && file.promotion.iter().flat_map(|it| &it.main_requires).any(|it| it.value.as_str() == "canary");
    let mut migrated = BTreeSet::new();
    for stage in list(file.stage.as_ref()) {
        let track = track_of(stage);
        if runs(stage, RawRun::Migrate) {
            migrated.insert(track);
        }
        let covered = migrated.contains(&track) || (track == Track::Main && covered_by_canary);
        if runs(stage, RawRun::Deploy) && !covered {
            let message = format!("track {track} could take a version before its migrations");
            let hint =
                format!("put a stage with `run = \"migrate\"` and `track = \"{track}\"` before this one");
            problems.add_with_hint(run_of(&stage.run, stage), message, hint);
            migrated.insert(track);
        }
    }
}

fn run_of<'a>(run: &'a Need<RawRun>, stage: &'a At<RawStage>) -> &'a super::problem::Position {
    run.get().map_or(stage.at(), At::at)
}
