//! The slots of schedules, held against those of Kubernetes' CronJob controller: `slots/slots.txt` is what the library
//! says that the controller uses (`slots/main.go` writes it). Twelve time zones, at every change of their clocks in 2026 (Havana in 2025):
//! among them one without any, one of the south, one that changes by half an hour and three that do so at midnight.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use jiff::{Timestamp, tz::TimeZone};
use scheduler::schedule::{Schedule, parse, zone};

/// Where the two differ: zone, schedule, and what the clock shows at slots that only we have, or only the library has.
///
/// Where a clock changes by half an hour, or at midnight, the library's search steps over days and hours. A daily backup
/// would be left out there; this is a mistake and no rule to follow.
const DIFFERENCES: [(&str, &str, &str, &str); 8] = [
    ("Australia/Lord_Howe", "0 0 * * *", "2026-04-06T00:00:00", ""),
    ("Australia/Lord_Howe", "0 */2 * * *", "2026-04-05T02:00:00", ""),
    ("Australia/Lord_Howe", "0 3 1,15 * 0", "2026-04-05T03:00:00", ""),
    ("Australia/Lord_Howe", "30 1 * * *", "", "2026-10-04T02:30:00"),
    ("Australia/Lord_Howe", "0 0 * * *", "2026-10-05T00:00:00", ""),
    ("Australia/Lord_Howe", "0 3 1,15 * 0", "2026-10-04T03:00:00", ""),
    ("Africa/Cairo", "45 23 * * 5-6", "2026-04-24T23:45:00", ""),
    ("Asia/Beirut", "0 3 1,15 * 0", "2026-03-29T03:00:00", ""),
];

/// A line of the file.
struct Answer {
    zone: TimeZone,
    text: String,
    schedule: Schedule,
    after: Timestamp,
    until: Timestamp,
    slots: Vec<Timestamp>,
}

fn answers() -> Vec<Answer> {
    let at = |text: &str| Timestamp::from_second(text.parse().unwrap()).unwrap();
    let read = |line: &str| {
        let [name, text, after, until, slots] = line.split('|').collect::<Vec<_>>().try_into().unwrap();
        let slots = slots.split_whitespace().map(at).collect();
        let schedule = parse(text).unwrap();
        Answer {
            zone: zone(Some(name)).unwrap(),
            text: text.to_owned(),
            schedule,
            after: at(after),
            until: at(until),
            slots,
        }
    };
    include_str!("slots/slots.txt").lines().map(read).collect()
}

#[test]
fn the_timer_fires_the_slots_that_a_cron_job_fires() {
    let mut differences = Vec::new();
    for Answer { zone, text, schedule, after, until, slots } in answers() {
        let ours: Vec<Timestamp> = schedule.slots(&zone, after, until).collect();
        let shown = |these: &[Timestamp], others: &[Timestamp]| {
            let only = these.iter().filter(|slot| !others.contains(slot));
            only.map(|slot| zone.to_datetime(*slot).to_string()).collect::<Vec<_>>().join(" ")
        };
        if ours != slots {
            let name = zone.iana_name().unwrap().to_owned();
            differences.push((name, text, shown(&ours, &slots), shown(&slots, &ours)));
        }
    }
    let known = DIFFERENCES.map(|(zone, schedule, ours, theirs)| {
        (zone.to_owned(), schedule.to_owned(), ours.to_owned(), theirs.to_owned())
    });
    assert_eq!(differences, known);
}

#[test]
fn the_last_slot_is_the_last_of_all() {
    for Answer { zone, text, schedule, after, until, .. } in answers() {
        let last = schedule.slots(&zone, after, until).last();
        assert_eq!(schedule.last_fire(&zone, after, until), last, "{text} in {:?}", zone.iana_name());
    }
}

#[test]
fn slots_are_at_times_of_the_clock_and_what_comes_twice_is_two() {
    let table = [
        ("Europe/Berlin", "30 2 * * *", "2026-03-28T12:00Z", "2026-03-30T12:00Z", vec!["2026-03-30T00:30:00Z"]),
        (
            "Europe/Berlin",
            "30 2 * * *",
            "2026-10-24T12:00Z",
            "2026-10-25T12:00Z",
            vec!["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"],
        ),
        ("America/Santiago", "0 0 * * *", "2026-09-05T12:00Z", "2026-09-07T12:00Z", vec!["2026-09-07T03:00:00Z"]),
        ("UTC", "0 0 29 2 *", "2026-01-01T00:00Z", "2029-01-01T00:00Z", vec!["2028-02-29T00:00:00Z"]),
    ];
    for (name, schedule, after, until, expected) in table {
        let (after, until) = (after.parse().unwrap(), until.parse().unwrap());
        let (schedule, zone) = (parse(schedule).unwrap(), zone(Some(name)).unwrap());
        let slots = schedule.slots(&zone, after, until);
        assert_eq!(slots.map(|slot| slot.to_string()).collect::<Vec<_>>(), expected, "{name}");
    }
}

#[test]
fn intervals_count_from_the_slot_before() {
    let schedule = parse("@every 1h30m").unwrap();
    let at = |second| Timestamp::from_second(second).unwrap();
    let slots: Vec<i64> = schedule.slots(&TimeZone::UTC, at(100), at(12_000)).map(Timestamp::as_second).collect();
    assert_eq!(slots, [5500, 10_900]);
    assert_eq!(schedule.last_fire(&TimeZone::UTC, at(100), at(12_000)), Some(at(10_900)));
    assert_eq!(schedule.last_fire(&TimeZone::UTC, at(100), at(5499)), None);
}
