//! Load balancers, resolved.

use std::collections::{BTreeMap, BTreeSet};

use super::hosts::MAX_HOSTS;
use super::problem::Problems;
use super::raw::{RawBackend, RawEnvironment, RawLoadBalancer};
use super::read::{At, Map};
use super::template;
use crate::desired::{BackendId, DrainPolicy, LoadBalancer, OnTimeout, Role};
use crate::ids::{BackendName, HostName, LoadBalancerName};

const DEFAULT_SOCKET: &str = "/run/haproxy/admin.sock";
const DEFAULT_SERVER: &str = "{host}";

/// The load balancers that could be read.
pub(super) struct Balancers {
    pub(super) groups: Vec<LoadBalancer>,
    by_backend: BTreeMap<BackendName, Vec<BackendId>>,
    /// Whether each of them was read whole. If not, a backend that seems unknown may stand in what was not read.
    pub(super) whole: bool,
}

impl Balancers {
    fn new(groups: Vec<LoadBalancer>, whole: bool) -> Self {
        let mut by_backend: BTreeMap<BackendName, Vec<BackendId>> = BTreeMap::new();
        for group in &groups {
            for backend in group.backends.keys() {
                let id = BackendId { load_balancer: group.name.clone(), backend: backend.clone() };
                by_backend.entry(backend.clone()).or_default().push(id);
            }
        }
        Self { groups, by_backend, whole }
    }

    /// The backend of this name in every group that has one.
    pub(super) fn with(&self, backend: &BackendName) -> &[BackendId] {
        self.by_backend.get(backend).map_or(&[], Vec::as_slice)
    }

    pub(super) fn backend_names(&self) -> impl Iterator<Item = &str> {
        self.by_backend.keys().map(BackendName::as_str)
    }
}

/// Every group that could be read whole.
pub(super) fn resolve(file: &At<RawEnvironment>, problems: &mut Problems) -> Balancers {
    let mut seen = Seen::default();
    let written: &[At<RawLoadBalancer>] = file.load_balancer.as_deref().unwrap_or_default();
    let groups: Vec<LoadBalancer> =
        written.iter().filter_map(|group| load_balancer(group, &mut seen, problems)).collect();
    let unread = file.node.has("load_balancer") && file.load_balancer.is_none();
    let whole = !unread && groups.len() == written.len();
    Balancers::new(groups, whole)
}

#[derive(Default)]
struct Seen {
    names: BTreeSet<LoadBalancerName>,
    nodes: BTreeMap<HostName, String>,
    counted: usize,
}

fn load_balancer(
    raw: &At<RawLoadBalancer>,
    seen: &mut Seen,
    problems: &mut Problems,
) -> Option<LoadBalancer> {
    if let Some(name) = raw.name.get() {
        if !seen.names.insert(name.value.clone()) {
            problems.add(name.at(), format!("load balancer `{}` is already defined", name.value));
        }
    }
    let nodes = nodes(raw, seen, problems);
    if let Some(server) = &raw.server {
        template::check_strictly(&server.value.0, &["{host}"], server.at(), problems);
    }
    let backends = raw.backends.get().and_then(|backends| drain_policies(backends, problems));
    Some(LoadBalancer {
        name: raw.name.get()?.value.clone(),
        nodes: nodes?,
        socket: raw.socket.as_ref().map_or(DEFAULT_SOCKET, |socket| &socket.0).to_owned(),
        server: raw.server.as_ref().map_or(DEFAULT_SERVER, |server| &server.value.0).to_owned(),
        backends: backends?,
    })
}

/// A node belongs to one group of an environment. Other environments may share it: each has its own rows there.
fn nodes(raw: &RawLoadBalancer, seen: &mut Seen, problems: &mut Problems) -> Option<Vec<HostName>> {
    let written = raw.nodes.get()?;
    if written.node.is_empty() {
        problems.add(written.at(), "a load balancer needs at least one node");
    }
    let owner = raw.name.get().map_or_else(String::new, |name| name.value.to_string());
    let mut nodes = Vec::new();
    for range in written.value.iter() {
        seen.counted += range.len();
        if seen.counted > MAX_HOSTS {
            problems.add(range.at(), format!("more than {MAX_HOSTS} load balancer nodes in one environment"));
            return None;
        }
        for node in range.hosts() {
            if let Some(other) = seen.nodes.insert(node.clone(), owner.clone()) {
                problems.add(range.at(), format!("node `{node}` is already in load balancer `{other}`"));
            }
            nodes.push(node);
        }
    }
    Some(nodes)
}

/// `None` when one of them could not be read.
fn drain_policies(
    backends: &At<Map<BackendName, RawBackend>>,
    problems: &mut Problems,
) -> Option<BTreeMap<BackendName, DrainPolicy>> {
    if backends.node.is_empty() {
        problems.add(backends.at(), "a load balancer needs at least one backend");
    }
    let policy = |raw: &RawBackend| {
        Some(DrainPolicy {
            timeout: raw.drain.get()?.value.0,
            on_timeout: raw.on_timeout.unwrap_or(OnTimeout::Wait),
        })
    };
    // A backend whose drain has a mistake is still a backend that roles may name.
    let known = backends.iter().map(|(name, raw)| {
        let fallback = DrainPolicy { timeout: jiff::SignedDuration::ZERO, on_timeout: OnTimeout::Wait };
        (name.value.clone(), policy(raw).unwrap_or(fallback))
    });
    Some(known.collect())
}

/// A backend that no role serves in is a forgotten line, or a forgotten role.
pub(super) fn check_unserved(file: &RawEnvironment, roles: &[Role], problems: &mut Problems) {
    let served: BTreeSet<&BackendName> =
        roles.iter().flat_map(|role| role.backends.iter().map(|id| &id.backend)).collect();
    let whole = file.role.get().is_some_and(|written| written.value.len() == roles.len());
    for group in file.load_balancer.iter().flatten().filter(|_| whole) {
        for (name, _) in group.backends.get().iter().flat_map(|backends| backends.iter()) {
            if !served.contains(&name.value) {
                problems.warn(name.at(), format!("no role serves in backend `{}`", name.value));
            }
        }
    }
}
