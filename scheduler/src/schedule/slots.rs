//! When a schedule fires: the slots.
//!
//! 1. A time of the calendar is what a clock on the wall shows. A schedule fires at every instant at which that clock shows
//!    one of its times, in whole minutes. So a time that a change of the clock leaves out is no slot, and a time that comes
//!    twice is two: robfig/cron, by which Kubernetes' CronJobs are fired, does the same, and both triggers fire the same
//!    slots. `tests/slots` holds the two against each other.
//! 2. An interval knows no calendar: its slots are counted from the last one.
//! 3. A day is decided first, then its hours and minutes, so that a schedule for 29 February costs no more than the
//!    others.

use std::iter;

use jiff::{
    Timestamp, ToSpan as _,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone},
};

use super::{Calendar, Schedule};

/// Days in which a slot is looked for: robfig/cron gives up after five years, so that a schedule for 30 February ends.
/// From 29 February to the next there are up to eight years, around 2100; Kubernetes misses that one, too.
const DAYS_MAX: usize = 5 * 366;

impl Schedule {
    /// The first slot after `after`; `None` when there is none within five years.
    pub fn next_fire(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Calendar(calendar) => next_of(calendar, zone, after),
            Self::Every(interval) => whole_seconds(after).checked_add(*interval).ok(),
        }
    }

    /// The slots after `after` up to `until`, in order.
    pub fn slots(&self, zone: &TimeZone, after: Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> {
        let next = move |last: &Timestamp| self.next_fire(zone, *last).filter(|slot| *slot <= until);
        iter::successors(next(&after), next)
    }

    /// The last slot after `after` up to `until`; `None` when there is none. It takes no longer when many lie between.
    pub fn last_fire(&self, zone: &TimeZone, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Calendar(calendar) => last_of(calendar, zone, after, until),
            Self::Every(interval) => {
                let anchor = whole_seconds(after);
                let times = until.duration_since(anchor).as_secs().checked_div(interval.as_secs())?;
                let passed = interval.checked_mul(i32::try_from(times).ok().filter(|times| *times > 0)?)?;
                anchor.checked_add(passed).ok()
            }
        }
    }
}

fn next_of(calendar: &Calendar, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let days = days(zone, after, 1).take(DAYS_MAX).filter(|date| calendar.has(*date));
    let slot = |date: Date| of_day(calendar, zone, date).filter(|slot| *slot > after).min().map(|slot| (date, slot));
    let (date, slot) = days.filter_map(slot).next()?;
    // A clock that goes back over midnight shows the rest of a day again, after the begin of the next.
    let tomorrow = date.tomorrow().ok().filter(|date| calendar.has(*date));
    let other = tomorrow.into_iter().flat_map(|date| of_day(calendar, zone, date)).filter(|slot| *slot > after).min();
    Some(other.map_or(slot, |other| slot.min(other)))
}

fn last_of(calendar: &Calendar, zone: &TimeZone, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
    let first = zone.to_datetime(after).date();
    let is_between = |slot: &Timestamp| after < *slot && *slot <= until;
    let days = days(zone, until, -1).take_while(|date| first.yesterday().is_ok_and(|first| *date >= first));
    let of = |date: Date| of_day(calendar, zone, date).filter(is_between).max().map(|slot| (date, slot));
    let (date, slot) = days.filter(|date| calendar.has(*date)).filter_map(of).next()?;
    let yesterday = date.yesterday().ok().filter(|date| calendar.has(*date));
    let other = yesterday.into_iter().flat_map(|date| of_day(calendar, zone, date)).filter(is_between).max();
    Some(other.map_or(slot, |other| slot.max(other)))
}

/// The days from the one before `from`, seen in the direction of `step`, on.
fn days(zone: &TimeZone, from: Timestamp, step: i64) -> impl Iterator<Item = Date> {
    let first = zone.to_datetime(from).date().checked_sub(step.days()).ok();
    iter::successors(first, move |date| date.checked_add(step.days()).ok())
}

/// The instants at which the clock shows a time of the schedule on this day, in no order.
fn of_day(calendar: &Calendar, zone: &TimeZone, date: Date) -> impl Iterator<Item = Timestamp> {
    let times = calendar.hours().flat_map(move |hour| calendar.minutes().map(move |minute| (hour, minute)));
    times.flat_map(move |(hour, minute)| instants(zone, date.at(hour, minute, 0, 0)))
}

/// The instants at which the clock shows `time`: one, none, or two.
fn instants(zone: &TimeZone, time: DateTime) -> impl Iterator<Item = Timestamp> {
    let offsets = match zone.to_ambiguous_timestamp(time).offset() {
        AmbiguousOffset::Unambiguous { offset } => [Some(offset), None],
        AmbiguousOffset::Gap { .. } => [None, None],
        AmbiguousOffset::Fold { before, after } => [Some(before), Some(after)],
    };
    offsets.into_iter().flatten().filter_map(move |offset| offset.to_timestamp(time).ok())
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
