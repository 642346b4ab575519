//! A stretch of calendar time, as `--keep-within` takes it: `2y5m7d3h`.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, date};
use jiff::{SignedDuration, Timestamp};

use crate::moment::Moment;

/// Years, months, days and hours to go back from a moment. The default, nothing at all, stands for "no such rule".
///
/// `FromStr` reads numbers with the units `y`, `m` (months), `d` and `h`, each at most once and in any order; `Display` writes restic's
/// notation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Years of the calendar.
    pub years: u32,
    /// Months of the calendar.
    pub months: u32,
    /// Days of the calendar.
    pub days: u32,
    /// Hours of 60 minutes.
    pub hours: u32,
}

/// Why a text is not a [`Span`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// A unit stands where a number should.
    #[error("a number is missing before {0:?}")]
    NoNumber(String),
    /// The text ends after a number.
    #[error("the number {0} has no unit: y (years), m (months), d (days) or h (hours)")]
    NoUnit(String),
    /// The unit is not one of the four.
    #[error("{0:?} is no unit: they are y (years), m (months), d (days) and h (hours)")]
    UnknownUnit(char),
    /// One unit stands twice; which one counts would be a guess.
    #[error("{0:?} is given twice")]
    Twice(char),
    /// The number is above 999,999.
    #[error("{0} is too large, the limit is {NUMBER_MAX}")]
    TooLarge(String),
}

/// Largest number before a unit: more years than the calendar of the format has, and 114 years of hours.
const NUMBER_MAX: u32 = 999_999;

impl Span {
    /// Whether it stands for "no such rule".
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// The moment that lies this far before `moment`, on the same clock; `None` when that is before the calendar begins.
    ///
    /// A day that the month does not have spills over into the next month, as restic (Go's `time.AddDate`) has it: a month before
    /// 31 March is 31 February, that is 2 or 3 March.
    pub(super) fn before(&self, moment: Moment) -> Option<Timestamp> {
        let clock = moment.wall_clock();
        let months = i64::from(clock.year()) * 12 + i64::from(clock.month()) - 1;
        let months = months - i64::from(self.years) * 12 - i64::from(self.months);
        let year = i16::try_from(months.div_euclid(12)).ok()?;
        let month = i8::try_from(months.rem_euclid(12) + 1).ok()?;
        let day = i64::from(clock.day()) - 1 - i64::from(self.days);
        let first = Date::new(year, month, 1).ok()?.max(date(-9998, 1, 1));
        let day = first.checked_add(SignedDuration::from_hours(day.checked_mul(24)?)).ok()?;
        let at = moment.offset.to_timestamp(day.to_datetime(clock.time())).ok()?;
        at.checked_sub(SignedDuration::from_hours(self.hours.into())).ok()
    }

    fn slot(&mut self, unit: char) -> Option<&mut u32> {
        match unit {
            'y' => Some(&mut self.years),
            'm' => Some(&mut self.months),
            'd' => Some(&mut self.days),
            'h' => Some(&mut self.hours),
            _ => None,
        }
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let (mut span, mut seen) = (Self::default(), String::new());
        let mut rest = text.trim();
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, after) = rest.split_at(digits);
            if number.is_empty() {
                return Err(SpanError::NoNumber(rest.to_owned()));
            }
            let unit = after.chars().next().ok_or_else(|| SpanError::NoUnit(number.to_owned()))?;
            let slot = span.slot(unit).ok_or(SpanError::UnknownUnit(unit))?;
            if seen.contains(unit) {
                return Err(SpanError::Twice(unit));
            }
            seen.push(unit);
            let number = number.parse().ok().filter(|number| *number <= NUMBER_MAX).ok_or(number);
            *slot = number.map_err(|number| SpanError::TooLarge(number.to_owned()))?;
            rest = &after[unit.len_utf8()..];
        }
        Ok(span)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, unit) in [(self.years, 'y'), (self.months, 'm'), (self.days, 'd'), (self.hours, 'h')] {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written_in_restics_notation() {
        for (text, written) in [("2y5m7d3h", "2y5m7d3h"), ("3d2y", "2y3d"), (" 1h ", "1h"), ("", ""), ("0d", "")] {
            assert_eq!(text.parse::<Span>().map(|span| span.to_string()), Ok(written.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_is_said() {
        for (text, why) in [
            ("unlimited", SpanError::NoNumber("unlimited".into())),
            ("-3d", SpanError::NoNumber("-3d".into())),
            ("3d2", SpanError::NoUnit("2".into())),
            ("1w", SpanError::UnknownUnit('w')),
            ("3d3d", SpanError::Twice('d')),
            ("1000000h", SpanError::TooLarge("1000000".into())),
            ("99999999999999999999d", SpanError::TooLarge("99999999999999999999".into())),
        ] {
            assert_eq!(text.parse::<Span>(), Err(why), "{text}");
        }
    }

    #[test]
    fn days_that_a_month_lacks_spill_over_as_in_restic() {
        let before = |span: &str, moment: &str| {
            let moment = serde_json::from_str(&format!("{moment:?}")).unwrap();
            span.parse::<Span>().unwrap().before(moment).map(|at| at.to_string())
        };
        for (span, moment, expected) in [
            ("1m", "2023-03-31T12:00:00Z", Some("2023-03-03T12:00:00Z")),
            ("1y", "2024-02-29T00:00:00Z", Some("2023-03-01T00:00:00Z")),
            ("1d1h", "2020-03-01T00:30:00+02:00", Some("2020-02-28T21:30:00Z")),
            ("13m", "2020-01-15T00:00:00Z", Some("2018-12-15T00:00:00Z")),
            ("999999y", "2020-01-15T00:00:00Z", None),
        ] {
            assert_eq!(before(span, moment).as_deref(), expected, "{span} before {moment}");
        }
    }
}
