//! Texts with a rule: names, versions, durations, addresses. Each rule is one pattern, used to check a value and shown
//! in the JSON Schema; what a pattern cannot say is checked after it.

use std::borrow::Cow;
use std::sync::LazyLock;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use regex_lite::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::read::Text;
use crate::ids::{
    BackendName, CheckName, EnvironmentName, GateName, HostName, LoadBalancerName, PackageName, RoleName,
    ServiceName, StageName,
};
use crate::version::Version;

/// Longer than any name, address or reason that people write.
const MAX_TEXT_BYTES: usize = 4096;
/// Longer than any wait that makes sense, and far from overflow when added to a time.
pub(super) const MAX_DURATION: SignedDuration = SignedDuration::from_hours(24 * 366);

/// `texts!` gives a type its pattern, what it is in words, and how it is made of a text that matches.
macro_rules! texts {
    ($($type:ty, $name:literal, $pattern:literal, $what:literal, $make:expr;)*) => {$(
        impl Text for $type {
            fn parse(text: &str) -> Result<Self, String> {
                static PATTERN: LazyLock<Regex> = LazyLock::new(|| compiled($pattern));
                if text.len() > MAX_TEXT_BYTES {
                    return Err(format!("a text of {} bytes is too long", text.len()));
                }
                if !PATTERN.is_match(text) {
                    return Err(format!("`{text}` is not {}", $what));
                }
                let make: fn(&str) -> Result<Self, String> = $make;
                make(text)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $what })
            }
        }
    )*};
}

#[expect(clippy::expect_used, reason = "patterns are constants; the tests use every one of them")]
fn compiled(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern")
}

/// A name that the user gives to something: a patch root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(pub(super) String);

/// Words for people: a reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Words(pub(super) String);

/// A length of time above zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct Duration(pub(super) SignedDuration);

/// A length of time, or none at all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span(pub(super) SignedDuration);

/// The package's version for a release.
#[derive(Debug)]
pub(super) struct VersionTemplate(pub(super) String);

/// A server row's name for a host.
#[derive(Debug)]
pub(super) struct ServerTemplate(pub(super) String);

/// An absolute path on a host.
#[derive(Debug)]
pub(super) struct HostPath(pub(super) String);

/// A patch file of the repository.
#[derive(Debug)]
pub(super) struct PatchPath(pub(super) String);

/// A file that is extended.
#[derive(Debug)]
pub(super) struct RepositoryPath;

/// A SHA-256 checksum.
#[derive(Debug)]
pub(super) struct Sha256(pub(super) String);

/// An address to ask by HTTP.
#[derive(Debug)]
pub(super) struct HttpUrl(pub(super) String);

/// An address that paths are added to; without a slash at its end.
#[derive(Debug)]
pub(super) struct BaseUrl(pub(super) String);

/// An address to connect to.
#[derive(Debug)]
pub(super) struct TcpAddress(pub(super) String);

/// A time zone of the IANA database.
#[derive(Debug)]
pub(super) struct Zone(pub(super) String);

/// An instant in RFC 3339.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instant(pub(super) Timestamp);

/// One matcher of Alertmanager.
#[derive(Debug)]
pub(super) struct Matcher(pub(super) String);

/// A regular expression over versions.
#[derive(Debug)]
pub(super) struct VersionPattern(pub(super) String);

/// Which versions of this program may read the file.
#[derive(Debug)]
pub(super) struct Requirement(pub(super) semver::VersionReq);

/// A project of a GitLab instance.
#[derive(Debug)]
pub(super) struct ProjectPath(pub(super) String);

/// The name of an environment variable.
#[derive(Debug)]
pub(super) struct VariableName(pub(super) String);

/// Any text on one line: a value of a variable, a query.
#[derive(Debug)]
pub(super) struct Line(pub(super) String);

texts! {
    Name, "Name", "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        "a name: letters, digits, `.`, `_` and `-`, beginning with a letter or a digit",
        |text| Ok(Self(text.to_owned()));
    Words, "Words", r"^[^\s\x00-\x1f]([^\x00-\x1f]*[^\s\x00-\x1f])?$",
        "a text on one line, not empty, without blanks around it", |text| Ok(Self(text.to_owned()));
    EnvironmentName, "EnvironmentName", "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        "an environment's name: letters, digits, `.`, `_` and `-`, beginning with a letter or a digit",
        |text| Ok(Self::new(text));
    RoleName, "RoleName", "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        "a role's name: letters, digits, `.`, `_` and `-`, beginning with a letter or a digit",
        |text| Ok(Self::new(text));
    LoadBalancerName, "LoadBalancerName", "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        "a load balancer's name: letters, digits, `.`, `_` and `-`, beginning with a letter or a digit",
        |text| Ok(Self::new(text));
    GateName, "GateName", "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        "a gate's name: letters, digits, `.`, `_` and `-`, beginning with a letter or a digit",
        |text| Ok(Self::new(text));
    CheckName, "CheckName", "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        "a check's name: letters, digits, `.`, `_` and `-`, beginning with a letter or a digit",
        |text| Ok(Self::new(text));
    StageName, "StageName", r"^[^\s\x00-\x1f]([^\x00-\x1f]*[^\s\x00-\x1f])?$",
        "a text on one line, not empty, without blanks around it", |text| Ok(Self::new(text));
    BackendName, "BackendName", "^[A-Za-z0-9_.:][A-Za-z0-9_.:-]*$",
        "a backend's name: letters, digits, `.`, `:`, `_` and `-`, not beginning with `-`",
        |text| Ok(Self::new(text));
    HostName, "HostName", "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        "a host name: letters, digits, `.`, `_` and `-`, beginning with a letter or a digit",
        |text| Ok(Self::new(text));
    PackageName, "PackageName", "^[a-z0-9][a-z0-9+.-]+$",
        "a Debian package: lower-case letters, digits, `+`, `.` and `-`", |text| Ok(Self::new(text));
    ServiceName, "ServiceName", r"^[A-Za-z0-9_][A-Za-z0-9:_.\\@-]*$",
        "a service's name: letters, digits and `: _ . \\ @ -`, not beginning with `-`", |text| Ok(Self::new(text));
    Version, "Version", "^[A-Za-z0-9.+:~][A-Za-z0-9.+:~-]*$",
        "a version: letters, digits and `. + : ~ -`, not beginning with `-`",
        |text| Self::parse(text).map_err(|error| error.to_string());
    VersionTemplate, "VersionTemplate", r"^[A-Za-z0-9.+:~{}-]*\{version\}[A-Za-z0-9.+:~{}-]*$",
        "a package version with `{version}` in it, made of letters, digits and `. + : ~ -`",
        |text| Ok(Self(text.to_owned()));
    ServerTemplate, "ServerTemplate", r"^[A-Za-z0-9._:{}-]*\{host\}[A-Za-z0-9._:{}-]*$",
        "a server's name with `{host}` in it: without, all hosts would be the same server",
        |text| Ok(Self(text.to_owned()));
    Duration, "Duration", "^[0-9].*$", "a duration like `30s`, `10m` or `1h 30m`", duration;
    Span, "Span", "^[0-9].*$", "a duration like `30s`, `10m` or `1h 30m`; `0s` for none",
        |text| span(text).map(Self);
    HostPath, "HostPath", r"^(/[A-Za-z0-9_@%+=:,.-]+)+$", "an absolute path", host_path;
    PatchPath, "PatchPath", r"^patches/[A-Za-z0-9_@%+=:,./~-]+$", "a file below `patches/`",
        |text| inside(text).map(|()| Self(text.to_owned()));
    RepositoryPath, "RepositoryPath", r"^[A-Za-z0-9_@%+=:,./~-]+\.toml$",
        "a path to a .toml file, relative to this one", |_| Ok(Self);
    Sha256, "Sha256", "^[0-9a-f]{64}$", "a SHA-256 checksum: 64 lower-case hexadecimal digits",
        |text| Ok(Self(text.to_owned()));
    HttpUrl, "HttpUrl", r"^https?://[^\s/@?#]+([/?#][^\s]*)?$",
        "an address that begins with `http://` or `https://`, without a password in it",
        |text| Ok(Self(text.to_owned()));
    BaseUrl, "BaseUrl", r"^https?://[^\s/@?#]+(/[^\s?#]*)?$",
        "an address that begins with `http://` or `https://`, without a password, `?` or `#` in it",
        |text| Ok(Self(text.trim_end_matches('/').to_owned()));
    TcpAddress, "TcpAddress", r"^[^\s/]+:[0-9]{1,5}$", "an address like `{host}:5432`", tcp_address;
    Zone, "Zone", "^[A-Za-z][A-Za-z0-9_+/-]*$", "a time zone like `Europe/Amsterdam`", zone;
    Instant, "Instant", r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2})$",
        "an instant in RFC 3339 like `2026-11-22T12:00:00Z`, with its offset", instant;
    Matcher, "Matcher", r#"^[A-Za-z_][A-Za-z0-9_]*\s*(=~|!~|!=|=)\s*("([^"\\]|\\.)*"|[^"\s{},]+)$"#,
        r#"a matcher like `severity="critical"` (or with `!=`, `=~`, `!~`)"#, |text| Ok(Self(text.to_owned()));
    VersionPattern, "VersionPattern", "^.+$", "a regular expression", version_pattern;
    Requirement, "Requirement", r"^[0-9A-Za-z.,<>=~^* +-]+$", "a requirement like `>=0.1`", requirement;
    ProjectPath, "ProjectPath", r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+$", "a project like `group/project`",
        |text| Ok(Self(text.to_owned()));
    VariableName, "VariableName", "^[A-Za-z_][A-Za-z0-9_]*$",
        "a variable's name: letters, digits and `_`, not beginning with a digit", |text| Ok(Self(text.to_owned()));
    Line, "Line", r"^[^\x00-\x1f]*$", "a text on one line", |text| Ok(Self(text.to_owned()));
}

fn span(text: &str) -> Result<SignedDuration, String> {
    match text.parse::<SignedDuration>() {
        // Also of the form `1m ago`.
        Ok(span) if span.is_negative() => {
            Err(format!("`{text}` is not a duration like `30s`, `10m` or `1h 30m`"))
        }
        Ok(span) if span > MAX_DURATION => Err(format!("`{text}` is longer than a year")),
        Ok(span) => Ok(span),
        Err(_) => Err(format!("`{text}` is not a duration like `30s`, `10m` or `1h 30m`")),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    match span(text)? {
        span if span.is_zero() => Err(format!("`{text}` must be longer than nothing")),
        span => Ok(Duration(span)),
    }
}

fn inside(path: &str) -> Result<(), String> {
    match path.trim_start_matches('/').split('/').any(|part| ["..", ".", ""].contains(&part)) {
        true => Err(format!("`{path}` must be a plain path, without `..`")),
        false => Ok(()),
    }
}

fn host_path(text: &str) -> Result<HostPath, String> {
    inside(text).map(|()| HostPath(text.to_owned()))
}

fn tcp_address(text: &str) -> Result<TcpAddress, String> {
    match text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()) {
        Some(1..) => Ok(TcpAddress(text.to_owned())),
        _ => Err(format!("`{text}` has no port between 1 and 65535")),
    }
}

fn zone(text: &str) -> Result<Zone, String> {
    TimeZone::get(text)
        .map(|_| Zone(text.to_owned()))
        .map_err(|_| format!("`{text}` is not a time zone like `Europe/Amsterdam`"))
}

fn instant(text: &str) -> Result<Instant, String> {
    let parsed = text.parse::<Timestamp>();
    parsed.map(Instant).map_err(|error| format!("`{text}` is not an instant in RFC 3339: {error}"))
}

fn version_pattern(text: &str) -> Result<VersionPattern, String> {
    // The second form is how it is used: on the whole version.
    let compiled = Regex::new(text).and_then(|_| Regex::new(&format!("^(?:{text})$")));
    compiled
        .map(|_| VersionPattern(text.to_owned()))
        .map_err(|error| format!("`{text}` is not a regular expression: {error}"))
}

fn requirement(text: &str) -> Result<Requirement, String> {
    let parsed = semver::VersionReq::parse(text);
    parsed.map(Requirement).map_err(|error| format!("`{text}` is not a requirement like `>=0.1`: {error}"))
}
