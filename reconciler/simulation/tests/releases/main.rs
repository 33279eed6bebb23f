//! How the simulated world behaves when a release goes through it: migrations, checks, gates, weights, agents, patches,
//! and the promises about them.

#[path = "../sample/mod.rs"]
mod sample;
mod shares;

use std::collections::BTreeMap;
use std::time::Duration;

use engine::World;
use jiff::SignedDuration;
use model::*;
use sample::*;
use simulation::{Fate, MemoryJournal, MigrationRow, Promise, Settings, SimSource, SimWorld};
use tokio::time::{sleep, timeout};

/// A world with canaries, a database and agents, with the commits that its steps are judged by.
struct Site {
    world: SimWorld,
    source: SimSource,
    commit: CommitId,
}

impl Site {
    /// Version 1 runs; the commit wants 2 on the canary, at five percent.
    fn new() -> Self {
        Self::wanting(canary_desired("1", "2", 5))
    }

    fn wanting(desired: Desired) -> Self {
        let before = Desired { canary: None, exceptions: Exceptions::default(), ..desired.clone() };
        let world = SimWorld::of([&before], Settings::seeded(3));
        let source = SimSource::new(3);
        source.commit("first", [before]);
        let commit = source.commit("second", [desired]);
        world.is_judged_by(&source, &MemoryJournal::new());
        Self { world, source, commit }
    }

    fn step(&self, id: &str, name: &str, action: Action) -> Step {
        Step { commit: self.commit.clone(), ..step(id, name, action) }
    }

    async fn act(&self, step: Step) -> Result<Outcome, Failure> {
        act_marked(&self.world, &step).await
    }

    async fn must(&self, id: &str, name: &str, action: Action) {
        let result = self.act(self.step(id, name, action)).await;
        assert!(matches!(result, Ok(Outcome::Changed(_))), "{id}: {result:?}");
    }

    async fn fails(&self, id: &str, name: &str, action: Action) -> FailureKind {
        self.act(self.step(id, name, action)).await.expect_err("this has to fail").kind
    }

    async fn see(&self, name: &str) -> HostState {
        let observed = self.world.observe(&Scope::Host(host(name))).await;
        observed.host(&host(name)).expect("it answers").clone()
    }

    async fn row(&self, node: &str, server: &str) -> Row {
        let observed = self.world.observe(&Scope::Node(host(node))).await;
        observed.node(&host(node)).expect("it answers").rows[&("web".into(), server.into())].clone()
    }

    fn promises(&self) -> Vec<Promise> {
        self.world.violations().into_iter().map(|violation| violation.promise).collect()
    }

    /// The migration host gets version 2's programs, and runs its migrations.
    async fn migrate(&self, attempt: u32) -> Result<Outcome, Failure> {
        let install = self.act(self.step(&format!("mi{attempt}"), "deploy-1", install("2"))).await;
        install.expect("the programs come");
        self.act(self.step(&format!("m{attempt}"), "deploy-1", migrate(JobKind::PreMigration, attempt))).await
    }
}

async fn seconds(s: u64) {
    sleep(Duration::from_secs(s)).await;
}

fn migrate(kind: JobKind, attempt: u32) -> Action {
    let key = JobKey { kind, version: version("2") };
    let run = MigrationJob {
        command: Argv(vec!["migrate".into()]),
        env: BTreeMap::new(),
        timeout: SignedDuration::from_hours(2),
    };
    let ready = Some(Argv(vec!["migrations-done".into()]));
    Action::Migrate { job: JobName::new(&"production".into(), &key, attempt), key, ready, run }
}

fn check(how: CheckRun) -> Action {
    let kind = JobKind::Check { stage: "canary fleet".into(), check: "qa".into() };
    let key = JobKey { kind, version: version("2") };
    let check = Check { how, timeout: SignedDuration::from_mins(10) };
    Action::Check { job: JobName::new(&"production".into(), &key, 1), key, track: Track::Canary, check }
}

fn ways_to_check() -> [CheckRun; 3] {
    let url = "http://qa.example".to_owned();
    let pipeline = CheckRun::GitlabPipeline {
        project: "qa/all".into(),
        reference: "main".into(),
        variables: BTreeMap::new(),
    };
    let command = CheckRun::Command { host: host("deploy-1"), command: Argv(vec!["qa".into()]) };
    [command, CheckRun::Http { url }, pipeline]
}

#[tokio::test(start_paused = true)]
async fn migrations_write_one_row_and_are_found_again_by_name() {
    let site = Site::new();
    site.migrate(1).await.unwrap();
    let row = MigrationRow { kind: JobKind::PreMigration, version: version("2") };
    assert_eq!(site.world.migration_rows(&"production".into()), std::slice::from_ref(&row));
    let again = site.act(site.step("later", "deploy-1", migrate(JobKind::PreMigration, 1))).await;
    assert!(again.is_ok(), "the recorded result: {again:?}");
    assert_eq!(site.world.migration_rows(&"production".into()), [row]);
    assert_eq!(site.see("deploy-1").await.jobs.into_values().collect::<Vec<_>>(), [0]);
    assert_eq!(site.promises(), []);
}

#[tokio::test(start_paused = true)]
async fn migrations_go_on_when_the_service_dies_and_the_next_one_waits_for_their_end() {
    let site = Site::new();
    site.must("i", "deploy-1", install("2")).await;
    let begun = site.act(site.step("m", "deploy-1", migrate(JobKind::PreMigration, 1)));
    assert!(timeout(Duration::from_secs(2), begun).await.is_err());
    let state = site.see("deploy-1").await;
    assert_eq!((state.job, state.jobs.into_values().collect::<Vec<_>>()), (None, vec![-1]));
    site.must("m-2", "deploy-1", migrate(JobKind::PreMigration, 1)).await;
    assert_eq!(site.world.migration_rows(&"production".into()).len(), 1);
    assert_eq!(site.promises(), []);
}

#[tokio::test(start_paused = true)]
async fn migrations_that_fail_once_need_another_name_and_then_work() {
    let site = Site::new();
    site.world.migrations_are(&"production".into(), Fate::FailsOnce);
    assert_eq!(site.migrate(1).await.unwrap_err().kind, FailureKind::JobFailed);
    let again = migrate(JobKind::PreMigration, 1);
    assert_eq!(
        site.fails("m1b", "deploy-1", again).await,
        FailureKind::JobFailed,
        "that name has its result"
    );
    assert_eq!(site.world.migration_rows(&"production".into()), []);
    site.must("m2", "deploy-1", migrate(JobKind::PreMigration, 2)).await;
    assert_eq!(site.world.migration_rows(&"production".into()).len(), 1);
    assert_eq!(site.promises(), []);
}

#[tokio::test(start_paused = true)]
async fn migrations_that_vanish_are_in_doubt_and_those_that_are_not_ready_never_begin() {
    let site = Site::new();
    site.world.migrations_are(&"production".into(), Fate::NotReady);
    assert_eq!(site.migrate(1).await.unwrap_err().kind, FailureKind::NotReady);
    assert_eq!(site.world.migration_rows(&"production".into()), []);
    site.world.migrations_are(&"production".into(), Fate::IsLost);
    let lost = migrate(JobKind::PreMigration, 1);
    assert_eq!(site.fails("m1b", "deploy-1", lost).await, FailureKind::InDoubt);
    let state = site.see("deploy-1").await;
    assert_eq!((state.in_doubt.len(), state.jobs.into_values().collect::<Vec<_>>()), (0, vec![-1]));
}

#[tokio::test(start_paused = true)]
async fn migrating_again_what_is_migrated_breaks_the_seventh_promise() {
    let site = Site::new();
    site.migrate(1).await.unwrap();
    site.must("m2", "deploy-1", migrate(JobKind::PreMigration, 2)).await;
    assert_eq!(site.promises(), [Promise::S7]);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_serves_before_its_migrations_breaks_the_fourth_promise() {
    let site = Site::new();
    site.must("c", "cny-1", install("2")).await;
    assert_eq!(site.promises(), [Promise::S4, Promise::Agent]);
    let site = Site::new();
    site.migrate(1).await.unwrap();
    let agent = agent();
    site.must("p", "cny-1", Action::PauseAgent { agent }).await;
    site.must("c", "cny-1", install("2")).await;
    assert_eq!(site.promises(), []);
}

#[tokio::test(start_paused = true)]
async fn post_deployment_migrations_before_every_host_has_the_version_break_the_fourth_promise() {
    let site = Site::new();
    site.migrate(1).await.unwrap();
    site.must("post", "deploy-1", migrate(JobKind::PostMigration, 1)).await;
    assert_eq!(site.promises(), [Promise::S4]);
}

#[tokio::test(start_paused = true)]
async fn installing_a_vetoed_version_breaks_the_fifth_promise() {
    let mut desired = canary_desired("1", "2", 5);
    desired.exceptions.vetoes = vec![Veto { version: version("2"), reason: "bad".into() }];
    desired.fleet.policy.migrations = None;
    desired.fleet.policy.config_agent = None;
    let site = Site::wanting(desired);
    site.must("c", "cny-1", install("2")).await;
    assert_eq!(site.promises(), [Promise::S5]);
}

#[tokio::test(start_paused = true)]
async fn a_check_passes_or_fails_as_it_is_told_however_it_runs_and_keeps_its_result() {
    for how in ways_to_check() {
        let site = Site::new();
        site.world.check_is(&"qa".into(), Fate::Fails);
        let first = site.act(site.step("q1", "deploy-1", check(how.clone())));
        assert!(timeout(Duration::from_secs(1), first).await.is_err(), "it takes its time");
        assert_eq!(site.fails("q2", "deploy-1", check(how.clone())).await, FailureKind::JobFailed);
        site.world.check_is(&"qa".into(), Fate::Works);
        assert_eq!(site.fails("q3", "deploy-1", check(how.clone())).await, FailureKind::JobFailed, "{how:?}");
        assert_eq!(site.promises(), []);
        let other = Site::new();
        other.must("q1", "deploy-1", check(how)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_fails_at_its_timeout() {
    let site = Site::new();
    site.world.check_is(&"qa".into(), Fate::Hangs);
    let [_, http, _] = ways_to_check();
    let waits = site.act(site.step("q1", "qa.example", check(http.clone())));
    assert!(timeout(Duration::from_secs(599), waits).await.is_err());
    assert_eq!(site.fails("q2", "qa.example", check(http)).await, FailureKind::JobFailed);
}

#[tokio::test(start_paused = true)]
async fn a_gate_says_what_it_was_set_to_and_may_flap() {
    let site = Site::new();
    let (production, errors) = (EnvironmentName::new("production"), GateName::new("errors"));
    let read = async || {
        let scope = Scope::Gate(production.clone(), errors.clone());
        let observed = site.world.observe(&scope).await;
        let state = observed.gates[&errors].known().cloned().expect("a reading");
        (state.verdict, state.value)
    };
    assert_eq!(read().await, (Verdict::Green, "0".to_owned()));
    site.world.gate_is(&production, &errors, Verdict::Red, "0.3");
    assert_eq!(read().await, (Verdict::Red, "0.3".to_owned()));
    site.world.gate_flaps(&production, &errors, SignedDuration::from_secs(10));
    seconds(9).await;
    assert_eq!(read().await.0, Verdict::Red);
    seconds(10).await;
    assert_eq!(read().await.0, Verdict::Green);
    site.world.gate_is(&production, &errors, Verdict::NoData, "");
    seconds(60).await;
    assert_eq!(read().await.0, Verdict::NoData);
}

#[tokio::test(start_paused = true)]
async fn a_host_begun_under_a_gate_that_was_red_for_long_breaks_the_eighth_promise() {
    for (wait_s, expected) in [(5, vec![]), (30, vec![Promise::S8])] {
        let site = Site::new();
        site.world.gate_is(&"production".into(), &"errors".into(), Verdict::Red, "0.3");
        seconds(wait_s).await;
        let claim = Step { stage: Some("canary fleet".into()), ..site.step("c", "cny-1", claim()) };
        site.act(claim).await.unwrap();
        assert_eq!(site.promises(), expected, "after {wait_s} s");
    }
}

/// What is broken when a host is begun by a process that stood still for 40 s from its decision on, during which the gate
/// turned to what is told, after so many seconds.
async fn begun_late(before: Verdict, turns: &[(u64, Verdict)]) -> Vec<Promise> {
    let site = Site::new();
    let gate = |verdict| site.world.gate_is(&"production".into(), &"errors".into(), verdict, "0.3");
    gate(before);
    seconds(30).await;
    let claim = Step { stage: Some("canary fleet".into()), ..site.step("c", "cny-1", claim()) };
    site.world.process_stands_still(true);
    let goes_on = async {
        let mut gone_s = 0;
        for (at_s, verdict) in turns {
            seconds(at_s - gone_s).await;
            gate(*verdict);
            gone_s = *at_s;
        }
        seconds(40 - gone_s).await;
        site.world.process_stands_still(false);
    };
    let (claimed, ()) = tokio::join!(site.act(claim), goes_on);
    claimed.expect("a free host is claimed");
    site.promises()
}

#[tokio::test(start_paused = true)]
async fn who_stands_still_is_judged_by_how_the_gate_stood_when_the_host_was_decided_on() {
    use Verdict::{Green, Red};
    assert_eq!(begun_late(Green, &[(5, Red)]).await, [], "it turned meanwhile");
    assert_eq!(begun_late(Green, &[(5, Red), (35, Green)]).await, [], "and back");
    assert_eq!(begun_late(Red, &[]).await, [Promise::S8]);
    assert_eq!(begun_late(Red, &[(5, Green)]).await, [Promise::S8], "what came too late helps nobody");
}

#[tokio::test(start_paused = true)]
async fn what_a_host_refuses_of_an_older_service_begins_nothing_there() {
    let site = Site::new();
    let of = |generation, id, action| Step {
        generation: Generation(generation),
        stage: Some("canary fleet".into()),
        ..site.step(id, "cny-1", action)
    };
    site.act(of(2, "c2", claim())).await.unwrap();
    site.act(of(2, "r2", Action::Release)).await.unwrap();
    site.world.gate_is(&"production".into(), &"errors".into(), Verdict::Red, "0.3");
    seconds(30).await;
    assert_eq!(site.act(of(1, "c1", claim())).await.unwrap_err().kind, FailureKind::Superseded);
    assert_eq!(site.promises(), []);
}

#[tokio::test(start_paused = true)]
async fn a_host_begun_under_a_hold_breaks_the_ninth_promise_and_one_that_goes_back_does_not() {
    let mut desired = canary_desired("1", "2", 5);
    let hold = Hold { scope: HoldScope::Canary, reason: "load test".into(), until: None };
    desired.exceptions.holds = vec![hold];
    let site = Site::wanting(desired.clone());
    site.act(site.step("w", "web-1", claim())).await.unwrap();
    assert_eq!(site.promises(), [], "the main track has no hold, and its canary neither moves");
    site.act(site.step("c", "cny-1", claim())).await.unwrap();
    assert_eq!(site.promises(), [Promise::S9]);

    let site = Site::wanting(desired);
    site.world.installs_by_hand(&host("cny-2"), &version("2"));
    let back = Step { version: version("1"), ..site.step("c", "cny-1", claim()) };
    site.act(back).await.unwrap();
    assert_eq!(site.promises(), []);
}

#[tokio::test(start_paused = true)]
async fn an_agent_is_paused_with_our_mark_and_somebody_elses_pause_stays() {
    let site = Site::new();
    let agent_of = async |name: &str| site.see(name).await.agent.expect("it has an agent");
    site.must("p", "cny-1", Action::PauseAgent { agent: agent() }).await;
    let paused = AgentState { active: false, busy: false, paused_by_us: true };
    assert_eq!(agent_of("cny-1").await, paused);
    site.must("r", "cny-1", Action::ResumeAgent { agent: agent() }).await;
    assert!(agent_of("cny-1").await.active);

    site.world.somebody_sets_agent(&host("cny-2"), false);
    for action in [Action::PauseAgent { agent: agent() }, Action::ResumeAgent { agent: agent() }] {
        let step = site.step(&action.kind().to_string(), "cny-2", action);
        assert_eq!(site.act(step).await, Ok(Outcome::AlreadyDone));
    }
    assert_eq!(agent_of("cny-2").await, AgentState { active: false, busy: false, paused_by_us: false });
    site.world.agent_is_busy(&host("web-1"), SignedDuration::from_secs(30));
    assert!(agent_of("web-1").await.busy);
    seconds(31).await;
    assert!(!agent_of("web-1").await.busy);
    assert_eq!(site.see("deploy-1").await.agent, None);
}

#[tokio::test(start_paused = true)]
async fn who_stands_still_is_judged_by_the_agent_as_it_was_when_the_install_was_decided() {
    for (started_before_s, broken) in [(0, vec![]), (60, vec![Promise::Agent])] {
        let site = Site::new();
        site.migrate(1).await.unwrap();
        site.must("p", "cny-1", Action::PauseAgent { agent: agent() }).await;
        site.world.somebody_sets_agent(&host("cny-1"), true);
        seconds(started_before_s).await;
        site.world.process_stands_still(true);
        let goes_on = async {
            seconds(40).await;
            site.world.process_stands_still(false);
        };
        let (installed, ()) = tokio::join!(site.act(site.step("i", "cny-1", install("2"))), goes_on);
        installed.expect("the agent is in nobody's way");
        assert_eq!(site.promises(), broken, "it was started {started_before_s} s before");
    }
}

#[tokio::test(start_paused = true)]
async fn agents_run_by_themselves_now_and_then() {
    let site = Site::new();
    let mut busy = 0;
    for _ in 0..720 {
        seconds(10).await;
        busy += u32::from(site.see("web-1").await.agent.unwrap().busy);
    }
    assert!((1..60).contains(&busy), "{busy} readings in two hours");
}

#[tokio::test(start_paused = true)]
async fn patches_are_there_until_the_next_install_and_run_after_the_next_activation() {
    let site = Site::new();
    let patch = |sha256: &str| PatchFile {
        sha256: sha256.to_owned(),
        file: "patches/fix.patch".to_owned(),
        root: "/opt/shop".to_owned(),
        contents: String::new(),
    };
    let (files, web_1) = (|sha: &str| Action::Patch { want: vec![patch(sha)] }, host("web-1"));
    let sha = |text: &str| std::collections::BTreeSet::from([text.to_owned()]);
    site.world.patch_fits("bb", false);
    assert_eq!(site.fails("p1", "web-1", files("bb")).await, FailureKind::PatchFailed);
    site.must("p2", "web-1", files("aa")).await;
    assert_eq!(site.see("web-1").await.patches, sha("aa"));
    assert_eq!(site.world.patches(&web_1), (sha("aa"), std::collections::BTreeSet::new()));
    let state = site.see("web-1").await;
    assert_eq!(state.services["app"].running(Some(&version("1"))), Running::Older);
    site.must("d", "web-1", drain("web-1")).await;
    site.must("a", "web-1", activate("1")).await;
    assert_eq!(site.world.patches(&web_1), (sha("aa"), sha("aa")));
    site.must("p3", "web-1", Action::Patch { want: Vec::new() }).await;
    assert_eq!(site.see("web-1").await.patches, std::collections::BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn a_dead_host_is_retired_without_touching_it() {
    let site = Site::new();
    site.world.cut_off(&host("web-1"));
    assert_eq!(site.fails("c", "web-1", claim()).await, FailureKind::Unreachable);
    site.must("r", "web-1", Action::Retire { rows: rows("web-1"), found: std::collections::BTreeSet::new() })
        .await;
    assert_eq!(site.row("lb-2", "web-1").await.admin, Admin::Drain);
}

#[tokio::test(start_paused = true)]
async fn the_archive_offers_what_is_published() {
    let site = Site::new();
    site.world.publish(&version("3"));
    let observed = site.world.observe(&Scope::Versions("production".into())).await;
    let offered = observed.versions.unwrap().value.unwrap();
    assert_eq!(offered, [version("1"), version("3")].into());
}

#[tokio::test(start_paused = true)]
async fn what_keeps_an_environment_from_being_settled_is_told_in_words() {
    let site = Site::new();
    let desired = site.source.said(&site.commit).unwrap().remove("production").unwrap();
    let left = site.world.unsettled_on(&desired);
    assert!(left.contains(&"cny-1 does not run 2".to_owned()), "{left:?}");
    assert!(left.contains(&"the canary has 0.00% of web on lb-1, not 5%".to_owned()), "{left:?}");
    assert_eq!(left.len(), 4, "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_declared_out_does_not_count_at_the_floor() {
    for (is_out, expected) in [(true, vec![]), (false, vec![Promise::S1, Promise::S1])] {
        let mut desired = canary_desired("1", "2", 5);
        let out = Out { what: OutTarget::Host(host("web-1")), reason: "disk".into(), until: None };
        desired.exceptions.outs.extend(is_out.then_some(out));
        let site = Site::wanting(desired);
        site.must(
            "r",
            "web-1",
            Action::Retire { rows: rows("web-1"), found: std::collections::BTreeSet::new() },
        )
        .await;
        site.must("d", "web-2", drain("web-2")).await;
        assert_eq!(site.promises(), expected);
    }
}
