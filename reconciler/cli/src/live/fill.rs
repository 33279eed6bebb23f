//! Placeholders of the desired state's commands, filled by a step.

use model::{Activate, Argv, ConfigAgent, MigrationJob, Service, Step};
use providers::shell::fill;

pub(super) fn all(step: &Step, argvs: &[Argv]) -> Vec<Argv> {
    argvs.iter().map(|argv| one(step, argv)).collect()
}

pub(super) fn one(step: &Step, argv: &Argv) -> Argv {
    with(step, argv, &[])
}

/// `more` beside the host, the version and the environment.
pub(super) fn with(step: &Step, argv: &Argv, more: &[(&str, &str)]) -> Argv {
    let usual = [
        ("host", step.host.as_str()),
        ("version", step.version.as_str()),
        ("environment", step.environment.as_str()),
    ];
    fill(argv, &[&usual, more].concat())
}

pub(super) fn service(step: &Step, service: &Service) -> Service {
    let activate = match &service.activate {
        Activate::Command(argv) => Activate::Command(one(step, argv)),
        other @ (Activate::Restart | Activate::Reload | Activate::None) => other.clone(),
    };
    let running = service.running.as_ref().map(|argv| one(step, argv));
    Service { activate, running, ..service.clone() }
}

pub(super) fn agent(step: &Step, agent: &ConfigAgent) -> ConfigAgent {
    let ConfigAgent { pause, resume, active, busy, pin } = agent;
    ConfigAgent {
        pause: one(step, pause),
        resume: one(step, resume),
        active: one(step, active),
        busy: busy.as_ref().map(|argv| one(step, argv)),
        pin: pin.clone(),
    }
}

pub(super) fn job(step: &Step, job: &MigrationJob) -> MigrationJob {
    MigrationJob { command: one(step, &job.command), ..job.clone() }
}
