//! Whole lives of simulated worlds, each drawn from one seed. Seeds that once broke a promise are kept here with what they
//! found; `prove` lives as many more as anybody wants.

mod releases;
mod rotation;

use simulation::{Deed, Ending, Fault, Happening, Scenario, What, live};

/// Seeds that were found when one life in eight went on four times as long, and not one in sixteen.
const SLOW: [u64; 16] = [
    19, 97, 268, 857, 407_691, 504_835, 511_573, 512_917, 576_432, 3_007_042, 3_007_553, 3_008_424,
    3_009_570, 10_028_197, 20_170_960, 20_334_994,
];

fn lives(seed: u64) -> Result<(), String> {
    let mut drawn = Scenario::drawn(seed);
    if SLOW.contains(&seed) {
        drawn.happenings.iter_mut().for_each(Happening::comes_slowly);
    }
    both_ways(&drawn)
}

/// Whichever was drawn: with a new version at the end, and with what git wants by then.
fn both_ways(drawn: &Scenario) -> Result<(), String> {
    let ending = |ends_anew| ends_well(&Scenario { ends_anew, ..drawn.clone() });
    ending(true).and_then(|()| ending(false))
}

fn ends_well(scenario: &Scenario) -> Result<(), String> {
    let seed = scenario.seed;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let lived = runtime.expect("a runtime needs nothing").block_on(live(scenario, false));
    match lived.ending {
        Ending::Kept => Ok(()),
        Ending::Broken(violation) => Err(format!("seed {seed}: {violation}")),
        Ending::Stuck { left, .. } => Err(format!("seed {seed}: faults stopped, and {}", left.join("; "))),
    }
}

fn all_live(seeds: impl IntoIterator<Item = u64>) {
    let failed: Vec<String> = seeds.into_iter().filter_map(|seed| lives(seed).err()).collect();
    assert_eq!(failed, Vec::<String>::new());
}

/// As [`all_live`], of lives in which more goes wrong.
fn all_live_harshly(seeds: impl IntoIterator<Item = u64>) {
    let failed = seeds.into_iter().filter_map(|seed| both_ways(&Scenario::harsh(seed)).err());
    assert_eq!(failed.collect::<Vec<String>>(), Vec::<String>::new());
}

#[test]
fn what_never_ran_was_not_found_running_when_a_fleet_is_adopted() {
    all_live([1056429]);
}

/// Staging gets the last version from an older service, of whose journal nothing is left when the fleet is adopted.

#[test]
fn people_vouch_for_what_ran_where_it_had_to_pass_when_the_record_of_it_is_lost() {
    let happens = |at_ms, for_ms, what| Happening { at_ms, for_ms, what };
    for seed in [1, 4, 5, 8] {
        let mut scenario = Scenario::drawn(seed);
        scenario.shape.staging = true;
        scenario.shape.canary = scenario.shape.canary.max(1);
        scenario.happenings = vec![
            happens(5_000, 20_000, What::Deed(Deed::Bump, 88)),
            happens(11_600, 20_000, What::Fault(Fault::Superseded, 100)),
            happens(13_660, 15_000, What::Fault(Fault::JournalLost, 124)),
        ];
        assert_eq!(ends_well(&scenario), Ok(()));
    }
}

/// The first seeds, a hundred or as many as `PROVE_SEEDS` says, up to the first one that breaks a promise.

#[test]
fn the_first_seeds_keep_every_promise() {
    let seeds = std::env::var("PROVE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(100);
    let first = (1..=seeds).find_map(|seed| lives(seed).err());
    assert_eq!(first, None);
}

#[test]
fn the_first_harsh_seeds_keep_every_promise() {
    all_live_harshly(1..=50);
}

#[test]
fn a_seed_means_the_same_life_each_time() {
    let events = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let lived = runtime.expect("a runtime needs nothing").block_on(live(&Scenario::drawn(seed), true));
        lived.journal
    };
    for seed in [3, 157] {
        assert_eq!(events(seed), events(seed), "seed {seed}");
    }
}
