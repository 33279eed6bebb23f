//! How long one pass of the planner takes, for fleets of 1,000 and 10,000 hosts; at rest, and in the middle of a
//! rollout. Prints figures; asserts nothing. `cargo bench -p planner`.

#[path = "../tests/fleet/mod.rs"]
mod fleet;

use std::time::{Duration, Instant};

use fleet::{desired, history, host, observed, start, version};
use model::{Desired, History, Observed, PackageState};

const RUNS: usize = 15;

fn main() {
    println!("{:<34} {:>9} {:>9} {:>9}", "one plan()", "least", "median", "most");
    for hosts in [1_000, 10_000] {
        let at_rest = desired(hosts, "1.0", &["1.0"]);
        measure(&format!("{hosts} hosts, converged"), &at_rest, &observed(&at_rest, "1.0"), &history());
        let bump = desired(hosts, "1.1", &["1.0", "1.1"]);
        measure(&format!("{hosts} hosts, just bumped"), &bump, &observed(&bump, "1.0"), &history());
        let (seen, memory) = half_way(&bump);
        measure(&format!("{hosts} hosts, half of them done"), &bump, &seen, &memory);
    }
}

/// Everything downloaded, the storage host and every second web host done.
fn half_way(bump: &Desired) -> (Observed, History) {
    let mut seen = observed(bump, "1.0");
    let names: Vec<_> = bump.fleet.hosts().map(|(_, host)| host.clone()).collect();
    for (at, name) in names.iter().enumerate() {
        let state = host(&mut seen, name.as_str());
        state.staged.insert("shop".into(), [version("1.1")].into());
        if at % 2 == 0 {
            let new =
                PackageState { version: version("1.1"), installed: true, status: "hi ".into(), held: true };
            state.packages.insert("shop".into(), new);
        }
    }
    (seen, history())
}

fn measure(what: &str, desired: &Desired, observed: &Observed, history: &History) {
    let mut times: Vec<Duration> = (0..RUNS).map(|_| time(desired, observed, history)).collect();
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{what:<34} {:>6.2} ms {:>6.2} ms {:>6.2} ms",
        ms(times[0]),
        ms(times[RUNS / 2]),
        ms(times[RUNS - 1])
    );
}

fn time(desired: &Desired, observed: &Observed, history: &History) -> Duration {
    let began = Instant::now();
    let plan = planner::plan(desired, observed, history, start());
    let took = began.elapsed();
    assert!(plan.progress.len() == 2, "a plan for both roles");
    took
}
