//! When the scheduler itself starts the session of an invoker (`--trigger=timer`), instead of a CronJob.
//!
//! 1. The rules are those of Kubernetes' CronJob controller, so that both triggers make the same sessions: of the slots
//!    that were missed, while no scheduler ran or the invoker was paused, only the last one is made up for, and only within
//!    `startingDeadlineSeconds`
//!    (<https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#starting-deadline>).
//! 2. Slots count from the time at which the timer was set, as those of a CronJob from its creation: a new invoker does not
//!    begin with a backup that it missed before it was there.
//! 3. The last slot stands in the invoker's status, written after its session. Whoever dies in between finds the session of
//!    that name there.
//! 4. A jitter, the same in every replica, keeps a thousand invokers with one schedule from starting in the same second. It
//!    moves the start and not the slot.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use proto::conditions::CRON_JOB_CREATED;

use crate::{
    invoker::Invoker,
    schedule::{self, Schedule},
};

/// Of the time in which a session may start, the part that a jitter may take: two of them leave half of it.
const PART_FOR_JITTER: i32 = 2;

/// Steps of the jitter.
const SPREAD: i128 = 1000;

/// What is to be done about the schedule of an invoker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Start the session of this slot.
    Fire(Timestamp),
    /// This slot was missed and is too old to be made up for. Look again at the given time.
    Missed(Timestamp, Option<Timestamp>),
    /// Nothing until then.
    Wait(Timestamp),
    /// Nothing until the invoker changes.
    Rest,
}

/// What is due for an invoker whose sessions start up to `jitter_max` after their slots.
pub fn due(invoker: &Invoker, jitter_max: SignedDuration, now: Timestamp) -> Due {
    let Some((schedule, zone, since)) = set(invoker) else { return Due::Rest };
    let start = |slot: Timestamp| {
        let jitter = jitter(invoker, &schedule, &zone, slot, jitter_max);
        slot.checked_add(jitter).unwrap_or(slot)
    };
    let Some(slot) = schedule.last_fire(&zone, since, now) else {
        return schedule.next_fire(&zone, since).map_or(Due::Rest, |next| Due::Wait(start(next)));
    };
    let deadline = invoker.starting_deadline_seconds.map(SignedDuration::from_secs);
    if deadline.is_some_and(|deadline| now.duration_since(slot) > deadline) {
        return Due::Missed(slot, schedule.next_fire(&zone, slot).map(start));
    }
    if start(slot) <= now { Due::Fire(slot) } else { Due::Wait(start(slot)) }
}

/// Schedule, time zone, and the time after which slots count; `None` while the timer is not set.
fn set(invoker: &Invoker) -> Option<(Schedule, TimeZone, Timestamp)> {
    if invoker.is_paused || invoker.is_deleting {
        return None;
    }
    let conditions = &invoker.status.conditions;
    let condition = conditions.iter().find(|one| one.type_ == CRON_JOB_CREATED && one.status == "True")?;
    let set_at = condition.last_transition_time.0;
    let since = invoker.status.last_schedule_time.map_or(set_at, |last| last.max(set_at));
    let schedule = schedule::parse(&invoker.schedule).ok()?;
    let zone = schedule::zone(invoker.time_zone.as_deref()).ok()?;
    Some((schedule, zone, since))
}

/// How long after its slot a session starts: a part of `max` that follows from the invoker's UID, and never so long that
/// the session would be too late or meet the next slot.
fn jitter(
    invoker: &Invoker,
    schedule: &Schedule,
    zone: &TimeZone,
    slot: Timestamp,
    max: SignedDuration,
) -> SignedDuration {
    let gap = schedule.next_fire(zone, slot).map(|next| next.duration_since(slot));
    let deadline = invoker.starting_deadline_seconds.map(SignedDuration::from_secs);
    let limits = [gap, deadline].into_iter().flatten().map(|limit| limit / PART_FOR_JITTER);
    let max = limits.fold(max, SignedDuration::min).max(SignedDuration::ZERO);
    let share = i128::from(spread(&invoker.uid));
    SignedDuration::from_millis(i64::try_from(max.as_millis() * share / SPREAD).unwrap_or_default())
}

/// A number below 1000 that follows from the text (FNV-1a): the same in every replica and every version.
fn spread(text: &str) -> u16 {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    u16::try_from(hash % 1000).unwrap_or_default()
}
