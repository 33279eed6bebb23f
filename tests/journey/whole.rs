//! Staging, canary, production: every stage in its order, under traffic that shows no mercy.

use lab::{HostKind, Lab, LabSpec, Release, Traffic, TrafficSpec};
use model::Track;

use crate::pipeline::{FIRST, Pipeline, in_the_pipeline};
use crate::{gates, races, share};

/// The first nightly.
const NIGHTLY: &str = "1.1.202611220100";
/// The one after it, which QA does not like.
const BROKEN: &str = "1.1.202611230100";

/// A new package, as a night brings one; the service sees it within a minute.
fn publish(pipeline: &Pipeline<'_, '_>, version: &str, before: &[&str]) {
    let before: Vec<Release> = before.iter().map(|version| Release::new(*version)).collect();
    pipeline.lab().publish_release(&Release::new(version), &before).unwrap();
}

/// A host is out for longer than an alert takes to be seen: so the alert comes in the middle of the stage, on any machine.
fn slow_to_warm_up(version: &str) -> Release {
    Release { warm_up_ms: 8_000, ..Release::new(version) }
}

fn steer_qa(lab: &Lab, script: &str) {
    lab.host("stg-deploy-01").unwrap().expect(script).unwrap();
}

fn staging_takes_it_by_itself(pipeline: &Pipeline<'_, '_>) {
    pipeline.accepts("staging", Track::Main, NIGHTLY, 90);
    pipeline.passes("staging", Track::Main, NIGHTLY, 180);
    let stages =
        ["staging migrations", "staging gitaly", "staging fleet", "staging post-deployment migrations"];
    assert_eq!(pipeline.stages("staging", NIGHTLY), stages);
    assert_eq!(migrations(pipeline, "staging"), expected_migrations());
    assert_eq!(pipeline.qa_runs("staging"), [format!("{NIGHTLY} after staging fleet")]);
}

fn canary_takes_what_has_passed_and_its_share_grows(pipeline: &Pipeline<'_, '_>) {
    let taken = pipeline.accepts("production", Track::Canary, NIGHTLY, 60);
    pipeline.shares(1, taken.seq, 120);
    share::is(pipeline.lab(), 1.0);
    pipeline.shares(5, taken.seq, 60);
    pipeline.passes("production", Track::Canary, NIGHTLY, 60);
    share::is(pipeline.lab(), 5.0);
    assert_eq!(pipeline.stages("production", NIGHTLY), ["migrations", "canary fleet"]);
    assert_eq!(running(pipeline.lab(), "web-01"), FIRST, "main waits for a person");
}

fn main_follows_when_a_person_says_so(pipeline: &Pipeline<'_, '_>) {
    pipeline.write(&["promote", "production", "--reason", "canary is well"]);
    pipeline.passes("production", Track::Main, NIGHTLY, 240);
    pipeline.deployment.settles("production", 30);
    let stages = ["migrations", "canary fleet", "gitaly", "fleet", "post-deployment migrations"];
    assert_eq!(pipeline.stages("production", NIGHTLY), stages);
    assert_eq!(migrations(pipeline, "production"), expected_migrations());
    let runs = ["canary fleet", "fleet"].map(|stage| format!("{NIGHTLY} after {stage}"));
    assert_eq!(pipeline.qa_runs("production"), runs);
    share::is(pipeline.lab(), 5.0);
}

fn migrations(pipeline: &Pipeline<'_, '_>, environment: &str) -> Vec<String> {
    pipeline.lab().migrations(environment).unwrap()
}

fn expected_migrations() -> Vec<String> {
    [FIRST, NIGHTLY]
        .iter()
        .flat_map(|version| [format!("{version} pre"), format!("{version} post")])
        .collect()
}

/// What a host's process says it is.
fn running(lab: &Lab, host: &str) -> String {
    let host = lab.host(host).unwrap();
    let service = if host.kind() == HostKind::Storage { "storage" } else { "web" };
    host.expect(&format!("shop-ctl version {service}")).unwrap().trim().to_owned()
}

fn every_host_of_production_runs_it_and_was_touched_once(lab: &Lab) {
    for kind in [HostKind::Web, HostKind::Canary, HostKind::Storage] {
        for host in lab.hosts_in("production", kind) {
            assert_eq!(running(lab, host.name()), NIGHTLY, "{}", host.name());
            let log = host.expect("cat /var/lib/shop/installs.log").unwrap();
            let installs: Vec<&str> = log.lines().filter_map(|line| line.split(' ').next()).collect();
            assert_eq!(installs, [FIRST, NIGHTLY], "{}", host.name());
            let forgotten = host.run("cat /var/lib/shop/auto-reconfigures.log").unwrap();
            assert!(!forgotten.success(), "{}: the package did it all by itself", host.name());
        }
    }
}

/// Staging's first file: the story begins when people are ready for it.
fn held(path: &str, text: String) -> String {
    match path {
        "environments/staging/release.toml" => text + "\n[[hold]]\nscope = \"all\"\nreason = \"not yet\"\n",
        _ => text,
    }
}

#[test]
fn a_nightly_goes_all_the_way_and_the_next_one_is_stopped_by_qa() {
    let both = |spec: LabSpec| spec.with_releases([Release::new(FIRST), slow_to_warm_up(NIGHTLY)]);
    in_the_pipeline("journey", both, held, |pipeline| {
        let lab = pipeline.lab();
        let versions = [FIRST, NIGHTLY];
        let mut traffic = Traffic::start_with(lab, &TrafficSpec::of("production", &versions)).unwrap();
        traffic.wait_for(200).unwrap();
        share::follows_its_weight_also_while_a_main_host_is_out(pipeline);
        pipeline.write(&["hold", "staging", "--undo", "--reason", "ready"]);
        gates::stop_what_is_under_way(pipeline, NIGHTLY);
        staging_takes_it_by_itself(pipeline);
        steer_qa(lab, &format!("echo {BROKEN} > /etc/qa/broken"));
        publish(pipeline, BROKEN, &versions);
        canary_takes_what_has_passed_and_its_share_grows(pipeline);
        main_follows_when_a_person_says_so(pipeline);
        let report = traffic.stop().unwrap();
        println!("journey: {report}");
        assert_eq!(report.failed, 0, "{report}");
        assert!(report.per_second >= 100.0, "only {} requests a second", report.per_second);
        every_host_of_production_runs_it_and_was_touched_once(lab);
        gates::a_failing_check_stops_the_version_before_production(pipeline, BROKEN);
        races::both_survive(pipeline);
        pipeline.timeline();
    });
}
