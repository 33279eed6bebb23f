//! What GitLab says of a pipeline, and a server of a check.

use providers::fuzzing::standings;
use serde_json::Value;

use crate::{field, parsed, text};

/// A check has passed, or failed, only by the very word for it.
pub(crate) fn reports(bytes: &[u8]) {
    let text = text(bytes);
    let [pipeline, job] = standings(&text);
    let Some(answer) = parsed(&text) else { return };
    let said = |key: &str, place| field(&answer, key, place).and_then(Value::as_str);
    let ended = |standing: Result<Option<bool>, String>| standing.ok().flatten();
    match ended(pipeline) {
        Some(true) => assert_eq!(said("status", 1), Some("success")),
        Some(false) => assert!(matches!(said("status", 1), Some("failed" | "canceled" | "skipped"))),
        None => {}
    }
    match ended(job) {
        Some(true) => assert_eq!(said("state", 0), Some("passed")),
        Some(false) => assert_eq!(said("state", 0), Some("failed")),
        None => {}
    }
}
