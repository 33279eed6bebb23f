//! What each action does to the world, once its command has arrived.

use std::collections::BTreeSet;

use model::{Action, Admin, Claim, Failure, FailureKind, HostName, Outcome, RowId, Step};

use crate::balancer::{RowKey, TakenBy};
use crate::fence::{Owner, saw};
use crate::host::failure;
use crate::state::State;

impl State {
    /// The guard on the host. Also S6: what it lets pass has to be of the newest generation.
    pub(crate) fn guard(&mut self, step: &Step, owner: &Owner) -> Result<(), Failure> {
        let Some(host) = self.hosts.get(&step.host) else {
            return Err(failure(FailureKind::Unreachable, format!("{}: no such host", step.host)));
        };
        let newest = host.fences.get(&owner.service).map(|seen| seen.generation).unwrap_or_default();
        if let Some(refusal) = host.refuses(&step.host, step, owner).filter(|_| owner.fenced) {
            let service = &owner.service;
            self.note(&step.host, || format!("refused {} of {service}: {refusal}", step.action.kind()));
            return Err(refusal);
        }
        self.is_not_superseded(step, &step.host, newest);
        self.changes += 1;
        Ok(())
    }

    /// The guard on a load balancer node: nothing of an older generation than the highest that was ever there.
    pub(crate) fn guard_node(&mut self, step: &Step, node: &HostName, owner: &Owner) -> Result<(), Failure> {
        let Some(state) = self.nodes.get_mut(node) else {
            return Err(failure(FailureKind::Unreachable, format!("{node}: no such host")));
        };
        let newest = state.fences.get(&owner.service).map(|seen| seen.generation).unwrap_or_default();
        if let Some(what) = state.fences.get(&owner.service).and_then(|seen| seen.refuses(step, owner)) {
            if owner.fenced {
                return Err(failure(FailureKind::Superseded, format!("{node} {what}")));
            }
        }
        saw(&mut state.fences, step, owner);
        self.is_not_superseded(step, node, newest);
        self.changes += 1;
        Ok(())
    }

    /// A download's files are complete.
    pub(crate) fn downloaded(&mut self, step: &Step) -> Result<Outcome, Failure> {
        let Action::Download { packages } = &step.action else { return Ok(Outcome::AlreadyDone) };
        if let Some(locked) = self.apt_lock(&step.host) {
            return Err(locked);
        }
        self.obtainable(&step.host, packages)?;
        let Some(host) = self.hosts.get_mut(&step.host) else { return Ok(Outcome::AlreadyDone) };
        if host.has_staged(packages) {
            return Ok(Outcome::AlreadyDone);
        }
        for (package, version) in packages {
            host.staged.entry(package.clone()).or_default().insert(version.clone());
        }
        self.note(&step.host, || "downloaded packages".to_owned());
        Ok(Outcome::Changed("downloaded".to_owned()))
    }

    /// Our mark, or a newer one in its place.
    pub(crate) fn claimed(&mut self, step: &Step, owner: &Owner) -> Result<Outcome, Failure> {
        let Action::Claim { found } = &step.action else { return Ok(Outcome::AlreadyDone) };
        let service = &owner.service;
        // An older mark of ours knows what it found; whoever did not see it took what it drained for somebody else's.
        let older = self.hosts.get(&step.host).and_then(|host| host.claim.as_ref());
        let older = older.filter(|older| older.generation < step.generation && older.service == **service);
        let found = &older.map_or_else(|| found.clone(), |older| older.found.clone());
        let claim = Claim {
            generation: step.generation,
            service: service.to_string(),
            environment: step.environment.clone(),
            commit: step.commit.clone(),
            found: found.clone(),
            at: self.clock.at(self.now_ms),
            expires: None,
        };
        let nodes: BTreeSet<HostName> = self.rows_of(&step.host).into_iter().map(|(node, _)| node).collect();
        for node in nodes {
            // The live world goes there first, and fails when it cannot.
            let Some(state) = self.nodes.get_mut(&node) else { continue };
            let refusal = state.fences.get(service).and_then(|seen| seen.refuses(step, owner));
            if let Some(what) = refusal.filter(|_| owner.fenced) {
                return Err(failure(FailureKind::Superseded, format!("{node} {what}")));
            }
            saw(&mut state.fences, step, owner);
        }
        let Some(host) = self.hosts.get_mut(&step.host) else { return Ok(Outcome::AlreadyDone) };
        let same = host.claim.as_ref().is_some_and(|old| Claim { at: claim.at, ..old.clone() } == claim);
        if same {
            return Ok(Outcome::AlreadyDone);
        }
        host.claim = Some(claim);
        saw(&mut host.fences, step, owner);
        self.forget_unseen_drains(step, found);
        self.note(&step.host, || format!("claimed by {service}, generation {}", step.generation));
        Ok(Outcome::Changed("claimed".to_owned()))
    }

    fn forget_unseen_drains(&mut self, step: &Step, found: &BTreeSet<RowId>) {
        for (node, key) in self.rows_of(&step.host) {
            let row_id = RowId { node: node.clone(), backend: key.0.clone(), server: key.1.clone() };
            if !found.contains(&row_id) {
                self.forget_unseen_drain(step, &node, &key);
            }
        }
    }

    /// A person who drained after the last look was not seen: from here on nobody can tell whose the one drain bit is.
    fn forget_unseen_drain(&mut self, step: &Step, node: &HostName, key: &RowKey) {
        let noticed_ms = self.had_to_know_ms(step);
        let row = self.nodes.get_mut(node).and_then(|node| node.rows.get_mut(key));
        if let Some(row) = row.filter(|row| matches!(row.taken_by, TakenBy::Person(at) if at >= noticed_ms)) {
            row.taken_by = TakenBy::Unclear;
        }
    }

    /// Our mark goes.
    pub(crate) fn released(&mut self, step: &Step) -> Outcome {
        let Some(host) = self.hosts.get_mut(&step.host) else { return Outcome::AlreadyDone };
        if host.claim.take().is_none() {
            return Outcome::AlreadyDone;
        }
        self.note(&step.host, || "released".to_owned());
        Outcome::Changed("released".to_owned())
    }

    /// The rows of one node change. Tells whether anything did.
    pub(crate) fn rows_change(&mut self, step: &Step, node: &HostName) -> Result<bool, Failure> {
        if matches!(step.action, Action::Weigh { .. }) {
            return self.weights_change(step, node);
        }
        let all = step.action.rows().into_iter().flatten();
        let rows: BTreeSet<RowId> = all.filter(|row| row.node == *node).cloned().collect();
        let before = self.rotation(step, node, &rows);
        let mut any = false;
        for row in &rows {
            any |= self.row_changes(step, row)?;
        }
        self.floor_kept(step, before);
        Ok(any)
    }

    fn row_changes(&mut self, step: &Step, id: &RowId) -> Result<bool, Failure> {
        let key = (id.backend.clone(), id.server.clone());
        let known = self.nodes.get(&id.node).is_some_and(|node| node.rows.contains_key(&key));
        if !known {
            return Err(failure(FailureKind::LoadBalancerRefused, format!("{id}: No such server.")));
        }
        match &step.action {
            Action::Retire { .. } => Ok(self.retired(step, id, &key)),
            Action::Drain { .. } => Ok(self.taken_out(step, id, &key, Admin::Drain)),
            Action::Maint { .. } => Ok(self.taken_out(step, id, &key, Admin::Maint)),
            Action::Ready { .. } => Ok(self.made_ready(step, id, &key)),
            Action::Cut { .. } => Ok(self.cut(id, &key)),
            _ => Ok(false),
        }
    }

    fn taken_out(&mut self, step: &Step, id: &RowId, key: &RowKey, admin: Admin) -> bool {
        let Some(row) = self.nodes.get(&id.node).and_then(|node| node.rows.get(key)) else { return false };
        if row.admin == admin {
            return false;
        }
        let taken_by = row.taken_by;
        self.leaves_to_people(step, id, taken_by, "changed");
        self.set_admin(&id.node, key, admin, TakenBy::Us);
        true
    }

    /// A row of a host that is declared out. Whoever has it in maintenance may keep it there.
    fn retired(&mut self, step: &Step, id: &RowId, key: &RowKey) -> bool {
        let row = self.nodes.get(&id.node).and_then(|node| node.rows.get(key));
        if row.is_some_and(|row| row.admin == Admin::Drain) {
            self.forget_unseen_drain(step, &id.node, key);
        }
        let row = self.nodes.get(&id.node).and_then(|node| node.rows.get(key));
        let takes_part = row.is_some_and(|row| row.admin == Admin::Ready);
        takes_part && self.taken_out(step, id, key, Admin::Drain)
    }

    /// The configuration management is told a version.
    pub(crate) fn told(&mut self, step: &Step) -> Outcome {
        let Action::Pin { track, .. } = &step.action else { return Outcome::AlreadyDone };
        let key = (step.environment.clone(), *track);
        if self.pinned.insert(key, step.version.clone()).as_ref() == Some(&step.version) {
            return Outcome::AlreadyDone;
        }
        self.note(&step.host, || {
            format!("the configuration management is told {} for {track}", step.version)
        });
        Outcome::Changed(format!("told {}", step.version))
    }

    fn made_ready(&mut self, step: &Step, id: &RowId, key: &RowKey) -> bool {
        let Some(row) = self.nodes.get(&id.node).and_then(|node| node.rows.get(key)) else { return false };
        if row.admin == Admin::Ready {
            return false;
        }
        let taken_by = row.taken_by;
        self.leaves_to_people(step, id, taken_by, "made ready");
        self.set_admin(&id.node, key, Admin::Ready, TakenBy::Nobody);
        true
    }

    fn cut(&mut self, id: &RowId, key: &RowKey) -> bool {
        let now_ms = self.now_ms;
        let Some(node) = self.nodes.get_mut(&id.node) else { return false };
        let old = node.old_ends_ms.remove(key).unwrap_or_default();
        let in_old = old.into_iter().filter(|end| *end > now_ms).count();
        let cut = node.rows.get_mut(key).map_or(0, |row| row.cut(now_ms));
        self.note(&id.node, || format!("{}/{}: {cut} sessions cut", key.0, key.1));
        cut > 0 || in_old > 0
    }

    /// A row's administrative state changes, by whomever.
    pub(crate) fn set_admin(&mut self, node: &HostName, key: &RowKey, admin: Admin, by: TakenBy) {
        let now_ms = self.now_ms;
        let Some(row) = self.nodes.get_mut(node).and_then(|node| node.rows.get_mut(key)) else { return };
        let (served, left_maint) = (row.takes_traffic(), row.admin == Admin::Maint && admin != Admin::Maint);
        row.set_admin(admin, by);
        if served && matches!(by, TakenBy::Person(_) | TakenBy::Unclear) {
            row.lost_ms = Some(now_ms);
        }
        let status = row.status(now_ms);
        self.settle(node, key);
        if left_maint {
            self.check_later(node, key, 1);
        }
        self.note(node, || format!("{}/{} is {status}", key.0, key.1));
    }
}
