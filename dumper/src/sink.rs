//! Where a dump's files go.
//!
//! Files belong to a numbered group, one for each attempt at reading a collection. When a listing has to start again (the
//! API server forgot the version it began with, or sent a damaged page) its group is discarded and a new one is begun, so
//! that nothing is in the dump twice and nothing stays that the second reading no longer shows.

mod repository;
mod stream;

use jiff::Timestamp;

pub use repository::{RepositorySink, has_ended};
pub use stream::{StreamEnded, StreamSink, Tally};

/// Why a sink took a file no more; ends the dump.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// One file of a dump.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// The attempt at reading a collection that this file belongs to.
    pub group: u32,
    /// Path below the dump's root, with `/`; safe on every file system.
    pub path: &'a str,
    /// When the object last changed: from the object, never "now", so that an unchanged object gives an unchanged file.
    pub modified: Timestamp,
    /// The file's bytes.
    pub content: &'a [u8],
}

/// Takes the files of one dump, in any order, from several threads.
pub trait Sink: Send + Sync + 'static {
    /// What one thread at a time writes with.
    type Writer: Writer;

    /// A writer of its own for one thread. Writers are reused for many files.
    ///
    /// # Errors
    /// The sink is broken, or memory for a writer is not to be had; the dump ends.
    fn writer(&self) -> Result<Self::Writer, SinkError>;

    /// Drops every file written so far with this group. Returns when none of them can appear in the result any more. The
    /// caller writes no further file of the group.
    ///
    /// # Errors
    /// The sink is broken; the dump ends.
    fn discard(&self, group: u32) -> Result<(), SinkError>;
}

/// Takes files from one thread.
pub trait Writer: Send + 'static {
    /// Takes one file. May block while the sink is slow: that is what slows the LISTs. When it returns, the file's bytes
    /// are taken over (not yet durable).
    ///
    /// # Errors
    /// The sink is broken (backend down, disk full, two files of one path); the dump ends.
    fn write(&mut self, file: File<'_>) -> Result<(), SinkError>;
}
