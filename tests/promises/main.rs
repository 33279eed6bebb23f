//! The shipping program on real hosts: kills, real packages, and that looking changes nothing.

#![allow(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

mod balancers;
mod figures;
mod harmless;
mod kills;
mod packages;
mod snapshot;
mod somebody_else;

/// The shipping program, as cargo built it for these tests.
const PROGRAM: &str = env!("CARGO_BIN_EXE_reconcile-under-test");

/// Whether there is time for everything.
fn long() -> bool {
    std::env::var_os("RECONCILE_LONG").is_some()
}
