//! Every target for a moment: all samples, then what chance makes of them. The same in every run, but for how far it
//! gets within its time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod mutation;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fuzz::{TARGETS, Target, target};
use mutation::Mutator;

/// For each target, after its samples.
const TIME: Duration = Duration::from_secs(3);

/// Quick targets have seen enough after so many.
const MOST: u64 = 100_000;

fn samples(target: Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut samples: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    if target.name == "environment" {
        samples.extend(rules());
    }
    samples
}

/// Every way in which a desired-state repository can be wrong, as the parser's own tests have them.
fn rules() -> impl Iterator<Item = Vec<u8>> {
    let cases = include_str!("../../../state/model/tests/parse/rules.txt").split("\n== ").skip(1);
    cases.map(|case| {
        let input = case.split_once('\n').unwrap().1.split("\n=>\n").next().unwrap();
        input.as_bytes().to_vec()
    })
}

fn read(target: Target, input: &[u8]) {
    if catch_unwind(|| (target.read)(input)).is_err() {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-crash", target.name));
        fs::write(&kept, input).unwrap();
        panic!(
            "target {} breaks on {}: mend it and keep the file in its corpus",
            target.name,
            kept.display()
        );
    }
}

fn withstands(name: &str) {
    let target = target(name).unwrap();
    let samples = samples(target);
    assert!(!samples.is_empty(), "no sample of {name}");
    samples.iter().for_each(|sample| read(target, sample));
    let (began, mut mutator, mut inputs) = (Instant::now(), Mutator::new(name, samples), 0);
    while began.elapsed() < TIME && inputs < MOST {
        read(target, &mutator.next());
        inputs += 1;
    }
    println!("{name}: {inputs} inputs in {:.1} s", began.elapsed().as_secs_f64());
    assert!(inputs > 0, "{name}: not one input in its time");
}

macro_rules! targets {
    ($($test:ident: $name:literal,)*) => {
        $(#[test] fn $test() { withstands($name); })*

        #[test]
        fn every_target_is_among_these() {
            assert_eq!(TARGETS.map(|target| target.name), [$($name),*]);
        }
    };
}

targets! {
    an_environment_may_say_anything: "environment",
    a_release_may_say_anything: "release",
    haproxy_may_say_anything: "haproxy",
    haproxy_may_answer_commands_with_anything: "haproxy-commands",
    a_host_may_say_anything: "host",
    a_patch_may_be_anything: "patch",
    apt_may_list_anything: "versions",
    alertmanager_may_say_anything: "alertmanager",
    prometheus_may_say_anything: "prometheus",
    a_check_may_report_anything: "checks",
    a_journal_may_hold_anything: "journal",
}
