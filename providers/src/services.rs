//! Making services run what is installed, and stamping what they run.
//!
//! A stamp, `/var/lib/reconcile/stamps/<service>`, is one line: version, boot id, main pid, the process's start in
//! ticks, and what the `running` command printed. It is valid as long as all but the version are still so.

use std::collections::BTreeMap;

use model::{Activate, Argv, Failure, FailureKind, HostName, Outcome, PackageName, Service, StepId, Version};

use crate::apt;
use crate::claim::{Owner, STATE_DIR};
use crate::jobs::{self, Ended, Job};
use crate::shell::{command, last_lines, quote};
use crate::ssh::Ssh;

/// What an activation is to do. Placeholders in the commands are already filled.
#[derive(Clone, Debug)]
pub struct Activation<'a> {
    /// Where.
    pub host: &'a HostName,
    /// Names the job.
    pub step: &'a StepId,
    /// Whose claim the host must carry.
    pub owner: &'a Owner,
    /// Which services, and how.
    pub services: &'a [Service],
    /// What has to be installed all through. Somebody may install by hand meanwhile, and a stamp would be a lie.
    pub packages: &'a BTreeMap<PackageName, Version>,
    /// The package version to stamp.
    pub stamp: &'a Version,
}

/// Activates services in order as one job, checks that each is up (and a restarted one is another process) and that the
/// packages are installed before and after, and stamps.
///
/// # Errors
/// `ActivateFailed` with the unit and the journal's last lines; `Superseded`; or no connection, and the job runs on.
pub async fn activate(ssh: &Ssh, activation: &Activation<'_>) -> Result<Outcome, Failure> {
    let Activation { host, step, owner, services, packages, stamp } = activation;
    let mut script = format!(
        "STAMPS={STATE_DIR}/stamps\nVERSION={}\n{}{}wholly_installed\n",
        quote(stamp.as_str()),
        apt::installed(packages),
        include_str!("services/activate.sh")
    );
    for service in *services {
        script += &line(service);
    }
    let job = Job { host, step, kind: "activate", owner, script: &script };
    let (what, output) = match jobs::run(ssh, &job).await? {
        Ended::Exited { code: 0, .. } => {
            let names: Vec<_> = services.iter().map(|service| service.name.as_str()).collect();
            return Ok(Outcome::Changed(format!("activated {} at {stamp}", names.join(", "))));
        }
        Ended::Exited { output, .. } => {
            let told = output.lines().rev().find_map(|line| line.strip_prefix("@@failed "));
            (told.unwrap_or("activation ended with an error").to_owned(), output)
        }
        Ended::Lost { output } => ("activation was killed".to_owned(), output),
    };
    let what = format!("{host}: {what}");
    Err(Failure { kind: FailureKind::ActivateFailed, what, detail: last_lines(&output, 10) })
}

/// One call of a function of the script for one service.
fn line(service: &Service) -> String {
    let name = quote(service.name.as_str());
    let running = service.running.as_ref().map(command).unwrap_or_default();
    let how = match (&service.activate, service.systemd) {
        (Activate::None, _) => return String::new(),
        (Activate::Restart, true) => format!("restart {name}"),
        (Activate::Reload, true) => format!("reload {name}"),
        (Activate::Command(argv), _) => own(service, argv),
        // Refused by the desired state's rules; a service that systemd does not know cannot be restarted by it.
        (Activate::Restart | Activate::Reload, false) => {
            format!("fail {}", quote(&format!("{} is no systemd unit", service.name)))
        }
    };
    let running = quote(&running);
    format!("forget {name}\n{how}\nstamp {name} {} {running}\n", if service.systemd { "unit" } else { "own" })
}

fn own(service: &Service, argv: &Argv) -> String {
    let name = quote(service.name.as_str());
    let shown = quote(&format!("{}: {argv}", service.name));
    let check = if service.systemd { format!("\nup {name}") } else { String::new() };
    format!("{} || fail {shown} \"ended with $?\"{check}", command(argv))
}
