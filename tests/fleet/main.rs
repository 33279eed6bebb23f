//! The shipping program on real hosts: rollouts under traffic. Each story boots a lab of its own; without root or
//! Debian it says that it was skipped, and why.

#![allow(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

mod rollouts;

/// The shipping program, as cargo built it for these tests.
const PROGRAM: &str = env!("CARGO_BIN_EXE_reconcile-under-test");
