//! Hosts that are down, or that hang.

use tests::deployment::Deployment;
use tests::stories::{NEW, OLD};

use crate::{NOTICED_S, ROLLOUT_S, fault, host, long, on_a_watched_fleet, steps};

/// A host is down when the rollout comes: it alone may be out, so nobody else goes.
pub(crate) fn a_host_is_down(deployment: &mut Deployment<'_>) {
    let down = host(deployment, "web-04");
    down.kill().unwrap();
    let before = deployment.last_event();
    let bump = deployment.commit(NEW);
    deployment.explains("web-04", "unreachable: ", NOTICED_S);
    deployment.explains("web-01", "1 of at most 1 hosts are out: web-04", NOTICED_S);
    assert!(deployment.explain("production").contains("web-04: unreachable"));
    assert_eq!(steps(deployment, before, "web-01", "drain"), 0, "it would have left two");
    down.start().unwrap();
    deployment.converges(&bump, ROLLOUT_S);
}

/// A host hangs: it takes connections and answers nothing.
fn a_host_hangs(deployment: &mut Deployment<'_>) {
    let hung = host(deployment, "web-04");
    let before = deployment.last_event();
    hung.freeze().unwrap();
    let revert = deployment.commit(OLD);
    deployment.explains("web-04", "not answering: ", NOTICED_S);
    deployment.explains("web-01", "1 of at most 1 hosts are out: web-04", NOTICED_S);
    assert_eq!(steps(deployment, before, "web-01", "drain"), 0, "it would have left two");
    hung.thaw().unwrap();
    deployment.converges(&revert, ROLLOUT_S);
}

#[test]
fn a_host_that_hangs_is_told_from_one_that_is_down() {
    if long("a host that hangs") {
        on_a_watched_fleet("hang", a_host_hangs_after_a_bump);
    }
}

fn a_host_hangs_after_a_bump(deployment: &mut Deployment<'_>) {
    let bump = deployment.commit(NEW);
    deployment.converges(&bump, ROLLOUT_S);
    fault("a host that hangs", deployment, a_host_hangs);
}
