//! Debian's order of versions, compared with dpkg itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cmp::Ordering;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use model::Version;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const DPKG: &str = "/usr/bin/dpkg";

/// Each asks dpkg once, in a process of some milliseconds.
const PAIRS: usize = 3000;

/// Says each line of which dpkg thinks otherwise, or does not think at all.
const ASK: &str =
    r#"while read -r a is b; do dpkg --compare-versions "$a" "$is" "$b" || echo "$a $is $b"; done"#;

/// Pieces that versions are made of, with all that is special to dpkg.
fn upstream() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[0-9]{1,3}", 2 => r"\.", 1 => "~", 1 => r"\+", 1 => "-", 1 => "rc", 1 => "ee", 1 => "[a-zA-Z]",
        1 => "0{1,3}", 1 => "20[0-9]{10}", 1 => "~~", 1 => r"\+deb12u[0-9]",
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn version() -> impl Strategy<Value = String> {
    let epoch = prop_oneof![3 => Just(String::new()), 1 => "[0-9]{1,2}:", 1 => Just("0:".to_owned())];
    let revision =
        prop_oneof![1 => Just(String::new()), 1 => "-[0-9a-z+.~]{1,4}", 1 => Just("-0".to_owned())];
    (epoch, "[0-9]", upstream(), revision).prop_map(|(epoch, digit, upstream, revision)| {
        let text = format!("{epoch}{digit}{}{revision}", upstream.trim_end_matches('-'));
        text.trim_end_matches('-').to_owned()
    })
}

/// Two versions; often one with a small change, because strangers differ in their first digit.
fn pair() -> impl Strategy<Value = (String, String)> {
    let strangers = (version(), version());
    let change = prop_oneof![
        "[0-9]",
        Just("~".to_owned()),
        Just("+".to_owned()),
        Just(".".to_owned()),
        "[a-zA-Z]",
        Just("-0".to_owned()),
        Just("0".to_owned()),
        Just("~rc1".to_owned()),
    ];
    let siblings = (version(), any::<prop::sample::Index>(), change).prop_map(|(text, at, change)| {
        // Behind the epoch and the first digit.
        let from = text.find(':').map_or(1, |colon| colon + 2);
        let at = from + at.index(text.len() - from + 1);
        let changed = format!("{}{change}{}", &text[..at], &text[at..]);
        (text, changed)
    });
    prop_oneof![1 => strangers, 2 => siblings]
}

fn ours(a: &str, b: &str) -> Ordering {
    Version::parse(a).unwrap().dpkg_cmp(&Version::parse(b).unwrap())
}

#[test]
fn thousands_of_versions_sort_as_dpkg_sorts_them() {
    if !Path::new(DPKG).exists() {
        eprintln!("SKIPPED: not installed: dpkg");
        return;
    }
    let mut runner = TestRunner::deterministic();
    let mut questions = String::new();
    for _ in 0..PAIRS {
        let (a, b) = pair().new_tree(&mut runner).unwrap().current();
        let is = match ours(&a, &b) {
            Ordering::Less => "lt",
            Ordering::Equal => "eq",
            Ordering::Greater => "gt",
        };
        questions += &format!("{a} {is} {b}\n");
    }
    for is in [" lt ", " eq ", " gt "] {
        let times = questions.matches(is).count();
        assert!(times > PAIRS / 30, "only {times} times{is}");
    }
    let mut shell =
        Command::new("sh").args(["-c", ASK]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = shell.stdin.take().unwrap();
    let asking = std::thread::spawn(move || stdin.write_all(questions.as_bytes()).unwrap());
    let output = shell.wait_with_output().unwrap();
    asking.join().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "dpkg thinks otherwise");
}

proptest! {
    #[test]
    fn the_order_is_one_order(a in version(), b in version(), c in version()) {
        prop_assert_eq!(ours(&a, &a), Ordering::Equal);
        prop_assert_eq!(ours(&a, &b), ours(&b, &a).reverse());
        if ours(&a, &b).is_le() && ours(&b, &c).is_le() {
            prop_assert!(ours(&a, &c).is_le());
        }
    }
}
