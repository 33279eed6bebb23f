//! A real sshd on a loopback address, with its own keys and configuration.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use providers::ssh::{Ssh, SshConfig};

/// A program that ends with us.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One sshd that serves every address of 127.0.0.0/8 on one port.
pub(crate) struct Sshd {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) port: u16,
    options: Vec<String>,
    pub(crate) process: Running,
}

/// Why these tests cannot run here, printed; none: they can.
pub(crate) fn missing(programs: &[&str]) -> bool {
    let found =
        |program: &str| ["/usr/sbin", "/usr/bin"].iter().any(|dir| Path::new(dir).join(program).exists());
    let absent: Vec<_> = programs.iter().filter(|program| !found(program)).collect();
    let root = fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    if !root {
        eprintln!("SKIPPED: needs root");
    }
    if !absent.is_empty() {
        eprintln!("SKIPPED: not installed: {absent:?}");
    }
    !root || !absent.is_empty()
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) fn keygen(path: &Path) {
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status().unwrap();
    assert!(made.success());
}

pub(crate) fn wait_for_port(port: u16) {
    for _ in 0..400 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("nothing listens on {port}");
}

impl Sshd {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With further lines of `sshd_config`, each as `Key=value`.
    pub(crate) fn with(options: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("rc").tempdir().unwrap();
        let path = dir.path();
        keygen(&path.join("host_key"));
        keygen(&path.join("key"));
        fs::copy(path.join("key.pub"), path.join("authorized")).unwrap();
        let port = free_port();
        let public = fs::read_to_string(path.join("host_key.pub")).unwrap();
        fs::write(path.join("known_hosts"), format!("* {public}")).unwrap();
        fs::write(
            path.join("ssh_config"),
            format!("Host *\n  Port {port}\n  GlobalKnownHostsFile /dev/null\n"),
        )
        .unwrap();
        fs::create_dir_all("/run/sshd").unwrap();
        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        let process = Self::launch(path, port, &options);
        Self { dir, port, options, process }
    }

    fn launch(path: &Path, port: u16, options: &[String]) -> Running {
        let at = |name: &str| path.join(name).display().to_string();
        // A home of its own: the shell must not read the configuration of whoever runs these tests.
        let home = format!("SetEnv=HOME={}", path.display());
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", "/dev/null", "-o", &home, "-o"])
            .arg(format!("ListenAddress=0.0.0.0:{port}"))
            .args(["-o", &format!("HostKey={}", at("host_key"))])
            .args(["-o", &format!("AuthorizedKeysFile={}", at("authorized"))])
            .args(["-o", "StrictModes=no", "-o", "PasswordAuthentication=no", "-o", "UsePAM=no"])
            .args(["-o", "PermitRootLogin=yes", "-o", "MaxStartups=100"])
            .args(["-o", &format!("PidFile={}", at("sshd.pid"))])
            .args(options.iter().flat_map(|option| ["-o", option]))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for_port(port);
        Running(child)
    }

    pub(crate) fn restart(&mut self) {
        let port = self.port;
        self.process = Running(Command::new("true").spawn().unwrap());
        self.process = Self::launch(self.dir.path(), port, &self.options);
    }

    pub(crate) fn config(&self) -> SshConfig {
        let path = |name: &str| -> Option<PathBuf> { Some(self.dir.path().join(name)) };
        SshConfig {
            user: Some("root".to_owned()),
            config_file: path("ssh_config"),
            known_hosts: path("known_hosts"),
            key: path("key"),
            connect_timeout: Duration::from_secs(5),
            control_parent: self.dir.path().to_owned(),
        }
    }

    pub(crate) fn ssh(&self) -> Ssh {
        Ssh::new(self.config()).unwrap()
    }
}

/// Pids of ssh processes whose command line holds a text.
pub(crate) fn ssh_processes(holding: &Path) -> Vec<u32> {
    let needle = holding.display().to_string();
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        read("comm") == b"ssh\n" && String::from_utf8_lossy(&read("cmdline")).contains(&needle)
    })
    .collect()
}
