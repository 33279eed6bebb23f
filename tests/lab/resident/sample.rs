//! Makes many short requests, as fast as they are answered, to see who answers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Options;
use crate::report::Report;
use crate::request::{Client, Failure};
use crate::traffic::{answered_by, parse_targets};

/// Connections for each target: enough to keep two cores busy, too few to fill a queue.
const WORKERS: usize = 4;

struct Sample {
    left: AtomicU64,
    report: Mutex<Report>,
}

/// Asks every target in turn, `--count` requests in all, without cookies, and prints the totals.
pub(crate) fn take(options: &Options<'_>) -> Result<(), String> {
    let targets = parse_targets(options)?;
    let count = options.one("--count")?.parse().map_err(|error| format!("--count: {error}"))?;
    let sample = Sample { left: AtomicU64::new(count), report: Mutex::default() };
    let began = Instant::now();
    thread::scope(|scope| {
        for target in targets.iter().cycle().take(targets.len() * WORKERS) {
            scope.spawn(|| sample.ask(*target));
        }
    });
    let report = sample.report.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{}", report.json(began.elapsed()));
    Ok(())
}

impl Sample {
    fn ask(&self, target: SocketAddr) {
        let mut connection = None;
        while self.take_one() {
            let began = Instant::now();
            let outcome = request(target, &mut connection);
            self.count(target, began.elapsed(), outcome);
        }
    }

    fn take_one(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn count(&self, target: SocketAddr, took: Duration, outcome: Result<(String, String), Failure>) {
        // Totals stay true whatever happened to the thread that held them.
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(answer) => report.count("sample".to_owned(), false, took, answer),
            Err(failure) => {
                report.count_failure("sample".to_owned(), &format!("GET / from {target}"), &failure);
            }
        }
    }
}

/// One request over the connection that the last one left, or over a new one.
fn request(target: SocketAddr, connection: &mut Option<Client>) -> Result<(String, String), Failure> {
    let mut client = match connection.take() {
        Some(kept) => kept,
        None => Client::connect(target)?,
    };
    let answer = client.get("/", None, true)?;
    if !answer.closes {
        *connection = Some(client);
    }
    answered_by(&answer)
}
