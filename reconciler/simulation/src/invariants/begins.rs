//! S8 and S9: what stops a beginning, going forward.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use model::{
    Action, Day, Desired, Freeze, HostName, InFlightAtFreeze, Mode, Moment, Stage, Step, Track, Verdict,
};

use crate::balancer::TakenBy;
use crate::invariants::Promise;
use crate::named::job_id;
use crate::state::State;

/// What was asked a moment ago may cross with what begins.
const CROSSING: SignedDuration = SignedDuration::from_millis(200);

const MINUTES_A_WEEK: i64 = 7 * 24 * 60;

impl State {
    /// Judges a step as it sets out, when it begins something new, going forward.
    pub(crate) fn begins(&mut self, step: &Step) {
        self.is_wanted(step);
        let Some(desired) = self.law_of(step) else { return };
        self.may_change_anything(&desired, step);
        self.weight_is_known(&desired);
        if !self.is_new(step) || !self.is_forward(&desired, step) {
            return;
        }
        let stages = desired.fleet.stages();
        let stage = stages.iter().find(|stage| step.stage.as_ref() == Some(&stage.name));
        let began = self.stage_began(step);
        self.under_no_hold(&desired, step, stage);
        if desired.emergency(&step.version).is_none() {
            self.in_no_freeze(&desired, step, began);
            self.under_no_red_gate(&desired, step, stage);
        }
    }

    /// S10: the commit that wants a step was in force.
    fn is_wanted(&mut self, step: &Step) {
        if self.law.as_ref().is_some_and(|law| !law.accepts(step)) {
            let what = format!("{}: {} was never accepted", step.id, step.commit);
            self.violated(Promise::S10, what);
        }
    }

    /// S11: where nothing may be changed, nothing sets out to.
    fn may_change_anything(&mut self, desired: &Desired, step: &Step) {
        if desired.fleet.mode == Mode::Report {
            let what = format!("{}: {} on {} in report mode", step.id, step.action.kind(), step.host);
            self.violated(Promise::S11, what);
        }
    }

    /// When the world first saw something begin of the step's stage and version.
    fn stage_began(&mut self, step: &Step) -> Timestamp {
        let now = self.clock.at(self.now_ms);
        let Some(stage) = step.stage.clone() else { return now };
        let key = (step.environment.clone(), stage, step.version.clone());
        let told = self.law.as_mut().and_then(|law| law.stage_began(&key));
        let seen = *self.stages.entry(key).or_insert(now);
        told.map_or(seen, |told| told.min(seen))
    }

    fn is_new(&self, step: &Step) -> bool {
        let Some(host) = self.hosts.get(&step.host) else { return false };
        match &step.action {
            // What we have taken out before needs our mark to be given back.
            Action::Claim { .. } => host.claim.is_none() && !self.is_taken_by_us(&step.host),
            Action::Migrate { .. } => !host.jobs.contains_key(&job_id(step)),
            _ => false,
        }
    }

    fn is_taken_by_us(&self, host: &HostName) -> bool {
        let mut rows = self.nodes.values().flat_map(|node| node.rows.values());
        rows.any(|row| row.host == *host && row.taken_by == TakenBy::Us)
    }

    fn is_forward(&self, desired: &Desired, step: &Step) -> bool {
        let Some(host) = self.hosts.get(&step.host) else { return false };
        let wanted = host.role.package_version(&step.version, "bookworm");
        let moves = matches!(step.action, Action::Migrate { .. }) || host.installed() != Some(&wanted);
        moves && !self.goes_back(desired, step)
    }

    fn under_no_hold(&mut self, desired: &Desired, step: &Step, stage: Option<&Stage>) {
        let now = self.clock.at(self.now_ms) + self.clock.behind();
        let role = desired.fleet.role_of(&step.host).map(|role| role.track);
        // Migrations are for whichever track takes the version.
        let takes = |track: &Track| *desired.target_of(*track) == step.version;
        let tracks = match (role, stage) {
            (Some(track), _) => vec![track],
            (None, _) => [Track::Canary, Track::Main].into_iter().filter(takes).collect(),
        };
        let holds: Vec<_> = tracks.iter().map(|track| desired.exceptions.hold(*track, now)).collect();
        if let Some(Some(hold)) = holds.first().filter(|_| holds.iter().all(Option::is_some)) {
            let what = format!("{}: begins on {} under a hold: {}", step.id, step.host, hold.reason);
            self.violated(Promise::S9, what);
        }
        if self.law.as_mut().is_some_and(|law| law.paused(step, now, CROSSING)) {
            self.violated(Promise::S9, format!("{}: begins on {} in a pause", step.id, step.host));
        }
    }

    fn in_no_freeze(&mut self, desired: &Desired, step: &Step, began: Timestamp) {
        let now = self.clock.at(self.now_ms);
        let later = now + self.clock.behind();
        let stops = |freeze: &&Freeze| {
            in_window(freeze, later).is_some()
                && in_window(freeze, now).is_some_and(|since| {
                    let finishes = freeze.in_flight == InFlightAtFreeze::FinishStage && began < since;
                    !finishes
                })
        };
        if let Some(freeze) = desired.fleet.policy.freezes.iter().find(stops) {
            let what = format!("{}: begins on {} in a freeze: {}", step.id, step.host, freeze.reason);
            self.violated(Promise::S9, what);
        }
    }

    fn under_no_red_gate(&mut self, desired: &Desired, step: &Step, stage: Option<&Stage>) {
        for name in stage.into_iter().flat_map(|stage| &stage.gates) {
            let Some(gate) = desired.fleet.policy.gates.get(name).filter(|gate| !gate.observe) else {
                continue;
            };
            let Some(gauge) = self.gauges.get(&(step.environment.clone(), name.clone())) else { continue };
            let (now_ms, blind_ms) = (self.now_ms, self.pace.gate_blind_ms);
            let green = match gauge.verdict {
                Verdict::Green => true,
                Verdict::NoData => gate.no_data_is_green,
                Verdict::Red | Verdict::Error => false,
            };
            let quiet_ms = u64::try_from(gate.quiet_for.as_millis()).unwrap_or(0).saturating_sub(blind_ms);
            let unquiet = gauge.noticed_until_ms.is_some_and(|until_ms| now_ms - until_ms < quiet_ms);
            let how = match (green, unquiet) {
                (false, _) if now_ms - gauge.since_ms > blind_ms => gauge.verdict.to_string(),
                (true, true) => "not green for long enough".to_owned(),
                _ => continue,
            };
            let what = format!("{}: begins on {} while gate {name} is {how}", step.id, step.host);
            self.violated(Promise::S8, what);
        }
    }
}

/// Since when a freeze has been on; none: it is not.
fn in_window(freeze: &Freeze, now: Timestamp) -> Option<Timestamp> {
    let zone = TimeZone::get(&freeze.zone).ok()?;
    let there = now.to_zoned(zone.clone()).datetime();
    match (freeze.from, freeze.to) {
        (Moment::Weekly(from_day, from), Moment::Weekly(to_day, to)) => {
            let minute = |day: i8, time: Time| {
                i64::from(day - 1) * 24 * 60 + i64::from(time.hour()) * 60 + i64::from(time.minute())
            };
            let number = |day: Day| day.weekday().to_monday_one_offset();
            let (from, to) = (minute(number(from_day), from), minute(number(to_day), to));
            let at = minute(there.weekday().to_monday_one_offset(), there.time());
            let since = (at - from).rem_euclid(MINUTES_A_WEEK);
            let length = (to - from).rem_euclid(MINUTES_A_WEEK);
            (since < length).then(|| now - SignedDuration::from_mins(since))
        }
        (Moment::Once(from), Moment::Once(to)) => {
            let on = from <= there && there < to;
            on.then(|| zone.to_timestamp(from).unwrap_or(now))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weekend() -> Freeze {
        Freeze {
            reason: "weekend".to_owned(),
            from: Moment::Weekly(Day::Fri, Time::constant(18, 0, 0, 0)),
            to: Moment::Weekly(Day::Mon, Time::constant(6, 0, 0, 0)),
            zone: "Europe/Amsterdam".to_owned(),
            in_flight: InFlightAtFreeze::FinishHost,
        }
    }

    #[test]
    fn a_weekly_window_goes_over_the_end_of_the_week_on_the_clock_of_its_zone() {
        let frozen = |at: &str| in_window(&weekend(), at.parse().unwrap()).is_some();
        // In winter Amsterdam is an hour ahead of UTC.
        assert!(!frozen("2026-01-02T16:59:00Z"));
        assert!(frozen("2026-01-02T17:00:00Z"));
        assert!(frozen("2026-01-04T12:00:00Z"));
        assert!(frozen("2026-01-05T04:59:00Z"));
        assert!(!frozen("2026-01-05T05:00:00Z"));
    }
}
