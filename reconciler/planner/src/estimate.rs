//! How long things take, as they did before.

use jiff::SignedDuration;
use model::{ActionKind, Run, Stage};

use crate::lanes::Lane;
use crate::simulate::expected;
use crate::survey::{HostView, Survey};

/// What happens to one host on its way to a new version.
const OF_A_HOST: [ActionKind; 6] = [
    ActionKind::Claim,
    ActionKind::Drain,
    ActionKind::Install,
    ActionKind::Activate,
    ActionKind::Ready,
    ActionKind::Release,
];

/// How long a stage that was not begun would take, with its soak; none: history does not tell.
pub(crate) fn takes(survey: &Survey<'_>, lane: &Lane<'_>, stage: &Stage) -> Option<SignedDuration> {
    let known = &survey.history.durations_ms;
    let work = match &stage.run {
        Run::Migrate | Run::PostMigrate => {
            known.get(&ActionKind::Migrate).map(|_| expected(survey.history, ActionKind::Migrate))?
        }
        Run::Deploy { in_order, .. } => {
            known.get(&ActionKind::Install)?;
            let roles =
                lane.rungs.iter().filter(|rung| rung.stage.name == stage.name).flat_map(|rung| rung.roles());
            let each = roles.map(|role| role_takes(survey, role));
            if *in_order { each.sum() } else { each.max().unwrap_or_default() }
        }
    };
    Some(work + stage.soak)
}

fn role_takes(survey: &Survey<'_>, role: &model::Role) -> SignedDuration {
    let of_role = |host: &&HostView<'_>| host.role.name == role.name && host.out.is_none();
    let behind = |host: &&HostView<'_>| {
        host.state().is_none_or(|state| {
            let package = host.package_for(host.release, state);
            !(host.has_installed(state, &package) && host.is_running(survey, state, host.release, &package))
        })
    };
    let hosts = survey.hosts.iter().filter(of_role).filter(behind).count();
    let waves = hosts.div_ceil(role.max_unavailable.max(1));
    let one: SignedDuration = OF_A_HOST.iter().map(|kind| expected(survey.history, *kind)).sum();
    one * i32::try_from(waves).unwrap_or(i32::MAX)
}
