//! The demo application: warms up, answers which host and version it is, stops at once on SIGTERM.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::Options;
use crate::response::{Connection, Request, listen};

/// Bytes of padding, so that an answer takes more than one write and can be cut in the middle.
const PADDING: usize = 1024;

const SLOW: Duration = Duration::from_secs(3);

struct App {
    host: String,
    version: String,
    /// What it was told to say, if anything.
    message: Option<String>,
    started: Instant,
    warm_up: Duration,
    /// A release that is broken never becomes ready.
    becomes_ready: bool,
}

/// Serves until it is killed. The files are read once: the version and the message that answer are those
/// that were installed when the process started, whatever is on disk by now.
pub(crate) fn serve(options: &Options<'_>) -> Result<(), String> {
    let path = options.one("--release")?;
    let release = fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let facts: BTreeMap<&str, &str> = release.lines().filter_map(|line| line.split_once('=')).collect();
    let fact = |name: &str| facts.get(name).copied().ok_or_else(|| format!("{path} has no line {name}="));
    let host = fs::read_to_string("/proc/sys/kernel/hostname").map_err(|error| error.to_string())?;
    let message = options.all("--message").first().map(|path| read_message(path)).transpose()?;
    let warm_up = fact("warm_up_ms")?.parse().map_err(|error| format!("{path}: warm_up_ms: {error}"))?;
    let app = Arc::new(App {
        host: host.trim().to_owned(),
        version: fact("version")?.to_owned(),
        message,
        started: Instant::now(),
        warm_up: Duration::from_millis(warm_up),
        becomes_ready: fact("ready")? == "yes",
    });
    listen(options.one("--listen")?, move |connection| app.converse(connection))
}

fn read_message(path: &str) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    Ok(text.trim().to_owned())
}

impl App {
    fn ready(&self) -> bool {
        self.becomes_ready && self.started.elapsed() >= self.warm_up
    }

    fn converse(&self, connection: &mut Connection) -> io::Result<()> {
        while let Some(request) = connection.next()? {
            self.answer(connection, &request)?;
            if !request.keep_alive {
                break;
            }
        }
        Ok(())
    }

    fn answer(&self, connection: &mut Connection, request: &Request) -> io::Result<()> {
        let keep = request.keep_alive;
        // The same application behind a second backend, which binds clients by cookie.
        let path = request.path.strip_prefix("/sticky").unwrap_or(&request.path);
        match path {
            "/-/version" => connection.answer("200 OK", &format!("{}\n", self.version), keep),
            _ if !self.ready() => connection.answer("503 Service Unavailable", "not ready\n", keep),
            "/-/readiness" => connection.answer("200 OK", "ready\n", keep),
            "/slow" => self.answer_slowly(connection, keep),
            "/endless" => answer_for_ever(connection),
            "/message" => {
                let message = self.message.as_deref().unwrap_or_default();
                connection.answer("200 OK", &format!("{message}\n"), keep)
            }
            "" | "/" => connection.answer("200 OK", &self.body(), keep),
            _ => connection.answer("404 Not Found", "no such page\n", keep),
        }
    }

    fn body(&self) -> String {
        let padding = "·".repeat(PADDING / 2);
        format!("{{\"host\":\"{}\",\"version\":\"{}\",\"padding\":\"{padding}\"}}\n", self.host, self.version)
    }

    /// Half of the answer in the middle of the wait, so that a stop cuts some requests before their
    /// first byte and some after it.
    fn answer_slowly(&self, connection: &mut Connection, keep: bool) -> io::Result<()> {
        let body = self.body();
        let (first, second) = body.as_bytes().split_at(body.len() / 2);
        thread::sleep(SLOW / 2);
        connection.head("200 OK", "text/plain", body.len() as u64, keep)?;
        connection.output.write_all(first)?;
        thread::sleep(SLOW / 2);
        connection.output.write_all(second)
    }
}

/// A session that never ends by itself: a byte a second of an answer that nobody will see the end of.
fn answer_for_ever(connection: &mut Connection) -> io::Result<()> {
    connection.head("200 OK", "text/plain", u64::from(u32::MAX), false)?;
    loop {
        connection.output.write_all(b".")?;
        thread::sleep(Duration::from_secs(1));
    }
}
