//! `promote`: a version that has passed goes to the next track.

use model::{Desired, Histories, Requirement, Track, Version};
use store::JournalReader;
use store::edit::Edit;

use super::{Intent, Place, write};
use crate::args::{CommandLine, Promote};
use crate::config::Config;
use crate::error::CliError;
use crate::exit::Exit;

pub(crate) async fn promote(line: &CommandLine, args: &Promote) -> Result<Exit, CliError> {
    let place = Place::open(line, &args.writing)?;
    let desired = place.desired(&args.environment).await?;
    let track = Track::from(args.track);
    let version = match (&args.version, track) {
        (Some(version), _) => version.clone(),
        (None, Track::Main) => canary(&desired)?,
        (None, Track::Canary) => newest_passed(&desired, place.config.as_ref())?,
    };
    if let Some(veto) = desired.exceptions.veto(&version) {
        let why = format!("{version} is vetoed in {}: {}", args.environment, veto.reason);
        return Err(
            CliError::new(Exit::Usage, why).hint("name another VERSION, or lift it: `reconcile veto --undo`")
        );
    }
    let from = match track {
        Track::Main => Some(desired.target),
        Track::Canary => desired.canary.map(|canary| canary.version),
    };
    let subject = format!("{}: {track} to {version}", args.environment);
    let intent = Intent::new(&args.environment, vec![Edit::Version { track, from, to: version }], subject);
    write(line, &args.writing, &place, intent).await
}

fn canary(desired: &Desired) -> Result<Version, CliError> {
    let version = desired.canary.as_ref().map(|canary| canary.version.clone());
    version.ok_or_else(|| {
        CliError::new(Exit::Usage, format!("{} has no [canary] to promote from", desired.environment))
            .hint("name the VERSION")
    })
}

/// The version that passed the required environment last, and is not vetoed here.
fn newest_passed(desired: &Desired, config: Option<&Config>) -> Result<Version, CliError> {
    let unclear = |why: String| CliError::new(Exit::Usage, why).hint("name the VERSION");
    let required = match &desired.fleet.policy.promotion.canary_requires {
        Some(Requirement::Environment(required)) => required,
        Some(Requirement::Canary) | None => {
            let why = format!("{} requires no other environment for its canary", desired.environment);
            return Err(unclear(why));
        }
    };
    let config = config.ok_or_else(|| {
        unclear("what has passed stands in the service's journal, and --repository names none".to_owned())
    })?;
    let journal = JournalReader::open_read_only(&config.state_dir)?.replay()?;
    let mut histories = Histories::replay(&journal).map_err(|(_, illegal)| CliError::from(illegal))?;
    let released = &histories.of(&desired.environment).progress.released;
    let passed = released.get(&(required.clone(), Track::Main)).into_iter().flatten();
    let allowed = passed.filter(|(version, _)| desired.exceptions.veto(version).is_none());
    let newest = allowed.max_by_key(|(_, pass)| pass.at).map(|(version, _)| version.clone());
    newest.ok_or_else(|| unclear(format!("the journal knows no version that has passed {required}")))
}
