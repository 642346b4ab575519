//! A moment together with the clock that it was read from.
//!
//! restic sorts a snapshot into hours, days, weeks, months and years by the wall clock of the machine that made it, and that clock's
//! offset from UTC is part of the stored time. Our own snapshots are in UTC.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment, and the offset from UTC of the clock that showed it. Moments are ordered by the time line, then by offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// The moment.
    pub at: Timestamp,
    /// How far that clock is ahead of UTC.
    pub offset: Offset,
}

impl Moment {
    /// What the clock showed.
    pub fn wall_clock(&self) -> DateTime {
        self.offset.to_datetime(self.at)
    }
}

impl From<Timestamp> for Moment {
    /// The moment on a clock that shows UTC.
    fn from(at: Timestamp) -> Self {
        Self { at, offset: Offset::UTC }
    }
}

/// RFC 3339: `Z` for UTC, else the offset.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.offset == Offset::UTC {
            return self.at.fmt(f);
        }
        self.at.display_with_offset(self.offset).fmt(f)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let at = text.parse().map_err(de::Error::custom)?;
        let offset = Pieces::parse(&*text).map_err(de::Error::custom)?.to_numeric_offset();
        Ok(Self { at, offset: offset.unwrap_or(Offset::UTC) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_it_was_read() {
        for text in ["2020-01-01T22:30:00.5-05:00", "2020-01-01T23:30:00+09:00", "2020-01-02T01:00:00Z"] {
            let json = format!("\"{text}\"");
            let moment: Moment = serde_json::from_str(&json).unwrap();
            assert_eq!(serde_json::to_string(&moment).unwrap(), json);
        }
        let utc: Moment = serde_json::from_str("\"2020-01-01T00:00:00+00:00\"").unwrap();
        assert_eq!(utc, Moment::from(utc.at));
    }

    #[test]
    fn the_wall_clock_is_the_one_that_was_read() {
        let moment: Moment = serde_json::from_str("\"2020-01-01T22:30:00-05:00\"").unwrap();
        assert_eq!(moment.wall_clock().to_string(), "2020-01-01T22:30:00");
        assert_eq!(moment.at.to_string(), "2020-01-02T03:30:00Z");
    }
}
