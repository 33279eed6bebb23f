//! One journal, several environments.

use model::*;

use super::*;

fn recorded(events: &[Event]) -> Vec<Recorded> {
    let numbered = events.iter().zip(1..);
    numbered.map(|(event, seq)| Recorded { seq, at: at(0), event: event.clone() }).collect()
}

fn passed(environment: &str) -> Event {
    let environment = environment.into();
    Event::Passed { environment, track: Track::Main, version: version("1.1"), stages: Vec::new() }
}

fn of(environment: &str, event: Event) -> Event {
    match event {
        Event::Retried { by, reason, .. } => Event::Retried { environment: environment.into(), by, reason },
        Event::Accepted { commit, author, subject, version, canary, .. } => {
            Event::Accepted { environment: environment.into(), commit, author, subject, version, canary }
        }
        other => other,
    }
}

#[test]
fn what_happens_elsewhere_changes_nothing_here_but_what_has_passed_there() {
    let mut history = history();
    let before = history.clone();
    history.apply(at(1), &of("staging", accepted("c1", "1.1", None))).unwrap();
    assert_eq!(history, before);
    history.apply(at(2), &passed("staging")).unwrap();
    assert!(history.progress.pass(&"staging".into(), Track::Main, &version("1.1")).is_some());
    assert!(history.progress.pass(&"production".into(), Track::Main, &version("1.1")).is_none());
}

#[test]
fn a_journal_is_folded_for_each_environment() {
    let journal = recorded(&[
        service(3),
        accepted("c1", "1.1", None),
        of("staging", accepted("c2", "1.2", None)),
        passed("staging"),
    ]);
    let mut histories = Histories::replay(&journal).unwrap();
    let target = |name: &str| histories.get(&name.into()).unwrap().accepted.as_ref().unwrap().version.clone();
    assert_eq!((target("production"), target("staging")), (version("1.1"), version("1.2")));
    let names: Vec<String> = histories.all().map(|history| history.environment.to_string()).collect();
    assert_eq!(names, ["production", "staging"]);
    for name in ["production", "staging", "not mentioned yet"] {
        let history = histories.of(&name.into());
        assert_eq!((history.generation, history.service.as_str()), (Generation(3), "deploy"));
        let pass = history.progress.pass(&"staging".into(), Track::Main, &version("1.1"));
        assert!(pass.is_some(), "{name} knows what has passed in staging");
    }
    assert!(histories.get(&"nowhere".into()).is_none());
}

#[test]
fn a_service_that_takes_over_is_known_in_every_environment_and_the_next_one_is_higher() {
    assert_eq!(Histories::default().next_generation(), Generation(1));
    let journal = recorded(&[service(3), accepted("c1", "1.1", None), service(5)]);
    let histories = Histories::replay(&journal).unwrap();
    assert_eq!(histories.get(&"production".into()).unwrap().generation, Generation(5));
    assert_eq!(histories.next_generation(), Generation(6));
}

#[test]
fn an_event_that_cannot_follow_is_named_by_its_place() {
    let journal = recorded(&[service(3), accepted("c1", "1.1", None), service(3)]);
    let refused = IllegalEvent::GenerationNotRising { old: Generation(3), new: Generation(3) };
    assert_eq!(Histories::replay(&journal), Err((3, refused)));
}
