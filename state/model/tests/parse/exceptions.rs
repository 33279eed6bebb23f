//! What each key of release.toml beside the main version means.

use jiff::{SignedDuration, Timestamp};
use model::parse::{EnvironmentSpec, repository};
use model::{
    Allow, CanaryTarget, Emergency, Hold, HoldScope, Out, OutTarget, RampStep, Track, Version, Veto,
};

use crate::{answer, environment, files};

const ENVIRONMENT: &str = r#"
packages = ["shop"]
[[load_balancer]]
name = "fe"
nodes = ["fe-[1:2]"]
backends = { web = { drain = "1m" } }
[[role]]
name = "web"
hosts = ["web-[1:4]"]
backends = ["web"]
[[role]]
name = "cny"
track = "canary"
hosts = ["cny-[1:2]"]
[patch_roots]
app = "/opt/shop/app"
"#;

fn release(text: &str) -> EnvironmentSpec {
    environment(ENVIRONMENT, &format!("[main]\nversion = \"1\"\n{text}"))
}

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

fn noon() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

#[test]
fn the_canary_has_a_version_a_share_and_smaller_shares_on_the_way_to_it() {
    let canary = release(
        "[canary]\nversion = \"2\"\nweight = 5\nramp = [{ weight = 1, soak = \"10m\" }, { weight = 3, soak = \"0s\" }]\n",
    )
    .canary;
    let ramp = vec![
        RampStep { weight: 1, soak: SignedDuration::from_mins(10) },
        RampStep { weight: 3, soak: SignedDuration::ZERO },
    ];
    assert_eq!(canary, Some(CanaryTarget { version: version("2"), weight: 5, ramp }));
}

#[test]
fn an_emergency_is_for_exactly_one_version() {
    let emergency =
        release("[emergency]\nversion = \"3\"\nreason = \"CVE-2026-0001\"\n").exceptions.emergency;
    assert_eq!(emergency, Some(Emergency { version: version("3"), reason: "CVE-2026-0001".to_owned() }));
}

#[test]
fn a_version_is_vetoed_for_a_reason() {
    let exceptions = release("[[veto]]\nversion = \"1.1\"\nreason = \"corrupts uploads\"\n").exceptions;
    let veto = Veto { version: version("1.1"), reason: "corrupts uploads".to_owned() };
    assert_eq!(exceptions.veto(&version("1.1")), Some(&veto));
    assert_eq!(exceptions.veto(&version("1")), None);
}

#[test]
fn a_hold_stops_a_track_until_an_instant_or_until_it_leaves_the_file() {
    let exceptions = release(
        "[[hold]]\nscope = \"canary\"\nreason = \"load test\"\nuntil = 2026-11-22T13:00:00+01:00\n\
         [[hold]]\nscope = \"all\"\nreason = \"party\"\n",
    )
    .exceptions;
    let [load_test, party] = exceptions.holds.as_slice() else { panic!("two holds") };
    let until = Some(noon());
    assert_eq!(*load_test, Hold { scope: HoldScope::Canary, reason: "load test".to_owned(), until });
    assert_eq!(*party, Hold { scope: HoldScope::All, reason: "party".to_owned(), until: None });
    assert_eq!(exceptions.hold(Track::Main, Timestamp::MIN), Some(party));
}

#[test]
fn a_host_or_a_load_balancer_node_is_out() {
    let outs = release(
        "[[out]]\nhost = \"web-3\"\nreason = \"disk\"\nuntil = \"2026-11-22T12:00:00Z\"\n\
         [[out]]\nload_balancer_node = \"fe-1\"\nreason = \"dead\"\n",
    )
    .exceptions
    .outs;
    let host = Out { what: OutTarget::Host("web-3".into()), reason: "disk".to_owned(), until: Some(noon()) };
    let node =
        Out { what: OutTarget::LoadBalancerNode("fe-1".into()), reason: "dead".to_owned(), until: None };
    assert_eq!(outs, [host, node]);
}

#[test]
fn a_person_allows_going_back_past_post_migrations() {
    let allow = release("[allow]\npast_post_migrations_of = \"1\"\nreason = \"backup\"\n").exceptions.allow;
    assert_eq!(allow, Some(Allow { past_post_migrations_of: version("1"), reason: "backup".to_owned() }));
}

const PATCH: &str = include_str!("whole/session-fix.patch");
const SUM: &str = "78cec1bfd66fb3a849c93770736423a37ca8ea59934a0826ca95ba1320b02c11";

/// A release with one patch, whose file holds `contents`.
fn patched(sha256: &str, contents: &str) -> std::collections::BTreeMap<String, String> {
    let release = format!(
        "[main]\nversion = \"1\"\n[[patch]]\nversion = \"1\"\nfile = \"patches/1/fix.patch\"\nsha256 = \"{sha256}\"\n\
         root = \"app\"\nroles = [\"web\", \"cny\"]\nreason = \"session fixation\"\nincorporated_in = [\"2\"]\n"
    );
    files(&[
        ("environments/e/environment.toml", ENVIRONMENT),
        ("environments/e/release.toml", &release),
        ("patches/1/fix.patch", contents),
    ])
}

#[test]
fn a_patch_brings_its_contents_and_its_folder_on_the_hosts() {
    let mut parsed = repository(&patched(SUM, PATCH)).unwrap();
    let patches = parsed.environments.remove("e").unwrap().exceptions.patches;
    let [patch] = patches.as_slice() else { panic!("one patch") };
    assert_eq!((patch.version.as_str(), patch.file.as_str()), ("1", "patches/1/fix.patch"));
    assert_eq!((patch.contents.as_str(), patch.sha256.as_str()), (PATCH, SUM));
    assert_eq!((patch.root.as_str(), patch.reason.as_str()), ("/opt/shop/app", "session fixation"));
    assert_eq!(patch.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>(), ["web", "cny"]);
    assert_eq!(patch.incorporated_in, [version("2")]);
}

#[test]
fn a_patch_with_one_other_byte_is_refused() {
    let said = answer(&patched(SUM, &PATCH.replace("renew_id", "renew_iD")));
    assert!(said.starts_with("release.toml:6:10: patches/1/fix.patch has the checksum "), "{said}");
    assert!(said.ends_with(&format!("and here stands {SUM}")), "{said}");
}

#[test]
fn a_patch_may_be_as_large_as_256_kib() {
    let message = "release.toml:5:8: patches/1/fix.patch has 262145 bytes; a patch may have at most 262144";
    assert_eq!(answer(&patched(SUM, &"x".repeat(256 * 1024 + 1))), message);
    assert!(answer(&patched(SUM, &"x".repeat(256 * 1024))).contains("has the checksum"), "small enough");
}
