//! S3: no installation or activation on a host in rotation, but in an emergency.
//!
//! Judged as a job begins that changes what a host serves: none of its rows takes traffic, on any node that passes
//! traffic and is not declared out. A drain that somebody else or a reload undid in the last moments cannot be known.

use model::{HostName, Step};

use crate::balancer::Server;
use crate::invariants::Promise;
use crate::state::State;

impl State {
    /// S3: work on a host that serves somewhere has to find it out of rotation, on every node that passes traffic. A
    /// drain that was undone just now, and not by us, cannot be known.
    pub(crate) fn out_of_rotation(&mut self, step: &Step) {
        let desired = self.law_of(step);
        if desired.as_ref().is_some_and(|desired| desired.emergency(&step.version).is_some()) {
            return;
        }
        // A node may come back into force while the step is on its way.
        let (now, decided) = (self.clock.at(self.now_ms), self.clock.at(self.had_to_know_ms(step)));
        let is_out = |node: &HostName| {
            let out =
                |at| desired.as_ref().is_some_and(|desired| desired.exceptions.node_out(node, at).is_some());
            out(now) || out(decided)
        };
        // However late it arrives: whoever stood still meanwhile has decided before.
        let noticed_ms = self.decided_at_ms(step).saturating_sub(self.pace.undone_ms);
        let known = |row: &Server| row.undone_ms.is_none_or(|undone_ms| undone_ms < noticed_ms);
        let serves = |row: &Server| row.host == step.host && row.takes_traffic() && known(row);
        let mut passing = self.nodes.iter().filter(|(name, node)| node.passes_traffic() && !is_out(name));
        let serving = passing.find_map(|(name, node)| {
            let mut rows = node.rows.iter().filter(|(_, row)| serves(row));
            rows.next().map(|(key, _)| format!("{}/{} on {name}", key.0, key.1))
        });
        if let Some(row) = serving {
            let action = step.action.kind();
            self.violated(
                Promise::S3,
                format!("{}: {action} on {} while {row} is in rotation", step.id, step.host),
            );
        }
    }
}
