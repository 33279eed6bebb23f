//! How the scripted git repository behaves by itself.

mod sample;

use engine::Source;
use model::{Reason, ReleaseEdit, Track, Version};
use sample::*;
use simulation::SimSource;

async fn target(source: &SimSource) -> Option<Version> {
    let revision = source.read().await.revision?;
    Some(revision.environments["production"].target.clone())
}

#[tokio::test(start_paused = true)]
async fn ranks_are_first_appearances_and_a_revert_does_not_change_them() {
    let source = SimSource::new(1);
    source.commit("first", [desired("1")]);
    source.bump(&"production".into(), &version("2")).unwrap();
    source.revert().unwrap();
    let reading = source.read().await;
    let revision = reading.revision.unwrap();
    let production = &revision.environments["production"];
    assert_eq!(
        (production.target.clone(), production.ranks.clone()),
        (version("1"), vec![version("1"), version("2")])
    );
    assert_eq!(production.commit, revision.commit);
    assert_eq!(revision.commit.subject, "Revert \"production: 2\"");
}

#[tokio::test(start_paused = true)]
async fn an_invalid_commit_keeps_the_last_valid_one_and_shows_its_errors() {
    let source = SimSource::new(1);
    source.commit("first", [desired("1")]);
    source.commit_invalid("nonsense", &["release.toml:2:1: no such key", "release.toml:3:1: no such host"]);
    let reading = source.read().await;
    assert!(
        matches!(reading.obstacle, Some(Reason::RevisionInvalid { errors: 2, .. })),
        "{:?}",
        reading.obstacle
    );
    assert_eq!(reading.errors.len(), 2);
    assert_eq!(target(&source).await, Some(version("1")));
    source.revert().unwrap();
    assert_eq!(source.read().await.obstacle, None);
}

#[tokio::test(start_paused = true)]
async fn a_remote_that_is_gone_keeps_what_was_accepted() {
    let source = SimSource::new(1);
    source.commit("first", [desired("1")]);
    source.read().await;
    source.remote_gone(Some("could not resolve host"));
    source.bump(&"production".into(), &version("2")).unwrap();
    let reading = source.read().await;
    assert!(matches!(reading.obstacle, Some(Reason::SourceUnavailable { .. })));
    assert_eq!(target(&source).await, Some(version("1")));
    source.remote_gone(None);
    assert_eq!(target(&source).await, Some(version("2")));
}

#[tokio::test(start_paused = true)]
async fn rewritten_history_waits_for_a_person_or_for_the_old_one() {
    let source = SimSource::new(1);
    let old = source.commit("first", [desired("1")]);
    source.read().await;
    let new = source.rewrite("other", [desired("9")]);
    let reading = source.read().await;
    let expected = Reason::HistoryRewritten { accepted: old.clone(), found: new.clone() };
    assert_eq!(reading.obstacle, Some(expected));
    assert_eq!(target(&source).await, Some(version("1")));

    source.push_back(&old);
    assert_eq!(source.read().await.obstacle, None);
    source.push_back(&new);
    assert!(source.accept_history(&"unknown".into()).await.is_err());
    source.accept_history(&new).await.unwrap();
    assert_eq!(target(&source).await, Some(version("9")));
}

#[tokio::test(start_paused = true)]
async fn news_wakes_whoever_waits_and_is_news_once() {
    let source = SimSource::new(1);
    source.commit("first", [desired("1")]);
    source.changed().await;
    source.read().await;
    let quiet = tokio::time::timeout(std::time::Duration::from_secs(60), source.changed()).await;
    assert!(quiet.is_err(), "nothing was committed since");
    let committing = async { source.bump(&"production".into(), &version("2")) };
    let ((), committed) = tokio::join!(source.changed(), committing);
    assert!(committed.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_the_service_changes_one_version_and_overwrites_nobody() {
    let source = SimSource::new(1);
    source.commit("first", [desired("1")]);
    source.read().await;
    let edit = |from: &str, to: &str| ReleaseEdit {
        environment: "production".into(),
        track: Track::Main,
        from: version(from),
        to: version(to),
        reason: "passed on staging".into(),
    };
    let commit = Source::commit(&source, &edit("1", "2")).await.unwrap();
    let revision = source.read().await.revision.unwrap();
    assert_eq!((revision.commit.id, revision.commit.author.as_str()), (commit, "reconcile"));
    assert_eq!(target(&source).await, Some(version("2")));

    source.bump(&"production".into(), &version("3")).unwrap();
    let refused = Source::commit(&source, &edit("2", "2.1")).await.unwrap_err();
    assert_eq!(refused, "[main] has version 3 by now, and not 2");
    source.remote_gone(Some("could not resolve host"));
    assert!(Source::commit(&source, &edit("3", "4")).await.is_err());
}
