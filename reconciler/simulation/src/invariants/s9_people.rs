//! S9: nothing begins, going forward, under a hold, in a pause or in a freeze.
//!
//! Judged as something new begins, by the commit that wants it and by what people said to the service, each by the
//! service's own wall clock.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use model::{Day, Desired, Freeze, InFlightAtFreeze, Moment, Stage, Step, Track};

use crate::invariants::Promise;
use crate::state::State;

const MINUTES_A_WEEK: i64 = 7 * 24 * 60;

impl State {
    pub(super) fn under_no_hold(&mut self, desired: &Desired, step: &Step, stage: Option<&Stage>) {
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
        if self.law.as_mut().is_some_and(|law| law.paused(step)) {
            self.violated(Promise::S9, format!("{}: begins on {} in a pause", step.id, step.host));
        }
    }

    /// By when the step was decided, however late it sets out: whoever stood still meanwhile, or waited for a slow journal, could
    /// not know of a freeze that came then.
    pub(super) fn in_no_freeze(&mut self, desired: &Desired, step: &Step, in_flight_since: Timestamp) {
        let decided_ms = self.decided_at_ms(step);
        let decided = self.clock.at(decided_ms);
        let later = decided + self.clock.behind_at(decided_ms);
        let stops = |freeze: &&Freeze| {
            in_window(freeze, later).is_some()
                && in_window(freeze, decided).is_some_and(|since| {
                    let finishes =
                        freeze.in_flight == InFlightAtFreeze::FinishStage && in_flight_since < since;
                    !finishes
                })
        };
        if let Some(freeze) = desired.fleet.policy.freezes.iter().find(stops) {
            let what = format!("{}: begins on {} in a freeze: {}", step.id, step.host, freeze.reason);
            self.violated(Promise::S9, what);
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
