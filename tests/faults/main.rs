//! The shipping program on real hosts, with one fault at a time: the right reason in `explain`, the floor held, and
//! recovery by itself once the fault is gone.
//!
//! Six faults are told always; all of them when `RECONCILE_LONG` is set.

#![allow(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

mod balancers;
mod floor;
mod git;
mod hosts;
mod keys;
mod packages;
mod sessions;

use std::io::Write;
use std::time::Instant;

use lab::Host;
use tests::deployment::{Deployment, ENVIRONMENT};

use crate::floor::holding_the_floor;

/// The shipping program, as cargo built it for these tests.
const PROGRAM: &str = env!("CARGO_BIN_EXE_reconcile-under-test");

/// Long enough for a rollout of the whole fleet on a busy machine.
const ROLLOUT_S: u64 = 240;

/// Long enough to notice a fault: the longest deadline of a reading, and a few looks.
const NOTICED_S: u64 = 90;

/// Whether the long stories are told too; says so when this one is not, past the test runner's capture.
fn long(name: &str) -> bool {
    let told = std::env::var_os("RECONCILE_LONG").is_some();
    if !told {
        let line = format!("SKIPPED without RECONCILE_LONG: {name}\n");
        drop(std::io::stderr().write_all(line.as_bytes()));
    }
    told
}

/// A fleet whose drains are short, with the floor watched from the first fault to the last recovery.
fn on_a_watched_fleet(name: &str, story: impl FnOnce(&mut Deployment<'_>)) {
    tests::stories::on_a_fleet(name, PROGRAM, |deployment| {
        deployment.replace("drain = \"30s\"", "drain = \"4s\"").replace("drain = \"5s\"", "drain = \"2s\"");
        holding_the_floor(deployment, story);
    });
}

/// Tells one fault's story, and how long it took from the fault to the recovery.
fn fault(name: &str, deployment: &mut Deployment<'_>, story: impl FnOnce(&mut Deployment<'_>)) {
    let began = Instant::now();
    story(deployment);
    println!("fault `{name}`: reason told, floor held, recovered in {:.0} s", began.elapsed().as_secs_f64());
}

fn host<'a>(deployment: &Deployment<'a>, name: &str) -> &'a Host {
    deployment.lab.host(name).unwrap()
}

/// How many steps of a kind began on a host after an event.
fn steps(deployment: &Deployment<'_>, after: u64, host: &str, action: &str) -> usize {
    let of = |(at, kind): &&(model::HostName, String)| at.as_str() == host && kind == action;
    deployment.steps_after(after).iter().filter(of).count()
}

/// Waits until that many steps of a kind have begun on a host after an event.
fn step_begins(deployment: &Deployment<'_>, after: u64, host: &str, action: &str, times: usize) {
    let what = format!("{action} number {times} on {host}");
    deployment.wait_for(&what, NOTICED_S, || steps(deployment, after, host, action) >= times);
}

/// The commit in force, as the service tells it.
fn in_force(deployment: &Deployment<'_>) -> String {
    let report = deployment.report().expect("the service answers");
    report.environments[ENVIRONMENT].plan.commit.as_str().to_owned()
}
