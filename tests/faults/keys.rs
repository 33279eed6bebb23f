//! A host that refuses our key, and one that shows another key than the one we know.

use lab::Host;
use tests::deployment::Deployment;
use tests::stories::{NEW, OLD};

use crate::{NOTICED_S, ROLLOUT_S, fault, host, long, on_a_watched_fleet, steps};

/// Ends the connections that were made while all was well (a restart of sshd leaves them): the next one meets what is
/// there now.
const HANG_UP: &str = "MAIN=$(systemctl show -p MainPID --value ssh); \
    for P in $(pgrep -x sshd); do [ $P = $MAIN ] || kill $P; done";

fn change(host: &Host, script: &str) {
    host.expect(&format!("{script} && {HANG_UP}")).unwrap();
}

/// The service's key is no longer let in.
fn a_key_is_refused(deployment: &mut Deployment<'_>) {
    let refusing = host(deployment, "web-04");
    change(refusing, "mv /root/.ssh/authorized_keys /root/.ssh/before");
    let before = deployment.last_event();
    let bump = deployment.commit(NEW);
    deployment.explains("web-04", "refuses our ssh key: ", NOTICED_S);
    let told = deployment.explain("web-04");
    assert!(told.contains("authorized_keys"), "it says what to do: {told}");
    deployment.explains("web-01", "1 of at most 1 hosts are out: web-04", NOTICED_S);
    assert_eq!(steps(deployment, before, "web-04", "claim"), 0);
    change(refusing, "mv /root/.ssh/before /root/.ssh/authorized_keys");
    deployment.converges(&bump, ROLLOUT_S);
}

/// Somebody else answers under the host's name, or it was installed anew.
fn a_host_key_has_changed(deployment: &mut Deployment<'_>) {
    let changed = host(deployment, "web-04");
    change(
        changed,
        "cd /etc/ssh && mkdir before && mv ssh_host_* before/ && \
         ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key && systemctl restart ssh",
    );
    let before = deployment.last_event();
    let revert = deployment.commit(OLD);
    deployment.explains("web-04", "shows another host key: ", NOTICED_S);
    let told = deployment.explain("web-04");
    assert!(told.contains("known_hosts"), "it says what to do: {told}");
    assert_eq!(steps(deployment, before, "web-04", "claim"), 0);
    change(changed, "cd /etc/ssh && rm ssh_host_* && mv before/* . && systemctl restart ssh");
    deployment.converges(&revert, ROLLOUT_S);
}

#[test]
fn keys_that_do_not_fit_wait_for_a_person_and_are_taken_up_again() {
    if long("a refused key, and a changed host key") {
        on_a_watched_fleet("keys", |deployment| {
            fault("a refused key", deployment, a_key_is_refused);
            fault("a changed host key", deployment, a_host_key_has_changed);
        });
    }
}
