//! One host: boots, crashes, hangs, and runs commands.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::error::LabError;
use crate::keys::SshFiles;
use crate::place::{self, Place, create_directory};
use crate::process::{self, Process};
use crate::program::{Output, failure, finish, last_lines};
use crate::spec::{HostKind, HostSpec};
use crate::{cgroup, haproxy, network};

/// A booting host answers within a second or two; a machine under load takes longer.
const BOOT_PATIENCE: Duration = Duration::from_secs(90);

/// Enters the lab's control group, mounts the host's file system where nobody else sees it, and becomes
/// the container. The mount ends with the last process that has it.
const BOOT: &str = r#"
while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 1; shift; done; shift
mount -t overlay overlay -o "$1" "$2" || exit 1; shift 2
exec systemd-nspawn "$@"
"#;

/// A host of a lab. A handle, not the host: cloning or dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct Host {
    pub(crate) spec: HostSpec,
    pub(crate) address: Ipv4Addr,
    pub(crate) place: Place,
    /// What its file system lies on, the topmost first.
    pub(crate) layers: Vec<PathBuf>,
}

impl Host {
    /// Its name, in the lab's DNS and in `ssh_config`.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// What it is for.
    pub fn kind(&self) -> HostKind {
        self.spec.kind
    }

    /// The environment it belongs to; empty when the lab has only one, or when it serves all of them.
    pub fn environment(&self) -> &str {
        &self.spec.environment
    }

    /// Its address inside the lab.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// True from the start of the boot until it is killed or powers itself off.
    pub fn is_running(&self) -> bool {
        self.container().is_some()
    }

    /// Boots it over the files it had, and waits until sshd answers with the known key.
    /// A running host is left alone.
    pub fn start(&self) -> Result<(), LabError> {
        if !self.is_running() {
            self.boot()?;
        }
        self.wait_for_ssh()
    }

    /// Crashes it: every process ends at once, nothing is written any more. Files stay.
    pub fn kill(&self) -> Result<(), LabError> {
        if let Some(container) = self.container() {
            for leader in self.leaders() {
                leader.signal(Signal::KILL);
            }
            // The container's supervisor sees that and tidies up; if it cannot, it goes too.
            if !container.wait(Duration::from_secs(5)) {
                container.signal(Signal::KILL);
            }
        }
        // Takes whatever is left: a host outlives its supervisor when only that was killed.
        cgroup::remove(&self.place.name, Some(self.name()))
    }

    /// Crashes it and boots it again.
    pub fn reboot(&self) -> Result<(), LabError> {
        self.kill()?;
        self.start()
    }

    /// Makes it hang: no process runs, connections stay open and unanswered, the kernel still accepts.
    pub fn freeze(&self) -> Result<(), LabError> {
        self.signal_all(Signal::STOP)
    }

    /// Ends the hang.
    pub fn thaw(&self) -> Result<(), LabError> {
        self.signal_all(Signal::CONT)
    }

    /// Runs a shell script as root on the host, without ssh and without its network.
    pub fn run(&self, script: &str) -> Result<Output, LabError> {
        finish(self.command("sh")?.args(["-c", script]), None)
    }

    /// Like [`Host::run`], for scripts that must succeed. Hands back standard output.
    pub fn expect(&self, script: &str) -> Result<String, LabError> {
        let mut command = self.command("sh")?;
        command.args(["-c", script]);
        let output = finish(&mut command, None)?;
        if output.success() {
            return Ok(output.stdout);
        }
        Err(failure(&format!("run a script on {}", self.name()), &command, &output))
    }

    /// A command line that runs `program` of the host as root on the host. Killing the process that it
    /// starts does not kill `program`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command, LabError> {
        let leader = self.leader()?;
        let mut command = Command::new("nsenter");
        command.args(["--target", &leader.pid.to_string(), "--all", "env", "-i"]);
        command.args([
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
            "LC_ALL=C",
        ]);
        command.arg(program);
        Ok(command)
    }

    /// Runs a shell script as root on the host, by ssh with strict host keys.
    pub fn ssh(&self, script: &str) -> Result<Output, LabError> {
        finish(&mut self.ssh_command(&[script]), None)
    }

    /// Writes a file on the running host.
    pub fn write(&self, path: &str, content: &str) -> Result<(), LabError> {
        let mut command = self.command("sh")?;
        command.args(["-c", r#"mkdir -p "$(dirname "$0")" && cat > "$0""#, path]);
        let output = finish(&mut command, Some(content.as_bytes()))?;
        if output.success() { Ok(()) } else { Err(failure("write a file on a host", &command, &output)) }
    }

    /// Says a command to HAProxy's runtime socket on this host and reads the answer.
    pub fn haproxy(&self, command: &str) -> Result<String, LabError> {
        let root = format!("/proc/{}/root", self.leader()?.pid);
        haproxy::ask(&PathBuf::from(root + haproxy::ADMIN_SOCKET), command)
    }

    /// Everything it printed on its console since the lab was started.
    pub fn console(&self) -> String {
        let bytes = fs::read(self.place.host(self.name()).join("console")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn ssh_command(&self, arguments: &[&str]) -> Command {
        let mut command = network::inside(&self.place, "ssh");
        command.arg("-F").arg(SshFiles::of(&self.place).config).args(["-o", "ConnectTimeout=2"]);
        command.arg(self.name()).args(arguments);
        command
    }

    fn boot(&self) -> Result<(), LabError> {
        let directory = self.place.host(self.name());
        cgroup::remove(&self.place.name, Some(self.name()))?;
        let groups = cgroup::groups(&self.place.name, Some(self.name()));
        for group in &groups {
            create_directory(group)?;
        }
        let overlay = format!(
            "lowerdir={},upperdir={},workdir={}",
            self.layers.iter().map(|layer| layer.display().to_string()).collect::<Vec<_>>().join(":"),
            directory.join("upper").display(),
            directory.join("work").display(),
        );
        let console = directory.join("console");
        let log = File::options()
            .create(true)
            .append(true)
            .open(&console)
            .map_err(LabError::io("open", &console))?;
        let errors = log.try_clone().map_err(LabError::io("open", &console))?;
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.place.netns_file().display()));
        command.args(["unshare", "--mount", "sh", "-c", BOOT, "boot"]).args(groups).arg("--");
        command.arg(overlay).arg(directory.join("root")).arg("-D").arg(directory.join("root"));
        command.args(["--quiet", "--register=no", "--keep-unit", "--boot", "--link-journal=no"]);
        command.args(["--resolv-conf=off", "--timezone=off"]);
        command.arg(format!("--network-bridge={}", network::BRIDGE));
        command.arg(format!("--machine={}", self.place.machine(self.name())));
        command.arg(format!("--hostname={}", self.name()));
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        // A Ctrl-C for the program that started the lab is not for its hosts.
        command.process_group(0);
        let mut child = command.spawn().map_err(LabError::io("start", &PathBuf::from("nsenter")))?;
        let started = Process::find(child.id());
        // Reaps it whenever it ends; if we end first, init does.
        std::thread::spawn(move || drop(child.wait()));
        let started = started.ok_or_else(|| self.not_running())?;
        place::write(&directory.join("pid"), 0o644, started.to_string().as_bytes())
    }

    fn wait_for_ssh(&self) -> Result<(), LabError> {
        let deadline = Instant::now() + BOOT_PATIENCE;
        loop {
            let answer = finish(&mut self.ssh_command(&["true"]), None)?;
            if answer.success() {
                return Ok(());
            }
            if !self.is_running() {
                return Err(self.not_running());
            }
            if Instant::now() > deadline {
                return Err(LabError::TimedOut {
                    what: format!("sshd on {}", self.name()),
                    seconds: BOOT_PATIENCE.as_secs(),
                    last: format!("{}\n{}", answer.stderr.trim(), last_lines(&self.console(), 15)),
                });
            }
            std::thread::sleep(Duration::from_millis(150));
        }
    }

    /// The container's supervisor: the process that was started to boot the host.
    fn container(&self) -> Option<Process> {
        let text = fs::read_to_string(self.place.host(self.name()).join("pid")).ok()?;
        text.parse::<Process>().ok().filter(|process| process.is_alive())
    }

    /// The supervisor's children in a process namespace of their own: the host's init.
    fn leaders(&self) -> Vec<Process> {
        let Some(container) = self.container() else { return Vec::new() };
        let outside = container.namespace("pid");
        container.children().into_iter().filter(|child| child.namespace("pid") != outside).collect()
    }

    fn leader(&self) -> Result<Process, LabError> {
        self.leaders().first().copied().ok_or_else(|| self.not_running())
    }

    fn signal_all(&self, signal: Signal) -> Result<(), LabError> {
        let namespace = self.leader()?.namespace("pid");
        // Twice: a process may have started another before it got the signal.
        for _ in 0..2 {
            for process in process::all_where(|process| process.namespace("pid") == namespace) {
                process.signal(signal);
            }
        }
        Ok(())
    }

    fn not_running(&self) -> LabError {
        LabError::NotRunning { host: self.name().to_owned(), console: last_lines(&self.console(), 15) }
    }
}
