//! A step as it sets out: whether it begins something new, which way it goes, and by which promises it is judged then.

use jiff::Timestamp;
use model::{Action, Activate, Desired, HostName, Role, Step, Version};

use crate::balancer::TakenBy;
use crate::fence::Owner;
use crate::host::{Host, Process};
use crate::named::job_id;
use crate::state::State;

impl State {
    /// Judges a step as it sets out, when it begins something new, going forward.
    pub(crate) fn begins(&mut self, step: &Step, owner: &Owner) {
        self.is_wanted(step);
        let Some(desired) = self.law_of(step) else { return };
        self.may_change_anything(&desired, step);
        self.weight_is_known(&desired);
        if self.is_fenced_off(step, owner) || !self.is_new(&desired, step) || !self.is_forward(&desired, step)
        {
            return;
        }
        let stages = desired.fleet.stages();
        let stage = stages.iter().find(|stage| step.stage.as_ref() == Some(&stage.name));
        let in_flight_since = self.in_flight_since(step);
        self.under_no_hold(&desired, step, stage);
        if desired.emergency(&step.version).is_none() {
            self.in_no_freeze(&desired, step, in_flight_since);
            self.under_no_red_gate(&desired, step, stage);
        }
    }

    /// Whether a newer service was on the host: nothing begins there any more, and nobody can tell what the older one saw begun.
    fn is_fenced_off(&self, step: &Step, owner: &Owner) -> bool {
        let newest = self.hosts.get(&step.host).and_then(|host| host.fences.get(&owner.service));
        newest.is_some_and(|seen| seen.refuses(step, owner).is_some())
    }

    /// Since when the step's stage had begun, and some stage of its version that had not passed when it was decided: what a freeze
    /// may let finish. Nobody can tell of an older service.
    fn in_flight_since(&mut self, step: &Step) -> Timestamp {
        if self.law.as_mut().is_some_and(|law| law.is_older(step)) {
            return Timestamp::MIN;
        }
        let decided = self.clock.at(self.decided_at_ms(step));
        let Some(stage) = step.stage.clone() else { return decided };
        let key = (step.environment.clone(), stage, step.version.clone());
        let told = self.law.as_mut().and_then(|law| law.stage_began(&key));
        let seen = *self.stages.entry(key).or_insert(decided);
        let began = told.map_or(seen, |told| told.min(seen));
        let open = self.law.as_mut().and_then(|law| law.in_flight_since(step));
        open.map_or(decided, |open| open.max(began))
    }

    fn is_new(&self, desired: &Desired, step: &Step) -> bool {
        let Some(host) = self.hosts.get(&step.host) else { return false };
        match &step.action {
            // On a host that only runs jobs, the job is what begins. What we have taken out before needs our mark to be given
            // back.
            Action::Claim { .. } => {
                let serves = desired.fleet.role_of(&step.host).is_some();
                serves && host.claim.is_none() && !self.is_taken_by_us(&step.host)
            }
            Action::Migrate { .. } => !host.jobs.contains_key(&job_id(step)),
            _ => false,
        }
    }

    fn is_taken_by_us(&self, host: &HostName) -> bool {
        let mut rows = self.nodes.values().flat_map(|node| node.rows.values());
        rows.any(|row| row.host == *host && row.taken_by == TakenBy::Us)
    }

    fn is_forward(&self, desired: &Desired, step: &Step) -> bool {
        let Some(host) = self.hosts.get(&step.host) else { return false };
        let wanted = host.role.package_version(&step.version, "bookworm");
        let moves = matches!(step.action, Action::Migrate { .. }) || host.installed() != Some(&wanted);
        moves && !self.goes_back(desired, step)
    }

    /// Whether a step's track goes back: some host of it has a version from after the step's, by git, or where git's history was
    /// rewritten, by what was in force. That a job has just replaced it cannot be known before the job is heard of.
    pub(crate) fn goes_back(&self, desired: &Desired, step: &Step) -> bool {
        let track = desired.fleet.role_of(&step.host).map_or_else(model::Track::default, |role| role.track);
        let Some(wanted) = desired.rank(&step.version) else { return false };
        if desired.direction == Some(model::Direction::Back) && step.version == desired.target {
            return true;
        }
        let later =
            self.law.as_ref().map_or(&[][..], |law| law.targets_after(&step.environment, &step.version));
        let is_later = |role: &Role, version: &Version| match rank_of(desired, role, version) {
            Some(rank) => rank > wanted,
            None => later.iter().any(|later| role.package_version(later, "bookworm") == *version),
        };
        let noticed_ms = self.decided_at_ms(step).saturating_sub(self.pace.blind_ms);
        let mut of_track = desired.fleet.hosts().filter(|(role, _)| role.track == track);
        of_track.any(|(role, name)| {
            let Some(host) = self.hosts.get(name) else { return false };
            let just_had = host.had.iter().filter(|(_, until_ms)| *until_ms >= noticed_ms);
            let has = host.installed().into_iter().chain(running(host));
            has.chain(just_had.map(|(version, _)| version)).any(|version| is_later(role, version))
        })
    }
}

/// The package versions that a host's services run; of one without power: what it would run.
pub(super) fn running(host: &Host) -> impl Iterator<Item = &Version> {
    let moving = host.services.values().filter(|process| process.spec.activate != Activate::None);
    let live = moving.filter_map(Process::live).map(|live| &live.version);
    let dead = host.services.values().all(|process| process.live().is_none());
    live.chain(host.installed().filter(|_| dead))
}

/// The rank of the release that has a package version.
pub(super) fn rank_of(desired: &Desired, role: &Role, package: &Version) -> Option<usize> {
    desired.ranks.iter().position(|version| role.package_version(version, "bookworm") == *package)
}
