//! Makes requests at a steady rate through every target and counts each one that goes wrong.
//!
//! On standard input: a line `snapshot` is answered with the totals so far; the end of the input stops
//! it, lets requests in flight finish, and prints the totals. So it never outlives who started it.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Options;
use crate::report::Report;
use crate::request::{Answer, Client, Failure};

/// Pause between the starts of two requests of one worker, longer than a request takes, so that the
/// rate does not depend on how fast the answers come.
const FAST: Duration = Duration::from_millis(100);
const SLOW: Duration = Duration::from_millis(3300);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    KeepAlive,
    Fresh,
    Sticky,
}

/// Half of the workers keep a connection, a quarter opens a new one each time, a quarter is bound to a
/// server by its cookie.
const KINDS: [(Kind, &str); 4] = [
    (Kind::KeepAlive, "keep-alive"),
    (Kind::Fresh, "fresh"),
    (Kind::KeepAlive, "keep-alive"),
    (Kind::Sticky, "sticky"),
];

struct Shared {
    report: Mutex<Report>,
    stopping: AtomicBool,
    started: Instant,
    versions: Vec<String>,
}

impl Shared {
    fn report(&self) -> MutexGuard<'_, Report> {
        // Totals stay true whatever happened to the thread that held them.
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn print(&self, elapsed: Duration) -> Result<(), String> {
        let line = self.report().json(elapsed);
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")
            .and_then(|()| out.flush())
            .map_err(|error| format!("cannot print totals: {error}"))
    }
}

/// Runs until standard input ends.
pub(crate) fn generate(options: &Options<'_>) -> Result<(), String> {
    let targets = parse_targets(options)?;
    let rate: f64 = options.one("--rate")?.parse().map_err(|error| format!("--rate: {error}"))?;
    let shared = Arc::new(Shared {
        report: Mutex::default(),
        stopping: AtomicBool::new(false),
        started: Instant::now(),
        versions: options.all("--version").into_iter().map(str::to_owned).collect(),
    });
    // A tenth of the requests is slow.
    let slow = (rate * 0.1 * SLOW.as_secs_f64()).ceil() as usize;
    let fast = (rate * 0.9 * FAST.as_secs_f64()).ceil() as usize;
    let mut threads = Vec::new();
    for (count, pause) in [(slow, SLOW), (fast, FAST)] {
        for index in 0..count {
            let worker = Worker::new(index, count, pause, &targets, Arc::clone(&shared));
            let thread = thread::Builder::new().stack_size(256 * 1024).spawn(move || worker.run());
            threads.push(thread.map_err(|error| format!("cannot start a worker: {error}"))?);
        }
    }
    obey(&shared)?;
    // The rate is over the time in which requests were started; those in flight still count.
    let elapsed = shared.started.elapsed();
    for thread in threads {
        thread.join().map_err(|_| "a worker panicked: its counts are lost".to_owned())?;
    }
    shared.print(elapsed)
}

/// The load balancers to ask.
pub(crate) fn parse_targets(options: &Options<'_>) -> Result<Vec<SocketAddr>, String> {
    let targets: Vec<SocketAddr> =
        options.all("--target").into_iter().map(parse_target).collect::<Result<_, _>>()?;
    if targets.is_empty() { Err("--target is missing".to_owned()) } else { Ok(targets) }
}

fn parse_target(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|error| format!("--target {text}: {error}"))
}

fn obey(shared: &Shared) -> Result<(), String> {
    for line in io::stdin().lock().lines() {
        match line {
            Ok(word) if word.trim() == "snapshot" => shared.print(shared.started.elapsed())?,
            Ok(word) => eprintln!("unknown word {word:?}: expected snapshot, or the end of the input"),
            Err(_) => break,
        }
    }
    shared.stopping.store(true, Ordering::Relaxed);
    Ok(())
}

struct Worker {
    target: SocketAddr,
    kind: Kind,
    label: String,
    slow: bool,
    first: Duration,
    pause: Duration,
    connection: Option<Client>,
    cookie: Option<String>,
    shared: Arc<Shared>,
}

impl Worker {
    fn new(index: usize, of: usize, pause: Duration, targets: &[SocketAddr], shared: Arc<Shared>) -> Self {
        let (kind, name) = KINDS[(index / targets.len()) % KINDS.len()];
        let slow = pause == SLOW;
        Self {
            target: targets[index % targets.len()],
            kind,
            label: format!("{name}{}", if slow { " slow" } else { "" }),
            slow,
            // Spread over the pause, else all would ask at the same instant.
            first: pause.mul_f64(index as f64 / of as f64),
            pause,
            connection: None,
            cookie: None,
            shared,
        }
    }

    fn run(mut self) {
        let mut due = Instant::now() + self.first;
        while self.wait_until(due) {
            self.request();
            // A request that outlasts the pause must not be followed by a burst.
            due = (due + self.pause).max(Instant::now());
        }
    }

    fn wait_until(&self, due: Instant) -> bool {
        loop {
            if self.shared.stopping.load(Ordering::Relaxed) {
                return false;
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(FAST));
        }
    }

    fn request(&mut self) {
        let path = match (self.kind, self.slow) {
            (Kind::Sticky, true) => "/sticky/slow",
            (Kind::Sticky, false) => "/sticky/",
            (_, true) => "/slow",
            (_, false) => "/",
        };
        let began = Instant::now();
        let outcome = self.get(path).and_then(|answer| self.judge(&answer));
        let mut report = self.shared.report();
        match outcome {
            Ok(answer) => report.count(self.label.clone(), self.slow, began.elapsed(), answer),
            Err(failure) => {
                let at = self.shared.started.elapsed().as_secs_f64();
                let context = format!(
                    "{at:.1}s GET {path} from {} ({}, {:?})",
                    self.target,
                    self.label,
                    began.elapsed()
                );
                report.count_failure(self.label.clone(), &context, &failure);
            }
        }
    }

    fn get(&mut self, path: &str) -> Result<Answer, Failure> {
        let keep = self.kind != Kind::Fresh;
        let mut connection = match self.connection.take() {
            Some(kept) => kept,
            None => Client::connect(self.target)?,
        };
        let answer = connection.get(path, self.cookie.as_deref(), keep)?;
        if keep && !answer.closes {
            self.connection = Some(connection);
        }
        if self.kind == Kind::Sticky && answer.cookie.is_some() {
            self.cookie.clone_from(&answer.cookie);
        }
        Ok(answer)
    }

    /// The host and version that answered, if this fleet may give that answer.
    fn judge(&self, answer: &Answer) -> Result<(String, String), Failure> {
        let (host, version) = answered_by(answer)?;
        let expected = self.shared.versions.is_empty() || self.shared.versions.contains(&version);
        if expected {
            Ok((host, version))
        } else {
            Err(Failure::Wrong(format!("version {version} of {host}")))
        }
    }
}

/// The host and version that gave an answer, if it is whole.
pub(crate) fn answered_by(answer: &Answer) -> Result<(String, String), Failure> {
    let text = String::from_utf8_lossy(&answer.body);
    let wrong = || Failure::Wrong(text.chars().take(80).collect());
    if !text.ends_with("\"}\n") {
        return Err(wrong());
    }
    let host = field(&text, "host").ok_or_else(wrong)?;
    let version = field(&text, "version").ok_or_else(wrong)?;
    Ok((host.to_owned(), version.to_owned()))
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(&format!("\"{name}\":\""))?;
    after.split_once('"').map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let text = "{\"host\":\"web-01\",\"version\":\"1.0.0-1\"}\n";
        assert_eq!(field(text, "host"), Some("web-01"));
        assert_eq!(field(text, "version"), Some("1.0.0-1"));
        assert_eq!(field(text, "colour"), None);
    }
}
