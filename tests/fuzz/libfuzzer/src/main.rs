//! One target under libFuzzer: its name is in the environment, since libFuzzer owns the command line.

#![no_main]

use std::sync::LazyLock;

use fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    fuzz::target(&name).unwrap_or_else(|| {
        let known: Vec<_> = fuzz::TARGETS.iter().map(|target| target.name).collect();
        eprintln!("FUZZ_TARGET is `{name}`, not one of {}", known.join(", "));
        std::process::exit(64)
    })
});

fuzz_target!(|bytes: &[u8]| (TARGET.read)(bytes));
