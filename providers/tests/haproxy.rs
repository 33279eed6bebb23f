//! A real HAProxy, spoken to over a real sshd.
#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

mod loopback;
#[path = "loopback/web.rs"]
mod web;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::TcpStream;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use loopback::{Running, Sshd, free_port, missing};
use model::{
    Admin, FailureKind, Generation, HostName, NodeState, Outcome, Row, RowCheck, RowId, UnknownKind,
};
use providers::claim::{Fence, Owner};
use providers::haproxy::{Command, command, observe, weigh};
use providers::ssh::Ssh;
use web::Web;

struct Bench {
    sshd: Sshd,
    ssh: Arc<Ssh>,
    haproxy: Running,
    web: Web,
    front: u16,
    node: HostName,
}

impl Bench {
    fn start() -> Self {
        let (sshd, web, front) = (Sshd::start(), Web::start(), free_port());
        let (dir, address) = (sshd.dir.path().display().to_string(), web.address);
        let text = format!(
            "global\n stats socket {dir}/admin.sock mode 600 level admin\n\
             defaults\n mode http\n timeout connect 2s\n timeout client 60s\n timeout server 60s\n\
             frontend fe\n bind 127.0.0.1:{front}\n default_backend web\n\
             backend web\n server web-1 {address} check inter 100 rise 1\n server web-2 {address} check inter 100 rise 1 weight 7\n\
             backend plain\n server web-1 {address}\n server web-2 {address} disabled\n\
             backend fixed\n balance static-rr\n server web-1 {address}\n\
             backend bound\n cookie SRV insert\n server web-1 {address} cookie one\n\
             backend stuck\n stick-table type ip size 1k\n stick on src\n server web-1 {address}\n"
        );
        std::fs::write(format!("{dir}/haproxy.cfg"), text).unwrap();
        let child = Process::new("/usr/sbin/haproxy")
            .args(["-W", "-f", &format!("{dir}/haproxy.cfg"), "-S", &format!("{dir}/master.sock")])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let haproxy = Running(child);
        loopback::wait_for_port(front);
        let ssh = Arc::new(sshd.ssh());
        Self { sshd, ssh, haproxy, web, front, node: HostName::from("127.0.0.5") }
    }

    fn socket(&self) -> String {
        self.sshd.dir.path().join("admin.sock").display().to_string()
    }

    fn row(&self, backend: &str, server: &str) -> RowId {
        RowId { node: self.node.clone(), backend: backend.into(), server: server.into() }
    }

    async fn see(&self) -> NodeState {
        let memory = self.state_dir() + "/generation.deploy-01";
        observe(&self.ssh, &self.node, &self.socket(), &memory, None).await.unwrap()
    }

    async fn until(&self, what: &str, condition: impl Fn(&NodeState) -> bool) -> NodeState {
        for _ in 0..100 {
            let state = self.see().await;
            if condition(&state) {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never: {what}: {:#?}", self.see().await);
    }

    async fn tell(&self, what: Command, rows: &[RowId]) -> Result<Outcome, model::Failure> {
        self.tell_as(&self.fence(1), what, rows).await
    }

    async fn tell_as(&self, fence: &Fence, what: Command, rows: &[RowId]) -> Result<Outcome, model::Failure> {
        let sockets = BTreeMap::from([(self.node.clone(), self.socket())]);
        command(&self.ssh, fence, what, &rows.iter().cloned().collect::<BTreeSet<_>>(), &sockets).await
    }

    fn state_dir(&self) -> String {
        self.sshd.dir.path().join("state").display().to_string()
    }

    fn fence(&self, generation: u64) -> Fence {
        let (service, process) = ("deploy-01".to_owned(), "p".to_owned());
        Owner { service, generation: Generation(generation), process }.fence_in(&self.state_dir())
    }

    fn slow_request(&self) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.front)).unwrap();
        stream.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream
    }
}

fn of<'a>(state: &'a NodeState, backend: &str, server: &str) -> &'a Row {
    &state.rows[&(backend.into(), server.into())]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_drained_put_into_maintenance_and_given_back() {
    if missing(&["sshd", "haproxy", "socat"]) {
        return;
    }
    let bench = Bench::start();
    let state = bench.until("checked", |s| of(s, "web", "web-1").check == RowCheck::Passed).await;
    let row = of(&state, "web", "web-2");
    assert_eq!((row.status.as_str(), row.admin, row.weight), ("UP", Admin::Ready, 7));
    assert_eq!(row.address, "127.0.0.1");
    assert_eq!(
        (of(&state, "plain", "web-1").check, of(&state, "plain", "web-2").admin),
        (RowCheck::None, Admin::Maint)
    );
    assert_eq!(state.sticky, BTreeSet::from(["bound".into(), "stuck".into()]));

    let rows = [bench.row("web", "web-1"), bench.row("bound", "web-1")];
    assert!(matches!(bench.tell(Command::Drain, &rows).await, Ok(Outcome::Changed(_))));
    assert_eq!(bench.tell(Command::Drain, &rows).await, Ok(Outcome::AlreadyDone));
    let state = bench.see().await;
    assert_eq!(
        (of(&state, "web", "web-1").admin, of(&state, "bound", "web-1").admin),
        (Admin::Drain, Admin::Drain)
    );
    assert_eq!(of(&state, "web", "web-2").admin, Admin::Ready);

    bench.tell(Command::Maint, &rows).await.unwrap();
    assert_eq!(of(&bench.see().await, "web", "web-1").admin, Admin::Maint);
    bench.tell(Command::Drain, &rows).await.unwrap();
    let state = bench.see().await;
    assert_eq!(of(&state, "web", "web-1").admin, Admin::Drain, "drain leaves maintenance");
    bench.tell(Command::Ready, &rows).await.unwrap();
    bench.until("in rotation", |s| of(s, "web", "web-1").in_rotation()).await;
    assert_eq!(bench.tell(Command::Ready, &[bench.row("plain", "web-2")]).await.map(|_| ()), Ok(()));
    assert_eq!(
        of(&bench.see().await, "plain", "web-2").admin,
        Admin::Ready,
        "disabled by the configuration, then ready"
    );

    let begin = Instant::now();
    for _ in 0..20 {
        bench.see().await;
    }
    eprintln!("observe a node: {:.1} ms", begin.elapsed().as_secs_f64() * 50.0);
    let begin = Instant::now();
    for _ in 0..20 {
        bench.tell(Command::Drain, &rows).await.unwrap();
    }
    eprintln!("drain two rows and read back: {:.1} ms", begin.elapsed().as_secs_f64() * 50.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_are_set_in_one_go_and_read_back() {
    if missing(&["sshd", "haproxy", "socat"]) {
        return;
    }
    let bench = Bench::start();
    let set = async |rows: &[(&str, &str, u32)]| {
        let of = |(backend, server, weight): &(&str, &str, u32)| (bench.row(backend, server), *weight);
        let rows = rows.iter().map(of).collect();
        weigh(&bench.ssh, &bench.fence(1), &bench.node, &bench.socket(), &rows).await
    };
    let wanted = [("web", "web-1", 0), ("web", "web-2", 256), ("plain", "web-1", 19)];
    assert!(matches!(set(&wanted).await, Ok(Outcome::Changed(_))));
    let state = bench.see().await;
    for (backend, server, weight) in wanted {
        assert_eq!(of(&state, backend, server).weight, weight, "{backend}/{server}");
    }
    assert_eq!(set(&wanted).await, Ok(Outcome::AlreadyDone));

    let failure = set(&[("web", "web-1", 5), ("web", "web-9", 5)]).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::LoadBalancerRefused);
    assert_eq!(failure.what, "web/web-9 on 127.0.0.5: weight 5 refused: No such server.");
    let failure = set(&[("fixed", "web-1", 5)]).await.unwrap_err();
    assert!(failure.what.contains("static LB algorithm"), "{failure:?}");
    let failure = set(&[("web", "web-1", 257)]).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::LoadBalancerRefused, "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_older_changes_a_node_where_a_newer_service_has_been() {
    if missing(&["sshd", "haproxy", "socat"]) {
        return;
    }
    let bench = Bench::start();
    let rows = [bench.row("web", "web-1")];
    assert_eq!(bench.see().await.last_generation, None);
    bench.tell_as(&bench.fence(3), Command::Drain, &rows).await.unwrap();
    assert_eq!(bench.see().await.last_generation, Some(Generation(3)));
    let older = bench.fence(2);
    for command in [Command::Ready, Command::Maint, Command::Cut] {
        let failure = bench.tell_as(&older, command, &rows).await.unwrap_err();
        let what = "127.0.0.5: generation 3 of service deploy-01 has been there: generation 2 may change nothing any more";
        assert_eq!((failure.kind, failure.what.as_str()), (FailureKind::Superseded, what));
    }
    let weights = BTreeMap::from([(bench.row("web", "web-2"), 9)]);
    let failure = weigh(&bench.ssh, &older, &bench.node, &bench.socket(), &weights).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Superseded);
    let state = bench.see().await;
    assert_eq!((of(&state, "web", "web-1").admin, of(&state, "web", "web-2").weight), (Admin::Drain, 7));
    bench.tell_as(&bench.fence(4), Command::Ready, &rows).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_waited_behind_a_newer_service_is_refused_when_its_turn_comes() {
    if missing(&["sshd", "haproxy", "socat"]) {
        return;
    }
    let bench = Bench::start();
    let rows = [bench.row("web", "web-1")];
    bench.tell_as(&bench.fence(1), Command::Drain, &rows).await.unwrap();
    // The newer service holds the node's lock while the older one's command arrives, and raises what it remembers.
    let newer = format!(
        "exec 9>>{0}/lock && flock 9 && touch {0}/held && sleep 1 && echo '2 q' >{0}/generation.deploy-01",
        bench.state_dir()
    );
    let mut newer = Running(Process::new("sh").args(["-c", &newer]).spawn().unwrap());
    while !std::path::Path::new(&(bench.state_dir() + "/held")).exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let failure = bench.tell_as(&bench.fence(1), Command::Ready, &rows).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Superseded, "{failure:?}");
    assert!(newer.0.wait().unwrap().success());
    assert_eq!(of(&bench.see().await, "web", "web-1").admin, Admin::Drain);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_command_names_the_row() {
    if missing(&["sshd", "haproxy", "socat"]) {
        return;
    }
    let bench = Bench::start();
    let rows = [bench.row("web", "web-1"), bench.row("web", "web-9")];
    let failure = bench.tell(Command::Drain, &rows).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::LoadBalancerRefused);
    assert_eq!(failure.what, "web/web-9 on 127.0.0.5: drain refused: No such server.");
    let unknown = observe(&bench.ssh, &bench.node, "/nowhere.sock", "/nowhere", None).await.unwrap_err();
    assert_eq!(unknown.kind, UnknownKind::Unreadable);
    assert!(unknown.detail.contains("/nowhere.sock"), "{}", unknown.detail);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_counted_also_in_a_worker_from_before_a_reload_and_can_be_cut() {
    if missing(&["sshd", "haproxy", "socat"]) {
        return;
    }
    let bench = Bench::start();
    bench.tell(Command::Maint, &[bench.row("web", "web-2")]).await.unwrap();
    let _first = bench.slow_request();
    let before = bench.until("one session", |s| of(s, "web", "web-1").sessions == 1).await;
    bench.tell(Command::Drain, &[bench.row("web", "web-1")]).await.unwrap();
    assert_eq!(of(&bench.see().await, "web", "web-1").sessions, 1);

    let reload = Process::new("kill").args(["-USR2", &bench.haproxy.0.id().to_string()]).status().unwrap();
    assert!(reload.success());
    let key = ("web".into(), "web-1".into());
    let after =
        bench.until("an old worker", |s| s.process != before.process && !s.old_sessions.is_empty()).await;
    assert_eq!((of(&after, "web", "web-1").admin, of(&after, "web", "web-1").sessions), (Admin::Ready, 0));
    assert!(after.old_sessions[&key] >= 1, "{:?}", after.old_sessions);

    bench.web.open();
    bench.until("the old worker has left", |s| s.old_sessions.is_empty()).await;
    let bench = Bench::start();
    let _second = bench.slow_request();
    let sessions = |s: &NodeState| of(s, "web", "web-1").sessions + of(s, "web", "web-2").sessions;
    bench.until("one session", |s| sessions(s) == 1).await;
    bench.tell(Command::Cut, &[bench.row("web", "web-1"), bench.row("web", "web-2")]).await.unwrap();
    bench.until("cut", |s| sessions(s) == 0).await;
}
