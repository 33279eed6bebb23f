//! What the configuration agent is told: each track's version, and again when a commit took one back.

use model::*;
use planner::{plan, preview};

use crate::errands::{on_deploy_host, scene};
use crate::fleet::{claim, config_agent, host, start, version};
use crate::release::set_gate;

#[test]
fn the_agent_is_told_each_tracks_version_where_it_can_tell_them_apart() {
    let pinned = |words: &[&str]| {
        let (mut desired, seen, memory) = scene();
        desired.target = version("1.1");
        desired.fleet.policy.config_agent = Some(config_agent(Some(words)));
        let rollout = preview(&desired, &seen, &memory, start());
        let tracks = rollout.steps.iter().filter_map(|step| match step.step.action {
            Action::Pin { track, .. } => Some(track),
            _ => None,
        });
        tracks.collect::<Vec<_>>()
    };
    assert_eq!(pinned(&["pin", "{version}"]), [Track::Main]);
    assert_eq!(pinned(&["pin", "{track}", "{version}"]), [Track::Canary, Track::Main]);
}

#[test]
fn while_a_stage_is_watched_what_was_taken_back_is_told_under_that_stages_gates() {
    let (mut desired, seen, mut memory) = scene();
    desired.fleet.policy.config_agent = Some(config_agent(Some(&["pin", "{track}"])));
    let job = JobKey { kind: JobKind::PreMigration, version: version("1.1") };
    let state = JobState::Passed { at: start(), output: String::new() };
    memory.progress.jobs.insert(job, JobRecord { attempt: 1, state, began: Some(start()), host: None });
    memory.progress.pinned.insert(Track::Canary, version("1.0"));
    let planned = plan(&desired, &seen, &memory, start());
    let stage = on_deploy_host(&planned).and_then(|step| step.stage.clone());
    assert_eq!(stage, Some("migrations".into()), "{:?}", planned.waiting);
}

#[test]
fn the_agent_is_told_again_what_everything_runs_where_a_commit_took_back_what_it_was_told() {
    let (mut desired, mut seen, mut memory) = scene();
    desired.canary.as_mut().unwrap().version = version("1.0");
    set_gate(&mut seen, Verdict::Red, start());
    desired.fleet.policy.config_agent = Some(config_agent(Some(&["pin"])));
    let begins = |desired: &Desired, seen: &Observed, memory: &History| {
        on_deploy_host(&plan(desired, seen, memory, start())).map(|step| step.action.kind())
    };
    assert_eq!(begins(&desired, &seen, &memory), None, "nobody has told it anything");
    memory.progress.pinned.insert(Track::Main, version("1.1"));
    assert_eq!(begins(&desired, &seen, &memory), Some(ActionKind::Claim));
    host(&mut seen, "deploy-01").claim = Some(claim());
    assert_eq!(begins(&desired, &seen, &memory), Some(ActionKind::Pin), "whatever a gate says");
    let reason = "network work".into();
    desired.exceptions.holds.push(Hold { scope: HoldScope::All, reason, until: None });
    assert_eq!(begins(&desired, &seen, &memory), Some(ActionKind::Release));
}
