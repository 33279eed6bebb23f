//! Where a script's fleet comes from: an example, or a fixture of the tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use model::{Commit, CommitId, Desired, Requirement};

use super::parse;

/// The environment `production` of an example, with every host at `version`.
///
/// # Panics
/// When the example does not parse: it is a fixture.
pub fn example(name: &str, version: &str) -> Desired {
    one(name, "production", version)
}

/// One environment of an example. What its promotion requires of other environments is left out: they are not there.
pub(super) fn one(name: &str, environment: &str, version: &str) -> Desired {
    let mut all = everywhere(name, version).into_iter();
    let desired = all.find(|desired| desired.environment.as_str() == environment);
    let mut desired = desired.expect("the example has this environment");
    let promotion = &mut desired.fleet.policy.promotion;
    let here = |required: &Requirement| *required == Requirement::Canary;
    promotion.canary_requires = promotion.canary_requires.take().filter(here);
    promotion.main_requires = promotion.main_requires.take().filter(here);
    desired
}

/// Every environment of an example, without a canary, with every host at `version`.
pub(super) fn everywhere(name: &str, version: &str) -> Vec<Desired> {
    let parsed = model::parse::repository(&files(&folder(name))).expect("the example is valid");
    let commit = Commit {
        id: CommitId::new("0"),
        author: String::new(),
        subject: String::new(),
        at: Timestamp::UNIX_EPOCH,
    };
    let at = |(environment, spec): (_, model::parse::EnvironmentSpec)| {
        let desired = spec.at(environment, commit.clone(), Vec::new());
        Desired { target: parse(version), canary: None, ..desired }
    };
    parsed.environments.into_iter().map(at).collect()
}

fn folder(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixture = tests.join("fixtures").join(name);
    if fixture.is_dir() {
        return fixture;
    }
    tests.parent().expect("tests lies in the repository").join("examples").join(name)
}

/// Every file below a folder, by its path there.
fn files(root: &Path) -> BTreeMap<String, String> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the example is there") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root).expect("it lies there").to_string_lossy().into_owned();
            files.insert(name, std::fs::read_to_string(&path).expect("it is a text"));
        }
    }
    files
}

/// The next time that the clock shows `Fri 17:50`, in UTC, after an instant.
pub(super) fn next(after: Timestamp, day: &str, time: &str) -> Timestamp {
    let weekday = match day {
        "Mon" => Weekday::Monday,
        "Tue" => Weekday::Tuesday,
        "Wed" => Weekday::Wednesday,
        "Thu" => Weekday::Thursday,
        "Fri" => Weekday::Friday,
        "Sat" => Weekday::Saturday,
        "Sun" => Weekday::Sunday,
        other => panic!("no day: {other}"),
    };
    let time = Time::strptime("%H:%M", time).expect("a time like 17:50");
    let days = (0..=7).map(|days| after + SignedDuration::from_hours(24 * days));
    let instants =
        days.map(|day| day.to_zoned(TimeZone::UTC).date()).filter(|date| date.weekday() == weekday);
    let instants =
        instants.map(|date| TimeZone::UTC.to_timestamp(date.to_datetime(time)).expect("a time in UTC"));
    instants.filter(|instant| *instant > after).min().expect("each day of the week comes")
}
