//! How a release moves through an environment: stages, gates, checks, migrations, promotion, freezes. Resolved, and
//! valid by construction.

use std::collections::BTreeMap;
use std::fmt;

use jiff::SignedDuration;
use jiff::civil::{DateTime, Time, Weekday};
use serde::{Deserialize, Serialize};

use crate::desired::{Argv, Limit, Role, Track};
use crate::ids::{CheckName, EnvironmentName, GateName, HostName, PackageName, RoleName, StageName};

/// One step of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name; unique in the environment.
    pub name: StageName,
    /// Which target it brings.
    pub track: Track,
    /// What it does.
    pub run: Run,
    /// Green before, watched during, and for the soak after.
    pub gates: Vec<GateName>,
    /// Run once the stage's work is done; once for each version.
    pub checks: Vec<CheckName>,
    /// How long the gates are watched afterwards.
    pub soak: SignedDuration,
    /// What a red gate does beside stopping new hosts.
    pub on_red: OnRed,
}

/// What a stage does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "run")]
pub enum Run {
    /// Runs `migrations.pre`.
    Migrate,
    /// Brings roles to the track's version.
    Deploy {
        /// Which, in the order of the fleet.
        roles: Vec<RoleName>,
        /// One role after the other (a file without stages), else all of them side by side.
        in_order: bool,
    },
    /// Runs `migrations.post`.
    PostMigrate,
}

/// What a red gate does beside stopping new hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRed {
    /// Nothing.
    #[default]
    Hold,
    /// Takes the canary out of the shared backends' traffic.
    CanaryToZero,
}

/// A condition on the outside world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Who is asked what.
    pub asks: GateQuestion,
    /// How long it must have been green without a break: Alertmanager's `quiet_for`, zero for Prometheus.
    pub quiet_for: SignedDuration,
    /// How long after an action a reading begins to count.
    pub settle: SignedDuration,
    /// Whether no data counts as green.
    pub no_data_is_green: bool,
    /// Shown, never blocking.
    pub observe: bool,
}

// The floats in it come from a file that refuses NaN.
impl Eq for Gate {}

/// Who is asked what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum GateQuestion {
    /// Red while an alert that is neither silenced nor inhibited matches.
    Alertmanager {
        /// Its address, without a path of the API.
        url: String,
        /// All of them must match, in Alertmanager's own syntax.
        matchers: Vec<String>,
        /// An alert that must be firing, else there is no data.
        heartbeat: Option<String>,
    },
    /// Red while the answer is not on the right side of the threshold.
    Prometheus {
        /// Its address, without a path of the API.
        url: String,
        /// With one number as its answer.
        query: String,
        /// The right side.
        threshold: Threshold,
    },
}

/// The right side of a number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Threshold {
    /// Green while the answer is below.
    Below(f64),
    /// Green while the answer is above.
    Above(f64),
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(limit) => write!(f, "below {limit}"),
            Self::Above(limit) => write!(f, "above {limit}"),
        }
    }
}

/// A job that tests a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// How it is run.
    pub how: CheckRun,
    /// How long it may take; then it has failed.
    pub timeout: SignedDuration,
}

/// How a check is run. `{environment}`, `{version}`, `{track}` and `{stage}` are replaced in texts, `{host}` in commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum CheckRun {
    /// A command that ends with 0.
    Command {
        /// On a host of no role.
        host: HostName,
        /// What to run.
        command: Argv,
    },
    /// A job behind an address: `PUT {url}/{name}` starts it, `GET {url}/{name}` tells how it is.
    Http {
        /// The address.
        url: String,
    },
    /// A pipeline of a GitLab project.
    GitlabPipeline {
        /// `group/project`.
        project: String,
        /// Branch or tag.
        reference: String,
        /// The pipeline's variables.
        variables: BTreeMap<String, String>,
    },
}

/// Database migrations: once for each version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migrations {
    /// Where they run; belongs to no role.
    pub host: HostName,
    /// Installed there in exactly the version, just before the job.
    pub packages: Vec<PackageName>,
    /// With `{version}` and optionally `{codename}`.
    pub package_version: String,
    /// Ends with 0 when nothing from before is left to finish.
    pub ready: Option<Argv>,
    /// Before a version serves anywhere.
    pub pre: Option<MigrationJob>,
    /// After it serves everywhere.
    pub post: Option<MigrationJob>,
}

/// A command that must not run twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationJob {
    /// What to run.
    pub command: Argv,
    /// Its environment variables.
    pub env: BTreeMap<String, String>,
    /// How long is too long; it is reported, never killed.
    pub timeout: SignedDuration,
}

/// A configuration agent: paused on hosts that are being worked on, given back as found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigAgent {
    /// Stops it.
    pub pause: Argv,
    /// Starts it again.
    pub resume: Argv,
    /// Ends with 0 while it is active.
    pub active: Argv,
    /// Ends with 0 while a run is under way, which is then waited for.
    pub busy: Option<Argv>,
    /// Tells it the version, on the migration host, when a target changes.
    pub pin: Option<Argv>,
}

/// What a version must have passed before a track may take it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    /// For the canary track.
    pub canary_requires: Option<Requirement>,
    /// For the main track.
    pub main_requires: Option<Requirement>,
}

impl Promotion {
    /// What a track requires.
    pub fn of(&self, track: Track) -> Option<&Requirement> {
        match track {
            Track::Canary => self.canary_requires.as_ref(),
            Track::Main => self.main_requires.as_ref(),
        }
    }
}

/// Where a version must have passed all stages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Requirement {
    /// This environment's own canary track.
    Canary,
    /// Another environment, with its main track.
    Environment(EnvironmentName),
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Canary => f.write_str("canary"),
            Self::Environment(name) => write!(f, "environment {name}"),
        }
    }
}

/// Commits to release.toml that the service writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    /// Which version it writes.
    pub track: Track,
    /// A regular expression that a whole package version must match.
    pub newest: String,
    /// Only what the track's requirement has passed.
    pub when_passed: bool,
}

/// A window in which nothing starts going forward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Why.
    pub reason: String,
    /// Its beginning.
    pub from: Moment,
    /// Its end; of the same kind.
    pub to: Moment,
    /// Whose clock: a time zone of the IANA database that this program knows.
    pub zone: String,
    /// What work in flight does when the window begins.
    pub in_flight: InFlightAtFreeze,
}

/// One end of a freeze, on the clock of its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// Every week.
    Weekly(Day, Time),
    /// Once.
    Once(DateTime),
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the days of the week need no explanation")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    /// As the calendar has it.
    pub fn weekday(self) -> Weekday {
        match self {
            Self::Mon => Weekday::Monday,
            Self::Tue => Weekday::Tuesday,
            Self::Wed => Weekday::Wednesday,
            Self::Thu => Weekday::Thursday,
            Self::Fri => Weekday::Friday,
            Self::Sat => Weekday::Saturday,
            Self::Sun => Weekday::Sunday,
        }
    }
}

/// What work in flight does when a freeze begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InFlightAtFreeze {
    /// Hosts that were begun are finished.
    #[default]
    FinishHost,
    /// The stage that was begun is finished.
    FinishStage,
}

/// The budget of an emergency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmergencyBudget {
    /// Of a role's hosts, and of each backend's servers per track.
    pub max_unavailable: Limit,
    /// How long sessions may take to end, in every backend; then they are cut.
    pub drain: SignedDuration,
}

impl Default for EmergencyBudget {
    fn default() -> Self {
        Self { max_unavailable: Limit::Percent(50), drain: SignedDuration::from_secs(10) }
    }
}

impl Stage {
    /// The stages of a file that has none: every role in order, the canary track first, without gates, checks and soak.
    pub fn whole_fleet(roles: &[Role]) -> Vec<Self> {
        let of = |track: Track, name: &str| {
            let roles: Vec<RoleName> =
                roles.iter().filter(|role| role.track == track).map(|role| role.name.clone()).collect();
            (!roles.is_empty()).then(|| Self {
                name: StageName::new(name),
                track,
                run: Run::Deploy { roles, in_order: true },
                gates: Vec::new(),
                checks: Vec::new(),
                soak: SignedDuration::ZERO,
                on_red: OnRed::Hold,
            })
        };
        [of(Track::Canary, "canary"), of(Track::Main, "deploy")].into_iter().flatten().collect()
    }
}
