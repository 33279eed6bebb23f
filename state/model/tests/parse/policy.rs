//! What each key of the rollout policy means.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::civil::{date, time};
use model::parse::repository;
use model::{
    Argv, CheckRun, Day, EmergencyBudget, Follow, GateQuestion, InFlightAtFreeze, Limit, Moment, OnRed,
    Policy, Requirement, Run, Stage, Threshold, Track,
};

use crate::{environment, files};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// A web role on four hosts, a store, and two canary hosts.
const FLEET: &str = r#"
[[role]]
name = "store"
hosts = ["store-01"]
[[role]]
name = "web"
hosts = ["web-[1:4]"]
[[role]]
name = "cny"
track = "canary"
hosts = ["cny-[1:2]"]
"#;

fn policy(text: &str) -> Policy {
    let text = format!("packages = [\"shop\"]\n{FLEET}{text}");
    environment(&text, "[main]\nversion = \"1\"\n").fleet.policy
}

fn argv(words: &[&str]) -> Argv {
    Argv(words.iter().map(|word| (*word).to_owned()).collect())
}

fn names<T: ToString>(names: &[T]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn deploys(stage: &Stage) -> (Vec<String>, bool) {
    match &stage.run {
        Run::Deploy { roles, in_order } => (names(roles), *in_order),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_stages_every_role_is_deployed_in_order_the_canary_track_first() {
    let stages = policy("").stages;
    let [canary, main] = stages.as_slice() else { panic!("two stages") };
    assert_eq!((canary.name.as_str(), canary.track), ("canary", Track::Canary));
    assert_eq!(deploys(canary), (vec!["cny".to_owned()], true));
    assert_eq!((main.name.as_str(), main.track), ("deploy", Track::Main));
    assert_eq!(deploys(main), (vec!["store".to_owned(), "web".to_owned()], true));
    assert!(main.gates.is_empty() && main.checks.is_empty());
    assert_eq!((main.soak, main.on_red), (SignedDuration::ZERO, OnRed::Hold));
}

const DEFAULTS: &str = r#"
[gates.alerts]
alertmanager = "http://am"
match = ['severity="critical"']
[gates.errors]
prometheus = "http://prom"
query = "errors"
below = 1
[checks.qa]
http = { url = "http://qa" }
[stage_defaults]
gates = ["alerts"]
checks = ["qa"]
soak = "10m"
on_red = "canary-to-zero"
"#;

#[test]
fn stage_defaults_hold_without_stages_too_and_only_the_canary_goes_to_zero() {
    let stages = policy(DEFAULTS).stages;
    let told = stages.iter().map(|it| (names(&it.gates), names(&it.checks), it.soak, it.on_red));
    let alike = (vec!["alerts".to_owned()], vec!["qa".to_owned()], MINUTE * 10);
    let with = |on_red| (alike.0.clone(), alike.1.clone(), alike.2, on_red);
    assert_eq!(told.collect::<Vec<_>>(), [with(OnRed::CanaryToZero), with(OnRed::Hold)]);
}

#[test]
fn a_stages_own_words_win_over_the_defaults_and_an_empty_list_opts_out() {
    let stages = policy(&format!(
        r#"{DEFAULTS}
[[stage]]
name = "canary fleet"
track = "canary"
run = "deploy"
roles = ["cny"]
gates = ["alerts", "errors"]
soak = "30m"
[[stage]]
name = "the rest"
run = "deploy"
roles = ["web", "store"]
gates = []
checks = []
soak = "0s"
"#
    ))
    .stages;
    let [canary, rest] = stages.as_slice() else { panic!("two stages") };
    assert_eq!(
        (names(&canary.gates), names(&canary.checks)),
        (vec!["alerts".into(), "errors".into()], vec!["qa".into()])
    );
    assert_eq!((canary.track, canary.soak, canary.on_red), (Track::Canary, MINUTE * 30, OnRed::CanaryToZero));
    assert_eq!(
        deploys(rest),
        (vec!["store".to_owned(), "web".to_owned()], false),
        "in the fleet's order, side by side"
    );
    assert!(rest.gates.is_empty() && rest.checks.is_empty());
    assert_eq!((rest.track, rest.soak, rest.on_red), (Track::Main, SignedDuration::ZERO, OnRed::Hold));
}

const MIGRATED: &str = r#"
[[stage]]
name = "first"
track = "canary"
run = "migrate"
[[stage]]
name = "canary"
track = "canary"
run = "deploy"
roles = ["cny"]
[[stage]]
name = "fleet"
run = "deploy"
roles = ["store", "web"]
[[stage]]
name = "last"
run = "post-migrate"
[promotion]
main_requires = "canary"
"#;

#[test]
fn migrations_run_on_a_host_of_their_own_with_the_environments_packages() {
    let policy = policy(&format!(
        r#"
[migrations]
host = "deploy-01"
ready = ["done"]
pre = {{ command = ["migrate", "{{version}}"], env = {{ SKIP_POST = "true" }}, timeout = "2h" }}
post = {{ command = ["migrate"] }}
{MIGRATED}"#
    ));
    let migrations = policy.migrations.unwrap();
    assert_eq!(migrations.host.as_str(), "deploy-01");
    assert_eq!(
        (names(&migrations.packages), migrations.package_version.as_str()),
        (vec!["shop".into()], "{version}")
    );
    assert_eq!(migrations.ready, Some(argv(&["done"])));
    let (pre, post) = (migrations.pre.unwrap(), migrations.post.unwrap());
    assert_eq!((pre.command, pre.timeout), (argv(&["migrate", "{version}"]), HOUR * 2));
    assert_eq!(pre.env, BTreeMap::from([("SKIP_POST".to_owned(), "true".to_owned())]));
    assert_eq!((post.command, post.timeout), (argv(&["migrate"]), HOUR * 12));
    let runs: Vec<_> = policy.stages.iter().map(|stage| &stage.run).collect();
    assert!(matches!(
        runs.as_slice(),
        [Run::Migrate, Run::Deploy { .. }, Run::Deploy { .. }, Run::PostMigrate]
    ));
}

#[test]
fn migrations_may_name_packages_of_their_own() {
    let migrations = policy(&format!(
        r#"
[migrations]
host = "deploy-01"
packages = ["shop-tasks"]
package_version = "{{version}}~{{codename}}"
pre = {{ command = ["migrate"] }}
post = {{ command = ["migrate"] }}
{MIGRATED}"#
    ))
    .migrations
    .unwrap();
    assert_eq!(names(&migrations.packages), ["shop-tasks"]);
    assert_eq!(migrations.package_version, "{version}~{codename}");
}

#[test]
fn a_configuration_agent_is_five_commands() {
    let agent = policy(&format!(
        r#"
[migrations]
host = "deploy-01"
pre = {{ command = ["x"] }}
post = {{ command = ["x"] }}
{MIGRATED}
[config_agent]
pause = ["stop"]
resume = ["start", "{{host}}"]
active = ["is-active"]
busy = ["is-running"]
pin = ["pin", "{{environment}}", "{{track}}", "{{version}}"]
"#
    ))
    .config_agent
    .unwrap();
    assert_eq!((agent.pause, agent.resume), (argv(&["stop"]), argv(&["start", "{host}"])));
    assert_eq!((agent.active, agent.busy), (argv(&["is-active"]), Some(argv(&["is-running"]))));
    assert_eq!(agent.pin, Some(argv(&["pin", "{environment}", "{track}", "{version}"])));
}

#[test]
fn a_gate_asks_alertmanager() {
    let gates = policy(
        r#"
[gates.plain]
alertmanager = "http://am:9093/"
match = ['severity="critical"']
[gates.alerts]
alertmanager = "http://am:9093"
match = ['severity="critical"', 'env="production"']
heartbeat = "Watchdog"
quiet_for = "10m"
no_data = "green"
observe = true
"#,
    )
    .gates;
    let plain = &gates["plain"];
    let asks = |matchers: &[&str], heartbeat: Option<&str>| GateQuestion::Alertmanager {
        url: "http://am:9093".to_owned(),
        matchers: names(matchers),
        heartbeat: heartbeat.map(str::to_owned),
    };
    assert_eq!(plain.asks, asks(&["severity=\"critical\""], None));
    assert_eq!((plain.quiet_for, plain.settle), (SignedDuration::ZERO, SignedDuration::ZERO));
    assert_eq!((plain.no_data_is_green, plain.observe), (false, false));
    let alerts = &gates["alerts"];
    assert_eq!(alerts.asks, asks(&["severity=\"critical\"", "env=\"production\""], Some("Watchdog")));
    assert_eq!((alerts.quiet_for, alerts.no_data_is_green, alerts.observe), (MINUTE * 10, true, true));
}

#[test]
fn a_gate_asks_prometheus_and_settles_for_the_querys_range() {
    let gates = policy(
        r#"
[gates.errors]
prometheus = "http://prom:9090"
query = "sum(rate(errors[5m])) / sum(rate(requests[1h30m]))"
below = 0.01
[gates.up]
prometheus = "http://prom:9090"
query = "sum(up)"
above = 3
[gates.told]
prometheus = "http://prom:9090"
query = "rate(errors[5m])"
below = 1
settle = "0s"
"#,
    )
    .gates;
    let GateQuestion::Prometheus { url, query, threshold } = &gates["errors"].asks else {
        panic!("prometheus")
    };
    assert_eq!((url.as_str(), *threshold), ("http://prom:9090", Threshold::Below(0.01)));
    assert_eq!(query, "sum(rate(errors[5m])) / sum(rate(requests[1h30m]))");
    assert_eq!(gates["errors"].settle, MINUTE * 90);
    assert!(matches!(&gates["up"].asks, GateQuestion::Prometheus { threshold: Threshold::Above(3.0), .. }));
    assert_eq!(gates["up"].settle, SignedDuration::ZERO, "there is no range");
    assert_eq!(gates["told"].settle, SignedDuration::ZERO, "as it says");
}

#[test]
fn a_check_is_a_command_a_job_behind_an_address_or_a_pipeline() {
    let checks = policy(
        r#"
[checks.qa]
command = ["qa", "{environment}", "{stage}", "{track}", "{version}", "{host}"]
host = "runner-01"
timeout = "20m"
[checks.site]
http = { url = "http://qa.example/{environment}/" }
[checks.suite]
gitlab_pipeline = { project = "group/qa", ref = "main", variables = { RELEASE = "{version}" } }
"#,
    )
    .checks;
    let command = argv(&["qa", "{environment}", "{stage}", "{track}", "{version}", "{host}"]);
    assert_eq!(checks["qa"].how, CheckRun::Command { host: "runner-01".into(), command });
    assert_eq!(checks["qa"].timeout, MINUTE * 20);
    assert_eq!(checks["site"].how, CheckRun::Http { url: "http://qa.example/{environment}".to_owned() });
    assert_eq!(checks["site"].timeout, HOUR);
    assert_eq!(
        checks["suite"].how,
        CheckRun::GitlabPipeline {
            project: "group/qa".to_owned(),
            reference: "main".to_owned(),
            variables: BTreeMap::from([("RELEASE".to_owned(), "{version}".to_owned())]),
        }
    );
}

#[test]
fn a_promotion_requires_the_canary_or_another_environment() {
    let promotion = |text: &str| {
        let environment = format!("packages = [\"shop\"]\n{FLEET}{text}");
        let staging = "packages = [\"shop\"]\n[[role]]\nname = \"web\"\nhosts = [\"st-1\"]\n";
        let release = "[main]\nversion = \"1\"\n";
        let mut parsed = repository(&files(&[
            ("environments/e/environment.toml", &environment),
            ("environments/e/release.toml", release),
            ("environments/staging/environment.toml", staging),
            ("environments/staging/release.toml", release),
        ]))
        .unwrap();
        parsed.environments.remove("e").unwrap().fleet.policy.promotion
    };
    let staging = Requirement::Environment("staging".into());
    let whole = promotion("[promotion]\ncanary_requires = \"staging\"\nmain_requires = \"canary\"\n");
    assert_eq!(
        (whole.of(Track::Canary), whole.of(Track::Main)),
        (Some(&staging), Some(&Requirement::Canary))
    );
    let main = promotion("[promotion]\nmain_requires = \"staging\"\n");
    assert_eq!((main.of(Track::Canary), main.of(Track::Main)), (None, Some(&staging)));
}

#[test]
fn a_track_follows_the_newest_version_or_only_what_has_passed() {
    let follows = policy(
        r#"
[promotion]
main_requires = "canary"
[[follow]]
track = "canary"
newest = '16\.5\.\d{12}-.*'
[[follow]]
track = "main"
newest = '16\..*'
when = "passed"
"#,
    )
    .follows;
    let follow = |track, newest: &str, when_passed| Follow { track, newest: newest.to_owned(), when_passed };
    let expected = [follow(Track::Canary, r"16\.5\.\d{12}-.*", false), follow(Track::Main, r"16\..*", true)];
    assert_eq!(follows, expected);
}

#[test]
fn a_freeze_is_a_window_of_every_week_or_of_a_date() {
    let freezes = policy(
        r#"
[[freeze]]
reason = "weekend"
from = "Fri 18:00"
to = "Mon 06:00"
zone = "Europe/Amsterdam"
[[freeze]]
reason = "new year"
from = "2026-12-31 12:00"
to = 2027-01-02T06:00:00
zone = "UTC"
in_flight = "finish-stage"
"#,
    )
    .freezes;
    let [weekend, new_year] = freezes.as_slice() else { panic!("two freezes") };
    assert_eq!((weekend.reason.as_str(), weekend.zone.as_str()), ("weekend", "Europe/Amsterdam"));
    assert_eq!(weekend.from, Moment::Weekly(Day::Fri, time(18, 0, 0, 0)));
    assert_eq!(weekend.to, Moment::Weekly(Day::Mon, time(6, 0, 0, 0)));
    assert_eq!(weekend.in_flight, InFlightAtFreeze::FinishHost);
    assert_eq!(new_year.from, Moment::Once(date(2026, 12, 31).at(12, 0, 0, 0)));
    assert_eq!(new_year.to, Moment::Once(date(2027, 1, 2).at(6, 0, 0, 0)));
    assert_eq!(new_year.in_flight, InFlightAtFreeze::FinishStage);
}

#[test]
fn an_emergency_has_a_wider_budget_and_a_shorter_drain() {
    let usual = EmergencyBudget { max_unavailable: Limit::Percent(50), drain: SignedDuration::from_secs(10) };
    assert_eq!(policy("").emergency, usual);
    let told = policy("[budget]\nemergency = { max_unavailable = 7, drain = \"0s\" }\n").emergency;
    assert_eq!(told, EmergencyBudget { max_unavailable: Limit::Count(7), drain: SignedDuration::ZERO });
    let half = policy("[budget.emergency]\ndrain = \"1m\"\n").emergency;
    assert_eq!(half, EmergencyBudget { drain: MINUTE, ..usual });
}
