//! The small fleet with a release pipeline: two canary servers beside four web servers, migrations, gates, a check.

#![allow(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]
#![allow(dead_code, reason = "shared by tests; none needs all of it")]

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use model::*;
use planner::Preview;

use crate::fleet::{self, start, version};

/// Main at one version, canary at another, both known to git history in the order of `ranks`.
pub(crate) fn desired(main: &str, canary: &str, ranks: &[&str]) -> Desired {
    let mut desired = fleet::desired(4, main, ranks);
    let web = desired.fleet.roles[1].clone();
    let servers = ["web-cny-01", "web-cny-02"].map(HostName::from).to_vec();
    let canary_web =
        Role { name: "web-canary".into(), track: Track::Canary, hosts: servers, max_unavailable: 1, ..web };
    desired.fleet.roles.insert(0, canary_web);
    desired.canary = Some(CanaryTarget { version: version(canary), weight: 5, ramp: Vec::new() });
    desired.fleet.policy = policy();
    desired
}

fn policy() -> Policy {
    let job = |word: &str| MigrationJob {
        command: Argv(vec!["migrate".into(), word.into()]),
        env: BTreeMap::new(),
        timeout: SignedDuration::from_hours(2),
    };
    Policy {
        stages: vec![
            stage("migrations", Track::Canary, Run::Migrate),
            stage("canary fleet", Track::Canary, deploy("web-canary")),
            stage("gitaly", Track::Main, deploy("gitaly")),
            stage("fleet", Track::Main, deploy("web")),
            stage("post-deployment migrations", Track::Main, Run::PostMigrate),
        ],
        gates: BTreeMap::from([("alerts".into(), gate())]),
        checks: BTreeMap::from([("qa".into(), check())]),
        migrations: Some(Migrations {
            host: "deploy-01".into(),
            packages: vec!["shop".into()],
            package_version: "{version}".into(),
            ready: None,
            pre: Some(job("pre")),
            post: Some(job("post")),
        }),
        promotion: Promotion { canary_requires: None, main_requires: Some(Requirement::Canary) },
        ..Policy::default()
    }
}

fn deploy(role: &str) -> Run {
    Run::Deploy { roles: vec![role.into()], in_order: false }
}

fn stage(name: &str, track: Track, run: Run) -> Stage {
    let gates = vec!["alerts".into()];
    let soak = SignedDuration::from_mins(10);
    Stage { name: name.into(), track, run, gates, checks: Vec::new(), soak, on_red: OnRed::Hold }
}

fn gate() -> Gate {
    Gate {
        asks: GateQuestion::Alertmanager {
            url: "http://alerts.example".into(),
            matchers: vec!["severity=\"critical\"".into()],
            heartbeat: None,
        },
        quiet_for: SignedDuration::from_mins(10),
        settle: SignedDuration::ZERO,
        no_data_is_green: false,
        observe: false,
    }
}

fn check() -> Check {
    Check {
        how: CheckRun::Http { url: "http://qa.example/jobs".into() },
        timeout: SignedDuration::from_hours(1),
    }
}

/// The fleet when everything runs `running`, the canary has no share, and the gate has been green for an hour.
pub(crate) fn observed(desired: &Desired, running: &str) -> Observed {
    let mut observed = fleet::observed(desired, running);
    let deploy = fleet::host(&mut observed, "gitaly-01").clone();
    observed.hosts.insert("deploy-01".into(), Fact { at: start(), value: Ok(deploy) });
    for node in ["fe-01", "fe-02"] {
        for host in ["web-cny-01", "web-cny-02"] {
            fleet::row(&mut observed, node, host).weight = 0;
        }
    }
    set_gate(&mut observed, Verdict::Green, start() - SignedDuration::from_hours(1));
    observed
}

/// What the gate says, and since when.
pub(crate) fn set_gate(observed: &mut Observed, verdict: Verdict, since: Timestamp) {
    let state = GateState { verdict, value: "one alert".into(), since };
    observed.gates.insert("alerts".into(), Fact { at: start(), value: Ok(state) });
}

/// A memory in which releases are through, with their migrations.
pub(crate) fn history(through: &[&str]) -> History {
    let mut history = History::new("production".into());
    let began = Event::ServiceStarted {
        generation: Generation(1),
        service: "deploy".into(),
        program: "0.1.0".into(),
    };
    history.apply(start(), &began).unwrap();
    let adopted = Event::Adopted {
        environment: "production".into(),
        by: "ada".into(),
        reason: "found so".into(),
        running: through.iter().map(|text| version(text)).collect(),
        ahead: Vec::new(),
        jobs: Vec::new(),
    };
    history.apply(start(), &adopted).unwrap();
    history
}

/// The stages in the order in which steps of theirs start.
pub(crate) fn stages(preview: &Preview) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for step in preview.steps.iter().map(|step| &step.step) {
        if let Some(stage) = &step.stage {
            let line = stage.to_string();
            if told.last() != Some(&line) {
                told.push(line);
            }
        }
    }
    told
}

/// The reason that stands first.
pub(crate) fn primary(plan: &Plan) -> &Reason {
    &plan.waiting.first().expect("it waits").reason
}

/// Every step but those that bring the canary's share, which is upkeep.
pub(crate) fn kinds(plan: &Plan) -> Vec<String> {
    let steps = plan.steps.iter().filter(|step| step.action.kind() != ActionKind::Weigh);
    steps.map(|step| format!("{} {}", step.host, step.action.kind())).collect()
}

/// A commit that wants 1.0, and of the canary something else where that is said.
pub(crate) fn accepted(canary: Option<&str>) -> Event {
    Event::Accepted {
        environment: "production".into(),
        commit: CommitId::new("0"),
        author: "Ada".into(),
        subject: "web".into(),
        version: version("1.0"),
        canary: canary.map(version),
    }
}
