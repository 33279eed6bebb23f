//! What can go wrong with a lab, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a lab could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// This machine cannot hold a lab. A test says that it was skipped, and why.
    #[error("no lab on this machine: {why}")]
    Unavailable {
        /// What is missing.
        why: String,
    },
    /// A name that cannot be used for a lab or a host.
    #[error("{name:?} cannot name a {what}: {why}")]
    BadName {
        /// Lab or host.
        what: &'static str,
        /// The rejected name.
        name: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// Another living process owns the lab of that name.
    #[error("lab {name} is in use by process {pid}: choose another name, or end that process first")]
    InUse {
        /// The lab.
        name: String,
        /// Its owner.
        pid: u32,
    },
    /// Labs stand on the cached root file system.
    #[error("the cached root file system is in use: take down {labs} first")]
    CacheInUse {
        /// The labs.
        labs: String,
    },
    /// No lab of that name is up.
    #[error("no lab named {name} is up: start it with `lab --name {name} up`")]
    NoSuchLab {
        /// The name.
        name: String,
    },
    /// The lab has no such host.
    #[error("lab {lab} has no host {host}: it has {known}")]
    NoSuchHost {
        /// The lab.
        lab: String,
        /// What was asked for.
        host: String,
        /// The hosts there are.
        known: String,
    },
    /// The host is not running.
    #[error("host {host} is not running: start it first; its last console lines:\n{console}")]
    NotRunning {
        /// The host.
        host: String,
        /// The end of its console.
        console: String,
    },
    /// A host did what it should not for too long.
    #[error("waited {seconds} s for {what}: {last}")]
    TimedOut {
        /// What was awaited.
        what: String,
        /// How long.
        seconds: u64,
        /// What was seen last.
        last: String,
    },
    /// A program failed.
    #[error("{what}: `{command}` failed with {status}:\n{output}")]
    Program {
        /// What it was for.
        what: String,
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// A file could not be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something this library reads was not as it should be.
    #[error("{what} is not understood: {detail}")]
    Unexpected {
        /// What was read.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl LabError {
    /// For `map_err` after an operation on `path`.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}
