//! The plan linter: judges every plan by what is promised, not by how plans are made.
//!
//! It knows the model alone and shares nothing with the planner, so that one mistake is not made twice. A finding stops
//! everything that a plan would begin: so what cannot be told for sure from a plan, and from what it was made of, is no
//! finding.

mod begins;
mod evidence;
mod facts;
mod jobs;
mod liveness;
mod marks;
mod rotation;
mod shares;
mod targets;

use std::fmt;

use jiff::Timestamp;
use model::{Desired, History, Observed, Plan, Step, StepId};
use serde::{Deserialize, Serialize};

use evidence::Evidence;

/// A promise that can be read off a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Promise {
    /// No action of ours takes a (load balancer, backend, track) below its floor, or further below.
    S1,
    /// The canary's share stays below the desired one, and no canary weighs more than a main server.
    S2,
    /// No install or activation on a host in rotation.
    S3,
    /// No version serves before its migrations; post-deployment migrations wait for every host that counts.
    S4,
    /// A vetoed version is only moved away from.
    S5,
    /// An older generation changes nothing that a newer one has claimed; nothing changes without our mark.
    S6,
    /// What must not run twice starts once.
    S7,
    /// A gate is judged on readings newer than what it judges.
    S8,
    /// Going forward, nothing starts under a hold, freeze, red gate or failed check.
    S9,
    /// Every action belongs to the commit in force.
    S10,
    /// `mode = "report"` changes nothing.
    S11,
    /// What others did is respected, and given back as found.
    S12,
    /// A step starts on facts about its target and its backends that were read after the last action there.
    Facts,
    /// One step at a time on each target.
    Alone,
    /// Only a host that runs its release and is well goes back into rotation.
    Health,
    /// Every wait has an end.
    Liveness,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A promise that a plan would break.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// Which.
    pub promise: Promise,
    /// The step that would; none: the plan as a whole, or what it would write into the journal.
    pub step: Option<StepId>,
    /// How, in words. The same plan on the same facts has the same words later.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { promise, step, what } = self;
        match step {
            Some(step) => write!(f, "{promise}: {what} (step {step})"),
            None => write!(f, "{promise}: {what}"),
        }
    }
}

/// Every promise that a plan would break, by what it was made of. None is as it should be; any one is a bug.
///
/// Pure. Looks at the steps of the plan, and at the whole fleet only where a step takes capacity away.
pub fn lint(
    desired: &Desired,
    observed: &Observed,
    history: &History,
    plan: &Plan,
    now: Timestamp,
) -> Vec<Finding> {
    let mut found = Findings::default();
    liveness::lint(desired, history, plan, now, &mut found);
    if !(plan.steps.is_empty() && plan.records.is_empty()) {
        let evidence = Evidence::gather(desired, observed, history, plan, now);
        targets::lint(&evidence, &mut found);
        facts::lint(&evidence, &mut found);
        marks::lint(&evidence, &mut found);
        rotation::lint(&evidence, &mut found);
        begins::lint(&evidence, &mut found);
        jobs::lint(&evidence, &mut found);
        shares::lint(&evidence, &mut found);
    }
    found.0
}

/// Findings so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    /// A step that would break a promise; said of its host and action.
    fn step(&mut self, promise: Promise, step: &Step, how: impl fmt::Display) {
        let what = format!("{} of {} {how}", step.action.kind(), step.host);
        self.0.push(Finding { promise, step: Some(step.id.clone()), what });
    }

    /// A plan that would break a promise as a whole.
    fn plan(&mut self, promise: Promise, what: impl fmt::Display) {
        self.0.push(Finding { promise, step: None, what: what.to_string() });
    }
}
