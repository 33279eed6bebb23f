//! One module per outside system. Each makes one attempt and tells what it saw or did: nothing here retries, waits
//! for a better moment, orders, chooses or prints. Parsers are pure and stand beside what they parse.

pub mod apt;
pub mod claim;
pub mod haproxy;
pub mod jobs;
pub mod observe;
pub mod services;
pub mod shell;
pub mod ssh;
