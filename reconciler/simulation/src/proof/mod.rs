//! The proof: lives of simulated worlds, each drawn from one seed, in which everything goes wrong that the fault model
//! tolerates. The shipping service runs in them unchanged; the world judges it after every effect.

mod bent;
mod calm;
mod deeds;
mod happening;
mod harsh;
mod life;
mod panics;
mod person;
mod sabotage;
mod scenario;
mod shape;
mod shrink;
mod troubles;
mod witness;

pub use happening::{Bad, Deed, Fault, Happening, What, Which};
pub use life::{Ending, Lived, live, live_bent, live_watched};
pub use sabotage::{Catch, Catcher, Sabotage};
pub use scenario::{Mishaps, Scenario, Size};
pub use shape::{CheckPlace, PRODUCTION, STAGING, Shape};
pub use shrink::shrink;
pub use witness::{Situation, Told};
