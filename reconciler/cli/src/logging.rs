//! Log lines: on stderr, filtered by RUST_LOG.

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;
use crate::paint::Paint;

/// Begins to log. `default` applies where RUST_LOG says nothing.
pub(crate) fn begin(format: LogFormat, default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber in one process (tests) is no reason to end.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(Paint::stderr().is_on()).with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
