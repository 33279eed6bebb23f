//! Connections against a real sshd on loopback addresses.
#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

mod loopback;

use std::process::Command;
use std::time::{Duration, Instant};

use loopback::{Sshd, keygen, missing, ssh_processes};
use model::HostName;
use providers::ssh::{Ssh, SshError};

const SOON: Duration = Duration::from_secs(10);

fn host(number: u8) -> HostName {
    HostName::new(format!("127.0.0.{number}"))
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().unwrap().success());
}

async fn gone(what: &std::path::Path) {
    for _ in 0..200 {
        if ssh_processes(what).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still there: {:?}", ssh_processes(what));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_runs_as_root_without_a_tty_and_tells_its_end() {
    if missing(&["sshd", "ssh"]) {
        return;
    }
    let sshd = Sshd::start();
    let ssh = sshd.ssh();
    let script = "id -u; test -t 0 || echo \"no tty, it's fine\"; echo woe >&2; cat; exit 3";
    let output = ssh.run(&host(2), script, SOON).await.unwrap();
    assert_eq!((output.status, output.stdout.as_str()), (3, "0\nno tty, it's fine\n"));
    assert_eq!(output.stderr, "woe\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_serves_many_commands_at_once_and_none_is_left_behind() {
    if missing(&["sshd", "ssh"]) {
        return;
    }
    let sshd = Sshd::start();
    let ssh = sshd.ssh();
    let (one, other) = (host(2), host(3));
    let run = || ssh.run(&one, "echo a", SOON);
    let answers = tokio::join!(run(), run(), run(), run(), ssh.run(&other, "echo b", SOON));
    assert!(
        answers.0.is_ok() && answers.1.is_ok() && answers.2.is_ok() && answers.3.is_ok() && answers.4.is_ok()
    );
    assert_eq!(ssh_processes(sshd.dir.path()).len(), 2, "one master for each host");
    let begin = Instant::now();
    for _ in 0..20 {
        run().await.unwrap();
    }
    eprintln!("warm round trip: {:.1} ms", begin.elapsed().as_secs_f64() * 1000.0 / 20.0);
    drop(ssh);
    gone(sshd.dir.path()).await;
    let left = std::fs::read_dir(sshd.dir.path()).unwrap().flatten();
    assert_eq!(left.filter(|e| e.file_name().to_str().unwrap().starts_with("reconcile-ssh")).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_commands_than_sshd_allows_sessions_wait_for_each_other() {
    if missing(&["sshd", "ssh"]) {
        return;
    }
    // Fewer than we use: sshd refuses some, as it also does when it has not yet noticed the end of an earlier one.
    let sshd = Sshd::with(&["MaxSessions=3"]);
    let ssh = std::sync::Arc::new(sshd.ssh());
    ssh.read(&host(2), "echo a reader keeps its session", SOON).await.unwrap();
    let mut tasks = Vec::new();
    for _ in 0..24 {
        let ssh = std::sync::Arc::clone(&ssh);
        tasks.push(tokio::spawn(async move { ssh.run(&host(2), "sleep 0.2", SOON).await }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_an_unknown_host_key_and_a_closed_port_are_told_apart() {
    if missing(&["sshd", "ssh"]) {
        return;
    }
    let sshd = Sshd::start();
    keygen(&sshd.dir.path().join("stranger"));
    let mut config = sshd.config();
    config.key = Some(sshd.dir.path().join("stranger"));
    let refused = Ssh::new(config).unwrap().run(&host(2), "true", SOON).await.unwrap_err();
    assert!(
        matches!(&refused, SshError::KeyRefused { detail, .. } if detail.contains("publickey")),
        "{refused}"
    );

    let stranger = std::fs::read_to_string(sshd.dir.path().join("stranger.pub")).unwrap();
    std::fs::write(sshd.dir.path().join("other_hosts"), format!("[127.0.0.2]:{} {stranger}", sshd.port))
        .unwrap();
    let mut config = sshd.config();
    config.known_hosts = Some(sshd.dir.path().join("other_hosts"));
    let ssh = Ssh::new(config).unwrap();
    let changed = ssh.run(&host(2), "true", SOON).await.unwrap_err();
    assert!(matches!(&changed, SshError::HostKeyChanged { .. }), "{changed}");
    let unknown = ssh.run(&host(3), "true", SOON).await.unwrap_err();
    assert!(
        matches!(&unknown, SshError::HostKeyChanged { detail, .. } if detail.contains("is known")),
        "{unknown}"
    );

    let mut config = sshd.config();
    std::fs::write(sshd.dir.path().join("closed"), "Host *\n Port 1\n").unwrap();
    config.config_file = Some(sshd.dir.path().join("closed"));
    let closed = Ssh::new(config).unwrap().run(&host(2), "true", SOON).await.unwrap_err();
    assert!(
        matches!(&closed, SshError::Unreachable { detail, .. } if detail.contains("refused")),
        "{closed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_connection_is_made_anew() {
    if missing(&["sshd", "ssh"]) {
        return;
    }
    let sshd = Sshd::start();
    let ssh = sshd.ssh();
    ssh.run(&host(2), "true", SOON).await.unwrap();
    for pid in ssh_processes(sshd.dir.path()) {
        signal(pid, "KILL");
    }
    gone(sshd.dir.path()).await;
    ssh.run(&host(2), "true", SOON).await.unwrap();

    // Broken while a command runs: nobody knows what it did, so this attempt fails and the next one works.
    let broken = ssh.run(&host(2), "kill -9 $PPID; sleep 5", SOON).await.unwrap_err();
    assert!(matches!(broken, SshError::Unreachable { .. }), "{broken}");
    ssh.run(&host(2), "true", SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_master_costs_one_deadline_and_is_replaced() {
    if missing(&["sshd", "ssh"]) {
        return;
    }
    let sshd = Sshd::start();
    let ssh = sshd.ssh();
    ssh.run(&host(2), "true", SOON).await.unwrap();
    let masters = ssh_processes(sshd.dir.path());
    masters.iter().for_each(|pid| signal(*pid, "STOP"));
    let begin = Instant::now();
    let frozen = ssh.run(&host(2), "true", Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(frozen, SshError::TimedOut { .. }), "{frozen}");
    assert!(begin.elapsed() < Duration::from_secs(2));
    ssh.run(&host(2), "true", SOON).await.unwrap();
    let now = ssh_processes(sshd.dir.path());
    assert!(now.len() == 1 && !masters.contains(&now[0]), "{masters:?} {now:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_takes_connections_and_says_nothing_is_given_up_in_time() {
    if missing(&["sshd", "ssh"]) {
        return;
    }
    let sshd = Sshd::start();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    std::fs::write(sshd.dir.path().join("silent"), format!("Host *\n Port {port}\n")).unwrap();
    let mut config = sshd.config();
    config.config_file = Some(sshd.dir.path().join("silent"));
    config.connect_timeout = Duration::from_secs(1);
    let ssh = Ssh::new(config).unwrap();
    let by_ssh = ssh.run(&HostName::from("127.0.0.1"), "true", SOON).await.unwrap_err();
    assert!(matches!(&by_ssh, SshError::TimedOut { .. }), "{by_ssh}");
    let by_us = ssh.run(&HostName::from("127.0.0.1"), "true", Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(&by_us, SshError::TimedOut { .. }), "{by_us}");
    gone(sshd.dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_service_left_behind_is_removed_by_the_next_one() {
    if missing(&["sshd", "ssh"]) {
        return;
    }
    let sshd = Sshd::start();
    let ssh = sshd.ssh();
    ssh.run(&host(2), "true", SOON).await.unwrap();
    let ours = std::fs::read_dir(sshd.dir.path()).unwrap().flatten().map(|e| e.path());
    let ours = ours.into_iter().find(|p| p.to_str().unwrap().contains("reconcile-ssh")).unwrap();
    // Rename cannot stand for a dead owner, as the masters' command lines name the folder: begin one as it would be.
    let dead = sshd.dir.path().join("reconcile-ssh.4194305.1.0");
    std::fs::create_dir(&dead).unwrap();
    let socket = dead.join("master");
    let config = sshd.config();
    let started = Command::new("ssh")
        .args(["-f", "-N", "-M", "-o", "ControlPersist=60", "-S"])
        .arg(&socket)
        .arg("-F")
        .arg(config.config_file.unwrap())
        .arg("-i")
        .arg(config.key.unwrap())
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", config.known_hosts.unwrap().display()))
        .arg("root@127.0.0.9")
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(started.success() && ssh_processes(&dead).len() == 1);
    let next = sshd.ssh();
    gone(&dead).await;
    assert!(!dead.exists() && ours.exists(), "only the dead one's folder goes");
    next.run(&host(2), "true", SOON).await.unwrap();
    ssh.run(&host(2), "true", SOON).await.unwrap();
}
