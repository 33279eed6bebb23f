//! When a freeze is open, through changes of daylight saving too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use jiff::civil::{DateTime, Time, Weekday, time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use model::{Day, Freeze, InFlightAtFreeze, Moment, Window};
use proptest::prelude::*;

const AMSTERDAM: &str = "Europe/Amsterdam";
const DAYS: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];

fn freeze(from: Moment, to: Moment, zone: &str) -> Freeze {
    let in_flight = InFlightAtFreeze::FinishHost;
    Freeze { reason: "quiet".to_owned(), from, to, zone: zone.to_owned(), in_flight }
}

fn weekly(from: (Day, Time), to: (Day, Time)) -> Freeze {
    freeze(Moment::Weekly(from.0, from.1), Moment::Weekly(to.0, to.1), AMSTERDAM)
}

fn once(from: &str, to: &str) -> Freeze {
    let moment = |text: &str| Moment::Once(text.parse().unwrap());
    freeze(moment(from), moment(to), AMSTERDAM)
}

fn weekend() -> Freeze {
    weekly((Day::Fri, time(18, 0, 0, 0)), (Day::Mon, time(6, 0, 0, 0)))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn between(from: &str, to: &str) -> Option<Window> {
    Some(Window { from: at(from), to: at(to) })
}

#[test]
fn a_weekend_is_the_next_one_until_it_is_over() {
    let coming = between("2026-11-06T18:00+01:00", "2026-11-09T06:00+01:00");
    assert_eq!(weekend().window(at("2026-11-04T12:00Z")), coming, "on Wednesday");
    assert_eq!(weekend().window(at("2026-11-06T18:00+01:00")), coming, "as it begins");
    assert_eq!(weekend().window(at("2026-11-09T05:59:59+01:00")), coming, "in its last second");
    let after = between("2026-11-13T18:00+01:00", "2026-11-16T06:00+01:00");
    assert_eq!(weekend().window(at("2026-11-09T06:00+01:00")), after, "as it ends");
}

#[test]
fn a_weekend_in_which_the_clock_changes_keeps_its_times_on_the_wall() {
    let spring = between("2026-03-27T18:00+01:00", "2026-03-30T06:00+02:00");
    assert_eq!(weekend().window(at("2026-03-29T12:00Z")), spring);
    let autumn = between("2026-10-23T18:00+02:00", "2026-10-26T06:00+01:00");
    assert_eq!(weekend().window(at("2026-10-25T12:00Z")), autumn);
}

#[test]
fn a_dated_freeze_comes_once() {
    let holidays = once("2026-12-24T18:00", "2027-01-04T06:00");
    let window = between("2026-12-24T18:00+01:00", "2027-01-04T06:00+01:00");
    assert_eq!(holidays.window(at("2026-07-01T00:00Z")), window);
    assert_eq!(holidays.window(at("2026-12-31T23:00Z")), window);
    assert_eq!(holidays.window(at("2027-01-04T06:00+01:00")), None);
}

#[test]
fn a_skipped_time_is_the_moment_of_the_change() {
    let (now, change) = (at("2026-03-28T00:00Z"), "2026-03-29T01:00Z");
    assert_eq!(
        once("2026-03-29T02:30", "2026-03-29T04:00").window(now),
        between(change, "2026-03-29T02:00Z")
    );
    assert_eq!(
        once("2026-03-29T01:30", "2026-03-29T02:30").window(now),
        between("2026-03-29T00:30Z", change)
    );
    assert_eq!(once("2026-03-29T02:10", "2026-03-29T02:50").window(now), None, "all of it is skipped");
    let night = weekly((Day::Sun, time(2, 10, 0, 0)), (Day::Sun, time(2, 50, 0, 0)));
    assert_eq!(night.window(now), between("2026-04-05T00:10Z", "2026-04-05T00:50Z"), "the week after");
}

#[test]
fn a_repeated_time_begins_with_its_first_and_ends_with_its_last_showing() {
    let now = at("2026-10-24T00:00Z");
    let wide = between("2026-10-25T00:30Z", "2026-10-25T01:45Z");
    assert_eq!(once("2026-10-25T02:30", "2026-10-25T02:45").window(now), wide);
    let nearly_always = weekly((Day::Sun, time(2, 30, 0, 0)), (Day::Sun, time(2, 20, 0, 0)));
    let until_the_next = between("2026-10-18T00:30Z", "2026-10-25T00:30Z");
    assert_eq!(nearly_always.window(now), until_the_next, "not into the next");
}

#[test]
fn for_ever_is_possible() {
    let closed =
        Freeze { zone: "America/Los_Angeles".to_owned(), ..once("2026-01-01T00:00", "9999-12-31T23:59") };
    assert_eq!(closed.window(at("2026-06-01T00:00Z")).unwrap().to, Timestamp::MAX);
    assert_eq!(weekend().window(Timestamp::MAX), None, "no week comes after the calendar's last");
    assert!(weekend().window(Timestamp::MIN).is_some());
}

/// Whether a clock on the wall shows a time of the weekly window.
fn shown_inside(freeze: &Freeze, wall: DateTime) -> bool {
    let since_monday = |day: Weekday, time: Time| {
        SignedDuration::from_hours(24 * i64::from(day.to_monday_zero_offset()))
            + time.duration_since(Time::midnight())
    };
    let (Moment::Weekly(from, from_time), Moment::Weekly(to, to_time)) = (freeze.from, freeze.to) else {
        unreachable!("only weekly ones are compared")
    };
    let (from, to) = (since_monday(from.weekday(), from_time), since_monday(to.weekday(), to_time));
    let now = since_monday(wall.weekday(), wall.time());
    if from < to { from <= now && now < to } else { from <= now || now < to }
}

/// Compares the window with the clock at every minute of a stretch, and each window with the one before it.
fn agrees_with_the_clock(freeze: &Freeze, from: Timestamp, minutes: i64) {
    let zone = TimeZone::get(&freeze.zone).unwrap();
    let mut before: Option<Window> = None;
    for minute in 0..minutes {
        let now = from + SignedDuration::from_mins(minute);
        let window = freeze.window(now).unwrap();
        assert!(window.from < window.to, "{window:?} is empty");
        assert!(now < window.to, "{window:?} is over at {now}");
        if let Some(before) = before.filter(|before| *before != window) {
            assert!(before.to <= window.from && before.to <= now, "{before:?} and {window:?} at {now}");
        }
        before = Some(window);
        let wall = zone.to_datetime(now);
        let (shown, inside) = (shown_inside(freeze, wall), window.contains(now));
        match zone.to_ambiguous_timestamp(wall).offset() {
            // What the clock shows twice may be in the window both times.
            AmbiguousOffset::Fold { .. } => assert!(inside || !shown, "{now} {window:?}"),
            _ => assert_eq!(shown, inside, "{now} {window:?}"),
        }
    }
}

#[test]
fn every_minute_of_a_year_is_in_the_window_when_the_clock_on_the_wall_says_so() {
    agrees_with_the_clock(&weekend(), at("2026-01-01T00:00Z"), 365 * 24 * 60);
}

fn moments() -> impl Strategy<Value = (Day, Time)> {
    // Mostly near the hours that clocks change at.
    let near = (prop_oneof![Just(5_usize), Just(6), Just(0)], 0_i8..5);
    let anywhere = (0_usize..7, 0_i8..24);
    (prop_oneof![3 => near, 1 => anywhere], 0_i8..60)
        .prop_map(|((day, hour), minute)| (DAYS[day], time(hour, minute, 0, 0)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Berlin's neighbour, the southern half, half an hour, a change at midnight, and a zone that once lost a day.
    #[test]
    fn around_every_change_the_window_is_what_the_clock_shows(
        from in moments(),
        to in moments(),
        place in prop_oneof![
            Just((AMSTERDAM, "2026-03-26T00:00Z")),
            Just((AMSTERDAM, "2026-10-22T00:00Z")),
            Just(("Australia/Lord_Howe", "2026-04-02T00:00Z")),
            Just(("America/Santiago", "2026-09-03T00:00Z")),
            Just(("Pacific/Apia", "2011-12-27T00:00Z")),
        ],
    ) {
        prop_assume!(from != to);
        let freeze = Freeze { zone: place.0.to_owned(), ..weekly(from, to) };
        agrees_with_the_clock(&freeze, at(place.1), 6 * 24 * 60);
    }

    #[test]
    fn a_dated_window_contains_now_or_is_still_to_come(
        from in 0_i64..525_600, length in 1_i64..100_000, now in 0_i64..525_600,
    ) {
        let wall = |minute: i64| "2026-01-01T00:00".parse::<DateTime>().unwrap() + SignedDuration::from_mins(minute);
        let to = wall(from + length);
        let freeze = freeze(Moment::Once(wall(from)), Moment::Once(to), AMSTERDAM);
        let now = at("2026-01-01T00:00Z") + SignedDuration::from_mins(now);
        match freeze.window(now) {
            Some(window) => {
                prop_assert!(window.from < window.to && now < window.to);
                prop_assert_eq!(freeze.window(window.from), Some(window));
                prop_assert_eq!(freeze.window(window.to), None);
            }
            None => {
                let end = TimeZone::get(AMSTERDAM).unwrap().to_ambiguous_timestamp(to).later().unwrap();
                prop_assert!(end <= now || length < 60, "over, or skipped by the clock: {}", end);
            }
        }
    }
}
