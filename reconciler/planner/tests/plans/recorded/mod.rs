//! Situations of simulated lives, each planned again: the plan has to be the one that was recorded.
//!
//! After an intended change of what is planned, `cargo run --release -p simulation --example record-plans -- --again` plans
//! the same situations anew, and the difference is for the reviewer. Without `--again` it chooses situations anew.

#[allow(dead_code, reason = "shared with the program that records")]
mod corpus;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use corpus::{Cases, News, as_recorded};
use jiff::Timestamp;
use model::{Desired, Fact, History, HostName, Observed};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How many differences are told.
const TOLD: usize = 20;

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans/recorded/plans.jsonl")
}

/// The newest case as the planner needs it; of the next one only what differs is read.
#[derive(Default)]
struct Reader {
    desired: Option<Desired>,
    observed: Observed,
    history: Option<History>,
}

fn parsed<T: DeserializeOwned>(value: &Value) -> T {
    T::deserialize(value).expect("the corpus holds what the model writes")
}

impl Reader {
    fn plan(&mut self, differs: &Value, content: &Value) -> Value {
        if differs.get("desired").is_some() {
            self.desired = Some(parsed(&content["desired"]));
        }
        if differs.get("history").is_some() {
            self.history = Some(parsed(&content["history"]));
        }
        let (new, now) = (&content["observed"], &content["now"]);
        follow(&mut self.observed.hosts, &differs["observed"]["hosts"], &new["hosts"]);
        follow(&mut self.observed.nodes, &differs["observed"]["nodes"], &new["nodes"]);
        self.observed.gates = parsed(&new["gates"]);
        self.observed.versions = new.get("versions").map(parsed);
        self.observed.twins = parsed(&new["twins"]);
        let (desired, history) = (self.desired.as_ref().expect("read"), self.history.as_ref().expect("read"));
        let plan = planner::plan(desired, &self.observed, history, parsed::<Timestamp>(now));
        as_recorded(&plan)
    }
}

fn follow<T: DeserializeOwned>(facts: &mut BTreeMap<HostName, Fact<T>>, differs: &Value, now: &Value) {
    for name in differs.as_object().into_iter().flat_map(serde_json::Map::keys) {
        match now.get(name) {
            Some(fact) => drop(facts.insert(HostName::new(name), parsed(fact))),
            None => drop(facts.remove(&HostName::new(name))),
        }
    }
}

/// Every place where two values differ, a line each.
fn differences(place: &str, recorded: &Value, planned: &Value, told: &mut Vec<String>) {
    match (recorded, planned) {
        _ if recorded == planned => {}
        (Value::Object(old), Value::Object(new)) => {
            let added = new.keys().filter(|name| !old.contains_key(*name));
            for name in old.keys().chain(added) {
                differences(&format!("{place}.{name}"), &recorded[name], &planned[name], told);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (at, (old, new)) in old.iter().zip(new).enumerate() {
                differences(&format!("{place}[{at}]"), old, new, told);
            }
        }
        _ => told.push(format!("{place}\n  - {recorded}\n  + {planned}")),
    }
}

#[test]
fn what_was_planned_in_recorded_situations_is_planned_again() {
    let text = std::fs::read_to_string(file()).expect("the corpus lies in the repository");
    let (mut cases, mut reader) = (Cases::of(&text), Reader::default());
    let mut told = Vec::new();
    while let Some(News { seed, number, differs }) = cases.read() {
        let planned = reader.plan(&differs, &cases.content);
        let place = format!("seed {seed}, situation {number}: plan");
        differences(&place, &cases.content["plan"], &planned, &mut told);
        assert!(told.len() < TOLD, "{}\nand so on", told.join("\n"));
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}
