//! environment.toml as it is written: stages, gates, checks, migrations and the rest of the rollout policy.

use std::borrow::Cow;
use std::rc::Rc;

use jiff::civil::{DateTime, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::problem::Problems;
use super::read::{At, Map, Need, Read, expected, table, words};
use super::text::{
    BaseUrl, Duration, Line, Matcher, ProjectPath, Span, VariableName, VersionPattern, VersionTemplate,
    Words, Zone,
};
use super::tree::{Node, Value};
use crate::desired::{Argv, Track};
use crate::ids::{CheckName, EnvironmentName, GateName, HostName, PackageName, RoleName, StageName};
use crate::pipeline::{Day, InFlightAtFreeze, Moment, OnRed};

table! {
    /// Database migrations: once per version, on a host that belongs to no role.
    struct RawMigrations {
        /// Where they run.
        host: Need<HostName>,
        /// Installed there just before a job, in exactly its version. Instead of the environment's.
        packages: Option<At<Vec<At<PackageName>>>>,
        /// Instead of the environment's.
        package_version: Option<At<VersionTemplate>>,
        /// Ends with 0 when nothing from before is left to finish.
        ready: Option<At<Argv>>,
        /// Before a version serves anywhere.
        pre: Option<At<RawJob>>,
        /// After it serves everywhere.
        post: Option<At<RawJob>>,
    }

    /// A command that must not run twice.
    struct RawJob {
        /// What to run.
        command: Need<Argv>,
        /// Its environment variables.
        env: Option<Map<VariableName, Line>>,
        /// How long is too long; it is reported, never killed. Default `12h`.
        timeout: Option<Duration>,
    }

    /// A configuration agent: paused on hosts that are being worked on, given back as found.
    struct RawConfigAgent {
        /// Stops it.
        pause: Need<Argv>,
        /// Starts it again.
        resume: Need<Argv>,
        /// Ends with 0 while it is active.
        active: Need<Argv>,
        /// Ends with 0 while a run is under way, which is then waited for.
        busy: Option<At<Argv>>,
        /// Tells it the version, on the migration host, when a target changes. `{track}` is `main` or `canary`.
        pin: Option<At<Argv>>,
    }

    /// A condition on the outside world: exactly one of `alertmanager` and `prometheus`.
    struct RawGate {
        /// Alertmanager's address.
        alertmanager: Option<At<BaseUrl>>,
        /// Which alerts make it red. With `alertmanager`.
        r#match: Option<At<Vec<At<Matcher>>>>,
        /// An alert that must be firing, else there is no data. With `alertmanager`.
        heartbeat: Option<At<Words>>,
        /// How long no such alert may have fired. Default `0s`: none fires now. With `alertmanager`.
        quiet_for: Option<At<Span>>,
        /// Prometheus' address.
        prometheus: Option<At<BaseUrl>>,
        /// A query with one number as its answer. With `prometheus`.
        query: Option<At<Words>>,
        /// Green while the answer is below. With `prometheus`.
        below: Option<At<f64>>,
        /// Green while the answer is above. With `prometheus`.
        above: Option<At<f64>>,
        /// How long after an action a reading begins to count. Default: the query's longest range. With `prometheus`.
        settle: Option<At<Span>>,
        /// What no data means. Default `red`.
        no_data: Option<NoData>,
        /// `true`: shown, never blocking. Default `false`.
        observe: Option<bool>,
    }

    /// A job that tests a release: exactly one of `command`, `http` and `gitlab_pipeline`.
    struct RawCheck {
        /// Run on `host`. `{host}`, `{environment}`, `{track}`, `{stage}` and `{version}` are replaced.
        command: Option<At<Argv>>,
        /// Where the command runs; a host of no role.
        host: Option<At<HostName>>,
        /// A job that is started and asked after by HTTP.
        http: Option<At<RawHttpCheck>>,
        /// A pipeline that must succeed.
        gitlab_pipeline: Option<At<RawPipelineCheck>>,
        /// How long it may take; then it has failed. Default `1h`.
        timeout: Option<Duration>,
    }

    /// A job that is started and asked after by HTTP.
    struct RawHttpCheck {
        /// Its address. `PUT {url}/NAME` starts it, `GET {url}/NAME` asks after it. Placeholders as in a command,
        /// without `{host}`.
        url: Need<BaseUrl>,
    }

    /// A pipeline. The token for it stands in the service's own file.
    struct RawPipelineCheck {
        /// `group/project`.
        project: Need<ProjectPath>,
        /// Branch or tag. Placeholders as in a command, without `{host}`.
        r#ref: Need<Line>,
        /// The pipeline's variables. Placeholders as in a command, without `{host}`.
        variables: Option<Map<VariableName, Line>>,
    }

    /// What every stage has that does not say otherwise.
    struct RawStageDefaults {
        /// Green before, watched during, and for the soak after.
        gates: Option<Vec<At<GateName>>>,
        /// Run after the stage's work.
        checks: Option<Vec<At<CheckName>>>,
        /// How long to watch afterwards. Default `0s`.
        soak: Option<Span>,
        /// What a red gate does beside stopping new hosts. `hold` (default): nothing. `canary-to-zero`: takes the canary
        /// out of the traffic; only for stages of the canary track.
        on_red: Option<At<OnRed>>,
    }

    /// One step of a release.
    struct RawStage {
        /// Its name.
        name: Need<StageName>,
        /// `main` (default), or `canary`.
        track: Option<At<Track>>,
        /// What it does.
        run: Need<RawRun>,
        /// Which roles it deploys.
        roles: Option<At<Vec<At<RoleName>>>>,
        /// Instead of the defaults'; `[]` for none.
        gates: Option<Vec<At<GateName>>>,
        /// Instead of the defaults'; `[]` for none.
        checks: Option<Vec<At<CheckName>>>,
        /// Instead of the defaults'.
        soak: Option<Span>,
        /// Instead of the defaults'.
        on_red: Option<At<OnRed>>,
    }

    /// What a version has to have passed before a track may take it.
    struct RawPromotion {
        /// The environment that has passed all its stages with the version.
        canary_requires: Option<At<EnvironmentName>>,
        /// `canary`, or an environment.
        main_requires: Option<At<EnvironmentName>>,
    }

    /// Commits to release.toml that the service writes.
    struct RawFollow {
        /// Which version it writes.
        track: Need<Track>,
        /// The newest package version that matches this regular expression.
        newest: Need<VersionPattern>,
        /// `passed`: only what the promotion's requirement has passed.
        when: Option<At<When>>,
    }

    /// A window in which nothing starts.
    struct RawFreeze {
        /// Why.
        reason: Need<Words>,
        /// `Fri 18:00` every week, or `2026-12-24 18:00` once.
        from: Need<Moment>,
        /// Its end, written in the same way.
        to: Need<Moment>,
        /// Whose clock.
        zone: Need<Zone>,
        /// What work in flight does when the window begins. Default `finish-host`.
        in_flight: Option<InFlightAtFreeze>,
    }
}

/// What no data means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoData {
    Red,
    Green,
}

/// What a stage does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RawRun {
    Migrate,
    Deploy,
    PostMigrate,
}

/// Which versions are followed.
#[derive(Debug)]
pub(super) enum When {
    Passed,
}

words! {
    NoData, "NoData": "red" => NoData::Red, "green" => NoData::Green;
    OnRed, "OnRed": "hold" => OnRed::Hold, "canary-to-zero" => OnRed::CanaryToZero;
    RawRun, "Run":
        "migrate" => RawRun::Migrate, "deploy" => RawRun::Deploy, "post-migrate" => RawRun::PostMigrate;
    When, "When": "passed" => When::Passed;
    InFlightAtFreeze, "InFlightAtFreeze":
        "finish-host" => InFlightAtFreeze::FinishHost, "finish-stage" => InFlightAtFreeze::FinishStage;
}

impl Read for Moment {
    fn read(node: &Rc<Node>, problems: &mut Problems) -> Option<Self> {
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Datetime(datetime) if datetime.offset.is_none() => datetime.to_string(),
            _ => return expected("a moment like `Fri 18:00` or `2026-12-24 18:00`", node, problems),
        };
        let moment = weekly(&text).or_else(|| once(&text));
        if moment.is_none() {
            problems
                .add(&node.at, format!("`{text}` is not a moment like `Fri 18:00` or `2026-12-24 18:00`"));
        }
        moment
    }
}

fn weekly(text: &str) -> Option<Moment> {
    let (day, time) = text.split_once(' ')?;
    let day = match day {
        "Mon" => Day::Mon,
        "Tue" => Day::Tue,
        "Wed" => Day::Wed,
        "Thu" => Day::Thu,
        "Fri" => Day::Fri,
        "Sat" => Day::Sat,
        "Sun" => Day::Sun,
        _ => return None,
    };
    Some(Moment::Weekly(day, Time::strptime("%H:%M", time).ok()?))
}

/// A date with an offset would contradict the zone.
fn once(text: &str) -> Option<Moment> {
    let forms = ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"];
    forms.iter().find_map(|form| DateTime::strptime(form, text).ok()).map(Moment::Once)
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^((Mon|Tue|Wed|Thu|Fri|Sat|Sun)|[0-9]{4}-[0-9]{2}-[0-9]{2})[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?$",
            "description": "a moment like `Fri 18:00` or `2026-12-24 18:00`",
        })
    }
}
