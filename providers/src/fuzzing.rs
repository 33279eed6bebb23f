//! Readers of answers from outside that have no other reason to be public: for the fuzz targets alone.

use std::collections::{BTreeMap, BTreeSet};

use model::{PackageName, Threshold, Verdict, Version};

use crate::{checks, gates, haproxy, patches, versions};

/// Administrative mask and weight, by backend and server.
pub type MasksAndWeights = BTreeMap<(String, String), (u32, u32)>;

/// What one `show servers state` tells of its rows; or why it cannot be read.
pub fn haproxy_rows(text: &str) -> Result<MasksAndWeights, haproxy::Unreadable> {
    let weights = haproxy::parse::weights(text)?;
    let masks = haproxy::parse::masks(text)?;
    Ok(masks.into_iter().map(|(row, mask)| (row.clone(), (mask, weights[&row]))).collect())
}

/// HAProxy's answers to so many commands; none: it did not answer all of them.
pub fn haproxy_answers(text: &str, commands: usize) -> Option<Vec<String>> {
    haproxy::parse::answers(text, commands)
}

/// The files below the root that a patch touches, or why it is refused.
pub fn patched_files(patch: &str) -> Result<Vec<&str>, String> {
    Ok(patches::parse::touched(patch)?.into_iter().map(|touched| touched.file).collect())
}

/// The versions of a package in the answer of `apt-cache madison`.
pub fn offered_versions(text: &str, package: &PackageName) -> BTreeSet<Version> {
    versions::parse(text, package)
}

/// How many alerts Alertmanager tells of, and the words for people; or why it cannot be read.
pub fn alerts(body: &str) -> Result<(usize, String), String> {
    gates::alertmanager::read(body).map_err(|error| error.to_string())
}

/// What Prometheus' answer means, and its value for people; or why it cannot be read.
pub fn judge(body: &str, threshold: Threshold) -> Result<(Verdict, String), String> {
    let said = gates::prometheus::judge(body, threshold);
    said.map(|said| (said.verdict, said.value)).map_err(|error| error.to_string())
}

/// What Alertmanager and Prometheus say when they refuse a question.
pub fn refusals(body: &str) -> [Option<String>; 2] {
    [gates::alertmanager::own_words(body), gates::prometheus::own_words(body)]
}

/// How a check stands, by the answer of GitLab and of a server that keeps our contract: none while it runs, else whether
/// it passed; or why it cannot be read.
pub fn standings(body: &str) -> [Result<Option<bool>, String>; 2] {
    [checks::gitlab::read_standing(body), checks::http::read_standing(body)]
        .map(|standing| standing.map(|standing| standing.ended()))
}
