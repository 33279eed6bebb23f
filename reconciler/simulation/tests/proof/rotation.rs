//! Drains, maintenance, shares and budgets: who is in rotation, who was taken out, and by whom.

use crate::{all_live, all_live_harshly};

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
fn maintenance_of_a_host_that_is_declared_out_is_somebody_elses() {
    all_live([10564, 10665]);
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
fn our_drain_comes_back_from_a_node_that_was_declared_out_where_somebody_elses_had_been_before() {
    all_live([40840]);
}

#[test]
fn of_two_hosts_that_are_out_on_different_nodes_one_comes_back() {
    all_live([42862]);
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
fn what_is_given_back_on_a_node_that_is_declared_out_serves_with_what_is_installed() {
    all_live([59704]);
}

#[test]
fn a_host_that_is_declared_out_is_drained_where_its_rows_point_to_it() {
    all_live([83222, 212221]);
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
fn a_canary_that_is_declared_out_has_its_part_of_the_share_until_it_is_out() {
    all_live([204937]);
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
fn a_canary_that_is_worked_on_takes_no_share_where_somebody_has_made_it_ready() {
    all_live([512917]);
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
fn a_mark_says_what_others_have_taken_out_on_a_node_that_is_declared_out() {
    all_live([584025]);
}

#[test]
fn whose_a_drain_is_nobody_knows_where_a_step_of_ours_was_lost() {
    all_live([741205]);
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
fn who_is_deployed_takes_no_share_on_a_node_that_was_declared_out_until_now() {
    all_live([20089949, 32491685]);
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
fn a_begun_host_that_may_not_leave_does_not_keep_the_others_from_being_begun() {
    all_live([20300646]);
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

#[test]
fn who_drains_a_host_with_our_mark_is_not_noticed_at_once_either() {
    all_live([22205479]);
}

#[test]
fn hosts_that_an_emergency_began_do_not_block_each_other() {
    all_live([133, 2359, 2479]);
}

#[test]
fn maintenance_that_began_while_a_host_was_out_is_not_ended_with_our_drain() {
    all_live([26022697]);
}

#[test]
fn what_is_out_where_an_older_service_has_ended_its_work_is_somebody_elses() {
    all_live([26245151]);
}

#[test]
fn a_drain_that_replaces_ours_before_anybody_looks_cannot_be_told_from_it() {
    all_live_harshly([94130]);
}

#[test]
fn a_service_that_waits_for_a_person_because_its_journal_was_lost_weighs_nothing() {
    all_live_harshly([130907]);
}

#[test]
fn who_comes_back_from_being_out_and_was_seen_to_serve_leaves_a_later_drain_to_its_owner() {
    all_live_harshly([318737]);
}

#[test]
fn what_a_reboot_undid_is_known_also_where_git_wants_a_report_alone() {
    all_live([33560055]);
}

#[test]
fn what_an_older_service_made_ready_before_the_newer_ones_mark_is_seen_before_an_install() {
    all_live([30499882]);
}

#[test]
fn a_canary_that_a_person_has_just_made_ready_beside_another_one_is_weighed_in_a_moment() {
    all_live_harshly([735653]);
}

#[test]
fn who_stood_still_weighs_by_the_main_servers_that_were_there_before() {
    all_live([37181681]);
}
