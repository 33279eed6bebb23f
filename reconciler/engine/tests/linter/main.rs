//! Stories of plans that are as they should be, and of the same plans bent by hand: each bend is found.

#![allow(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

mod capacity;
#[path = "../../../planner/tests/fleet/mod.rs"]
mod fleet;
mod order;
#[path = "../../../planner/tests/release/mod.rs"]
mod release;
mod respect;
mod scene;
mod steps;

/// Asserts that one promise, and no other, is found broken.
#[track_caller]
fn breaks(scene: &scene::Scene, promise: &str, words: &str) {
    let findings = scene.findings();
    let it = findings
        .iter()
        .any(|finding| finding.starts_with(&format!("{promise}: ")) && finding.contains(words));
    let alone = findings.iter().all(|finding| finding.starts_with(&format!("{promise}: ")));
    assert!(it && alone, "{promise} {words}: {findings:?}");
}

/// Asserts that nothing is found.
#[track_caller]
fn keeps(scene: &scene::Scene) {
    assert_eq!(scene.findings(), Vec::<String>::new());
}
