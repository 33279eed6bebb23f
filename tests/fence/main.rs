//! Two services of one name on real hosts, and a lost journal: not one change by the older one after the newer has
//! claimed. Without root or Debian it says that it was skipped, and why.

#![allow(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

mod proof;
mod served;
mod stories;

/// The shipping program, as cargo built it for these tests.
const PROGRAM: &str = env!("CARGO_BIN_EXE_reconcile-under-test");
