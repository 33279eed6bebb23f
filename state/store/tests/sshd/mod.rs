//! A real ssh server on a free port of 127.0.0.1, for the user who runs the tests.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use store::Access;

const SSHD: &str = "/usr/sbin/sshd";

pub(crate) struct Sshd {
    dir: tempfile::TempDir,
    port: u16,
    server: Child,
}

impl Sshd {
    /// Starts one, or says why there can be none.
    pub(crate) fn start() -> Result<Self, String> {
        if !Path::new(SSHD).exists() {
            return Err("openssh-server is not installed".into());
        }
        if rustix::process::getuid().is_root() {
            // Debian's unit makes it; without it sshd does not start.
            fs::create_dir_all("/run/sshd").map_err(|error| error.to_string())?;
        }
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for key in ["host_key", "user_key"] {
            let options = ["-q", "-t", "ed25519", "-N", "", "-f"];
            let made = Command::new("ssh-keygen").args(options).arg(dir.path().join(key)).status().unwrap();
            assert!(made.success());
        }
        let path = |name: &str| dir.path().join(name);
        fs::copy(path("user_key.pub"), path("authorized_keys")).unwrap();
        let host_key = fs::read_to_string(path("host_key.pub")).unwrap();
        fs::write(path("known_hosts"), format!("[127.0.0.1]:{port} {host_key}")).unwrap();
        fs::write(path("sshd_config"), configuration(dir.path(), port)).unwrap();
        let server = Command::new(SSHD)
            .args(["-D", "-f"])
            .arg(path("sshd_config"))
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut sshd = Self { dir, port, server };
        sshd.wait()?;
        Ok(sshd)
    }

    fn wait(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.server.try_wait() {
                panic!("sshd ended at once: {status}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("sshd does not listen");
    }

    pub(crate) fn url(&self, repository: &Path) -> String {
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        format!("ssh://{}@127.0.0.1:{}{}", user.trim(), self.port, repository.display())
    }

    pub(crate) fn access(&self) -> Access {
        let path = |name: &str| -> Option<PathBuf> { Some(self.dir.path().join(name)) };
        Access { ssh_key: path("user_key"), known_hosts: path("known_hosts"), ..Access::default() }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn configuration(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {dir}/host_key\nAuthorizedKeysFile {dir}/authorized_keys\n\
         PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    )
}
