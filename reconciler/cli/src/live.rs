//! The live world: hosts over ssh, HAProxy through its runtime socket. One exhaustive match from an action to a
//! provider's call; nothing is decided, retried or remembered here.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use engine::{DesiredByName, World};
use jiff::Timestamp;
use model::{
    Action, Activate, Argv, Claim, EnvironmentName, Fact, Failure, FailureKind, HostName, HostState,
    LoadBalancer, NodeState, Observed, Outcome, Role, RoleName, RowId, Scope, Service, Step, Track, Unknown,
    UnknownKind,
};
use providers::apt::{self, Install};
use providers::claim::{self, Owner};
use providers::haproxy::{self, Command};
use providers::observe::{self, Prober, ProberError};
use providers::services::{self, Activation};
use providers::shell::fill;
use providers::ssh::Ssh;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Real hosts and real load balancers.
#[derive(Debug)]
pub struct LiveWorld {
    ssh: Arc<Ssh>,
    prober: Prober,
    service: String,
    desired: watch::Receiver<Arc<DesiredByName>>,
}

impl LiveWorld {
    /// A world reached by `ssh`. `service` is our own lasting name, as claims show it. `desired` tells the role of a
    /// host and the socket of a load balancer node; a host in none of its environments is looked at without a role.
    ///
    /// # Errors
    /// The TLS library cannot be set up.
    pub fn new(
        ssh: Ssh,
        service: impl Into<String>,
        desired: watch::Receiver<Arc<DesiredByName>>,
    ) -> Result<Self, ProberError> {
        Ok(Self { ssh: Arc::new(ssh), prober: Prober::new()?, service: service.into(), desired })
    }

    /// Ends every connection; the next call makes new ones.
    pub fn close(&self) {
        self.ssh.close_all();
    }

    fn desired(&self) -> Arc<DesiredByName> {
        Arc::clone(&self.desired.borrow())
    }

    async fn host(&self, host: &HostName) -> Result<HostState, Unknown> {
        let desired = self.desired();
        let known =
            desired.values().find_map(|desired| Some((desired.fleet.role_of(host)?, &desired.environment)));
        match known {
            Some((role, environment)) => {
                observe::observe(&self.ssh, &self.prober, host, role, environment).await
            }
            None => {
                let environment = EnvironmentName::from("");
                observe::observe(&self.ssh, &self.prober, host, &no_role(host), &environment).await
            }
        }
    }

    async fn node(&self, node: &HostName) -> Result<NodeState, Unknown> {
        let socket = self.balancer(node, |balancer| balancer.socket.clone());
        let Some(socket) = socket else {
            let detail = "it is in no load balancer of the accepted revision".to_owned();
            return Err(Unknown { kind: UnknownKind::Unreadable, detail });
        };
        haproxy::observe(&self.ssh, node, &socket).await
    }

    fn balancer<T>(&self, node: &HostName, get: impl Fn(&LoadBalancer) -> T) -> Option<T> {
        self.desired().values().find_map(|desired| desired.fleet.load_balancer_of(node).map(&get))
    }

    async fn carry_out(&self, step: &Step) -> Result<Outcome, Failure> {
        let Step { host, id, action, .. } = step;
        let owner = &Owner { service: self.service.clone(), generation: step.generation };
        match action {
            Action::Download { packages } => {
                let deadline = Duration::try_from(step.deadline).unwrap_or(Duration::from_secs(900));
                apt::download(&self.ssh, host, packages, deadline).await
            }
            Action::Claim { found } => claim::take(&self.ssh, host, &self.claim(step, found)).await,
            Action::Drain { rows } => self.rows(step, owner, Command::Drain, rows).await,
            Action::Maint { rows } => self.rows(step, owner, Command::Maint, rows).await,
            Action::Cut { rows } => self.rows(step, owner, Command::Cut, rows).await,
            Action::Ready { rows, because: _ } => self.rows(step, owner, Command::Ready, rows).await,
            Action::Install { packages, prepare, configure } => {
                let (prepare, configure) = (&fill_all(step, prepare), &fill_all(step, configure));
                let install = Install { host, step: id, owner, packages, prepare, configure };
                apt::install(&self.ssh, &install).await
            }
            Action::Activate { services, stamp } => {
                let services =
                    &services.iter().map(|service| fill_service(step, service)).collect::<Vec<_>>();
                services::activate(&self.ssh, &Activation { host, step: id, owner, services, stamp }).await
            }
            Action::Release => claim::release(&self.ssh, host, owner).await,
        }
    }

    /// The mark on a load balancer is the mark on the host on whose behalf we are there.
    async fn rows(
        &self,
        step: &Step,
        owner: &Owner,
        command: Command,
        rows: &BTreeSet<RowId>,
    ) -> Result<Outcome, Failure> {
        claim::check(&self.ssh, &step.host, owner).await?;
        let nodes: BTreeSet<&HostName> = rows.iter().map(|row| &row.node).collect();
        let socket = |node: &HostName| self.balancer(node, |balancer| balancer.socket.clone());
        let sockets = nodes.into_iter().filter_map(|node| Some((node.clone(), socket(node)?))).collect();
        haproxy::command(&self.ssh, command, rows, &sockets).await
    }

    fn claim(&self, step: &Step, found: &BTreeSet<RowId>) -> Claim {
        Claim {
            generation: step.generation,
            service: self.service.clone(),
            environment: step.environment.clone(),
            commit: step.commit.clone(),
            found: found.clone(),
            at: self.now(),
        }
    }
}

impl World for LiveWorld {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn observe(&self, scope: &Scope) -> Observed {
        let at = self.now();
        let mut observed = Observed::default();
        match scope {
            Scope::Host(host) => {
                let value = self.host(host).await;
                observed.hosts.insert(host.clone(), Fact { at, value });
            }
            Scope::Node(node) => {
                let value = self.node(node).await;
                observed.nodes.insert(node.clone(), Fact { at, value });
            }
        }
        observed
    }

    async fn act(&self, step: &Step, cancel: &CancellationToken) -> Result<Outcome, Failure> {
        tokio::select! {
            // Dropping the other arm leaves a job on the host running; it is found again by the step's name.
            () = cancel.cancelled() => Err(Failure {
                kind: FailureKind::Interrupted,
                what: format!("{}: {} was interrupted", step.host, step.action.kind()),
                detail: String::new(),
            }),
            result = self.carry_out(step) => result,
        }
    }
}

/// What a host without a role is looked at for: whether it is there, and our mark.
fn no_role(host: &HostName) -> Role {
    Role {
        name: RoleName::from("none"),
        track: Track::Main,
        hosts: vec![host.clone()],
        packages: Vec::new(),
        package_version: "{version}".to_owned(),
        backends: Vec::new(),
        max_unavailable: 1,
        allow_outage: false,
        prepare: Vec::new(),
        configure: Vec::new(),
        services: Vec::new(),
        health: None,
    }
}

fn fill_all(step: &Step, argvs: &[Argv]) -> Vec<Argv> {
    argvs.iter().map(|argv| fill_one(step, argv)).collect()
}

fn fill_one(step: &Step, argv: &Argv) -> Argv {
    let values = [
        ("host", step.host.as_str()),
        ("version", step.version.as_str()),
        ("environment", step.environment.as_str()),
    ];
    fill(argv, &values)
}

fn fill_service(step: &Step, service: &Service) -> Service {
    let activate = match &service.activate {
        Activate::Command(argv) => Activate::Command(fill_one(step, argv)),
        other @ (Activate::Restart | Activate::Reload | Activate::None) => other.clone(),
    };
    let running = service.running.as_ref().map(|argv| fill_one(step, argv));
    Service { activate, running, ..service.clone() }
}
