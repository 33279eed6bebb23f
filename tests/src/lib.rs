//! Scripts with golden output, rules of the house, and the fleet end to end. The library is what they share.

pub mod deployment;
pub mod script;
pub mod stories;
