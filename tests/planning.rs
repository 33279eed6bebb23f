//! How long planning takes; see docs/figures.md.

fn main() {}
