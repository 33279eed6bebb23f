//! Commits that people push: one change of release.toml each.

use jiff::SignedDuration;
use model::{
    Allow, CanaryTarget, Desired, Direction, Emergency, Hold, HoldScope, HostName, Out, OutTarget, Patch,
    RampStep, RoleName, Version, Veto,
};

use super::{Stage, parse};

impl Stage {
    /// Commits the fleet as it is described now, with another main version.
    pub fn commit(&mut self, version: &str) {
        self.commit_change(&["main", version]);
    }

    /// `commit …`:
    /// `main VERSION [forward|back]`, `canary VERSION weight N [ramp N:TIME …]`, `weight N`,
    /// `veto VERSION because …`, `hold main|canary|all [for TIME] because …`, `out HOST-OR-NODE [for TIME] because …`,
    /// `emergency VERSION because …`, `patch VERSION NAME on ROLE… [in VERSION…] because …`,
    /// `allow past VERSION because …`, `no canary|veto|hold|out|emergency|patch|allow`; and of environment.toml `the file`,
    /// `without HOST`, `without environment`.
    pub(super) fn commit_change(&mut self, words: &[&str]) {
        self.take_in_other_commits();
        let now = engine::World::now(&self.world);
        let (what, reason) = reason(words);
        let desired = self.desired();
        let timed = |time: &[&str]| match time {
            [] => None,
            ["for", time] => Some(now + time.parse::<SignedDuration>().expect("a duration")),
            other => panic!("no duration: {}", other.join(" ")),
        };
        match what {
            ["main", version] => (desired.target, desired.direction) = (parse(version), None),
            ["main", version, way] => {
                (desired.target, desired.direction) = (parse(version), Some(direction(way)));
            }
            ["canary", version, "weight", weight] => canary(desired, version, weight, &[]),
            ["canary", version, "weight", weight, "ramp", ramp @ ..] => {
                canary(desired, version, weight, ramp)
            }
            ["weight", weight] => {
                let canary = desired.canary.as_mut().expect("there is a canary");
                canary.weight = weight.parse().expect("a number");
            }
            ["veto", version] => desired.exceptions.vetoes.push(Veto { version: parse(version), reason }),
            ["hold", scope, time @ ..] => {
                desired.exceptions.holds.push(Hold { scope: hold_scope(scope), reason, until: timed(time) });
            }
            ["out", name, time @ ..] => {
                let what = out_target(desired, name);
                desired.exceptions.outs.push(Out { what, reason, until: timed(time) });
            }
            ["emergency", version] => {
                desired.exceptions.emergency = Some(Emergency { version: parse(version), reason });
            }
            ["patch", version, name, "on", rest @ ..] => {
                let patch = patch(version, name, rest, reason);
                desired.exceptions.patches.push(patch);
            }
            ["allow", "past", version] => {
                desired.exceptions.allow = Some(Allow { past_post_migrations_of: parse(version), reason });
            }
            ["no", what] => withdraw(desired, what),
            ["the", "file"] => {}
            ["without", "environment"] => drop(self.desired.remove(&self.current)),
            ["without", host] => {
                for role in &mut desired.fleet.roles {
                    role.hosts.retain(|known| known.as_str() != *host);
                }
            }
            other => panic!("no command: commit {}", other.join(" ")),
        }
        let subject = format!("{}: {}", self.current, words.join(" "));
        self.source.commit(&subject, self.desired.values().cloned());
    }

    /// What the service has committed itself, or a revert has brought back, stays.
    fn take_in_other_commits(&mut self) {
        for (name, newest) in self.source.newest().unwrap_or_default() {
            if let Some(desired) = self.desired.get_mut(&name) {
                desired.target = newest.target;
                desired.direction = newest.direction;
                desired.canary = newest.canary;
                desired.exceptions = newest.exceptions;
            }
        }
    }
}

/// Words before `because`, and the text after it.
pub(super) fn reason<'a, 'b>(words: &'a [&'b str]) -> (&'a [&'b str], String) {
    match words.iter().position(|word| *word == "because") {
        Some(at) => (&words[..at], words[at + 1..].join(" ")),
        None => (words, "mended".to_owned()),
    }
}

fn canary(desired: &mut Desired, version: &str, weight: &str, ramp: &[&str]) {
    let number = |text: &str| text.parse().expect("a number");
    let step = |step: &&str| {
        let (weight, soak) = step.split_once(':').expect("WEIGHT:TIME");
        RampStep { weight: number(weight), soak: soak.parse().expect("a duration") }
    };
    let ramp = ramp.iter().map(step).collect();
    desired.canary = Some(CanaryTarget { version: parse(version), weight: number(weight), ramp });
}

fn direction(way: &str) -> Direction {
    match way {
        "forward" => Direction::Forward,
        "back" => Direction::Back,
        other => panic!("no direction: {other}"),
    }
}

fn hold_scope(scope: &str) -> HoldScope {
    match scope {
        "main" => HoldScope::Main,
        "canary" => HoldScope::Canary,
        "all" => HoldScope::All,
        other => panic!("no scope: {other}"),
    }
}

fn out_target(desired: &Desired, name: &str) -> OutTarget {
    let name = HostName::new(name);
    if desired.fleet.nodes().contains(&name) {
        OutTarget::LoadBalancerNode(name)
    } else {
        OutTarget::Host(name)
    }
}

/// The simulated world does not look into a patch: its name stands for its checksum.
fn patch(version: &str, name: &str, rest: &[&str], reason: String) -> Patch {
    let mut parts = rest.split(|word| *word == "in");
    let roles = parts.next().into_iter().flatten().map(|role| RoleName::new(*role)).collect();
    let incorporated_in: Vec<Version> = parts.flatten().map(|version| parse(version)).collect();
    Patch {
        version: parse(version),
        file: format!("patches/{name}"),
        sha256: name.to_owned(),
        contents: String::new(),
        root: "/opt/shop".to_owned(),
        roles,
        reason,
        incorporated_in,
    }
}

fn withdraw(desired: &mut Desired, what: &str) {
    let exceptions = &mut desired.exceptions;
    match what {
        "canary" => desired.canary = None,
        "veto" => exceptions.vetoes.clear(),
        "hold" => exceptions.holds.clear(),
        "out" => exceptions.outs.clear(),
        "emergency" => exceptions.emergency = None,
        "patch" => exceptions.patches.clear(),
        "allow" => exceptions.allow = None,
        other => panic!("no command: commit no {other}"),
    }
}
