//! Sizes and times as Stash writes them, and back again.
//!
//! They stand in statuses and in `output.json` as text; metrics need numbers. A size has three digits after the point, so
//! that a number read back is right to a thousandth of its unit.

use std::time::Duration;

const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// A number of bytes, as `2.324 MiB`. A unit is used for what is larger than one of it: 1024 is `1024 B`.
#[allow(clippy::cast_precision_loss, reason = "three digits are written")]
pub fn size(bytes: u64) -> String {
    match UNITS.iter().find(|(_, unit)| bytes > *unit) {
        Some((name, unit)) => format!("{:.3} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

/// The bytes of a text that [`size`] wrote; `None` for any other.
#[allow(clippy::cast_precision_loss, reason = "units are powers of two")]
pub fn parse_size(text: &str) -> Option<f64> {
    let (number, name) = text.trim().split_once(' ')?;
    let number: f64 = number.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
    match UNITS.iter().find(|(unit, _)| *unit == name) {
        Some((_, unit)) => Some(number * *unit as f64),
        None => (name == "B").then_some(number),
    }
}

/// Whole seconds, as `0:03`, `1:05` or `1:00:05`.
pub fn processing_time(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / HOUR, seconds % HOUR / MINUTE, seconds % MINUTE);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// The time of a text that [`processing_time`] wrote; `None` for any other.
pub fn parse_processing_time(text: &str) -> Option<Duration> {
    let parts: Vec<u64> = text.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let within = |part: u64| part < MINUTE;
    let seconds = match parts[..] {
        [minutes, seconds] if within(seconds) => minutes.checked_mul(MINUTE)?.checked_add(seconds)?,
        [hours, minutes, seconds] if within(minutes) && within(seconds) => {
            hours.checked_mul(HOUR)?.checked_add(minutes * MINUTE + seconds)?
        }
        _ => return None,
    };
    Some(Duration::from_secs(seconds))
}

/// A time as Go writes durations: `1h0m3s`, `1m9.5s`, `1.147010638s`, `831.018039ms`
/// (<https://pkg.go.dev/time#Duration.String>).
pub fn duration(time: Duration) -> String {
    let nanoseconds = u64::from(time.subsec_nanos());
    let seconds = time.as_secs();
    if seconds == 0 {
        return match nanoseconds {
            0 => "0s".to_owned(),
            1..1_000 => format!("{nanoseconds}ns"),
            1_000..1_000_000 => format!("{}µs", decimal(nanoseconds / 1_000, nanoseconds % 1_000, 3)),
            _ => format!("{}ms", decimal(nanoseconds / 1_000_000, nanoseconds % 1_000_000, 6)),
        };
    }
    let (hours, minutes) = (seconds / HOUR, seconds % HOUR / MINUTE);
    let seconds = decimal(seconds % MINUTE, nanoseconds, 9);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// `whole.fraction` without zeros at its end.
fn decimal(whole: u64, fraction: u64, digits: usize) -> String {
    let fraction = format!("{fraction:0digits$}");
    match fraction.trim_end_matches('0') {
        "" => whole.to_string(),
        fraction => format!("{whole}.{fraction}"),
    }
}

/// A time in whole seconds, rounded half up, as a session's duration is written: `59s`, `1m9s`, `1h0m3s`.
pub fn rounded_duration(time: Duration) -> String {
    let half = u64::from(time.subsec_millis() >= 500);
    duration(Duration::from_secs(time.as_secs().saturating_add(half)))
}

/// The time of a text that Go reads as a duration and that is not negative; `None` for any other
/// (<https://pkg.go.dev/time#ParseDuration>).
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let number_end = rest.find(|one: char| !one.is_ascii_digit() && one != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|one: char| one.is_ascii_digit() || one == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        seconds += number.parse::<f64>().ok()? * seconds_of(unit)?;
        rest = tail;
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

fn seconds_of(unit: &str) -> Option<f64> {
    Some(match unit {
        "h" => 3600.0,
        "m" => 60.0,
        "s" => 1.0,
        "ms" => 1e-3,
        "us" | "µs" | "μs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_stash_writes_them() {
        let table = [
            (0, "0 B"),
            (1024, "1024 B"),
            (1025, "1.001 KiB"),
            (1 << 20, "1024.000 KiB"),
            (2_436_890, "2.324 MiB"),
            (417_740, "407.949 KiB"),
            ((1 << 40) + (1 << 39), "1.500 TiB"),
        ];
        for (bytes, text) in table {
            assert_eq!(size(bytes), text);
            let read = parse_size(text).unwrap();
            assert!((read - bytes as f64).abs() <= bytes as f64 / 1000.0, "{text}");
        }
        for other in ["", "1", "x B", "1 XB", "-1 B", "NaN B", "inf KiB", "1KiB"] {
            assert_eq!(parse_size(other), None, "{other}");
        }
    }

    #[test]
    fn processing_times_are_clocks() {
        for (seconds, text) in [(0, "0:00"), (3, "0:03"), (65, "1:05"), (3599, "59:59"), (3605, "1:00:05")] {
            assert_eq!(processing_time(Duration::from_secs(seconds)), text);
            assert_eq!(parse_processing_time(text), Some(Duration::from_secs(seconds)));
        }
        assert_eq!(processing_time(Duration::from_millis(1999)), "0:01");
        for other in ["", "1", "1:60", "1:00:99", "a:b", "1:2:3:4", &format!("{}:00", u64::MAX)] {
            assert_eq!(parse_processing_time(other), None, "{other}");
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        let table = [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5µs"),
            (831_018_039, "831.018039ms"),
            (1_147_010_638, "1.147010638s"),
            (69_500_000_000, "1m9.5s"),
            (3_603_000_000_000, "1h0m3s"),
            (120_000_000_000, "2m0s"),
        ];
        for (nanoseconds, text) in table {
            let time = Duration::from_nanos(nanoseconds);
            assert_eq!(duration(time), text);
            let read = parse_duration(text).unwrap();
            assert!(read.abs_diff(time) <= Duration::from_nanos(1), "{text}: {read:?}");
        }
        for other in ["", "1", "s", "1x", "-1s", "1.2.3s", "1e9s", "1 s"] {
            assert_eq!(parse_duration(other), None, "{other}");
        }
        assert_eq!(parse_duration("1.5h"), Some(Duration::from_secs(5400)));
    }

    #[test]
    fn sessions_take_whole_seconds() {
        for (milliseconds, text) in [(59_499, "59s"), (69_500, "1m10s"), (3_603_000, "1h0m3s"), (100, "0s")] {
            assert_eq!(rounded_duration(Duration::from_millis(milliseconds)), text);
        }
    }
}
