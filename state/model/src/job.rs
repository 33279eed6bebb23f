//! Jobs that must not run twice: migrations and checks. Each has a name that says what it is for, so that it is found
//! again after a crash, by whoever comes.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, FailureKind};
use crate::ids::{CheckName, EnvironmentName, HostName, StageName};
use crate::version::Version;

/// What a job is for: one result for each, for ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobKey {
    /// What it does.
    pub kind: JobKind,
    /// For which release.
    pub version: Version,
}

/// What a job does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "job")]
pub enum JobKind {
    /// Migrations before a version serves.
    PreMigration,
    /// Migrations after it serves everywhere: a point of no return.
    PostMigration,
    /// A test of the release.
    Check {
        /// After which stage.
        stage: StageName,
        /// Which.
        check: CheckName,
    },
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PreMigration => f.write_str("migrations"),
            Self::PostMigration => f.write_str("post-deployment migrations"),
            Self::Check { stage, check } => write!(f, "check {check} after stage {stage}"),
        }
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.kind, self.version)
    }
}

/// A job's name, the same in every life of the service: letters, digits, `.`, `-` and `_` alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobName(String);

impl JobName {
    /// The name of an attempt, from 1. Different arguments give different names.
    pub fn new(environment: &EnvironmentName, key: &JobKey, attempt: u32) -> Self {
        let mut name = String::from("job.");
        encode(environment.as_str(), &mut name);
        match &key.kind {
            JobKind::PreMigration => name.push_str(".pre."),
            JobKind::PostMigration => name.push_str(".post."),
            JobKind::Check { stage, check } => {
                name.push_str(".check.");
                encode(check.as_str(), &mut name);
                name.push('.');
                encode(stage.as_str(), &mut name);
                name.push('.');
            }
        }
        encode(key.version.as_str(), &mut name);
        name.push('.');
        name.push_str(&attempt.to_string());
        Self(name)
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Letters, digits and `-` stay; the separator and everything else become their number in hexadecimal.
fn encode(text: &str, name: &mut String) {
    for c in text.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' => name.push(c),
            other => name.push_str(&format!("_{:x}_", u32::from(other))),
        }
    }
}

/// What is remembered of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The newest attempt, from 1.
    pub attempt: u32,
    /// How it stands.
    pub state: JobState,
    /// When its first attempt began, if one has.
    #[serde(default)]
    pub began: Option<Timestamp>,
    /// Where the newest attempt was begun, as far as we know: it is found again there alone.
    #[serde(default)]
    pub host: Option<HostName>,
}

impl JobRecord {
    /// Whether it began, and nobody knows how it ended.
    pub fn is_in_doubt(&self) -> bool {
        matches!(&self.state, JobState::Failed { failure, .. } if failure.kind == FailureKind::InDoubt)
    }
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum JobState {
    /// It was never begun, or a person asked for another attempt.
    Wanted,
    /// It was begun; whether it ended is found by its name.
    Begun {
        /// When.
        at: Timestamp,
    },
    /// It succeeded.
    Passed {
        /// When.
        at: Timestamp,
        /// The last lines of its output, or where they are.
        output: String,
    },
    /// It failed. Only a person begins another attempt.
    Failed {
        /// When.
        at: Timestamp,
        /// How.
        failure: Failure,
    },
}

/// A job that a host remembers: its newest attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundJob {
    /// Which.
    pub key: JobKey,
    /// Whether it succeeded; not: it failed, runs, or left no result.
    pub succeeded: bool,
    /// Which attempt that was, from 1.
    #[serde(default = "first")]
    pub attempt: u32,
}

fn first() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(kind: JobKind, version: &str, attempt: u32) -> String {
        let key = JobKey { kind, version: Version::parse(version).unwrap() };
        JobName::new(&"production".into(), &key, attempt).to_string()
    }

    #[test]
    fn a_name_says_what_the_job_is_for() {
        assert_eq!(
            name(JobKind::PreMigration, "16.5.0-ee.0", 1),
            "job.production.pre.16_2e_5_2e_0-ee_2e_0.1"
        );
    }

    #[test]
    fn what_older_journals_say_of_a_job_that_was_found_was_its_first_attempt() {
        let key = JobKey { kind: JobKind::PreMigration, version: Version::parse("1").unwrap() };
        let older = r#"[{"kind":{"job":"pre-migration"},"version":"1"},true]"#;
        let read: FoundJob = serde_json::from_str(older).unwrap();
        assert_eq!(read, FoundJob { key, succeeded: true, attempt: 1 });
    }

    #[test]
    fn versions_that_look_alike_have_different_names() {
        assert_ne!(name(JobKind::PreMigration, "1+2", 1), name(JobKind::PreMigration, "1~2", 1));
        let check = |stage: &str, check: &str| {
            name(JobKind::Check { stage: stage.into(), check: check.into() }, "1", 1)
        };
        assert_ne!(check("a.b", "c"), check("a", "b.c"));
    }
}
