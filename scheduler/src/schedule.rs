//! Whether a schedule is one that Kubernetes understands: five fields, or a descriptor
//! (<https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax>).
//!
//! The API server is the judge in the end. This check comes first because its error belongs to the user's spec and not to
//! an object that he did not make.

/// Name, smallest and largest value, and names of values of each field.
const FIELDS: [(&str, u8, u8, &[&str]); 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of month", 1, 31, &[]),
    ("month", 1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    ("day of week", 0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];
const DESCRIPTORS: [&str; 7] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
const EVERY: &str = "@every ";

/// Checks a schedule.
///
/// # Errors
/// A text for the user that says which part is wrong.
pub fn check(schedule: &str) -> Result<(), String> {
    let wrong = |what: String| Err(format!("spec.schedule \"{schedule}\" is not valid: {what}"));
    let schedule = schedule.trim();
    if schedule.is_empty() {
        return wrong("it is empty".to_owned());
    }
    if schedule.starts_with('@') {
        let is_known = DESCRIPTORS.contains(&schedule) || schedule.strip_prefix(EVERY).is_some_and(is_duration);
        return if is_known { Ok(()) } else { wrong(format!("{schedule} is no descriptor")) };
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return wrong(format!("it has {} fields in place of 5", fields.len()));
    }
    let bad = fields.iter().zip(FIELDS).find(|(text, field)| !text.split(',').all(|part| is_part(part, field)));
    match bad {
        Some((text, (name, ..))) => wrong(format!("\"{text}\" is no {name}")),
        None => Ok(()),
    }
}

/// `*`, `?`, a value or a range, each with or without a step.
fn is_part(part: &str, field: &(&str, u8, u8, &[&str])) -> bool {
    let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
    if step.is_some_and(|step| !step.parse::<u8>().is_ok_and(|step| step > 0)) {
        return false;
    }
    match range.split_once('-') {
        _ if range == "*" || range == "?" => true,
        Some((first, last)) => match (value(first, field), value(last, field)) {
            (Some(first), Some(last)) => first <= last,
            _ => false,
        },
        None => value(range, field).is_some(),
    }
}

fn value(text: &str, (_, least, most, names): &(&str, u8, u8, &[&str])) -> Option<u8> {
    let lower = text.to_lowercase();
    if let Some(position) = names.iter().position(|name| *name == lower) {
        return u8::try_from(position).ok()?.checked_add(*least);
    }
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten().filter(|value| (*least..=*most).contains(value))
}

/// A duration as Go writes it, in outline: numbers, each with a unit.
fn is_duration(text: &str) -> bool {
    let mut rest = text.trim();
    let mut parts = 0;
    while !rest.is_empty() {
        let number = rest.find(|one: char| !one.is_ascii_digit() && one != '.').unwrap_or(rest.len());
        let Some(after) = rest.get(number..).filter(|_| number > 0) else { return false };
        let unit = ["ns", "us", "µs", "ms", "h", "m", "s"].into_iter().find(|unit| after.starts_with(unit));
        let Some(unit) = unit else { return false };
        rest = &after[unit.len()..];
        parts += 1;
    }
    parts > 0
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
        ];
        for schedule in valid {
            assert_eq!(check(schedule), Ok(()), "{schedule}");
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
            ("@sometimes", "@sometimes is no descriptor"),
            ("@every", "@every is no descriptor"),
            ("@every 5", "@every 5 is no descriptor"),
        ];
        for (schedule, why) in table {
            assert_eq!(check(schedule).unwrap_err(), format!("spec.schedule \"{schedule}\" is not valid: {why}"));
        }
    }
}
