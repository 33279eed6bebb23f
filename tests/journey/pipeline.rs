//! Staging and production in one lab, with the service that brings releases through them.

use std::process::Output;

use lab::{HostKind, Lab, LabSpec};
use model::{Event, Recorded, StageName, Track, Version};
use tests::deployment::Deployment;
use tests::stories::in_the_lab_of;

use crate::PROGRAM;

/// What runs everywhere in the beginning.
pub(crate) const FIRST: &str = "1.0.0";

const FILES: [(&str, &str); 5] = [
    ("environments/base.toml", include_str!("desired/environments/base.toml")),
    ("environments/staging/environment.toml", include_str!("desired/environments/staging/environment.toml")),
    ("environments/staging/release.toml", include_str!("desired/environments/staging/release.toml")),
    (
        "environments/production/environment.toml",
        include_str!("desired/environments/production/environment.toml"),
    ),
    ("environments/production/release.toml", include_str!("desired/environments/production/release.toml")),
];

/// Where people change production's versions.
pub(crate) const RELEASE: &str = "environments/production/release.toml";

/// A check that fails for what stands in a file: versions, or `VERSION after STAGE`.
const QA: &str = r#"#!/bin/sh
set -eu
echo "$2 after $3" >> /var/lib/qa-runs
if grep -qxF -e "$2" -e "$2 after $3" /etc/qa/broken 2>/dev/null; then echo "checkout: 2 of 40 tests failed" >&2; exit 1; fi
"#;

/// A running service over both environments.
pub(crate) struct Pipeline<'d, 'lab> {
    pub(crate) deployment: &'d mut Deployment<'lab>,
}

/// Boots the lab, lets both environments be taken as they are found, and tells the story. `change` is applied to the
/// text of every file of the repository.
pub(crate) fn in_the_pipeline(
    name: &str,
    spec: impl FnOnce(LabSpec) -> LabSpec,
    change: impl Fn(&str, String) -> String,
    story: impl FnOnce(&mut Pipeline<'_, '_>),
) {
    let spec = spec(LabSpec::pipeline(name).with_releases([FIRST]));
    in_the_lab_of(&spec, |lab| {
        prepare(lab);
        let files = FILES.map(|(path, text)| (path, change(path, text.to_owned())));
        let mut deployment = Deployment::with_files(lab, PROGRAM, &files);
        deployment.serve();
        deployment.settles("production", 90);
        for environment in ["staging", "production"] {
            deployment.event(
                "adoption",
                0,
                30,
                |event| matches!(event, Event::Adopted { environment: at, .. } if at.as_str() == environment),
            );
        }
        story(&mut Pipeline { deployment: &mut deployment });
        deployment.stop();
    });
}

fn prepare(lab: &Lab) {
    for host in lab.hosts_of(HostKind::Migration) {
        host.write("/usr/local/bin/qa", QA).unwrap();
        // No role prepares these hosts: it is there for good.
        host.expect("chmod +x /usr/local/bin/qa; mkdir -p /etc/qa; touch /etc/shop/skip-auto-reconfigure")
            .unwrap();
    }
    lab.monitoring().unwrap().push_metric("errors_ratio", &[("env", "production")], 0.001).unwrap();
}

impl<'lab> Pipeline<'_, 'lab> {
    pub(crate) fn lab(&self) -> &'lab Lab {
        self.deployment.lab
    }

    /// Runs a command that writes a commit, in Ada's name.
    pub(crate) fn write(&self, arguments: &[&str]) -> Output {
        let person = ["--author", "Ada <ada@example.org>", "--yes"];
        let arguments: Vec<&str> = arguments.iter().copied().chain(person).collect();
        let output = self.deployment.run(&arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {told}{}", String::from_utf8_lossy(&output.stdout));
        output
    }

    /// Waits until an environment has accepted this version for a track.
    pub(crate) fn accepts(&self, environment: &str, track: Track, version: &str, within_s: u64) -> Recorded {
        let wanted = Version::parse(version).unwrap();
        self.deployment.event(
            &format!("{version} in {environment} {track}"),
            0,
            within_s,
            |event| match event {
                Event::Accepted { environment: at, version, canary, .. } if at.as_str() == environment => {
                    let target = if track == Track::Main { Some(version) } else { canary.as_ref() };
                    target == Some(&wanted)
                }
                _ => false,
            },
        )
    }

    /// Waits until a track has passed all its stages with this version.
    pub(crate) fn passes(&self, environment: &str, track: Track, version: &str, within_s: u64) -> Recorded {
        let wanted = Version::parse(version).unwrap();
        self.deployment.event(&format!("{version} passed {environment} {track}"), 0, within_s, |event| {
            matches!(event, Event::Passed { environment: at, track: on, version, .. }
                if at.as_str() == environment && *on == track && *version == wanted)
        })
    }

    /// Waits until a stage has begun with this version.
    pub(crate) fn begins(&self, environment: &str, stage: &str, version: &str, within_s: u64) -> Recorded {
        let (wanted, stage) = (Version::parse(version).unwrap(), StageName::new(stage));
        self.deployment.event(&format!("stage {stage} of {version}"), 0, within_s, |event| {
            matches!(event, Event::StageBegan { environment: at, stage: began, version, .. }
                if at.as_str() == environment && *began == stage && *version == wanted)
        })
    }

    /// Waits until the canary's share is read back, after an event.
    pub(crate) fn shares(&self, weight: u8, after: u64, within_s: u64) -> Recorded {
        self.deployment.event(
            &format!("a share of {weight} %"),
            after,
            within_s,
            |event| matches!(event, Event::ShareReached { weight: reached, .. } if *reached == weight),
        )
    }

    /// The stages that began with a version, in that order.
    pub(crate) fn stages(&self, environment: &str, version: &str) -> Vec<String> {
        let began = |recorded: Recorded| match recorded.event {
            Event::StageBegan { environment: at, stage, version: of }
                if at.as_str() == environment && of.as_str() == version =>
            {
                Some(stage.to_string())
            }
            _ => None,
        };
        self.deployment.journal().into_iter().filter_map(began).collect()
    }

    /// What happened when, in seconds since the service started, for people.
    pub(crate) fn timeline(&self) {
        let events = self.deployment.journal();
        let Some(first) = events.first().map(|recorded| recorded.at) else { return };
        for Recorded { at, event, .. } in events {
            let told = match event {
                Event::StageBegan { stage, version, .. } => format!("{version} {stage}: begins"),
                Event::StageWorked { stage, version, .. } => format!("{version} {stage}: worked"),
                Event::StagePassed { stage, version, .. } => format!("{version} {stage}: passed"),
                Event::ShareReached { weight, version, .. } => format!("{version} has {weight} %"),
                Event::Committed { environment, subject, .. } => format!("{environment}: {subject}"),
                _ => continue,
            };
            println!("{:6.1} s  {told}", at.duration_since(first).as_secs_f64());
        }
    }

    /// What the deploy host of an environment has run as QA.
    pub(crate) fn qa_runs(&self, environment: &str) -> Vec<String> {
        let host = self.lab().hosts_in(environment, HostKind::Migration).next().unwrap();
        let log = host.expect("cat /var/lib/qa-runs 2>/dev/null || true").unwrap();
        log.lines().map(str::to_owned).collect()
    }
}
