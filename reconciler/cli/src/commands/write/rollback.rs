//! `rollback`: main goes back to a version that it was to run before.

use model::{Desired, EnvironmentName, Track, Version};
use store::edit::Edit;

use super::{Intent, Place, write};
use crate::args::{CommandLine, Rollback};
use crate::error::CliError;
use crate::exit::Exit;

pub(crate) async fn rollback(line: &CommandLine, args: &Rollback) -> Result<Exit, CliError> {
    let place = Place::open(line, &args.writing)?;
    let desired = place.desired(&args.environment).await?;
    let targets = place.source.main_targets(&EnvironmentName::new(&args.environment)).await;
    let targets = targets.map_err(|error| CliError::new(Exit::Unreachable, error))?;
    let to = earlier(&desired, &targets, args.version.as_ref())?;
    let from = Some(desired.target.clone());
    let mut edits = vec![Edit::Version { track: Track::Main, from: from.clone(), to: to.clone() }];
    if desired.canary.is_some_and(|canary| canary.version == desired.target) {
        edits.push(Edit::Version { track: Track::Canary, from, to: to.clone() });
    }
    let subject = format!("{}: roll back from {} to {to}", args.environment, desired.target);
    write(line, &args.writing, &place, Intent::new(&args.environment, edits, subject)).await
}

/// The version that is meant, which main was to run before the present one.
fn earlier(desired: &Desired, targets: &[Version], named: Option<&Version>) -> Result<Version, CliError> {
    let now = &desired.target;
    let place = targets.iter().position(|version| version == now).unwrap_or(targets.len());
    let before = &targets[..place];
    let allowed: Vec<&Version> =
        before.iter().filter(|version| desired.exceptions.veto(version).is_none()).collect();
    let newest: Vec<&str> = allowed.iter().rev().take(5).map(|version| version.as_str()).collect();
    let choice = match newest.is_empty() {
        true => format!("git knows nothing before {now} in {}", desired.environment),
        false => format!("before {now} there were: {}", newest.join(", ")),
    };
    let Some(named) = named else {
        let previous = allowed.last().copied().cloned();
        return previous.ok_or_else(|| CliError::new(Exit::Usage, choice));
    };
    if let Some(veto) = desired.exceptions.veto(named) {
        return Err(CliError::new(Exit::Usage, format!("{named} is vetoed: {}", veto.reason)).hint(choice));
    }
    if before.contains(named) {
        return Ok(named.clone());
    }
    let why =
        format!("{named} is not a version that main of {} was to run before {now}", desired.environment);
    Err(CliError::new(Exit::Usage, why).hint(format!("{choice}; forward is `reconcile promote`")))
}
