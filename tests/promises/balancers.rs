//! What HAProxy itself says of the servers, on every node.

use lab::{HostKind, Lab};

/// One server of one backend on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) node: String,
    pub(crate) backend: String,
    pub(crate) server: String,
    /// HAProxy's bits: 1 is maintenance, 8 is drain; 0 is nobody's doing.
    pub(crate) admin: u32,
    /// `srv_op_state` 2.
    pub(crate) up: bool,
}

/// Every server row of every load balancer.
pub(crate) fn rows(lab: &Lab) -> Vec<Seen> {
    let mut seen = Vec::new();
    for node in lab.hosts_of(HostKind::LoadBalancer) {
        let state = node.haproxy("show servers state").expect("the load balancer answers");
        let rows = state.lines().skip(2).map(|line| line.split(' ').collect::<Vec<_>>());
        seen.extend(rows.filter(|row| row.len() > 6).map(|row| Seen {
            node: node.name().to_owned(),
            backend: row[1].to_owned(),
            server: row[3].to_owned(),
            admin: row[6].parse().expect("a mask"),
            up: row[5] == "2",
        }));
    }
    seen
}

/// Rows that HAProxy would send no traffic to.
pub(crate) fn out(lab: &Lab) -> Vec<Seen> {
    rows(lab).into_iter().filter(|row| row.admin != 0 || !row.up).collect()
}

/// Says `set server … state STATE` of a server on every node and in every backend, as a person would.
pub(crate) fn person_sets(lab: &Lab, server: &str, state: &str) {
    for row in rows(lab).iter().filter(|row| row.server == server) {
        let command = format!("set server {}/{server} state {state}", row.backend);
        let answer = lab.host(&row.node).and_then(|node| node.haproxy(&command));
        assert_eq!(answer.expect("the load balancer answers").trim(), "");
    }
}
