//! One module per outside system. Each makes one attempt and tells what it saw or did: nothing here retries, waits
//! for a better moment, orders, chooses or prints. Parsers are pure and stand beside what they parse.

pub mod agent;
pub mod apt;
pub mod checks;
pub mod claim;
#[doc(hidden)]
pub mod fuzzing;
pub mod gates;
pub mod haproxy;
pub mod http;
pub mod jobs;
pub mod migrations;
pub mod observe;
pub mod patches;
pub mod services;
pub mod shell;
pub mod ssh;
pub mod versions;
