//! How far a dump has come: counters that may be read at any time.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use jiff::Timestamp;

/// How far a dump has come; may be read at any time.
#[derive(Debug, Default)]
pub struct Progress {
    kinds: AtomicU64,
    kinds_done: AtomicU64,
    objects: AtomicU64,
    bytes_read: AtomicU64,
    /// Unix seconds.
    newest_change: AtomicI64,
}

/// [`Progress`] at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgressNow {
    /// Collections to be read; 0 before discovery is done.
    pub kinds: u64,
    /// Collections read.
    pub kinds_done: u64,
    /// Objects rendered; those of a listing that starts again count again.
    pub objects: u64,
    /// Bytes of JSON read.
    pub bytes_read: u64,
}

impl Progress {
    /// How far it has come now.
    pub fn now(&self) -> ProgressNow {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ProgressNow {
            kinds: read(&self.kinds),
            kinds_done: read(&self.kinds_done),
            objects: read(&self.objects),
            bytes_read: read(&self.bytes_read),
        }
    }

    pub(super) fn expect(&self, kinds: usize) {
        self.kinds.fetch_add(kinds as u64, Ordering::Relaxed);
    }

    pub(super) fn kind_done(&self) {
        self.kinds_done.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn rendered(&self, objects: u64, newest_change: Timestamp) {
        self.objects.fetch_add(objects, Ordering::Relaxed);
        self.newest_change.fetch_max(newest_change.as_second(), Ordering::Relaxed);
    }

    /// When the newest of the rendered objects changed last; the epoch before there is one.
    pub(super) fn newest_change(&self) -> Timestamp {
        Timestamp::from_second(self.newest_change.load(Ordering::Relaxed)).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    pub(super) fn read(&self, bytes: usize) {
        self.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
