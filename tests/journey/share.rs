//! The canary's share of the traffic, measured by who answers.

use lab::Lab;

use crate::pipeline::{Pipeline, RELEASE};

/// So many requests are enough for one percentage point.
const REQUESTS: u64 = 10_000;

/// The line in release.toml, as it is in the repository.
const RAMP: &str = "ramp    = [{ weight = 1, soak = \"8s\" }]\n";

/// Asks through every load balancer and compares who answered with what was wanted.
pub(crate) fn is(lab: &Lab, percent: f64) {
    let sample = lab.sample("production", REQUESTS).unwrap();
    let measured = lab.canary_percent(&sample);
    println!(
        "share: {measured:.2} % for {percent} % over {} requests in {:.1} s",
        sample.requests, sample.seconds
    );
    assert_eq!((sample.failed, sample.requests), (0, REQUESTS), "{sample}");
    assert!((measured - percent).abs() < 1.0, "{measured} % instead of {percent} %: {sample}");
}

/// 5, 1 and 25 %, first without one of the four main hosts and then with all of them; it ends at 5 %.
pub(crate) fn follows_its_weight_also_while_a_main_host_is_out(pipeline: &Pipeline<'_, '_>) {
    let lab = pipeline.lab();
    is(lab, 5.0);
    pipeline.write(&["out", "production", "web-04", "--reason", "new disk"]);
    nobody_answers_on_web_04(pipeline);
    is(lab, 5.0);
    without_a_ramp(pipeline);
    set(pipeline, 1);
    is(lab, 1.0);
    set(pipeline, 25);
    is(lab, 25.0);
    pipeline.write(&["out", "production", "web-04", "--undo", "--reason", "the disk is in"]);
    pipeline.deployment.wait_for("web-04 in rotation", 60, || answers(pipeline, "web-04"));
    // The canary's weights grow after that: never before.
    pipeline.deployment.settles("production", 60);
    is(lab, 25.0);
    let before = pipeline.deployment.last_event();
    pipeline
        .deployment
        .push(RELEASE, "production: as before", |text| text.replace("25\n", &format!("5\n{RAMP}")));
    pipeline.shares(5, before, 60);
}

/// Steps on the way to 5 % have no place on the way to 1 %, and are refused.
fn without_a_ramp(pipeline: &Pipeline<'_, '_>) {
    pipeline.deployment.push(RELEASE, "production: no ramp", |text| text.replace(RAMP, ""));
}

fn set(pipeline: &Pipeline<'_, '_>, percent: u8) {
    let before = pipeline.deployment.last_event();
    pipeline.write(&["weight", "production", &percent.to_string(), "--reason", "as planned"]);
    pipeline.shares(percent, before, 60);
}

fn answers(pipeline: &Pipeline<'_, '_>, host: &str) -> bool {
    pipeline.lab().sample("production", 200).unwrap().by_host.contains_key(host)
}

fn nobody_answers_on_web_04(pipeline: &Pipeline<'_, '_>) {
    pipeline.deployment.wait_for("web-04 out of rotation", 60, || !answers(pipeline, "web-04"));
}
