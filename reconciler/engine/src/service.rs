//! The service loop: level-triggered. A wake-up carries no data; every pass decides anew from what is known, so that
//! restart, missed event and normal run are one path. There is no retry here: the next pass is the retry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use model::{Desired, EnvironmentName, Event, HostName, Mode, Reading, Step, StepId};
use tokio::sync::{mpsc, watch};
use tokio::time::{Duration, Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::departures::departed;
use crate::environment::Environment;
use crate::executor::{Committed, Done, Executor};
use crate::handle::{Handle, Standings};
use crate::linter::{Finding, Promise};
use crate::memory::Memory;
use crate::readings::{refusal, watch_source};
use crate::refusals::{REFUSED_RETRY, Refusals};
use crate::report::{REPORT_FORMAT, Report};
use crate::request::Request;
use crate::seams::{Journal, JournalError, Source, World};
use crate::turn::{Turn, in_time};
use crate::word::Word;

/// A journal that refuses is tried again this often.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);

/// However quiet everything is, a plan is made anew this often.
const PLAN_ANEW: Duration = Duration::from_secs(10);

/// Results that come in within this time per host of the largest fleet are taken together: at 10,000 hosts a pass
/// costs tens of milliseconds, and the first look at them would otherwise cost a pass each.
const GATHER_PER_HOST: Duration = Duration::from_micros(20);

/// How long a stopping service waits for steps to end by themselves. Jobs on hosts go on after it.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What every environment should be; the live world reads roles and load balancers from here.
pub type DesiredByName = BTreeMap<EnvironmentName, Desired>;

/// The service. One owner for everything it knows; others hold a [`Handle`].
pub struct Service<W, J, S> {
    clock: Clock<W>,
    source: Arc<S>,
    name: String,
    pub(crate) memory: Memory<J>,
    executor: Executor<W>,
    pub(crate) environments: BTreeMap<EnvironmentName, Environment>,
    reading: Option<(Timestamp, Reading)>,
    /// The newest reading, when the journal refused it.
    unrecorded: Option<(Timestamp, Reading)>,
    desired: watch::Sender<Arc<DesiredByName>>,
    standings: watch::Sender<Standings>,
    refusals: watch::Sender<Refusals>,
    requests: mpsc::Receiver<Request>,
    stop: CancellationToken,
    /// When to plan.
    turn: Turn,
}

impl<W: World, J: Journal, S: Source> Service<W, J, S> {
    /// Reads the journal back and takes it for a new generation. `name` is the service's own lasting name, as it
    /// stands in claims. `desired` is where the world learns which hosts and load balancers there are. `stop` ends
    /// [`Self::run`].
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read or written.
    pub fn start(
        world: Arc<W>,
        journal: Arc<J>,
        source: Arc<S>,
        name: &str,
        desired: watch::Sender<Arc<DesiredByName>>,
        stop: CancellationToken,
    ) -> Result<(Self, Handle), JournalError> {
        let (memory, clock) = Memory::open(journal, name, world.clone())?;
        let (requests_in, requests) = mpsc::channel(16);
        let (standings, standings_out) = watch::channel(Standings::new());
        let (refusals, refusals_out) = watch::channel(Refusals::default());
        let handle = Handle {
            requests: requests_in,
            standings: standings_out,
            refusals: refusals_out,
            events: memory.events(),
        };
        let executor = Executor::new(world, stop.clone());
        let service = Self {
            clock,
            source,
            name: name.to_owned(),
            memory,
            executor,
            environments: BTreeMap::new(),
            reading: None,
            unrecorded: None,
            desired,
            standings,
            refusals,
            requests,
            stop,
            turn: Turn::now(),
        };
        Ok((service, handle))
    }

    /// Runs until it is stopped. Ends within [`STOP_PATIENCE`] then, with nothing lost: what is still under way on
    /// hosts is found again by the next service.
    pub async fn run(mut self) {
        let mut readings = watch_source(self.source.clone(), self.clock.clone(), self.stop.clone());
        let (stop, sleep) = (self.stop.clone(), sleep_until(self.turn.at()));
        let stopped = stop.cancelled();
        tokio::pin!(stopped, sleep);
        loop {
            let mut here = Instant::now();
            if self.turn.at() <= here {
                self.pass();
                here = Instant::now();
            }
            let wake = self.look_at_what_is_due(here).min(self.turn.at());
            if sleep.deadline() != wake {
                sleep.as_mut().reset(wake);
            }
            // In this order, so that two things at one moment always go the same way: people first, then git, then ends,
            // all of which are gathered below. Every arm is safe to drop: what is not taken stays in its queue.
            tokio::select! {
                biased;
                () = &mut stopped => break,
                Some(request) = self.requests.recv() => self.answer(request).await,
                Some((at, reading)) = readings.recv() => self.read(at, reading),
                done = self.executor.next() => self.take(done),
                () = &mut sleep => {}
            }
            self.gather().await;
        }
        self.finish().await;
    }

    /// Takes what else has ended already, so that one pass serves it all.
    async fn gather(&mut self) {
        let hosts = self.environments.values().map(|environment| environment.desired.fleet.hosts().count());
        let patience = GATHER_PER_HOST * u32::try_from(hosts.sum::<usize>()).unwrap_or(u32::MAX);
        if patience >= Duration::from_millis(10) {
            tokio::time::sleep(patience.min(Duration::from_millis(250))).await;
        }
        while let Some(done) = self.executor.try_next() {
            self.take(done);
        }
    }

    /// Reads what is due, which needs no plan. Returns when something is due again.
    fn look_at_what_is_due(&mut self, here: Instant) -> Instant {
        let now = self.clock.at(here);
        let mut next: Option<Timestamp> = None;
        for (name, environment) in &mut self.environments {
            let mut at = environment.next_look();
            if at.is_some_and(|at| at <= now) {
                for scope in environment.begins_looking(BTreeSet::new(), now) {
                    self.executor.look(name.clone(), scope, now);
                }
                at = environment.next_look();
            }
            next = next.into_iter().chain(at).min();
        }
        in_time(here, now, next)
    }

    /// One pass over every environment: plan, record, begin. Says when to come again.
    fn pass(&mut self) {
        let now = self.clock.now();
        let may_start = self.memory.flush();
        if let Some((at, reading)) = self.unrecorded.take_if(|_| may_start) {
            self.read(at, reading);
        }
        let names: Vec<EnvironmentName> = self.environments.keys().cloned().collect();
        let wakes = names.iter().filter_map(|name| self.pass_one(name, now, may_start)).min();
        self.publish();
        if !may_start || self.memory.error().is_some() {
            return self.turn.set(Instant::now() + JOURNAL_RETRY);
        }
        let here = Instant::now();
        self.turn.set(in_time(here, now, wakes).min(here + PLAN_ANEW));
    }

    fn pass_one(&mut self, name: &EnvironmentName, now: Timestamp, may_start: bool) -> Option<Timestamp> {
        let settled = self.plan_one(name, now, may_start);
        let environment = self.environments.get_mut(name)?;
        let history = self.memory.history(name);
        let acts = may_start && settled && environment.desired.fleet.mode != Mode::Report;
        let plan = environment.plan.as_ref()?;
        let again = (!environment.findings.is_empty()).then(|| now + REFUSED_RETRY);
        let (wake, observe) = ([plan.wake, again].into_iter().flatten().min(), plan.observe.clone());
        let steps = if acts { plan.steps.clone() } else { Vec::new() };
        let edit = if acts { environment.edit_to_write(now) } else { None };
        let news = environment.news(history);
        for scope in environment.begins_looking(observe, now) {
            self.executor.look(name.clone(), scope, now);
        }
        if let Some(edit) = edit {
            self.executor.commit(self.source.clone(), edit);
        }
        self.memory.record(now, &news);
        self.begin(now, steps);
        wake
    }

    /// Plans. What a plan finds out is written before anything is begun on it, and may lead to more: a stage is done, so it
    /// passed, so its track passed. False: the journal refuses, or the plan would break a promise; nothing may begin.
    fn plan_one(&mut self, name: &EnvironmentName, now: Timestamp, may_write: bool) -> bool {
        let mut told: Vec<Event> = Vec::new();
        loop {
            let Some(environment) = self.environments.get_mut(name) else { return false };
            let before = std::mem::take(&mut environment.findings);
            let records = environment.plan(self.memory.history(name), now).records.clone();
            if let Some(again) = records.iter().find(|record| told.contains(record)) {
                let what = format!("finds out the same twice, and would for ever: {again:?}");
                environment.findings.push(Finding { promise: Promise::Liveness, step: None, what });
            }
            if !environment.findings.is_empty() {
                if environment.findings != before {
                    self.refusals.send_modify(|refusals| refusals.tell(name, now, &environment.findings));
                }
                return false;
            }
            if records.is_empty() {
                return true;
            }
            if !may_write || !self.memory.record(now, &records) {
                return false;
            }
            told.extend(records);
        }
    }

    /// The intent is durable before the effect begins.
    fn begin(&mut self, now: Timestamp, steps: Vec<Step>) {
        let started: Vec<Event> =
            steps.iter().map(|step| Event::StepStarted { step: step.clone() }).collect();
        if !self.memory.record(now, &started) {
            return;
        }
        for step in steps {
            tracing::info!(step = %step.id, host = %step.host, action = %step.action.kind(), why = step.why, "begin");
            self.executor.act(step);
        }
    }

    fn take(&mut self, done: Done) {
        match done {
            Done::Acted { environment, step, result } => {
                match &result {
                    Ok(outcome) => tracing::info!(%step, ?outcome, "done"),
                    Err(failure) => {
                        tracing::warn!(%step, kind = %failure.kind, detail = failure.detail, "{failure}");
                    }
                }
                self.acted(environment, step, result);
            }
            Done::Looked { environment, scope, observed } => {
                let holder = self.environments.get_mut(&environment);
                let shows_new = holder.is_some_and(|holder| holder.looked(&scope, observed));
                let is_other = self.compare_machines(&environment, &scope);
                if shows_new || is_other {
                    self.decides_soon();
                }
            }
            Done::Committed(committed) => self.committed(*committed),
        }
    }

    /// A step has ended. Nothing is decided on what it touched before that was read again.
    fn acted(
        &mut self,
        environment: EnvironmentName,
        step: StepId,
        result: Result<model::Outcome, model::Failure>,
    ) {
        let now = self.clock.now();
        let under_way = self.memory.history(&environment).in_flight.get(&step);
        let Some(touched) = under_way.map(|under_way| under_way.step.touched()) else {
            // A journal that tells such an end could never be read back.
            return tracing::error!(%step, "it ended without being under way; this is a bug, please report it");
        };
        self.memory.keep(now, Event::StepFinished { environment: environment.clone(), step, result });
        if let Some(holder) = self.environments.get_mut(&environment) {
            for scope in holder.asks_for(touched, now) {
                self.executor.look(environment.clone(), scope, now);
            }
        }
        self.decides_soon();
    }

    fn decides_soon(&mut self) {
        self.turn.comes_soon(self.environments.values().all(Environment::knows_what_it_asked_for));
    }

    /// A host under two names, here or in another environment, is begun under neither. Tells whether that is new, or no more
    /// so; also for the host that was found to be one with this one before.
    fn compare_machines(&mut self, environment: &EnvironmentName, scope: &model::Scope) -> bool {
        let model::Scope::Host(host) = scope else { return false };
        let mut hosts = vec![(environment.clone(), host.clone())];
        for (name, holder) in &self.environments {
            hosts.extend(holder.twins_with(environment, host).map(|twin| (name.clone(), twin.clone())));
        }
        let news = hosts.into_iter().map(|(environment, host)| self.compare_machine(&environment, &host));
        news.fold(false, |any, is_new| any | is_new)
    }

    fn compare_machine(&mut self, environment: &EnvironmentName, host: &HostName) -> bool {
        let id = self.environments.get(environment).and_then(|environment| environment.machine_id(host));
        let twin = id.and_then(|id| self.environments.values().find_map(|other| other.twin_of(host, &id)));
        let environment = self.environments.get_mut(environment);
        environment.is_some_and(|environment| environment.note_twin(host, twin))
    }

    fn committed(&mut self, Committed { edit, result, reading }: Committed) {
        let now = self.clock.now();
        self.turn.comes_now();
        if let Some(environment) = self.environments.get_mut(&edit.environment) {
            environment.edited(result.is_ok(), now);
        }
        match result {
            Ok(commit) => {
                let subject = format!("{} {}: {}", edit.environment, edit.track, edit.to);
                let environment = edit.environment.clone();
                self.memory.keep(now, Event::Committed { environment, commit, subject });
            }
            Err(error) => {
                tracing::warn!(environment = %edit.environment, to = %edit.to, error, "not committed")
            }
        }
        if let Some(reading) = reading {
            self.read(now, reading);
        }
    }

    /// A look at git: a new valid commit is in force from here on. What is not durable is not in force: while the
    /// journal refuses, the reading is kept, and the old commit stays.
    fn read(&mut self, at: Timestamp, reading: Reading) {
        self.turn.comes_now();
        let mut events: Vec<Event> =
            refusal(&reading).filter(|_| self.errors() != reading.errors).into_iter().collect();
        let wanted = reading.revision.as_ref().map(|revision| self.with_what_is_claimed(revision));
        // Who leaves is remembered no later than what they leave with: a service that is killed in between knows them.
        events.extend(wanted.iter().flat_map(|wanted| self.departures(wanted)));
        for desired in reading.revision.iter().flat_map(|revision| revision.environments.values()) {
            let accepted = self.memory.history(&desired.environment).accepted.as_ref();
            if accepted.is_none_or(|accepted| accepted.commit != desired.commit.id) {
                events.push(Event::accepted(desired));
            }
        }
        if !self.memory.record(at, &events) {
            self.unrecorded = Some((at, reading));
            return;
        }
        self.unrecorded = None;
        if let Some(wanted) = wanted {
            self.bring_into_force(wanted);
        }
        self.reading = Some((at, reading));
    }

    fn bring_into_force(&mut self, mut wanted: DesiredByName) {
        let now = self.clock.now();
        for (name, desired) in &mut wanted {
            let observed = self.environments.get(name).map(|environment| &environment.observed);
            desired.departed = departed(self.memory.history(name), observed, desired);
        }
        self.desired.send_replace(Arc::new(wanted.clone()));
        self.environments.retain(|name, _| wanted.contains_key(name));
        for (name, desired) in wanted {
            match self.environments.get_mut(&name) {
                Some(environment) => environment.take(desired, now),
                None => {
                    self.environments.insert(name, Environment::new(desired, now));
                }
            }
        }
    }

    fn errors(&self) -> &[String] {
        self.reading.as_ref().map_or(&[], |(_, reading)| &reading.errors)
    }

    async fn answer(&mut self, request: Request) {
        // A question is no news.
        if !matches!(request, Request::Report { .. }) {
            self.turn.comes_now();
        }
        match request {
            Request::Report { reply } => {
                let report = self.report();
                // Whoever asked may have gone.
                let _ = reply.send(report);
            }
            Request::Retry { environment, by, reason, reply } => {
                let _ = reply.send(self.say(&environment, Word::Retry, by, reason));
            }
            Request::Say { environment, word, by, reason, reply } => {
                let _ = reply.send(self.say(&environment, word, by, reason));
            }
            Request::AcceptHistory { commit, by, reason, reply } => {
                let accepted = self.source.accept_history(&commit).await;
                if accepted.is_ok() {
                    let now = self.clock.now();
                    self.memory.keep(now, Event::HistoryAccepted { commit, by, reason });
                    let reading = self.source.read().await;
                    self.read(now, reading);
                }
                let _ = reply.send(accepted);
            }
        }
    }

    /// A person's word is in force once it is in the journal.
    fn say(&mut self, name: &EnvironmentName, word: Word, by: String, reason: String) -> Result<(), String> {
        let now = self.clock.now();
        let environment = self.environments.get(name);
        let environment = environment.ok_or_else(|| format!("there is no environment {name}"))?;
        let adopts = word == Word::Adopt;
        let event = environment.say(word, by, reason, now)?;
        let ours = self.memory.history(name).generation;
        let newer: Vec<Event> =
            environment.newer_generation(ours, &self.name).filter(|_| adopts).into_iter().collect();
        let refused = || "the journal cannot be written".to_owned();
        if !self.memory.record(now, &newer) {
            return Err(refused());
        }
        if !newer.is_empty() {
            // To a new generation, what the older one began is what a process left behind that died.
            self.executor.abandon_steps();
        }
        if self.memory.record(now, &[event]) { Ok(()) } else { Err(refused()) }
    }

    fn report(&mut self) -> Report {
        let mut environments = BTreeMap::new();
        let mut generation = model::Generation(0);
        let now = self.clock.now();
        for (name, environment) in &self.environments {
            let history = self.memory.history(name);
            generation = history.generation;
            if let Some(report) = environment.report(history, now) {
                environments.insert(name.clone(), report);
            }
        }
        let reading = self.reading.as_ref();
        let known = reading.is_some_and(|(_, reading)| reading.revision.is_some());
        Report {
            format: REPORT_FORMAT,
            at: now,
            service: self.name.clone(),
            generation,
            commit: reading.and_then(|(_, reading)| reading.revision.as_ref()).map(|r| r.commit.clone()),
            read_at: reading.map(|(at, _)| *at),
            obstacle: reading.and_then(|(_, reading)| reading.obstacle.clone()),
            errors: self.errors().to_vec(),
            journal_error: self.memory.error().map(str::to_owned),
            left_behind: if known { self.left_behind() } else { BTreeMap::new() },
            environments,
        }
    }

    fn publish(&mut self) {
        let (environments, memory) = (&self.environments, &mut self.memory);
        self.standings.send_if_modified(|last| {
            let before = last.len();
            last.retain(|name, _| environments.contains_key(name));
            let mut changed = last.len() != before;
            for (name, environment) in environments {
                let standing = environment.standing(memory.history(name));
                let commit = &environment.desired.commit.id;
                if last.get(name).is_none_or(|last| (&last.0, last.1) != (commit, standing)) {
                    last.insert(name.clone(), (commit.clone(), standing));
                    changed = true;
                }
            }
            changed
        });
    }

    /// Nothing new begins; what is under way may end and be recorded.
    async fn finish(mut self) {
        let patience = sleep_until(Instant::now() + STOP_PATIENCE);
        tokio::pin!(patience);
        while !self.executor.is_idle() {
            tokio::select! {
                done = self.executor.next() => self.take(done),
                () = &mut patience => break,
            }
        }
    }
}
