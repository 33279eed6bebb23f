//! Load balancers that are down, or that forget.

use tests::deployment::Deployment;
use tests::stories::{NEW, OLD};

use crate::floor::rows;
use crate::hosts::a_host_is_down;
use crate::sessions::Endless;
use crate::{NOTICED_S, ROLLOUT_S, fault, host, on_a_watched_fleet, step_begins, steps};

/// A node that cannot be seen may still send traffic: nobody behind it can be proved drained.
fn a_load_balancer_is_down(deployment: &mut Deployment<'_>) {
    let down = host(deployment, "fe-02");
    down.kill().unwrap();
    let before = deployment.last_event();
    let revert = deployment.commit(OLD);
    deployment.explains("web-01", "load balancer node fe-02: unreachable: ", NOTICED_S);
    let told = deployment.explain("production");
    assert!(told.contains("load balancer node fe-02: unreachable: "), "{told}");
    for web in ["web-01", "web-02", "web-03", "web-04"] {
        assert_eq!(steps(deployment, before, web, "install"), 0, "{web}");
    }
    down.start().unwrap();
    deployment.converges(&revert, ROLLOUT_S);
}

/// A reload forgets drains, and moves sessions into an old worker where only the master sees them.
fn haproxy_is_reloaded_in_the_midst_of_a_drain(deployment: &mut Deployment<'_>) {
    deployment.replace("drain = \"4s\"", "drain = \"5m\"");
    let endless = Endless::on(deployment.lab, "web-01");
    let before = deployment.last_event();
    let bump = deployment.commit(NEW);
    deployment.explains("web-01", "waits for 1 sessions, most of them in web/web-01 on fe-01", NOTICED_S);
    let (drains, node) = (steps(deployment, before, "web-01", "drain"), host(deployment, "fe-01"));
    assert!(drained(deployment), "the drain came before the wait");
    node.expect("systemctl reload haproxy").unwrap();
    step_begins(deployment, before, "web-01", "drain", drains + 1);
    deployment.wait_for("second drain", NOTICED_S, || drained(deployment));
    // The session lives on in the old worker, and is still waited for.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let told = deployment.explain("web-01");
    assert!(told.contains("waits for 1 sessions"), "{told}");
    assert_eq!(steps(deployment, before, "web-01", "install"), 0);
    drop(endless);
    deployment.converges(&bump, ROLLOUT_S);
}

/// Whether the first node keeps web-01 out of new traffic.
fn drained(deployment: &Deployment<'_>) -> bool {
    let rows = rows(host(deployment, "fe-01")).unwrap_or_default();
    let ours = |row: &&crate::floor::Row| row.server == "web-01" && row.backend == "web";
    rows.iter().find(ours).is_some_and(|row| row.status.starts_with("DRAIN"))
}

#[test]
fn a_host_or_a_load_balancer_that_is_down_stops_new_hosts_and_a_forgotten_drain_is_drained_again() {
    on_a_watched_fleet("down", |deployment| {
        fault("a host down", deployment, a_host_is_down);
        fault("a load balancer down", deployment, a_load_balancer_is_down);
        fault("HAProxy reloaded in a drain", deployment, haproxy_is_reloaded_in_the_midst_of_a_drain);
    });
}
