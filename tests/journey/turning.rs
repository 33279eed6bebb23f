//! Back, in a hurry, with a patch, and beside a configuration agent: production alone, at any time of day.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lab::{HostKind, Lab, LabSpec, Release, agent};
use model::{Event, Track};

use crate::long;
use crate::pipeline::{FIRST, Pipeline, RELEASE, in_the_pipeline};

/// Halted by QA before its post-deployment migrations.
const HALTED: &str = "1.1.0";
/// Goes all the way.
const WHOLE: &str = "1.2.0";
/// Cannot wait.
const URGENT: &str = "1.3.0";
/// Lacks the patch.
const WITHOUT: &str = "1.4.0";
/// Brings the patch.
const WITH: &str = "1.5.0";
/// Meets the configuration agent.
const LAST: &str = "1.6.0";

const PATCH: &str =
    "--- a/lib/message.txt\n+++ b/lib/message.txt\n@@ -1 +1 @@\n-welcome to the shop\n+patched\n";

const AGENT: &str = r#"
[config_agent]
pause  = ["systemctl", "stop", "agent.timer"]
resume = ["systemctl", "start", "agent.timer"]
active = ["systemctl", "is-active", "--quiet", "agent.timer"]
busy   = ["pgrep", "-x", "agent-run"]
pin    = ["agent-pin", "{environment}", "{version}"]
"#;

const ENVIRONMENT: &str = "environments/production/environment.toml";

/// Releases that nobody has to promote, one host at a time, no nightlies.
fn production_alone(path: &str, text: String) -> String {
    match path {
        ENVIRONMENT => without_follow(&text).replace("canary_requires = \"staging\"\n", ""),
        "environments/base.toml" => text.replacen("\"50%\"", "1", 1),
        "environments/staging/environment.toml" => without_follow(&text),
        RELEASE => {
            text.lines().filter(|line| !line.starts_with("ramp")).map(|line| format!("{line}\n")).collect()
        }
        _ => text,
    }
}

/// It stands last in its file.
fn without_follow(text: &str) -> String {
    text.split("[[follow]]").next().unwrap_or_default().to_owned()
}

fn releases() -> Vec<Release> {
    let plain = [FIRST, HALTED, WHOLE, URGENT, WITHOUT].map(Release::new);
    let patched = [WITH, LAST].map(|version| Release::new(version).with_message("patched"));
    plain.into_iter().chain(patched).collect()
}

/// The version of `[main]` or `[canary]` in release.toml, changed.
fn with_version(text: &str, table: &str, version: &str) -> String {
    let (before, after) = text.split_once(&format!("[{table}]\nversion = \"")).unwrap();
    let (_, after) = after.split_once('"').unwrap();
    format!("{before}[{table}]\nversion = \"{version}\"{after}")
}

fn release(pipeline: &Pipeline<'_, '_>, version: &str) -> u64 {
    let before = pipeline.deployment.last_event();
    pipeline.deployment.push(RELEASE, &format!("production: {version}"), |text| {
        with_version(&with_version(&text, "main", version), "canary", version)
    });
    before
}

fn settled_on(pipeline: &Pipeline<'_, '_>, version: &str, after: u64) {
    pipeline.deployment.event(&format!("{version} everywhere"), after, 300, |event| {
        matches!(event, Event::Converged { environment, version: at, .. }
            if environment.as_str() == "production" && at.as_str() == version)
    });
    for kind in [HostKind::Web, HostKind::Canary, HostKind::Storage] {
        for host in pipeline.lab().hosts_in("production", kind) {
            let service = if kind == HostKind::Storage { "storage" } else { "web" };
            let running = host.expect(&format!("shop-ctl version {service}")).unwrap();
            assert_eq!(running.trim(), version, "{}", host.name());
        }
    }
}

/// The hosts in the order of their installs.
fn installs(pipeline: &Pipeline<'_, '_>, after: u64) -> Vec<String> {
    let steps = pipeline.deployment.steps_after(after).into_iter();
    steps.filter(|(_, kind)| kind == "install").map(|(host, _)| host.to_string()).collect()
}

fn a_rollback_before_post_migrations_goes_back_in_reverse(pipeline: &Pipeline<'_, '_>) {
    let lab = pipeline.lab();
    lab.host("deploy-01").unwrap().write("/etc/qa/broken", &format!("{HALTED} after fleet\n")).unwrap();
    release(pipeline, HALTED);
    pipeline.deployment.explains("production", "checkout: 2 of 40 tests failed", 240);
    let migrated = lab.migrations("production").unwrap();
    assert_eq!(migrated.last().map(String::as_str), Some("1.1.0 pre"), "{migrated:?}");
    let before = pipeline.deployment.last_event();
    pipeline.write(&["rollback", "production", "--reason", "checkout fails"]);
    settled_on(pipeline, FIRST, before);
    let order = installs(pipeline, before);
    let last_web = order.iter().rposition(|host| host.starts_with("web-0")).unwrap();
    let first_gitaly = order.iter().position(|host| host.starts_with("gitaly-")).unwrap();
    assert!(last_web < first_gitaly, "{order:?}");
    assert_eq!(lab.migrations("production").unwrap(), migrated, "the way back migrates nothing");
}

fn a_rollback_after_them_needs_a_person(pipeline: &Pipeline<'_, '_>) {
    let before = release(pipeline, WHOLE);
    settled_on(pipeline, WHOLE, before);
    let before = pipeline.deployment.last_event();
    pipeline.write(&["rollback", "production", FIRST, "--reason", "a second thought"]);
    pipeline.deployment.explains("production", "lies before the post-deployment migrations of 1.2.0", 30);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(installs(pipeline, before), [""; 0]);
    let allow =
        format!("\n[allow]\npast_post_migrations_of = \"{WHOLE}\"\nreason = \"restored the database\"\n");
    let before = pipeline.deployment.last_event();
    pipeline.deployment.push(RELEASE, "production: back for good", |text| text + &allow);
    settled_on(pipeline, FIRST, before);
}

/// From the first to the last step of a host, and of all of them, on the way to a version.
fn times(pipeline: &Pipeline<'_, '_>, hosts: &[String], after: u64) -> (SignedDuration, SignedDuration) {
    let mut spans: Vec<(Timestamp, Timestamp)> = Vec::new();
    let journal = pipeline.deployment.journal();
    for host in hosts {
        let of_host = journal.iter().filter(|recorded| {
            let about = format!("-{host}-");
            recorded.seq > after
                && match &recorded.event {
                    Event::StepStarted { step } => {
                        step.host.as_str() == host && step.action.kind().to_string() != "download"
                    }
                    Event::StepFinished { step, .. } => {
                        step.as_str().contains(&about) && !step.as_str().ends_with("download")
                    }
                    _ => false,
                }
        });
        let at: Vec<Timestamp> = of_host.map(|recorded| recorded.at).collect();
        spans.push((*at.first().unwrap(), *at.last().unwrap()));
    }
    let mut each: Vec<SignedDuration> = spans.iter().map(|(from, to)| to.duration_since(*from)).collect();
    each.sort();
    let first = spans.iter().map(|(from, _)| *from).min().unwrap();
    let last = spans.iter().map(|(_, to)| *to).max().unwrap();
    (each[each.len() / 2], last.duration_since(first))
}

fn an_emergency_takes_half_of_a_role_at_once(pipeline: &Pipeline<'_, '_>) {
    let table = format!("\n[emergency]\nversion = \"{URGENT}\"\nreason = \"CVE-2026-0001\"\n");
    pipeline.deployment.push(RELEASE, "production: an emergency to come", |text| text + &table);
    let plan = candidate_plan(pipeline);
    assert!(plan.contains("out at once may be") && plan.contains("2 of 4 web"), "{plan}");
    let before = release(pipeline, URGENT);
    settled_on(pipeline, URGENT, before);
    let web: Vec<String> = (1..=4).map(|number| format!("web-{number:02}")).collect();
    let (one, all) = times(pipeline, &web, before);
    println!("emergency: {:.1} s for 4 hosts, {:.1} s for one", all.as_secs_f64(), one.as_secs_f64());
    assert!(all.as_secs_f64() <= 1.3 * 2.0 * one.as_secs_f64(), "{all:#} for all, {one:#} for one");
    pipeline.deployment.push(RELEASE, "production: it is over", |text| text.replace(&table, ""));
}

/// What `plan` says of the emergency before anyone merges it.
fn candidate_plan(pipeline: &Pipeline<'_, '_>) -> String {
    let file = pipeline.deployment.repository().join(RELEASE);
    let text = std::fs::read_to_string(&file).unwrap();
    let candidate = with_version(&with_version(&text, "main", URGENT), "canary", URGENT);
    std::fs::write(&file, candidate).unwrap();
    let folder = pipeline.deployment.repository().display().to_string();
    let output = pipeline.deployment.run(&["plan", "production", "--path", &folder]);
    std::fs::write(&file, text).unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the application of a host says.
fn said(lab: &Lab, host: &str) -> String {
    // It says nothing while it warms up.
    lab.host(host).unwrap().run("curl -fsS http://127.0.0.1:8080/message").unwrap().stdout.trim().to_owned()
}

fn a_patch_is_applied_blocks_the_canary_and_goes_with_its_version(pipeline: &Pipeline<'_, '_>) {
    let lab = pipeline.lab();
    let file = lab.scratch().unwrap().join("greeting.patch");
    std::fs::write(&file, PATCH).unwrap();
    let file = file.display().to_string();
    let arguments = ["patch", "production", &file, "--version", URGENT, "--root", "shop", "--roles", "web"];
    let more = ["--incorporated-in", WITH, "--reason", "a friendlier greeting"];
    pipeline.write(&[&arguments[..], &more].concat());
    let patched = || (1..=4).all(|number| said(lab, &format!("web-{number:02}")) == "patched");
    pipeline.deployment.wait_for("the patch in the application's answer", 180, patched);
    assert_eq!(said(lab, "web-cny-01"), "welcome to the shop");
    pipeline.deployment.settles("production", 60);
    pipeline
        .deployment
        .push(RELEASE, "production: canary without", |text| with_version(&text, "canary", WITHOUT));
    pipeline.deployment.explains("production", &format!("{WITHOUT} does not hold the patch"), 30);
    pipeline.deployment.push(RELEASE, "production: canary with", |text| with_version(&text, "canary", WITH));
    pipeline.passes("production", Track::Canary, WITH, 120);
    let before = release(pipeline, WITH);
    settled_on(pipeline, WITH, before);
    for number in 1..=4 {
        let host = lab.host(&format!("web-{number:02}")).unwrap();
        assert_eq!(said(lab, host.name()), "patched");
        assert_eq!(host.expect("dpkg --verify shop-ee").unwrap(), "", "{}", host.name());
        assert_eq!(
            host.expect("ls /var/lib/reconcile/patches 2>/dev/null || true").unwrap(),
            "",
            "{}",
            host.name()
        );
    }
}

/// Whether each host's agent is active, by name.
fn active_agents(lab: &Lab) -> BTreeSet<String> {
    let hosts = [HostKind::Web, HostKind::Canary, HostKind::Storage, HostKind::Migration];
    let hosts = hosts.iter().flat_map(|kind| lab.hosts_in("production", *kind));
    let active =
        hosts.filter(|host| host.run(&format!("systemctl is-active {}", agent::TIMER)).unwrap().success());
    active.map(|host| host.name().to_owned()).collect()
}

fn the_agent_is_given_back_as_found_also_after_a_kill(pipeline: &mut Pipeline<'_, '_>) {
    let lab = pipeline.lab();
    pipeline.deployment.push(ENVIRONMENT, "production: beside the agent", |text| text + AGENT);
    let by_hand = lab.host("web-03").unwrap();
    by_hand.expect(&format!("systemctl stop {}", agent::TIMER)).unwrap();
    let before = active_agents(lab);
    assert!(!before.contains("web-03") && before.contains("web-02"), "{before:?}");
    let slow = lab.host("web-cny-01").unwrap();
    slow.write(agent::DURATION, "20\n").unwrap();
    slow.expect(&format!("systemctl start --no-block {}", agent::SERVICE)).unwrap();
    let start = release(pipeline, LAST);
    pipeline.deployment.explains("web-cny-01", "the configuration agent is in the middle of a run", 30);
    // The canary's wait is over with the run; then main's hosts follow.
    let paused = |pipeline: &Pipeline<'_, '_>, host: &str| {
        pipeline.deployment.steps_after(start).contains(&(host.into(), "install".to_owned()))
    };
    pipeline.deployment.wait_for("an install on web-02", 240, || paused(pipeline, "web-02"));
    pipeline.deployment.kill();
    assert!(!active_agents(lab).contains("web-02"), "paused while it is worked on");
    pipeline.deployment.serve();
    settled_on(pipeline, LAST, start);
    pipeline.deployment.settles("production", 60);
    assert_eq!(active_agents(lab), before);
    no_run_was_killed(lab);
    let pins = lab.host("deploy-01").unwrap().expect(&format!("cat {}", agent::PINS)).unwrap();
    assert!(pins.lines().any(|line| line == format!("production {LAST}")), "{pins}");
}

/// Every run that began has its end, but for one that is under way; and no install began inside of the slow one.
fn no_run_was_killed(lab: &Lab) {
    for name in ["web-cny-01", "web-02", "gitaly-01"] {
        let runs = lab.host(name).unwrap().expect(&format!("cat {}", agent::RUNS)).unwrap();
        let words: Vec<&str> = runs.lines().filter_map(|line| line.split(' ').next()).collect();
        let alternating = words.windows(2).all(|pair| pair[0] != pair[1]);
        assert!(alternating && words.contains(&"end"), "{name}: {runs}");
    }
}

/// Tells one story in a lab whose first release is this one.
fn in_production(name: &str, first: &str, story: impl FnOnce(&mut Pipeline<'_, '_>)) {
    if !long() {
        eprintln!("{name}: SKIPPED, it takes minutes; RECONCILE_LONG=1 runs it");
        return;
    }
    let later = releases().into_iter().skip_while(|release| release.version != first);
    let spec = |spec: LabSpec| spec.with_releases(later).with_config_agent();
    let files = |path: &str, text: String| production_alone(path, text.replace(FIRST, first));
    in_the_pipeline(name, spec, files, story);
}

#[test]
fn the_way_back_is_open_until_post_migrations_and_an_emergency_takes_half_at_once() {
    in_production("turning", FIRST, |pipeline| {
        a_rollback_before_post_migrations_goes_back_in_reverse(pipeline);
        a_rollback_after_them_needs_a_person(pipeline);
        an_emergency_takes_half_of_a_role_at_once(pipeline);
    });
}

#[test]
fn a_patch_lasts_until_its_version_and_the_agent_is_given_back() {
    in_production("patched", URGENT, |pipeline| {
        a_patch_is_applied_blocks_the_canary_and_goes_with_its_version(pipeline);
        the_agent_is_given_back_as_found_also_after_a_kill(pipeline);
    });
}
