//! How releases move: what is in force, stages, jobs, shares, gates, pauses, and what was found at first sight.

use model::*;

use super::*;

fn environment() -> EnvironmentName {
    "production".into()
}

fn apply(history: &mut History, seconds: i64, event: Event) {
    history.apply(at(seconds), &event).unwrap();
}

fn adopted(running: &[&str], ahead: &[&str], jobs: Vec<FoundJob>) -> Event {
    let versions = |texts: &[&str]| texts.iter().map(|text| version(text)).collect();
    Event::Adopted {
        environment: environment(),
        by: "ada".into(),
        reason: "found so".into(),
        running: versions(running),
        ahead: versions(ahead),
        jobs,
    }
}

fn stage(name: &str, track: Track) -> Stage {
    Stage {
        name: name.into(),
        track,
        run: Run::Migrate,
        gates: Vec::new(),
        checks: Vec::new(),
        soak: SignedDuration::ZERO,
        on_red: OnRed::Hold,
    }
}

#[test]
fn main_keeps_its_beginning_while_only_the_canary_moves() {
    let mut history = history();
    apply(&mut history, 1, accepted("c1", "1.1", None));
    apply(&mut history, 2, accepted("c2", "1.1", Some("1.2")));
    let in_force = history.accepted.clone().unwrap();
    assert_eq!((in_force.commit, in_force.at, in_force.main_since), (CommitId::new("c2"), at(2), at(1)));
    assert_eq!((in_force.canary, in_force.canary_since), (Some(version("1.2")), at(2)));
    apply(&mut history, 3, accepted("c3", "1.2", Some("1.2")));
    let since = |history: &History| {
        let in_force = history.accepted.as_ref().unwrap();
        (in_force.main_since, in_force.canary_since)
    };
    assert_eq!(since(&history), (at(3), at(2)));
    apply(&mut history, 4, accepted("c4", "1.2", None));
    assert_eq!(since(&history), (at(3), at(2)), "the canary takes from main what it has");
    apply(&mut history, 5, accepted("c5", "1.3", None));
    assert_eq!(since(&history), (at(5), at(5)));
    let targets = &history.progress.targets;
    assert_eq!(targets[&Track::Main], [version("1.1"), version("1.2"), version("1.3")].into());
    assert_eq!(targets[&Track::Canary], [version("1.2")].into());
    assert_eq!(history.progress.appeared, ["1.1", "1.2", "1.3"].map(version));
}

#[test]
fn it_is_remembered_when_actual_last_equalled_desired() {
    let mut history = history();
    let commit = CommitId::new("c1");
    let converged =
        Event::Converged { environment: environment(), commit: commit.clone(), version: version("1.1") };
    apply(&mut history, 5, converged);
    assert_eq!(history.converged, Some((commit, at(5))));
}

#[test]
fn a_stage_begins_works_and_passes_with_one_release() {
    let mut history = history();
    let stage = stage("fleet", Track::Main);
    let event = |make: fn(EnvironmentName, StageName, Version) -> Event, release: &str| {
        make(environment(), "fleet".into(), version(release))
    };
    let began = |environment, stage, version| Event::StageBegan { environment, stage, version };
    let worked = |environment, stage, version| Event::StageWorked { environment, stage, version };
    let passed = |environment, stage, version| Event::StagePassed { environment, stage, version };
    apply(&mut history, 1, event(began, "1.1"));
    apply(&mut history, 2, event(worked, "1.1"));
    assert!(!history.has_passed(&stage, &version("1.1")));
    apply(&mut history, 3, event(passed, "1.1"));
    let run = |history: &History| {
        let run = history.progress.runs["fleet"].clone();
        (run.version.to_string(), run.began, run.worked, run.passed)
    };
    assert_eq!(run(&history), ("1.1".into(), at(1), Some(at(2)), Some(at(3))));
    assert!(history.has_passed(&stage, &version("1.1")));
    assert!(!history.has_passed(&stage, &version("1.2")));
    apply(&mut history, 4, event(worked, "1.2"));
    assert_eq!(run(&history), ("1.2".into(), at(4), Some(at(4)), None));
    apply(&mut history, 5, event(began, "1.3"));
    assert_eq!(run(&history), ("1.3".into(), at(5), None, None));
    assert!(history.has_passed(&stage, &version("1.1")), "that stays");
}

/// A stage of a track that has been through with 1.1 in the first three seconds, when that is a target of both tracks.
fn been_through(track: Track) -> (History, Stage) {
    let (mut history, stage) = (history(), stage("fleet", track));
    apply(&mut history, 0, accepted("c1", "1.1", None));
    let (name, of) = (|| "fleet".into(), || version("1.1"));
    apply(&mut history, 1, Event::StageBegan { environment: environment(), stage: name(), version: of() });
    apply(&mut history, 2, Event::StageWorked { environment: environment(), stage: name(), version: of() });
    apply(&mut history, 3, Event::StagePassed { environment: environment(), stage: name(), version: of() });
    (history, stage)
}

fn run_of(history: &History, stage: &Stage) -> Option<(Timestamp, Option<Timestamp>, Option<Timestamp>)> {
    history.run(stage, &version("1.1")).map(|run| (run.began, run.worked, run.passed))
}

#[test]
fn what_a_stage_went_through_counts_as_long_as_its_track_has_the_target() {
    let (mut history, main) = been_through(Track::Main);
    let canary = stage("fleet", Track::Canary);
    let through = Some((at(1), Some(at(2)), Some(at(3))));
    assert_eq!([&main, &canary].map(|stage| run_of(&history, stage)), [through, through]);
    assert_eq!(history.run(&main, &version("1.2")), None);
    apply(&mut history, 4, accepted("c2", "1.1", Some("1.2")));
    assert_eq!([&main, &canary].map(|stage| run_of(&history, stage)), [through, None]);
    assert_eq!([&main, &canary].map(|stage| history.has_passed(stage, &version("1.1"))), [true, false]);
    apply(&mut history, 5, accepted("c3", "1.2", Some("1.1")));
    assert_eq!([&main, &canary].map(|stage| run_of(&history, stage)), [None, None], "not for another time");
    assert_eq!([&main, &canary].map(|stage| history.has_passed(stage, &version("1.1"))), [false, false]);
}

#[test]
fn a_stage_that_comes_back_with_nothing_to_do_begins_when_that_is_told() {
    let (mut history, stage) = been_through(Track::Main);
    apply(&mut history, 4, accepted("c2", "1.2", None));
    apply(&mut history, 5, accepted("c3", "1.1", None));
    assert_eq!(run_of(&history, &stage), None);
    let (name, of) = (|| "fleet".into(), || version("1.1"));
    apply(&mut history, 5, Event::StageWorked { environment: environment(), stage: name(), version: of() });
    assert_eq!(run_of(&history, &stage), Some((at(5), Some(at(5)), None)));
    assert!(!history.has_passed(&stage, &version("1.1")));
    apply(&mut history, 6, Event::StagePassed { environment: environment(), stage: name(), version: of() });
    assert_eq!(run_of(&history, &stage), Some((at(5), Some(at(5)), Some(at(6)))));
    assert!(history.has_passed(&stage, &version("1.1")));
}

#[test]
fn a_stage_has_passed_for_good_where_its_whole_track_has() {
    let (mut history, stage) = been_through(Track::Canary);
    let passed = |track, release| Event::Passed {
        environment: environment(),
        track,
        version: version(release),
        stages: vec!["fleet".into()],
    };
    apply(&mut history, 4, accepted("c2", "1.2", None));
    for other in [passed(Track::Main, "1.1"), passed(Track::Canary, "1.2")] {
        apply(&mut history, 5, other);
        assert!(!history.has_passed(&stage, &version("1.1")));
    }
    apply(&mut history, 6, passed(Track::Canary, "1.1"));
    assert!(history.has_passed(&stage, &version("1.1")));
    let (mut history, stage) = been_through(Track::Canary);
    history.progress.passed.clear();
    apply(&mut history, 4, passed(Track::Canary, "1.1"));
    assert!(!history.has_passed(&stage, &version("1.1")), "a stage that is new since");
}

#[test]
fn a_track_that_has_passed_says_with_what_or_by_whose_word() {
    let mut history = history();
    let passed = Event::Passed {
        environment: environment(),
        track: Track::Canary,
        version: version("1.1"),
        stages: vec!["fleet".into()],
    };
    let verified = Event::Verified {
        environment: environment(),
        track: Track::Main,
        version: version("1.1"),
        by: "ada".into(),
        reason: "tested by hand".into(),
    };
    apply(&mut history, 1, passed);
    apply(&mut history, 2, verified);
    let pass = |track, release| history.progress.pass(&environment(), track, &version(release));
    assert_eq!(pass(Track::Canary, "1.1").unwrap().stages, ["fleet".into()]);
    assert_eq!(pass(Track::Canary, "1.1").unwrap().at, at(1));
    let word = pass(Track::Main, "1.1").unwrap().word.clone();
    assert_eq!(word, Some(("ada".into(), "tested by hand".into())));
    assert!(pass(Track::Main, "1.2").is_none());
    assert!(history.progress.pass(&"staging".into(), Track::Main, &version("1.1")).is_none());
}

#[test]
fn a_canary_that_was_taken_out_counts_as_withdrawn_until_its_share_grows() {
    let mut history = history();
    let share = |weight| Event::ShareReached { environment: environment(), version: version("1.1"), weight };
    apply(&mut history, 1, share(5));
    assert_eq!(history.progress.share.as_ref().map(|share| (share.weight, share.at)), Some((5, at(1))));
    apply(&mut history, 2, Event::ShareWithdrawn { environment: environment(), gate: "alerts".into() });
    assert_eq!((&history.progress.share, history.progress.withdrawn), (&None, Some(at(2))));
    apply(&mut history, 3, share(0));
    assert_eq!(history.progress.withdrawn, Some(at(2)));
    apply(&mut history, 4, share(5));
    assert_eq!(history.progress.withdrawn, None);
}

#[test]
fn a_gate_is_remembered_as_it_last_turned() {
    let mut history = history();
    for (seconds, verdict) in [(1, Verdict::Green), (7, Verdict::Red)] {
        let turned = Event::GateTurned {
            environment: environment(),
            gate: "alerts".into(),
            verdict,
            value: String::new(),
        };
        apply(&mut history, seconds, turned);
        let turn = &history.progress.gates["alerts"];
        assert_eq!((turn.verdict, turn.at), (verdict, at(seconds)));
    }
}

#[test]
fn a_pause_lasts_until_somebody_resumes() {
    let mut history = history();
    let (by, reason) = ("ada".to_owned(), "look".to_owned());
    let paused =
        Event::Paused { environment: environment(), by: by.clone(), reason: reason.clone(), until: at(100) };
    apply(&mut history, 1, paused);
    let pause = history.progress.pause.clone().unwrap();
    assert_eq!((pause.by, pause.reason), (by.clone(), reason.clone()));
    assert_eq!((pause.at, pause.until), (at(1), at(100)));
    apply(&mut history, 2, Event::Resumed { environment: environment(), by, reason });
    assert!(history.progress.pause.is_none());
}

#[test]
fn a_job_is_begun_and_passes_with_its_output() {
    let mut history = history();
    let key = pre_migration("1.1");
    started(&mut history, 1, &step("s1", migrate(key.clone())));
    let record = |history: &History| history.progress.jobs[&pre_migration("1.1")].clone();
    let (began, host) = (Some(at(1)), Some("web-01".into()));
    let begun = JobRecord { attempt: 1, state: JobState::Begun { at: at(1) }, began, host };
    assert_eq!(record(&history), begun);
    assert!(!history.progress.job_passed(&key) && !history.progress.is_migrated(&version("1.1")));
    finished(&mut history, 5, "s1", changed());
    assert_eq!(record(&history).state, JobState::Passed { at: at(5), output: "done".into() });
    assert!(history.progress.job_passed(&key) && history.progress.is_migrated(&version("1.1")));
    assert!(!history.progress.is_migrated(&version("1.2")));
}

#[test]
fn a_job_that_fails_is_no_trouble_of_its_host_and_waits_for_a_person() {
    let mut history = history();
    for (seconds, attempt) in [(10, 1), (20, 2), (30, 3)] {
        done(
            &mut history,
            seconds,
            &step("s", migrate(pre_migration("1.1"))),
            Err(failure(FailureKind::JobFailed)),
        );
        assert!(history.troubles.is_empty());
        let record = &history.progress.jobs[&pre_migration("1.1")];
        let failed = JobState::Failed { at: at(seconds + 1), failure: failure(FailureKind::JobFailed) };
        assert_eq!((record.attempt, &record.state), (attempt, &failed));
        apply(&mut history, seconds + 5, retried());
        let record = &history.progress.jobs[&pre_migration("1.1")];
        let wanted =
            JobRecord { attempt: attempt + 1, state: JobState::Wanted, began: Some(at(11 - 1)), host: None };
        assert_eq!(*record, wanted);
    }
}

#[test]
fn who_asks_again_does_not_ask_for_what_has_not_failed() {
    let mut history = history();
    started(&mut history, 1, &step("s1", migrate(pre_migration("1.1"))));
    let mut before = history.progress.clone();
    apply(&mut history, 2, retried());
    assert_eq!(history.progress, before, "it is under way");
    finished(&mut history, 3, "s1", Err(failure(FailureKind::Unreachable)));
    apply(&mut history, 5, retried());
    // But for a job on a host that runs none any more, which is not asked for there again.
    before.jobs.values_mut().for_each(|record| record.host = None);
    assert_eq!(history.progress, before);
}

#[test]
fn a_migration_that_was_not_ready_was_not_begun() {
    let mut history = history();
    let post = step("s", migrate(post_migration("1.1")));
    done(&mut history, 1, &post, Err(failure(FailureKind::NotReady)));
    assert_eq!(history.progress.jobs[&post_migration("1.1")].state, JobState::Wanted);
    assert_eq!(history.progress.points_of_no_return().count(), 0);
    assert_eq!(
        history.trouble(&"web-01".into(), &version("1.1")).unwrap().times,
        1,
        "it is asked again later"
    );
    // It may have begun when nobody heard of its end.
    done(&mut history, 5, &post, Err(failure(FailureKind::Unreachable)));
    done(&mut history, 9, &post, Err(failure(FailureKind::NotReady)));
    assert_eq!(history.progress.points_of_no_return().count(), 1);
}

#[test]
fn a_lost_connection_is_not_the_end_of_a_job() {
    let mut history = history();
    done(&mut history, 1, &step("s", migrate(pre_migration("1.1"))), Err(failure(FailureKind::Unreachable)));
    assert_eq!(history.progress.jobs[&pre_migration("1.1")].state, JobState::Begun { at: at(1) });
    assert_eq!(history.trouble(&"web-01".into(), &version("1.1")).unwrap().action, ActionKind::Migrate);
}

#[test]
fn a_step_without_a_job_that_fails_as_a_job_would_is_a_trouble() {
    let mut history = history();
    done(&mut history, 1, &step("s", install()), Err(failure(FailureKind::CommandFailed)));
    assert_eq!(history.trouble(&"web-01".into(), &version("1.1")).unwrap().attempts, 1);
}

#[test]
fn the_agent_is_remembered_as_it_was_last_told() {
    let mut history = history();
    let pin = Action::Pin { track: Track::Canary, command: Argv(Vec::new()) };
    done(&mut history, 1, &step("s", pin), changed());
    assert_eq!(history.progress.pinned, [(Track::Canary, version("1.1"))].into());
}

#[test]
fn what_was_found_counts_as_migrated() {
    let mut history = history();
    apply(&mut history, 1, adopted(&["1.0"], &["1.1"], Vec::new()));
    let progress = &history.progress;
    assert_eq!(progress.adopted, Some(at(1)));
    assert_eq!(["1.0", "1.1", "1.2"].map(|text| progress.is_migrated(&version(text))), [true, true, false]);
}

#[test]
fn jobs_that_hosts_remember_are_passed_or_in_question_and_ours_are_known_better() {
    let mut history = history();
    done(&mut history, 1, &step("s", migrate(pre_migration("1.0"))), changed());
    let found = [("1.0", false, 1), ("1.1", true, 1), ("1.2", false, 2)];
    let found =
        found.map(|(text, succeeded, attempt)| FoundJob { key: pre_migration(text), succeeded, attempt });
    apply(&mut history, 9, adopted(&[], &[], found.to_vec()));
    let passed = ["1.0", "1.1", "1.2"].map(|text| history.progress.job_passed(&pre_migration(text)));
    assert_eq!(passed, [true, true, false]);
    let begun =
        JobRecord { attempt: 2, state: JobState::Begun { at: at(9) }, began: Some(at(9)), host: None };
    assert_eq!(history.progress.jobs[&pre_migration("1.2")], begun);
}

#[test]
fn who_began_a_post_deployment_migration_does_not_go_back() {
    let mut history = history();
    apply(&mut history, 1, adopted(&["1.0"], &[], Vec::new()));
    done(&mut history, 5, &step("s1", migrate(pre_migration("1.1"))), changed());
    done(&mut history, 7, &step("s2", migrate(post_migration("1.1"))), Err(failure(FailureKind::JobFailed)));
    let points: Vec<(String, _)> =
        history.progress.points_of_no_return().map(|(version, at)| (version.to_string(), at)).collect();
    assert_eq!(points, [("1.1".into(), at(7)), ("1.0".into(), at(1))]);
}
