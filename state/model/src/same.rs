//! Whether a reading says what is known already: then there is nothing new to decide.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::ids::{BackendName, ServerName};
use crate::observed::{Admin, Fact, HostState, NodeState, Observed, Row, ServiceState};

type RowKey = (BackendName, ServerName);

impl Observed {
    /// Whether another reading of hosts and load balancer nodes says what is known already. Readings of gates and of
    /// versions on offer never do: when they were read counts as well.
    pub fn knows(&self, other: &Self) -> bool {
        let Self { hosts, nodes, gates, versions, twins: _ } = other;
        let mut facts = hosts
            .iter()
            .map(|(host, fact)| same(self.hosts.get(host), fact, same_host))
            .chain(nodes.iter().map(|(node, fact)| same(self.nodes.get(node), fact, same_node)));
        let shows_any = !hosts.is_empty() || !nodes.is_empty();
        shows_any && gates.is_empty() && versions.is_none() && facts.all(|same| same)
    }
}

impl Observed {
    /// When its newest reading of a host or load balancer node began.
    pub fn read_at(&self) -> Option<Timestamp> {
        self.hosts.values().map(|fact| fact.at).chain(self.nodes.values().map(|fact| fact.at)).max()
    }
}

fn same<T>(known: Option<&Fact<T>>, new: &Fact<T>, says_the_same: impl Fn(&T, &T) -> bool) -> bool {
    match (known.map(|fact| &fact.value), &new.value) {
        (Some(Ok(known)), Ok(new)) => says_the_same(known, new),
        (Some(Err(known)), Err(new)) => known == new,
        _ => false,
    }
}

fn same_host(a: &HostState, b: &HostState) -> bool {
    let HostState {
        machine_id,
        boot_id,
        codename,
        addresses,
        packages,
        dpkg_interrupted,
        staged,
        services,
        health,
        claim,
        job,
        in_doubt,
        patches,
        agent,
        last_generation,
        jobs,
    } = a;
    let same_services = services.len() == b.services.len()
        && services.iter().zip(&b.services).all(|(a, b)| a.0 == b.0 && same_service(a.1, b.1));
    same_services
        && (machine_id, boot_id, codename, addresses)
            == (&b.machine_id, &b.boot_id, &b.codename, &b.addresses)
        && (packages, dpkg_interrupted, staged) == (&b.packages, &b.dpkg_interrupted, &b.staged)
        && (health, claim, job, in_doubt) == (&b.health, &b.claim, &b.job, &b.in_doubt)
        && (patches, agent, last_generation, jobs) == (&b.patches, &b.agent, &b.last_generation, &b.jobs)
}

/// A process grows older by itself.
fn same_service(a: &ServiceState, b: &ServiceState) -> bool {
    let ServiceState { active, state, pid, uptime: _, started_after_unpack, stamped, reported } = a;
    (active, state, pid) == (&b.active, &b.state, &b.pid)
        && (started_after_unpack, stamped, reported) == (&b.started_after_unpack, &b.stamped, &b.reported)
}

fn same_node(a: &NodeState, b: &NodeState) -> bool {
    let NodeState { process, rows, sticky, old_sessions, last_generation } = a;
    let same_rows =
        rows.len() == b.rows.len() && rows.iter().zip(&b.rows).all(|(a, b)| a.0 == b.0 && same_row(a.1, b.1));
    let same_old = counted(rows, old_sessions).eq(counted(rows, &b.old_sessions));
    same_rows && same_old && (process, sticky, last_generation) == (&b.process, &b.sticky, &b.last_generation)
}

/// Of a server in rotation nobody asks how many sessions it has, and of others only whether there are any.
fn counted<'a>(
    rows: &'a BTreeMap<RowKey, Row>,
    sessions: &'a BTreeMap<RowKey, u32>,
) -> impl Iterator<Item = &'a RowKey> {
    let serves = |key: &RowKey| rows.get(key).is_some_and(|row| row.admin == Admin::Ready);
    sessions.iter().filter(move |(key, sessions)| **sessions > 0 && !serves(key)).map(|(key, _)| key)
}

fn same_row(a: &Row, b: &Row) -> bool {
    let Row { status, admin, weight, sessions, address, check } = a;
    let same_sessions = *admin == Admin::Ready || (*sessions > 0) == (b.sessions > 0);
    same_sessions
        && (status, admin, weight) == (&b.status, &b.admin, &b.weight)
        && (address, check) == (&b.address, &b.check)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::SignedDuration;

    use super::*;
    use crate::observed::{RowCheck, Unknown, UnknownKind};

    fn row(admin: Admin, sessions: u32) -> Row {
        let (status, address) = ("UP".into(), "192.0.2.1".into());
        Row { status, admin, weight: 100, sessions, address, check: RowCheck::Passed }
    }

    fn node(admin: Admin, sessions: u32, old: u32) -> NodeState {
        let key: RowKey = ("web".into(), "web-01".into());
        NodeState {
            process: "1".into(),
            rows: BTreeMap::from([(key.clone(), row(admin, sessions))]),
            sticky: BTreeSet::new(),
            old_sessions: BTreeMap::from([(key, old)]),
            last_generation: None,
        }
    }

    fn seen(state: Result<NodeState, Unknown>) -> Observed {
        let nodes = BTreeMap::from([("fe-01".into(), Fact { at: Timestamp::UNIX_EPOCH, value: state })]);
        Observed { nodes, ..Observed::default() }
    }

    #[test]
    fn whether_there_are_sessions_counts_where_a_server_is_out_alone() {
        let known = seen(Ok(node(Admin::Ready, 3, 1)));
        assert!(known.knows(&seen(Ok(node(Admin::Ready, 40, 2)))));
        let drained = seen(Ok(node(Admin::Drain, 3, 1)));
        assert!(!known.knows(&drained));
        assert!(drained.knows(&drained));
        assert!(drained.knows(&seen(Ok(node(Admin::Drain, 2, 5)))));
        assert!(!drained.knows(&seen(Ok(node(Admin::Drain, 0, 1)))));
        assert!(!drained.knows(&seen(Ok(node(Admin::Drain, 3, 0)))));
        assert!(!seen(Ok(node(Admin::Drain, 3, 0))).knows(&drained));
    }

    #[test]
    fn a_process_that_grew_older_is_the_same_and_another_one_is_not() {
        let service = |pid, age_s| ServiceState {
            active: true,
            state: "active".into(),
            pid: Some(pid),
            uptime: Some(SignedDuration::from_secs(age_s)),
            started_after_unpack: None,
            stamped: None,
            reported: None,
        };
        assert!(same_service(&service(7, 1), &service(7, 2)));
        assert!(!same_service(&service(7, 1), &service(8, 0)));
    }

    #[test]
    fn nothing_that_is_unknown_is_known_unless_for_the_same_reason() {
        let because = |kind| seen(Err(Unknown { kind, detail: String::new() }));
        let gone = because(UnknownKind::Unreachable);
        assert!(gone.knows(&gone));
        assert!(!gone.knows(&because(UnknownKind::KeyRefused)));
        assert!(!gone.knows(&seen(Ok(node(Admin::Ready, 0, 0)))));
        assert!(!Observed::default().knows(&gone));
        assert!(!gone.knows(&Observed::default()), "an empty reading tells nothing");
    }
}
