//! The rows of hosts on load balancer nodes, as last seen.

use model::{
    Admin, BackendId, BackendName, DrainPolicy, Fact, HostName, LoadBalancer, NodeState, Row, RowId,
    ServerName,
};

/// One row of a host, as last seen.
pub(crate) struct RowView<'a> {
    pub(crate) node: &'a HostName,
    pub(crate) backend: &'a BackendId,
    /// What the node showed last.
    pub(crate) fact: Option<&'a Fact<NodeState>>,
    /// As [`crate::survey::Survey::node_is_fresh`].
    pub(crate) is_fresh: bool,
    server: ServerName,
    pub(crate) policy: DrainPolicy,
    pub(crate) sticky: bool,
    /// None: the node is unknown, or has no such row.
    pub(crate) row: Option<&'a Row>,
    /// Sessions in the current and in old workers.
    pub(crate) sessions: u32,
}

impl RowView<'_> {
    pub(crate) fn id(&self) -> RowId {
        RowId { node: self.node.clone(), backend: self.backend.backend.clone(), server: self.server.clone() }
    }

    pub(crate) fn in_rotation(&self) -> bool {
        self.row.is_some_and(Row::in_rotation)
    }

    pub(crate) fn may_take_traffic(&self) -> bool {
        self.row.is_some_and(Row::may_take_traffic)
    }

    /// Whether its node was seen, with this row or without it.
    pub(crate) fn is_seen(&self) -> bool {
        self.fact.is_some_and(|fact| fact.value.is_ok())
    }

    /// By command, whoever gave it.
    pub(crate) fn is_taken_out(&self) -> bool {
        matches!(self.admin(), Some(Admin::Drain | Admin::Maint))
    }

    pub(crate) fn admin(&self) -> Option<Admin> {
        self.row.map(|row| row.admin)
    }
}

/// One backend of a role, on every node of its load balancer.
pub(crate) struct Place<'a> {
    pub(crate) backend: &'a BackendId,
    pub(crate) balancer: &'a LoadBalancer,
    pub(crate) policy: DrainPolicy,
    pub(crate) nodes: Vec<NodeView<'a>>,
}

/// One load balancer node, as a backend is seen on it.
pub(crate) struct NodeView<'a> {
    pub(crate) name: &'a HostName,
    pub(crate) fact: Option<&'a Fact<NodeState>>,
    pub(crate) is_fresh: bool,
    pub(crate) sticky: bool,
    pub(crate) is_out: bool,
}

/// A host's rows; and those on nodes that are declared out.
pub(crate) fn rows_on<'a>(places: &[Place<'a>], host: &HostName) -> (Vec<RowView<'a>>, Vec<RowView<'a>>) {
    let (mut rows, mut aside) =
        (Vec::with_capacity(places.iter().map(|place| place.nodes.len()).sum()), Vec::new());
    for Place { backend, balancer, policy, nodes } in places {
        let key = (backend.backend.clone(), balancer.server(host));
        for node in nodes {
            let state = node.fact.and_then(Fact::known);
            let row = state.and_then(|state| state.rows.get(&key));
            let list = if node.is_out { &mut aside } else { &mut rows };
            list.push(RowView {
                node: node.name,
                backend,
                policy: *policy,
                fact: node.fact,
                is_fresh: node.is_fresh,
                sticky: node.sticky,
                row,
                sessions: sessions(state, &key, row),
                server: key.1.clone(),
            });
        }
    }
    (rows, aside)
}

fn sessions(state: Option<&NodeState>, key: &(BackendName, ServerName), row: Option<&Row>) -> u32 {
    let old = state.and_then(|state| state.old_sessions.get(key)).copied().unwrap_or(0);
    row.map_or(0, |row| row.sessions).saturating_add(old)
}
