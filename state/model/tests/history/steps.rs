//! Steps that begin and end, and what stays of them.

use std::collections::BTreeSet;

use model::*;

use super::*;

#[test]
fn a_step_is_under_way_between_its_beginning_and_its_end() {
    let mut history = history();
    started(&mut history, 1, &step("s1", install()));
    assert_eq!(history.steps, 1);
    assert_eq!(history.in_flight_on(&"web-01".into()).unwrap().since, at(1));
    assert!(history.in_flight_on(&"web-02".into()).is_none());
    finished(&mut history, 2, "s1", changed());
    assert!(history.in_flight.is_empty());
    started(&mut history, 3, &step("s2", install()));
    assert_eq!(history.steps, 2);
}

#[test]
fn a_step_begins_once_and_ends_only_after_that() {
    let mut history = history();
    let started = Event::StepStarted { step: step("s1", install()) };
    let finished =
        Event::StepFinished { environment: "production".into(), step: "s1".into(), result: changed() };
    assert_eq!(history.apply(at(1), &finished), Err(IllegalEvent::NotStarted { step: "s1".into() }));
    history.apply(at(1), &started).unwrap();
    let before = history.clone();
    assert_eq!(history.apply(at(2), &started), Err(IllegalEvent::AlreadyStarted { step: "s1".into() }));
    assert_eq!(history, before);
}

#[test]
fn facts_of_the_host_and_its_load_balancers_are_stale_when_a_step_begins_and_when_it_ends() {
    let mut history = history();
    started(&mut history, 1, &step("s1", drain()));
    let last = |history: &History, name: &str| history.last_action.get(name).copied();
    assert_eq!((last(&history, "web-01"), last(&history, "fe-01")), (Some(at(1)), Some(at(1))));
    finished(&mut history, 4, "s1", changed());
    assert_eq!((last(&history, "web-01"), last(&history, "fe-01")), (Some(at(4)), Some(at(4))));
    assert_eq!(last(&history, "web-02"), None);
}

#[test]
fn a_claim_stands_with_what_was_found_until_it_is_released() {
    let mut history = history();
    done(&mut history, 1, &step("s1", claim()), changed());
    let claimed = history.claims.get("web-01").unwrap().clone();
    assert_eq!((claimed.generation, claimed.service.as_str(), claimed.at), (Generation(3), "deploy", at(2)));
    assert_eq!((claimed.commit, claimed.found), (CommitId::new("c1"), BTreeSet::from([row("found")])));
    done(&mut history, 3, &step("s2", Action::Release), changed());
    assert!(history.claims.is_empty());
}

#[test]
fn who_is_being_let_go_is_remembered_until_the_next_claim() {
    let mut history = history();
    let gone = BTreeSet::from(["web-01".into()]);
    for (seconds, again) in [(1, claim()), (5, retire())] {
        started(&mut history, seconds, &step(&format!("release-{seconds}"), Action::Release));
        assert_eq!(history.letting_go, gone);
        started(&mut history, seconds + 1, &step(&format!("install-{seconds}"), install()));
        assert_eq!(history.letting_go, gone);
        started(&mut history, seconds + 2, &step(&format!("again-{seconds}"), again));
        assert!(history.letting_go.is_empty());
    }
}

#[test]
fn who_is_drained_again_was_not_let_go_and_stays_known_as_out_by_us() {
    let mut history = history();
    done(&mut history, 1, &step("claim", claim()), changed());
    done(&mut history, 3, &step("release", Action::Release), Err(failure(FailureKind::Unreachable)));
    done(&mut history, 5, &step("drain", drain()), changed());
    history.apply(at(7), &service(4)).unwrap();
    started(&mut history, 8, &step("again", claim()));
    assert!(history.taken_out.has(&"web-01".into(), &row("web-01"), Admin::Drain));
}

#[test]
fn a_drain_that_failed_may_have_been_done_just_now() {
    for action in [drain(), Action::Maint { rows: rows() }] {
        let mut history = history();
        history.drained.insert("web-01".into(), at(0));
        done(&mut history, 100, &step("s1", action), Err(failure(FailureKind::TimedOut)));
        assert_eq!(history.drained["web-01"], at(101), "its sessions have all their time");
    }
}

#[test]
fn a_drain_or_maintenance_is_dated_by_its_end_until_the_rows_are_ready() {
    let mut history = history();
    for action in [drain(), Action::Maint { rows: rows() }] {
        done(&mut history, 1, &step("s1", action), changed());
        assert_eq!(history.drained["web-01"], at(2));
        done(&mut history, 3, &step("s2", ready(ReadyBecause::Healthy)), changed());
        assert!(history.drained.is_empty());
        assert!(history.troubles.is_empty());
    }
}

#[test]
fn activations_are_counted_for_each_release() {
    let mut history = history();
    done(&mut history, 1, &step("s1", activate()), changed());
    done(&mut history, 3, &step("s2", activate()), changed());
    let activated = &history.activated["web-01"];
    assert_eq!((activated.times, activated.at, activated.version.as_str()), (2, at(4), "1.1"));
    let other = Step { version: version("1.2"), ..step("s3", activate()) };
    done(&mut history, 5, &other, changed());
    assert_eq!(history.activated["web-01"].times, 1);
}

#[test]
fn who_is_retired_without_our_mark_is_claimed_and_who_has_it_keeps_it() {
    let mut history = history();
    done(&mut history, 1, &step("s1", retire()), changed());
    let claimed = history.claims["web-01"].clone();
    assert_eq!(claimed.found, BTreeSet::from([row("found")]));
    assert_eq!(history.drained["web-01"], at(2));
    done(&mut history, 5, &step("s2", retire()), changed());
    assert_eq!(history.claims["web-01"], claimed);
    assert_eq!(history.drained["web-01"], at(2), "drained since the first time");
    done(&mut history, 7, &step("s3", Action::Release), changed());
    assert!(history.drained.is_empty());
}

#[test]
fn who_is_out_was_never_put_into_maintenance_by_us_until_we_work_there() {
    let others = |history: &History| {
        let is_others = |row: &RowId, admin| history.taken_out.is_others(&"web-01".into(), row, admin);
        assert!(!rows().iter().any(|row| is_others(row, Admin::Drain)), "a drain has one bit");
        rows().iter().all(|row| is_others(row, Admin::Maint))
    };
    let mut history = history();
    assert!(!others(&history), "nothing is known of it");
    done(&mut history, 1, &step("s1", retire()), changed());
    assert!(others(&history));
    for (id, action) in [("s2", drain()), ("s3", Action::Maint { rows: rows() })] {
        done(&mut history, 3, &step(id, action), changed());
        assert!(!others(&history));
    }
}

#[test]
fn what_a_mark_newly_calls_somebody_elses_was_taken_out_by_us_no_more() {
    let ours = |history: &History| {
        rows().iter().all(|row| history.taken_out.has(&"web-01".into(), row, Admin::Drain))
    };
    let mut history = history();
    let finds = |id: &str| step(id, Action::Claim { found: rows() });
    done(&mut history, 1, &step("s1", claim()), changed());
    done(&mut history, 3, &step("s2", drain()), changed());
    done(&mut history, 5, &finds("s3"), changed());
    assert!(!ours(&history));
    // They gave it back, and we took it out since: the same mark once more says nothing new.
    done(&mut history, 7, &step("s4", retire()), changed());
    done(&mut history, 9, &finds("s5"), changed());
    assert!(ours(&history));
}

#[test]
fn a_mark_of_which_nobody_heard_may_still_call_somebody_elses_what_the_one_before_did() {
    let mut history = history();
    let theirs: BTreeSet<RowId> = [row("fe-01")].into();
    started(&mut history, 1, &step("first", Action::Claim { found: theirs.clone() }));
    finished(&mut history, 2, "first", Ok(Outcome::Changed(String::new())));
    started(&mut history, 3, &step("second", Action::Claim { found: BTreeSet::new() }));
    history.apply(at(9), &service(4)).unwrap();
    assert_eq!(history.claims["web-01"].found, theirs);
}

#[test]
fn a_mark_is_known_to_have_been_there_when_it_was_answered() {
    let mut history = history();
    done(&mut history, 1, &step("s1", claim()), Err(failure(FailureKind::Interrupted)));
    assert!(history.claims.contains_key("web-01") && history.marked.is_empty(), "nobody knows");
    done(&mut history, 3, &step("s2", claim()), changed());
    assert!(history.marked.contains("web-01"));
    done(&mut history, 5, &step("s3", Action::Release), Err(failure(FailureKind::Interrupted)));
    assert!(history.marked.contains("web-01"), "nobody knows whether it is gone");
    started(&mut history, 7, &step("s4", claim()));
    assert!(history.marked.is_empty(), "it is begun anew");
    finished(&mut history, 8, "s4", changed());
    done(&mut history, 9, &step("s5", Action::Release), changed());
    assert!(history.marked.is_empty());
}

#[test]
fn what_we_took_out_is_ours_until_it_is_ready_or_the_host_was_let_go() {
    let taken = |history: &History, admin| {
        rows().iter().all(|row| history.taken_out.has(&"web-01".into(), row, admin))
    };
    let mut history = history();
    for action in [drain(), retire()] {
        started(&mut history, 1, &step("s1", action));
        assert!(taken(&history, Admin::Drain), "from the intent on");
        assert!(!taken(&history, Admin::Maint) && !taken(&history, Admin::Ready));
        assert!(!history.taken_out.has(&"web-02".into(), rows().first().unwrap(), Admin::Drain));
        finished(&mut history, 2, "s1", changed());
        done(&mut history, 3, &step("s2", ready(ReadyBecause::Healthy)), changed());
        assert!(!taken(&history, Admin::Drain), "made ready");
    }
    done(&mut history, 5, &step("s3", Action::Maint { rows: rows() }), changed());
    assert!(taken(&history, Admin::Maint) && taken(&history, Admin::Drain), "it comes out of it by a drain");
    done(&mut history, 7, &step("s4", Action::Release), changed());
    assert!(!taken(&history, Admin::Drain), "released");
    done(&mut history, 9, &step("s5", drain()), changed());
    done(&mut history, 11, &step("s6", Action::Release), Err(failure(FailureKind::Interrupted)));
    assert!(taken(&history, Admin::Drain), "nobody knows whether it was let go");
    done(&mut history, 13, &step("s7", claim()), changed());
    assert!(!taken(&history, Admin::Drain), "begun anew");
}

#[test]
fn what_was_seen_otherwise_since_we_took_it_out_is_ours_no_more() {
    let mut history = history();
    done(&mut history, 1, &step("s1", retire()), changed());
    let ours = |history: &History| -> BTreeSet<RowId> {
        rows().into_iter().filter(|row| history.taken_out.has(&"web-01".into(), row, Admin::Drain)).collect()
    };
    assert_eq!(ours(&history), rows());
    let undone = Event::Undone { environment: "production".into(), host: "web-01".into(), rows: rows() };
    history.apply(at(2), &undone).unwrap();
    assert_eq!(ours(&history), BTreeSet::new());
}

#[test]
fn a_host_that_left_the_fleet_is_remembered_in_its_role_until_it_is_released() {
    let mut history = left_the_fleet();
    let departed: Vec<(&str, &str)> =
        history.departed.iter().map(|(host, role)| (host.as_str(), role.name.as_str())).collect();
    assert_eq!(departed, [("web-01", "web"), ("web-02", "web")]);
    done(&mut history, 2, &step("s1", Action::Release), changed());
    assert_eq!(history.departed.into_keys().collect::<Vec<_>>(), ["web-02".into()]);
}

#[test]
fn who_left_a_role_without_anything_begun_and_runs_jobs_now_is_let_go_as_that() {
    let marked = |mut history: History, of: &str| {
        done(&mut history, 9, &Step { role: of.into(), ..step("c", claim()) }, changed());
        history.departed.into_keys().map(|host| host.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(marked(left_the_fleet(), "(migrations)"), ["web-02"]);
    assert_eq!(marked(left_the_fleet(), "web"), ["web-01", "web-02"]);
    let mut begun = left_the_fleet();
    done(&mut begun, 3, &step("c", claim()), changed());
    assert_eq!(marked(begun, "(migrations)"), ["web-01", "web-02"]);
    let mut is_out = left_the_fleet();
    started(&mut is_out, 3, &step("d", drain()));
    assert_eq!(marked(is_out, "(migrations)"), ["web-01", "web-02"]);
    let mut ran_jobs = left_the_fleet();
    ran_jobs.departed.get_mut("web-01").unwrap().name = "(jobs)".into();
    assert_eq!(marked(ran_jobs, "(migrations)"), ["web-01", "web-02"], "until it is let go as that");
}

/// Two hosts of a role went.
fn left_the_fleet() -> History {
    let mut history = history();
    let role = Role {
        name: "web".into(),
        track: Track::Main,
        hosts: vec!["web-01".into(), "web-02".into()],
        packages: Vec::new(),
        package_version: "{version}".into(),
        max_unavailable: 1,
        backends: Vec::new(),
        allow_outage: false,
        prepare: Vec::new(),
        configure: Vec::new(),
        services: Vec::new(),
        health: None,
    };
    let departed = Event::Departed { environment: "production".into(), roles: vec![role] };
    history.apply(at(1), &departed).unwrap();
    history
}

#[test]
fn what_a_step_takes_is_a_moving_mean_of_those_that_changed_something() {
    let mut history = history();
    let mut takes = |began: i64, ended: i64, outcome: Outcome| {
        started(&mut history, began, &step("s", install()));
        finished(&mut history, ended, "s", Ok(outcome));
        history.durations_ms.get(&ActionKind::Install).copied()
    };
    let news = || Outcome::Changed(String::new());
    assert_eq!(takes(100, 108, news()), Some(8_000));
    assert_eq!(takes(200, 216, news()), Some(10_000));
    assert_eq!(takes(300, 399, Outcome::AlreadyDone), Some(10_000));
    assert_eq!(takes(400, 402, news()), Some(8_000));
}

/// Every step of the service before is interrupted: what it may have done is taken for done where that is safer.
#[test]
fn a_new_service_finds_nothing_under_way_and_assumes_that_it_was_begun() {
    let mut history = history();
    let on = |host: &str, action| Step { host: host.into(), ..step(host, action) };
    for (host, action) in [
        ("claimed", claim()),
        ("drained", drain()),
        ("retired", retire()),
        ("activated", activate()),
        ("installed", install()),
    ] {
        started(&mut history, 1, &on(host, action));
    }
    history.apply(at(9), &service(4)).unwrap();
    assert!(history.in_flight.is_empty());
    assert_eq!(history.generation, Generation(4));
    assert_eq!(history.claims.keys().collect::<Vec<_>>(), [&"claimed".into(), &"retired".into()]);
    assert_eq!(history.drained.keys().collect::<Vec<_>>(), [&"drained".into(), &"retired".into()]);
    let activated = &history.activated["activated"];
    assert_eq!((activated.times, activated.at), (0, at(9)));
    assert_eq!(history.last_action["installed"], at(9));
    assert_eq!(history.last_action["fe-01"], at(9));
}

#[test]
fn generations_rise() {
    let mut history = history();
    let before = history.clone();
    for generation in [2, 3] {
        let refused = IllegalEvent::GenerationNotRising { old: Generation(3), new: Generation(generation) };
        assert_eq!(history.apply(at(1), &service(generation)), Err(refused));
    }
    assert_eq!(history, before);
    history.apply(at(1), &service(4)).unwrap();
    assert_eq!(history.service, "deploy");
}
