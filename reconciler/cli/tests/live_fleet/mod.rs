//! The fleet of the live world's story, and the words for steps on it.

use super::*;

pub(crate) fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

pub(crate) fn words(text: &[&str]) -> Argv {
    Argv(text.iter().map(|word| (*word).to_owned()).collect())
}

pub(crate) fn shop(number: &str) -> BTreeMap<PackageName, Version> {
    BTreeMap::from([("shop".into(), version(number))])
}

pub(crate) fn install(number: &str, prepare: &[Argv], configure: &[Argv]) -> Action {
    Action::Install { packages: shop(number), prepare: prepare.to_vec(), configure: configure.to_vec() }
}

pub(crate) fn unit(activate: Activate) -> Service {
    Service { name: "shop.service".into(), systemd: true, activate, running: None }
}

pub(crate) fn row(server: &str) -> RowId {
    RowId { node: "fe-01".into(), backend: "web".into(), server: server.into() }
}

pub(crate) fn rows(server: &str) -> BTreeSet<RowId> {
    BTreeSet::from([row(server)])
}

pub(crate) fn commit() -> Commit {
    let (author, subject) = ("a".to_owned(), "s".to_owned());
    Commit { id: "c0ffee".into(), author, subject, at: jiff::Timestamp::UNIX_EPOCH }
}

pub(crate) fn desired(lab: &Lab) -> Desired {
    let web = Role {
        name: "web".into(),
        track: Track::Main,
        hosts: lab.hosts_of(HostKind::Web).map(|host| host.name().into()).collect(),
        packages: vec!["shop".into()],
        package_version: "{version}".to_owned(),
        backends: vec![BackendId { load_balancer: "fe".into(), backend: "web".into() }],
        max_unavailable: 1,
        allow_outage: false,
        prepare: Vec::new(),
        configure: Vec::new(),
        services: vec![unit(Activate::Restart)],
        health: Some(Health {
            probe: Probe::Http(format!("http://{}:8080/-/readiness", lab.host("web-01").unwrap().address())),
            within: SignedDuration::from_secs(30),
        }),
    };
    let policy = DrainPolicy { timeout: SignedDuration::from_secs(10), on_timeout: OnTimeout::Wait };
    let balancer = LoadBalancer {
        name: "fe".into(),
        nodes: vec!["fe-01".into()],
        socket: "/run/haproxy/admin.sock".to_owned(),
        server: "{host}".to_owned(),
        backends: BTreeMap::from([("web".into(), policy)]),
    };
    Desired {
        environment: "staging".into(),
        commit: commit(),
        target: version(demo::SECOND),
        direction: None,
        canary: None,
        exceptions: model::Exceptions::default(),
        departed: Vec::new(),
        ranks: vec![version(demo::FIRST), version(demo::SECOND)],
        fleet: Fleet {
            mode: Mode::Reconcile,
            roles: vec![web],
            load_balancers: vec![balancer],
            backend_limit: Limit::Count(1),
            max_parallel: 5,
            deadlines: Deadlines {
                step: SignedDuration::from_secs(60),
                rollout: SignedDuration::from_secs(600),
            },
            policy: model::Policy::default(),
        },
    }
}
