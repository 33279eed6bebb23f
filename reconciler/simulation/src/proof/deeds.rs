//! What people do: commits, and words to the service.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use model::{
    Desired, Emergency, EnvironmentName, Freeze, Hold, HoldScope, InFlightAtFreeze, Mode, Moment, Out,
    OutTarget, Patch, Version, Veto,
};

use crate::proof::happening::{Deed, Which};
use crate::proof::life::{Life, version};
use crate::proof::shape::{PRODUCTION, STAGING};
use crate::proof::troubles::one_of;
use crate::state::Release;

/// How a version can be; most are good.
const RELEASES: [Release; 10] = [
    Release::GOOD,
    Release::GOOD,
    Release::GOOD,
    Release::GOOD,
    Release::GOOD,
    Release::SICKLY,
    Release::NEVER_HEALTHY,
    Release::NOT_INSTALLABLE,
    Release::NOT_STARTING,
    Release::NOWHERE,
];

const WEIGHTS: [u8; 4] = [1, 5, 20, 50];

impl Life<'_> {
    pub(crate) async fn does(&mut self, deed: Deed, which: Which, lasts: Duration) {
        self.world.meets(&format!("{deed:?}"), true);
        let until = self.now().checked_add(lasts).ok();
        match deed {
            Deed::Bump => {
                let next = self.next_version(which);
                self.releases(&next, |desired, next| desired.target = next.clone());
            }
            Deed::Revert => drop(self.source.revert()),
            Deed::Canary => {
                let (next, weight, shape) = (self.next_version(which), weight(which), &self.scenario.shape);
                self.releases(&next, |desired, next| desired.canary = shape.canary_of(desired, next, weight));
            }
            Deed::Promote => self.edits(|desired| desired.target = canary_version(desired)),
            Deed::Weight => self.edits(|desired| {
                desired.canary.iter_mut().for_each(|canary| {
                    canary.weight = weight(which);
                    canary.ramp.retain(|step| step.weight < weight(which));
                });
            }),
            Deed::CanaryGone => self.edits(|desired| desired.canary = None),
            Deed::Emergency => {
                let next = self.next_version(which);
                self.releases(&next, |desired, next| {
                    desired.target = next.clone();
                    desired.exceptions.emergency =
                        Some(Emergency { version: next.clone(), reason: reason() });
                });
            }
            Deed::Nonsense => drop(self.source.commit_invalid("nonsense", &["line 1: unknown key"])),
            Deed::ForcePush => {
                let environments = self.source.newest().unwrap_or_default();
                self.source.rewrite("another history", environments.into_values());
            }
            Deed::Publish => {
                self.nightlies += 1;
                self.world.publish(&version(&format!("{}", 9_000 + self.nightlies)));
            }
            Deed::Pause => self.asks_for_a_pause(lasts).await,
            Deed::Retry => self.says(engine::Word::Retry).await,
            Deed::Hold
            | Deed::Veto
            | Deed::HostOut
            | Deed::NodeOut
            | Deed::Freeze
            | Deed::Patch
            | Deed::HostLeaves
            | Deed::ReportOnly => self.makes_an_exception(deed, which, until),
        }
    }

    fn makes_an_exception(&mut self, deed: Deed, which: Which, until: Option<Timestamp>) {
        let (host, node) = (self.host(which), one_of(self.scenario.shape.nodes(), which));
        let now = self.now();
        self.edits(|desired| {
            let exceptions = &mut desired.exceptions;
            let out = |what| Out { what, reason: reason(), until };
            match deed {
                Deed::Hold => exceptions.holds.push(Hold { scope: scope(which), reason: reason(), until }),
                Deed::Veto => {
                    exceptions.vetoes.push(Veto { version: desired.target.clone(), reason: reason() });
                }
                Deed::HostOut => exceptions.outs.push(out(OutTarget::Host(host.clone()))),
                Deed::NodeOut => exceptions.outs.push(out(OutTarget::LoadBalancerNode(node.clone()))),
                Deed::Freeze => desired.fleet.policy.freezes.extend(freeze(now, until, which)),
                Deed::Patch => exceptions.patches.push(patch(&desired.target, which)),
                Deed::ReportOnly => desired.fleet.mode = Mode::Report,
                Deed::HostLeaves => leave(desired, &host),
                _ => {}
            }
        });
    }

    /// What does not end by itself is taken back by a commit.
    pub(crate) fn undoes(&mut self, deed: Deed) {
        self.world.meets(&format!("{deed:?}"), false);
        match deed {
            Deed::Nonsense => drop(self.source.revert()),
            Deed::Veto => self.edits(|desired| desired.exceptions.vetoes.clear()),
            Deed::Emergency => self.edits(|desired| desired.exceptions.emergency = None),
            Deed::Patch => self.edits(|desired| desired.exceptions.patches.clear()),
            Deed::ReportOnly => self.edits(|desired| desired.fleet.mode = Mode::Reconcile),
            Deed::HostLeaves => {
                let fleet = self.scenario.shape.environments(&self.versions[0]).pop();
                let Some(roles) = fleet.map(|desired| desired.fleet.roles) else { return };
                self.edits(|desired| desired.fleet.roles.clone_from(&roles));
            }
            _ => {}
        }
    }

    /// The next version, which nobody has seen before, of one kind or another.
    fn next_version(&mut self, which: Which) -> Version {
        // One that Debian sorts below all others now and then: which way that goes, only a person knows.
        let number = self.versions.len() + 1;
        let next = version(&if which % 32 == 31 { format!("0.{number}") } else { number.to_string() });
        let release = RELEASES[usize::from(which) % RELEASES.len()];
        self.world.set_release(&next, release);
        self.versions.push(next.clone());
        next
    }

    /// Commits a version to production, and to staging where there is one.
    fn releases(&self, next: &Version, change: impl Fn(&mut Desired, &Version)) {
        let Some(mut environments) = self.source.newest() else { return };
        if let Some(staging) = environments.get_mut(&EnvironmentName::new(STAGING)) {
            staging.target = next.clone();
        }
        if let Some(production) = environments.get_mut(&EnvironmentName::new(PRODUCTION)) {
            change(production, next);
        }
        self.source.commit(&format!("release {next}"), environments.into_values());
    }

    /// Commits a change of production.
    pub(crate) fn edits(&self, change: impl FnOnce(&mut Desired)) {
        self.edits_of(&Self::production(), change);
    }

    /// Commits a change of an environment.
    pub(crate) fn edits_of(&self, environment: &EnvironmentName, change: impl FnOnce(&mut Desired)) {
        let Some(mut environments) = self.source.newest() else { return };
        let Some(desired) = environments.get_mut(environment) else { return };
        change(desired);
        self.source.commit("a change", environments.into_values());
    }

    async fn asks_for_a_pause(&mut self, lasts: Duration) {
        let lasts = SignedDuration::try_from(lasts).unwrap_or(SignedDuration::ZERO);
        self.says(engine::Word::Pause { lasts }).await;
    }
}

fn reason() -> String {
    "because".to_owned()
}

fn weight(which: Which) -> u8 {
    WEIGHTS[usize::from(which) % WEIGHTS.len()]
}

fn scope(which: Which) -> HoldScope {
    [HoldScope::All, HoldScope::Main, HoldScope::Canary][usize::from(which) % 3]
}

fn canary_version(desired: &Desired) -> Version {
    desired.canary.as_ref().map_or_else(|| desired.target.clone(), |canary| canary.version.clone())
}

fn freeze(now: Timestamp, until: Option<Timestamp>, which: Which) -> Option<Freeze> {
    let there = |at: Timestamp| Moment::Once(at.to_zoned(jiff::tz::TimeZone::UTC).datetime());
    let in_flight = if which % 2 == 0 { InFlightAtFreeze::FinishHost } else { InFlightAtFreeze::FinishStage };
    let zone = "Etc/UTC".to_owned();
    let until = until?;
    // Some are announced: nobody begins then what would not end before.
    let from = if which % 4 < 2 { now } else { now + until.duration_since(now) / 2 };
    Some(Freeze { reason: reason(), from: there(from), to: there(until), zone, in_flight })
}

fn patch(target: &Version, which: Which) -> Patch {
    Patch {
        version: target.clone(),
        file: format!("patches/{which}.patch"),
        sha256: format!("sum-{which}"),
        contents: String::new(),
        root: "/opt/app".to_owned(),
        roles: vec!["web".into()],
        reason: reason(),
        incorporated_in: Vec::new(),
    }
}

/// A role keeps at least two hosts, so that its backend stays.
fn leave(desired: &mut Desired, host: &model::HostName) {
    for role in desired.fleet.roles.iter_mut().filter(|role| role.hosts.len() > 2) {
        role.hosts.retain(|name| name != host);
    }
}
