//! Hosts of no role in one pass: each does one errand at a time, and is let go when there is none.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use model::{HostName, Subject};

use crate::jobs::{self, Errand};
use crate::next::Next;
use crate::pass::{Address, Pass};
use crate::survey::{HostView, Survey};

/// Plans what migrations, checks and pins need, in the order of the lanes.
pub(crate) fn gather(pass: &mut Pass<'_, '_>) {
    let wanted: Vec<Errand> =
        pass.lanes.iter_mut().flat_map(|lane| std::mem::take(&mut lane.errands)).collect();
    let mut of_hosts: BTreeMap<HostName, Errand> = BTreeMap::new();
    for errand in wanted {
        if !errand.is_on_host() {
            let next = jobs::over_network(pass.survey, &errand);
            take(pass, &errand.host.clone(), Some(&errand), next);
            continue;
        }
        match of_hosts.entry(errand.host.clone()) {
            Entry::Vacant(free) => drop(free.insert(errand)),
            Entry::Occupied(mut taken) => {
                // What waits for a person keeps no other track's errands, which may be the way out.
                if let Some(wait) = taken.get().halted(pass.survey) {
                    pass.wait_for(Subject::Host(errand.host.clone()), wait);
                    taken.insert(errand);
                }
            }
        }
    }
    let survey = pass.survey;
    let departing = |host: &&HostView<'_>| {
        let mut departed = survey.departed.iter().filter(|departed| !is_taken_over(survey, departed));
        departed.any(|departed| departed.name == host.name)
    };
    for host in survey.workers.iter().filter(|host| !departing(host)) {
        let errand = of_hosts.get(host.name);
        let next = jobs::next(survey, host, errand);
        take(pass, host.name, errand, next);
    }
}

/// Whether a host that left its role was let go, and runs migrations or checks now. Until then it is in its former role.
pub(crate) fn is_taken_over(survey: &Survey<'_>, departed: &HostView<'_>) -> bool {
    let is_worker = survey.workers.iter().any(|host| host.name == departed.name);
    is_worker && !survey.history.departed.contains_key(departed.name)
}

fn take(pass: &mut Pass<'_, '_>, host: &HostName, errand: Option<&Errand>, next: Next) {
    match next {
        Next::Wait(wait) => pass.wait_for(Subject::Host(host.clone()), wait),
        Next::DoneBut(reason) => pass.wait_for(Subject::Host(host.clone()), crate::next::Wait::new(reason)),
        Next::Step(action, why) => {
            let version = errand.map_or(&pass.survey.desired.target, |errand| &errand.version).clone();
            let role = errand.map_or_else(|| model::RoleName::new("(jobs)"), Errand::role);
            let stage = errand.map(|errand| &errand.stage);
            pass.start_at(&Address { host, role, version: &version, stage }, action, why);
        }
        Next::Done | Next::Admit(_) | Next::Leave(_) => {}
    }
}
