//! What was done in a world, and what was met meanwhile: the histogram that shows what a proof has seen.

use std::collections::BTreeMap;

use model::{ActionKind, Failure, Outcome, Reason};

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ended {
    /// It changed something.
    Changed,
    /// There was nothing to do.
    AlreadyDone,
    /// It failed.
    Failed,
}

/// Counts of actions, and of faults at work while actions began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Actions by their end.
    pub actions: BTreeMap<(ActionKind, Ended), u64>,
    /// How often each fault or deed was met.
    pub met: BTreeMap<String, u64>,
    /// Actions that set out while a fault or deed was at work.
    pub pairs: BTreeMap<(String, ActionKind), u64>,
    /// Reasons to wait, by name, as somebody saw them who asked whenever something went wrong or right again.
    pub waits: BTreeMap<String, u64>,
    at_work: BTreeMap<String, u32>,
}

impl Tally {
    pub(crate) fn meets(&mut self, what: &str, begins: bool) {
        let at_work = self.at_work.entry(what.to_owned()).or_default();
        if begins {
            *at_work += 1;
            *self.met.entry(what.to_owned()).or_default() += 1;
        } else {
            *at_work = at_work.saturating_sub(1);
        }
    }

    pub(crate) fn sets_out(&mut self, kind: ActionKind) {
        for (what, _) in self.at_work.iter().filter(|(_, count)| **count > 0) {
            *self.pairs.entry((what.clone(), kind)).or_default() += 1;
        }
    }

    pub(crate) fn ended(&mut self, kind: ActionKind, result: &Result<Outcome, Failure>) {
        let how = match result {
            Ok(Outcome::Changed(_)) => Ended::Changed,
            Ok(Outcome::AlreadyDone) => Ended::AlreadyDone,
            Err(_) => Ended::Failed,
        };
        *self.actions.entry((kind, how)).or_default() += 1;
    }

    pub(crate) fn waits(&mut self, reason: &Reason) {
        // `GateNotGreen { gate: …`
        let told = format!("{reason:?}");
        let name = told.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        match self.waits.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(self.waits.insert(name.to_owned(), 1)),
        }
    }

    /// Adds what another world has seen.
    pub fn add(&mut self, other: &Self) {
        for (key, count) in &other.actions {
            *self.actions.entry(*key).or_default() += count;
        }
        for (key, count) in &other.met {
            *self.met.entry(key.clone()).or_default() += count;
        }
        for (key, count) in &other.waits {
            *self.waits.entry(key.clone()).or_default() += count;
        }
        for (key, count) in &other.pairs {
            *self.pairs.entry(key.clone()).or_default() += count;
        }
    }
}
