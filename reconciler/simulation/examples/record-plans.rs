//! Chooses situations of simulated lives, in which the planner decides what it decides nowhere else, and writes them down
//! with their plans: what `cargo test -p planner --test plans` plans again.
//!
//! `record-plans [SEEDS [BYTES]]` lives seeds 1 to SEEDS and keeps some BYTES of them; `record-plans --again` keeps the
//! situations that are recorded, and plans them anew.

#[path = "../../planner/tests/plans/recorded/corpus.rs"]
mod corpus;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use corpus::{Case, Cases, News, as_recorded, without_nulls};
use model::Plan;
use serde_json::{Value, json};
use simulation::{Scenario, Situation, live_watched};

/// In how many lives everything that a plan can say is kept, once each.
const LIVES: usize = 2;

/// What was met, in which lives, and what was kept of it.
#[derive(Default)]
struct Choice {
    seen: BTreeMap<String, BTreeSet<u64>>,
    cases: Vec<Case>,
    bytes: usize,
}

fn main() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../planner/tests/plans/recorded/plans.jsonl");
    let mut arguments = std::env::args().skip(1).peekable();
    let cases = if arguments.next_if_eq("--again").is_some() {
        planned_again(&std::fs::read_to_string(&file).expect("there is a corpus"))
    } else {
        let mut numbers = arguments.map(|number| number.parse().expect("SEEDS and BYTES are numbers"));
        let (seeds, bytes) = (numbers.next().unwrap_or(300), numbers.next().unwrap_or(900_000));
        chosen(seeds as u64, bytes)
    };
    let text = corpus::write(&cases);
    std::fs::write(&file, &text).expect("the corpus can be written");
    println!("{} situations, {} bytes", cases.len(), text.len());
}

/// The same situations, with what is planned in them now.
fn planned_again(text: &str) -> Vec<Case> {
    let mut recorded = Cases::of(text);
    let mut cases = Vec::new();
    while let Some(News { seed, number, .. }) = recorded.read() {
        let mut content = recorded.content.clone();
        content["plan"] = as_recorded(&planner::plan(
            &of(&content["desired"]),
            &of(&content["observed"]),
            &of(&content["history"]),
            of(&content["now"]),
        ));
        cases.push(Case { seed, number, content });
    }
    cases
}

fn of<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    T::deserialize(value).expect("the corpus holds what the model writes")
}

/// Lives one world; `look` sees every situation, by its number, with its plan.
fn lives(seed: u64, look: impl Fn(u64, &Situation, &Plan) + Send + Sync + 'static) {
    let number = AtomicU64::new(0);
    let watcher = move |situation: &Situation| {
        let Situation { desired, observed, history, now } = situation;
        let plan = planner::plan(desired, observed, history, *now);
        look(number.fetch_add(1, Ordering::Relaxed), situation, &plan);
        plan.observe
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime needs nothing");
    runtime.block_on(live_watched(&Scenario::drawn(seed), Arc::new(watcher)));
}

fn all_of(seed: u64) -> BTreeSet<String> {
    let met = Arc::new(Mutex::new(BTreeSet::new()));
    let all = Arc::clone(&met);
    lives(seed, move |_, situation, plan| {
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(said(situation, plan));
        all.extend(seen(situation));
    });
    std::mem::take(&mut *met.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The lives in which most is met that is met in none of the lives before, in that order; and of each what says something
/// that was not said often enough.
fn chosen(seeds: u64, bytes: usize) -> Vec<Case> {
    let mut left: BTreeMap<u64, BTreeSet<String>> = (1..=seeds).map(|seed| (seed, all_of(seed))).collect();
    let choice = Arc::new(Mutex::new(Choice::default()));
    let spent = || choice.lock().unwrap_or_else(PoisonError::into_inner).bytes;
    while spent() < bytes {
        let Some(seed) = left.iter().max_by_key(|(_, words)| words.len()).map(|(seed, _)| *seed) else {
            break;
        };
        let met = left.remove(&seed).unwrap_or_default();
        left.values_mut().for_each(|words| words.retain(|word| !met.contains(word)));
        let told = Arc::clone(&choice);
        lives(seed, move |number, situation, plan| {
            told.lock().unwrap_or_else(PoisonError::into_inner).consider(seed, number, situation, plan);
        });
    }
    std::mem::take(&mut choice.lock().unwrap_or_else(PoisonError::into_inner).cases)
}

impl Choice {
    fn consider(&mut self, seed: u64, number: u64, situation: &Situation, plan: &Plan) {
        let mut said = said(situation, plan);
        said.extend(seen(situation));
        let known = |word: &String| {
            self.seen.get(word).is_some_and(|lives| lives.len() >= LIVES || lives.contains(&seed))
        };
        if said.iter().all(known) {
            return;
        }
        for word in said {
            self.seen.entry(word).or_default().insert(seed);
        }
        let Situation { desired, observed, history, now } = situation;
        let content = json!({
            "now": now, "desired": desired, "observed": observed, "history": history,
            "plan": as_recorded(plan),
        });
        let case = Case { seed, number, content: without_nulls(&content) };
        let before = self.cases.last().cloned();
        let pair: Vec<Case> = before.into_iter().chain([case.clone()]).collect();
        self.bytes += corpus::write(&pair).lines().last().map_or(0, str::len);
        self.cases.push(case);
    }
}

/// What a plan says, without names, numbers and times.
fn said(situation: &Situation, plan: &Plan) -> BTreeSet<String> {
    let mut said = BTreeSet::new();
    let value = serde_json::to_value(plan).expect("a plan is a value");
    for (at, waiting) in plan.waiting.iter().enumerate() {
        let whose = words(&value["waiting"][at]["subject"]);
        let reason = words(&value["waiting"][at]["reason"]);
        if at == 0 {
            said.insert(format!("first: {reason}"));
        }
        said.insert(format!("{whose} waits: {reason}"));
        said.insert(format!("{whose} waits {}", plain(&waiting.reason.to_string())));
    }
    for step in &plan.steps {
        let kind = step.action.kind();
        said.insert(format!("{kind}: {}", plain(&step.why)));
        said.insert(format!("{kind} in {:?}", step.stage.as_ref().map(|stage| stage.to_string())));
        said.insert(format!("{kind} of {}", step.role));
    }
    for at in 0..plan.records.len() {
        said.insert(format!("record {}", words(&value["records"][at])));
    }
    said.extend(plan.notes.iter().map(|note| format!("note {}", plain(note))));
    said.extend(plan.edits.iter().map(|edit| format!("edit {}", plain(&edit.reason))));
    for track in &plan.tracks {
        let stages = track.stages.iter().map(|stage| format!("{} {:?}", stage.stage, stage.standing));
        said.extend(stages);
    }
    for (_, troubled) in situation.history.troubles.iter() {
        said.insert(format!("after {:?} of {}", troubled.failure.kind, troubled.action));
    }
    for flight in situation.history.in_flight.values() {
        said.insert(format!("during {}", flight.step.action.kind()));
    }
    said.insert(format!("{:?} {:?} {}", plan.direction, plan.standing(false), plan.wake.is_some()));
    said
}

/// What is unusual in what is seen and wanted.
fn seen(situation: &Situation) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for fact in situation.observed.hosts.values() {
        let Ok(state) = &fact.value else { continue };
        let marks = (state.claim.is_some(), state.job.is_some(), state.in_doubt.is_empty());
        seen.insert(format!("host {marks:?} {}", state.patches.is_empty()));
        seen.insert(format!("agent {:?}", state.agent));
        let packages = state.packages.values().map(|package| format!("package {}", package.installed));
        seen.extend(packages);
        seen.insert(format!("interrupted {}", state.dpkg_interrupted));
        for service in state.services.values() {
            let tells = (service.active, service.started_after_unpack, service.stamped.is_some());
            seen.insert(format!("service {tells:?} {}", service.reported.is_some()));
        }
    }
    for fact in situation.observed.nodes.values() {
        let Ok(state) = &fact.value else { continue };
        for row in state.rows.values() {
            let (idle, light) = (row.sessions == 0, row.weight == 0);
            seen.insert(format!("row {} {:?} {:?} {idle} {light}", row.status, row.admin, row.check));
        }
    }
    let exceptions = serde_json::to_value(&situation.desired.exceptions).expect("exceptions are a value");
    seen.insert(format!("exceptions {}", words(&without_nulls(&exceptions))));
    seen.insert(format!(
        "canary {} {}",
        situation.desired.canary.is_some(),
        situation.desired.departed.len()
    ));
    seen
}

/// The letters of a text.
fn plain(text: &str) -> String {
    let word = |word: &&str| word.chars().all(|letter| letter.is_ascii_lowercase() || letter == ',');
    text.split_whitespace().filter(word).collect::<Vec<_>>().join(" ")
}

/// The names of a value's variants and fields, without what they hold but words in lower case.
fn words(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let told = fields.iter().map(|(name, value)| format!("{name}({})", words(value)));
            told.collect::<Vec<_>>().join(" ")
        }
        Value::String(text) => plain(text),
        _ => String::new(),
    }
}
