//! Edits of release.toml: each changes one value, adds one entry or removes one, and keeps every other byte. Only a new version
//! of the main track takes the word about its earlier one along, `direction`.
//!
//! Pure functions from text to text. Whether the result is valid is not judged here: `model::parse` does.

mod entry;
mod error;
mod text;

use jiff::Timestamp;
use model::{HoldScope, OutTarget, RoleName, Track, Version};

use entry::Entry;
use text::Release;

pub use error::EditError;

/// A change of one release.toml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Sets a track's version.
    Version {
        /// Which track.
        track: Track,
        /// What has to stand there now; none: anything.
        from: Option<Version>,
        /// What should.
        to: Version,
    },
    /// Sets the canary's share, in percent.
    Weight(u8),
    /// Adds a `[[veto]]`.
    Veto {
        /// Which version.
        version: Version,
        /// Why.
        reason: String,
    },
    /// Removes a version's `[[veto]]`.
    Unveto {
        /// Which version.
        version: Version,
    },
    /// Adds a `[[hold]]`.
    Hold {
        /// Where.
        scope: HoldScope,
        /// Why.
        reason: String,
        /// How long.
        until: Option<Timestamp>,
    },
    /// Removes the one `[[hold]]` with this scope.
    Unhold {
        /// Where.
        scope: HoldScope,
    },
    /// Adds an `[[out]]`.
    Out {
        /// A host or a load balancer's node.
        what: OutTarget,
        /// Why.
        reason: String,
        /// How long.
        until: Option<Timestamp>,
    },
    /// Removes the `[[out]]` of a host or node.
    In {
        /// Which.
        what: OutTarget,
    },
    /// Adds a `[[patch]]`.
    Patch(PatchEntry),
    /// Removes a `[[patch]]`.
    Unpatch {
        /// Its file in the repository.
        file: String,
        /// The version that it applies to.
        version: Version,
    },
    /// Writes `[emergency]`, in place of one that is there.
    Emergency {
        /// For exactly this version.
        version: Version,
        /// Why.
        reason: String,
    },
    /// Removes `[emergency]`.
    EndEmergency,
    /// Writes `[allow]`, in place of one that is there.
    Allow {
        /// The version whose post-deployment migrations are gone past.
        past_post_migrations_of: Version,
        /// Why.
        reason: String,
    },
    /// Removes `[allow]`.
    EndAllow,
}

/// A post-deployment patch as release.toml names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchEntry {
    /// The version that it applies to.
    pub version: Version,
    /// Its file in the repository, below `patches/`.
    pub file: String,
    /// The file's checksum, 64 hexadecimal digits.
    pub sha256: String,
    /// A name from `[patch_roots]`.
    pub root: String,
    /// Where it is applied.
    pub roles: Vec<RoleName>,
    /// Why.
    pub reason: String,
    /// Versions that hold the change.
    pub incorporated_in: Vec<Version>,
}

/// Applies an edit to the text of a release.toml.
///
/// Every byte outside the edited value, or the added or removed entry, stays: comments, order, blanks, kinds of quotes
/// and line ends. An edit that finds its work done returns the text as it is.
///
/// # Errors
/// [`EditError`]: the text is no TOML, or what the edit is about is not there, is there in another form, or is there
/// twice. Nothing is guessed.
pub fn apply(text: &str, edit: &Edit) -> Result<String, EditError> {
    let release = Release::read(text)?;
    match edit {
        Edit::Version { track, from, to } => release.set_version(*track, from.as_ref(), to),
        Edit::Weight(percent) => release.set_number("canary", "weight", i64::from(*percent)),
        Edit::Veto { version, reason } => release.add(&veto(version).why(reason)),
        Edit::Unveto { version } => release.remove(&veto(version)),
        Edit::Hold { scope, reason, until } => release.add(&hold(*scope, reason, *until)),
        Edit::Unhold { scope } => release.remove(&Entry::of("hold").key("scope", &scope.to_string())),
        Edit::Out { what, reason, until } => release.add(&out(what).why(reason).until(*until)),
        Edit::In { what } => release.remove(&out(what)),
        Edit::Patch(patch) => release.add(&patch_entry(patch)),
        Edit::Unpatch { file, version } => release.remove(&patch_key(version, file)),
        Edit::Emergency { version, reason } => {
            release.write_table(&Entry::of("emergency").value("version", version.as_str()).why(reason))
        }
        Edit::EndEmergency => release.remove_table("emergency"),
        Edit::Allow { past_post_migrations_of, reason } => {
            let version = past_post_migrations_of.as_str();
            release.write_table(&Entry::of("allow").value("past_post_migrations_of", version).why(reason))
        }
        Edit::EndAllow => release.remove_table("allow"),
    }
}

/// The version of a track as the text has it; none: it is not there.
///
/// # Errors
/// [`EditError::Syntax`].
pub fn version(text: &str, track: Track) -> Result<Option<Version>, EditError> {
    let release = Release::read(text)?;
    Ok(release.text_of(text::table_of(track), "version").and_then(|text| Version::parse(text).ok()))
}

fn veto(version: &Version) -> Entry {
    Entry::of("veto").key("version", version.as_str())
}

/// Two people may hold the same track for reasons of their own.
fn hold(scope: HoldScope, reason: &str, until: Option<Timestamp>) -> Entry {
    Entry::of("hold").key("scope", &scope.to_string()).key("reason", reason).until(until)
}

fn out(what: &OutTarget) -> Entry {
    match what {
        OutTarget::Host(host) => Entry::of("out").key("host", host.as_str()),
        OutTarget::LoadBalancerNode(node) => Entry::of("out").key("load_balancer_node", node.as_str()),
    }
}

fn patch_key(version: &Version, file: &str) -> Entry {
    Entry::of("patch").key("version", version.as_str()).key("file", file)
}

fn patch_entry(patch: &PatchEntry) -> Entry {
    let entry =
        patch_key(&patch.version, &patch.file).value("sha256", &patch.sha256).value("root", &patch.root);
    let entry = entry.values("roles", patch.roles.iter().map(RoleName::as_str)).why(&patch.reason);
    if patch.incorporated_in.is_empty() {
        return entry;
    }
    entry.values("incorporated_in", patch.incorporated_in.iter().map(Version::as_str))
}

#[cfg(test)]
mod tests;
