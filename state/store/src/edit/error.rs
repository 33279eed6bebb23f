//! Why an edit cannot be made.

/// Why an edit cannot be made. The text is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The text is no TOML.
    #[error("it is not TOML: {error}")]
    Syntax {
        /// Where and why.
        error: String,
    },
    /// The value to be changed is not there.
    #[error("it has no `{key}` in [{table}]")]
    Missing {
        /// The table.
        table: String,
        /// The key.
        key: String,
    },
    /// Something stands there in a form that is not expected.
    #[error("`{what}` is not written as it should be: change it by hand")]
    Form {
        /// What.
        what: String,
    },
    /// The version is another one than expected: somebody was faster.
    #[error("[{table}] has version {found} by now, and not {expected}")]
    Moved {
        /// The track's table.
        table: String,
        /// What stands there.
        found: String,
        /// What should have stood there.
        expected: String,
    },
    /// An entry about the same thing is there, and says something else.
    #[error("it has {entry} already, with other words: take it out first")]
    There {
        /// Which.
        entry: String,
    },
    /// The entry to be removed is not there.
    #[error("it has no {entry}")]
    NotThere {
        /// Which.
        entry: String,
    },
    /// Several entries match.
    #[error("it has {entry} {times} times: remove the right one by hand")]
    Ambiguous {
        /// Which.
        entry: String,
        /// How often.
        times: usize,
    },
}
