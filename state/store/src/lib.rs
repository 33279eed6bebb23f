//! Durable memory: what git says, what happened, and who holds the state directory.
//!
//! Depends on the nouns alone. Everything here blocks for at most a local disk's time, except [`git::GitSource`],
//! which is asynchronous and has a deadline of its own.

pub mod edit;
pub mod git;
pub mod journal;
pub mod lock;

pub use git::{Access, GitConfig, GitSource, Look, Remote};
pub use journal::{JournalError, JournalReader, SqliteJournal};
pub use lock::{Holder, LockError, StateLock};
