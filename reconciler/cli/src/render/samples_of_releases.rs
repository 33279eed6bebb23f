//! A fleet with a canary, as files and facts, for golden texts: what people read is made from what the planner says.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use model::{
    Action, Admin, Argv, CheckRun, Commit, CommitId, ConfigAgent, Desired, Event, Fact, FoundJob, GateState,
    Generation, HealthState, History, HostName, HostState, JobKey, JobKind, JobName, MigrationJob, NodeState,
    Observed, Outcome, PackageState, PatchFile, Recorded, Row, RowCheck, RowId, ServerName, ServiceState,
    StageName, Step, Track, Verdict, Version,
};

use super::samples::{at, step};
use crate::documents::{DOCUMENT_FORMAT, PlanDocument};
use crate::look::{self, Sight};

const ENVIRONMENT: &str = r#"
packages = ["shop"]
[[load_balancer]]
name = "fe"
nodes = ["fe-01", "fe-02"]
socket = "/run/haproxy/admin.sock"
backends = { web = { drain = "2m", on_timeout = "wait" } }
[[role]]
name = "store"
hosts = ["store-01"]
services = [{ unit = "store" }]
[[role]]
name = "web"
hosts = ["web-[01:04]"]
backends = ["web"]
services = [{ unit = "shop" }]
[[role]]
name = "web-canary"
track = "canary"
hosts = ["cny-[01:02]"]
backends = ["web"]
services = [{ unit = "shop" }]
[migrations]
host = "deploy-01"
pre = { command = ["shop-migrate"] }
post = { command = ["shop-migrate", "--post"] }
[gates.alerts]
alertmanager = "http://alertmanager.example:9093"
match = ['severity="critical"']
quiet_for = "10m"
[gates.errors]
prometheus = "http://prometheus.example:9090"
query = "rate(errors[5m])"
below = 0.01
[checks.qa]
command = ["shop-qa"]
host = "deploy-01"
[stage_defaults]
gates = ["alerts"]
checks = ["qa"]
soak = "10m"
[[stage]]
name = "migrations"
track = "canary"
run = "migrate"
[[stage]]
name = "canary fleet"
track = "canary"
run = "deploy"
roles = ["web-canary"]
gates = ["alerts", "errors"]
soak = "30m"
on_red = "canary-to-zero"
[[stage]]
name = "store"
run = "deploy"
roles = ["store"]
[[stage]]
name = "fleet"
run = "deploy"
roles = ["web"]
[[stage]]
name = "post-deployment migrations"
run = "post-migrate"
[promotion]
canary_requires = "staging"
main_requires = "canary"
[[freeze]]
reason = "sale"
from = "Sun 13:15"
to = "Mon 06:00"
zone = "Europe/Amsterdam"
"#;

const STAGING: &str =
    "packages = ['shop']\n[[role]]\nname = 'web'\nhosts = ['stg-01']\nservices = [{ unit = 'shop' }]";

/// A release in the middle of its way, to be changed and planned.
pub(crate) struct Release {
    desired: Desired,
    observed: Observed,
    history: History,
    remembers: bool,
}

/// Main and canary run 1.4.2; the canary is to run 1.5.0, which has passed staging.
pub(crate) fn to_canary() -> Release {
    let canary = "[canary]\nversion = '1.5.0'\nweight = 5\nramp = [{ weight = 1, soak = '10m' }]";
    release(&format!("[main]\nversion = '1.4.2'\n{canary}"), "1.4.2", &["1.4.2", "1.5.0"])
}

/// Everything runs 1.5.0, whose post-deployment migrations ran; the commit takes it back to 1.4.2.
pub(crate) fn back() -> Release {
    let mut back = release("[main]\nversion = '1.4.2'", "1.5.0", &["1.4.2", "1.5.0"]);
    let key = JobKey { kind: JobKind::PostMigration, version: version("1.5.0") };
    back.adopt(vec![FoundJob { key, succeeded: true, attempt: 1 }]);
    back
}

/// Everything runs 1.4.2; 1.4.3 is an emergency, and a host is out.
pub(crate) fn emergency() -> Release {
    let urgent = "[emergency]\nversion = '1.4.3'\nreason = 'CVE-2026-0001'";
    let out = "[[out]]\nhost = 'web-04'\nreason = 'disk replaced, INC-812'\nuntil = 2026-12-01T00:00:00Z";
    let veto = "[[veto]]\nversion = '1.4.1'\nreason = 'corrupts uploads'";
    let text = format!("[main]\nversion = '1.4.3'\n{urgent}\n{out}\n{veto}");
    release(&text, "1.4.2", &["1.4.1", "1.4.2", "1.4.3"])
}

fn release(text: &str, running: &str, ranks: &[&str]) -> Release {
    let files = [
        ("environments/production/environment.toml", ENVIRONMENT),
        ("environments/production/release.toml", text),
        ("environments/staging/environment.toml", STAGING),
        ("environments/staging/release.toml", "[main]\nversion = '1.5.0'"),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let parsed = model::parse::repository(&files.into()).unwrap();
    let spec = parsed.environments.into_iter().find(|(name, _)| name.as_str() == "production").unwrap().1;
    let commit = Commit {
        id: CommitId::new("5a6b7c8d9e5a6b7c8d9e5a6b7c8d9e5a6b7c8d9e"),
        author: "Ada".into(),
        subject: "Move the release".into(),
        at: at(0),
    };
    let ranks = ranks.iter().map(|text| version(text)).collect();
    let desired = spec.at("production".into(), commit, ranks);
    let mut history = History::new("production".into());
    let (service, program) = ("deploy-01".to_owned(), "0.1.0".to_owned());
    history.apply(at(0), &Event::ServiceStarted { generation: Generation(3), service, program }).unwrap();
    let observed = observed(&desired, running);
    let mut release = Release { desired, observed, history, remembers: true };
    release.adopt(Vec::new());
    let passed = Event::Passed {
        environment: "staging".into(),
        track: Track::Main,
        version: version("1.5.0"),
        stages: vec!["migrations".into(), "fleet".into()],
    };
    release.history.apply(at(-3600), &passed).unwrap();
    release
}

impl Release {
    fn adopt(&mut self, jobs: Vec<FoundJob>) {
        let running = planner::releases_running(&self.desired, &self.observed).into_iter().collect();
        let (by, reason) = ("reconcile".to_owned(), "first sight".to_owned());
        let adopted =
            Event::Adopted { environment: "production".into(), by, reason, running, ahead: Vec::new(), jobs };
        self.history.apply(at(-7200), &adopted).unwrap();
    }

    /// Seen by somebody who has not got the journal.
    pub(crate) fn without_journal(mut self) -> Self {
        self.history.progress = model::Progress::default();
        self.history.progress.adopted = Some(at(0));
        self.history.progress.found_running = planner::releases_running(&self.desired, &self.observed);
        self.remembers = false;
        self
    }

    pub(crate) fn with_red_gate(mut self) -> Self {
        let state = GateState { verdict: Verdict::Red, value: "0.031".into(), since: at(-90) };
        self.observed.gates.insert("errors".into(), Fact { at: at(0), value: Ok(state) });
        self
    }

    pub(crate) fn planned(&self, whole: bool) -> PlanDocument {
        let (desired, observed, history) = (&self.desired, &self.observed, self.history.clone());
        let sight = Sight { desired, observed, history, remembers: self.remembers };
        let planned = look::plan(sight, at(0), whole);
        PlanDocument { format: DOCUMENT_FORMAT, at: at(0), warnings: vec![], environments: vec![planned] }
    }

    pub(crate) fn report(&self) -> engine::EnvironmentReport {
        let plan = planner::plan(&self.desired, &self.observed, &self.history, at(0));
        engine::EnvironmentReport::new(&self.desired, &self.observed, &self.history, plan, at(0))
    }
}

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

fn observed(desired: &Desired, running: &str) -> Observed {
    let mut observed = Observed::default();
    let jobs = engine::job_hosts(desired).cloned();
    for host in desired.fleet.hosts().map(|(_, host)| host.clone()).chain(jobs) {
        let services = desired.fleet.role_of(&host).map_or(&[][..], |role| &role.services);
        let state = host_state(&host, services, running);
        observed.hosts.insert(host, Fact { at: at(0), value: Ok(state) });
    }
    for node in desired.fleet.nodes() {
        observed.nodes.insert(node.clone(), Fact { at: at(0), value: Ok(node_state(desired)) });
    }
    for (gate, value) in [("alerts", "no alert"), ("errors", "0.002")] {
        let state = GateState { verdict: Verdict::Green, value: value.into(), since: at(-3600) };
        observed.gates.insert(gate.into(), Fact { at: at(0), value: Ok(state) });
    }
    observed
}

fn host_state(host: &HostName, services: &[model::Service], running: &str) -> HostState {
    let package =
        PackageState { version: version(running), installed: true, status: "hi ".into(), held: true };
    let service = ServiceState {
        active: true,
        state: "active".into(),
        pid: Some(100),
        uptime: Some(SignedDuration::from_hours(1)),
        started_after_unpack: Some(true),
        stamped: Some(version(running)),
        reported: None,
    };
    HostState {
        machine_id: host.as_str().into(),
        boot_id: "boot".into(),
        codename: "bookworm".into(),
        addresses: BTreeSet::from([host.as_str().into()]),
        packages: BTreeMap::from([("shop".into(), package)]),
        dpkg_interrupted: false,
        staged: BTreeMap::new(),
        services: services.iter().map(|it| (it.name.clone(), service.clone())).collect(),
        health: HealthState::Healthy,
        claim: None,
        job: None,
        in_doubt: BTreeSet::new(),
        patches: BTreeSet::new(),
        agent: None,
        last_generation: None,
        jobs: BTreeMap::new(),
    }
}

fn node_state(desired: &Desired) -> NodeState {
    let mut rows = BTreeMap::new();
    for (role, host) in desired.fleet.hosts() {
        let row = Row {
            status: "UP".into(),
            admin: Admin::Ready,
            weight: if role.track == Track::Canary { 0 } else { 100 },
            sessions: 0,
            address: host.as_str().into(),
            check: RowCheck::Passed,
        };
        for backend in &role.backends {
            rows.insert((backend.backend.clone(), ServerName::new(host.as_str())), row.clone());
        }
    }
    NodeState {
        process: "1".into(),
        rows,
        sticky: BTreeSet::new(),
        old_sessions: BTreeMap::new(),
        last_generation: None,
    }
}

/// One step of each kind that only releases have, with its end.
pub(crate) fn steps() -> Vec<Recorded> {
    let argv = |text: &str| Argv(text.split(' ').map(str::to_owned).collect());
    let key = |kind| JobKey { kind, version: version("1.1.0-1") };
    let job = |key: &JobKey| JobName::new(&"production".into(), key, 1);
    let migration = key(JobKind::PreMigration);
    let check = key(JobKind::Check { stage: "fleet".into(), check: "qa".into() });
    let row = |node: &str| RowId { node: node.into(), backend: "web".into(), server: "cny-01".into() };
    let agent = ConfigAgent {
        pause: argv("systemctl stop agent.timer"),
        resume: argv("systemctl start agent.timer"),
        active: argv("systemctl is-active agent.timer"),
        busy: None,
        pin: None,
    };
    let run = MigrationJob {
        command: argv("shop-migrate"),
        env: BTreeMap::new(),
        timeout: SignedDuration::from_hours(1),
    };
    let how = CheckRun::Command { host: "deploy-01".into(), command: argv("shop-qa") };
    let patch = PatchFile {
        sha256: "00".repeat(32),
        file: "patches/session-fix.patch".into(),
        root: "/opt/shop".into(),
        contents: String::new(),
    };
    let actions = [
        ("fe-01", Action::Weigh { weights: BTreeMap::from([(row("fe-01"), 10)]) }, "5 percent"),
        ("deploy-01", Action::Migrate { job: job(&migration), key: migration, ready: None, run }, "once"),
        (
            "deploy-01",
            Action::Check {
                job: job(&check),
                key: check,
                track: Track::Main,
                check: model::Check { how, timeout: SignedDuration::from_hours(1) },
            },
            "test the release",
        ),
        ("web-01", Action::PauseAgent { agent: agent.clone() }, "while we work there"),
        ("web-01", Action::ResumeAgent { agent }, "as it was found"),
        ("web-02", Action::Retire { rows: BTreeSet::new(), found: BTreeSet::new() }, "declared out"),
        ("web-01", Action::Patch { want: vec![patch] }, "session fixation"),
        ("web-01", Action::Patch { want: vec![] }, "it left release.toml"),
        (
            "deploy-01",
            Action::Pin { track: Track::Main, command: argv("pin 1.1.0-1") },
            "agent must not undo it",
        ),
    ];
    let mut events = Vec::new();
    for (number, (host, action, why)) in actions.into_iter().enumerate() {
        let step: Step = step(&format!("r-{number}"), host, "web", action, why);
        let finished = Event::StepFinished {
            environment: "production".into(),
            step: step.id.clone(),
            result: Ok(Outcome::Changed("1 of 2\n2 of 2\n".into())),
        };
        events.extend([Event::StepStarted { step }, finished]);
    }
    record(events)
}

/// One event of each kind that only releases and people's words have.
pub(crate) fn events() -> Vec<Recorded> {
    let environment = || model::EnvironmentName::from("production");
    let (stage, version, reason) =
        (|| StageName::from("fleet"), || version("1.1.0-1"), || "load test".to_owned());
    let by = || "Ada".to_owned();
    let role = release("[main]\nversion = '1.4.2'", "1.4.2", &["1.4.2"]).desired.fleet.roles.remove(0);
    record(vec![
        Event::StageBegan { environment: environment(), stage: stage(), version: version() },
        Event::StageWorked { environment: environment(), stage: stage(), version: version() },
        Event::StagePassed { environment: environment(), stage: stage(), version: version() },
        Event::Passed {
            environment: environment(),
            track: Track::Canary,
            version: version(),
            stages: vec!["migrations".into(), "canary fleet".into()],
        },
        Event::Verified {
            environment: environment(),
            track: Track::Main,
            version: version(),
            by: by(),
            reason: "the journal was lost".into(),
        },
        Event::ShareReached { environment: environment(), version: version(), weight: 5 },
        Event::ShareWithdrawn { environment: environment(), gate: "errors".into() },
        Event::GateTurned {
            environment: environment(),
            gate: "errors".into(),
            verdict: Verdict::Red,
            value: "0.031".into(),
        },
        Event::Paused { environment: environment(), by: by(), reason: reason(), until: at(3600) },
        Event::Resumed { environment: environment(), by: by(), reason: reason() },
        Event::Adopted {
            environment: environment(),
            by: by(),
            reason: "moved here".into(),
            running: vec![version()],
            ahead: Vec::new(),
            jobs: vec![],
        },
        Event::Departed { environment: environment(), roles: vec![role] },
        Event::Undone {
            environment: environment(),
            host: "web-01".into(),
            rows: [RowId { node: "fe-01".into(), backend: "web".into(), server: "web-01".into() }].into(),
        },
        Event::Committed {
            environment: environment(),
            commit: CommitId::new("5a6b7c8d9e5a"),
            subject: "canary to 1.1.0-1".into(),
        },
    ])
}

fn record(events: Vec<Event>) -> Vec<Recorded> {
    (1..).zip(events).map(|(seq, event)| Recorded { seq, at: at(seq.cast_signed()), event }).collect()
}
