//! Every script in `tests/scripts` and its golden output beside it. `UPDATE_GOLDEN=1` writes the output anew; the diff
//! is then for review. `SCRIPTS=26` plays those alone whose names begin so.

#![allow(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::path::{Path, PathBuf};

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "script"))
        .collect();
    scripts.sort();
    scripts
}

fn is_wanted(script: &Path) -> bool {
    let name = script.file_name().unwrap().to_string_lossy().into_owned();
    std::env::var("SCRIPTS").is_ok_and(|wanted| name.starts_with(&wanted))
        || std::env::var_os("SCRIPTS").is_none()
}

fn play(script: &Path) -> String {
    let text = std::fs::read_to_string(script).unwrap();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    eprintln!("{}", script.display());
    runtime.block_on(tests::script::run(&text))
}

#[test]
fn every_script_ends_as_its_golden_file_says() {
    let scripts = scripts();
    assert!(scripts.len() >= 10, "only {} scripts", scripts.len());
    let mut wrong = Vec::new();
    for script in scripts {
        if !is_wanted(&script) {
            continue;
        }
        let golden = script.with_extension("out");
        let Ok(played) = std::panic::catch_unwind(|| play(&script)) else {
            wrong.push(format!("{}: cannot be played to its end", script.display()));
            continue;
        };
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &played).unwrap();
        }
        let known = std::fs::read_to_string(&golden).unwrap_or_default();
        if known != played {
            let diff = similar::TextDiff::from_lines(&known, &played);
            wrong.push(format!("{}:\n{}", script.display(), diff.unified_diff()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_script_breaks_a_promise() {
    for script in scripts() {
        let golden = std::fs::read_to_string(script.with_extension("out")).unwrap();
        assert!(!golden.contains("VIOLATION"), "{}", script.display());
    }
}

/// A list of every reason, with a piece of its text. A reason that is not listed does not compile.
macro_rules! reasons {
    ($($reason:ident => $text:literal,)*) => {
        const REASONS: &[(&str, &str)] = &[$((stringify!($reason), $text)),*];

        #[allow(dead_code, reason = "the compiler reads it: every reason is listed")]
        fn is_listed(reason: &model::Reason) {
            match reason {
                $(model::Reason::$reason { .. } => {})*
            }
        }
    };
}

reasons! {
    FreshFacts => "is being looked at",
    InFlight => "is under way (",
    StepOverdue => "has been under way for more than",
    JobRunning => "a job from before the restart still runs",
    JobInDoubt => "has no recorded end and does not run",
    HostUnknown => "storage-02: unreachable:",
    NodeUnknown => "load balancer node fe-02",
    RowMissing => "no server row",
    RowElsewhere => "which is not this host",
    EarlierRole => "role storage comes first",
    Downloading => "packages are being downloaded first",
    Budget => "of at most 1 hosts are out",
    Parallel => "are being worked on, as many as may be",
    BelowFloor => "servers in rotation on",
    Draining => "sessions, most of them in",
    DrainTimedOut => "sessions did not end in time",
    Backoff => "; attempt ",
    Halted => "failed three times and is halted",
    StageFailing => "failed with",
    HealthPending => "not healthy yet (",
    Unhealthy => ": not healthy: ",
    LoadBalancerCheck => "not UP yet",
    ForeignDrain => "taken out by somebody else",
    ClaimedByOther => "claimed by service",
    DirectionUnknown => "forward or back?",
    ReportOnly => "mode is report",
    OutageNotAllowed => "the last server of backend",
    Vetoed => "is vetoed:",
    Held => "held (",
    Paused => "paused by ada until",
    Frozen => "frozen until",
    WouldNotFinish => "and not finish before the freeze",
    GateNotGreen => "; green is",
    GateQuiet => "is green, and counts from",
    Soaking => "is done; watched until",
    CheckFailed => "track canary: check qa after stage migrations of 1.1.0 failed",
    MigrationFailed => "stage migrations: migrations of 1.1.0 failed",
    PromotionRequired => "has not passed environment staging",
    OlderStillRuns => "would leave it behind",
    EarlierStage => "stage migrations comes first",
    MainFirst => "the canary takes nothing new meanwhile",
    PastPostMigration => "lies before the post-deployment migrations",
    CanaryWeight => "go down before a server leaves",
    Ramping => "percent until",
    PatchNotIncorporated => "does not hold the patch",
    SameMachine => "it is the same machine as",
    AgentBusy => "is in the middle of a run",
    JournalLost => "which this journal does not know",
    RunningUnknown => "nothing tells whether",
    HostOut => "declared out",
    CommitUntrusted => "is not trusted",
    SourceUnavailable => "the git remote cannot be read",
    HistoryRewritten => "history was rewritten",
    RevisionInvalid => "is invalid (",
}

#[test]
fn every_reason_to_wait_is_shown_by_some_script() {
    let outputs: Vec<String> = scripts()
        .iter()
        .map(|script| std::fs::read_to_string(script.with_extension("out")).unwrap())
        .collect();
    let told: Vec<&str> =
        outputs.iter().flat_map(|output| output.lines()).filter(|line| line.starts_with("  ")).collect();
    let shown = |text: &str| told.iter().any(|line| line.contains(text));
    let missing: Vec<_> = REASONS.iter().filter(|(_, text)| !shown(text)).collect();
    assert!(missing.is_empty(), "no script shows {missing:?}");
}
