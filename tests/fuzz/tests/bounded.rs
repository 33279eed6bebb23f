//! Huge and hostile inputs cost time in proportion to their size. What is measured is the processor's time of this very
//! thread, so that a busy machine changes nothing; what grows with the square of the size takes minutes here, or hours.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fuzz::target;
use rustix::time::{ClockId, clock_gettime};

/// The largest file that is read; answers are held to the same here.
const BYTES: usize = 1_000_000;

/// Many times what any of these needs.
const SECONDS: i64 = 20;

/// A text in which `unit` comes as often as fits.
fn many(unit: &str) -> String {
    unit.repeat(BYTES / unit.len())
}

/// As many different lines as fit.
fn lines(line: impl Fn(usize) -> String) -> String {
    let mut text = String::with_capacity(BYTES);
    for number in 0.. {
        let line = line(number);
        if text.len() + line.len() > BYTES {
            break;
        }
        text += &line;
    }
    text
}

fn is_read_in_bounded_time(name: &str, what: &str, input: &str) {
    let target = target(name).unwrap();
    let began = clock_gettime(ClockId::ThreadCPUTime);
    (target.read)(input.as_bytes());
    let ended = clock_gettime(ClockId::ThreadCPUTime);
    let ms = (ended.tv_sec - began.tv_sec) * 1000 + (ended.tv_nsec - began.tv_nsec) / 1_000_000;
    println!("{name}: {what}: {} bytes in {ms} ms", input.len());
    assert!(ms < SECONDS * 1000, "{name}: {what}: {ms} ms");
}

#[test]
fn nested_toml_is_refused_quickly() {
    let inputs = [
        ("brackets", format!("a = {}", many("["))),
        ("inline tables", format!("a = {}", many("{a="))),
        ("dotted keys", format!("{}a = 1", many("a."))),
        ("a dotted header", format!("[{}a]\n", many("a."))),
        ("headers that grow", lines(|number| format!("[{}a]\n", "a.".repeat(number)))),
    ];
    inputs.iter().for_each(|(what, input)| is_read_in_bounded_time("environment", what, input));
}

#[test]
fn a_large_environment_is_read_in_its_own_time() {
    let role =
        |number| format!("[[role]]\nname = \"r{number}\"\nhosts = [\"h{number}\"]\npackages = [\"shop\"]\n");
    let stage =
        |number| format!("[[stage]]\nname = \"s{number}\"\nrun = \"deploy\"\nroles = [\"x{number}\"]\n");
    let inputs = [
        ("roles", lines(role)),
        ("stages", lines(stage)),
        (
            "hosts",
            format!(
                "packages = [\"shop\"]\n[[role]]\nname = \"a\"\nhosts = [{}]",
                lines(|n| format!("\"h{n}\","))
            ),
        ),
        (
            "the same host",
            format!("packages = [\"shop\"]\n[[role]]\nname = \"a\"\nhosts = [{}]", many("\"h\",")),
        ),
        ("one long key", format!("{} = 1", many("k"))),
        ("one long text", format!("mode = \"{}\"", many("m"))),
        ("one long text that is not closed", format!("mode = \"{}", many("\\u0041"))),
        ("lines without an end", many("\r")),
        (
            "freezes",
            lines(|n| {
                format!(
                    "[[freeze]]\nreason = \"{n}\"\nfrom = \"Fri 18:00\"\nto = \"Mon 06:00\"\nzone = \"Europe/Rome\"\n"
                )
            }),
        ),
    ];
    inputs.iter().for_each(|(what, input)| is_read_in_bounded_time("environment", what, input));
}

#[test]
fn a_large_release_is_read_in_its_own_time() {
    let hold = |number| format!("[[hold]]\nscope = \"all\"\nreason = \"{number}\"\n");
    let out = |number| format!("[[out]]\nhost = \"web-{number}\"\nreason = \"{number}\"\n");
    for (what, list) in [("holds", lines(hold)), ("outs", lines(out))] {
        is_read_in_bounded_time("release", what, &format!("{list}[main]\nversion = \"1\"\n"));
    }
}

#[test]
fn large_answers_are_read_in_their_own_time() {
    let half = |line: &dyn Fn(usize) -> String| (0..15_000).map(line).collect::<String>();
    let node = |old: &str| {
        format!(
            "@@answers\nPid: 1\n# be_id be_name srv_name srv_addr srv_admin_state srv_uweight srv_check_state\n{}\n\
             # pxname,svname,qcur,scur,status,check_status,cookie,\n{}\n\n@@process\n1 (haproxy) {}7\n{old}\n@@end\n",
            half(&|n| format!("1 web w{n} a 0 1 0\n")),
            half(&|n| format!("web,w{n},0,0,UP,,,\n")),
            "0 ".repeat(19),
        )
    };
    let silent = lines(|n| format!("\n@@old {n}\n"));
    is_read_in_bounded_time("haproxy", "rows", &node(""));
    is_read_in_bounded_time("haproxy", "old workers that say nothing", &node(&silent));
    is_read_in_bounded_time(
        "haproxy",
        "a quotation without an end",
        &node(&format!("\n@@old 1\n# pxname,\n\"{}", many(","))),
    );
    let host = include_str!("../corpus/host/half-way.txt");
    let packages = lines(|n| format!("shop{n}\t1.{n}\thi \n"));
    is_read_in_bounded_time(
        "host",
        "packages",
        &host.replace("@@packages\n", &format!("@@packages\n{packages}")),
    );
    is_read_in_bounded_time("host", "parts", &lines(|n| format!("\n@@{n}\n")));
    is_read_in_bounded_time(
        "versions",
        "versions",
        &lines(|n| format!(" nginx | 1.{n} | http://apt x Packages\n")),
    );
    is_read_in_bounded_time(
        "patch",
        "files",
        &lines(|n| format!("--- a/{n}\n+++ b/{n}\n@@ -1 +1 @@\n-x\n+y\n")),
    );
    is_read_in_bounded_time(
        "patch",
        "a hunk without an end",
        "--- a/a\n+++ b/a\n@@ -1,18446744073709551615 +1 @@\n",
    );
}

#[test]
fn large_json_is_read_in_its_own_time() {
    let alerts = format!("[{}{{\"labels\":{{}}}}]", many("{\"labels\":{\"alertname\":\"A\"}},"));
    is_read_in_bounded_time("alertmanager", "alerts", &alerts);
    for name in ["alertmanager", "prometheus", "checks"] {
        is_read_in_bounded_time(name, "nested lists", &many("["));
        is_read_in_bounded_time(name, "nested objects", &many("{\"data\":"));
    }
    let line = "2026-11-22T12:00:00Z {\"event\":\"refused\",\"commit\":\"bad\",\"errors\":[]}\n";
    is_read_in_bounded_time("journal", "events", &many(line));
}
