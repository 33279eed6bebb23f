//! A host as it is now: one script in one round trip, and beside it the probe from here. Changes nothing.

mod parse;
mod probe;
mod records;

use std::time::Duration;

use model::{
    Argv, ConfigAgent, EnvironmentName, HealthState, HostName, HostState, Probe, Role, Service, Unknown,
    UnknownKind,
};

use crate::claim::{Owner, STATE_DIR, taken};
use crate::shell::{command, fill, fill_word, last_lines, quote};
use crate::ssh::Ssh;
pub use parse::{Unreadable, parse_host};
pub use probe::{Prober, ProberError};

/// Longer than any healthy answer, shorter than a person's patience.
const DEADLINE: Duration = Duration::from_secs(15);

/// What there is to read on a host.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its packages, services and probe.
    pub role: &'a Role,
    /// Whose host it is.
    pub environment: &'a EnvironmentName,
    /// Its configuration agent, when there is one to ask.
    pub agent: Option<&'a ConfigAgent>,
    /// The file of [`crate::claim::memory`].
    pub memory: &'a str,
    /// Who reads, where that is somebody who has acted.
    pub us: Option<&'a Owner>,
}

/// Reads a host.
///
/// Jobs that must not run twice ([`crate::migrations`]) are told in `jobs` once they have ended, and never in `job` or
/// `in_doubt`: who wants one asks for it by its name.
///
/// # Errors
/// The obstacle, as a fact.
pub async fn observe(
    ssh: &Ssh,
    prober: &Prober,
    host: &HostName,
    subject: Subject<'_>,
) -> Result<HostState, Unknown> {
    let Subject { role, environment, agent, memory, us } = subject;
    let script = format!("MEMORY={}\n{}", quote(memory), script(host, role, environment, agent));
    let asked = async {
        match role.health.as_ref().map(|health| &health.probe) {
            Some(Probe::Http(url)) => Some(prober.http(&place(url, host)).await),
            Some(Probe::Tcp(address)) => Some(prober.tcp(&place(address, host)).await),
            Some(Probe::Command(_)) | None => None,
        }
    };
    let (output, health) = tokio::join!(ssh.read(host, &script, DEADLINE), asked);
    let output = output.map_err(|error| error.to_unknown())?;
    let mut state = parse_host(&output.stdout, role).map_err(|error| {
        let words = last_lines(&output.stderr, 1);
        let detail = if words.is_empty() { error.to_string() } else { format!("{error}: {words}") };
        Unknown { kind: UnknownKind::Unreadable, detail }
    })?;
    if let Some(health) = health {
        state.health = health;
    }
    state.last_generation = us.and_then(|us| taken(&output.stdout, us)).or(state.last_generation);
    Ok(state)
}

/// The answer of a probe as a fact.
fn verdict(answer: Result<(), String>) -> HealthState {
    match answer {
        Ok(()) => HealthState::Healthy,
        Err(words) => HealthState::Unhealthy(words),
    }
}

fn place(text: &str, host: &HostName) -> String {
    fill_word(text, &[("host", host.as_str())])
}

/// The script of one observation: the role's particulars, then a fixed text.
fn script(
    host: &HostName,
    role: &Role,
    environment: &EnvironmentName,
    agent: Option<&ConfigAgent>,
) -> String {
    let packages: Vec<_> = role.packages.iter().map(|package| package.as_str()).collect();
    let units =
        role.services.iter().filter(|service| service.systemd).map(|service| quote(service.name.as_str()));
    let units: Vec<_> = units.collect();
    let values = [("host", host.as_str()), ("environment", environment.as_str())];
    let filled = |argv: &Argv| command(&fill(argv, &values));
    let health = match role.health.as_ref().map(|health| &health.probe) {
        Some(Probe::Command(argv)) => {
            let argv = filled(argv);
            format!(
                "printf '\\n@@health\\n'; timeout -k 1 10 {argv} 2>&1; printf '\\n@@health-exit\\n%s\\n' $?\n"
            )
        }
        Some(Probe::Http(_) | Probe::Tcp(_)) | None => String::new(),
    };
    let services: String = role.services.iter().map(|service| told(service, &filled)).collect();
    format!(
        "PACKAGES={}\nUNITS={}\nROOT={STATE_DIR}\n{}{}{}{services}{health}printf '\\n@@end\\n'\n",
        quote(&packages.join(" ")),
        quote(&units.join(" ")),
        include_str!("observe/host.sh"),
        include_str!("observe/records.sh"),
        agent.map(|agent| asked(agent, &filled)).unwrap_or_default()
    )
}

/// Whether the configuration agent is active, works just now, or was paused by us.
fn asked(agent: &ConfigAgent, filled: &impl Fn(&Argv) -> String) -> String {
    let question = |name: &str, argv: &Argv| {
        format!("timeout -k 1 5 {} >/dev/null 2>&1; echo {name} $?\n", filled(argv))
    };
    let busy = agent.busy.as_ref().map(|argv| question("busy", argv)).unwrap_or_default();
    format!(
        "part agent; [ ! -e \"$ROOT/agent-paused\" ] || echo paused yes\n{}{busy}",
        question("active", &agent.active)
    )
}

/// The stamp of a service, and what its `running` command prints.
fn told(service: &Service, filled: &impl Fn(&Argv) -> String) -> String {
    let name = quote(service.name.as_str());
    let running = service.running.as_ref().map(|argv| {
        let argv = filled(argv);
        format!("printf '\\n@@running %s\\n' {name}; timeout -k 1 10 {argv} 2>/dev/null; printf '\\n@@running-exit %s\\n%s\\n' {name} $?\n")
    });
    format!("stamp {name}\n{}", running.unwrap_or_default())
}
