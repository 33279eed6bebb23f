//! The canary's share, and the promise about it.

use super::*;

fn weigh(node: &str, weight: u32) -> Action {
    let weights = ["cny-1", "cny-2"].map(|name| (row(node, name), weight));
    Action::Weigh { weights: weights.into() }
}

#[tokio::test(start_paused = true)]
async fn a_canary_begins_without_a_share_gets_what_it_is_weighed_and_loses_it_in_a_reload() {
    let site = Site::new();
    assert_eq!(site.row("lb-1", "cny-1").await.weight, 0);
    // Five percent of two canaries beside four main servers of 100: 0.05 / 0.95 × 400 / 2.
    site.must("w1", "lb-1", weigh("lb-1", 10)).await;
    assert_eq!(site.row("lb-1", "cny-1").await.weight, 10);
    assert!(site.row("lb-1", "cny-1").await.in_rotation());
    let share = |node: &str| site.world.shares().iter().find(|(n, ..)| *n == host(node)).unwrap().2;
    assert!((share("lb-1") - 4.76).abs() < 0.01, "{}", share("lb-1"));
    assert!(share("lb-2").abs() < 0.01);
    site.world.reloads(&host("lb-1"));
    assert_eq!(site.row("lb-1", "cny-1").await.weight, 0);
    assert_eq!(site.promises(), []);
}

#[tokio::test(start_paused = true)]
async fn a_share_above_the_desired_one_breaks_the_second_promise() {
    let site = Site::new();
    site.must("w1", "lb-1", weigh("lb-1", 11)).await;
    assert_eq!(site.promises(), [Promise::S2]);
    let site = Site::wanting(canary_desired("1", "2", 60));
    site.must("w1", "lb-1", weigh("lb-1", 120)).await;
    assert_eq!(site.promises(), [Promise::S2], "within the share, and heavier than a main server");
}

#[tokio::test(start_paused = true)]
async fn weights_have_to_follow_when_main_servers_leave() {
    for follows in [true, false] {
        let site = Site::new();
        site.must("w1", "lb-1", weigh("lb-1", 10)).await;
        site.world.goes_down(&host("web-1"));
        seconds(8).await;
        assert_eq!(site.promises(), [], "nobody can have followed yet");
        if follows {
            site.must("w2", "lb-1", weigh("lb-1", 7)).await;
        }
        seconds(30).await;
        let _ = site.row("lb-1", "web-1").await;
        assert_eq!(site.promises().contains(&Promise::S2), !follows);
    }
}

#[tokio::test(start_paused = true)]
async fn who_stands_still_weighs_by_the_main_servers_that_were_there_when_it_was_decided() {
    for (left_before_s, broken) in [(0, vec![]), (30, vec![Promise::S2])] {
        let site = Site::new();
        site.world.goes_down(&host("web-1"));
        seconds(left_before_s).await;
        site.world.process_stands_still(true);
        let goes_on = async {
            seconds(20).await;
            site.world.process_stands_still(false);
        };
        let (weighed, ()) = tokio::join!(site.act(site.step("w", "lb-1", weigh("lb-1", 10))), goes_on);
        weighed.expect("nothing newer was there");
        assert_eq!(site.promises(), broken, "it went down {left_before_s} s before");
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_generation_weighs_nothing_that_a_newer_one_has_weighed() {
    let site = Site::new();
    let newer = Step { generation: Generation(2), ..site.step("w2", "lb-1", weigh("lb-1", 10)) };
    site.act(newer).await.unwrap();
    assert_eq!(site.fails("w1", "lb-1", weigh("lb-1", 0)).await, FailureKind::Superseded);
}
