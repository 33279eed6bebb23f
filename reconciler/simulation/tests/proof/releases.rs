//! Versions, migrations, freezes, marks and what several services remember.

use crate::{all_live, all_live_harshly};

#[test]
fn a_wall_clock_that_goes_back_makes_no_old_fact_new() {
    all_live([19, 27, 97, 190, 268]);
}

#[test]
fn what_an_emergency_began_in_a_freeze_is_not_finished_in_it() {
    all_live([9974]);
}

#[test]
fn whoever_comes_second_with_one_generation_says_so_until_a_person_adopts() {
    all_live([340, 11271]);
}

#[test]
fn a_migration_of_which_nobody_has_heard_is_found_again_before_another_one_begins() {
    all_live([40109]);
}

#[test]
fn nothing_is_migrated_while_nobody_knows_whether_a_later_version_is() {
    all_live([55029]);
}

#[test]
fn people_may_ask_once_more_for_a_migration_of_which_nobody_knows() {
    all_live([56424]);
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
fn what_somebody_installs_during_a_restart_is_not_stamped() {
    all_live([7960]);
}

#[test]
fn what_is_under_way_when_a_fleet_is_adopted_is_found_again() {
    all_live([211888]);
}

#[test]
fn a_commit_that_goes_from_the_history_takes_no_migration_with_it() {
    all_live([207220, 209465, 227281]);
}

#[test]
fn a_post_deployment_migration_that_was_begun_is_found_again_whoever_is_down_since() {
    all_live([504835]);
}

#[test]
fn nobody_installs_by_hand_on_a_host_without_power() {
    all_live([511573]);
}

#[test]
fn when_a_stage_began_for_an_older_service_is_in_its_own_journal() {
    all_live([726067]);
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
fn post_deployment_migrations_wait_for_a_canary_whose_install_failed_half_way() {
    all_live([1025359]);
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
    all_live([10028197, 31922321]);
}

#[test]
fn a_history_that_no_longer_knows_what_runs_is_not_judged_by_version_order() {
    all_live([10099826, 10526021]);
}

#[test]
fn a_migration_that_an_older_service_began_is_waited_for() {
    all_live([20178397, 24218165]);
}

#[test]
fn a_host_is_no_longer_two_when_the_other_one_shows_an_id_of_its_own() {
    all_live([20309920]);
}

#[test]
fn who_failed_and_was_given_back_is_begun_again() {
    all_live([22486431]);
}

#[test]
fn a_canary_is_not_taken_for_deployed_because_its_version_runs_elsewhere() {
    all_live([8623, 9241]);
}

#[test]
fn two_tracks_with_different_versions_share_a_stage_of_migrations() {
    all_live([43482]);
}

#[test]
fn a_host_that_comes_back_to_a_stage_is_part_of_it_when_a_freeze_lets_it_finish() {
    all_live([617907]);
}

#[test]
fn a_migration_that_a_lost_journal_told_of_is_found_again_in_a_freeze() {
    all_live([26369739]);
}

#[test]
fn a_gate_that_nobody_needed_until_now_is_asked_before_a_stage_begins() {
    all_live([27269820]);
}

#[test]
fn the_way_back_from_what_git_no_longer_knows_needs_no_migrations() {
    all_live_harshly([58147]);
}

#[test]
fn a_service_whose_journal_was_lost_beside_it_knows_what_it_had_begun_before_a_freeze() {
    all_live_harshly([207300]);
}

#[test]
fn a_host_whose_service_we_have_stopped_is_not_let_go_in_the_middle_of_it() {
    all_live_harshly([229945]);
}

#[test]
fn who_stops_an_agent_again_leaves_the_run_that_its_start_began() {
    all_live_harshly([335771]);
}

#[test]
fn who_has_not_heard_yet_that_the_last_of_a_later_version_is_replaced_still_goes_back() {
    all_live([30504487]);
}

#[test]
fn the_agent_is_told_again_what_everything_runs_also_under_a_red_gate() {
    all_live_harshly([1204831]);
}

#[test]
fn what_a_host_refuses_of_a_service_that_woke_too_late_begins_nothing_there() {
    all_live([36634421]);
}
