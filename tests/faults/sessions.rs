//! A session that never ends, under each of the three policies.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lab::{Host, Lab};
use tests::deployment::{Deployment, ENVIRONMENT};
use tests::stories::{NEW, OLD};

use crate::floor::{Row, rows};
use crate::{NOTICED_S, ROLLOUT_S, fault, long, on_a_watched_fleet, step_begins, steps};

/// A download that never ends, through the first load balancer and from one host. It ends when this is dropped.
pub(crate) struct Endless {
    client: Child,
}

impl Endless {
    /// Asks until that host is the one that answers. There must be no other traffic.
    pub(crate) fn on(lab: &Lab, host: &str) -> Self {
        let node = lab.host("fe-01").unwrap();
        for _ in 0..12 {
            wait("a load balancer without sessions", || busy(node).is_empty());
            let endless = Self::start(lab, node);
            wait("the session", || !busy(node).is_empty());
            if busy(node) == [host] {
                return endless;
            }
        }
        panic!("no session came to {host}");
    }

    fn start(lab: &Lab, node: &Host) -> Self {
        let mut curl = lab.command("curl");
        curl.args(["-s", "-N", "-o", "/dev/null"]).arg(format!("http://{}/endless", node.address()));
        curl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { client: curl.spawn().unwrap() }
    }

    /// Whether somebody has ended it.
    fn is_over(&mut self) -> bool {
        self.client.try_wait().unwrap().is_some()
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

/// The servers with a session.
fn busy(node: &Host) -> Vec<String> {
    let rows = rows(node).unwrap_or_default();
    rows.into_iter().filter(|row: &Row| row.sessions > 0).map(|row| row.server).collect()
}

fn wait(what: &str, mut there: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !there() {
        assert!(Instant::now() < deadline, "waited 30 s for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// `wait`: the host is given back, the others go, and it comes again until the session has ended.
fn waiting_gives_the_host_back(deployment: &mut Deployment<'_>) {
    let mut endless = Endless::on(deployment.lab, "web-01");
    let before = deployment.last_event();
    let bump = deployment.commit(NEW);
    deployment.explains("web-01", "waits for 1 sessions, most of them in web/web-01 on fe-01", NOTICED_S);
    step_begins(deployment, before, "web-01", "release", 1);
    for other in ["web-02", "web-03", "web-04"] {
        step_begins(deployment, before, other, "install", 1);
    }
    deployment.explains("web-01", "sessions did not end in time; given back, drained again at ", NOTICED_S);
    step_begins(deployment, before, "web-01", "drain", 2);
    assert_eq!(steps(deployment, before, "web-01", "install"), 0);
    assert!(!endless.is_over(), "nobody may end it");
    drop(endless);
    deployment.converges(&bump, ROLLOUT_S);
}

/// `cut`: the session is ended at the deadline, and not before.
fn cutting_ends_the_session(deployment: &mut Deployment<'_>) {
    deployment.replace(FOUR_SECONDS_THEN_WAIT, "drain = \"4s\", on_timeout = \"cut\"");
    let mut endless = Endless::on(deployment.lab, "web-01");
    let before = deployment.last_event();
    let revert = deployment.commit(OLD);
    deployment.explains("web-01", "waits for 1 sessions, most of them in web/web-01 on fe-01", NOTICED_S);
    assert!(!endless.is_over(), "its time is not over");
    deployment.converges(&revert, ROLLOUT_S);
    assert!(endless.is_over());
    assert_eq!(steps(deployment, before, "web-01", "cut"), 1);
    assert_eq!(steps(deployment, before, "web-01", "install"), 1);
    assert_eq!(steps(deployment, before, "web-02", "cut"), 0, "it had no session");
}

/// `proceed`: the install goes on beside the session; the restart ends it.
fn proceeding_leaves_the_session_alone(deployment: &mut Deployment<'_>) {
    deployment.replace("on_timeout = \"cut\"", "on_timeout = \"proceed\"");
    let mut endless = Endless::on(deployment.lab, "web-01");
    let before = deployment.last_event();
    let bump = deployment.commit(NEW);
    deployment.explains("web-01", "waits for 1 sessions, most of them in web/web-01 on fe-01", NOTICED_S);
    assert!(!endless.is_over(), "its time is not over");
    deployment.converges(&bump, ROLLOUT_S);
    assert_eq!(steps(deployment, before, "web-01", "cut"), 0);
    assert_eq!(steps(deployment, before, "web-01", "release"), 1, "it was not given back before the install");
    let history =
        String::from_utf8(deployment.run(&["history", ENVIRONMENT, "--limit", "500"]).stdout).unwrap();
    assert!(history.contains("install beside sessions that did not end in time"), "it says so: {history}");
    wait("the restart to end the session", || endless.is_over());
}

const FOUR_SECONDS_THEN_WAIT: &str = "drain = \"4s\", on_timeout = \"wait\"";

#[test]
fn a_session_that_never_ends_is_waited_for_cut_or_left_as_the_policy_says() {
    if long("a session that never ends, under three policies") {
        on_a_watched_fleet("endless", |deployment| {
            fault("an endless session: wait", deployment, waiting_gives_the_host_back);
            fault("an endless session: cut", deployment, cutting_ends_the_session);
            fault("an endless session: proceed", deployment, proceeding_leaves_the_session_alone);
        });
    }
}
