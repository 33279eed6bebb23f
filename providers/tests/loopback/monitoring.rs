//! A real Alertmanager and a real Prometheus on loopback ports.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::loopback::Running;

/// The program of a Debian package: the installed one, else unpacked from its package into the build folder, so that
/// nothing is installed and no service begins. None, with the reason printed: it cannot be had here.
fn program(package: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(package);
    let candidates = [Path::new("/usr/bin").join(package), folder.join("unpacked/usr/bin").join(package)];
    let found = || candidates.iter().find(|path| path.exists()).cloned();
    found().or_else(|| {
        unpack(package, &folder);
        found()
    })
}

fn unpack(package: &str, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    // Whole or not at all, also when two tests do it at the same time.
    let script = "D=$(mktemp -d -p .) && (cd \"$D\" && apt-get -q download \"$0\" && dpkg-deb -x ./*.deb root) \
                  && { mv -T \"$D/root\" unpacked || true; }; rm -rf \"$D\"";
    let output = Command::new("sh").args(["-c", script, package]).current_dir(folder).output().unwrap();
    if !folder.join("unpacked").exists() {
        let said = String::from_utf8_lossy(&output.stderr);
        eprintln!(
            "SKIPPED: not installed: {package}, and Debian's package cannot be fetched: {}",
            said.trim()
        );
    }
}

/// An unpacked program looks for the rest of its package in `/usr/share`: there it is, for this process alone.
fn command(program: &Path) -> Command {
    let root = program.ancestors().nth(3).filter(|root| root.ends_with("unpacked"));
    let Some(root) = root else { return Command::new(program) };
    let script = "mount -t overlay overlay -o \"lowerdir=$0/usr/share:/usr/share\" /usr/share && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(root).arg(program);
    command
}

/// An address that nobody else here uses, neither as a server nor as a client.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, high, low, NEXT.fetch_add(1, Ordering::Relaxed));
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

fn start(program: &Path, dir: tempfile::TempDir, options: &[&str]) -> Server {
    let address = free_address();
    let child = command(program)
        .arg(format!("--web.listen-address={address}"))
        .args(options)
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut process = Running(child);
    while TcpStream::connect(address).is_err() {
        assert_eq!(process.0.try_wait().unwrap(), None, "{} ended", program.display());
        std::thread::sleep(Duration::from_millis(20));
    }
    Server { url: format!("http://{address}"), process, _dir: dir }
}

/// Ends with the test.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) process: Running,
    _dir: tempfile::TempDir,
}

/// Without receivers; `Root` inhibits `Leaf`.
pub(crate) fn alertmanager() -> Option<Server> {
    let program = program("prometheus-alertmanager")?;
    let dir = tempfile::tempdir().unwrap();
    let config = "route: {receiver: none}\nreceivers: [{name: none}]\ninhibit_rules:\n\
                  - {source_matchers: ['alertname=Root'], target_matchers: ['alertname=Leaf']}\n";
    fs::write(dir.path().join("alertmanager.yml"), config).unwrap();
    let options = ["--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="];
    Some(start(&program, dir, &options))
}

/// Without anything to scrape.
pub(crate) fn prometheus() -> Option<Server> {
    let program = program("prometheus")?;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("prometheus.yml"), "scrape_configs: []\n").unwrap();
    let options = ["--config.file=prometheus.yml", "--storage.tsdb.path=data"];
    Some(start(&program, dir, &options))
}

impl Server {
    /// Lets an alert fire.
    pub(crate) async fn fire(&self, labels: Value) {
        self.post("alerts", &json!([{ "labels": labels }])).await;
    }

    /// Ends an alert.
    pub(crate) async fn resolve(&self, labels: Value) {
        self.post("alerts", &json!([{ "labels": labels, "endsAt": "2001-01-01T00:00:00Z" }])).await;
    }

    /// Silences alerts of a name.
    pub(crate) async fn silence(&self, name: &str) {
        let matcher = json!({ "name": "alertname", "value": name, "isRegex": false, "isEqual": true });
        let silence = json!({
            "matchers": [matcher], "createdBy": "test", "comment": "test",
            "startsAt": "2001-01-01T00:00:00Z", "endsAt": "2999-01-01T00:00:00Z",
        });
        self.post("silences", &silence).await;
    }

    async fn post(&self, what: &str, body: &Value) {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
        let url = format!("{}/api/v2/{what}", self.url);
        let answer = client.post(url).json(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }
}
