//! A reading that is asked again and again over one session, against a real sshd.
#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

mod loopback;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use loopback::{Sshd, missing};
use model::HostName;
use providers::ssh::{Output, Ssh, SshError};

const SOON: Duration = Duration::from_secs(20);

/// The shell that answers; also in its subshells.
const WHO: &str = "echo $$";

struct Bench {
    sshd: Sshd,
    ssh: Ssh,
    host: HostName,
}

impl Bench {
    fn start() -> Option<Self> {
        if missing(&["sshd", "ssh"]) {
            return None;
        }
        let sshd = Sshd::start();
        let ssh = sshd.ssh();
        Some(Self { sshd, ssh, host: HostName::from("127.0.0.6") })
    }

    async fn read(&self, script: &str) -> Output {
        self.ssh.read(&self.host, script, SOON).await.unwrap()
    }

    async fn pid(&self) -> String {
        self.read(WHO).await.stdout.trim().to_owned()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.sshd.dir.path().join(name)
    }
}

async fn gone(pid: &str) {
    for _ in 0..1000 {
        if !Path::new("/proc").join(pid).exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("process {pid} is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_answers_again_and_again_and_another_script_has_its_own() {
    let Some(bench) = Bench::start() else { return };
    let first = bench.pid().await;
    assert_eq!(bench.pid().await, first);
    assert_ne!(bench.read("echo $$; true").await.stdout.trim(), first);
    assert_eq!(bench.pid().await, first, "both wait");
    let (one, other) = tokio::join!(bench.pid(), bench.pid());
    assert_ne!(one, other, "who asks at the same time does not wait for the other");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_output_and_errors_of_each_reading_are_told_apart() {
    let Some(bench) = Bench::start() else { return };
    let file = bench.file("status");
    let script = format!("cat {0}; cat {0} >&2; cat; exit $(cat {0})", file.display());
    for status in [3, 0, 7] {
        let text = status.to_string();
        std::fs::write(&file, &text).unwrap();
        let output = bench.read(&script).await;
        assert_eq!((output.status, output.stdout.trim(), output.stderr.trim()), (status, &*text, &*text));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reading_leaves_in_variables_does_not_reach_the_next() {
    let Some(bench) = Bench::start() else { return };
    let script = "echo \"${LEFT:-nothing} in $PWD\"; LEFT=something; cd /; exec 2>/dev/null; set -f";
    let first = bench.read(script).await.stdout;
    assert!(first.starts_with("nothing in "), "{first}");
    assert_eq!(bench.read(script).await.stdout, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_cannot_be_ended_by_what_it_prints_or_leaves_running() {
    let Some(bench) = Bench::start() else { return };
    let script = "printf '\\n@@%s 0\\n' \"${NONCE:-unknown}\" 0123456789abcdef0123456789abcdef; read WORD; \
                  echo \"read '$WORD'\"; (sleep 0.3; echo late; echo late >&2) >/dev/null 2>&1 & echo end";
    for _ in 0..3 {
        let output = bench.read(script).await;
        let expected = "\n@@unknown 0\n\n@@0123456789abcdef0123456789abcdef 0\nread ''\nend";
        assert_eq!((output.status, output.stdout.trim_end()), (0, expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_hangs_in_the_middle_of_a_reading_is_given_up_and_the_next_reading_works() {
    let Some(bench) = Bench::start() else { return };
    let file = bench.file("hang");
    let script = format!("echo begun; [ ! -e {} ] || sleep 3; echo done", file.display());
    bench.read(&script).await;
    std::fs::write(&file, "").unwrap();
    let begin = Instant::now();
    let hung = bench.ssh.read(&bench.host, &script, Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(hung, SshError::TimedOut { .. }), "{hung}");
    assert!(begin.elapsed() < Duration::from_secs(3));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(bench.read(&script).await.stdout.trim_end(), "begun\ndone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_was_killed_on_the_host_is_replaced() {
    let Some(bench) = Bench::start() else { return };
    let first = bench.pid().await;
    assert!(Command::new("kill").args(["-KILL", &first]).status().unwrap().success());
    gone(&first).await;
    // Whether our side knows yet is a race that either may win: then that one reading fails, and says why.
    let next = bench.ssh.read(&bench.host, WHO, SOON).await;
    if let Err(error) = &next {
        assert!(matches!(error, SshError::Unreachable { .. }), "{error}");
    }
    let second = bench.pid().await;
    assert_ne!(second, first);
    assert_eq!(bench.pid().await, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_ends_by_itself_tells_its_status_and_its_words() {
    let Some(bench) = Bench::start() else { return };
    let output = bench.read("if then").await;
    assert!(output.status == 2 && output.stderr.contains("yntax error"), "{output:?}");
    assert_eq!(bench.read("echo well").await.stdout.trim(), "well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_died_between_two_readings_is_made_anew() {
    let Some(bench) = Bench::start() else { return };
    let first = bench.pid().await;
    for pid in loopback::ssh_processes(bench.sshd.dir.path()) {
        assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
        gone(&pid.to_string()).await;
    }
    assert_ne!(bench.pid().await, first);
    gone(&first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_leave_room_for_commands_and_nothing_behind() {
    let Some(bench) = Bench::start() else { return };
    let mut pids = Vec::new();
    for number in 0..12 {
        pids.push(bench.read(&format!("echo $$; : {number}")).await.stdout.trim().to_owned());
    }
    let ran = bench.ssh.run(&bench.host, "echo ran", SOON).await.unwrap();
    assert_eq!(ran.stdout, "ran\n");
    for pid in &pids[..10] {
        gone(pid).await;
    }
    drop(bench.ssh);
    for pid in &pids {
        gone(pid).await;
    }
}
