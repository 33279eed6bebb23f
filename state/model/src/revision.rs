//! A commit of the desired-state repository as the service reads it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::desired::{Commit, Desired};
use crate::ids::EnvironmentName;
use crate::waiting::Reason;

/// A valid commit, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The commit.
    pub commit: Commit,
    /// Every environment in it.
    pub environments: BTreeMap<EnvironmentName, Desired>,
}

/// One look at the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The newest valid revision that was accepted; none: there never was one.
    pub revision: Option<Revision>,
    /// Why the remote's head is not in force, if it is not.
    pub obstacle: Option<Reason>,
    /// Every error of the head, when it is invalid: `file:line:column: text`.
    pub errors: Vec<String>,
}
