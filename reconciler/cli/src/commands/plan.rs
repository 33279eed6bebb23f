//! `plan`: what would happen, and why not more. Changes nothing.
//!
//! Hosts are read as the accepted commit says, also when the plan is for other files: those are a stranger's, and
//! nothing in them is run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use engine::World;
use model::{Desired, EnvironmentName, Observed, Revision, Stage, Standing, Track, Version};
use store::git::revision_of_folder;

use crate::args::{CommandLine, Plan, PlanFormat};
use crate::config::Config;
use crate::documents::{DOCUMENT_FORMAT, PlanDocument, PlannedEnvironment};
use crate::error::CliError;
use crate::exit::Exit;
use crate::look::Sight;
use crate::memory::Memory;
use crate::paint::Paint;
use crate::wiring::{self, PassingSource};
use crate::{look, output, render};

pub(super) async fn plan(line: &CommandLine, args: &Plan) -> Result<Exit, CliError> {
    let config = Config::read(&line.config)?;
    let Candidate { accepted, wanted, git, warnings } = candidate(&config, args).await?;
    let wanted = chosen(wanted, args.environment.as_deref())?;
    let (sender, receiver) = wiring::desired_channel();
    sender.send_replace(Arc::new(accepted.environments.clone()));
    let world = Arc::new(wiring::live_world(&config, receiver)?);
    let mut memory = Memory::read(&config.state_dir, &config.service, world.now())?;
    let mut environments = Vec::new();
    for (name, mut desired) in wanted {
        let accepted = accepted.environments.get(&name);
        if let Some(accepted) = accepted {
            desired.ranks = ranks(&accepted.ranks, desired.ranks);
        }
        let observed = match accepted {
            Some(accepted) => look::observe_all(&world, accepted).await,
            None => Observed::default(),
        };
        let now = world.now();
        let history = memory.of(&desired, accepted, &observed, now);
        let remembers = memory.is_known();
        let sight = Sight { desired: &desired, observed: &observed, history, remembers };
        let mut planned = look::plan(sight, now, args.whole);
        planned.plan.notes.extend(unknown_hosts(&desired, accepted));
        let forgets = !remembers && has_past(&desired);
        planned.plan.notes.extend(forgets.then(|| unknown_past(&config.state_dir)));
        environments.push(planned);
    }
    let document = PlanDocument { format: DOCUMENT_FORMAT, at: world.now(), warnings, environments };
    print(line, args, &document)?;
    Ok(document.environments.iter().map(exit).fold(git, Exit::or_worse))
}

/// Targets by their first appearance. What was accepted comes first: a candidate's own history may be a shallow clone,
/// or a branch that lacks the newest targets.
fn ranks(accepted: &[Version], candidate: Vec<Version>) -> Vec<Version> {
    let mut ranks = accepted.to_vec();
    ranks.extend(candidate.into_iter().filter(|version| !accepted.contains(version)));
    ranks
}

/// Whether a release depends on what happened before.
fn has_past(desired: &Desired) -> bool {
    let policy = &desired.fleet.policy;
    let watched =
        |stage: &Stage| !(stage.gates.is_empty() && stage.checks.is_empty() && stage.soak.is_zero());
    let promotes = [Track::Canary, Track::Main].iter().any(|track| policy.promotion.of(*track).is_some());
    promotes || policy.migrations.is_some() || policy.stages.iter().any(watched)
}

/// What a plan without the journal cannot tell.
fn unknown_past(state_dir: &Path) -> String {
    format!(
        "there is no journal in {}: passed stages and checks, promotions, pauses and post-deployment migrations are not \
         known here; what runs counts as migrated, and targets as promoted. `plan` knows them where the service's own \
         state directory can be read: name it as `state_dir` in the file that --config names",
        state_dir.display()
    )
}

/// What to plan for, and with whose eyes.
struct Candidate {
    accepted: Revision,
    wanted: Revision,
    /// What stands in the way of git's newest commit, where that is what was asked for.
    git: Exit,
    warnings: Vec<String>,
}

async fn candidate(config: &Config, args: &Plan) -> Result<Candidate, CliError> {
    let source = PassingSource::open(config)?;
    let (accepted, git) = source.accepted(config).await?;
    let look = match (&args.path, &args.reference) {
        (Some(folder), _) => Some(revision_of_folder(folder)?),
        (None, Some(revision)) => Some(source.read_at(config, revision).await?),
        (None, None) => None,
    };
    Ok(match look {
        Some(look) => Candidate {
            accepted,
            wanted: look.revision,
            git: Exit::Done,
            warnings: look.warnings.iter().map(ToString::to_string).collect(),
        },
        None => Candidate { wanted: accepted.clone(), accepted, git, warnings: Vec::new() },
    })
}

fn chosen(wanted: Revision, only: Option<&str>) -> Result<BTreeMap<EnvironmentName, Desired>, CliError> {
    let mut environments = wanted.environments;
    let Some(only) = only else { return Ok(environments) };
    match environments.remove_entry(only) {
        Some(found) => Ok(BTreeMap::from([found])),
        None => Err(CliError::no_environment(only, environments.keys().map(EnvironmentName::as_str))),
    }
}

/// Hosts of the candidate that are not looked at, because no accepted commit has them.
fn unknown_hosts(desired: &Desired, accepted: Option<&Desired>) -> Option<String> {
    let known =
        |host: &model::HostName| accepted.is_some_and(|accepted| accepted.fleet.role_of(host).is_some());
    let new: Vec<&str> = desired
        .fleet
        .hosts()
        .map(|(_, host)| host)
        .filter(|host| !known(host))
        .map(|host| host.as_str())
        .collect();
    (!new.is_empty()).then(|| format!("not looked at before this is accepted: {}", new.join(", ")))
}

fn print(line: &CommandLine, args: &Plan, document: &PlanDocument) -> Result<(), CliError> {
    match args.format {
        PlanFormat::Markdown => output::data(&render::markdown::markdown(document)),
        PlanFormat::Human if !line.json => {
            for warning in &document.warnings {
                output::aside(&format!("warning: {}", render::one_line(warning)));
            }
            output::data(&render::plan::plan(document, Paint::stdout()))
        }
        PlanFormat::Human | PlanFormat::Json => output::json(document),
    }
}

fn exit(planned: &PlannedEnvironment) -> Exit {
    if !planned.refused_plan.is_empty() {
        return Exit::Bug;
    }
    match planned.standing {
        Standing::Waiting | Standing::Halted if !planned.unseen.is_empty() => Exit::Unreachable,
        standing => standing.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    #[test]
    fn a_branch_that_lacks_the_newest_targets_does_not_change_their_order() {
        let versions = |texts: &[&str]| -> Vec<Version> {
            texts.iter().map(|text| Version::parse(text).unwrap()).collect()
        };
        let merged = ranks(&versions(&["1.0", "1.1", "1.2"]), versions(&["1.0", "1.1", "1.3"]));
        assert_eq!(merged, versions(&["1.0", "1.1", "1.2", "1.3"]));
    }

    #[test]
    fn the_exit_code_tells_pending_from_waiting_from_unreachable() {
        let mut planned = samples::planned(false).environments.remove(0);
        assert_eq!(exit(&planned), Exit::Pending);
        planned.standing = Standing::Waiting;
        assert_eq!(exit(&planned), Exit::Unreachable);
        planned.unseen.clear();
        assert_eq!(exit(&planned), Exit::Waiting);
        planned.standing = Standing::Converged;
        assert_eq!(exit(&planned), Exit::Done);
        planned.refused_plan.push(samples::finding());
        assert_eq!(exit(&planned), Exit::Bug);
    }
}
