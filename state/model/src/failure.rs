//! Why an action did not work, and what follows from it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An action's failure, as it is journaled and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    /// What kind.
    pub kind: FailureKind,
    /// What happened and where, in one line.
    pub what: String,
    /// The last lines of the outside's own words; may be empty.
    pub detail: String,
}

/// What kind of failure. The kind alone decides what follows: see [`FailureKind::follows`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// No connection to the host.
    Unreachable,
    /// The host did not answer in time; whether the action happened is found by looking again.
    TimedOut,
    /// The host refused our key.
    KeyRefused,
    /// The host shows another host key than the one we know.
    HostKeyChanged,
    /// Another process holds apt's or dpkg's lock.
    PackageLocked,
    /// No room on the host's disk.
    DiskFull,
    /// No source of the host has the version.
    VersionNotFound,
    /// A package source could not be read or its files did not match.
    SourceUnavailable,
    /// The install began and failed.
    InstallFailed,
    /// A service could not be brought to the new version.
    ActivateFailed,
    /// A command of the user's ended with an error.
    CommandFailed,
    /// Migrations may not begin yet: something from before is left to finish.
    NotReady,
    /// A check or a migration ran and did not succeed.
    JobFailed,
    /// A patch does not fit, or its files are not as it left them.
    PatchFailed,
    /// The load balancer refused a command or did not do it.
    LoadBalancerRefused,
    /// The host carries a claim of a newer generation or of another service.
    Superseded,
    /// A job began and nobody can tell how it ended.
    InDoubt,
    /// The service went down while the step was in flight; its effect is found by looking again.
    Interrupted,
    /// Something that should not be possible.
    Bug,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Follows {
    /// The surroundings are at fault: try again with backoff, for ever, and say what is in the way.
    Retry,
    /// The release may be at fault: it counts as an attempt, and three of them halt.
    Attempt,
    /// Look again, at once: nothing is known to be wrong.
    Look,
    /// Only a person can go on.
    Person,
}

impl FailureKind {
    /// The one decision about what follows from a failure.
    pub fn follows(self) -> Follows {
        match self {
            Self::Unreachable
            | Self::TimedOut
            | Self::KeyRefused
            | Self::HostKeyChanged
            | Self::PackageLocked
            | Self::DiskFull
            | Self::VersionNotFound
            | Self::SourceUnavailable
            | Self::NotReady
            | Self::LoadBalancerRefused => Follows::Retry,
            Self::InstallFailed
            | Self::ActivateFailed
            | Self::CommandFailed
            | Self::JobFailed
            | Self::PatchFailed => Follows::Attempt,
            Self::Interrupted => Follows::Look,
            Self::Superseded | Self::InDoubt | Self::Bug => Follows::Person,
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "unreachable",
            Self::TimedOut => "no answer in time",
            Self::KeyRefused => "ssh key refused",
            Self::HostKeyChanged => "host key changed",
            Self::PackageLocked => "apt's lock is held by another process",
            Self::DiskFull => "disk full",
            Self::VersionNotFound => "version not found in any source",
            Self::SourceUnavailable => "package source unavailable",
            Self::InstallFailed => "install failed",
            Self::ActivateFailed => "activation failed",
            Self::CommandFailed => "command failed",
            Self::NotReady => "something from before is left to finish",
            Self::JobFailed => "job failed",
            Self::PatchFailed => "patch failed",
            Self::LoadBalancerRefused => "load balancer refused",
            Self::Superseded => "claimed by another service",
            Self::InDoubt => "in doubt",
            Self::Interrupted => "interrupted",
            Self::Bug => "bug",
        })
    }
}
