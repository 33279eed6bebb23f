//! When a freeze is open: from the clock on the wall of its zone to instants.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp};

use crate::pipeline::{Day, Freeze, Moment};

/// A stretch of time, with its beginning and without its end. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first instant in it.
    pub from: Timestamp,
    /// The first instant after it.
    pub to: Timestamp,
}

impl Window {
    /// Whether an instant is in it.
    pub fn contains(&self, instant: Timestamp) -> bool {
        self.from <= instant && instant < self.to
    }
}

/// Which end of a window a time on the wall stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    From,
    To,
}

impl Freeze {
    /// The window that is open at `now`, else the next one that begins after it; none when a dated freeze is over.
    ///
    /// A window is open while the clock on the wall of its zone is between `from` and `to`, whatever daylight saving
    /// does to the hours between. A time that the clock skips stands for the moment of the change. A time that the
    /// clock shows twice stands for its first showing where a window begins and for its last where one ends, but no
    /// window goes on into the next. A window that lies wholly within what is skipped does not take place. A zone
    /// that this program does not know counts as UTC; [`crate::parse`] lets none through.
    pub fn window(&self, now: Timestamp) -> Option<Window> {
        let zone = TimeZone::get(&self.zone).unwrap_or(TimeZone::UTC);
        let to_come = |window: &Window| window.from < window.to && now < window.to;
        match (self.from, self.to) {
            (Moment::Once(from), Moment::Once(to)) => Some(resolved(&zone, from, to)).filter(to_come),
            (Moment::Weekly(from, from_time), Moment::Weekly(to, to_time)) => {
                let week = Week { from: (from, from_time), to: (to, to_time) };
                week.windows(&zone, zone.to_datetime(now).date()).find(to_come)
            }
            // Not from a file: both ends are of one kind there.
            (Moment::Once(_), Moment::Weekly(..)) | (Moment::Weekly(..), Moment::Once(_)) => None,
        }
    }
}

/// A window that opens every week.
struct Week {
    from: (Day, Time),
    to: (Day, Time),
}

impl Week {
    /// The windows that begin last week and in the weeks after it: two more than are needed, should some not take
    /// place.
    fn windows(&self, zone: &TimeZone, today: Date) -> impl Iterator<Item = Window> {
        let into_week = i64::from(today.weekday().to_monday_zero_offset());
        (-1..=3).filter_map(move |week| self.beginning_in(zone, today, 7 * week - into_week))
    }

    /// The window that begins in the week of the Monday that is so many days away, up to where the next one begins.
    fn beginning_in(&self, zone: &TimeZone, today: Date, monday: i64) -> Option<Window> {
        let wraps = if self.to <= self.from { 7 } else { 0 };
        let window =
            resolved(zone, on_day(today, monday, self.from)?, on_day(today, monday + wraps, self.to)?);
        let next = on_day(today, monday + 7, self.from);
        let next = next.map_or(Timestamp::MAX, |next| instant(zone, next, End::From));
        Some(Window { to: window.to.min(next), ..window })
    }
}

fn on_day(today: Date, monday: i64, (day, time): (Day, Time)) -> Option<DateTime> {
    let days = monday + i64::from(day.weekday().to_monday_zero_offset());
    Some(today.checked_add(Span::new().try_days(days).ok()?).ok()?.to_datetime(time))
}

/// Empty or turned round when the clock skips all of it.
fn resolved(zone: &TimeZone, from: DateTime, to: DateTime) -> Window {
    Window { from: instant(zone, from, End::From), to: instant(zone, to, End::To) }
}

/// What is beyond the calendar's end stands for that end: `9999-12-31` is how people write "for ever".
fn instant(zone: &TimeZone, wall: DateTime, end: End) -> Timestamp {
    let beyond = if wall.year() < 0 { Timestamp::MIN } else { Timestamp::MAX };
    let ambiguous = zone.to_ambiguous_timestamp(wall);
    let resolved = match (ambiguous.offset(), end) {
        (AmbiguousOffset::Gap { .. }, _) => {
            // Read by the later offset the time falls before the change, by less than the clock skips.
            return ambiguous.earlier().map_or(beyond, |before| {
                zone.following(before).next().map_or(before, |change| change.timestamp())
            });
        }
        (AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. }, End::From) => {
            ambiguous.earlier()
        }
        (AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. }, End::To) => ambiguous.later(),
    };
    resolved.unwrap_or(beyond)
}
