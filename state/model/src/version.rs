//! Package versions, and Debian's order of them.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::Text;

/// A version that git may ask for: `[A-Za-z0-9.+:~-]+`, not beginning with `-`.
///
/// `Ord` is the order of the text, for maps. Debian's order is [`Version::dpkg_cmp`]; which way a change goes is
/// decided by git history alone, because release candidates sort above the final version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(Text);

/// A text that is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a version: it may hold letters, digits and . + : ~ - and must not begin with -")]
pub struct InvalidVersion {
    /// What was written.
    pub text: String,
}

impl Version {
    /// Checks a text.
    ///
    /// # Errors
    /// [`InvalidVersion`] when a character is not allowed, the text is empty, or it begins with `-`.
    pub fn parse(text: &str) -> Result<Self, InvalidVersion> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".+:~-".contains(c);
        if text.is_empty() || text.starts_with('-') || !text.chars().all(allowed) || text.len() > 200 {
            return Err(InvalidVersion { text: text.to_owned() });
        }
        Ok(Self(Text::new(text)))
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Debian's order, as deb-version(7) and `dpkg --compare-versions` define it.
    pub fn dpkg_cmp(&self, other: &Self) -> Ordering {
        let (epoch_a, upstream_a, revision_a) = split(self.as_str());
        let (epoch_b, upstream_b, revision_b) = split(other.as_str());
        compare_digits(epoch_a, epoch_b)
            .then_with(|| compare_part(upstream_a, upstream_b))
            .then_with(|| compare_part(revision_a, revision_b))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl TryFrom<String> for Version {
    type Error = InvalidVersion;
    fn try_from(text: String) -> Result<Self, InvalidVersion> {
        Self::parse(&text)
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.as_str().to_owned()
    }
}

/// Epoch, upstream version, revision; a missing epoch or revision equals `0`.
fn split(text: &str) -> (&str, &str, &str) {
    let (epoch, rest) = match text.split_once(':') {
        Some((epoch, rest)) if epoch.bytes().all(|b| b.is_ascii_digit()) => (epoch, rest),
        _ => ("0", text),
    };
    match rest.rsplit_once('-') {
        Some((upstream, revision)) => (epoch, upstream, revision),
        None => (epoch, rest, "0"),
    }
}

/// Alternating runs: text by Debian's letter order, then digits as numbers.
fn compare_part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    while !a.is_empty() || !b.is_empty() {
        let (text_a, rest_a) = cut(a, |byte| !byte.is_ascii_digit());
        let (text_b, rest_b) = cut(b, |byte| !byte.is_ascii_digit());
        let (digits_a, rest_a) = cut(rest_a, |byte| byte.is_ascii_digit());
        let (digits_b, rest_b) = cut(rest_b, |byte| byte.is_ascii_digit());
        let order = compare_text(text_a, text_b).then_with(|| compare_digits(digits_a, digits_b));
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

fn cut(text: &str, belongs: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|byte| !belongs(byte)).unwrap_or(text.len());
    text.split_at(end)
}

fn compare_digits(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn compare_text(a: &str, b: &str) -> Ordering {
    let longest = a.len().max(b.len());
    let order = |text: &str, at: usize| text.as_bytes().get(at).map_or(0, |byte| letter_order(*byte));
    (0..longest).map(|at| order(a, at).cmp(&order(b, at))).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
}

/// `~` sorts before the end of the text (0), letters after it, everything else last.
fn letter_order(byte: u8) -> i32 {
    match byte {
        b'~' => -1,
        byte if byte.is_ascii_alphabetic() => i32::from(byte),
        byte => i32::from(byte) + 256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_as_dpkg_sorts_them() {
        let rising = [
            ("1.0~rc1", "1.0"),
            ("1.0~~", "1.0~"),
            ("1.0", "1.0a"),
            ("1.0a", "1.0+"),
            ("2.0", "1:1.0"),
            ("15.9.9", "15.10.0"),
            ("1.0-1", "1.0-1+deb12u1"),
            ("15.2.0-ee.0", "15.2.0-rc42.ee.0"),
            ("15.8.0-ee.0", "15.8.202212270620-8831299643f.d30eda376c8"),
            ("17.0.0-ce.0", "17.0.0-ee.0"),
        ];
        for (low, high) in rising {
            let (low, high) = (Version::parse(low).unwrap(), Version::parse(high).unwrap());
            assert_eq!(low.dpkg_cmp(&high), Ordering::Less, "{low} < {high}");
            assert_eq!(high.dpkg_cmp(&low), Ordering::Greater, "{high} > {low}");
        }
    }

    #[test]
    fn a_missing_revision_and_leading_zeros_do_not_matter() {
        for (a, b) in [("1.0", "1.0-0"), ("1.00", "1.0"), ("0:1.0", "1.0")] {
            assert_eq!(Version::parse(a).unwrap().dpkg_cmp(&Version::parse(b).unwrap()), Ordering::Equal);
        }
    }

    #[test]
    fn a_version_that_a_shell_or_an_option_parser_could_misread_is_refused() {
        for bad in ["", "-1", "1.0 2", "$(reboot)", "1;2", "1/2", "ü"] {
            assert!(Version::parse(bad).is_err(), "{bad}");
        }
    }
}
