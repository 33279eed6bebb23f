//! The way to a machine and back: commands and readings take time, and what is in the way is noticed.

use engine::World;
use model::{Fact, Failure, FailureKind, HostName, Observed, Scope};

use crate::host::{Link, failure};
use crate::look::unknown;
use crate::pace::Span;
use crate::state::State;
use crate::world::SimWorld;

/// A command on its way.
pub(crate) struct Way {
    /// When it arrives, or its failure is noticed.
    pub(crate) at_ms: u64,
    pub(crate) obstacle: Option<Failure>,
}

impl State {
    /// A command is sent now.
    pub(crate) fn approach(&mut self, target: &HostName, trip: Span) -> Way {
        let (now_ms, connect_ms, answer_ms) = (self.now_ms, self.pace.connect_ms, self.pace.answer_ms);
        let Some(machine) = self.machine_mut(target) else {
            let nowhere = failure(FailureKind::Unreachable, format!("{target}: no such host"));
            return Way { at_ms: now_ms, obstacle: Some(nowhere) };
        };
        let wait_ms = match machine.link {
            Link::Up => machine.chance.ms(trip),
            Link::Down | Link::CutOff => connect_ms,
            Link::Hung => answer_ms,
        };
        Way { at_ms: now_ms + wait_ms, obstacle: machine.obstacle(target) }
    }

    /// What is in the way of a command that arrives now, and when that is noticed; none: the machine is there.
    fn gone(&self, target: &HostName) -> Option<(u64, Failure)> {
        let machine = self.machine(target)?;
        let wait_ms = if machine.link == Link::Hung { self.pace.answer_ms } else { 0 };
        Some((self.now_ms + wait_ms, machine.obstacle(target)?))
    }
}

impl SimWorld {
    /// Goes on only while the process lives that holds this handle.
    pub(crate) async fn lives(&self) {
        if self.dead.is_cancelled() {
            std::future::pending().await
        }
    }

    /// Returns at that time, when the process lives still.
    pub(crate) async fn waits_until(&self, ms: u64) {
        self.clock.until(ms).await;
        self.lives().await;
    }

    /// Sends a command on its way: returns when it has arrived.
    pub(crate) async fn reach(&self, target: &HostName, trip: Span) -> Result<(), Failure> {
        let way = self.state().approach(target, trip);
        self.arrive(way).await?;
        self.still_there(target).await
    }

    async fn arrive(&self, way: Way) -> Result<(), Failure> {
        self.waits_until(way.at_ms).await;
        self.awake().await;
        way.obstacle.map_or(Ok(()), Err)
    }

    /// Whether the machine is there now: what fails on the way is noticed later.
    pub(crate) async fn still_there(&self, target: &HostName) -> Result<(), Failure> {
        let gone = self.state().gone(target);
        match gone {
            None => Ok(()),
            Some(gone) => self.notices(gone).await,
        }
    }

    async fn notices<T>(&self, (at_ms, failure): (u64, Failure)) -> Result<T, Failure> {
        self.waits_until(at_ms).await;
        Err(failure)
    }

    pub(crate) fn trip(&self) -> Span {
        self.state().pace.trip
    }

    /// A request over the network, to somebody who is always there.
    pub(crate) async fn travel(&self) {
        let at_ms = {
            let mut state = self.state();
            let trip = state.pace.trip;
            state.now_ms + state.chance.ms(trip)
        };
        self.waits_until(at_ms).await;
    }

    /// A reading that shows the world at one moment between its beginning and its answer.
    async fn look<T>(
        &self,
        target: &HostName,
        show: impl FnOnce(&mut State) -> T + Send,
    ) -> Result<T, Failure>
    where
        T: Send,
    {
        let there = {
            let mut state = self.state();
            let look = state.pace.look;
            state.approach(target, look)
        };
        self.arrive(there).await?;
        let shown = {
            let mut state = self.state();
            let look = state.pace.look;
            match state.gone(target) {
                Some(gone) => Err(gone),
                None => Ok((show(&mut state), state.approach(target, look))),
            }
        };
        match shown {
            Err(gone) => self.notices(gone).await,
            Ok((shown, back)) => {
                self.arrive(back).await?;
                self.still_there(target).await?;
                Ok(shown)
            }
        }
    }

    pub(crate) async fn see(&self, scope: &Scope) -> Observed {
        let at = self.now();
        let mut observed = Observed::default();
        match scope {
            Scope::Host(name) => {
                let seen = self.look(name, |state| state.host_state(name, &self.owner)).await;
                let value = seen.unwrap_or_else(|failure| Err(unknown(&failure)));
                observed.hosts.insert(name.clone(), Fact { at, value });
            }
            Scope::Node(name) => {
                let seen = self.look(name, |state| state.node_state(name, &self.owner)).await;
                let value = seen.unwrap_or_else(|failure| Err(unknown(&failure)));
                observed.nodes.insert(name.clone(), Fact { at, value });
            }
            Scope::Gate(environment, gate) => {
                self.travel().await;
                let state = self.state().gate_state(&(environment.clone(), gate.clone()), at);
                self.travel().await;
                observed.gates.insert(gate.clone(), Fact { at, value: Ok(state) });
            }
            Scope::Versions(_) => {
                self.travel().await;
                let offered = self.state().offered.clone();
                self.travel().await;
                observed.versions = Some(Fact { at, value: Ok(offered) });
            }
        }
        observed
    }
}
