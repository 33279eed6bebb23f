//! What a defect needs to remember to be consistent with itself, for the life of one process.

use std::collections::{BTreeMap, BTreeSet};

use model::{Admin, Fact, GateName, GateState, HostName, HostState, NodeState, RowId, ServerName, Version};

#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Servers that we have taken out, and how.
    pub(crate) taken_out: BTreeMap<ServerName, Admin>,
    /// Rows that were last seen out.
    pub(crate) seen_out: BTreeSet<RowId>,
    /// The first answer of each gate that was green.
    pub(crate) gates: BTreeMap<GateName, GateState>,
    /// Facts that are passed for new.
    pub(crate) hosts: BTreeMap<HostName, Fact<HostState>>,
    pub(crate) nodes: BTreeMap<HostName, Fact<NodeState>>,
    /// A host as it was last seen, for whom its neighbour is taken.
    pub(crate) neighbour: Option<HostState>,
    /// Hosts that our mark is said to be off.
    pub(crate) let_go: BTreeSet<HostName>,
    /// The newest version that was ever installed.
    pub(crate) newest: Option<Version>,
}
