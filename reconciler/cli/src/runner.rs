//! The service within this process: started, asked, stopped.

use std::path::PathBuf;
use std::sync::Arc;

use engine::{DesiredByName, Handle, Journal, Report, Request, Service, Source, World};
use model::{CommitId, EnvironmentName, Reading, ReleaseEdit};
use store::{SqliteJournal, StateLock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::control::{ControlSocket, request};
use crate::error::CliError;
use crate::exit::Exit;
use crate::wiring;

/// A running service. Dropping it abandons it; [`Runner::stop`] ends it in order.
pub(crate) struct Runner {
    pub(crate) handle: Handle,
    pub(crate) stop: CancellationToken,
    service: JoinHandle<()>,
    control: Option<JoinHandle<()>>,
    _lock: Option<StateLock>,
}

/// Everything a service is made of.
pub(crate) struct Parts<W, J, S> {
    pub(crate) world: Arc<W>,
    pub(crate) journal: Arc<J>,
    pub(crate) source: Arc<S>,
    pub(crate) name: String,
    pub(crate) desired: watch::Sender<Arc<DesiredByName>>,
}

impl Runner {
    /// Takes the state directory and starts the live service on it; `only`: for one environment alone. Needs a
    /// runtime, and answers on the control socket.
    pub(crate) fn live(config: &Config, only: Option<EnvironmentName>) -> Result<Self, CliError> {
        let lock = StateLock::take(&config.state_dir, jiff::Timestamp::now())?;
        let control = open_control(config.control_socket())?;
        let (sender, receiver) = wiring::desired_channel();
        let parts = Parts {
            world: Arc::new(wiring::live_world(config, receiver)?),
            journal: Arc::new(SqliteJournal::open(&config.state_dir)?),
            source: Arc::new(Only { source: wiring::open_source(config)?, environment: only }),
            name: config.service.clone(),
            desired: sender,
        };
        let mut runner = Self::start(parts)?;
        runner.control = Some(tokio::spawn(control.serve(runner.handle.clone())));
        runner._lock = Some(lock);
        Ok(runner)
    }

    /// Starts a service of these parts.
    pub(crate) fn start<W: World, J: Journal, S: Source>(parts: Parts<W, J, S>) -> Result<Self, CliError> {
        let stop = CancellationToken::new();
        let Parts { world, journal, source, name, desired } = parts;
        let (service, handle) = Service::start(world, journal, source, &name, desired, stop.clone())?;
        Ok(Self { handle, stop, service: tokio::spawn(service.run()), control: None, _lock: None })
    }

    /// How everything stands. None: the service has ended.
    pub(crate) async fn report(&self) -> Option<Report> {
        request(&self.handle, |reply| Request::Report { reply }).await
    }

    /// Whether the service has ended, in order or not.
    pub(crate) fn has_ended(&self) -> bool {
        self.service.is_finished()
    }

    /// Waits until the service has ended, which happens when somebody stops it.
    pub(crate) async fn ended(mut self) -> Result<(), CliError> {
        let ended = (&mut self.service).await;
        if let Some(control) = self.control.take() {
            control.abort();
            // Aborted, as it should be: its socket's file is gone now.
            let _ = control.await;
        }
        ended.map_err(|panic| {
            CliError::new(Exit::Bug, format!("the service ended early: {panic}"))
                .hint("this is a bug in reconcile, please report it")
        })
    }

    /// Ends the service in order.
    pub(crate) async fn stop(self) -> Result<(), CliError> {
        self.stop.cancel();
        self.ended().await
    }
}

fn open_control(path: PathBuf) -> Result<ControlSocket, CliError> {
    ControlSocket::open(&path).map_err(|error| CliError::file("open the control socket", &path, &error))
}

/// The first SIGTERM or SIGINT stops in order, the second ends the process at once: what runs on hosts goes on and is
/// found again by the next service.
pub(crate) fn obey_signals(stop: CancellationToken) -> Result<(), CliError> {
    let failed = |error| CliError::new(Exit::Unreachable, format!("cannot listen for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::spawn(async move {
        for times in 1.. {
            tokio::select! {
                // Both may be dropped at any time: a signal that was not taken stays.
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if times > 1 {
                std::process::exit(i32::from(Exit::Waiting as u8));
            }
            crate::output::aside("stopping; once more ends at once");
            stop.cancel();
        }
    });
    Ok(())
}

/// A source that shows one environment alone.
struct Only<S> {
    source: S,
    environment: Option<EnvironmentName>,
}

impl<S: Source> Source for Only<S> {
    async fn read(&self) -> Reading {
        let mut reading = self.source.read().await;
        if let (Some(only), Some(revision)) = (&self.environment, &mut reading.revision) {
            revision.environments.retain(|name, _| name == only);
        }
        reading
    }

    async fn changed(&self) {
        self.source.changed().await;
    }

    async fn accept_history(&self, commit: &CommitId) -> Result<(), String> {
        self.source.accept_history(commit).await
    }

    async fn commit(&self, edit: &ReleaseEdit) -> Result<CommitId, String> {
        self.source.commit(edit).await
    }
}
