//! Numbers for people. Pure.

use std::time::Duration;

/// `512 B`, `1.5 KiB`, `2.324 MiB`: the notation of restic and of Stash's Repository status (its thresholds too: 1024 is still `1024 B`).
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match UNITS.iter().find(|(_, shift)| bytes > 1 << shift) {
        #[allow(clippy::cast_precision_loss, reason = "three decimals are shown")]
        Some((unit, shift)) => format!("{:.3} {unit}", bytes as f64 / (1_u64 << shift) as f64),
        None => format!("{bytes} B"),
    }
}

/// `0.84 s`, `12.3 s`, `2m05s`, `1h02m`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.2} s", duration.as_secs_f64()),
        10..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_stash_writes_them() {
        for (number, text) in
            [(0, "0 B"), (1024, "1024 B"), (1025, "1.001 KiB"), (2_436_890, "2.324 MiB"), (3 << 40, "3.000 TiB")]
        {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn durations_keep_about_three_digits() {
        for (millis, text) in [(840, "0.84 s"), (12_345, "12.3 s"), (125_000, "2m05s"), (3_725_000, "1h02m")] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }
}
