//! What is no machine of ours: alert gates and metrics, and the archive of packages.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{EnvironmentName, GateName, GateState, Verdict};

use crate::state::{Due, State};

/// A gate of an environment.
pub(crate) type GateId = (EnvironmentName, GateName);

/// How a gate stands in truth, whoever looks.
#[derive(Clone, Debug)]
pub(crate) struct Gauge {
    pub(crate) verdict: Verdict,
    pub(crate) value: String,
    /// Since when it had which verdict, the present one last.
    turns: Vec<(u64, Verdict)>,
    /// Between two turns, while it flaps.
    flaps_ms: Option<u64>,
    /// Counts what tests said about it.
    epoch: u64,
}

impl Default for Gauge {
    fn default() -> Self {
        let value = "0".to_owned();
        let verdict = Verdict::Green;
        Self { verdict, value, turns: vec![(0, verdict)], flaps_ms: None, epoch: 0 }
    }
}

impl Gauge {
    /// How it stood at a time: its verdict, since when, and until when before that it was last not green for so long that
    /// everybody had to notice.
    pub(crate) fn at(&self, ms: u64, blind_ms: u64) -> (Verdict, u64, Option<u64>) {
        let until_then = self.turns.partition_point(|(since_ms, _)| *since_ms <= ms);
        let turns = &self.turns[..until_then];
        let (since_ms, verdict) = turns.last().copied().unwrap_or((0, Verdict::Green));
        let was_noticed =
            |turn: &&[(u64, Verdict)]| turn[0].1 != Verdict::Green && turn[1].0 - turn[0].0 > blind_ms;
        let noticed = turns.windows(2).rfind(was_noticed);
        (verdict, since_ms, noticed.map(|turn| turn[1].0))
    }
}

/// Gates by environment and name; one that nobody spoke of is green.
pub(crate) type Gauges = BTreeMap<GateId, Gauge>;

impl State {
    /// A gate turns, and stays so.
    pub(crate) fn gate_becomes(&mut self, id: &GateId, verdict: Verdict, value: &str) {
        let gauge = self.gauges.entry(id.clone()).or_default();
        gauge.flaps_ms = None;
        gauge.epoch += 1;
        self.gate_turns_to(id, verdict, value);
    }

    /// A gate turns red and green again and again, this long each time.
    pub(crate) fn gate_flaps(&mut self, id: &GateId, every_ms: u64) {
        self.gate_becomes(id, Verdict::Red, "1");
        let at_ms = self.now_ms + every_ms;
        let Some(gauge) = self.gauges.get_mut(id) else { return };
        gauge.flaps_ms = Some(every_ms);
        let epoch = gauge.epoch;
        self.queue.push(at_ms, Due::Flap { gate: id.clone(), epoch });
    }

    pub(crate) fn flapped(&mut self, id: &GateId, epoch: u64) {
        let Some(gauge) = self.gauges.get(id).filter(|gauge| gauge.epoch == epoch) else { return };
        let Some(every_ms) = gauge.flaps_ms else { return };
        let (verdict, value) =
            if gauge.verdict == Verdict::Green { (Verdict::Red, "1") } else { (Verdict::Green, "0") };
        self.gate_turns_to(id, verdict, value);
        self.queue.push(self.now_ms + every_ms, Due::Flap { gate: id.clone(), epoch });
    }

    fn gate_turns_to(&mut self, id: &GateId, verdict: Verdict, value: &str) {
        let now_ms = self.now_ms;
        let gauge = self.gauges.entry(id.clone()).or_default();
        value.clone_into(&mut gauge.value);
        if gauge.verdict == verdict {
            return;
        }
        gauge.verdict = verdict;
        gauge.turns.push((now_ms, verdict));
        let place = model::HostName::new(format!("gate {}", id.1));
        self.note(&place, || format!("{}: {verdict}, {value}", id.0));
    }

    /// One reading of a gate, which knows nothing of those before it.
    pub(crate) fn gate_state(&self, id: &GateId, at: Timestamp) -> GateState {
        let gauge = self.gauges.get(id).cloned().unwrap_or_default();
        GateState { verdict: gauge.verdict, value: gauge.value, since: at }
    }
}
