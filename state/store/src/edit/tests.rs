//! What an edit changes, and that it changes nothing else.

use proptest::prelude::*;

use super::*;

const RELEASE: &str = r#"# What engineers bump.
[main]   # the fleet
version   = '16.4.2-ee.0'	# by hand

[canary]
weight  = 5      # percent
version = "16.5.0-ee.0"
ramp    = [{ weight = 1, soak = "10m" }]

# Found by QA.
[[veto]]
version = "16.4.1-ee.0"
reason  = "corrupts uploads"   # INC-1

[[hold]]
scope  = "canary"
reason = "load test"
until  = 2026-11-22T12:00:00Z
# The end.
"#;

fn v(text: &str) -> Version {
    Version::parse(text).unwrap()
}

fn set(track: Track, to: &str) -> Edit {
    Edit::Version { track, from: None, to: v(to) }
}

fn veto(version: &str, reason: &str) -> Edit {
    Edit::Veto { version: v(version), reason: reason.into() }
}

#[test]
fn a_version_changes_between_its_quotes_and_nowhere_else() {
    let main = apply(RELEASE, &set(Track::Main, "17.0")).unwrap();
    assert_eq!(main, RELEASE.replace("16.4.2-ee.0", "17.0"));
    let canary = apply(RELEASE, &set(Track::Canary, "17.0")).unwrap();
    assert_eq!(canary, RELEASE.replace("16.5.0-ee.0", "17.0"));
    assert_eq!(version(&main, Track::Main).unwrap(), Some(v("17.0")));
}

#[test]
fn every_way_to_write_a_version_is_understood() {
    for text in [
        "main = { version = '1.0' }",
        "main.version = \"1.0\" # now",
        "[main]\nversion = \"\"\"1.0\"\"\"",
        "\u{feff}[main]\r\nversion=\"1.0\"\r\n",
        "[main]\nversion\t=\t'''1.0'''",
    ] {
        assert_eq!(apply(text, &set(Track::Main, "2.0")).unwrap(), text.replace("1.0", "2.0"), "{text}");
    }
}

#[test]
fn a_word_about_the_version_before_goes_with_it() {
    for (text, left) in [
        ("[main]\ndirection = 'back' # 1.1\nversion = '1.0'\n", "[main]\nversion = '2.0'\n"),
        ("[main]\nversion = '1.0'\ndirection = 'back'", "[main]\nversion = '2.0'\n"),
        ("main.version = '1.0'\r\nmain.direction = 'back'\r\n# x\r\n", "main.version = '2.0'\r\n# x\r\n"),
    ] {
        assert_eq!(apply(text, &set(Track::Main, "2.0")).unwrap(), left);
        assert_eq!(apply(text, &set(Track::Main, "1.0")).unwrap(), text, "it is the same version");
    }
    let error =
        apply("main = { version = '1.0', direction = 'back' }", &set(Track::Main, "2.0")).unwrap_err();
    assert_eq!(error.to_string(), "`main.direction` is not written as it should be: change it by hand");
    let other = "[main]\nversion = '1.0'\ndirection = 'back'\n[canary]\nversion = '1.1'\nweight = 5\n";
    let canary = apply(other, &set(Track::Canary, "2.0")).unwrap();
    assert_eq!(canary, other.replace("1.1", "2.0"), "main's word stays");
}

#[test]
fn a_weight_is_one_number() {
    assert_eq!(
        apply(RELEASE, &Edit::Weight(25)).unwrap(),
        RELEASE.replace("weight  = 5      # percent", "weight  = 25      # percent")
    );
}

#[test]
fn a_version_that_somebody_else_has_changed_meanwhile_is_left_alone() {
    let edit = Edit::Version { track: Track::Main, from: Some(v("16.4.0")), to: v("16.4.3") };
    let error = apply(RELEASE, &edit).unwrap_err();
    assert_eq!(error.to_string(), "[main] has version 16.4.2-ee.0 by now, and not 16.4.0");
}

#[test]
fn an_entry_is_added_after_the_last_of_its_kind_or_at_the_end() {
    let added = apply(RELEASE, &veto("16.4.0", "loses \"mail\"")).unwrap();
    let line = "reason  = \"corrupts uploads\"   # INC-1\n";
    let block = "\n[[veto]]\nversion = \"16.4.0\"\nreason  = 'loses \"mail\"'\n";
    assert_eq!(added, RELEASE.replace(line, &format!("{line}{block}")));

    let what = OutTarget::Host("web-01".into());
    let until = Some("2026-12-01T00:00:00.5Z".parse().unwrap());
    let out = apply(RELEASE, &Edit::Out { what, reason: "disk".into(), until }).unwrap();
    let block = "\n[[out]]\nhost   = \"web-01\"\nreason = \"disk\"\nuntil  = 2026-12-01T00:00:00Z\n";
    assert_eq!(out, format!("{RELEASE}{block}"));
}

#[test]
fn a_file_with_windows_line_ends_and_none_at_its_end_keeps_its_style() {
    let added = apply("[main]\r\nversion = '1'", &veto("2", "bad")).unwrap();
    assert_eq!(added, "[main]\r\nversion = '1'\r\n\r\n[[veto]]\r\nversion = \"2\"\r\nreason  = \"bad\"\r\n");
}

#[test]
fn an_entry_in_a_list_on_one_line_is_added_and_removed_there() {
    let text = "veto = [{ version = '1', reason = 'a' }] # all\n[main]\nversion = '3'\n";
    let added = apply(text, &veto("2", "b")).unwrap();
    assert!(added.contains(r#"'a' }, { version = "2", reason = "b" }] # all"#), "{added}");
    assert_eq!(apply(&added, &Edit::Unveto { version: v("2") }).unwrap(), text);
    let first = apply(&added, &Edit::Unveto { version: v("1") }).unwrap();
    assert!(first.starts_with(r#"veto = [{ version = "2", reason = "b" }] # all"#), "{first}");
    let empty = apply(&first, &Edit::Unveto { version: v("2") }).unwrap();
    assert!(empty.starts_with("veto = [] # all\n[main]"), "{empty}");
    assert!(apply(&empty, &veto("2", "b")).unwrap().starts_with("veto = [{ version"));
}

#[test]
fn a_removed_entry_takes_its_own_lines_with_it_and_no_comment_of_others() {
    let removed = apply(RELEASE, &Edit::Unhold { scope: HoldScope::Canary }).unwrap();
    let entry = "\n[[hold]]\nscope  = \"canary\"\nreason = \"load test\"\nuntil  = 2026-11-22T12:00:00Z\n";
    assert_eq!(removed, RELEASE.replace(entry, ""));
    let removed = apply(RELEASE, &Edit::Unveto { version: v("16.4.1-ee.0") }).unwrap();
    assert!(removed.contains("# Found by QA.\n") && removed.contains("[[hold]]"), "{removed}");
    assert!(!removed.contains("INC-1"), "{removed}");
}

#[test]
fn of_two_holds_of_the_same_track_nobody_guesses_which_is_meant() {
    let hold = Edit::Hold { scope: HoldScope::Canary, reason: "fire drill".into(), until: None };
    let two = apply(RELEASE, &hold).unwrap();
    assert_eq!(apply(&two, &hold).unwrap(), two);
    let error = apply(&two, &Edit::Unhold { scope: HoldScope::Canary }).unwrap_err();
    assert_eq!(error.to_string(), "it has [[hold]] scope = \"canary\" 2 times: remove the right one by hand");
}

#[test]
fn what_is_there_with_other_words_and_what_is_not_there_are_errors() {
    let there = apply(RELEASE, &veto("16.4.1-ee.0", "another reason")).unwrap_err();
    assert!(matches!(there, EditError::There { .. }), "{there}");
    let not_there = apply(RELEASE, &Edit::Unveto { version: v("1") }).unwrap_err();
    assert_eq!(not_there.to_string(), "it has no [[veto]] version = \"1\"");
    let missing = apply("[main]\nversion = '1'", &Edit::Weight(3)).unwrap_err();
    assert_eq!(missing.to_string(), "it has no `weight` in [canary]");
    assert!(matches!(apply("[main", &Edit::Weight(3)), Err(EditError::Syntax { .. })));
}

#[test]
fn tables_that_are_there_once_are_written_over_in_place_and_removed() {
    let emergency = |version: &str| Edit::Emergency { version: v(version), reason: "CVE-1".into() };
    let first = apply(RELEASE, &emergency("1")).unwrap();
    assert_eq!(first, format!("{RELEASE}\n[emergency]\nversion = \"1\"\nreason  = \"CVE-1\"\n"));
    let second = apply(&first, &emergency("2")).unwrap();
    assert_eq!(second, first.replace("\"1\"", "\"2\""));
    assert_eq!(apply(&second, &Edit::EndEmergency).unwrap(), RELEASE);
    let allow = Edit::Allow { past_post_migrations_of: v("1"), reason: "backup".into() };
    let allowed = apply(RELEASE, &allow).unwrap();
    assert!(
        allowed.ends_with("[allow]\npast_post_migrations_of = \"1\"\nreason                  = \"backup\"\n")
    );
    assert_eq!(apply(&allowed, &Edit::EndAllow).unwrap(), RELEASE);
}

#[test]
fn a_patch_is_written_with_all_its_keys() {
    let patch = Edit::Patch(PatchEntry {
        version: v("16.4.2"),
        file: "patches/16.4.2/fix.patch".into(),
        sha256: "0".repeat(64),
        root: "rails".into(),
        roles: vec!["web".into(), "api".into()],
        reason: "session fixation".into(),
        incorporated_in: vec![v("16.4.3")],
    });
    let added = apply(RELEASE, &patch).unwrap();
    assert!(added.contains("roles           = [\"web\", \"api\"]\n"), "{added}");
    assert!(added.contains("incorporated_in = [\"16.4.3\"]\n"), "{added}");
    let remove = Edit::Unpatch { file: "patches/16.4.2/fix.patch".into(), version: v("16.4.2") };
    assert_eq!(apply(&added, &remove).unwrap(), RELEASE);
}

/// A release.toml by somebody with habits of their own.
fn release() -> impl Strategy<Value = String> {
    let comment = prop_oneof![Just(""), Just("# why not\n"), Just("\n\n# [[veto]]\n"), Just("\n")];
    let quote = prop_oneof![Just("\""), Just("'"), Just("\"\"\"")];
    let blank = prop_oneof![Just(""), Just(" "), Just("\t "), Just("   ")];
    let blocks = prop::sample::subsequence(vec![0_usize, 1, 2, 3], 0..4);
    (comment.clone(), comment, quote, blank, "[0-9][0-9.]{0,4}", 0_u8..99, blocks, prop::bool::ANY).prop_map(
        |(first, second, quote, blank, version, weight, blocks, crlf)| {
            let all = [
                "[[veto]]\nversion = '0.1' # x\nreason = '''a\n[[veto]]\nversion = \"9\"'''\n",
                "[emergency]\nreason = \"now\"\nversion='7'\n",
                "[[hold]]\nscope = \"main\"\nreason = \"# no comment\"\n",
                "[other.thing]\nx = [1,\n 2, # two\n]\n",
            ];
            let rest: Vec<&str> = blocks.into_iter().map(|place| all[place]).collect();
            let text = format!(
                "{first}[main]{blank}\nversion{blank}={blank}{quote}{version}{quote}{blank}#x\n{second}\
                 [canary]\nversion = '5'\nweight{blank}= {weight} # share\n{second}{}",
                rest.join(second)
            );
            if crlf { text.replace('\n', "\r\n") } else { text }
        },
    )
}

fn edits() -> impl Strategy<Value = Edit> {
    let version = || "[1-9][0-9.~-]{0,6}".prop_map(|text| v(&text));
    let reason = || "[a-zA-Z\"'#\\\\ü]{1,12}";
    let until =
        || prop::option::of((0_i64..4_000_000_000).prop_map(|at| Timestamp::from_second(at).unwrap()));
    let what = prop_oneof![Just(OutTarget::Host("h".into())), Just(OutTarget::LoadBalancerNode("n".into()))];
    prop_oneof![
        version().prop_map(|to| Edit::Version { track: Track::Main, from: None, to }),
        version().prop_map(|to| Edit::Version { track: Track::Canary, from: None, to }),
        (0_u8..100).prop_map(Edit::Weight),
        (version(), reason()).prop_map(|(version, reason)| Edit::Veto { version, reason }),
        (reason(), until()).prop_map(|(reason, until)| Edit::Hold { scope: HoldScope::All, reason, until }),
        (what, reason(), until()).prop_map(|(what, reason, until)| Edit::Out { what, reason, until }),
        (version(), reason()).prop_map(|(version, reason)| Edit::Emergency { version, reason }),
    ]
}

/// What takes an added entry out again.
fn undo(edit: &Edit) -> Option<Edit> {
    match edit {
        Edit::Veto { version, .. } => Some(Edit::Unveto { version: version.clone() }),
        Edit::Hold { scope, .. } => Some(Edit::Unhold { scope: *scope }),
        Edit::Out { what, .. } => Some(Edit::In { what: what.clone() }),
        _ => None,
    }
}

proptest! {
    #[test]
    fn an_edit_keeps_every_byte_outside_of_what_it_is_about(text in release(), edit in edits()) {
        let edited = apply(&text, &edit).unwrap();
        let before = text.bytes().zip(edited.bytes()).take_while(|(a, b)| a == b).count();
        let after = text.bytes().rev().zip(edited.bytes().rev()).take_while(|(a, b)| a == b).count();
        let after = after.min(text.len() - before).min(edited.len() - before);
        let (gone, new) = (&text[before..text.len() - after], &edited[before..edited.len() - after]);
        match &edit {
            // What went is within one value's line; entries are only ever added.
            Edit::Version { .. } | Edit::Weight(_) => prop_assert!(!gone.contains('\n') && !new.contains('\n')),
            Edit::Emergency { .. } => {}
            _ => prop_assert_eq!(gone, ""),
        }
        // All other values mean what they meant.
        let (mut old, mut now): (toml_edit::DocumentMut, toml_edit::DocumentMut) =
            (text.parse().unwrap(), edited.parse().unwrap());
        for document in [&mut old, &mut now] {
            match &edit {
                Edit::Version { track, .. } => { document[text::table_of(*track)]["version"] = toml_edit::value("x"); }
                Edit::Weight(_) => { document["canary"]["weight"] = toml_edit::value(0); }
                Edit::Veto { .. } => { document.remove("veto"); }
                Edit::Hold { .. } => { document.remove("hold"); }
                Edit::Out { .. } => { document.remove("out"); }
                _ => { document.remove("emergency"); }
            }
        }
        prop_assert_eq!(meaning(&old), meaning(&now));
    }

    #[test]
    fn an_edit_applied_twice_is_the_same_as_once(text in release(), edit in edits()) {
        let once = apply(&text, &edit).unwrap();
        prop_assert_eq!(apply(&once, &edit).unwrap(), once);
    }

    #[test]
    fn what_is_added_and_removed_leaves_the_file_as_it_was(text in release(), edit in edits()) {
        let Some(undo) = undo(&edit) else { return Ok(()) };
        prop_assert_eq!(apply(&apply(&text, &edit).unwrap(), &undo).unwrap(), text);
    }
}

/// Keys and values without the way in which they are written.
fn meaning(document: &toml_edit::DocumentMut) -> std::collections::BTreeMap<String, String> {
    fn walk(
        path: &str,
        table: &dyn toml_edit::TableLike,
        found: &mut std::collections::BTreeMap<String, String>,
    ) {
        for (key, item) in table.iter() {
            let path = format!("{path}.{key}");
            match item {
                toml_edit::Item::ArrayOfTables(tables) => {
                    for (place, table) in tables.iter().enumerate() {
                        walk(&format!("{path}[{place}]"), table, found);
                    }
                }
                _ => match item.as_table_like() {
                    Some(table) => walk(&path, table, found),
                    None => drop(
                        found.insert(path, item.to_string().split('#').next().unwrap().trim().to_owned()),
                    ),
                },
            }
        }
    }
    let mut found = std::collections::BTreeMap::new();
    walk("", document.as_table(), &mut found);
    found
}
