//! Whole lives of simulated worlds, each drawn from one seed. Seeds that once broke a promise are kept here with what they
//! found; `prove` lives as many more as anybody wants.

use simulation::{Deed, Ending, Fault, Happening, Scenario, What, live};

/// Both ways, whichever was drawn: with a new version at the end, and with what git wants by then.
fn lives(seed: u64) -> Result<(), String> {
    let ending = |ends_anew| ends_well(&Scenario { ends_anew, ..Scenario::drawn(seed) });
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

#[test]
fn a_wall_clock_that_goes_back_makes_no_old_fact_new() {
    all_live([19, 27, 97, 190, 268]);
}

#[test]
fn a_drain_of_ours_on_a_node_that_is_declared_out_is_given_back() {
    all_live([18, 75, 267]);
}

#[test]
fn a_row_that_a_person_puts_back_into_rotation_while_we_work_is_drained_first() {
    all_live([157]);
}

#[test]
fn a_host_whose_load_balancer_forgot_the_drain_is_not_restarted_in_rotation() {
    all_live([857]);
}

#[test]
fn a_release_whose_answer_was_lost_lets_nobody_past_budget_and_freeze() {
    all_live([1764, 2889]);
}

#[test]
fn a_newer_service_does_not_take_the_drains_of_the_older_one_for_a_persons() {
    all_live([1103]);
}

#[test]
fn an_older_service_that_wakes_up_drains_nothing_more() {
    all_live([2388]);
}

#[test]
fn a_server_that_haproxy_is_still_making_up_its_mind_about_is_capacity_when_it_leaves() {
    all_live([4952]);
}

#[test]
fn hosts_that_an_emergency_began_do_not_block_each_other() {
    all_live([133, 2359, 2479]);
}

#[test]
fn a_server_that_has_just_come_up_is_not_taken_for_one_that_is_down() {
    all_live([217, 775]);
}

#[test]
fn a_drain_of_a_host_that_is_declared_out_is_ours_whatever_a_node_answered() {
    all_live([1962, 3030]);
}

#[test]
fn a_node_that_is_declared_out_is_read_before_a_host_is_let_go() {
    all_live([745, 5035, 8671]);
}

#[test]
fn a_canary_is_not_taken_for_deployed_because_its_version_runs_elsewhere() {
    all_live([8623, 9241]);
}

#[test]
fn what_an_emergency_began_in_a_freeze_is_not_finished_in_it() {
    all_live([9974]);
}

#[test]
fn maintenance_of_a_host_that_is_declared_out_is_somebody_elses() {
    all_live([10564, 10665]);
}

#[test]
fn whoever_comes_second_with_one_generation_says_so_until_a_person_adopts() {
    all_live([340, 11271]);
}

#[test]
fn a_drain_that_nobody_could_see_before_ours_is_ours() {
    all_live([766]);
}

#[test]
fn what_an_older_service_drained_beside_the_newer_one_is_given_back_by_a_person() {
    all_live([5252]);
}

#[test]
fn a_step_that_was_on_its_way_before_a_pause_or_a_reload_is_no_offence() {
    all_live([20378, 49419]);
}

#[test]
fn a_row_that_vanishes_has_left_like_one_that_fails() {
    all_live([30282, 47649]);
}

#[test]
fn a_migration_of_which_nobody_has_heard_is_found_again_before_another_one_begins() {
    all_live([40109]);
}

#[test]
fn our_drain_comes_back_from_a_node_that_was_declared_out_where_somebody_elses_had_been_before() {
    all_live([40840]);
}

#[test]
fn of_two_hosts_that_are_out_on_different_nodes_one_comes_back() {
    all_live([42862]);
}

#[test]
fn two_tracks_with_different_versions_share_a_stage_of_migrations() {
    all_live([43482]);
}

#[test]
fn in_an_emergency_its_budget_holds_for_all_of_the_track() {
    all_live([43717]);
}

#[test]
fn a_clock_that_went_back_leaves_two_times_by_which_a_host_may_be_out() {
    all_live([47890]);
}

#[test]
fn hosts_that_cannot_become_well_do_not_use_up_what_may_be_worked_on() {
    all_live([282]);
}

#[test]
fn a_host_that_is_half_out_waits_for_nobody_who_took_out_another() {
    all_live([52935]);
}

#[test]
fn nothing_is_migrated_while_nobody_knows_whether_a_later_version_is() {
    all_live([55029]);
}

#[test]
fn what_is_given_back_on_a_node_that_is_declared_out_serves_with_what_is_installed() {
    all_live([59704]);
}

#[test]
fn people_may_ask_once_more_for_a_migration_of_which_nobody_knows() {
    all_live([56424]);
}

#[test]
fn a_host_that_is_declared_out_is_drained_where_its_rows_point_to_it() {
    all_live([83222, 212221]);
}

#[test]
fn packages_are_read_once_more_before_they_are_changed() {
    all_live([87230]);
}

#[test]
fn a_migration_that_runs_still_is_found_again_before_its_packages_are_mended() {
    all_live([123166]);
}

#[test]
fn maintenance_of_a_host_that_is_declared_out_stays_a_persons() {
    all_live([122788]);
}

#[test]
fn who_maintains_a_host_that_comes_back_is_read_before_our_mark_says_it() {
    all_live([149827]);
}

#[test]
fn a_host_that_is_declared_out_until_some_time_is_out_for_what_was_decided_before() {
    all_live([81781]);
}

#[test]
fn what_somebody_installs_during_a_restart_is_not_stamped() {
    all_live([7960]);
}

#[test]
fn what_is_under_way_when_a_fleet_is_adopted_is_found_again() {
    all_live([211888]);
}

#[test]
fn a_canary_that_is_declared_out_has_its_part_of_the_share_until_it_is_out() {
    all_live([204937]);
}

#[test]
fn a_commit_that_goes_from_the_history_takes_no_migration_with_it() {
    all_live([207220, 209465, 227281]);
}

#[test]
fn who_reports_only_weighs_nothing_nor_on_a_node_that_is_declared_out() {
    all_live([226204, 228999]);
}

#[test]
fn a_persons_drain_of_a_host_that_is_declared_out_is_not_taken_for_ours() {
    all_live([215278]);
}

#[test]
fn a_host_that_is_declared_out_counts_until_it_serves_nowhere() {
    all_live([321617, 325403, 352697, 371696]);
}

#[test]
fn what_was_declared_out_when_a_step_was_decided_is_told_by_the_clock_of_then() {
    all_live([407691]);
}

#[test]
fn a_persons_drain_that_nobody_had_seen_and_nobody_used_is_the_persons_to_give_back() {
    all_live([427151]);
}

#[test]
fn a_post_deployment_migration_that_was_begun_is_found_again_whoever_is_down_since() {
    all_live([504835]);
}

#[test]
fn a_canary_that_is_worked_on_takes_no_share_where_somebody_has_made_it_ready() {
    all_live([512917]);
}

#[test]
fn nobody_installs_by_hand_on_a_host_without_power() {
    all_live([511573]);
}

#[test]
fn who_stood_still_goes_on_with_what_load_balancers_showed_a_moment_ago() {
    all_live([547993]);
}

#[test]
fn maintenance_on_a_node_that_is_declared_out_is_not_given_back_for_a_drain_of_ours() {
    all_live([576432]);
}

#[test]
fn nobody_is_restarted_where_somebody_has_given_back_what_they_had_taken_out() {
    all_live([612628]);
}

#[test]
fn a_host_that_comes_back_to_a_stage_is_part_of_it_when_a_freeze_lets_it_finish() {
    all_live([617907]);
}

#[test]
fn a_mark_says_what_others_have_taken_out_on_a_node_that_is_declared_out() {
    all_live([584025]);
}

#[test]
fn when_a_stage_began_for_an_older_service_is_in_its_own_journal() {
    all_live([726067]);
}

#[test]
fn whose_a_drain_is_nobody_knows_where_a_step_of_ours_was_lost() {
    all_live([741205]);
}

#[test]
fn nothing_is_done_on_a_host_without_our_own_mark() {
    all_live([748987]);
}

#[test]
fn a_host_that_falls_behind_after_its_stage_has_passed_waits_for_the_end_of_a_freeze() {
    all_live([1033079]);
}

#[test]
fn a_freeze_that_comes_while_the_journal_is_slow_is_not_known_to_who_waits_for_it() {
    all_live([1017985]);
}

#[test]
fn people_take_out_by_hand_only_what_is_half_out() {
    all_live([582520]);
}

#[test]
fn an_emergency_restarts_nothing_in_rotation_on_the_way_back() {
    all_live([328160]);
}

#[test]
fn half_installed_hosts_that_are_half_out_are_a_persons_to_take_out() {
    all_live([319442]);
}

#[test]
fn post_deployment_migrations_wait_for_a_canary_whose_install_failed_half_way() {
    all_live([1025359]);
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

#[test]
fn a_canary_that_goes_back_to_what_main_goes_forward_to_does_not_wait_for_main() {
    all_live([
        3000020, 3000235, 3001411, 3003458, 3004224, 3004304, 3004374, 3005274, 3005854, 3007042, 3007620,
        3008707, 3008957, 3009319, 3009650, 3009757, 3010574, 3010603, 10019204,
    ]);
}

#[test]
fn a_host_that_went_on_to_another_version_does_not_keep_those_before_it_from_the_way_back() {
    all_live([3002254, 3004211, 3004908]);
}

#[test]
fn staging_is_told_which_way_it_goes_as_well() {
    all_live([
        3000450, 3001166, 3004288, 3005637, 3006810, 3007553, 3007885, 3008424, 3009127, 3009259, 3009491,
        3009570, 3010016,
    ]);
}

#[test]
fn what_went_wrong_on_a_quiet_host_is_seen_when_it_is_looked_at_again() {
    all_live([3001531]);
}

#[test]
fn nobody_changes_packages_while_a_job_of_ours_holds_the_lock() {
    all_live([3019727]);
}

#[test]
fn who_installs_by_hand_has_mended_an_interrupted_dpkg_first() {
    all_live([10022272, 10026871, 10027398, 10035741, 10039811, 10044110, 10049344]);
}

#[test]
fn hosts_are_read_once_more_before_the_point_of_no_return() {
    all_live([10028197]);
}

#[test]
fn a_history_that_no_longer_knows_what_runs_is_not_judged_by_version_order() {
    all_live([10099826, 10526021]);
}

#[test]
fn who_is_deployed_takes_no_share_on_a_node_that_was_declared_out_until_now() {
    all_live([20089949]);
}

#[test]
fn a_drain_that_one_of_three_nodes_refused_is_not_left_behind_on_the_others() {
    all_live([20092985]);
}

#[test]
fn who_drains_what_a_reload_made_ready_before_anybody_saw_it_cannot_be_told_from_us() {
    all_live([20114503]);
}

#[test]
fn a_weight_that_asks_for_no_step_of_ours_is_known_as_well() {
    all_live([20170960]);
}

#[test]
fn a_migration_that_an_older_service_began_is_waited_for() {
    all_live([20178397]);
}

#[test]
fn a_begun_host_that_may_not_leave_does_not_keep_the_others_from_being_begun() {
    all_live([20300646]);
}

#[test]
fn a_host_is_no_longer_two_when_the_other_one_shows_an_id_of_its_own() {
    all_live([20309920]);
}

#[test]
fn who_a_reload_has_just_made_ready_may_be_taken_for_one_that_is_out() {
    all_live([20334994]);
}

#[test]
fn a_canary_that_serves_alone_has_no_share_to_keep() {
    all_live([21023966]);
}

#[test]
fn hosts_in_maintenance_on_different_nodes_do_not_wait_for_each_other() {
    all_live([20436162]);
}
