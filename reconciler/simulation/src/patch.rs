//! Post-deployment patches: files that are changed on a host, until a package replaces them.

use std::collections::BTreeSet;

use model::{Action, FailureKind, Outcome, Step};

use crate::host::failure;
use crate::job::{Next, Stage};
use crate::state::State;

impl State {
    pub(crate) fn begin_patching(&mut self, step: &Step) -> Next {
        let wanted = wanted(step);
        let span = self.pace.command;
        let Some(host) = self.hosts.get_mut(&step.host) else { return Next::End(Ok(Outcome::AlreadyDone)) };
        if host.patches == wanted {
            return Next::End(Ok(Outcome::AlreadyDone));
        }
        Next::After(host.machine.chance.ms(span), Stage::Patch)
    }

    /// Every patch fits, or nothing is changed. What runs is older than the files from here on.
    pub(crate) fn patched(&mut self, step: &Step) -> Next {
        let Action::Patch { want } = &step.action else { return Next::End(Ok(Outcome::AlreadyDone)) };
        if let Some(misfit) = want.iter().find(|patch| self.misfits.contains(&patch.sha256)) {
            let what = format!("{}: {} does not fit", step.host, misfit.file);
            return Next::End(Err(failure(FailureKind::PatchFailed, what)));
        }
        let now_ms = self.now_ms;
        let Some(host) = self.hosts.get_mut(&step.host) else { return Next::End(Ok(Outcome::AlreadyDone)) };
        host.patches = wanted(step);
        host.unpacked_ms = now_ms;
        host.stamps.clear();
        let applied = want.len();
        self.note(&step.host, || format!("{applied} patches are applied"));
        Next::End(Ok(Outcome::Changed(format!("{applied} patches"))))
    }
}

fn wanted(step: &Step) -> BTreeSet<String> {
    match &step.action {
        Action::Patch { want } => want.iter().map(|patch| patch.sha256.clone()).collect(),
        _ => BTreeSet::new(),
    }
}
