//! The demo on real Debian hosts: a second `reconcile` process serves from within their network, under real traffic.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use lab::{HostKind, Lab, LabError, LabSpec, Traffic};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::spawn_blocking;

use super::{Place, Stage, perform, say};
use crate::args::Demo;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output;

/// A service that is stopped ends within this, or is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Booted hosts. They are gone when this is dropped; [`Hosts::down`] tells when that fails.
pub(super) struct Hosts(Lab);

impl Hosts {
    /// Boots two load balancers, four web hosts and one storage host, on the first version.
    pub(super) async fn boot() -> Result<Self, LabError> {
        // Two demos on one machine do not meet.
        let spec = LabSpec::empty(&format!("demo-{}", std::process::id()))
            .with_hosts("fe", 2, HostKind::LoadBalancer)
            .with_hosts("web", 4, HostKind::Web)
            .with_hosts("gitaly", 1, HostKind::Storage);
        spawn_blocking(move || Lab::up(&spec)).await.unwrap_or_else(resume).map(Self)
    }

    pub(super) async fn down(self) -> Result<(), LabError> {
        spawn_blocking(move || self.0.down()).await.unwrap_or_else(resume)
    }
}

fn resume<T>(panic: tokio::task::JoinError) -> T {
    std::panic::resume_unwind(panic.into_panic())
}

pub(super) async fn demo(hosts: &Hosts, args: &Demo) -> Result<Exit, CliError> {
    let (lab, place) = (&hosts.0, Place::make()?);
    let names: Vec<&str> = lab.hosts().iter().map(lab::Host::name).collect();
    say(&format!("A fleet of real Debian hosts, booted on this machine: {}", names.join(", ")))?;
    let config = write_config(lab, &place)?;
    let traffic = Traffic::start(lab)?;
    let server = Server::start(lab, &place, &config)?;
    output::aside(&format!("in another terminal: reconcile --config {} status", config.display()));
    let mut stage = Real { traffic, server };
    let exit = perform(&place, args, &mut stage).await;
    if !matches!(exit, Ok(Exit::Done)) {
        output::aside(&format!("the service's log ends with:\n{}", stage.server.log_end()));
    }
    exit
}

/// A service in the hosts' network, and traffic on the fleet.
struct Real {
    traffic: Traffic,
    server: Server,
}

impl Stage for Real {
    fn tally(&mut self) -> Result<String, CliError> {
        Ok(format!("  traffic through both load balancers: {}", self.traffic.snapshot()?))
    }

    fn check(&mut self) -> Result<(), CliError> {
        match self.server.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                Err(CliError::new(Exit::Unreachable, format!("the service ended early: {status}")))
            }
            Err(error) => Err(CliError::new(Exit::Unreachable, format!("the service is lost: {error}"))),
        }
    }
}

fn write_config(lab: &Lab, place: &Place) -> Result<PathBuf, CliError> {
    let ssh = lab.ssh_files();
    let text = format!(
        "service = \"demo\"\nstate_dir = {:?}\n\n[repository]\nurl = {:?}\n\n\
         [ssh]\nconfig_file = {:?}\nknown_hosts = {:?}\nkey = {:?}\n",
        place.state_dir(),
        place.repository.path(),
        ssh.config,
        ssh.known_hosts,
        ssh.identity,
    );
    let path = place.folder.path().join("config.toml");
    std::fs::write(&path, text).map_err(|error| CliError::file("write", &path, &error))?;
    Ok(path)
}

/// `reconcile serve` in the hosts' network. Stopped when dropped.
struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    fn start(lab: &Lab, place: &Place, config: &Path) -> Result<Self, CliError> {
        let log = place.folder.path().join("serve.log");
        let failed = |error| CliError::file("write", &log, &error);
        let file = std::fs::File::create(&log).map_err(failed)?;
        // This very program, also when its file has been replaced since it started.
        let mut serve = lab.command(format!("/proc/{}/exe", std::process::id()));
        serve.arg("--config").arg(config).arg("serve");
        serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = serve.spawn().map_err(|error| CliError::file("start", config, &error))?;
        Ok(Self { child, log })
    }

    fn log_end(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        crate::render::clean(&lines[lines.len().saturating_sub(20)..].join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; its number is ours until it is waited for.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let began = std::time::Instant::now();
        while began.elapsed() < STOP_PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
