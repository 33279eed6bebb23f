//! S5: a vetoed version is only ever moved away from.
//!
//! Judged as an install or migrations begin, by the commit that wants them. What is on a host already may be finished.

use model::{JobKey, Step};

use crate::invariants::Promise;
use crate::state::State;

impl State {
    /// Before a job of ours changes packages on a host.
    pub(crate) fn brings_nothing_vetoed(&mut self, step: &Step) {
        let Some(desired) = self.law_of(step) else { return };
        let noticed_ms = self.had_to_know_ms(step);
        let crossed = self.hosts.get(&step.host).is_some_and(|host| host.was_changed_since(noticed_ms));
        if desired.exceptions.veto(&step.version).is_some() && !self.has_already(step) && !crossed {
            let what = format!("{}: {} is vetoed, and {} gets it", step.id, step.version, step.host);
            self.violated(Promise::S5, what);
        }
    }

    /// Before migrations begin.
    pub(crate) fn migrates_nothing_vetoed(&mut self, step: &Step, key: &JobKey) {
        let Some(desired) = self.law_of(step) else { return };
        if desired.exceptions.veto(&key.version).is_some() {
            self.violated(Promise::S5, format!("{}: {key} begin, and it is vetoed", step.id));
        }
    }

    fn has_already(&self, step: &Step) -> bool {
        let Some(host) = self.hosts.get(&step.host) else { return false };
        let wanted = host.role.package_version(&step.version, "bookworm");
        host.installed() == Some(&wanted)
            || host.services.values().any(|process| process.live().is_some_and(|live| live.version == wanted))
    }
}
