//! Which packs a check reads to the last byte. Pure: of the packs' names and sizes, what is asked for and a seed.

use jiff::Timestamp;

use crate::backend::Listed;
use crate::id::Id;

/// Parts of a whole, as [`ReadData::Share`] counts.
const MILLION: u64 = 1_000_000;

/// Seconds of a day of the calendar that [`ReadData::within_days`] counts by: UTC.
const SECONDS_PER_DAY: i64 = 24 * 60 * 60;

/// How much of the data a check reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadData {
    /// Nothing: the structure only.
    #[default]
    Nothing,
    /// Every pack.
    Everything,
    /// One of several equal parts, the same packs as restic's `--read-data-subset n/t`: those whose name's first byte modulo `of`
    /// is `part - 1`.
    Part {
        /// Which part, from 1.
        part: u32,
        /// How many parts there are, at most 256.
        of: u32,
    },
    /// A random share of the packs, at least one; another one each time.
    Share {
        /// Millionths of the number of packs.
        ppm: u32,
    },
    /// Random packs of about this size together, at least one; others each time.
    Bytes(u64),
    /// The packs whose turn it is: who checks once in each turn reads every pack within `turns` turns. Nothing is remembered
    /// between checks, as the turn of a pack follows from its name.
    Turn {
        /// Which turn it is; only its remainder by `turns` counts.
        turn: u64,
        /// How many there are until every pack was read.
        turns: u32,
    },
}

impl ReadData {
    /// What a check on the day of `now` reads so that checks on each of `days` successive days read everything. Days are those of
    /// UTC; 0 counts as 1.
    pub fn within_days(days: u32, now: Timestamp) -> Self {
        let day = now.as_second().div_euclid(SECONDS_PER_DAY);
        let turns = days.max(1);
        // Days before 1970 are counted on, not mirrored.
        let turn = day.rem_euclid(i64::from(turns));
        Self::Turn { turn: turn.unsigned_abs(), turns }
    }

    /// The chosen ones of these packs. The seed decides where the choice is random.
    pub(super) fn choose(self, packs: &[Listed], seed: u64) -> Vec<Listed> {
        let chosen = |wanted: &dyn Fn(&Id) -> bool| packs.iter().filter(|pack| wanted(&pack.id)).copied().collect();
        match self {
            Self::Nothing => Vec::new(),
            Self::Everything => packs.to_vec(),
            Self::Part { part, of } => chosen(&|id| u32::from(id.as_bytes()[0]) % of.max(1) == part.wrapping_sub(1)),
            Self::Turn { turn, turns } => {
                let turns = u64::from(turns.max(1));
                chosen(&|id| number(id) % turns == turn % turns)
            }
            Self::Share { ppm } => {
                let wanted = (packs.len() as u64 * u64::from(ppm)).div_ceil(MILLION).max(1);
                let mut shuffled = shuffled(packs, seed);
                shuffled.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
                shuffled
            }
            Self::Bytes(bytes) => {
                let mut sum = 0_u64;
                let mut take = |pack: &Listed| {
                    let is_wanted = sum == 0 || sum < bytes;
                    sum = sum.saturating_add(pack.bytes.max(1));
                    is_wanted
                };
                shuffled(packs, seed).into_iter().take_while(|pack| take(pack)).collect()
            }
        }
    }
}

/// A pack's name is a hash, so any of its bits serve. These are not the ones that [`ReadData::Part`] looks at.
fn number(id: &Id) -> u64 {
    u64::from_le_bytes(*id.as_bytes().last_chunk().expect("an id has 32 bytes"))
}

/// All packs in an order that the seed decides.
fn shuffled(packs: &[Listed], seed: u64) -> Vec<Listed> {
    let mut shuffled = packs.to_vec();
    shuffled.sort_by_cached_key(|pack| Id::of(&[&seed.to_le_bytes()[..], pack.id.as_bytes()].concat()));
    shuffled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packs(number: u32) -> Vec<Listed> {
        (0..number).map(|n| Listed { id: Id::of(&n.to_le_bytes()), bytes: 1000 }).collect()
    }

    fn ids(chosen: &[Listed]) -> Vec<Id> {
        chosen.iter().map(|pack| pack.id).collect()
    }

    #[test]
    fn a_check_each_day_reads_every_pack_once_within_the_days() {
        let packs = packs(2000);
        for (days, start) in
            [(1_u32, "2024-02-28T23:59:59Z"), (7, "1969-12-29T12:00:00Z"), (30, "2026-01-01T00:00:00Z")]
        {
            let start: Timestamp = start.parse().unwrap();
            let day = |n: u32| start + jiff::SignedDuration::from_hours(24 * i64::from(n));
            let reads = (0..days).map(|n| ReadData::within_days(days, day(n)).choose(&packs, 0));
            let mut read: Vec<Id> = reads.flat_map(|chosen| ids(&chosen)).collect();
            read.sort();
            let mut all = ids(&packs);
            all.sort();
            assert_eq!(read, all, "{days} days");
            let cost = ReadData::within_days(days, start).choose(&packs, 0).len();
            assert!(cost.abs_diff(2000 / days as usize) < 60, "{cost} packs on one of {days} days");
        }
        assert_eq!(ReadData::within_days(0, Timestamp::UNIX_EPOCH), ReadData::Turn { turn: 0, turns: 1 });
    }

    #[test]
    fn parts_are_restics_and_make_up_the_whole() {
        let packs = packs(1000);
        let part = |part, of| ReadData::Part { part, of }.choose(&packs, 0);
        assert!(part(2, 7).iter().all(|pack| pack.id.as_bytes()[0] % 7 == 1));
        assert_eq!((1..=7).map(|n| part(n, 7).len()).sum::<usize>(), 1000);
        assert!(part(8, 7).is_empty() && part(0, 7).is_empty());
    }

    #[test]
    fn a_share_is_random_and_never_empty() {
        let packs = packs(1000);
        let share = |ppm, seed| ids(&ReadData::Share { ppm }.choose(&packs, seed));
        assert_eq!((share(25_000, 1).len(), share(1, 1).len(), share(2_000_000, 1).len()), (25, 1, 1000));
        assert_eq!(share(25_000, 1), share(25_000, 1));
        assert_ne!(share(25_000, 1), share(25_000, 2));
        let bytes = |bytes| ReadData::Bytes(bytes).choose(&packs, 3).len();
        assert_eq!((bytes(0), bytes(1000), bytes(1001), bytes(u64::MAX)), (1, 1, 2, 1000));
        assert!(ReadData::Share { ppm: 1 }.choose(&[], 1).is_empty());
    }
}
