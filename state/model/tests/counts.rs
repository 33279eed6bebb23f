//! Numbers of hosts: ranges as large as a fleet may be, budgets as parts of them, waits after failures.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use model::{Fleet, Limit, backoff};
use proptest::prelude::*;

/// The largest fleet.
const MOST: usize = 20_000;

fn fleet(hosts: &[String], budget: &str) -> Result<Fleet, String> {
    let environment = format!(
        "packages = [\"shop\"]\n[budget]\nmax_unavailable = {budget}\n[[role]]\nname = \"web\"\nhosts = {hosts:?}\n"
    );
    let release = "[main]\nversion = \"1\"\n".to_owned();
    let files = [("environment.toml", environment), ("release.toml", release)];
    let files: BTreeMap<String, String> =
        files.into_iter().map(|(name, text)| (format!("environments/e/{name}"), text)).collect();
    let mut parsed = model::parse::repository(&files).map_err(|problems| problems[0].message.clone())?;
    Ok(parsed.environments.remove("e").unwrap().fleet)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn ranges_make_a_fleet_in_their_order_up_to_its_largest_size(
        sizes in proptest::collection::vec(prop_oneof![3 => 1_usize..60, 1 => 9_990_usize..10_010], 1..4),
    ) {
        let ranges: Vec<String> =
            (0..).zip(&sizes).map(|(place, size)| format!("r{place}-[00001:{size:05}].example")).collect();
        let whole: usize = sizes.iter().sum();
        match fleet(&ranges, "1") {
            Ok(fleet) => {
                let hosts: Vec<String> = fleet.hosts().map(|(_, host)| host.to_string()).collect();
                prop_assert!(whole <= MOST);
                prop_assert_eq!(hosts.len(), whole);
                prop_assert_eq!(hosts.iter().collect::<BTreeSet<_>>().len(), whole, "one comes twice");
                prop_assert!(hosts.is_sorted(), "written in the order of their names, read in another");
            }
            Err(problem) => {
                prop_assert!(whole > MOST, "{problem}");
                prop_assert_eq!(problem, "more than 20000 hosts in one environment");
            }
        }
    }

    #[test]
    fn ranges_that_meet_are_refused(first in 1_usize..50, more in 0_usize..50, from in 1_usize..50) {
        let last = first + more;
        let ranges = [format!("web-[{first}:{last}]"), format!("web-[{from}:{}]", from + 5)];
        let meets = from <= last && first <= from + 5;
        prop_assert_eq!(fleet(&ranges, "1").is_err(), meets, "{:?}", ranges);
    }
}

proptest! {
    #[test]
    fn a_budget_is_the_part_rounded_down_and_at_least_one(percent in 1_u8..=100, hosts in 1_usize..=300) {
        let role = &fleet(&[format!("web-[001:{hosts:03}]")], &format!("\"{percent}%\"")).unwrap().roles[0];
        let (part, whole) = (role.max_unavailable, hosts * usize::from(percent));
        prop_assert_eq!(part, Limit::Percent(percent).of(hosts));
        prop_assert!(part == 1 || part * 100 <= whole, "{part} of {hosts} are more than {percent} %");
        prop_assert!((part + 1) * 100 > whole, "{part} of {hosts} are less than {percent} %");
    }

    #[test]
    fn more_hosts_never_make_a_smaller_budget(percent in 0_u8..=100, hosts in 0_usize..100_000) {
        let of = |hosts| Limit::Percent(percent).of(hosts);
        prop_assert!(of(hosts) <= of(hosts + 1) && of(hosts) >= 1);
    }

    #[test]
    fn a_number_stands_for_itself(count in any::<u32>(), hosts in 0_usize..100) {
        prop_assert_eq!(Limit::Count(count).of(hosts), (count as usize).max(1));
    }
}

#[test]
fn waits_after_failures_grow_and_stay_bounded() {
    for times in (0..200).chain([u32::MAX - 1]) {
        let (wait, next) = (backoff(times), backoff(times + 1));
        assert!(wait <= next, "{wait} after {times}, then {next}");
        assert!((SignedDuration::from_secs(2)..=SignedDuration::from_secs(60)).contains(&wait));
    }
}
