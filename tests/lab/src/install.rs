//! Brings freshly booted hosts into the state in which a deployment finds a fleet.

use std::time::{Duration, Instant};

use crate::error::LabError;
use crate::host::Host;
use crate::lab::{Lab, in_parallel};
use crate::release::{self, RELEASE_PACKAGE};
use crate::spec::{HostKind, LabSpec};
use crate::{database, monitoring};

/// Warm-up, checks, and a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts the database and the monitoring, installs the demo packages and puts the load balancers in front, in
/// that order: a load balancer that starts before its servers would first have to see each of them rise.
pub(crate) fn install(lab: &Lab) -> Result<(), LabError> {
    let environments = lab.spec().environments();
    in_parallel(lab.hosts_of(HostKind::Database), |host| database::start(host, &environments))?;
    in_parallel(lab.hosts().iter().filter(|host| host.kind() != HostKind::LoadBalancer), |host| match host
        .kind()
    {
        HostKind::Monitoring => monitoring::start(host),
        HostKind::Database => Ok(()),
        _ => install_packages(host, lab.spec()),
    })?;
    in_parallel(lab.hosts_of(HostKind::LoadBalancer), |host| {
        host.expect(
            "ln -sf /lib/systemd/system/haproxy.service /etc/systemd/system/multi-user.target.wants/ && \
             systemctl start haproxy.service",
        )?;
        if lab.spec().version.is_empty() { Ok(()) } else { wait_until_up(host) }
    })
}

fn install_packages(host: &Host, spec: &LabSpec) -> Result<(), LabError> {
    host.expect("apt-get -qq update")?;
    let version = &spec.version;
    let serving = release::service_of(host.kind());
    match (host.kind(), serving) {
        _ if version.is_empty() => Ok(()),
        (HostKind::Migration, _) | (_, Some(_)) if !spec.releases.is_empty() => {
            install_release(host, version)
        }
        (HostKind::Storage, _) => install_package(host, "store", version),
        (_, Some(_)) => install_package(host, "shop", version),
        (_, None) => Ok(()),
    }?;
    match serving {
        Some((_, port)) if !version.is_empty() => wait_until_ready(host, port),
        _ => Ok(()),
    }
}

fn install_package(host: &Host, name: &str, version: &str) -> Result<(), LabError> {
    host.expect(&format!(
        "DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 install {name}={version}"
    ))
    .map(drop)
}

/// The package itself would migrate on every host. The file that keeps it from doing so is taken away again, so
/// that whoever forgets it later is found out; it stays on the host whose very purpose is to migrate when told.
fn install_release(host: &Host, version: &str) -> Result<(), LabError> {
    host.expect("touch /etc/shop/skip-auto-reconfigure")?;
    install_package(host, RELEASE_PACKAGE, version)?;
    host.expect("shop-ctl reconfigure")?;
    let then = match host.kind() {
        HostKind::Migration => "SHOP_MIGRATION_SECONDS=0 shop-migrate",
        _ => "rm /etc/shop/skip-auto-reconfigure",
    };
    host.expect(then).map(drop)
}

fn wait_until_ready(host: &Host, port: u16) -> Result<(), LabError> {
    let ready = format!("curl -fs -o /dev/null http://127.0.0.1:{port}/-/readiness");
    await_that(&format!("port {port} of {}", host.name()), || {
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
pub(crate) fn await_that(
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
