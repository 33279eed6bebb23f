//! The repository: gone, invalid, or with another history. What was accepted last stays in force.

use tests::deployment::Deployment;
use tests::stories::{NEW, OLD};

use crate::{NOTICED_S, ROLLOUT_S, fault, in_force, on_a_watched_fleet, step_begins};

/// The remote goes away in the midst of a rollout, which goes on to its end.
fn the_remote_is_gone(deployment: &mut Deployment<'_>) {
    let before = deployment.last_event();
    let bump = deployment.commit(NEW);
    step_begins(deployment, before, "gitaly-01", "claim", 1);
    let repository = deployment.repository();
    let away = repository.with_extension("away");
    std::fs::rename(&repository, &away).unwrap();
    deployment.converges(&bump, ROLLOUT_S);
    deployment.explains("production", "the git remote cannot be read: ", NOTICED_S);
    assert_eq!(in_force(deployment), bump);
    std::fs::rename(&away, &repository).unwrap();
    let next = deployment.commit(NEW);
    deployment.converges(&next, NOTICED_S);
    assert!(!deployment.explain("production").contains("git remote"));
}

/// Somebody pushes a commit that breaks the rules.
fn an_invalid_commit_is_on_top(deployment: &mut Deployment<'_>) {
    let valid = deployment.git(&["rev-parse", "HEAD"]);
    deployment.replace("max_unavailable = 1 ", "max_unavialable = 1 ");
    let invalid = deployment.commit(OLD);
    deployment.explains(
        "production",
        &format!("commit {} is invalid (1 errors): ", &invalid[..10]),
        NOTICED_S,
    );
    let told = deployment.explain("production");
    assert!(told.contains("environments/production/environment.toml:"), "where: {told}");
    assert!(told.contains("did you mean `max_unavailable`"), "{told}");
    assert_eq!(in_force(deployment), valid);
    deployment.replace("max_unavialable = 1 ", "max_unavailable = 1 ");
    let mended = deployment.commit(NEW);
    deployment.converges(&mended, NOTICED_S);
    assert_eq!(steps_since(deployment, &valid), 0, "the invalid commit's version was never installed");
}

fn steps_since(deployment: &Deployment<'_>, commit: &str) -> usize {
    let converged = |recorded: &model::Recorded| matches!(&recorded.event, model::Event::Converged { commit: at, .. } if at.as_str() == commit);
    let at = deployment.journal().iter().find(|recorded| converged(recorded)).expect("it converged").seq;
    deployment.steps_after(at).len()
}

/// Somebody forces another history onto the branch; only a person may take it, by name.
fn history_is_rewritten(deployment: &mut Deployment<'_>) {
    let accepted = deployment.git(&["rev-parse", "HEAD"]);
    deployment.git(&["commit", "--quiet", "--amend", "--allow-empty", "-m", "another history"]);
    let rewritten = deployment.git(&["rev-parse", "HEAD"]);
    deployment.explains("production", "history was rewritten: ", NOTICED_S);
    let told = deployment.explain("production");
    assert!(told.contains(&format!("reconcile accept-history {rewritten} --reason")), "{told}");
    assert_eq!(in_force(deployment), accepted);
    let output = deployment.run(&["accept-history", &rewritten, "--reason", "agreed with the team"]);
    assert!(output.status.success(), "{output:?}");
    deployment.converges(&rewritten, NOTICED_S);
    assert_eq!(in_force(deployment), rewritten);
}

#[test]
fn whatever_happens_to_git_the_last_accepted_commit_stays_in_force() {
    on_a_watched_fleet("git", |deployment| {
        fault("git remote gone", deployment, the_remote_is_gone);
        fault("an invalid commit on top", deployment, an_invalid_commit_is_on_top);
        fault("history rewritten", deployment, history_is_rewritten);
    });
}
