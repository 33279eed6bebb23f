//! A desired-state repository, from text to values that can only be valid; or all of its mistakes, each with its place.
//!
//! In three steps: `tree` keeps every value's place and merges what `extends` names; the `raw` types mirror the files
//! one to one (and yield the JSON Schemas); the rest resolves names, ranges and percentages, and checks what no single
//! value can show.

mod balancers;
mod checks;
mod exceptions;
mod fleet;
mod freezes;
mod gates;
mod hosts;
mod migrations;
mod patches;
mod policy;
mod problem;
mod raw;
mod raw_policy;
mod raw_release;
mod read;
mod repository;
mod roles;
mod schema;
mod stages;
mod template;
mod text;
mod tree;

pub use problem::Problem;
pub use repository::{EnvironmentSpec, Parsed, main_version, repository, targets};
pub use schema::{SchemaKind, schema};
