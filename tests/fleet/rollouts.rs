//! A bump and its revert, under traffic that shows no mercy.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lab::{HostKind, Lab, Traffic};
use model::HostName;
use tests::deployment::Deployment;

use tests::stories::{NEW, OLD, on_a_fleet};

use crate::PROGRAM;

/// The hosts in the order of their first step of a kind.
fn order(deployment: &Deployment<'_>, after: u64, action: &str) -> Vec<String> {
    let mut hosts: Vec<HostName> = Vec::new();
    for (host, kind) in deployment.steps_after(after) {
        if kind == action && !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts.iter().map(ToString::to_string).collect()
}

/// Told when the story is over, however it ends: a watcher that outlived a failing story would hang it.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The fewest web servers that HAProxy itself calls UP, on any node and in any backend, until told to stop.
fn fewest_up(lab: &Lab, stop: &AtomicBool) -> usize {
    let mut fewest = usize::MAX;
    while !stop.load(Ordering::Relaxed) {
        for node in lab.hosts_of(HostKind::LoadBalancer) {
            let stat = node.haproxy("show stat").expect("the load balancer answers");
            for backend in ["web", "web_sticky"] {
                let up = stat.lines().filter(|line| {
                    let fields: Vec<&str> = line.split(',').collect();
                    fields[0] == backend && fields[1].starts_with("web-") && fields[17] == "UP"
                });
                fewest = fewest.min(up.count());
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    fewest
}

#[test]
fn a_bump_and_its_revert_cost_no_request_and_keep_three_hosts_in_rotation() {
    on_a_fleet("bump", PROGRAM, |deployment| {
        let lab = deployment.lab;
        let mut traffic = Traffic::start(lab).unwrap();
        traffic.wait_for(200).unwrap();
        let stop = AtomicBool::new(false);
        let fewest = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| fewest_up(lab, &stop));
            let end = StopAtEnd(&stop);
            let before = deployment.last_event();
            let bump = deployment.commit(NEW);
            deployment.converges(&bump, 180);
            assert_eq!(
                order(deployment, before, "install"),
                ["gitaly-01", "web-01", "web-02", "web-03", "web-04"]
            );
            let before = deployment.last_event();
            let revert = deployment.revert();
            deployment.converges(&revert, 180);
            assert_eq!(
                order(deployment, before, "install"),
                ["web-01", "web-02", "web-03", "web-04", "gitaly-01"]
            );
            drop(end);
            watcher.join().unwrap()
        });
        let report = traffic.stop().unwrap();
        println!("bump and revert: {report}");
        assert_eq!(report.failed, 0, "{report}");
        assert!(report.per_second >= 200.0, "only {} requests a second", report.per_second);
        assert!(report.by_version.contains_key(OLD) && report.by_version.contains_key(NEW), "{report:?}");
        assert!(fewest >= 3, "only {fewest} servers were up at some time");
    });
}

#[test]
fn the_same_traffic_counts_failures_when_the_drain_is_taken_out_of_the_plan() {
    on_a_fleet("nodrain", PROGRAM, |deployment| {
        deployment.replace("backends = [\"web\", \"web_sticky\"]\n", "");
        let mut traffic = Traffic::start(deployment.lab).unwrap();
        traffic.wait_for(200).unwrap();
        let bump = deployment.commit(NEW);
        deployment.converges(&bump, 180);
        let report = traffic.stop().unwrap();
        println!("without a drain: {report}");
        assert!(report.failed > 0, "{report}");
    });
}

#[test]
fn a_newer_commit_takes_over_at_the_next_safe_point() {
    on_a_fleet("newer", PROGRAM, |deployment| {
        deployment.commit(NEW);
        deployment.wait_for("install on web-01", 60, || {
            deployment.steps_after(0).contains(&("web-01".into(), "install".to_owned()))
        });
        let revert = deployment.revert();
        deployment.converges(&revert, 120);
        let touched = order(deployment, 0, "install");
        assert!(!touched.contains(&"web-03".to_owned()), "{touched:?}");
        assert!(!touched.contains(&"web-04".to_owned()), "{touched:?}");
    });
}

#[test]
fn a_version_that_fails_its_health_check_stops_at_the_first_host() {
    on_a_fleet("unhealthy", PROGRAM, |deployment| {
        deployment.replace("within = \"30s\"", "within = \"4s\"");
        // The storage host goes first and has the same defect: leave it out, so that a web host is the first.
        let before = deployment.last_event();
        deployment.commit("1.2.0-1");
        deployment.wait_for("halt", 120, || deployment.explain("production").contains("failed three times"));
        let touched = order(deployment, before, "install");
        assert_eq!(touched.len(), 1, "{touched:?}");
        let before = deployment.last_event();
        let revert = deployment.revert();
        deployment.converges(&revert, 120);
        assert_eq!(order(deployment, before, "install"), touched);
    });
}
