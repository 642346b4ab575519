//! One rule of a policy at work: it goes through a group's snapshots, newest first, and says of each whether it keeps it.

use jiff::Timestamp;

use super::{Count, Span};
use crate::moment::Moment;

/// The stretch of wall-clock time of which a rule keeps one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Period {
    /// No stretch: every snapshot counts.
    Last,
    Hour,
    Day,
    /// A week of ISO 8601; those around New Year belong to the year that has their Thursday.
    Week,
    Month,
    Year,
}

impl Period {
    fn name(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }

    /// A number that two snapshots share when they lie in the same stretch.
    fn bucket(self, moment: Moment, position: usize) -> u64 {
        let clock = moment.wall_clock();
        let pack =
            |parts: &[i16]| parts.iter().fold(0_u64, |packed, part| (packed << 16) | u64::from(part.cast_unsigned()));
        match self {
            Self::Last => position as u64,
            Self::Hour => pack(&[clock.year(), clock.day_of_year(), clock.hour().into()]),
            Self::Day => pack(&[clock.year(), clock.day_of_year()]),
            Self::Week => {
                let week = clock.date().iso_week_date();
                pack(&[week.year(), week.week().into()])
            }
            Self::Month => pack(&[clock.year(), clock.month().into()]),
            Self::Year => pack(&[clock.year()]),
        }
    }
}

/// Where the time that a rule covers begins.
#[derive(Clone, Copy)]
pub(super) enum Since {
    Ever,
    /// After this moment, not at it.
    After(Timestamp),
}

pub(super) struct Rule {
    period: Period,
    left: Count,
    since: Since,
    reason: String,
    last: Option<u64>,
}

impl Rule {
    /// Keeps the newest snapshot of each of the last `count` periods that have any.
    pub(super) fn counting(period: Period, count: Count) -> Self {
        Self { period, left: count, since: Since::Ever, reason: format!("{} snapshot", period.name()), last: None }
    }

    /// Keeps the newest snapshot of each period within `span` of the newest one.
    pub(super) fn within(period: Period, span: Span, since: Since) -> Self {
        let reason = format!("{} within {span}", period.name());
        Self { period, left: Count::Unlimited, since, reason, last: None }
    }

    /// Why this rule keeps the snapshot, in restic's words. Called for one after the other, newest first.
    pub(super) fn keeps(&mut self, moment: Moment, position: usize, is_oldest: bool) -> Option<String> {
        if self.left == Count::Of(0) || matches!(self.since, Since::After(at) if moment.at <= at) {
            return None;
        }
        let bucket = self.period.bucket(moment, position);
        if self.last != Some(bucket) {
            self.last = Some(bucket);
            self.left = self.left.less_one();
            return Some(self.reason.clone());
        }
        // The history is shorter than what was asked for: its beginning is kept as well (restic, but not yet 0.13.1).
        is_oldest.then(|| format!("oldest {}", self.reason))
    }
}
