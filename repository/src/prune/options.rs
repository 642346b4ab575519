//! What a prune is told, and what it tells.

use std::str::FromStr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

/// How to prune.
#[derive(Clone, Debug, Default)]
pub struct PruneOptions {
    /// How much unneeded data may stay, because getting rid of it means copying what lies beside it.
    pub max_unused: MaxUnused,
    /// Copy packs of at most so many bytes in total; the rest is left to the next prune.
    pub max_repack_bytes: Option<u64>,
    /// Also copy all packs that are clearly smaller than a full one together.
    pub repack_small: bool,
    /// Only say what would be done. Takes the shared lock, as it reads only.
    pub dry_run: bool,
    /// How long to wait while somebody else works on the repository.
    pub lock_wait: Duration,
}

/// How much unneeded data a prune leaves in packs that are partly needed. Packs of trees are always cleaned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxUnused {
    /// At most so much of the pruned repository, in percent.
    Percent(f64),
    /// At most so many bytes.
    Bytes(u64),
    /// Any amount.
    Unlimited,
}

impl Default for MaxUnused {
    /// 5 %, as restic has it.
    fn default() -> Self {
        Self::Percent(5.)
    }
}

impl MaxUnused {
    /// Bytes of unneeded data that may stay beside so many needed ones.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(super) fn bytes(self, used_bytes: u64) -> u64 {
        match self {
            Self::Percent(percent) if percent < 100. => (used_bytes as f64 * percent / (100. - percent)) as u64,
            Self::Bytes(bytes) => bytes,
            Self::Percent(_) | Self::Unlimited => u64::MAX,
        }
    }
}

impl FromStr for MaxUnused {
    type Err = InvalidAmount;

    /// Reads restic's notation: `5%`, `200M` (see [`parse_bytes`]), `unlimited`.
    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        match text.strip_suffix('%') {
            Some(number) => match number.parse() {
                Ok(percent) if (0. ..=100.).contains(&percent) => Ok(Self::Percent(percent)),
                _ => Err(InvalidAmount { text: text.to_owned(), wanted: "between 0% and 100%" }),
            },
            None => parse_bytes(text).map(Self::Bytes),
        }
    }
}

/// A text that is no amount.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} must be {wanted}")]
pub struct InvalidAmount {
    text: String,
    wanted: &'static str,
}

/// Reads an amount of bytes as restic's flags take it: a number, with `k`, `M`, `G` or `T` for powers of 1024, in either case.
///
/// # Errors
/// Anything else, and what exceeds 64 bits.
pub fn parse_bytes(text: &str) -> Result<u64, InvalidAmount> {
    let invalid = || InvalidAmount { text: text.to_owned(), wanted: "a number of bytes, for example 200M" };
    let shift = match text.chars().last().map(|last| last.to_ascii_lowercase()) {
        Some('k') => 10,
        Some('m') => 20,
        Some('g') => 30,
        Some('t') => 40,
        _ => 0,
    };
    let number = if shift == 0 { text } else { &text[..text.len() - 1] };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse::<u64>().ok().filter(|_| is_number).ok_or_else(invalid)?;
    number.checked_mul(1 << shift).ok_or_else(invalid)
}

/// What a prune is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum PruneStep {
    /// It waits for the lock.
    #[default]
    Locking,
    /// It reads the index and lists the packs; counted in index files.
    ReadingIndex,
    /// It walks the trees of all snapshots; counted in trees, their number is not known before.
    FindingUsed,
    /// It copies what is needed into new packs; counted in bytes as they are stored.
    Copying,
    /// It names the packs that stay in new index files; counted in packs.
    WritingIndex,
    /// It deletes index files that were replaced.
    DeletingIndexes,
    /// It deletes packs.
    DeletingPacks,
    /// It is done.
    Done,
}

impl PruneStep {
    const ALL: [Self; 8] = [
        Self::Locking,
        Self::ReadingIndex,
        Self::FindingUsed,
        Self::Copying,
        Self::WritingIndex,
        Self::DeletingIndexes,
        Self::DeletingPacks,
        Self::Done,
    ];
}

/// How far a prune is; read it at any time.
#[derive(Debug, Default)]
pub struct PruneProgress {
    step: AtomicU8,
    done: AtomicU64,
    total: AtomicU64,
}

impl PruneProgress {
    /// What it is doing.
    pub fn step(&self) -> PruneStep {
        PruneStep::ALL[usize::from(self.step.load(Ordering::Relaxed))]
    }

    /// How much of the step is done, in the unit of the step.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// How much there is to do in the step; 0 when that is not known.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self, step: PruneStep, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        self.step.store(step as u8, Ordering::Relaxed);
    }

    pub(super) fn add(&self, done: u64) {
        self.done.fetch_add(done, Ordering::Relaxed);
    }
}

/// What a prune did; of a dry run, what it would have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PruneSummary {
    /// Snapshots in the repository.
    pub snapshots: u64,
    /// Distinct blobs that they need.
    pub blobs_used: u64,
    /// Copies of blobs that went: not needed by any snapshot, or there more than once.
    pub blobs_removed: u64,
    /// Packs that were there.
    pub packs_before: u64,
    /// Of these, the ones that stayed as they are.
    pub packs_kept: u64,
    /// The ones whose needed part was copied into new packs.
    pub packs_repacked: u64,
    /// The ones that held nothing needed.
    pub packs_unused: u64,
    /// The ones that no index named: left by a backup that was killed, or by a prune.
    pub packs_unindexed: u64,
    /// Packs that an index named, that held nothing needed, and that were not there.
    pub packs_missing: u64,
    /// Bytes of all packs that were there.
    pub bytes_before: u64,
    /// Bytes of the packs that were deleted, copied ones included.
    pub bytes_deleted: u64,
    /// Bytes copied into new packs, without their headers.
    pub bytes_copied: u64,
    /// Bytes of all packs that are there now. Of a dry run, an estimate.
    pub bytes_after: u64,
    /// Of these, bytes that no snapshot needs.
    pub bytes_unused_after: u64,
    /// Index files that were there.
    pub index_files_before: u64,
    /// Of these, the ones that were replaced.
    pub index_files_replaced: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_restic_reads_them() {
        for (text, expected) in [
            ("5%", MaxUnused::Percent(5.)),
            ("0.5%", MaxUnused::Percent(0.5)),
            ("0", MaxUnused::Bytes(0)),
            ("200M", MaxUnused::Bytes(200 << 20)),
            ("3k", MaxUnused::Bytes(3 << 10)),
            ("1T", MaxUnused::Bytes(1 << 40)),
            ("unlimited", MaxUnused::Unlimited),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for bad in ["", "%", "M", "-1", "+1", "1.5M", "101%", "-1%", "NaN%", "x", "5 %", "99999999T", "1ü"] {
            assert!(bad.parse::<MaxUnused>().is_err(), "{bad}");
        }
    }

    #[test]
    fn percent_means_of_what_remains() {
        assert_eq!(MaxUnused::Percent(5.).bytes(95), 5);
        assert_eq!(MaxUnused::Percent(0.).bytes(95), 0);
        assert_eq!(MaxUnused::Percent(100.).bytes(1), u64::MAX);
    }

    #[test]
    fn every_step_is_told() {
        let progress = PruneProgress::default();
        for step in PruneStep::ALL {
            progress.begin(step, 7);
            assert_eq!((progress.step(), progress.done(), progress.total()), (step, 0, 7));
        }
    }
}
