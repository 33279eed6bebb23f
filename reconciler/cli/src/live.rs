//! The live world: hosts over ssh, HAProxy through its runtime socket. One exhaustive match from an action to a
//! provider's call; nothing is decided, retried or remembered here.

mod fill;
mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine::{DesiredByName, World};
use jiff::Timestamp;
use model::{
    Action, Check, CheckRun, Claim, EnvironmentName, Fact, Failure, FailureKind, GateName, GateState,
    Generation, HostName, HostState, JobKey, JobKind, JobName, LoadBalancer, NodeState, Observed, Outcome,
    RowId, Scope, Step, Track, Unknown, UnknownKind, Version,
};
use providers::agent::{self, Pause};
use providers::apt::{self, Install};
use providers::checks::gitlab::{Gitlab, Pipeline};
use providers::checks::{self, CheckJob};
use providers::claim::{self, Owner};
use providers::haproxy::{self, Command};
use providers::http::{Http, HttpError};
use providers::migrations::{self, Migration};
use providers::observe::{self, Prober, ProberError};
use providers::services::{self, Activation};
use providers::ssh::Ssh;
use providers::{gates, patches, versions};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The GitLab instance whose pipelines are checks.
#[derive(Clone, Debug)]
pub struct GitlabAccess {
    /// Its address, without a path of the API.
    pub url: String,
    /// Holds the token; read for each check, so that it can be renewed.
    pub token_file: PathBuf,
}

/// TLS cannot be set up here.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// For probes.
    #[error("cannot probe hosts")]
    Prober(#[from] ProberError),
    /// For gates and checks.
    #[error("cannot ask gates and checks")]
    Http(#[from] HttpError),
}

/// Real hosts and real load balancers.
#[derive(Debug)]
pub struct LiveWorld {
    ssh: Arc<Ssh>,
    prober: Prober,
    http: Http,
    service: String,
    /// Of this world, as the fence on hosts tells it from another with the same generation.
    process: String,
    /// Of the newest step; 0: this world was only looked at.
    generation: AtomicU64,
    gitlab: Option<GitlabAccess>,
    desired: watch::Receiver<Arc<DesiredByName>>,
}

impl LiveWorld {
    /// A world reached by `ssh`. `service` is our own lasting name, as claims show it. `desired` tells the role of a
    /// host, the socket of a load balancer node, and gates; a host in none of its environments is looked at without a
    /// role.
    ///
    /// # Errors
    /// The TLS library cannot be set up.
    pub fn new(
        ssh: Ssh,
        service: impl Into<String>,
        desired: watch::Receiver<Arc<DesiredByName>>,
    ) -> Result<Self, LiveError> {
        let (prober, http) = (Prober::new()?, Http::new()?);
        let process = format!("{}-{:x}", std::process::id(), Timestamp::now().as_nanosecond());
        let (ssh, service) = (Arc::new(ssh), service.into());
        let generation = AtomicU64::new(0);
        Ok(Self { ssh, prober, http, service, process, generation, gitlab: None, desired })
    }

    /// The same world, which can run GitLab's pipelines.
    #[must_use]
    pub fn with_gitlab(self, gitlab: Option<GitlabAccess>) -> Self {
        Self { gitlab, ..self }
    }

    /// Ends every connection; the next call makes new ones.
    pub fn close(&self) {
        self.ssh.close_all();
    }

    fn owner(&self, generation: Generation) -> Owner {
        Owner { service: self.service.clone(), generation, process: self.process.clone() }
    }

    /// Who we are on hosts and nodes. None: nothing was done through this world yet.
    fn us(&self) -> Option<Owner> {
        let generation = self.generation.load(Ordering::Relaxed);
        (generation > 0).then(|| self.owner(Generation(generation)))
    }

    fn desired(&self) -> Arc<DesiredByName> {
        Arc::clone(&self.desired.borrow())
    }

    async fn host(&self, host: &HostName) -> Result<HostState, Unknown> {
        let place = place::of(host, &self.desired());
        let agent = place.agent.as_ref();
        let memory = claim::memory(&self.service);
        let (role, environment) = (&place.role, &place.environment);
        let us = self.us();
        let subject = observe::Subject { role, environment, agent, memory: &memory, us: us.as_ref() };
        observe::observe(&self.ssh, &self.prober, host, subject).await
    }

    async fn node(&self, node: &HostName) -> Result<NodeState, Unknown> {
        let socket = self.balancer(node, |balancer| balancer.socket.clone());
        let socket = socket.ok_or_else(|| nowhere("it is in no load balancer of the accepted revision"))?;
        haproxy::observe(&self.ssh, node, &socket, &claim::memory(&self.service), self.us().as_ref()).await
    }

    async fn gate(
        &self,
        environment: &EnvironmentName,
        gate: &GateName,
        at: Timestamp,
    ) -> Result<GateState, Unknown> {
        let known = self.desired();
        let known = known.get(environment).and_then(|desired| desired.fleet.policy.gates.get(gate));
        let gate = known.ok_or_else(|| nowhere("it is in no environment of the accepted revision"))?;
        Ok(gates::ask(&self.http, gate, at).await)
    }

    async fn versions(&self, environment: &EnvironmentName) -> Result<BTreeSet<Version>, Unknown> {
        let desired = self.desired();
        let sources = desired.get(environment).map(place::sources).unwrap_or_default();
        let mut answer = Err(nowhere("no host of the accepted revision can be asked"));
        for (host, package) in sources {
            answer = versions::available(&self.ssh, host, package).await;
            if answer.is_ok() {
                break;
            }
        }
        answer
    }

    fn balancer<T>(&self, node: &HostName, get: impl Fn(&LoadBalancer) -> T) -> Option<T> {
        self.desired().values().find_map(|desired| desired.fleet.load_balancer_of(node).map(&get))
    }

    async fn carry_out(&self, step: &Step) -> Result<Outcome, Failure> {
        let Step { host, id, action, .. } = step;
        self.generation.fetch_max(step.generation.0, Ordering::Relaxed);
        let owner = &self.owner(step.generation);
        match action {
            Action::Download { packages } => {
                let deadline = Duration::try_from(step.deadline).unwrap_or(Duration::from_secs(900));
                apt::download(&self.ssh, host, owner, packages, deadline).await
            }
            Action::Claim { found } => self.take(step, owner, found).await,
            Action::Drain { rows } => self.claimed_rows(step, owner, Command::Drain, rows).await,
            Action::Maint { rows } => self.claimed_rows(step, owner, Command::Maint, rows).await,
            Action::Cut { rows } => self.claimed_rows(step, owner, Command::Cut, rows).await,
            Action::Ready { rows, because: _ } => self.claimed_rows(step, owner, Command::Ready, rows).await,
            // The host may be dead: nobody can look whose mark it carries. The fence on the nodes is enough.
            Action::Retire { rows, .. } => self.rows(owner, Command::Drain, rows).await,
            Action::Weigh { weights } => self.weigh(owner, host, weights).await,
            Action::Install { packages, prepare, configure } => {
                let (prepare, configure) = (&fill::all(step, prepare), &fill::all(step, configure));
                let install = Install { host, step: id, owner, packages, prepare, configure };
                apt::install(&self.ssh, &install).await
            }
            Action::Activate { services, packages, stamp } => {
                let services =
                    &services.iter().map(|service| fill::service(step, service)).collect::<Vec<_>>();
                let activation = Activation { host, step: id, owner, services, packages, stamp };
                services::activate(&self.ssh, &activation).await
            }
            Action::Migrate { job, key: _, ready, run } => {
                let (ready, run) = (ready.as_ref().map(|ready| fill::one(step, ready)), fill::job(step, run));
                let (ready, command, env) = (ready.as_ref(), &run.command, &run.env);
                let migration = Migration { host, job, owner, ready, command, env, timeout: None };
                migrations::run(&self.ssh, &migration).await
            }
            Action::Check { job, key, track, check } => {
                self.check(step, owner, (job, key), *track, check).await
            }
            Action::PauseAgent { agent } => {
                let (agent, why, commit) = (&fill::agent(step, agent), &step.why, &step.commit);
                agent::pause(&self.ssh, &Pause { host, owner, agent, why, commit }).await
            }
            Action::ResumeAgent { agent } => {
                agent::resume(&self.ssh, host, owner, &fill::agent(step, agent)).await
            }
            Action::Pin { track, command } => {
                let command = fill::with(step, command, &[("track", &track.to_string())]);
                agent::pin(&self.ssh, host, owner, &command).await
            }
            Action::Patch { want } => patches::bring(&self.ssh, host, id, owner, want).await,
            Action::Release => claim::release(&self.ssh, host, owner).await,
        }
    }

    async fn check(
        &self,
        step: &Step,
        owner: &Owner,
        (job, key): (&JobName, &JobKey),
        track: Track,
        check: &Check,
    ) -> Result<Outcome, Failure> {
        let JobKind::Check { stage, check: name } = &key.kind else {
            return Err(failure(FailureKind::Bug, format!("{job}: {} is no check", key.kind)));
        };
        let over_network = &CheckJob {
            name: job,
            environment: &step.environment,
            version: &key.version,
            track,
            stage,
            check: name,
            timeout: check.timeout,
        };
        match &check.how {
            CheckRun::Command { host, command } => {
                let (track, env) = (track.to_string(), &BTreeMap::new());
                let command = &fill::with(step, command, &[("track", &track), ("stage", stage.as_str())]);
                let timeout = Some(Duration::try_from(check.timeout).unwrap_or_default());
                let migration = Migration { host, job, owner, ready: None, command, env, timeout };
                migrations::run(&self.ssh, &migration).await
            }
            CheckRun::Http { url } => checks::http::run(&self.http, url, over_network).await,
            CheckRun::GitlabPipeline { project, reference, variables } => {
                let pipeline = Pipeline { project, reference, variables };
                checks::gitlab::run(&self.http, &self.gitlab(job).await?, &pipeline, over_network).await
            }
        }
    }

    async fn gitlab(&self, job: &JobName) -> Result<Gitlab, Failure> {
        let unreachable = |why: String| failure(FailureKind::Unreachable, format!("{job}: {why}"));
        let access = self.gitlab.as_ref();
        let access =
            access.ok_or_else(|| unreachable("the service's own file has no [gitlab]".to_owned()))?;
        let token = tokio::fs::read_to_string(&access.token_file).await;
        let token = token.map_err(|error| {
            unreachable(format!("cannot read GitLab's token in {}: {error}", access.token_file.display()))
        })?;
        Ok(Gitlab { url: access.url.clone(), token: token.trim().to_owned() })
    }

    async fn weigh(
        &self,
        owner: &Owner,
        node: &HostName,
        weights: &BTreeMap<RowId, u32>,
    ) -> Result<Outcome, Failure> {
        let socket = self.balancer(node, |balancer| balancer.socket.clone());
        let unknown = || failure(FailureKind::Bug, format!("{node} is in no load balancer"));
        haproxy::weigh(&self.ssh, &owner.fence(), node, &socket.ok_or_else(unknown)?, weights).await
    }

    /// First nothing older may touch the host's rows any more, then the host is ours: see [`claim::raise`].
    async fn take(&self, step: &Step, owner: &Owner, found: &BTreeSet<RowId>) -> Result<Outcome, Failure> {
        let nodes = place::nodes_of(&step.host, &self.desired(), self.now());
        let raising = nodes.into_iter().map(|node| {
            let (ssh, owner) = (Arc::clone(&self.ssh), owner.clone());
            async move { claim::raise(&ssh, &node, &owner).await }
        });
        // Nodes that could be reached keep what they were told: it only keeps off what is older.
        let raised = raising.collect::<JoinSet<_>>().join_all().await;
        raised.into_iter().collect::<Result<Vec<()>, Failure>>()?;
        claim::take(&self.ssh, &step.host, owner, &self.claim(step, found)).await
    }

    /// The mark on the host says on whose behalf rows are changed; the fence on each node keeps off who is older.
    async fn claimed_rows(
        &self,
        step: &Step,
        owner: &Owner,
        command: Command,
        rows: &BTreeSet<RowId>,
    ) -> Result<Outcome, Failure> {
        claim::check(&self.ssh, &step.host, owner).await?;
        self.rows(owner, command, rows).await
    }

    async fn rows(
        &self,
        owner: &Owner,
        command: Command,
        rows: &BTreeSet<RowId>,
    ) -> Result<Outcome, Failure> {
        let nodes: BTreeSet<&HostName> = rows.iter().map(|row| &row.node).collect();
        let socket = |node: &HostName| self.balancer(node, |balancer| balancer.socket.clone());
        let sockets = nodes.into_iter().filter_map(|node| Some((node.clone(), socket(node)?))).collect();
        haproxy::command(&self.ssh, &owner.fence(), command, rows, &sockets).await
    }

    fn claim(&self, step: &Step, found: &BTreeSet<RowId>) -> Claim {
        let at = self.now();
        let desired = self.desired();
        let within = desired.get(&step.environment).map(|desired| desired.fleet.deadlines.rollout);
        Claim {
            generation: step.generation,
            service: self.service.clone(),
            environment: step.environment.clone(),
            commit: step.commit.clone(),
            found: found.clone(),
            at,
            expires: within.and_then(|within| at.checked_add(within).ok()),
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
            Scope::Gate(environment, gate) => {
                let value = self.gate(environment, gate, at).await;
                observed.gates.insert(gate.clone(), Fact { at, value });
            }
            Scope::Versions(environment) => {
                let value = self.versions(environment).await;
                observed.versions = Some(Fact { at, value });
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

fn failure(kind: FailureKind, what: String) -> Failure {
    Failure { kind, what, detail: String::new() }
}

fn nowhere(why: &str) -> Unknown {
    Unknown { kind: UnknownKind::Unreadable, detail: why.to_owned() }
}
