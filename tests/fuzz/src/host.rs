//! The answer of a host's observation: dpkg, systemd, stamps, claims, jobs, patches, the probe.

use jiff::SignedDuration;
use model::{Activate, Argv, Health, HealthState, HostState, Probe, Role, Running, Service, Track};
use providers::observe::parse_host;

use crate::text;

/// One answer, by a role whose probe is a command on the host, one that is asked from elsewhere, and one without.
pub(crate) fn host(bytes: &[u8]) {
    let text = text(bytes);
    let command = Probe::Command(Argv(vec!["check".into()]));
    for probe in [Some(command), Some(Probe::Tcp("{host}:80".into())), None] {
        let role = role(probe);
        if let Ok(state) = parse_host(&text, &role) {
            nothing_is_made_up(&state, &role, &text);
        }
    }
}

fn nothing_is_made_up(state: &HostState, role: &Role, text: &str) {
    assert!(text.contains("@@end"), "an answer without its end was believed");
    assert!(role.services.iter().all(|service| state.services.contains_key(&service.name)));
    for (name, service) in &state.services {
        let running = service.running(None);
        assert!(service.active || running == Running::Stopped, "{name} is {running:?}");
        assert!(service.uptime.is_none_or(|uptime| uptime >= SignedDuration::ZERO), "{name}: {service:?}");
        let told = [&service.stamped, &service.reported].into_iter().flatten();
        told.for_each(|version| assert!(text.contains(version.as_str()), "{name}: {version}"));
    }
    for (name, package) in &state.packages {
        assert!(!package.installed || package.status.get(1..) == Some("i "), "{name}: {package:?}");
    }
    assert!(!state.machine_id.is_empty() && !state.boot_id.is_empty() && !state.codename.is_empty());
    if state.health == HealthState::Healthy {
        healthy_for_a_reason(state, role, text);
    }
    let json = serde_json::to_string(state).expect("what was seen can be written");
    assert_eq!(serde_json::from_str::<HostState>(&json).expect("and read again"), *state);
}

fn healthy_for_a_reason(state: &HostState, role: &Role, text: &str) {
    match role.health.as_ref().map(|health| &health.probe) {
        Some(Probe::Command(_)) => assert!(text.contains("@@health-exit\n"), "healthy without an answer"),
        Some(_) => {}
        None if text.contains("@@health") => {}
        None => assert!(state.services.values().all(|service| service.active), "healthy and down"),
    }
}

fn role(probe: Option<Probe>) -> Role {
    let service = |name: &str, systemd, running| Service {
        name: name.into(),
        systemd,
        activate: Activate::Restart,
        running,
    };
    Role {
        name: "web".into(),
        track: Track::Main,
        hosts: vec!["web-01".into()],
        packages: vec!["shop".into()],
        package_version: "{version}".into(),
        backends: Vec::new(),
        max_unavailable: 1,
        allow_outage: false,
        prepare: Vec::new(),
        configure: Vec::new(),
        services: vec![
            service("shop.service", true, None),
            service("puma", false, Some(Argv(vec!["puma-version".into()]))),
        ],
        health: probe.map(|probe| Health { probe, within: SignedDuration::from_secs(60) }),
    }
}
