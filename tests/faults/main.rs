//! The shipping program on real hosts, with one fault at a time: the right reason in `explain`, the floor held, and
//! recovery by itself once the fault is gone.

/// The shipping program, as cargo built it for these tests.
const PROGRAM: &str = env!("CARGO_BIN_EXE_reconcile-under-test");
