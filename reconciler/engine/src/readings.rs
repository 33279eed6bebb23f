//! Readings of git on their way into the service, and what the journal says of them.

use std::sync::Arc;

use jiff::Timestamp;
use model::{Event, Reading};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::seams::{Source, World};

pub(crate) fn refusal(reading: &Reading) -> Option<Event> {
    match &reading.obstacle {
        Some(model::Reason::RevisionInvalid { commit, .. }) => {
            Some(Event::Refused { commit: commit.clone(), errors: reading.errors.clone() })
        }
        _ => None,
    }
}

/// Reads git at once, and again whenever there may be something new. One reading waits at most: a newer one is read
/// after it.
pub(crate) fn watch_source<W: World, S: Source>(
    source: Arc<S>,
    clock: Clock<W>,
    stop: CancellationToken,
) -> mpsc::Receiver<(Timestamp, Reading)> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let follow = async {
            loop {
                let reading = source.read().await;
                if sender.send((clock.now(), reading)).await.is_err() {
                    return;
                }
                source.changed().await;
            }
        };
        tokio::select! {
            biased;
            // Dropping a reading loses nothing: the next service reads again.
            () = stop.cancelled() => {}
            () = follow => {}
        }
    });
    receiver
}
