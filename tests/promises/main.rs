//! The shipping program on real hosts: kills, real packages, and that looking changes nothing.

/// The shipping program, as cargo built it for these tests.
const PROGRAM: &str = env!("CARGO_BIN_EXE_reconcile-under-test");
