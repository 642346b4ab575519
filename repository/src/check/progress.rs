//! How far a check is.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What a check is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckPhase {
    /// Taking the lock, reading the index and the list of packs.
    Index,
    /// Reading snapshots and trees. [`CheckProgress::done`] counts trees.
    Trees,
    /// Reading headers or whole packs. [`CheckProgress::done`] counts packs.
    Packs,
    /// Something is damaged: looking for the snapshots and paths that it hits.
    Hits,
}

/// How far a check is; read it at any time.
#[derive(Debug, Default)]
pub struct CheckProgress {
    phase: AtomicU8,
    done: AtomicU64,
    total: AtomicU64,
}

impl CheckProgress {
    /// What it is doing.
    pub fn phase(&self) -> CheckPhase {
        match self.phase.load(Ordering::Relaxed) {
            0 => CheckPhase::Index,
            1 => CheckPhase::Trees,
            2 => CheckPhase::Packs,
            _ => CheckPhase::Hits,
        }
    }

    /// What is done of this phase.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// What there is to do in this phase, 0 where that is not known.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self, phase: CheckPhase, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(super) fn advance(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}
