//! How others reach a service that runs.

use std::collections::BTreeMap;

use model::{EnvironmentName, Recorded, Standing};
use tokio::sync::{broadcast, mpsc, watch};

use crate::memory::Events;
use crate::refusals::Refusals;
use crate::request::Request;

/// How every environment stands, for whoever waits for it.
pub type Standings = BTreeMap<EnvironmentName, (model::CommitId, Standing)>;

/// Where people's requests go, and news comes from.
#[derive(Clone)]
pub struct Handle {
    /// Requests; bounded, since people are slow.
    pub requests: mpsc::Sender<Request>,
    /// The newest standings.
    pub standings: watch::Receiver<Standings>,
    pub(crate) refusals: watch::Receiver<Refusals>,
    pub(crate) events: Events,
}

impl Handle {
    /// Every event from now on.
    pub fn events(&self) -> broadcast::Receiver<Recorded> {
        self.events.listen()
    }

    /// Plans that this service has refused, also after its end. A test of the whole service fails on any.
    pub fn refusals(&self) -> Refusals {
        self.refusals.borrow().clone()
    }
}
