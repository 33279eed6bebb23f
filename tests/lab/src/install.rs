//! Brings freshly booted hosts into the state in which a deployment finds a fleet.

use std::time::{Duration, Instant};

use crate::error::LabError;
use crate::host::Host;
use crate::lab::{Lab, in_parallel};
use crate::spec::HostKind;

/// Warm-up, checks, and a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Installs the demo packages and puts the load balancers in front, in that order: a load balancer that
/// starts before its servers would first have to see each of them rise.
pub(crate) fn install(lab: &Lab) -> Result<(), LabError> {
    let version = &lab.spec().version;
    in_parallel(lab.hosts().iter().filter(|host| host.kind() != HostKind::LoadBalancer), |host| {
        let package = match host.kind() {
            HostKind::Web => Some(("shop", 8080)),
            HostKind::Storage => Some(("store", 9000)),
            HostKind::LoadBalancer | HostKind::Plain => None,
        };
        host.expect("apt-get -qq update")?;
        match package {
            Some((name, port)) if !version.is_empty() => install_package(host, name, version, port),
            _ => Ok(()),
        }
    })?;
    in_parallel(lab.hosts_of(HostKind::LoadBalancer), |host| {
        host.expect(
            "ln -sf /lib/systemd/system/haproxy.service /etc/systemd/system/multi-user.target.wants/ && \
             systemctl start haproxy.service",
        )?;
        if version.is_empty() { Ok(()) } else { wait_until_up(host) }
    })
}

fn install_package(host: &Host, name: &str, version: &str, port: u16) -> Result<(), LabError> {
    host.expect(&format!(
        "DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 install {name}={version}"
    ))?;
    let ready = format!("curl -fs -o /dev/null http://127.0.0.1:{port}/-/readiness");
    await_that(&format!("{name} on {}", host.name()), || {
        let answer = host.run(&ready)?;
        Ok(if answer.success() { Ok(()) } else { Err(format!("curl exits with {:?}", answer.code)) })
    })
}

fn wait_until_up(host: &Host) -> Result<(), LabError> {
    await_that(&format!("all servers to be up on {}", host.name()), || {
        let state = host.haproxy("show servers state")?;
        // `srv_op_state` is the sixth column: 2 is running.
        let servers: Vec<Vec<&str>> = state
            .lines()
            .skip(2)
            .map(|line| line.split(' ').collect())
            .filter(|row: &Vec<_>| row.len() > 6)
            .collect();
        let up = servers.iter().filter(|row| row[5] == "2").count();
        Ok(if up == servers.len() { Ok(()) } else { Err(format!("{up} of {} are up", servers.len())) })
    })
}

/// Asks again and again until it is so; `Err` of the inner result says how it is instead.
fn await_that(
    what: &str,
    mut check: impl FnMut() -> Result<Result<(), String>, LabError>,
) -> Result<(), LabError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check()? {
            Ok(()) => return Ok(()),
            Err(last) if Instant::now() > deadline => {
                return Err(LabError::TimedOut { what: what.to_owned(), seconds: PATIENCE.as_secs(), last });
            }
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}
