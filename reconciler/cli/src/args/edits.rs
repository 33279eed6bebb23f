//! Commands that write a commit, and nothing else.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use model::{HoldScope, Track, Version};

/// What every command that writes a commit takes.
#[derive(Debug, Args)]
pub(crate) struct Writing {
    /// Why; the body of the commit's message, and the reason in the file.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Show what would change, and write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask.
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
    /// The desired-state repository in place of the service's; for a working clone, the one that it pushes to.
    #[arg(long, value_name = "URL|FOLDER")]
    pub(crate) repository: Option<String>,
    /// The branch, when it is not the service's.
    #[arg(long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// In whose name; without it as git knows you.
    #[arg(long, value_name = "NAME <EMAIL>")]
    pub(crate) author: Option<String>,
}

/// Take a version that has passed to the next track, by a commit.
#[derive(Debug, Args)]
#[command(
    after_help = "Without VERSION: the canary's version to main; with --track canary, the newest version that has \
passed the environment that [promotion] requires.\n\nExamples:\n  \
reconcile promote production --reason 'canary is quiet'\n  \
reconcile promote production 16.5.0-ee.0 --track canary --reason 'release day' --dry-run"
)]
pub(crate) struct Promote {
    /// Which environment.
    pub(crate) environment: String,
    /// Which version.
    #[arg(value_parser = version)]
    pub(crate) version: Option<Version>,
    /// Which track takes it.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) track: TrackName,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Take main back to an earlier version, by a commit.
#[derive(Debug, Args)]
#[command(
    after_help = "Without VERSION: the target before this one in git's history that is not vetoed. A canary with \
the same version goes back with it. `reconcile plan ENV --ref` shows the verdict before anyone merges.\n\nExamples:\n  \
reconcile rollback production --reason 'INC-812: uploads fail'\n  \
reconcile rollback production 16.4.1-ee.0 --reason 'INC-812' --dry-run"
)]
pub(crate) struct Rollback {
    /// Which environment.
    pub(crate) environment: String,
    /// To which version.
    #[arg(value_parser = version)]
    pub(crate) version: Option<Version>,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Set the canary's share of the traffic, by a commit.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  reconcile weight production 25 --reason 'an hour without errors'")]
pub(crate) struct Weight {
    /// Which environment.
    pub(crate) environment: String,
    /// Percent, 0 to 99; 0 takes the canary out of the shared traffic.
    #[arg(value_parser = clap::value_parser!(u8).range(0..=99))]
    pub(crate) percent: u8,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Never take a version, only move away from it, by a commit.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  reconcile veto production 16.4.1-ee.0 --reason 'corrupts uploads'\n  \
reconcile veto production 16.4.1-ee.0 --undo --reason 'it was the disk'")]
pub(crate) struct Veto {
    /// Which environment.
    pub(crate) environment: String,
    /// Which version.
    #[arg(value_parser = version)]
    pub(crate) version: Version,
    /// Lift it.
    #[arg(long)]
    pub(crate) undo: bool,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Start nothing new on a track or on both, by a commit.
#[derive(Debug, Args)]
#[command(after_help = "For a short stop without a commit: `reconcile pause`.\n\nExamples:\n  \
reconcile hold production --scope canary --until 2026-11-22T12:00:00Z --reason 'load test'\n  \
reconcile hold production --undo --reason 'all clear'")]
pub(crate) struct Hold {
    /// Which environment.
    pub(crate) environment: String,
    /// Where.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) scope: Scope,
    /// Until when: an instant, or a length of time from now; without it until it is taken out again.
    #[arg(long, value_name = "TIME", value_parser = instant, conflicts_with = "undo")]
    pub(crate) until: Option<Timestamp>,
    /// Lift it.
    #[arg(long)]
    pub(crate) undo: bool,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Let a host or a load balancer node not count, by a commit.
#[derive(Debug, Args)]
#[command(
    after_help = "A host is drained first, and then neither counted nor waited for. A node is declared free of \
traffic.\n\nExamples:\n  reconcile out production gitaly-03 --until 9d --reason 'disk replaced, INC-812'\n  \
reconcile out production --node fe-02 --reason 'kernel panic'\n  \
reconcile out production gitaly-03 --undo --reason 'disk is in'"
)]
pub(crate) struct Out {
    /// Which environment.
    pub(crate) environment: String,
    /// A host of a role.
    #[arg(required_unless_present = "node", conflicts_with = "node")]
    pub(crate) host: Option<String>,
    /// A load balancer's node instead.
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<String>,
    /// Until when: an instant, or a length of time from now; without it until it is taken out again.
    #[arg(long, value_name = "TIME", value_parser = instant, conflicts_with = "undo")]
    pub(crate) until: Option<Timestamp>,
    /// Take it in again.
    #[arg(long)]
    pub(crate) undo: bool,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// Patch a version that is deployed, by a commit that holds the patch.
#[derive(Debug, Args)]
#[command(
    after_help = "The file goes to patches/VERSION/ in the same commit, with its checksum.\n\nExamples:\n  \
reconcile patch production fix.patch --version 16.4.2-ee.0 --root rails --roles web,api --reason 'session fixation'\n  \
reconcile patch production fix.patch --version 16.4.2-ee.0 --undo --reason 'not needed'"
)]
pub(crate) struct Patch {
    /// Which environment.
    pub(crate) environment: String,
    /// The patch, in unified form; to undo, its name is enough.
    pub(crate) file: PathBuf,
    /// The version that it applies to.
    #[arg(long, value_parser = version)]
    pub(crate) version: Version,
    /// The folder on the hosts: a name from [patch_roots].
    #[arg(long, value_name = "NAME", required_unless_present = "undo")]
    pub(crate) root: Option<String>,
    /// Where it is applied.
    #[arg(long, value_name = "ROLE,…", value_delimiter = ',', required_unless_present = "undo")]
    pub(crate) roles: Vec<String>,
    /// Versions that hold the change; the canary moves only to one of these.
    #[arg(long, value_name = "VERSION,…", value_delimiter = ',', value_parser = version)]
    pub(crate) incorporated_in: Vec<Version>,
    /// Take it back.
    #[arg(long)]
    pub(crate) undo: bool,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// A track on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TrackName {
    /// The fleet.
    #[default]
    Main,
    /// The hosts with a share of the traffic.
    Canary,
}

impl From<TrackName> for Track {
    fn from(track: TrackName) -> Self {
        match track {
            TrackName::Main => Self::Main,
            TrackName::Canary => Self::Canary,
        }
    }
}

/// Which tracks a hold stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scope {
    /// Both.
    #[default]
    All,
    /// The main track.
    Main,
    /// The canary track.
    Canary,
}

impl From<Scope> for HoldScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::All => Self::All,
            Scope::Main => Self::Main,
            Scope::Canary => Self::Canary,
        }
    }
}

pub(super) fn version(text: &str) -> Result<Version, String> {
    Version::parse(text).map_err(|error| error.to_string())
}

/// An instant, or a length of time from now.
fn instant(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let until = text.parse::<SignedDuration>().ok().filter(|span| span.is_positive());
    let until = until.and_then(|span| Timestamp::now().checked_add(span).ok());
    until.ok_or_else(|| {
        "write an instant like `2026-11-22T12:00:00Z`, or a length of time like `2h`".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_is_an_instant_or_a_length_of_time_from_now() {
        assert_eq!(instant("2026-11-22T12:00:00Z").unwrap().to_string(), "2026-11-22T12:00:00Z");
        let soon = instant("2h").unwrap().duration_since(Timestamp::now());
        assert!(soon > SignedDuration::from_mins(119) && soon <= SignedDuration::from_hours(2), "{soon}");
        for wrong in ["tomorrow", "0s", "2026-11-22", "-2h"] {
            assert!(instant(wrong).unwrap_err().contains("2026-11-22T12:00:00Z"), "{wrong}");
        }
    }
}
