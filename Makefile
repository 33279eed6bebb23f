# Everything a fresh machine needs is set up by the first target of each command.
.PHONY: setup demo test check bench mutants

demo: setup   ## a fleet, a service, a commit that moves the fleet, a revert that takes it back
	cargo run --quiet -p cli -- demo

test: setup   ## every test; real hosts where root and Debian allow
	cargo test --workspace --no-fail-fast -- --quiet

check: setup  ## formatting and lints, as CI sees them
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings

bench: setup  ## the figures in docs/figures.md
	cargo bench --quiet -p planner

mutants: setup ## single changes of planner and transition table that no pure test notices; hours (cargo-mutants, cargo-nextest)
	NEXTEST_PROFILE=mutants cargo mutants -p planner -C=--test=plans -o target/mutants-of-planner
	NEXTEST_PROFILE=mutants cargo mutants -p model --profile mutants-of-model -f 'state/model/src/{history,histories,progress,taken_out,in_force}.rs' -C=--test=history -o target/mutants-of-history

setup:
	@sh packaging/setup.sh
