//! A release's whole way on real hosts: from a nightly on staging to post-deployment migrations in production, and all
//! that may stop it or turn it back.

#![allow(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

mod gates;
mod pipeline;
mod races;
mod share;
mod turning;
mod whole;

/// The shipping program, as cargo built it for these tests.
const PROGRAM: &str = env!("CARGO_BIN_EXE_reconcile-under-test");

/// Whether there is time for everything.
fn long() -> bool {
    std::env::var_os("RECONCILE_LONG").is_some()
}
