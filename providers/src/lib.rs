//! One module per outside system. Each makes one attempt and tells what it saw or did: nothing here retries, waits
//! for a better moment, orders, chooses or prints. Parsers are pure and stand beside what they parse.

pub mod shell;
pub mod ssh;
