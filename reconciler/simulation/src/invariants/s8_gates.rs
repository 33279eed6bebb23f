//! S8: nothing begins, going forward, while a gate of its stage is not green, or was not green for long enough.
//!
//! Judged as something new begins, by how the gate really stood when that was decided, however late it sets out: no reading of
//! it older than what it judges can hide a red. Nobody can know of a turn in the last moments before, nor of any after it.

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
            let (decided_ms, blind_ms) = (self.decided_at_ms(step), self.pace.gate_blind_ms);
            let (verdict, since_ms, noticed_until_ms) = gauge.at(decided_ms, blind_ms);
            let green = match verdict {
                Verdict::Green => true,
                Verdict::NoData => gate.no_data_is_green,
                Verdict::Red | Verdict::Error => false,
            };
            let quiet_ms = u64::try_from(gate.quiet_for.as_millis()).unwrap_or(0).saturating_sub(blind_ms);
            let unquiet = noticed_until_ms.is_some_and(|until_ms| decided_ms - until_ms < quiet_ms);
            let how = match (green, unquiet) {
                (false, _) if decided_ms - since_ms > blind_ms => verdict.to_string(),
                (true, true) => "not green for long enough".to_owned(),
                _ => continue,
            };
            let what = format!("{}: begins on {} while gate {name} is {how}", step.id, step.host);
            self.violated(Promise::S8, what);
        }
    }
}
