//! Compiles the resident program (std only) so that the library can carry it inside itself.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=resident");
    println!("cargo:rerun-if-changed=build.rs");
    let rustc = env::var_os("RUSTC").expect("cargo sets RUSTC for build scripts");
    let target = env::var("TARGET").expect("cargo sets TARGET for build scripts");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("resident");
    let status = Command::new(rustc)
        .args(["--edition", "2024", "--crate-name", "resident", "--target", &target])
        .args(["-C", "opt-level=2", "-C", "panic=abort", "-C", "strip=symbols"])
        .args(["resident/main.rs", "-o"])
        .arg(&out)
        .status()
        .expect("rustc starts");
    assert!(status.success(), "the resident program of the lab does not compile: see the errors above");
}
