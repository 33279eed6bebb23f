//! The demo on a simulated fleet: the shipping service, planner, journal and git source; only the hosts are pretended.

use std::sync::Arc;

use jiff::Timestamp;
use model::Version;
use simulation::{Pace, Settings, SimWorld, Span};
use store::{GitConfig, GitSource, Remote, SqliteJournal, StateLock};

use super::{FIRST, Place, Stage, perform};
use crate::args::Demo;
use crate::error::CliError;
use crate::exit::Exit;
use crate::runner::{Parts, Runner};
use crate::wiring;

const SERVICE: &str = "demo";

pub(super) async fn demo(args: &Demo) -> Result<Exit, CliError> {
    let place = Place::make()?;
    let state_dir = place.state_dir();
    let _lock = StateLock::take(&state_dir, Timestamp::now())?;
    let world = world(&place, if args.fast { hasty() } else { Pace::brisk() })?;
    let remote = Remote::Local(place.repository.path().to_owned());
    let (desired, _receiver) = wiring::desired_channel();
    let runner = Runner::start(Parts {
        world: Arc::new(world.clone()),
        journal: Arc::new(SqliteJournal::open(&state_dir)?),
        source: Arc::new(GitSource::open(GitConfig::new(remote, "main", wiring::mirror_dir(&state_dir)))?),
        name: SERVICE.to_owned(),
        desired,
    })?;
    let mut stage = Simulated { world, runner };
    let exit = perform(&place, args, &mut stage).await;
    stage.runner.stop().await?;
    exit
}

/// Every host runs the first version.
fn world(place: &Place, pace: Pace) -> Result<SimWorld, CliError> {
    let look = store::git::revision_of_folder(place.repository.path())?;
    let desired = look.revision.environments.get("production");
    let desired = desired.ok_or_else(|| CliError::no_environment("production", std::iter::empty()))?;
    let first = Version::parse(FIRST).map_err(|error| CliError::new(Exit::Bug, error.to_string()))?;
    let settings = Settings { seed: 7, pace, epoch: Timestamp::now(), traced: false };
    Ok(SimWorld::with(&desired.fleet, &first, settings).as_service(SERVICE))
}

/// For whoever wants to see only that it works.
fn hasty() -> Pace {
    Pace {
        trip: Span::ms(2, 10),
        look: Span::ms(2, 10),
        download: Span::ms(20, 60),
        unpack: Span::ms(50, 150),
        command: Span::ms(10, 30),
        restart: Span::ms(20, 50),
        warm_up: Span::ms(20, 80),
        session: Span::ms(10, 200),
        check_ms: 50,
        ..Pace::brisk()
    }
}

/// A service in this process, on a pretended fleet.
struct Simulated {
    world: SimWorld,
    runner: Runner,
}

impl Stage for Simulated {
    fn tally(&mut self) -> Result<String, CliError> {
        let (lost, broken) = (self.world.lost_sessions(), self.world.violations());
        let promises =
            if broken.is_empty() { String::new() } else { format!("; BROKEN PROMISES: {broken:?}") };
        Ok(format!("  {lost} of the simulated sessions were cut off{promises}"))
    }

    fn check(&mut self) -> Result<(), CliError> {
        if self.runner.has_ended() {
            Err(CliError::new(Exit::Bug, "the service has ended early"))
        } else {
            Ok(())
        }
    }
}
