//! The binary `reconcile`.
fn main() -> std::process::ExitCode {
    cli::main()
}
