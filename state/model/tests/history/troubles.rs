//! What fails, how often, how long it is waited, and when it is forgotten.

use jiff::SignedDuration;
use model::history::{FIRST_BACKOFF, FIRST_DRAIN_BACKOFF, MAX_BACKOFF};
use model::*;

use super::*;

fn fails(history: &mut History, seconds: i64, action: Action, kind: FailureKind) {
    done(history, seconds, &step("s", action), Err(failure(kind)));
}

fn trouble(history: &History) -> Option<&Trouble> {
    history.trouble(&"web-01".into(), &version("1.1"))
}

#[test]
fn attempts_count_and_the_wait_doubles() {
    let mut history = history();
    for (times, wait_s) in [(1, 2), (2, 4), (3, 8)] {
        fails(&mut history, 10, install(), FailureKind::InstallFailed);
        let trouble = trouble(&history).unwrap();
        assert_eq!((trouble.times, trouble.attempts), (times, times));
        assert_eq!((trouble.action, trouble.failure.kind), (ActionKind::Install, FailureKind::InstallFailed));
        assert_eq!(trouble.until, at(11 + wait_s));
    }
}

#[test]
fn the_wait_is_a_minute_at_most() {
    assert_eq!([0, 1, 2, 5].map(backoff), [2, 2, 4, 32].map(SignedDuration::from_secs));
    assert_eq!([6, 7, u32::MAX].map(backoff), [MAX_BACKOFF; 3]);
}

#[test]
fn what_the_surroundings_do_counts_as_no_attempt() {
    let mut history = history();
    fails(&mut history, 1, install(), FailureKind::PackageLocked);
    fails(&mut history, 3, install(), FailureKind::InstallFailed);
    fails(&mut history, 5, install(), FailureKind::DiskFull);
    let trouble = trouble(&history).unwrap();
    assert_eq!((trouble.times, trouble.attempts), (3, 1));
}

#[test]
fn another_action_that_fails_begins_to_count_anew() {
    let mut history = history();
    fails(&mut history, 1, install(), FailureKind::InstallFailed);
    fails(&mut history, 3, activate(), FailureKind::ActivateFailed);
    let trouble = trouble(&history).unwrap();
    assert_eq!((trouble.action, trouble.times, trouble.attempts), (ActionKind::Activate, 1, 1));
}

#[test]
fn a_trouble_is_of_one_release() {
    let mut history = history();
    fails(&mut history, 1, install(), FailureKind::InstallFailed);
    assert!(history.trouble(&"web-01".into(), &version("1.2")).is_none());
    assert!(history.trouble(&"web-02".into(), &version("1.1")).is_none());
}

#[test]
fn a_trouble_ends_when_its_action_or_an_install_succeeds_on_that_host() {
    for (fails_with, kind, succeeds, over) in [
        (install(), FailureKind::InstallFailed, install(), true),
        (activate(), FailureKind::ActivateFailed, install(), true),
        (activate(), FailureKind::ActivateFailed, activate(), true),
        (install(), FailureKind::InstallFailed, activate(), false),
        (install(), FailureKind::TimedOut, activate(), false),
        (drain(), FailureKind::LoadBalancerRefused, drain(), true),
        (activate(), FailureKind::TimedOut, activate(), true),
    ] {
        let told = format!("{} {kind}, then {}", fails_with.kind(), succeeds.kind());
        let mut history = history();
        fails(&mut history, 1, fails_with, kind);
        let elsewhere = Step { host: "web-02".into(), ..step("elsewhere", succeeds.clone()) };
        done(&mut history, 3, &elsewhere, changed());
        assert!(trouble(&history).is_some(), "{told} elsewhere");
        done(&mut history, 5, &step("s", succeeds), changed());
        assert_eq!(trouble(&history).is_none(), over, "{told}");
    }
}

#[test]
fn an_install_of_another_release_ends_the_trouble_with_one_that_nobody_wants() {
    let back = Step { version: version("1.0"), ..step("back", install()) };
    for (wanted, canary, left) in
        [("1.0", None, None), ("1.1", None, Some(MAX_ATTEMPTS)), ("1.0", Some("1.1"), Some(MAX_ATTEMPTS))]
    {
        let mut history = history();
        history.apply(at(0), &accepted("c1", wanted, canary)).unwrap();
        for seconds in [1, 3, 5] {
            fails(&mut history, seconds, install(), FailureKind::InstallFailed);
        }
        done(&mut history, 7, &back, changed());
        let attempts = trouble(&history).map(|trouble| trouble.attempts);
        assert_eq!(attempts, left, "{wanted} is wanted, and {canary:?}");
    }
}

#[test]
fn on_a_host_that_works_for_both_tracks_neither_releases_troubles_touch_the_others() {
    let mut history = history();
    let pin = || Action::Pin { track: Track::Main, command: Argv(vec!["pin".into()]) };
    let of = |release: &str, action| Step {
        version: version(release),
        role: "(migrations)".into(),
        ..step("s", action)
    };
    for seconds in [1, 3, 5] {
        done(&mut history, seconds, &of("1.1", install()), Err(failure(FailureKind::InstallFailed)));
    }
    let halted = trouble(&history).cloned();
    assert_eq!(halted.as_ref().unwrap().attempts, MAX_ATTEMPTS);
    done(&mut history, 7, &of("1.2", install()), Err(failure(FailureKind::PackageLocked)));
    let other = |history: &History| history.trouble(&"web-01".into(), &version("1.2")).map(|it| it.times);
    assert_eq!((trouble(&history), other(&history)), (halted.as_ref(), Some(1)));
    done(&mut history, 9, &of("1.2", install()), changed());
    assert_eq!((trouble(&history), other(&history)), (halted.as_ref(), None));
    done(&mut history, 11, &of("1.2", pin()), Err(failure(FailureKind::CommandFailed)));
    done(&mut history, 13, &of("1.1", pin()), changed());
    assert_eq!(other(&history), Some(1));
    done(&mut history, 15, &of("1.2", pin()), changed());
    assert_eq!(other(&history), None);
}

#[test]
fn who_is_let_go_forgets_what_went_wrong_on_the_way_to_a_safe_point() {
    let mut history = history();
    history.apply(at(0), &accepted("c1", "1.1", Some("1.2"))).unwrap();
    for release in ["1.0", "1.1", "1.2"] {
        let settles = Step { version: version(release), ..step("s", ready(ReadyBecause::Healthy)) };
        done(&mut history, 1, &settles, Err(failure(FailureKind::LoadBalancerRefused)));
    }
    let elsewhere = Step { host: "web-02".into(), version: version("1.0"), ..step("s", activate()) };
    done(&mut history, 3, &elsewhere, Err(failure(FailureKind::ActivateFailed)));
    done(&mut history, 5, &step("s", Action::Release), changed());
    let left = history.troubles.iter().map(|(host, trouble)| format!("{host} {}", trouble.version));
    assert_eq!(left.collect::<Vec<_>>(), ["web-01 1.1", "web-01 1.2", "web-02 1.0"]);
}

#[test]
fn sessions_that_outlast_a_drain_are_given_more_time_and_only_an_install_ends_that() {
    let mut history = history();
    done(&mut history, 1, &step("s1", drain()), changed());
    done(&mut history, 70, &step("s2", ready(ReadyBecause::DrainTimeout)), changed());
    let outlasted = trouble(&history).unwrap();
    assert_eq!((outlasted.action, outlasted.failure.kind), (ActionKind::Drain, FailureKind::TimedOut));
    assert_eq!((outlasted.attempts, outlasted.until), (0, at(71) + FIRST_DRAIN_BACKOFF));
    done(&mut history, 90, &step("s3", drain()), changed());
    assert!(trouble(&history).is_some(), "another drain is another try");
    done(&mut history, 95, &step("s4", install()), changed());
    assert!(trouble(&history).is_none());
}

#[test]
fn only_sessions_that_outlast_a_drain_are_given_more_time() {
    for (action, kind) in [(drain(), FailureKind::LoadBalancerRefused), (install(), FailureKind::TimedOut)] {
        let mut history = history();
        fails(&mut history, 1, action, kind);
        assert_eq!(trouble(&history).unwrap().until, at(2) + FIRST_BACKOFF);
    }
}

#[test]
fn an_interrupted_step_is_no_trouble_and_may_have_happened() {
    let mut history = history();
    fails(&mut history, 1, claim(), FailureKind::Interrupted);
    assert!(history.troubles.is_empty());
    assert!(history.claims.contains_key("web-01"));
    let mut history = super::history();
    fails(&mut history, 1, claim(), FailureKind::Unreachable);
    assert!(history.claims.is_empty());
    assert_eq!(trouble(&history).unwrap().attempts, 0);
}

#[test]
fn a_drain_of_a_host_that_is_out_may_have_happened_on_one_node() {
    let mut history = history();
    fails(&mut history, 1, retire(), FailureKind::LoadBalancerRefused);
    assert!(history.claims.contains_key("web-01"));
    assert_eq!(trouble(&history).unwrap().action, ActionKind::Retire);
}

#[test]
fn a_change_of_target_forgets_what_is_no_target_any_more() {
    let mut history = history();
    history.apply(at(0), &accepted("c1", "1.1", Some("1.2"))).unwrap();
    let of =
        |release: &str| Step { host: release.into(), version: version(release), ..step(release, install()) };
    let activates = |release: &str| Step { action: activate(), ..of(release) };
    for release in ["1.1", "1.2"] {
        done(&mut history, 1, &activates(release), changed());
        done(&mut history, 3, &of(release), Err(failure(FailureKind::InstallFailed)));
    }
    let left = |history: &History| {
        let troubled: Vec<String> = history.troubles.iter().map(|(host, _)| host.to_string()).collect();
        let counted = history.activated.iter().filter(|(_, activated)| activated.times > 0);
        (troubled, counted.map(|(host, _)| host.to_string()).collect::<Vec<_>>())
    };
    let both = vec!["1.1".to_owned(), "1.2".to_owned()];
    history.apply(at(9), &accepted("c2", "1.1", Some("1.2"))).unwrap();
    assert_eq!(left(&history), (both.clone(), both));
    let mut main_moved = history.clone();
    main_moved.apply(at(9), &accepted("c3", "1.2", Some("1.2"))).unwrap();
    assert_eq!(left(&main_moved), (vec!["1.2".to_owned()], vec!["1.2".to_owned()]));
    let mut canary_moved = history.clone();
    canary_moved.apply(at(9), &accepted("c3", "1.1", Some("1.3"))).unwrap();
    assert_eq!(left(&canary_moved), (vec!["1.1".to_owned()], vec!["1.1".to_owned()]));
    let mut swapped = history.clone();
    swapped.apply(at(9), &accepted("c3", "1.2", Some("1.1"))).unwrap();
    assert_eq!(left(&swapped), (Vec::new(), Vec::new()));
}

#[test]
fn a_person_who_asks_again_clears_everything_that_failed() {
    let mut history = history();
    done(&mut history, 1, &step("s1", activate()), changed());
    fails(&mut history, 3, install(), FailureKind::InstallFailed);
    history.apply(at(9), &retried()).unwrap();
    assert!(history.troubles.is_empty());
    assert_eq!(history.activated["web-01"].times, 0);
}
