//! Schedules as Kubernetes understands them: five fields, or a descriptor
//! (<https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax>).
//!
//! 1. The API server is the judge of a CronJob's schedule in the end. This one comes first because its error belongs to the
//!    user's spec and not to an object that he did not make.
//! 2. When a schedule fires is `slots`' business; by which clock, [`zone`]'s.

mod slots;
mod zone;

use jiff::{SignedDuration, civil::Date};

pub use zone::{ZoneError, zone};

/// Name, smallest and largest value, and names of values of each field.
const FIELDS: [(&str, u8, u8, &[&str]); 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of month", 1, 31, &[]),
    ("month", 1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    ("day of week", 0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];
const DESCRIPTORS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
const EVERY: &str = "@every ";
/// Units of Go's durations in nanoseconds. Longer names first: "m" begins "ms", too.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("h", 3.6e12), ("m", 6e10), ("s", 1e9)];

/// When something fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// At times of the calendar.
    Calendar(Calendar),
    /// In constant intervals, whatever the calendar says. At least a second, and whole seconds.
    Every(SignedDuration),
}

/// Times of the calendar: each field is the set of its values, the bit with the value's number standing for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day must be in both sets of days: so where one of the two fields has a star without a step. Else a day in
    /// one of them is enough (robfig/cron, which Kubernetes uses).
    needs_both: bool,
}

impl Calendar {
    /// Whether there are slots on this day, as far as the date decides.
    fn has(&self, date: Date) -> bool {
        let is_in = |set: u64, value: i8| u32::try_from(value).is_ok_and(|value| set >> value & 1 == 1);
        let by_month = is_in(self.days, date.day());
        let by_week = is_in(self.weekdays, date.weekday().to_sunday_zero_offset());
        is_in(self.months, date.month()) && if self.needs_both { by_month && by_week } else { by_month || by_week }
    }

    fn hours(&self) -> impl Iterator<Item = i8> {
        members(self.hours)
    }

    fn minutes(&self) -> impl Iterator<Item = i8> {
        members(self.minutes)
    }
}

fn members(set: u64) -> impl Iterator<Item = i8> {
    (0..60).filter(move |value| set >> value & 1 == 1)
}

/// Reads a schedule.
///
/// # Errors
/// A text for the user that says which part is wrong.
pub fn parse(schedule: &str) -> Result<Schedule, String> {
    read(schedule.trim()).map_err(|what| format!("spec.schedule \"{schedule}\" is not valid: {what}"))
}

fn read(schedule: &str) -> Result<Schedule, String> {
    if schedule.is_empty() {
        return Err("it is empty".to_owned());
    }
    if schedule.starts_with('@') {
        let known = DESCRIPTORS.into_iter().find(|(name, _)| *name == schedule);
        return match (known, schedule.strip_prefix(EVERY).and_then(duration)) {
            (Some((_, fields)), _) => read(fields),
            (None, Some(interval)) => Ok(Schedule::Every(interval)),
            (None, None) => Err(format!("{schedule} is no descriptor")),
        };
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("it has {} fields in place of 5", fields.len()));
    }
    let mut sets = [(0, false); FIELDS.len()];
    for ((text, field), set) in fields.iter().zip(FIELDS).zip(&mut sets) {
        *set = values(text, &field).ok_or_else(|| format!("\"{text}\" is no {}", field.0))?;
    }
    let [(minutes, _), (hours, _), (days, any_day), (months, _), (weekdays, any_weekday)] = sets;
    let needs_both = any_day || any_weekday;
    Ok(Schedule::Calendar(Calendar { minutes, hours, days, months, weekdays, needs_both }))
}

/// The values of a field, and whether a part of it is a star without a step.
fn values(text: &str, field: &(&str, u8, u8, &[&str])) -> Option<(u64, bool)> {
    text.split(',').try_fold((0, false), |(set, any), part| {
        let (more, star) = part_values(part, field)?;
        Some((set | more, any | star))
    })
}

/// `*`, `?`, a value or a range, each with or without a step.
fn part_values(part: &str, field: &(&str, u8, u8, &[&str])) -> Option<(u64, bool)> {
    let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
    let by = step.map_or(Some(1), |step| step.parse::<u32>().ok().filter(|step| *step > 0))?;
    let (_, least, most, _) = *field;
    let (first, last, star) = match range.split_once('-') {
        _ if range == "*" || range == "?" => (least, most, by == 1),
        Some((first, last)) => (value(first, field)?, value(last, field)?, false),
        // A single value with a step is the begin of a range.
        None => (value(range, field)?, if step.is_some() { most } else { value(range, field)? }, false),
    };
    let by = usize::try_from(by).ok()?;
    let set = (first..=last).step_by(by).fold(0, |set, value| set | 1 << value);
    (first <= last).then_some((set, star))
}

fn value(text: &str, (_, least, most, names): &(&str, u8, u8, &[&str])) -> Option<u8> {
    let lower = text.to_lowercase();
    if let Some(position) = names.iter().position(|name| *name == lower) {
        return u8::try_from(position).ok()?.checked_add(*least);
    }
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten().filter(|value| (*least..=*most).contains(value))
}

/// A duration as Go writes it: numbers, each with a unit. Less than a second counts as one, parts of seconds do not count
/// (robfig/cron).
fn duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text.trim();
    let mut sum = None;
    while !rest.is_empty() {
        let number = rest.find(|one: char| !one.is_ascii_digit() && one != '.').unwrap_or(rest.len());
        let after = rest.get(number..).filter(|_| number > 0)?;
        let (unit, nanoseconds) = UNITS.into_iter().find(|(unit, _)| after.starts_with(unit))?;
        let part = SignedDuration::try_from_secs_f64(rest[..number].parse::<f64>().ok()? * nanoseconds / 1e9).ok()?;
        sum = Some(sum.unwrap_or(SignedDuration::ZERO).checked_add(part)?);
        rest = &after[unit.len()..];
    }
    Some(SignedDuration::from_secs(sum?.as_secs().max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_that_kubernetes_takes_are_valid() {
        let valid = [
            "*/5 * * * *",
            "0 0 * * *",
            "0 0 1,15 * 1-5",
            "? ? ? ? ?",
            "59 23 31 DEC sat",
            "0-30/10 * * * MON-FRI",
            "@daily",
            "@every 1h30m",
            "@hourly",
            " 0 3 * * 0 ",
            "5/15 * * * *",
            "*/300 * * * *",
        ];
        for schedule in valid {
            assert!(parse(schedule).is_ok(), "{schedule}");
        }
    }

    #[test]
    fn others_are_refused_and_the_text_says_why() {
        let table = [
            ("", "it is empty"),
            ("* * * *", "it has 4 fields in place of 5"),
            ("0 * * * * *", "it has 6 fields in place of 5"),
            ("60 * * * *", "\"60\" is no minute"),
            ("* 24 * * *", "\"24\" is no hour"),
            ("* * 0 * *", "\"0\" is no day of month"),
            ("* * * 13 *", "\"13\" is no month"),
            ("* * * * 7", "\"7\" is no day of week"),
            ("*/0 * * * *", "\"*/0\" is no minute"),
            ("5-1 * * * *", "\"5-1\" is no minute"),
            ("a * * * *", "\"a\" is no minute"),
            ("1, * * * *", "\"1,\" is no minute"),
            ("TZ=UTC * * * * *", "it has 6 fields in place of 5"),
            ("@sometimes", "@sometimes is no descriptor"),
            ("@every", "@every is no descriptor"),
            ("@every 5", "@every 5 is no descriptor"),
            ("@every 1e9h", "@every 1e9h is no descriptor"),
        ];
        for (schedule, why) in table {
            assert_eq!(parse(schedule).unwrap_err(), format!("spec.schedule \"{schedule}\" is not valid: {why}"));
        }
    }

    #[test]
    fn intervals_are_whole_seconds_and_at_least_one() {
        let table = [("@every 1h30m", 5400), ("@every 1.5h", 5400), ("@every 90s500ms", 90), ("@every 10ms", 1)];
        for (text, seconds) in table {
            assert_eq!(parse(text), Ok(Schedule::Every(SignedDuration::from_secs(seconds))), "{text}");
        }
    }
}
