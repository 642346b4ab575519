//! Retention: which snapshots a policy keeps, and why. Pure; [`Repository::forget`](crate::Repository::forget) does what it says.
//!
//! 1. **restic's choice, restic's words.** Snapshots are grouped ([`GroupBy`]); in each group the rules go through them from the newest
//!    to the oldest, and a snapshot is kept when any rule wants it. The reasons are texts that other programs read in
//!    `restic forget --json`. Newest restic and 0.13.1 judge this in the tests.
//! 2. **Calendar**: hour, day, ISO week, month and year are those of the clock that the snapshot's time was read from ([`Moment`]).
//!    `within` counts back from the newest snapshot of the group that is not in the future; where all are, everything is within.
//! 3. **A history that is too short keeps its beginning** (restic today): a rule with something left keeps the group's oldest
//!    snapshot too. That is all in which 0.13.1 differs: there, what is only kept as `oldest …` goes.
//! 4. **No rule at all keeps everything**, with the reason `policy is empty`.
//! 5. **A partial snapshot never displaces a complete one** (ours, ADR 7). Partial is what has the tag [`PARTIAL_TAG`]. Complete
//!    snapshots are judged as if there were no others. Partial ones *newer* than the newest complete one are judged the same way among
//!    themselves, so that the latest, broken backups can be looked into; without a complete one that is all of them, and a backup that
//!    is always partial has a bounded history too. Partial ones *older* than a complete one are kept by a tag rule only. Without that
//!    tag the choice is restic's.
//! 6. Of snapshots with the same time the one with the larger id counts as newer; restic leaves that to chance.
//!
//! [`Moment`]: crate::Moment

mod group;
mod rule;
mod span;

use std::cmp::Reverse;
use std::str::FromStr;

use jiff::Timestamp;

pub use group::{GroupBy, GroupByError, GroupKey};
pub use span::{Span, SpanError};

use crate::snapshot::Snapshot;
use rule::{Period, Rule, Since};

/// The tag of a snapshot that lacks something that could not be read.
pub const PARTIAL_TAG: &str = "partial";

/// How many periods a rule keeps a snapshot of. The default, `Of(0)`, stands for "no such rule".
///
/// `FromStr` reads a number, or `unlimited` (also written `-1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// This many.
    Of(u32),
    /// All.
    Unlimited,
}

impl Default for Count {
    fn default() -> Self {
        Self::Of(0)
    }
}

impl Count {
    fn less_one(self) -> Self {
        match self {
            Self::Of(left) => Self::Of(left.saturating_sub(1)),
            Self::Unlimited => Self::Unlimited,
        }
    }
}

/// The text is neither a number from 0 to 4294967295 nor `unlimited`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a number nor \"unlimited\"")]
pub struct CountError(String);

impl FromStr for Count {
    type Err = CountError;

    fn from_str(text: &str) -> Result<Self, CountError> {
        match text {
            "unlimited" | "-1" => Ok(Self::Unlimited),
            number => number.parse().map(Self::Of).map_err(|_| CountError(text.to_owned())),
        }
    }
}

/// Which snapshots of a group to keep: those that any rule wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest snapshots.
    pub last: Count,
    /// The newest one of each of the last hours that have any.
    pub hourly: Count,
    /// The same for days.
    pub daily: Count,
    /// The same for weeks.
    pub weekly: Count,
    /// The same for months.
    pub monthly: Count,
    /// The same for years.
    pub yearly: Count,
    /// All that are at most this much older than the newest one.
    pub within: Span,
    /// Of those at most this much older the newest one of each hour.
    pub within_hourly: Span,
    /// The same for days.
    pub within_daily: Span,
    /// The same for weeks.
    pub within_weekly: Span,
    /// The same for months.
    pub within_monthly: Span,
    /// The same for years.
    pub within_yearly: Span,
    /// Those that fit any of these lists, see [`Snapshot::has_tags`].
    pub tags: Vec<Vec<String>>,
}

/// A snapshot that stays.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Why, in restic's words; at least one.
    pub reasons: Vec<String>,
}

/// What a policy says of a group. Both lists begin with the newest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// What stays.
    pub keep: Vec<Kept>,
    /// What goes.
    pub remove: Vec<Snapshot>,
}

/// A snapshot and why it is kept; no reasons: it is not.
type Judged<'a> = (&'a Snapshot, Vec<String>);

impl Policy {
    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What of a group stays and what goes. Snapshots from after `now` are no measure for the `within` rules.
    pub fn apply(&self, group: &[Snapshot], now: Timestamp) -> Choice {
        let mut newest_first: Vec<&Snapshot> = group.iter().collect();
        newest_first.sort_by_key(|snapshot| Reverse((snapshot.time.at, snapshot.id)));
        let mut choice = Choice::default();
        for (snapshot, reasons) in self.judge_all(&newest_first, now) {
            if reasons.is_empty() {
                choice.remove.push(snapshot.clone());
            } else {
                choice.keep.push(Kept { snapshot: snapshot.clone(), reasons });
            }
        }
        choice
    }

    fn judge_all<'a>(&self, newest_first: &[&'a Snapshot], now: Timestamp) -> Vec<Judged<'a>> {
        if self.is_empty() {
            return newest_first.iter().map(|snapshot| (*snapshot, vec!["policy is empty".to_owned()])).collect();
        }
        let is_partial = |snapshot: &&Snapshot| snapshot.tags.iter().any(|tag| tag == PARTIAL_TAG);
        let (partial, complete): (Vec<&Snapshot>, Vec<&Snapshot>) = newest_first.iter().copied().partition(is_partial);
        let newest = complete.first().map(|snapshot| snapshot.time.at);
        let is_newer = |snapshot: &&Snapshot| newest.is_none_or(|newest| snapshot.time.at > newest);
        let (newer, older): (Vec<&Snapshot>, Vec<&Snapshot>) = partial.into_iter().partition(is_newer);
        let mut judged = self.judge(&complete, now);
        judged.extend(self.judge(&newer, now));
        judged.extend(older.into_iter().map(|snapshot| (snapshot, self.tag_reasons(snapshot).collect())));
        judged.sort_by_key(|(snapshot, _)| Reverse((snapshot.time.at, snapshot.id)));
        judged
    }

    /// restic's judgement.
    fn judge<'a>(&self, newest_first: &[&'a Snapshot], now: Timestamp) -> Vec<Judged<'a>> {
        let latest = newest_first.iter().map(|snapshot| snapshot.time).find(|time| time.at < now);
        let since = |span: &Span| latest.and_then(|latest| span.before(latest)).map_or(Since::Ever, Since::After);
        let within = (!self.within.is_zero()).then(|| since(&self.within));
        let mut rules = self.rules(since);
        let judged = newest_first.iter().enumerate().map(|(position, snapshot)| {
            let mut reasons: Vec<String> = self.tag_reasons(snapshot).collect();
            match within {
                Some(Since::After(at)) if snapshot.time.at <= at => {}
                Some(_) => reasons.push(format!("within {}", self.within)),
                None => {}
            }
            let is_oldest = position + 1 == newest_first.len();
            reasons.extend(rules.iter_mut().filter_map(|rule| rule.keeps(snapshot.time, position, is_oldest)));
            (*snapshot, reasons)
        });
        judged.collect()
    }

    fn tag_reasons(&self, snapshot: &Snapshot) -> impl Iterator<Item = String> {
        let fitting = self.tags.iter().filter(|list| snapshot.has_tags(list));
        fitting.map(|list| format!("has tags [{}]", list.join(", ")))
    }

    /// The rules that were given, in the order of restic's reasons.
    fn rules(&self, since: impl Fn(&Span) -> Since) -> Vec<Rule> {
        let counts = [
            (Period::Last, self.last),
            (Period::Hour, self.hourly),
            (Period::Day, self.daily),
            (Period::Week, self.weekly),
            (Period::Month, self.monthly),
            (Period::Year, self.yearly),
        ];
        let spans = [
            (Period::Hour, self.within_hourly),
            (Period::Day, self.within_daily),
            (Period::Week, self.within_weekly),
            (Period::Month, self.within_monthly),
            (Period::Year, self.within_yearly),
        ];
        let counting = counts.into_iter().map(|(period, count)| Rule::counting(period, count));
        let within = spans.into_iter().filter(|(_, span)| !span.is_zero());
        counting.chain(within.map(|(period, span)| Rule::within(period, span, since(&span)))).collect()
    }
}

#[cfg(test)]
mod judged;
#[cfg(test)]
mod tests;
