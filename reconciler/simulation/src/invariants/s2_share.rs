//! S2: the canary's share is not above the desired one from each readback on, no canary weighs more than a main server,
//! and none takes traffic while it is being deployed.
//!
//! Judged after each weighing of ours, and some time after a main server has left a node, by the weights of the rows that
//! really take traffic. A smaller share that was only just asked for needs a moment until it is everywhere.

use model::{Action, BackendName, Desired, EnvironmentName, Generation, HostName, Mode, Step, Track};

use crate::balancer::{Node, Server};
use crate::invariants::Promise;
use crate::state::{Due, State};

/// Shares are compared in percent; weights are whole numbers, which round down.
const ROUNDING: f64 = 1e-6;

impl State {
    /// S2, after the weights of a node were set: from this readback on the share is not above the desired one.
    pub(crate) fn share_kept(&mut self, step: &Step, name: &HostName) {
        let Some(desired) = self.law_of(step) else { return };
        self.weight_is_known(&desired);
        // However late it arrives: whoever stood still meanwhile has decided before.
        let decided_ms = self.decided_at_ms(step);
        let noticed_ms = decided_ms.saturating_sub(self.pace.undone_ms);
        self.judge_shares(name, &step.id.to_string(), decided_ms, noticed_ms);
        self.heavy_canaries(step, name);
        self.deployed_canaries(step, name);
    }

    /// Remembers the weight that a commit wants; a lower one needs a moment until it is everywhere.
    pub(crate) fn weight_is_known(&mut self, desired: &Desired) {
        let weight = desired.canary.as_ref().map_or(0, |canary| canary.weight);
        let seen = self.canary_weights.entry(desired.environment.clone()).or_default();
        if seen.last().is_none_or(|(_, last)| *last != weight) {
            seen.push((self.now_ms, weight));
        }
    }

    /// The share that the canary may have of what a node serves, in percent: that of the newest commit, and for a
    /// moment, which begins at `known_ms`, that of the one before.
    fn allowed_share(&self, node: &Node, known_ms: u64) -> Option<u8> {
        let host = node.rows.values().find(|row| row.track == Track::Canary)?;
        let environment = &self.hosts.get(&host.host)?.environment;
        let seen = self.canary_weights.get(environment)?;
        let newest = seen.last()?;
        let replaced = seen.windows(2).filter(|pair| pair[1].0 >= known_ms).map(|pair| pair[0].1);
        replaced.chain([newest.1]).max()
    }

    /// S2 on one node, now, as it was decided at `decided_ms`. Main rows that left so lately before that nobody can have weighed
    /// anew yet count as there, and canary rows that a reload or a person has made ready since `noticed_ms` do not.
    fn judge_shares(&mut self, name: &HostName, who: &str, decided_ms: u64, noticed_ms: u64) {
        let Some(node) = self.nodes.get(name).filter(|node| node.passes_traffic()) else { return };
        let known_ms = decided_ms.saturating_sub(self.pace.share_blind_ms);
        let Some(allowed) = self.allowed_share(node, known_ms) else { return };
        let counts = |row: &Server| match row.track {
            Track::Canary => row.takes_traffic() && row.undone_ms.is_none_or(|ms| ms < noticed_ms),
            Track::Main => row.takes_traffic() || row.left_ms.is_some_and(|ms| ms >= known_ms),
        };
        let backends: Vec<BackendName> = node.shared_backends().into_iter().collect();
        let over = backends.iter().filter_map(|backend| {
            let share = node.scales(backend, counts).share()?;
            (share > f64::from(allowed) + ROUNDING).then(|| (backend.clone(), share))
        });
        for (backend, share) in over.collect::<Vec<_>>() {
            let what = format!(
                "{who}: the canary has {share:.2}% of {backend} on {name}, and {allowed}% is desired"
            );
            self.violated(Promise::S2, what);
        }
    }

    /// A main row left rotation: some time later the weights have to have followed.
    pub(crate) fn share_will_be_judged(&mut self, name: &HostName) {
        let at_ms = self.now_ms + self.pace.share_blind_ms + 1;
        self.queue.push(at_ms, Due::Share { node: name.clone() });
    }

    /// The moment has come, unless the service could not work, could not reach the node, or had to leave it alone, for all
    /// of that time.
    pub(crate) fn share_is_due(&mut self, name: &HostName) {
        let reached_ms = self.machine(name).and_then(|machine| machine.reached_ms);
        let could_ms = self.works_ms.zip(reached_ms).zip(self.weighs_ms(name));
        let could_ms =
            could_ms.map(|((works_ms, reached_ms), weighs_ms)| works_ms.max(reached_ms).max(weighs_ms));
        let fair_ms = could_ms.unwrap_or(self.now_ms) + self.pace.share_blind_ms;
        if fair_ms < self.now_ms {
            // A weight that asks for no step of ours is not known yet.
            let environment = self.served_by(name);
            let in_force = self.law.as_mut().zip(environment).and_then(|(law, of)| law.in_force(&of));
            if let Some(desired) = in_force {
                self.weight_is_known(&desired);
            }
            let noticed_ms = self.now_ms.saturating_sub(self.pace.share_blind_ms);
            self.judge_shares(name, "the world", self.now_ms, noticed_ms);
        } else {
            self.queue.push(fair_ms + 1, Due::Share { node: name.clone() });
        }
    }

    /// Since when the service may weigh on a node, as far as anybody asked before; none: it may not.
    fn weighs_ms(&mut self, name: &HostName) -> Option<u64> {
        if !self.may_weigh(name) {
            self.leaves_alone.insert(name.clone(), None);
            return None;
        }
        let now_ms = self.now_ms;
        self.leaves_alone.get_mut(name).map_or(Some(0), |until_ms| Some(*until_ms.get_or_insert(now_ms)))
    }

    /// Whose hosts a node serves.
    fn served_by(&self, name: &HostName) -> Option<EnvironmentName> {
        let row = self.nodes.get(name)?.rows.values().next()?;
        self.hosts.get(&row.host).map(|host| host.environment.clone())
    }

    /// Whether the service may act for whoever is served by a node, and on the node.
    fn may_weigh(&mut self, name: &HostName) -> bool {
        let Some(environment) = self.served_by(name) else { return true };
        let now = self.clock.at(self.now_ms);
        let Some(law) = &mut self.law else { return true };
        let leaves_alone = law.in_force(&environment).is_some_and(|desired| {
            desired.fleet.mode == Mode::Report || desired.exceptions.node_out(name, now).is_some()
        });
        let waits = law.waits_for_adoption(&environment);
        let newest = law.newest();
        !leaves_alone && !waits && !self.knows_of_newer(newest)
    }

    /// Whether some machine tells that the newest service's journal was lost: then it waits for a person.
    fn knows_of_newer(&self, newest: Generation) -> bool {
        let fences = self.hosts.values().map(|host| &host.fences);
        let mut fences =
            fences.chain(self.nodes.values().map(|node| &node.fences)).flat_map(|fences| fences.values());
        newest > Generation(0) && fences.any(|seen| seen.is_beyond(newest, self.processes))
    }

    /// S2: no canary row that was weighed weighs more than a main row that takes traffic.
    fn heavy_canaries(&mut self, step: &Step, name: &HostName) {
        let Some(node) = self.nodes.get(name) else { return };
        let weights = |backend: &BackendName, track: Track| -> Vec<u32> {
            let rows = node.rows.iter().filter(|(key, row)| key.0 == *backend && row.track == track);
            rows.filter(|(_, row)| row.takes_traffic()).map(|(_, row)| row.weight).collect()
        };
        let heavy = node.shared_backends().into_iter().find_map(|backend| {
            let canary = weights(&backend, Track::Canary).into_iter().max()?;
            let main = weights(&backend, Track::Main).into_iter().min()?;
            (canary > main)
                .then(|| format!("{backend} on {name}: a canary weighs {canary}, a main server {main}"))
        });
        if let Some(heavy) = heavy {
            self.violated(Promise::S2, format!("{}: {heavy}", step.id));
        }
    }

    /// S2: a canary that is being deployed takes no traffic, whatever it weighs.
    fn deployed_canaries(&mut self, step: &Step, name: &HostName) {
        let Some(node) = self.nodes.get(name) else { return };
        let deployed = |host: &HostName| {
            self.hosts.get(host).is_some_and(|host| host.jobs.values().any(|job| job.deploys()))
        };
        let row = |row: &&Server| row.track == Track::Canary && row.takes_traffic() && deployed(&row.host);
        let Action::Weigh { .. } = &step.action else { return };
        if let Some(host) = node.rows.values().find(row).map(|row| row.host.clone()) {
            self.violated(
                Promise::S2,
                format!("{}: {host} takes traffic while it is being deployed", step.id),
            );
        }
    }
}
