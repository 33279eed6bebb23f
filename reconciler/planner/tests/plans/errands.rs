//! Migrations, checks and the agent's version: where they run, how they are found again, and what stops them. Gates in words.

use jiff::SignedDuration;
use model::*;
use planner::{plan, preview};

use crate::fleet::{claim, host, start, step, version};
use crate::release::{desired, history, observed, primary, set_gate};

fn pre_migration() -> JobKey {
    JobKey { kind: JobKind::PreMigration, version: version("1.1") }
}

/// The canary is to go to 1.1; nothing has begun.
pub(crate) fn scene() -> (Desired, Observed, History) {
    let desired = desired("1.0", "1.1", &["1.0", "1.1"]);
    let observed = observed(&desired, "1.0");
    (desired, observed, history(&["1.0"]))
}

/// The step on the migration host.
pub(crate) fn on_deploy_host(plan: &Plan) -> Option<&Step> {
    plan.steps.iter().find(|step| step.host.as_str() == "deploy-01")
}

fn waits_there(plan: &Plan) -> Option<&Reason> {
    let subject = Subject::Host("deploy-01".into());
    plan.waiting.iter().find(|waiting| waiting.subject == subject).map(|waiting| &waiting.reason)
}

#[test]
fn a_host_that_was_let_go_in_its_former_role_runs_migrations_now() {
    let (mut desired, seen, memory) = scene();
    let mut web = desired.fleet.roles[1].clone();
    (web.name, web.hosts) = ("old web".into(), vec!["deploy-01".into()]);
    desired.departed = vec![web];
    let planned = plan(&desired, &seen, &memory, start());
    let step = on_deploy_host(&planned).unwrap();
    assert_eq!((step.action.kind(), step.role.as_str()), (ActionKind::Claim, "(migrations)"));
}

#[test]
fn a_migration_claims_installs_and_runs_under_its_own_name_and_time() {
    let (desired, mut seen, memory) = scene();
    let planned = plan(&desired, &seen, &memory, start());
    let step = on_deploy_host(&planned).unwrap();
    assert_eq!((step.action.kind(), step.role.as_str()), (ActionKind::Claim, "(migrations)"));
    assert_eq!((step.stage.clone(), &step.version), (Some("migrations".into()), &version("1.1")));
    host(&mut seen, "deploy-01").claim = Some(claim());
    let planned = plan(&desired, &seen, &memory, start());
    let packages = [("shop".into(), version("1.1"))].into();
    let install = Action::Install { packages, prepare: Vec::new(), configure: Vec::new() };
    assert_eq!(on_deploy_host(&planned).unwrap().action, install);
    host(&mut seen, "deploy-01").packages.get_mut("shop").unwrap().version = version("1.1");
    let planned = plan(&desired, &seen, &memory, start());
    let step = on_deploy_host(&planned).unwrap();
    let job = JobName::new(&desired.environment, &pre_migration(), 1);
    assert_eq!(step.action.job(), Some((&job, &pre_migration())));
    assert_eq!((step.why.as_str(), step.deadline), ("once for this version", SignedDuration::from_hours(2)));
    let Action::Migrate { run, .. } = &step.action else { panic!("{step:?}") };
    assert_eq!(run.command, Argv(vec!["migrate".into(), "pre".into()]));
    // Somebody may have changed the packages since: they are read right before.
    let (soon, late) = (start() + SignedDuration::from_secs(3), start() + SignedDuration::from_millis(3_001));
    assert!(on_deploy_host(&plan(&desired, &seen, &memory, soon)).is_some());
    let planned = plan(&desired, &seen, &memory, late);
    assert_eq!(on_deploy_host(&planned), None);
    assert!(planned.observe.contains(&Scope::Host("deploy-01".into())), "{:?}", planned.observe);
}

#[test]
fn a_job_that_runs_already_is_waited_for() {
    let (desired, mut seen, memory) = scene();
    host(&mut seen, "deploy-01").job = Some("another".into());
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(on_deploy_host(&planned), None);
    assert_eq!(waits_there(&planned), Some(&Reason::JobRunning { step: "another".into() }));
}

#[test]
fn a_migration_of_whose_end_nobody_has_heard_is_found_again_before_another_one_begins() {
    let (mut desired, mut seen, mut memory) = scene();
    desired.ranks.push(version("1.2"));
    let later = JobKey { kind: JobKind::PreMigration, version: version("1.2") };
    let record =
        JobRecord { attempt: 2, state: JobState::Begun { at: start() }, began: Some(start()), host: None };
    memory.progress.jobs.insert(later.clone(), record);
    host(&mut seen, "deploy-01").claim = Some(claim());
    let planned = plan(&desired, &seen, &memory, start());
    let kind = on_deploy_host(&planned).unwrap().action.kind();
    assert_eq!(kind, ActionKind::Install, "the host does not know of it: it never began");
    let job = JobName::new(&desired.environment, &later, 2);
    host(&mut seen, "deploy-01").jobs.insert(job.clone(), -1);
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(on_deploy_host(&planned).unwrap().action.job(), Some((&job, &later)));
    // Also when nothing is to be migrated any more, before the host is let go.
    memory.progress.found_running.insert(version("1.1"));
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(on_deploy_host(&planned).unwrap().action.job(), Some((&job, &later)));
    memory.progress.jobs.clear();
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(on_deploy_host(&planned).unwrap().action, Action::Release);
}

#[test]
fn a_migration_that_runs_still_is_found_again_before_its_packages_are_mended() {
    let (desired, mut seen, mut memory) = scene();
    migrated(&mut memory, "1.1", JobState::Begun { at: start() });
    host(&mut seen, "deploy-01").claim = Some(claim());
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(on_deploy_host(&planned).unwrap().action.kind(), ActionKind::Install);
    let job = JobName::new(&desired.environment, &pre_migration(), 1);
    host(&mut seen, "deploy-01").jobs.insert(job.clone(), -1);
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(on_deploy_host(&planned).unwrap().action.job(), Some((&job, &pre_migration())));
}

#[test]
fn a_migration_that_an_older_service_began_meanwhile_is_found_before_anything_else_is_done_there() {
    // Nobody has stopped it; it began before our mark, and told no journal of ours.
    let (mut desired, mut seen, mut memory) = scene();
    desired.ranks.insert(1, version("1.0.9"));
    host(&mut seen, "deploy-01").claim = Some(claim());
    let older = JobKey { kind: JobKind::PreMigration, version: version("1.0.9") };
    let job = JobName::new(&desired.environment, &older, 1);
    let begins = |seen: &Observed, memory: &History| {
        on_deploy_host(&plan(&desired, seen, memory, start())).unwrap().action.clone()
    };
    assert_eq!(begins(&seen, &memory).kind(), ActionKind::Install);
    // It runs, or has ended: how far the database is, is to be known.
    for code in [-1, 0, 1] {
        host(&mut seen, "deploy-01").jobs.insert(job.clone(), code);
        assert_eq!(begins(&seen, &memory).job(), Some((&job, &older)), "exit code {code}");
    }
    // Or somebody has asked for it once more.
    host(&mut seen, "deploy-01").jobs.insert(job.clone(), -1);
    let record = |state| JobRecord { attempt: 1, state, began: Some(start()), host: None };
    memory.progress.jobs.insert(older.clone(), record(JobState::Wanted));
    assert_eq!(begins(&seen, &memory).job(), Some((&job, &older)));
    let failure = Failure { kind: FailureKind::InDoubt, what: "lost".into(), detail: String::new() };
    memory.progress.jobs.insert(older.clone(), record(JobState::Failed { at: start(), failure }));
    assert_eq!(begins(&seen, &memory).kind(), ActionKind::Install, "it is known that it runs no more");
}

#[test]
fn of_a_migration_that_is_covered_anyway_it_is_asked_only_whether_it_runs() {
    let (mut desired, mut seen, memory) = scene();
    desired.ranks.insert(0, version("0.9"));
    let covered = JobKey { kind: JobKind::PreMigration, version: version("0.9") };
    let job = JobName::new(&desired.environment, &covered, 1);
    host(&mut seen, "deploy-01").claim = Some(claim());
    for (code, is_asked) in [(0, false), (1, false), (-1, true)] {
        host(&mut seen, "deploy-01").jobs.insert(job.clone(), code);
        let planned = plan(&desired, &seen, &memory, start());
        let asks = on_deploy_host(&planned).unwrap().action.job() == Some((&job, &covered));
        assert_eq!(asks, is_asked, "exit code {code}");
    }
}

#[test]
fn a_failed_migration_says_what_failed_and_one_in_doubt_which_job_it_is() {
    let (desired, seen, mut memory) = scene();
    let mut fails = |kind: FailureKind| {
        let failure = Failure { kind, what: "exit 1".into(), detail: String::new() };
        let state = JobState::Failed { at: start(), failure: failure.clone() };
        let record = JobRecord { attempt: 2, state, began: Some(start()), host: None };
        memory.progress.jobs.insert(pre_migration(), record);
        let planned = plan(&desired, &seen, &memory, start());
        assert_eq!(on_deploy_host(&planned), None);
        (primary(&planned).clone(), failure)
    };
    let (reason, failure) = fails(FailureKind::JobFailed);
    assert_eq!(reason, Reason::MigrationFailed { key: pre_migration(), failure });
    let (reason, _) = fails(FailureKind::InDoubt);
    let name = JobName::new(&desired.environment, &pre_migration(), 2);
    assert_eq!(reason, Reason::JobInDoubt { step: StepId::new(name.as_str()) });
}

#[test]
fn nobody_works_beside_somebody_else_on_the_migration_host() {
    let (desired, mut seen, memory) = scene();
    host(&mut seen, "deploy-01").claim = Some(Claim { service: "theirs".into(), ..claim() });
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(on_deploy_host(&planned), None);
    assert!(matches!(waits_there(&planned), Some(Reason::ClaimedByOther { overdue: false, .. })));
}

#[test]
fn migrations_of_a_later_version_cover_those_of_an_earlier_one() {
    let desired = desired("1.0", "1.1", &["1.0", "1.1", "1.2"]);
    let seen = observed(&desired, "1.0");
    let migrates = |memory: &History| on_deploy_host(&plan(&desired, &seen, memory, start())).is_some();
    let passed = |kind, text| {
        let mut memory = history(&["1.0"]);
        let state = JobState::Passed { at: start(), output: String::new() };
        let key = JobKey { kind, version: version(text) };
        memory.progress.jobs.insert(key, JobRecord { attempt: 1, state, began: Some(start()), host: None });
        memory
    };
    assert!(!migrates(&passed(JobKind::PreMigration, "1.2")));
    assert!(migrates(&passed(JobKind::PreMigration, "1.0")), "an earlier one");
    assert!(migrates(&passed(JobKind::PostMigration, "1.2")), "of another kind");
    assert!(migrates(&passed(JobKind::PreMigration, "9.9")), "of a version that git does not know");
    let mut begun = history(&["1.0"]);
    let state = JobState::Begun { at: start() };
    let later = JobKey { kind: JobKind::PreMigration, version: version("1.2") };
    begun.progress.jobs.insert(later, JobRecord { attempt: 1, state, began: Some(start()), host: None });
    assert!(migrates(&begun), "begun is not passed");
}

#[test]
fn nothing_is_migrated_while_nobody_knows_whether_a_later_version_is() {
    let desired = desired("1.0", "1.1", &["1.0", "1.1", "1.2"]);
    let seen = observed(&desired, "1.0");
    let fails = |kind| {
        let mut memory = history(&["1.0"]);
        let failure = Failure { kind, what: "no end".into(), detail: String::new() };
        migrated(&mut memory, "1.2", JobState::Failed { at: start(), failure });
        plan(&desired, &seen, &memory, start())
    };
    let planned = fails(FailureKind::InDoubt);
    assert_eq!(on_deploy_host(&planned), None);
    let later = JobKey { kind: JobKind::PreMigration, version: version("1.2") };
    let name = JobName::new(&desired.environment, &later, 1);
    assert_eq!(*primary(&planned), Reason::JobInDoubt { step: StepId::new(name.as_str()) });
    assert!(on_deploy_host(&fails(FailureKind::JobFailed)).is_some(), "what failed is not done");
}

#[test]
fn a_main_that_is_halted_on_the_migration_host_keeps_no_fix_from_the_canary() {
    let (mut desired, seen, mut memory) = scene();
    desired.target = version("1.1");
    desired.canary.as_mut().unwrap().version = version("1.2");
    desired.ranks.push(version("1.2"));
    desired.fleet.policy.promotion.main_requires = None;
    let release = |memory: &History| {
        on_deploy_host(&plan(&desired, &seen, memory, start())).map(|step| step.version.to_string())
    };
    assert_eq!(release(&memory).as_deref(), Some("1.1"));
    let kind = FailureKind::InstallFailed;
    let failure = Failure { kind, what: "no such package".into(), detail: String::new() };
    let (action, until) = (ActionKind::Install, start());
    let trouble = history::Trouble {
        version: version("1.1"),
        action,
        failure,
        times: 3,
        attempts: MAX_ATTEMPTS,
        until,
    };
    memory.troubles.insert("deploy-01".into(), trouble);
    assert_eq!(release(&memory).as_deref(), Some("1.2"));
    let planned = plan(&desired, &seen, &memory, start());
    assert!(matches!(waits_there(&planned), Some(Reason::Halted { .. })), "{:?}", planned.waiting);
}

#[test]
fn a_migration_that_was_begun_on_another_host_is_not_begun_beside_it() {
    let (desired, seen, mut memory) = scene();
    let action = Action::Migrate {
        job: JobName::new(&desired.environment, &pre_migration(), 1),
        key: pre_migration(),
        ready: None,
        run: desired.fleet.policy.migrations.as_ref().unwrap().pre.clone().unwrap(),
    };
    let begun = step("m", "deploy-02", action);
    memory.apply(start(), &Event::StepStarted { step: begun.clone() }).unwrap();
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(on_deploy_host(&planned), None);
    let mut later = desired.clone();
    (later.canary.as_mut().unwrap().version, later.ranks) =
        (version("1.3"), ["1.0", "1.1", "1.2", "1.3"].map(version).into());
    let begins_later = |memory: &History| {
        let mut covered = memory.clone();
        migrated(&mut covered, "1.2", JobState::Passed { at: start(), output: String::new() });
        on_deploy_host(&plan(&later, &seen, &covered, start())).is_some()
    };
    assert!(!begins_later(&memory), "it runs still");
    let told = |planned: &Plan, fits: fn(&Reason) -> bool| {
        planned.waiting.iter().any(|waiting| fits(&waiting.reason))
    };
    assert!(told(&planned, |reason| matches!(reason, Reason::InFlight { .. })), "{:?}", planned.waiting);
    let failure = Failure { kind: FailureKind::Unreachable, what: "gone".into(), detail: String::new() };
    let environment = desired.environment.clone();
    let lost = Event::StepFinished { environment: environment.clone(), step: begun.id, result: Err(failure) };
    memory.apply(start(), &lost).unwrap();
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(on_deploy_host(&planned), None);
    assert!(told(&planned, |reason| matches!(reason, Reason::JobInDoubt { .. })), "{:?}", planned.waiting);
    // What later migrations cover is over.
    assert!(begins_later(&memory));
    // A person has looked there.
    let retried = Event::Retried { environment, by: "ada".into(), reason: "it never ran".into() };
    memory.apply(start(), &retried).unwrap();
    assert!(on_deploy_host(&plan(&desired, &seen, &memory, start())).is_some());
}

#[test]
fn a_check_over_the_network_is_named_by_whom_it_asks() {
    let (mut desired, seen, memory) = scene();
    desired.fleet.policy.stages[1].checks = vec!["qa".into()];
    let rollout = preview(&desired, &seen, &memory, start());
    let check = rollout.steps.iter().find(|step| step.step.action.kind() == ActionKind::Check).unwrap();
    let step = &check.step;
    assert_eq!((step.host.as_str(), step.role.as_str()), ("qa.example", "(checks)"));
    assert_eq!((step.why.as_str(), step.deadline), ("test the release", SignedDuration::from_hours(1)));
    assert_eq!(step.stage, Some("canary fleet".into()));
}

#[test]
fn a_red_gate_says_what_is_asked_and_what_would_be_green() {
    let (mut desired, mut seen, memory) = scene();
    set_gate(&mut seen, Verdict::Red, start());
    let told = |query: &str, threshold: &str| Reason::GateNotGreen {
        gate: "alerts".into(),
        verdict: Verdict::Red,
        query: query.into(),
        value: "one alert".into(),
        threshold: threshold.into(),
    };
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(*primary(&planned), told("severity=\"critical\"", "no such alert"));
    let gate = desired.fleet.policy.gates.get_mut("alerts").unwrap();
    gate.asks = GateQuestion::Prometheus {
        url: "http://metrics.example".into(),
        query: "errors".into(),
        threshold: Threshold::Below(0.5),
    };
    assert_eq!(*primary(&plan(&desired, &seen, &memory, start())), told("errors", "below 0.5"));
    desired.fleet.policy.gates.get_mut("alerts").unwrap().observe = true;
    assert!(on_deploy_host(&plan(&desired, &seen, &memory, start())).is_some(), "it is only shown");
}

#[test]
fn a_gate_has_to_have_been_quiet_to_the_very_instant() {
    let (desired, mut seen, memory) = scene();
    let minutes = SignedDuration::from_mins(10);
    set_gate(&mut seen, Verdict::Green, start() - minutes);
    assert!(on_deploy_host(&plan(&desired, &seen, &memory, start())).is_some());
    let instant = SignedDuration::from_millis(1);
    set_gate(&mut seen, Verdict::Green, start() - minutes + instant);
    let planned = plan(&desired, &seen, &memory, start());
    assert_eq!(*primary(&planned), Reason::GateQuiet { gate: "alerts".into(), until: start() + instant });
    assert_eq!(on_deploy_host(&planned), None);
}

#[test]
fn no_data_is_green_only_where_the_file_says_so_and_only_no_data() {
    let (mut desired, mut seen, memory) = scene();
    desired.fleet.policy.gates.get_mut("alerts").unwrap().no_data_is_green = true;
    let hour = SignedDuration::from_hours(1);
    for (verdict, green) in [(Verdict::NoData, true), (Verdict::Error, false), (Verdict::Red, false)] {
        set_gate(&mut seen, verdict, start() - hour);
        assert_eq!(on_deploy_host(&plan(&desired, &seen, &memory, start())).is_some(), green, "{verdict}");
    }
}

#[test]
fn a_fleet_that_is_taken_as_it_is_found_names_releases_as_git_does() {
    let mut desired = desired("1.0", "1.1", &["1.0", "1.1"]);
    for role in &mut desired.fleet.roles {
        role.package_version = "{version}~deb".into();
    }
    let mut seen = observed(&desired, "1.0~deb");
    for name in ["web-cny-01", "web-cny-02"] {
        host(&mut seen, name).packages.get_mut("shop").unwrap().version = version("1.1~deb");
    }
    host(&mut seen, "web-04").packages.get_mut("shop").unwrap().version = version("0.7~by-hand");
    let running = planner::releases_running(&desired, &seen);
    assert_eq!(running, ["0.7~by-hand", "1.0"].map(version).into());
    assert_eq!(planner::releases_ahead(&desired, &seen), [version("1.1")].into());
}

/// The work of a stage is done with a version.
fn worked(memory: &mut History, stage: &str, text: &str) {
    let (environment, stage, version) = ("production".into(), stage.into(), version(text));
    memory.apply(start(), &Event::StageWorked { environment, stage, version }).unwrap();
}

/// Everything of a role runs a version.
fn runs(seen: &mut Observed, names: &[&str], text: &str) {
    for name in names {
        let state = host(seen, name);
        state.packages.get_mut("shop").unwrap().version = version(text);
        state.services.values_mut().for_each(|service| service.stamped = Some(version(text)));
    }
}

fn migrated(memory: &mut History, text: &str, state: JobState) {
    let key = JobKey { kind: JobKind::PreMigration, version: version(text) };
    memory.progress.jobs.insert(key, JobRecord { attempt: 1, state, began: Some(start()), host: None });
}

#[test]
fn a_check_over_the_network_that_could_not_be_asked_is_asked_again_at_the_very_instant() {
    let (mut desired, mut seen, mut memory) = scene();
    desired.fleet.policy.stages[1].checks = vec!["qa".into()];
    desired.canary.as_mut().unwrap().weight = 0;
    runs(&mut seen, &["web-cny-01", "web-cny-02"], "1.1");
    migrated(&mut memory, "1.1", JobState::Passed { at: start(), output: String::new() });
    let passed = Event::StagePassed {
        environment: "production".into(),
        stage: "migrations".into(),
        version: version("1.1"),
    };
    memory.apply(start(), &passed).unwrap();
    worked(&mut memory, "canary fleet", "1.1");
    let check = |memory: &History, at| {
        let planned = plan(&desired, &seen, memory, at);
        planned.steps.into_iter().find(|step| step.action.kind() == ActionKind::Check)
    };
    let step = check(&memory, start()).unwrap();
    let (id, environment) = (step.id.clone(), step.environment.clone());
    memory.apply(start(), &Event::StepStarted { step }).unwrap();
    let failure = Failure { kind: FailureKind::Unreachable, what: "no route".into(), detail: String::new() };
    let finished = Event::StepFinished { environment, step: id, result: Err(failure) };
    memory.apply(start(), &finished).unwrap();
    let until = memory.trouble(&"qa.example".into(), &version("1.1")).unwrap().until;
    assert_eq!(check(&memory, until - SignedDuration::from_millis(1)), None);
    assert!(check(&memory, until).is_some());
}

#[test]
fn the_canary_waits_for_a_main_track_that_soaks_and_not_for_one_that_only_a_person_moves() {
    let (mut desired, mut seen, mut memory) = scene();
    desired.target = version("1.1");
    desired.canary.as_mut().unwrap().version = version("1.2");
    desired.ranks.push(version("1.2"));
    desired.fleet.policy.promotion.main_requires = None;
    runs(&mut seen, &["gitaly-01"], "1.1");
    migrated(&mut memory, "1.1", JobState::Passed { at: start(), output: String::new() });
    worked(&mut memory, "gitaly", "1.1");
    let waits = |planned: &Plan| {
        let first = |waiting: &Waiting| matches!(waiting.reason, Reason::MainFirst { .. });
        planned.waiting.iter().any(first)
    };
    let planned = plan(&desired, &seen, &memory, start());
    assert!(waits(&planned), "{:?}", planned.waiting);
    let main = planned.tracks.iter().find(|track| track.track == Track::Main).unwrap();
    let gitaly = main.stages.iter().find(|stage| stage.stage.as_str() == "gitaly").unwrap();
    let until = start() + SignedDuration::from_mins(10);
    assert_eq!(gitaly.standing, StageStanding::Watching { until });
    let mut red = seen.clone();
    set_gate(&mut red, Verdict::Red, start());
    let told: Vec<_> = plan(&desired, &red, &memory, start()).waiting.into_iter().map(|w| w.reason).collect();
    assert!(told.iter().any(|reason| matches!(reason, Reason::GateNotGreen { .. })), "{told:?}");
    assert!(!told.iter().any(|reason| matches!(reason, Reason::Soaking { .. })), "red is no soak: {told:?}");
    let kind = FailureKind::JobFailed;
    let failure = Failure { kind, what: "exit 1".into(), detail: String::new() };
    let mut halted = memory.clone();
    migrated(&mut memory, "1.1", JobState::Failed { at: start(), failure: failure.clone() });
    let planned = plan(&desired, &seen, &memory, start());
    assert!(!waits(&planned), "{:?}", planned.waiting);
    let (action, until) = (ActionKind::Install, start());
    let trouble = history::Trouble {
        version: version("1.1"),
        action,
        failure,
        times: 3,
        attempts: MAX_ATTEMPTS,
        until,
    };
    halted.troubles.insert("web-01".into(), trouble);
    let planned = plan(&desired, &seen, &halted, start());
    assert!(!waits(&planned), "a host of main is halted: {:?}", planned.waiting);
}
