//! What reads bytes from outside, fed with anything. A target takes bytes and panics when a promise is broken; the
//! tests beside it run every target for a moment, `run` runs one for as long as you like, guided by coverage.

mod checks;
mod desired;
mod gates;
mod haproxy;
mod host;
mod journal;
mod packages;
mod repository;

use std::borrow::Cow;

use serde_json::Value;

/// One reader of bytes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folder of samples.
    pub name: &'static str,
    /// Reads anything. Panics when what it read, or refused, is not as promised.
    pub read: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 11] = [
    Target { name: "environment", read: repository::environment },
    Target { name: "release", read: repository::release },
    Target { name: "haproxy", read: haproxy::node },
    Target { name: "haproxy-commands", read: haproxy::commands },
    Target { name: "host", read: host::host },
    Target { name: "patch", read: packages::patch },
    Target { name: "versions", read: packages::versions },
    Target { name: "alertmanager", read: gates::alertmanager },
    Target { name: "prometheus", read: gates::prometheus },
    Target { name: "checks", read: checks::reports },
    Target { name: "journal", read: journal::journal },
];

/// The target of a name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// A JSON text to compare with; none also for numbers that only this way of reading looks at, and finds too large.
fn parsed(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// A field of a JSON object; serde also takes a list in the order of the fields for one.
fn field<'a>(value: &'a Value, key: &str, place: usize) -> Option<&'a Value> {
    value.get(key).or_else(|| value.get(place))
}

/// Bytes as the program takes them from a connection: what is not UTF-8 is replaced.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
