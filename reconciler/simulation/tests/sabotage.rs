//! The proof can fail: every deliberate defect is caught in the life that is known to show it. `prove --sabotage` finds
//! such lives anew, and prints this table.

use std::collections::BTreeSet;

use simulation::Catcher::{Liveness, Promise as By};
use simulation::Promise::{Agent, S1, S2, S3, S4, S5, S6, S7, S8, S9, S10, S11, S12};
use simulation::Sabotage::*;
use simulation::{Catcher, Ending, Sabotage, Scenario, live_bent};

/// Each defect, the first seed in whose life it is caught, and by what.
#[rustfmt::skip]
const TABLE: [(Sabotage, u64, Catcher); 25] = [
    (FloorOfSecondNode,     287, By(S2)),
    (DoubleBudget,            2, By(S1)),
    (ReadyBeforeHealth,       6, By(S1)),
    (WeightRoundedUp,         1, Liveness),
    (DrainOfFirstNode,        2, By(S3)),
    (NoMigrations,           10, By(S4)),
    (LeftBehind,              2, Liveness),
    (VetoIgnoredGoingBack,  359, By(S5)),
    (OlderGenerationObeyed,  12, By(S6)),
    (MigratedAgain,         297, Liveness),
    (AnswerTakenForFailure,  13, By(S7)),
    (OldGateReading,        258, By(S8)),
    (NoDataTakenForGreen,   258, By(S8)),
    (HoldIgnored,            62, By(S9)),
    (FreezeIgnored,         113, By(S9)),
    (PauseForgotten,          2, By(S9)),
    (UntrustedCommit,         3, By(S10)),
    (ReportIgnored,          21, By(S11)),
    (FoundForgotten,        415, By(S12)),
    (UndrainsOthers,          7, By(S3)),
    (AgentOverlooked,         1, By(Agent)),
    (MarkStays,               1, Liveness),
    (DeafToGit,               1, Liveness),
    (NewestInstead,           1, By(S7)),
    (OldReading,              1, By(S7)),
];

fn lived(seed: u64, sabotage: Option<Sabotage>) -> Ending {
    lived_as(&Scenario::drawn(seed), sabotage)
}

fn lived_as(scenario: &Scenario, sabotage: Option<Sabotage>) -> Ending {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let life = async { live_bent(scenario, sabotage, false).await.ending };
    runtime.expect("a runtime needs nothing").block_on(life)
}

#[test]
fn every_defect_is_caught_by_the_promise_that_it_breaks() {
    for (defect, seed, by) in TABLE {
        assert_eq!(lived(seed, Some(defect)).caught_by(), Some(by), "{defect:?}, seed {seed}");
    }
}

#[test]
fn the_same_lives_without_a_defect_keep_every_promise() {
    let seeds: BTreeSet<u64> = TABLE.iter().map(|(_, seed, _)| *seed).collect();
    for seed in seeds {
        assert_eq!(lived(seed, None), Ending::Kept, "seed {seed}");
    }
}

#[test]
fn no_defect_and_no_promise_is_left_out() {
    let defects: Vec<Sabotage> = TABLE.iter().map(|(defect, ..)| *defect).collect();
    assert_eq!(defects, Sabotage::ALL);
    let caught: BTreeSet<Catcher> = TABLE.iter().map(|(.., by)| *by).collect();
    let promises = [S1, S2, S3, S4, S5, S6, S7, S8, S9, S10, S11, S12, Agent].map(By);
    assert_eq!(caught, promises.into_iter().chain([Liveness]).collect());
}

/// One defect breaks two promises, and the other one is often seen first.
#[test]
fn a_point_of_no_return_while_an_earlier_version_runs_is_seen() {
    let scenario = Scenario { ends_anew: true, ..Scenario::drawn(10) };
    let Ending::Broken(violation) = lived_as(&scenario, Some(LeftBehind)) else { panic!("kept") };
    assert_eq!(violation.promise, S4);
    assert!(violation.what.contains("post-deployment"), "{}", violation.what);
}
