//! Scripts of a few readable lines drive the shipping service over a simulated fleet; what happens is golden output.
//!
//! One command a line; `#` begins a comment, which is kept in the output so that it reads as a story.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::{Handle, Report, Request, Service};
use jiff::{SignedDuration, Timestamp};
use model::{
    Admin, CommitId, Desired, Event, HostName, OnTimeout, Recorded, RowId, Standing, StepId, Version,
};
use simulation::{MemoryJournal, Pace, Release, Settings, SimSource, SimWorld, Span};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

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
    desired: Desired,
    began: Timestamp,
    told: usize,
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
    for line in text.lines().map(str::trim) {
        let _ = writeln!(out, "{line}");
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] | ["#", ..] => {}
            ["fleet", example, "at", version] => stage = Some(Stage::open(example, version)),
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

/// The environment `production` of an example, with every host at `version`.
///
/// # Panics
/// When the example does not parse: it is a fixture.
pub fn example(name: &str, version: &str) -> Desired {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in the repository");
    let mut files = BTreeMap::new();
    for file in ["environment.toml", "release.toml"] {
        let path = format!("environments/production/{file}");
        let text = std::fs::read_to_string(root.join("examples").join(name).join(&path))
            .expect("the example is there");
        files.insert(path, text);
    }
    let parsed = model::parse::repository(&files).expect("the example is valid");
    let (environment, spec) = parsed.environments.into_iter().next().expect("it has an environment");
    let commit = model::Commit {
        id: CommitId::new("0"),
        author: String::new(),
        subject: String::new(),
        at: Timestamp::UNIX_EPOCH,
    };
    let target = Version::parse(version).expect("a version");
    Desired { environment, commit, target, direction: None, ranks: Vec::new(), fleet: spec.fleet }
}

impl Stage {
    /// Opens a fleet as an example describes it, with its first commit.
    ///
    /// # Panics
    /// When the example does not parse.
    pub fn open(name: &str, version: &str) -> Self {
        Self::seeded(example(name, version), 7)
    }

    /// Opens a fleet with a seed of one's own.
    pub fn seeded(desired: Desired, seed: u64) -> Self {
        // As in the lab: the longest request lasts 3 s.
        let pace = Pace { session: Span::ms(50, 3_000), check_ms: 200, ..Pace::realistic() };
        let settings = Settings { pace, ..Settings::seeded(seed) };
        let world = SimWorld::with(&desired.fleet, &desired.target, settings);
        let backends = desired.fleet.roles.iter().flat_map(|role| &role.backends);
        for bound in backends.filter(|backend| backend.backend.as_str().ends_with("sticky")) {
            world.make_sticky(bound);
        }
        let source = SimSource::new(seed);
        source.commit("first commit", [desired.clone()]);
        let began = engine::World::now(&world);
        let journal = MemoryJournal::new();
        Self { world, source, journal, desired, began, told: 0, service: None, before_rewrite: None }
    }

    async fn command(&mut self, words: &[&str]) -> String {
        match words {
            ["run"] => self.run_until_at_rest().await,
            ["run", "for", time] => self.run_for(time).await,
            ["run", "until", rest @ ..] => self.run_until_step(&rest.join(" ")).await,
            ["explain", subject @ ..] => self.explain(subject.first().copied()).await,
            ["status"] => self.status().await,
            ["kill"] => self.kill(),
            ["retry"] => self.retry().await,
            ["accept-history"] => self.accept_history().await,
            words => {
                self.change(words);
                String::new()
            }
        }
    }

    fn change(&mut self, words: &[&str]) {
        let world = self.world.clone();
        match words {
            ["commit", version] => self.commit(version),
            ["commit-invalid", error @ ..] => {
                self.source.commit_invalid("a mistake", &[&error.join(" ")]);
            }
            ["revert"] => drop(self.source.revert()),
            ["rewrite-history", version] => {
                self.desired.target = parse(version);
                self.before_rewrite = Some(self.source.rewrite("rewritten", [self.desired.clone()]));
            }
            ["remote", "gone"] => self.source.remote_gone(Some("could not resolve host git.example")),
            ["remote", "back"] => self.source.remote_gone(None),
            ["mode", "report"] => self.desired.fleet.mode = model::Mode::Report,
            ["mode", "reconcile"] => self.desired.fleet.mode = model::Mode::Reconcile,
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
            other => panic!("no command: {}", other.join(" ")),
        }
    }

    /// Commits the fleet as it is described now, with another target.
    pub fn commit(&mut self, version: &str) {
        self.desired.target = parse(version);
        self.source.commit(&format!("production: {version}"), [self.desired.clone()]);
    }

    fn drain_policy(&mut self, time: &str, policy: &str) {
        let timeout: SignedDuration = time.parse().expect("a duration");
        let on_timeout = match policy {
            "wait" => OnTimeout::Wait,
            "cut" => OnTimeout::Cut,
            "proceed" => OnTimeout::Proceed,
            other => panic!("no policy: {other}"),
        };
        for backend in self.desired.fleet.load_balancers.iter_mut().flat_map(|lb| lb.backends.values_mut()) {
            *backend = model::DrainPolicy { timeout, on_timeout };
        }
    }

    fn person(&self, host: &str, admin: Admin) {
        let host = host_name(host);
        let role = self.desired.fleet.role_of(&host).expect("a host of the fleet");
        for backend in &role.backends {
            let lb = self.desired.fleet.load_balancer(&backend.load_balancer).expect("it exists");
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
    pub fn kill(&mut self) -> String {
        if let Some(service) = self.service.take() {
            service.task.abort();
            service.stop.cancel();
        }
        "  the service is killed\n".to_owned()
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
                if told(&recorded).is_some_and(|line| line.starts_with(step)) {
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
        let head = self.head().await;
        let mut standings = self.serve().standings.clone();
        let at_rest = async {
            loop {
                let calm = standings.borrow_and_update().values().next().cloned();
                let still = tokio::time::timeout(Duration::from_secs(25), standings.changed()).await.is_err();
                if let (true, Some((commit, standing))) = (still, calm) {
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

    async fn report(&mut self) -> Report {
        let requests = self.serve().requests.clone();
        let (reply, answer) = oneshot::channel();
        requests.send(Request::Report { reply }).await.expect("the service runs");
        answer.await.expect("the service answers")
    }

    async fn explain(&mut self, host: Option<&str>) -> String {
        let report = self.report().await;
        let mut out = String::new();
        if let Some(obstacle) = &report.obstacle {
            let _ = writeln!(
                out,
                "  source: {}\n    {}",
                timeless(&obstacle.to_string()),
                timeless(&obstacle.ends())
            );
        }
        let environment = report.environments.values().next().expect("it was planned");
        let host = host.map(HostName::new);
        match environment.explain(host.as_ref()) {
            Some(waiting) => {
                let (reason, ends) =
                    (timeless(&waiting.reason.to_string()), timeless(&waiting.reason.ends()));
                let _ = writeln!(out, "  {}: {reason}\n    {ends}", waiting.subject);
            }
            None => out.push_str("  nothing waits\n"),
        }
        out
    }

    async fn status(&mut self) -> String {
        let report = self.report().await;
        let environment = report.environments.values().next().expect("it was planned");
        let mut out = String::new();
        for host in &environment.hosts {
            let (serving, rows) = host.in_rotation;
            let claimed = if host.claimed { ", claimed" } else { "" };
            let installed = host.installed.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
            let _ = writeln!(
                out,
                "  {} has {installed}, runs {}, {}; {serving} of {rows} rows{claimed}",
                host.host,
                host.running,
                timeless(&host.health)
            );
        }
        out
    }

    async fn retry(&mut self) -> String {
        let (reply, answer) = oneshot::channel();
        let environment = self.desired.environment.clone();
        let request = Request::Retry { environment, by: "ada".into(), reason: "mended".into(), reply };
        self.serve().requests.send(request).await.expect("the service runs");
        answer.await.expect("the service answers").expect("it is recorded");
        String::new()
    }

    async fn accept_history(&mut self) -> String {
        let (reply, answer) = oneshot::channel();
        let commit = self.before_rewrite.clone().expect("history was rewritten");
        let request = Request::AcceptHistory { commit, by: "ada".into(), reason: "agreed".into(), reply };
        self.serve().requests.send(request).await.expect("the service runs");
        answer.await.expect("the service answers").expect("it is accepted");
        String::new()
    }

    fn told_since(&mut self) -> String {
        let events = self.journal.events();
        let lines: Vec<String> = events[self.told..].iter().filter_map(told).collect();
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

/// An event as one line, without times; none: not worth a line here.
fn told(recorded: &Recorded) -> Option<String> {
    match &recorded.event {
        Event::Accepted { version, .. } => Some(format!("accepted {version}")),
        Event::Refused { errors, .. } => Some(format!("refused: {}", errors.join("; "))),
        Event::StepStarted { step } => Some(format!("{} {}", step.host, step.action.kind())),
        Event::StepFinished { step, result: Err(failure), .. } => {
            Some(format!("{} failed: {}", short(step), timeless(&failure.to_string())))
        }
        Event::WaitingChanged { reason: Some(reason), .. } => Some(format!("waits: {}", timeless(reason))),
        Event::WaitingChanged { reason: None, .. } => Some("waits no more".to_owned()),
        Event::Converged { version, .. } => Some(format!("converged on {version}")),
        Event::Retried { by, reason, .. } => Some(format!("{by} retries: {reason}")),
        Event::HistoryAccepted { by, reason, .. } => Some(format!("{by} accepts the new history: {reason}")),
        Event::ServiceStarted { generation, .. } => {
            Some(format!("service of generation {generation} starts"))
        }
        Event::StepFinished { result: Ok(_), .. } => None,
    }
}

/// `web-01 install` of `g1-17-web-01-install`.
fn short(step: &StepId) -> String {
    let text = step.as_str().splitn(3, '-').nth(2).unwrap_or(step.as_str());
    match text.rsplit_once('-') {
        Some((host, action)) => format!("{host} {action}"),
        None => text.to_owned(),
    }
}

/// Without times of day and commit ids, which depend on luck and would hide what matters.
fn timeless(text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches([',', ';', ':', ')']);
        let tail = &word[bare.len()..];
        let time = bare.len() == 9 && bare.ends_with('Z') && bare.as_bytes()[2] == b':';
        let id = (bare.len() == 10 || bare.len() == 40) && bare.bytes().all(|b| b.is_ascii_hexdigit());
        match (time, id) {
            (true, _) => format!("HH:MM:SSZ{tail}"),
            (_, true) => format!("COMMIT{tail}"),
            _ => word.to_owned(),
        }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}
