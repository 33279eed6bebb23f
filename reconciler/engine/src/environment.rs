//! One environment as the service holds it: what is desired, what was seen, and the newest plan.

use std::collections::BTreeSet;
use std::mem::{Discriminant, discriminant};

use jiff::{SignedDuration, Timestamp};
use model::{
    Desired, EnvironmentName, Event, Fact, History, HostName, HostState, Observed, Plan, Reason, ReleaseEdit,
    Scope, SmolStr, Standing, Waiting,
};

use crate::linter::{Finding, lint};
use crate::report::EnvironmentReport;
use crate::word::Word;

/// Owned by the service loop alone.
pub(crate) struct Environment {
    pub(crate) desired: Desired,
    pub(crate) observed: Observed,
    /// Readings that began before this were made for other roles.
    facts_from: Timestamp,
    pub(crate) plan: Option<Plan>,
    /// Something was read since that leads to no other decision; people are shown a plan that knows of it.
    read_since: bool,
    /// Promises that the newest plan would break: nothing of it begins.
    pub(crate) findings: Vec<Finding>,
    /// Readings under way.
    pub(crate) looking: BTreeSet<Scope>,
    /// Those of them without which nothing can be decided about what they show.
    asked: BTreeSet<Scope>,
    /// The kind of the primary reason that was last journaled.
    told: Option<Discriminant<Reason>>,
    /// A commit of ours is being written; or, after one that failed, not before this.
    editing: Editing,
}

/// Whether the service may write a commit for the environment now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Editing {
    Idle,
    UnderWay,
    NotBefore(Timestamp),
}

/// A commit that could not be written is tried again after this.
const EDIT_RETRY: SignedDuration = SignedDuration::from_secs(30);

impl Environment {
    pub(crate) fn new(desired: Desired, now: Timestamp) -> Self {
        Self {
            desired,
            observed: Observed::default(),
            facts_from: now,
            plan: None,
            read_since: false,
            findings: Vec::new(),
            looking: BTreeSet::new(),
            asked: BTreeSet::new(),
            told: None,
            editing: Editing::Idle,
        }
    }

    /// The commit that the newest plan wants written, once.
    pub(crate) fn edit_to_write(&mut self, now: Timestamp) -> Option<ReleaseEdit> {
        let waits = matches!(self.editing, Editing::NotBefore(at) if now < at);
        let edit = self.plan.as_ref()?.edits.first().cloned()?;
        if waits || self.editing == Editing::UnderWay {
            return None;
        }
        self.editing = Editing::UnderWay;
        Some(edit)
    }

    /// A commit of ours was written, or could not be.
    pub(crate) fn edited(&mut self, written: bool, now: Timestamp) {
        // Written: it comes into force by the next reading, and until then the old plan must not write it again.
        let wait = if written { SignedDuration::from_secs(5) } else { EDIT_RETRY };
        self.editing = Editing::NotBefore(now + wait);
    }

    /// Takes a new commit. Facts were read for the old roles: other roles need other facts, and a reading that is
    /// still under way must not pass for one.
    pub(crate) fn take(&mut self, desired: Desired, now: Timestamp) {
        if desired.fleet != self.desired.fleet {
            // A gate that is asked the same has been quiet for as long as before.
            let (old, new) = (&self.desired.fleet.policy.gates, &desired.fleet.policy.gates);
            let mut gates = std::mem::take(&mut self.observed.gates);
            gates.retain(|name, _| new.get(name).is_some_and(|gate| old.get(name) == Some(gate)));
            self.observed = Observed { gates, ..Observed::default() };
            self.looking.clear();
            self.asked.clear();
            self.facts_from = now;
        }
        self.desired = desired;
    }

    /// Another name of a host's machine: of the same environment, or of another one.
    pub(crate) fn twin_of(&self, name: &HostName, machine_id: &str) -> Option<(EnvironmentName, HostName)> {
        let is_it = |(host, fact): &(&HostName, &Fact<HostState>)| {
            *host != name && fact.known().is_some_and(|state| state.machine_id == machine_id)
        };
        let (host, _) = self.observed.hosts.iter().find(is_it)?;
        Some((self.desired.environment.clone(), host.clone()))
    }

    /// Hosts of this environment that are known to be one machine with that one.
    pub(crate) fn twins_with(
        &self,
        environment: &EnvironmentName,
        other: &HostName,
    ) -> impl Iterator<Item = &HostName> {
        let twins = self.observed.twins.iter();
        twins.filter(move |(_, twin)| (&twin.0, &twin.1) == (environment, other)).map(|(host, _)| host)
    }

    /// A host's machine-id, as last seen.
    pub(crate) fn machine_id(&self, host: &HostName) -> Option<SmolStr> {
        self.observed.host(host).map(|state| state.machine_id.clone()).filter(|id| !id.is_empty())
    }

    /// Notes whether a host is one machine with another. Tells whether that is something else than was known.
    pub(crate) fn note_twin(&mut self, host: &HostName, twin: Option<(EnvironmentName, HostName)>) -> bool {
        let before = match &twin {
            Some(twin) => self.observed.twins.insert(host.clone(), twin.clone()),
            None => self.observed.twins.remove(host),
        };
        before != twin
    }

    /// Takes in a reading that ended. False: nothing waited for it and it shows what is known, so that there is nothing
    /// new to decide.
    pub(crate) fn looked(&mut self, scope: &Scope, mut observed: Observed) -> bool {
        self.looking.remove(scope);
        let asked = self.asked.remove(scope);
        observed.hosts.retain(|_, fact| fact.at >= self.facts_from);
        observed.nodes.retain(|_, fact| fact.at >= self.facts_from);
        observed.gates.retain(|_, fact| fact.at >= self.facts_from);
        let routine = self.plan.as_mut().and_then(|plan| plan.due_mut(scope)).filter(|due| !due.awaited);
        let is_news = asked || routine.is_none() || !self.observed.knows(&observed);
        if let Some((due, read_at)) = routine.zip(observed.read_at()) {
            *due = due.clone().since(read_at);
        }
        self.observed.merge(observed);
        self.read_since = true;
        is_news
    }

    /// What is to be read now, from here on under way: what the newest plan asks for at once (`observe`), and what is due.
    /// Once something has to be read, what would be due soon is read along, so that it costs no turn of its own.
    pub(crate) fn begins_looking(&mut self, observe: BTreeSet<Scope>, now: Timestamp) -> Vec<Scope> {
        self.asked.extend(observe.iter().cloned());
        let mut scopes: Vec<Scope> =
            observe.into_iter().filter(|scope| !self.looking.contains(scope)).collect();
        let due =
            || self.plan.iter().flat_map(|plan| &plan.due).filter(|due| !self.looking.contains(&due.scope));
        if !scopes.is_empty() || due().any(|due| due.at <= now) {
            scopes.extend(due().filter(|due| due.from <= now).map(|due| due.scope.clone()));
        }
        self.looking.extend(scopes.iter().cloned());
        scopes
    }

    /// What an action may have changed is read again before anybody decides on it: of these hosts and load balancer nodes,
    /// what is known is too old.
    pub(crate) fn asks_for(&mut self, touched: BTreeSet<HostName>, now: Timestamp) -> Vec<Scope> {
        let scope = |name: HostName| match self.observed.nodes.contains_key(&name) {
            true => Some(Scope::Node(name)),
            false => self.observed.hosts.contains_key(&name).then_some(Scope::Host(name)),
        };
        let touched = touched.into_iter().filter_map(scope).collect();
        self.begins_looking(touched, now)
    }

    /// Whether every reading is there that somebody asked for.
    pub(crate) fn knows_what_it_asked_for(&self) -> bool {
        self.asked.is_empty()
    }

    /// When something has to be read next.
    pub(crate) fn next_look(&self) -> Option<Timestamp> {
        let mut next: Option<Timestamp> = None;
        for due in self.plan.iter().flat_map(|plan| &plan.due) {
            // It is asked after every event: what comes later anyway is not looked up.
            if next.is_none_or(|next| due.at < next) && !self.looking.contains(&due.scope) {
                next = Some(due.at);
            }
        }
        next
    }

    /// Plans anew, and judges the plan; a reason that stood in the last plan keeps its beginning.
    pub(crate) fn plan(&mut self, history: &History, now: Timestamp) -> &Plan {
        self.read_since = false;
        let plan = self.planned(history, now);
        self.findings = lint(&self.desired, &self.observed, history, &plan, now);
        self.plan.insert(plan)
    }

    fn planned(&self, history: &History, now: Timestamp) -> Plan {
        let mut plan = planner::plan(&self.desired, &self.observed, history, now);
        if let Some(last) = &self.plan {
            keep_since(last, &mut plan);
        }
        plan
    }

    /// A new generation, where the world remembers one that is not below ours.
    pub(crate) fn newer_generation(&self, ours: model::Generation, service: &str) -> Option<Event> {
        crate::word::newer_generation(&self.observed, ours, service)
    }

    /// A person's word, as an event.
    pub(crate) fn say(
        &self,
        word: Word,
        by: String,
        reason: String,
        now: Timestamp,
    ) -> Result<Event, String> {
        word.event(&self.desired, &self.observed, by, reason, now)
    }

    pub(crate) fn standing(&self, history: &History) -> Standing {
        let busy = !history.in_flight.is_empty();
        if !self.findings.is_empty() && !busy {
            return Standing::Halted;
        }
        self.plan.as_ref().map_or(Standing::Moving, |plan| plan.standing(busy))
    }

    /// What the journal should say beyond steps: a new primary reason, or that actual equals desired.
    pub(crate) fn news(&mut self, history: &History) -> Vec<Event> {
        let environment = &self.desired.environment;
        let mut news = Vec::new();
        let primary = self.plan.as_ref().and_then(|plan| plan.waiting.first());
        // What people should know is over when it is over, not when work in progress comes before it.
        let mut waiting = self.plan.iter().flat_map(|plan| &plan.waiting);
        let newsworthy = waiting.find(|waiting| is_news(&waiting.reason));
        let kind = newsworthy.map(|waiting| discriminant(&waiting.reason));
        match newsworthy {
            Some(waiting) if kind != self.told => {
                let reason = Some(format!("{}: {}", waiting.subject, waiting.reason));
                news.push(Event::WaitingChanged { environment: environment.clone(), reason });
                self.told = kind;
            }
            // Another attempt does not end a trouble; its success does.
            None if self.told.is_some() && history.troubles.is_empty() && !is_health(primary) => {
                news.push(Event::WaitingChanged { environment: environment.clone(), reason: None });
                self.told = None;
            }
            _ => {}
        }
        let commit = &self.desired.commit.id;
        let known = history.converged.as_ref().is_some_and(|(converged, _)| converged == commit);
        if self.standing(history) == Standing::Converged && !known {
            let (environment, version) = (environment.clone(), self.desired.target.clone());
            news.push(Event::Converged { environment, commit: commit.clone(), version });
        }
        news
    }

    /// For people, who want to see how many sessions are left. Nothing is begun on a plan that is made for them.
    pub(crate) fn report(&self, history: &History, now: Timestamp) -> Option<EnvironmentReport> {
        let newest = self.plan.as_ref()?;
        let plan = if self.read_since { self.planned(history, now) } else { newest.clone() };
        let report = EnvironmentReport::new(&self.desired, &self.observed, history, plan, now);
        let (standing, refused_plan) = (self.standing(history), self.findings.clone());
        Some(EnvironmentReport { standing, refused_plan, ..report })
    }
}

fn is_health(primary: Option<&model::Waiting>) -> bool {
    primary.is_some_and(|waiting| {
        matches!(
            waiting.reason,
            Reason::HealthPending { .. }
                | Reason::InFlight { action: model::ActionKind::Activate, .. }
                | Reason::FreshFacts
        )
    })
}

/// Work in progress is told by its steps already.
fn is_news(reason: &Reason) -> bool {
    reason.ended_by() != model::EndedBy::Itself
}

fn keep_since(last: &Plan, plan: &mut Plan) {
    let mut known: Vec<&Waiting> = last.waiting.iter().collect();
    known.sort_by(|one, other| one.subject.cmp(&other.subject));
    for waiting in &mut plan.waiting {
        let from = known.partition_point(|old| old.subject < waiting.subject);
        let of_subject = known[from..].iter().take_while(|old| old.subject == waiting.subject);
        let same = of_subject.filter(|old| discriminant(&old.reason) == discriminant(&waiting.reason));
        waiting.since = same.map(|old| old.since).chain([waiting.since]).min().unwrap_or(waiting.since);
    }
}

#[cfg(test)]
mod tests {
    use model::{Commit, CommitId, Deadlines, Due, Fact, Fleet, Limit, Mode, Unknown, UnknownKind, Version};

    use super::*;
    use crate::linter::Promise;

    fn desired(mode: Mode) -> Desired {
        let at = Timestamp::UNIX_EPOCH;
        let (id, hour) = (CommitId::new("0"), SignedDuration::from_hours(1));
        Desired {
            environment: "production".into(),
            commit: Commit { id, author: String::new(), subject: String::new(), at },
            target: Version::parse("1.0").unwrap(),
            direction: None,
            canary: None,
            exceptions: model::Exceptions::default(),
            departed: Vec::new(),
            ranks: Vec::new(),
            fleet: Fleet {
                mode,
                roles: Vec::new(),
                load_balancers: Vec::new(),
                backend_limit: Limit::Count(1),
                max_parallel: 1,
                deadlines: Deadlines { step: hour, rollout: hour },
                policy: model::Policy::default(),
            },
        }
    }

    fn reading(at: Timestamp) -> Observed {
        let unknown = Unknown { kind: UnknownKind::Unreachable, detail: String::new() };
        let mut observed = Observed::default();
        observed.hosts.insert("web-01".into(), Fact { at, value: Err(unknown) });
        observed
    }

    #[test]
    fn a_refused_plan_stands_still_and_is_reported_until_another_one_breaks_nothing() {
        let now = Timestamp::UNIX_EPOCH;
        let mut environment = Environment::new(desired(Mode::Reconcile), now);
        let history = History::new("production".into());
        environment.plan(&history, now);
        assert_eq!(environment.standing(&history), Standing::Moving);
        let finding = Finding { promise: Promise::S3, step: None, what: "an install in rotation".into() };
        environment.findings = vec![finding.clone()];
        assert_eq!(environment.standing(&history), Standing::Halted);
        assert_eq!(environment.report(&history, now).unwrap().refused_plan, std::slice::from_ref(&finding));
        // People are shown a newer plan, which says nothing about the one that was refused.
        environment.looked(&Scope::Host("web-01".into()), reading(now));
        assert_eq!(environment.report(&history, now).unwrap().refused_plan, [finding]);
        assert_eq!(environment.standing(&history), Standing::Halted);
        environment.plan(&history, now);
        assert_eq!(environment.report(&history, now).unwrap().refused_plan, []);
    }

    fn due(at: Timestamp, awaited: bool) -> Due {
        let every = SignedDuration::from_secs(30);
        Due {
            scope: Scope::Host("web-01".into()),
            at,
            from: at - SignedDuration::from_secs(1),
            cadence: model::Cadence::fixed(every),
            awaited,
        }
    }

    /// An environment that has read a host, and reads it again later.
    fn watching(awaited: bool) -> (Environment, Timestamp) {
        let now = Timestamp::UNIX_EPOCH;
        let mut environment = Environment::new(desired(Mode::Reconcile), now);
        environment.plan(&History::new("production".into()), now);
        environment.looked(&Scope::Host("web-01".into()), reading(now));
        let at = now + SignedDuration::from_secs(30);
        environment.plan.as_mut().unwrap().due = vec![due(at, awaited)];
        (environment, at)
    }

    #[test]
    fn a_routine_reading_that_shows_what_is_known_is_no_news_and_comes_again() {
        let (mut environment, at) = watching(false);
        assert_eq!(environment.begins_looking(BTreeSet::new(), at - SignedDuration::from_secs(2)), []);
        let scope = Scope::Host("web-01".into());
        assert_eq!(environment.begins_looking(BTreeSet::new(), at).first(), Some(&scope));
        assert_eq!(environment.next_look(), None, "it is under way");
        assert!(!environment.looked(&scope, reading(at)));
        assert_eq!(environment.next_look(), Some(at + SignedDuration::from_secs(30)));
    }

    #[test]
    fn a_reading_that_shows_something_else_or_that_somebody_waits_for_is_news() {
        let scope = Scope::Host("web-01".into());
        let (mut environment, at) = watching(false);
        let mut other = reading(at);
        let gone = Unknown { kind: UnknownKind::KeyRefused, detail: String::new() };
        other.hosts.insert("web-01".into(), Fact { at, value: Err(gone) });
        assert!(environment.looked(&scope, other));
        let (mut environment, at) = watching(true);
        assert!(environment.looked(&scope, reading(at)));
    }

    #[test]
    fn what_is_due_within_a_moment_is_read_along_with_what_is_due_now() {
        let (mut environment, at) = watching(false);
        let asked = BTreeSet::from([Scope::Host("web-02".into())]);
        let read = environment.begins_looking(asked, at - SignedDuration::from_millis(500));
        assert_eq!(read, [Scope::Host("web-02".into()), Scope::Host("web-01".into())]);
    }

    #[test]
    fn a_reading_that_began_under_other_roles_is_dropped() {
        let (before, change) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1));
        let mut environment = Environment::new(desired(Mode::Reconcile), before);
        let scope = Scope::Host("web-01".into());
        environment.looked(&scope, reading(before));
        assert_eq!(environment.observed.hosts.len(), 1);
        environment.take(desired(Mode::Report), change);
        environment.looked(&scope, reading(before));
        assert_eq!(environment.observed.hosts.len(), 0);
        environment.looked(&scope, reading(change));
        assert_eq!(environment.observed.hosts.len(), 1);
    }
}
