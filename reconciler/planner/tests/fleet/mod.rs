//! A small fleet as values: two load balancer nodes, web hosts behind both, one storage host without a backend.

#![allow(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]
#![allow(dead_code, reason = "shared by tests and benchmark; neither needs all of it")]

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use model::*;

/// Where every test begins.
pub(crate) fn start() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

/// A version.
pub(crate) fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

/// What git wants, of a fleet of `web` web hosts; `ranks` in the order of their first appearance.
pub(crate) fn desired(web: usize, target: &str, ranks: &[&str]) -> Desired {
    let names: Vec<HostName> = (1..=web).map(|n| HostName::new(format!("web-{n:02}"))).collect();
    Desired {
        environment: "production".into(),
        commit: Commit {
            id: CommitId::new(format!("{target:0>40}")),
            author: "Ada".into(),
            subject: format!("web {target}"),
            at: start(),
        },
        target: version(target),
        direction: None,
        canary: None,
        exceptions: model::Exceptions::default(),
        departed: Vec::new(),
        ranks: ranks.iter().map(|text| version(text)).collect(),
        fleet: Fleet {
            mode: Mode::Reconcile,
            roles: vec![storage(), web_role(names)],
            load_balancers: vec![balancer()],
            backend_limit: Limit::Percent(10),
            max_parallel: 20,
            deadlines: Deadlines {
                step: SignedDuration::from_mins(15),
                rollout: SignedDuration::from_hours(4),
            },
            policy: model::Policy::default(),
        },
    }
}

fn storage() -> Role {
    Role {
        backends: Vec::new(),
        name: "gitaly".into(),
        hosts: vec!["gitaly-01".into()],
        ..web_role(Vec::new())
    }
}

fn web_role(hosts: Vec<HostName>) -> Role {
    let backend = BackendId { load_balancer: "fe".into(), backend: "web".into() };
    Role {
        name: "web".into(),
        track: Track::Main,
        max_unavailable: Limit::Percent(10).of(hosts.len()),
        hosts,
        packages: vec!["shop".into()],
        package_version: "{version}".into(),
        backends: vec![backend],
        allow_outage: false,
        prepare: Vec::new(),
        configure: Vec::new(),
        services: vec![Service {
            name: "shop.service".into(),
            systemd: true,
            activate: Activate::Restart,
            running: None,
        }],
        health: Some(Health {
            probe: Probe::Tcp("{host}:8080".into()),
            within: SignedDuration::from_secs(30),
        }),
    }
}

fn balancer() -> LoadBalancer {
    let policy = DrainPolicy { timeout: SignedDuration::from_secs(60), on_timeout: OnTimeout::Wait };
    LoadBalancer {
        name: "fe".into(),
        nodes: vec!["fe-01".into(), "fe-02".into()],
        socket: "/run/haproxy/admin.sock".into(),
        server: "{host}".into(),
        backends: BTreeMap::from([("web".into(), policy)]),
    }
}

/// The fleet as it looks when everything runs `running` and is well.
pub(crate) fn observed(desired: &Desired, running: &str) -> Observed {
    let mut observed = Observed::default();
    for (role, host) in desired.fleet.hosts() {
        let fact = Fact { at: start(), value: Ok(host_state(role, host, running)) };
        observed.hosts.insert(host.clone(), fact);
    }
    for node in desired.fleet.nodes() {
        let fact = Fact { at: start(), value: Ok(node_state(desired)) };
        observed.nodes.insert(node.clone(), fact);
    }
    observed
}

/// The storage role is done, and every host has the target's packages at hand: web hosts are next.
pub(crate) fn web_is_next(desired: &Desired, seen: &mut Observed) {
    let target = desired.target.as_str();
    *host(seen, "gitaly-01") = host(&mut observed(desired, target), "gitaly-01").clone();
    let staged = [("shop".into(), [version(target)].into())].into();
    seen.hosts.values_mut().for_each(|fact| fact.value.as_mut().unwrap().staged.clone_from(&staged));
}

fn host_state(role: &Role, host: &HostName, running: &str) -> HostState {
    let package =
        PackageState { version: version(running), installed: true, status: "hi ".into(), held: true };
    let service = ServiceState {
        active: true,
        state: "active".into(),
        pid: Some(100),
        uptime: Some(SignedDuration::from_hours(1)),
        started_after_unpack: Some(true),
        stamped: None,
        reported: None,
    };
    HostState {
        machine_id: host.as_str().into(),
        boot_id: "boot".into(),
        codename: "bookworm".into(),
        addresses: BTreeSet::from([address(host)]),
        packages: role.packages.iter().map(|name| (name.clone(), package.clone())).collect(),
        dpkg_interrupted: false,
        staged: BTreeMap::new(),
        services: role.services.iter().map(|s| (s.name.clone(), service.clone())).collect(),
        health: HealthState::Healthy,
        claim: None,
        job: None,
        in_doubt: BTreeSet::new(),
        patches: BTreeSet::new(),
        agent: None,
        last_generation: None,
        jobs: BTreeMap::new(),
    }
}

fn address(host: &HostName) -> SmolStr {
    format!("address of {host}").into()
}

fn node_state(desired: &Desired) -> NodeState {
    let mut rows = BTreeMap::new();
    for (role, host) in desired.fleet.hosts() {
        for backend in &role.backends {
            let row = Row {
                status: "UP".into(),
                admin: Admin::Ready,
                weight: 100,
                sessions: 0,
                address: address(host),
                check: RowCheck::Passed,
            };
            rows.insert((backend.backend.clone(), ServerName::new(host.as_str())), row);
        }
    }
    NodeState {
        process: "1".into(),
        rows,
        sticky: BTreeSet::new(),
        old_sessions: BTreeMap::new(),
        last_generation: None,
    }
}

/// The memory of a service that has just begun.
pub(crate) fn history() -> History {
    let mut history = History::new("production".into());
    let began = Event::ServiceStarted {
        generation: Generation(1),
        service: "deploy".into(),
        program: "0.1.0".into(),
    };
    history.apply(start(), &began).unwrap();
    let adopted = Event::Adopted {
        environment: "production".into(),
        by: "reconcile".into(),
        reason: "first sight".into(),
        running: vec![version("1.0")],
        ahead: Vec::new(),
        jobs: Vec::new(),
    };
    history.apply(start(), &adopted).unwrap();
    history
}

/// The row of a web host on a node, to change it.
pub(crate) fn row<'a>(observed: &'a mut Observed, node: &str, host: &str) -> &'a mut Row {
    let state = observed.nodes.get_mut(node).unwrap().value.as_mut().unwrap();
    state.rows.get_mut(&("web".into(), host.into())).unwrap()
}

/// A node's row of a web host is there no more.
pub(crate) fn lose_row(observed: &mut Observed, node: &str, host: &str) {
    let state = observed.nodes.get_mut(node).unwrap().value.as_mut().unwrap();
    state.rows.remove(&("web".into(), host.into())).unwrap();
}

/// A web host leaves the fleet with something of ours on it. Tells its former role.
pub(crate) fn leaves(desired: &mut Desired, host: &str) -> Role {
    let web = desired.fleet.roles.iter_mut().find(|role| role.name.as_str() == "web").unwrap();
    web.hosts.retain(|other| other.as_str() != host);
    let former = Role { hosts: vec![host.into()], ..web.clone() };
    desired.departed = vec![former.clone()];
    former
}

/// The commands of a configuration agent, which may be told what to keep.
pub(crate) fn config_agent(pin: Option<&[&str]>) -> ConfigAgent {
    let argv = |words: &[&str]| Argv(words.iter().map(|word| (*word).to_owned()).collect());
    ConfigAgent {
        pause: argv(&["pause"]),
        resume: argv(&["resume"]),
        active: argv(&["active"]),
        busy: None,
        pin: pin.map(argv),
    }
}

/// The state of a host, to change it.
pub(crate) fn host<'a>(observed: &'a mut Observed, host: &str) -> &'a mut HostState {
    observed.hosts.get_mut(host).unwrap().value.as_mut().unwrap()
}

/// Our mark.
pub(crate) fn claim() -> Claim {
    Claim {
        generation: Generation(1),
        service: "deploy".into(),
        environment: "production".into(),
        commit: CommitId::new("0"),
        found: Default::default(),
        at: start(),
        expires: None,
    }
}

/// A step that brings a web host to 1.1, as the journal has it.
pub(crate) fn step(id: &str, name: &str, action: Action) -> Step {
    Step {
        id: id.into(),
        environment: "production".into(),
        host: name.into(),
        role: "web".into(),
        commit: CommitId::new("0"),
        version: version("1.1"),
        generation: Generation(1),
        action,
        why: String::new(),
        deadline: SignedDuration::from_mins(15),
        stage: None,
    }
}

/// A patch of the web role for a release.
pub(crate) fn patch(of: &str) -> Patch {
    Patch {
        version: version(of),
        file: "fix.patch".into(),
        sha256: "a".repeat(64),
        contents: String::new(),
        root: "/opt/shop".into(),
        roles: vec!["web".into()],
        reason: "leaks".into(),
        incorporated_in: Vec::new(),
    }
}
