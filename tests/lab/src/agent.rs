//! A configuration agent as fleets have one: a timer starts it every now and then, it works for some seconds, and
//! it cares for nobody.
//!
//! On a host: the units are [`TIMER`] and [`SERVICE`]; a run lasts as many seconds as [`DURATION`] says, and
//! leaves a line `start …` and a line `end …` in [`RUNS`]. `agent-pin ENVIRONMENT VERSION` appends a line to
//! [`PINS`].

/// What starts it.
pub const TIMER: &str = "agent.timer";

/// One run.
pub const SERVICE: &str = "agent.service";

/// The file with the length of a run in seconds.
pub const DURATION: &str = "/etc/agent/seconds";

/// The file with the runs so far; a run that was killed has no end.
pub const RUNS: &str = "/var/lib/agent/runs";

/// The file with what was pinned so far.
pub const PINS: &str = "/var/lib/agent/pins";

const RUN: &str = "#!/bin/sh
set -eu
mkdir -p /var/lib/agent
echo \"start $(date +%s)\" >> /var/lib/agent/runs
sleep \"$(cat /etc/agent/seconds)\"
echo \"end $(date +%s)\" >> /var/lib/agent/runs
";

const PIN: &str = "#!/bin/sh
set -eu
mkdir -p /var/lib/agent
echo \"${1:?environment} ${2:?version}\" >> /var/lib/agent/pins
";

const TIMER_UNIT: &str = "[Unit]
Description=Starts the configuration agent

[Timer]
OnActiveSec=5s
OnUnitInactiveSec=15s
AccuracySec=1s

[Install]
WantedBy=timers.target
";

const SERVICE_UNIT: &str = "[Unit]
Description=Configuration agent

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/agent-run
";

/// The files of a host with an agent that is enabled.
pub(crate) fn files() -> Vec<(&'static str, u32, String)> {
    vec![
        ("usr/local/sbin/agent-run", 0o755, RUN.to_owned()),
        ("usr/local/sbin/agent-pin", 0o755, PIN.to_owned()),
        ("etc/agent/seconds", 0o644, "3\n".to_owned()),
        ("etc/systemd/system/agent.service", 0o644, SERVICE_UNIT.to_owned()),
        ("etc/systemd/system/agent.timer", 0o644, TIMER_UNIT.to_owned()),
    ]
}
