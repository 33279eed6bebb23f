//! What the planner decides, told as stories and asked of recorded lives. One program, so that it is linked once for
//! every mutant.

#![allow(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

mod adopting;
mod again;
mod backwards;
mod behind;
mod budgets;
mod departing;
mod errands;
mod exceptions;
#[path = "../fleet/mod.rs"]
mod fleet;
mod following;
mod freezes;
mod leaving;
mod left;
mod marks;
mod notes;
mod people;
mod pins;
mod pipeline;
mod ramps;
mod recorded;
#[path = "../release/mod.rs"]
mod release;
mod rollout;
mod sessions;
mod shares;
mod troubles;
