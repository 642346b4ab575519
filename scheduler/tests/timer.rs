//! What the timer does when, as a table: an invoker and a time in, what is due out.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use jiff::{SignedDuration, Timestamp};
use proto::crd::BackupConfiguration;
use scheduler::{
    invoker::Invoker,
    session,
    timer::{Due, due},
};
use serde_json::{Value, json};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// An invoker with this spec whose timer was set at noon on 10 May 2026.
fn invoker(spec: Value, last: Option<&str>) -> Invoker {
    let set = json!({
        "type": "CronJobCreated", "status": "True", "reason": "TimerSet", "message": "",
        "lastTransitionTime": "2026-05-10T12:00:00Z",
    });
    let mut object = json!({
        "metadata": { "name": "b", "namespace": "demo", "uid": "5e5e6a5f" }, "spec": spec,
        "status": { "conditions": [set], "lastScheduleTime": last },
    });
    object["spec"]["retentionPolicy"] = json!({ "name": "n", "prune": true });
    Invoker::of_configuration(&serde_json::from_value::<BackupConfiguration>(object).unwrap())
}

fn is_due(spec: Value, last: Option<&str>, now: &str) -> Due {
    due(&invoker(spec, last), SignedDuration::ZERO, at(now))
}

#[test]
fn a_slot_is_fired_once_and_of_missed_ones_only_the_last() {
    let hourly = || json!({ "schedule": "0 * * * *" });
    let table = [
        // Slots before the timer was set do not count.
        (None, "2026-05-10T12:00:00Z", Due::Wait(at("2026-05-10T13:00:00Z"))),
        (None, "2026-05-10T12:59:59Z", Due::Wait(at("2026-05-10T13:00:00Z"))),
        (None, "2026-05-10T13:00:00Z", Due::Fire(at("2026-05-10T13:00:00Z"))),
        (Some("2026-05-10T13:00:00Z"), "2026-05-10T13:00:01Z", Due::Wait(at("2026-05-10T14:00:00Z"))),
        (Some("2026-05-10T13:00:00Z"), "2026-05-12T09:30:00Z", Due::Fire(at("2026-05-12T09:00:00Z"))),
        // A note from before the timer was set, as of a scheduler that was the trigger earlier.
        (Some("2026-05-01T13:00:00Z"), "2026-05-10T12:30:00Z", Due::Wait(at("2026-05-10T13:00:00Z"))),
        // A clock that was wrong.
        (Some("2027-05-01T13:00:00Z"), "2026-05-10T12:30:00Z", Due::Wait(at("2027-05-01T14:00:00Z"))),
    ];
    for (last, now, expected) in table {
        assert_eq!(is_due(hourly(), last, now), expected, "{now}");
    }
}

#[test]
fn what_is_too_old_is_missed() {
    let spec = json!({ "schedule": "0 * * * *", "startingDeadlineSeconds": 600 });
    let last = Some("2026-05-10T13:00:00Z");
    assert_eq!(is_due(spec.clone(), last, "2026-05-11T09:10:00Z"), Due::Fire(at("2026-05-11T09:00:00Z")));
    let next = Some(at("2026-05-11T10:00:00Z"));
    assert_eq!(is_due(spec, last, "2026-05-11T09:10:01Z"), Due::Missed(at("2026-05-11T09:00:00Z"), next));
}

#[test]
fn what_is_paused_or_not_set_up_rests() {
    let now = "2026-05-11T12:00:00Z";
    assert_eq!(is_due(json!({ "schedule": "0 * * * *", "paused": true }), None, now), Due::Rest);
    assert_eq!(is_due(json!({ "schedule": "often" }), None, now), Due::Rest);
    assert_eq!(is_due(json!({ "schedule": "0 * * * *", "timeZone": "Mars/Olympus" }), None, now), Due::Rest);
    assert_eq!(is_due(json!({ "schedule": "0 0 30 2 *" }), None, now), Due::Rest);
    let mut bare = invoker(json!({ "schedule": "0 * * * *" }), None);
    bare.status.conditions.clear();
    assert_eq!(due(&bare, SignedDuration::ZERO, at(now)), Due::Rest);
}

#[test]
fn the_time_zone_decides_when_a_day_begins() {
    let spec = json!({ "schedule": "0 0 * * *", "timeZone": "Asia/Kolkata" });
    assert_eq!(is_due(spec, None, "2026-05-10T18:30:00Z"), Due::Fire(at("2026-05-10T18:30:00Z")));
}

#[test]
fn a_jitter_moves_the_start_and_not_the_slot() {
    let slot = at("2026-05-10T13:00:00Z");
    let max = SignedDuration::from_mins(10);
    let mut starts = Vec::new();
    for uid in ["a", "b", "c", "d"] {
        let mut one = invoker(json!({ "schedule": "0 * * * *" }), None);
        one.uid = uid.to_owned();
        let Due::Wait(start) = due(&one, max, at("2026-05-10T12:30:00Z")) else { panic!("it is not due yet") };
        assert!(slot <= start && start < slot.checked_add(max).unwrap(), "{start}");
        assert_eq!(due(&one, max, start), Due::Fire(slot));
        starts.push(start);
    }
    starts.dedup();
    assert_eq!(starts.len(), 4, "they start at different times");
    // It never takes more than half of the time that there is.
    let close = invoker(json!({ "schedule": "* * * * *", "startingDeadlineSeconds": 20 }), None);
    let Due::Wait(start) = due(&close, max, at("2026-05-10T12:00:30Z")) else { panic!("it is not due yet") };
    assert!(start <= at("2026-05-10T12:01:10Z"), "{start}");
}

#[test]
fn both_triggers_name_a_session_alike() {
    let slot = at("2022-05-10T06:40:00Z");
    let of_job = session::name("b", "stash-trigger-b-27536080", "stash-trigger-b");
    assert_eq!(session::name_of_slot("b", slot), of_job);
    assert_eq!(session::name_of_slot("b", at("2022-05-10T06:40:30Z")), of_job);
}
