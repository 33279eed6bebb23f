//! Commands that tell the service something, which the journal keeps.

use clap::Args;
use jiff::SignedDuration;
use model::Version;

use super::edits::{TrackName, version};

/// Start nothing new in an environment for a time.
#[derive(Debug, Args)]
#[command(
    after_help = "Work in flight reaches a safe point. A stop that has to last, or that everybody should see, is \
a commit: `reconcile hold`.\n\nExample:\n  reconcile pause production --for 2h --reason 'network maintenance'"
)]
pub(crate) struct Pause {
    /// Which environment.
    pub(crate) environment: String,
    /// How long at most.
    #[arg(long = "for", value_name = "TIME")]
    pub(crate) lasts: SignedDuration,
    /// Why; kept in the journal, and shown.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// End a pause.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  reconcile resume production --reason 'maintenance is over'")]
pub(crate) struct Resume {
    /// Which environment.
    pub(crate) environment: String,
    /// Why; kept in the journal.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// Take responsibility that a version has passed an environment.
#[derive(Debug, Args)]
#[command(
    after_help = "For a version whose record was lost, or that was tested elsewhere. It may then be promoted.\n\n\
Example:\n  reconcile verify staging 16.5.0-ee.0 --reason 'journal lost; QA report 4711'"
)]
pub(crate) struct Verify {
    /// Which environment.
    pub(crate) environment: String,
    /// Which version; git must know it as a target of the environment.
    #[arg(value_parser = version)]
    pub(crate) version: Version,
    /// Which track it has passed.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) track: TrackName,
    /// Why; kept in the journal, and shown.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// Take a fleet as it was found, after the journal was lost.
#[derive(Debug, Args)]
#[command(
    after_help = "Versions that run count as migrated; results of migrations and checks are read again from the \
hosts.\nLook first: `reconcile plan ENV`.\n\nExample:\n  \
reconcile adopt production --reason 'new deploy node, the old disk is gone'"
)]
pub(crate) struct Adopt {
    /// Which environment.
    pub(crate) environment: String,
    /// Why; kept in the journal.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}
