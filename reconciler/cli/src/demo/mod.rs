//! `demo`: a fleet, a desired-state repository, the service, a commit that moves the fleet, a revert that takes it
//! back. Real hosts where root and Debian allow; else a simulated fleet that says that it is one.

mod lab;
mod repository;
mod simulated;
mod story;

use std::path::PathBuf;
use std::time::Duration;

use ::lab::LabError;
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Demo;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output;
use crate::paint::Paint;
use repository::Repository;
use story::Story;

/// The fleet of the example that users copy, which is that of the lab.
const ENVIRONMENT_TOML: &str =
    include_str!("../../../../examples/web/environments/production/environment.toml");

const FIRST: &str = ::lab::demo::FIRST;
const SECOND: &str = ::lab::demo::SECOND;

/// Time to read what was said.
const PAUSE: Duration = Duration::from_secs(2);

/// The demo's longest requests take 3 s. Clients bound by cookie stay until the deadline: nobody waits 30 s for them.
fn environment_toml() -> String {
    ENVIRONMENT_TOML.replace("drain = \"30s\"", "drain = \"5s\"")
}

/// Everything of the demo that lies on this machine; gone when it is dropped.
struct Place {
    folder: tempfile::TempDir,
    repository: Repository,
}

impl Place {
    fn make() -> Result<Self, CliError> {
        let folder = tempfile::Builder::new().prefix("reconcile-demo-").tempdir();
        let folder = folder.map_err(|error| CliError::file("make", &std::env::temp_dir(), &error))?;
        let repository =
            Repository::create(&folder.path().join("desired-state"), &environment_toml(), FIRST)?;
        Ok(Self { folder, repository })
    }

    fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }
}

/// Shows it. [`Exit::Done`] only when both commits converged.
pub(crate) async fn demo(args: &Demo) -> Result<Exit, CliError> {
    let shown = if args.simulated { Err("--simulated was asked for".to_owned()) } else { real(args).await? };
    match shown {
        Ok(exit) => Ok(exit),
        Err(why) => {
            say(&Paint::stdout().notice(format!("SIMULATED: no real host is involved, because {why}.")))?;
            interruptible(simulated::demo(args)).await
        }
    }
}

/// On real hosts; the inner error says why this machine cannot hold any.
async fn real(args: &Demo) -> Result<Result<Exit, String>, CliError> {
    output::aside("booting real Debian hosts in a network of their own; the first time takes some minutes");
    let hosts = match lab::Hosts::boot().await {
        Ok(hosts) => hosts,
        Err(LabError::Unavailable { why }) => return Ok(Err(format!("this machine can hold none: {why}"))),
        Err(error) => return Err(error.into()),
    };
    let exit = interruptible(lab::demo(&hosts, args)).await;
    // Ends every process of the lab, whatever the demo came to.
    let down = hosts.down().await;
    let exit = exit?;
    down?;
    Ok(Ok(exit))
}

/// A signal ends the demo, which still cleans up.
async fn interruptible(demo: impl Future<Output = Result<Exit, CliError>>) -> Result<Exit, CliError> {
    let mut terminate = signal(SignalKind::terminate())
        .map_err(|error| CliError::new(Exit::Unreachable, format!("cannot listen for signals: {error}")))?;
    tokio::select! {
        // Whatever the demo holds is dropped with it: folders, hosts, a service.
        ended = demo => ended,
        _ = ctrl_c() => Ok(Exit::Waiting),
        _ = terminate.recv() => Ok(Exit::Waiting),
    }
}

/// Where the demo is performed.
trait Stage {
    /// How the world fared so far.
    fn tally(&mut self) -> Result<String, CliError>;

    /// Fails when the service has gone: nothing would ever happen then.
    fn check(&mut self) -> Result<(), CliError>;
}

/// The three acts.
async fn perform(place: &Place, args: &Demo, stage: &mut impl Stage) -> Result<Exit, CliError> {
    let pause = if args.fast { Duration::ZERO } else { PAUSE };
    let mut story = Story::new(place.state_dir());
    say(&format!("The desired state is a git repository: {}", place.repository.path().display()))?;
    say("The service starts, and compares it with what every host really runs.")?;
    if !story.until_converged(place.repository.head()?, stage).await? {
        return Ok(Exit::Waiting);
    }
    tokio::time::sleep(pause).await;

    act("A commit bumps the version", &format!("-version = \"{FIRST}\"\n+version = \"{SECOND}\""))?;
    let bump = place.repository.commit_version(SECOND)?;
    if !story.until_converged(bump, stage).await? {
        return Ok(Exit::Waiting);
    }
    say(&stage.tally()?)?;
    tokio::time::sleep(pause).await;

    act("A revert commit takes it back", "git revert HEAD")?;
    let revert = place.repository.revert()?;
    if !story.until_converged(revert, stage).await? {
        return Ok(Exit::Waiting);
    }
    say(&stage.tally()?)?;
    say("\nBoth commits converged. Everything of the demo is removed now.")?;
    Ok(Exit::Done)
}

fn act(title: &str, what: &str) -> Result<(), CliError> {
    say(&format!("\n{}", Paint::stdout().bold(title)))?;
    for line in what.lines() {
        say(&format!("    {line}"))?;
    }
    Ok(())
}

fn say(text: &str) -> Result<(), CliError> {
    output::data(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demos_drains_are_short() {
        assert_eq!(environment_toml().matches("drain = \"5s\"").count(), 2);
    }
}
