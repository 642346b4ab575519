//! What survives the process: every change is written to a journal, and now and then everything to a snapshot.
//!
//! ```text
//! folder/journal-<n>.log   changes since snapshot n          magic, then records: length u32, CRC-32 u32, change
//! folder/snapshot-<n>      everything up to journal n        magic, then records: keys, groups, and one that says how many
//! folder/*.damaged         what could not be read, for a person to look at
//! ```
//!
//! 1. **Order.** A change is put into the journal's queue under the same lock under which it is applied, so the journal has the order
//!    in which things happened. To apply the records again leads to the same state.
//! 2. **When a push is acknowledged.** With `fsync=always` when its record is on the disk; pushes that wait at the same time share one
//!    fsync. With `fsync=interval` (the default) at once: the record reaches the operating system within milliseconds and
//!    the disk within a second, so a killed process loses next to nothing, and a lost machine the last second.
//! 3. **A record is whole or it is not there.** The checksum tells. A record cut off at the very end is what a kill leaves: it was never
//!    acknowledged, and is cut away. Anything else that does not fit is damage: what stands before it is loaded, the file is
//!    kept aside, and it is reported.
//! 4. **A full disk** refuses pushes until a snapshot could be written, because memory may then be ahead of the journal.
//! 5. **One process a folder**: the file `lock` is locked while the gateway runs.

mod log;
mod record;
mod recover;
mod snapshot;

use std::{io, path::PathBuf};

pub(crate) use log::{Journal, Ticket};
pub(crate) use record::{encode, encode_push};
pub(crate) use recover::{Recovered, recover};
pub(crate) use snapshot::write_snapshot;

/// When records are on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Fsync {
    /// Before a push is acknowledged.
    Always,
    /// Within a second.
    #[default]
    Interval,
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file or folder cannot be read, written or made.
    #[error("{phase} {}", path.display())]
    File {
        /// What was being done.
        phase: &'static str,
        /// With which file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// Another gateway uses the folder.
    #[error("{} is used by another process", .0.display())]
    InUse(PathBuf),
    /// The journal could not be written; it will be tried again.
    #[error("the journal cannot be written at present")]
    Broken,
}

impl JournalError {
    fn file(phase: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { phase, path, source }
    }
}
