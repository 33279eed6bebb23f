//! S8: nothing begins, going forward, while a gate of its stage is not green, or was not green for long enough.
//!
//! Judged as something new begins, by how the gate really stands: no reading of it older than what it judges can hide a
//! red. Nobody can know of a turn in the last moments.

use model::{Desired, Stage, Step, Verdict};

use crate::invariants::Promise;
use crate::state::State;

impl State {
    pub(super) fn under_no_red_gate(&mut self, desired: &Desired, step: &Step, stage: Option<&Stage>) {
        for name in stage.into_iter().flat_map(|stage| &stage.gates) {
            let Some(gate) = desired.fleet.policy.gates.get(name).filter(|gate| !gate.observe) else {
                continue;
            };
            let Some(gauge) = self.gauges.get(&(step.environment.clone(), name.clone())) else { continue };
            let (now_ms, blind_ms) = (self.now_ms, self.pace.gate_blind_ms);
            let green = match gauge.verdict {
                Verdict::Green => true,
                Verdict::NoData => gate.no_data_is_green,
                Verdict::Red | Verdict::Error => false,
            };
            let quiet_ms = u64::try_from(gate.quiet_for.as_millis()).unwrap_or(0).saturating_sub(blind_ms);
            let unquiet = gauge.noticed_until_ms.is_some_and(|until_ms| now_ms - until_ms < quiet_ms);
            let how = match (green, unquiet) {
                (false, _) if now_ms - gauge.since_ms > blind_ms => gauge.verdict.to_string(),
                (true, true) => "not green for long enough".to_owned(),
                _ => continue,
            };
            let what = format!("{}: begins on {} while gate {name} is {how}", step.id, step.host);
            self.violated(Promise::S8, what);
        }
    }
}
