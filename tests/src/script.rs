//! Scripts of a few readable lines drive the shipping service over a simulated fleet; what happens is golden output.
//!
//! One command a line; `#` begins a comment, which is kept in the output so that it reads as a story.

mod ask;
mod commits;
mod fixtures;
mod releases;
mod surroundings;
mod told;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use engine::{Handle, Service};
use jiff::{SignedDuration, Timestamp};
use model::{Admin, CommitId, Desired, EnvironmentName, HostName, OnTimeout, RowId, Standing, Version};
use simulation::{MemoryJournal, Pace, Release, Settings, SimSource, SimWorld, Span};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use fixtures::example;
use told::told;

/// Every script has the same luck.
const SEED: u64 = 7;

/// A script may simulate this long for one `run`.
const LONGEST_RUN: Duration = Duration::from_secs(3600);

/// What a script has set up.
pub struct Stage {
    /// The simulated fleet.
    pub world: SimWorld,
    /// The simulated repository.
    pub source: SimSource,
    /// The memory that survives the service.
    pub journal: MemoryJournal,
    desired: BTreeMap<EnvironmentName, Desired>,
    /// Which environment commands are about.
    current: EnvironmentName,
    began: Timestamp,
    told: usize,
    /// Whether there was more than one environment at the beginning.
    several: bool,
    service: Option<Running>,
    before_rewrite: Option<CommitId>,
}

struct Running {
    handle: Handle,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// Runs a script and returns what happened.
///
/// # Panics
/// On a line that is no command: scripts are tests.
pub async fn run(text: &str) -> String {
    let mut out = String::new();
    let mut stage = None;
    let mut epoch = Settings::seeded(SEED).epoch;
    for line in text.lines().map(str::trim) {
        let _ = writeln!(out, "{line}");
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] | ["#", ..] => {}
            ["clock", "at", day, time] => epoch = fixtures::next(epoch, day, time),
            ["fleet", example, "at", version] => {
                stage = Some(Stage::open(vec![fixtures::example(example, version)], epoch));
            }
            ["fleet", example, "everywhere", "at", version] => {
                stage = Some(Stage::open(fixtures::everywhere(example, version), epoch));
            }
            ["fleet", example, environment, "at", version] => {
                stage = Some(Stage::open(vec![fixtures::one(example, environment, version)], epoch));
            }
            words => {
                let stage = stage.as_mut().expect("a script begins with `fleet EXAMPLE at VERSION`");
                out.push_str(&stage.command(words).await);
            }
        }
    }
    if let Some(stage) = stage {
        out.push_str(&stage.close());
    }
    out
}

impl Stage {
    /// Opens environments with their first commit; commands are about the first of them.
    fn open(environments: Vec<Desired>, epoch: Timestamp) -> Self {
        Self::of(environments, Settings { epoch, ..Settings::seeded(SEED) })
    }

    /// Opens a fleet with a seed of one's own.
    pub fn seeded(desired: Desired, seed: u64) -> Self {
        Self::of(vec![desired], Settings::seeded(seed))
    }

    fn of(environments: Vec<Desired>, settings: Settings) -> Self {
        // As in the lab: the longest request lasts 3 s.
        let pace = Pace { session: Span::ms(50, 3_000), check_ms: 200, ..Pace::realistic() };
        let source = SimSource::new(settings.seed);
        let world = SimWorld::of(&environments, Settings { pace, ..settings });
        let roles = environments.iter().flat_map(|desired| &desired.fleet.roles);
        let backends = roles.flat_map(|role| &role.backends);
        for bound in backends.filter(|backend| backend.backend.as_str().ends_with("sticky")) {
            world.make_sticky(bound);
        }
        let current = environments.first().expect("an example has an environment").environment.clone();
        let desired: BTreeMap<_, _> =
            environments.into_iter().map(|desired| (desired.environment.clone(), desired)).collect();
        source.commit("first commit", desired.values().cloned());
        let (began, journal) = (engine::World::now(&world), MemoryJournal::new());
        world.is_judged_by(&source, &journal);
        let (told, service, before_rewrite) = (0, None, None);
        let several = desired.len() > 1;
        Self { world, source, journal, desired, current, began, told, several, service, before_rewrite }
    }

    /// The environment that commands are about, as the script has it.
    fn desired(&mut self) -> &mut Desired {
        self.desired.get_mut(&self.current).expect("the script names an environment of its fleet")
    }

    async fn command(&mut self, words: &[&str]) -> String {
        match words {
            ["run"] => self.run_until_at_rest().await,
            ["run", "for", time] => self.run_for(time).await,
            ["run", "to", day, time] => self.run_to(day, time).await,
            ["run", "until", "waiting", text @ ..] => self.run_until_waiting(&text.join(" ")).await,
            ["run", "until", rest @ ..] => self.run_until_step(&rest.join(" ")).await,
            ["explain", subject @ ..] => self.explain(subject.first().copied()).await,
            ["waiting"] => self.waiting().await,
            ["status"] => self.status().await,
            ["kill"] => self.kill(),
            ["accept-history"] => self.accept_history().await,
            ["retry" | "pause" | "resume" | "verify" | "adopt", ..] => self.say(words).await,
            ["weights"] => self.weights(),
            ["patches"] => self.patches(),
            ["migrations"] => self.migrations(),
            ["tracks"] => self.tracks().await,
            words => {
                self.change(words);
                String::new()
            }
        }
    }

    fn change(&mut self, words: &[&str]) {
        let world = self.world.clone();
        match words {
            ["in", environment] => self.current = EnvironmentName::new(*environment),
            ["commit", version] => self.commit(version),
            ["commit", what @ ..] => self.commit_change(what),
            ["commit-invalid", error @ ..] => {
                self.source.commit_invalid("a mistake", &[&error.join(" ")]);
            }
            ["revert"] => drop(self.source.revert()),
            ["rewrite-history", version] => {
                self.desired().target = parse(version);
                self.before_rewrite = Some(self.source.rewrite("rewritten", self.desired.values().cloned()));
            }
            ["remote", "gone"] => self.source.remote_gone(Some("could not resolve host git.example")),
            ["remote", "back"] => self.source.remote_gone(None),
            ["mode", "report"] => self.desired().fleet.mode = model::Mode::Report,
            ["mode", "reconcile"] => self.desired().fleet.mode = model::Mode::Reconcile,
            ["drain", time, policy] => self.drain_policy(time, policy),
            ["release", version, kind] => world.set_release(&parse(version), release(kind)),
            ["down", host] => world.goes_down(&host_name(host)),
            ["up", host] => world.comes_up(&host_name(host)),
            ["reboot", host] => world.reboots(&host_name(host)),
            ["hang", host] => world.hangs(&host_name(host)),
            ["wake", host] => world.wakes(&host_name(host)),
            ["refuse-key", host] => world.refuses_key(&host_name(host), true),
            ["accept-key", host] => world.refuses_key(&host_name(host), false),
            ["change-host-key", host] => world.changes_host_key(&host_name(host), true),
            ["restore-host-key", host] => world.changes_host_key(&host_name(host), false),
            ["lock-apt", host] => world.apt_lock(&host_name(host), true),
            ["unlock-apt", host] => world.apt_lock(&host_name(host), false),
            ["fill-disk", host] => world.disk_full(&host_name(host), true),
            ["free-disk", host] => world.disk_full(&host_name(host), false),
            ["interrupt-dpkg", host, version] => world.interrupts_dpkg(&host_name(host), &parse(version)),
            ["endless-session", host] => world.session_never_ends(&host_name(host)),
            ["sessions-end", host] => world.sessions_end(&host_name(host)),
            ["reload", node] => world.reloads(&host_name(node)),
            ["person-drains", host] => self.person(host, Admin::Drain),
            ["person-readies", host] => self.person(host, Admin::Ready),
            ["journal", "refuses"] => self.journal.refuse(true),
            ["journal", "accepts"] => self.journal.refuse(false),
            ["lose-journal"] => self.lose_journal(),
            words => self.change_release(words),
        }
    }

    fn drain_policy(&mut self, time: &str, policy: &str) {
        let timeout: SignedDuration = time.parse().expect("a duration");
        let on_timeout = match policy {
            "wait" => OnTimeout::Wait,
            "cut" => OnTimeout::Cut,
            "proceed" => OnTimeout::Proceed,
            other => panic!("no policy: {other}"),
        };
        for backend in self.desired().fleet.load_balancers.iter_mut().flat_map(|lb| lb.backends.values_mut())
        {
            *backend = model::DrainPolicy { timeout, on_timeout };
        }
    }

    fn person(&self, host: &str, admin: Admin) {
        let host = host_name(host);
        let fleet = &self.desired[&self.current].fleet;
        let role = fleet.role_of(&host).expect("a host of the fleet");
        for backend in &role.backends {
            let lb = fleet.load_balancer(&backend.load_balancer).expect("it exists");
            for node in &lb.nodes {
                let server = lb.server(&host);
                let row = RowId { node: node.clone(), backend: backend.backend.clone(), server };
                self.world.person_sets(&row, admin);
            }
        }
    }

    /// Starts the service when it does not run.
    ///
    /// # Panics
    /// When the journal refuses.
    pub fn serve(&mut self) -> &Handle {
        if self.service.is_none() {
            let stop = CancellationToken::new();
            self.journal = self.journal.reopen();
            let (world, journal) = (Arc::new(self.world.clone()), Arc::new(self.journal.clone()));
            let (source, desired) = (Arc::new(self.source.clone()), watch::Sender::new(Arc::default()));
            let started = Service::start(world, journal, source, "reconcile", desired, stop.clone());
            let (service, handle) = started.expect("the journal can be read");
            let task = tokio::spawn(service.run());
            self.service = Some(Running { handle, stop, task });
        }
        &self.service.as_ref().expect("it was just started").handle
    }

    /// Ends the service as SIGKILL does: at once, with everything left as it is.
    ///
    /// # Panics
    /// When a plan of it would have broken a promise.
    pub fn kill(&mut self) -> String {
        if let Some(service) = self.service.take() {
            let refusals = service.handle.refusals();
            assert_eq!(refusals.plans, 0, "a plan would have broken a promise: {refusals:?}");
            service.task.abort();
            service.stop.cancel();
        }
        "  the service is killed\n".to_owned()
    }

    /// The disk with the journal is gone, and an empty one takes its place.
    fn lose_journal(&mut self) {
        let _ = self.kill();
        self.journal = MemoryJournal::new();
        self.told = 0;
        self.world.is_judged_by(&self.source, &self.journal);
    }

    async fn run_to(&mut self, day: &str, time: &str) -> String {
        let now = engine::World::now(&self.world);
        let wait = fixtures::next(now, day, time).duration_since(now);
        self.run_for(&format!("{wait:#}")).await
    }

    async fn run_for(&mut self, time: &str) -> String {
        self.serve();
        let time: SignedDuration = time.parse().expect("a duration");
        tokio::time::sleep(Duration::try_from(time).expect("not negative")).await;
        self.told_since()
    }

    async fn run_until_step(&mut self, step: &str) -> String {
        let mut events = self.serve().events();
        let reached = tokio::time::timeout(LONGEST_RUN, async {
            while let Ok(recorded) = events.recv().await {
                if told(&recorded, false).is_some_and(|line| line.starts_with(step)) {
                    return;
                }
            }
        });
        assert!(reached.await.is_ok(), "never came to `{step}`:\n{}", self.told_since());
        self.told_since()
    }

    async fn run_until_at_rest(&mut self) -> String {
        let standing = self.rest().await;
        let told = self.told_since();
        format!("{told}  = {standing:?}\n")
    }

    /// Runs until nothing moves any more: converged, or waiting for the world or a person, for a while.
    ///
    /// # Panics
    /// When it moves for longer than an hour.
    pub async fn rest(&mut self) -> Standing {
        let mut standings = self.serve().standings.clone();
        let at_rest = async {
            loop {
                let calm = standings.borrow_and_update().get(&self.current).cloned();
                let still = tokio::time::timeout(Duration::from_secs(25), standings.changed()).await.is_err();
                if let (true, Some((commit, standing))) = (still, calm) {
                    // The service may have committed something itself meanwhile.
                    let head = self.head().await;
                    let in_force = head.as_ref().is_none_or(|head| *head == commit);
                    if standing != Standing::Moving && in_force {
                        return standing;
                    }
                }
            }
        };
        let standing = tokio::time::timeout(LONGEST_RUN, at_rest).await;
        standing.unwrap_or_else(|_| panic!("it never comes to rest:\n{}", self.told_since()))
    }

    /// The commit that should be in force, as a reading of the source shows it.
    async fn head(&self) -> Option<CommitId> {
        let reading = engine::Source::read(&self.source).await;
        reading.revision.map(|revision| revision.commit.id)
    }

    fn told_since(&mut self) -> String {
        let several = self.several;
        let events = self.journal.events();
        let lines: Vec<String> =
            events[self.told..].iter().filter_map(|recorded| told(recorded, several)).collect();
        self.told = events.len();
        lines.iter().fold(String::new(), |out, line| out + "  " + line + "\n")
    }

    /// The world's own verdict.
    pub fn close(mut self) -> String {
        let _ = self.kill();
        let mut out = String::new();
        for violation in self.world.violations() {
            let _ = writeln!(out, "VIOLATION {violation:?}");
        }
        let _ = writeln!(out, "# {} sessions were lost.", self.world.lost_sessions());
        out
    }

    /// When the script began.
    pub fn began(&self) -> Timestamp {
        self.began
    }
}

fn parse(version: &str) -> Version {
    Version::parse(version).expect("a version")
}

fn host_name(host: &str) -> HostName {
    HostName::new(host)
}

fn release(kind: &str) -> Release {
    match kind {
        "never-healthy" => Release::NEVER_HEALTHY,
        "not-installable" => Release::NOT_INSTALLABLE,
        "not-starting" => Release::NOT_STARTING,
        "nowhere" => Release::NOWHERE,
        "good" => Release::GOOD,
        other => panic!("no such kind of release: {other}"),
    }
}
