//! Patches, resolved: the file is in the commit and is the one that was meant.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::exceptions::Context;
use super::policy::list;
use super::problem::Problems;
use super::raw_release::RawPatch;
use super::read::{At, names_in};
use super::stages::written_roles;
use crate::ids::RoleName;
use crate::release::Patch;

/// Every host that it applies to gets it whole.
const MAX_PATCH_BYTES: usize = 256 * 1024;

/// `None` after a problem.
pub(super) fn resolve(raw: &RawPatch, context: &Context<'_>, problems: &mut Problems) -> Option<Patch> {
    let root = root(raw, context, problems);
    let roles = roles(raw, context, problems);
    let contents = contents(raw, context.files, problems);
    Some(Patch {
        version: raw.version.get()?.value.clone(),
        file: raw.file.get()?.value.0.clone(),
        sha256: raw.sha256.get()?.value.0.clone(),
        contents: contents?,
        root: root?,
        roles,
        reason: raw.reason.get()?.value.0.clone(),
        incorporated_in: raw.incorporated_in.iter().flatten().map(|version| version.value.clone()).collect(),
    })
}

/// The path on the hosts that a root's name stands for.
fn root(raw: &RawPatch, context: &Context<'_>, problems: &mut Problems) -> Option<String> {
    let root = raw.root.get()?;
    let roots = context.file.patch_roots.as_ref();
    let word = root.value.0.as_str();
    let known = names_in(roots);
    if !known.contains(word) {
        let message = format!("there is no `{word}` in [patch_roots] of environment.toml");
        problems.unknown(root.at(), message, word, known);
    }
    let (_, path) = roots?.iter().find(|(name, _)| name.value.0 == word)?;
    Some(path.value.0.clone())
}

fn roles(raw: &RawPatch, context: &Context<'_>, problems: &mut Problems) -> Vec<RoleName> {
    if let Some(roles) = raw.roles.get().filter(|roles| roles.node.is_empty()) {
        problems.add(roles.at(), "a patch needs at least one role");
    }
    let known: BTreeSet<&str> = written_roles(context.file).map(|name| name.value.as_str()).collect();
    for role in list(raw.roles.get()).filter(|role| !known.contains(role.value.as_str())) {
        let message = format!("there is no role `{}`", role.value);
        problems.unknown(role.at(), message, role.value.as_str(), known.iter().copied());
    }
    list(raw.roles.get()).map(|role| role.value.clone()).collect()
}

/// The patch itself, once it is known to be the one whose checksum was written.
fn contents(raw: &RawPatch, files: &BTreeMap<String, String>, problems: &mut Problems) -> Option<String> {
    let file = raw.file.get()?;
    let path = file.value.0.as_str();
    let Some(contents) = files.get(path) else {
        let known = files.keys().map(String::as_str).filter(|known| known.starts_with("patches/"));
        problems.unknown(file.at(), format!("there is no text file {path} in this commit"), path, known);
        return None;
    };
    if contents.len() > MAX_PATCH_BYTES {
        let bytes = contents.len();
        let message = format!("{path} has {bytes} bytes; a patch may have at most {MAX_PATCH_BYTES}");
        problems.add(file.at(), message);
        return None;
    }
    check_sum(raw, path, contents, problems)?;
    Some(contents.clone())
}

fn check_sum(raw: &RawPatch, path: &str, contents: &str, problems: &mut Problems) -> Option<()> {
    let written: &At<_> = raw.sha256.get()?;
    let digest = Sha256::digest(contents);
    let real: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    if real == written.value.0 {
        return Some(());
    }
    let message = format!("{path} has the checksum {real}, and here stands {}", written.value.0);
    problems.add(written.at(), message);
    None
}
