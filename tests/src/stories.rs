//! What the stories share: a lab each, one at a time, since two cores carry one lab and its traffic.

use std::sync::{Mutex, PoisonError};

use lab::{Lab, LabSpec};

use crate::deployment::Deployment;

/// Good versions of the demo packages.
pub const OLD: &str = "1.0.0-1";
/// A good version above [`OLD`].
pub const NEW: &str = "1.1.0-1";

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Boots a lab and tells the story in it; says so when it cannot.
///
/// # Panics
/// When the lab does not boot, or the story fails.
pub fn in_a_lab(name: &str, spec: impl FnOnce(LabSpec) -> LabSpec, story: impl FnOnce(&Lab)) {
    in_the_lab_of(&spec(LabSpec::standard(name)), story);
}

/// As [`in_a_lab`], with hosts of one's own.
///
/// # Panics
/// When the lab does not boot, or the story fails.
pub fn in_the_lab_of(spec: &LabSpec, story: impl FnOnce(&Lab)) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    match Lab::up_or_skip(spec)
        .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
    {
        Some(lab) => {
            story(&lab);
            lab.down().expect("the lab goes away");
        }
        None => eprintln!("{}: SKIPPED, there is no lab here", spec.name),
    }
}

/// A lab of the standard fleet, everything well, with the service running and converged on [`OLD`].
pub fn on_a_fleet(name: &str, program: &str, story: impl FnOnce(&mut Deployment<'_>)) {
    in_a_lab(
        name,
        |spec| spec,
        |lab| {
            let mut deployment = Deployment::new(lab, program, OLD);
            let first = deployment.git(&["rev-parse", "HEAD"]);
            deployment.serve();
            deployment.converges(&first, 60);
            deployment.all_is_well(60);
            story(&mut deployment);
            deployment.stop();
        },
    );
}
