//! Tells what a service does while it does it, on stderr.

use model::Recorded;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::output::aside;
use crate::paint::Paint;
use crate::render::event::Teller;

/// Tells until the service has ended.
pub(crate) async fn tell(mut events: broadcast::Receiver<Recorded>) {
    let mut teller = Teller::of_progress(Paint::stderr());
    loop {
        match events.recv().await {
            Ok(recorded) => {
                if let Some(line) = teller.line(&recorded) {
                    aside(&line);
                }
            }
            Err(RecvError::Lagged(missed)) => {
                aside(&format!("… {missed} events not shown; see `reconcile history`"))
            }
            Err(RecvError::Closed) => return,
        }
    }
}
