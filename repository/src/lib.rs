//! A restic repository engine for very many small files: repository formats 1 and 2, in a local folder, a bucket (S3, GCS, Azure,
//! B2), or behind restic's REST server.
//!
//! 1. **restic is the judge.** Everything written here is read, checked and restored by restic, and everything restic writes is read
//!    here. The format's rules are those of restic's design document ("References: Repository format"), the names too.
//! 2. **Order of writes.** Packs, then the index that names them, then the snapshot. A reader trusts only what a snapshot names, so a
//!    process that stops anywhere leaves at most unreferenced packs behind, never a broken repository.
//! 3. **Nothing in memory but what must be.** The ids of the known blobs, one compact row per file, and the packs in flight; see
//!    [`Backup`] for the figures.
//! 4. **CPU work on plain threads, I/O on tokio.** A [`Worker`] hashes, compresses, encrypts and verifies on the thread that calls
//!    it; full packs are handed to a bounded number of async writers, and a worker that is faster than the storage waits.
//! 5. **A failed request is never an empty answer.** Every error is typed ([`Error`]); "there is no repository" is only said when the
//!    storage itself said that there is no `config` file.
//! 6. **The same input gives the same tree**, whatever the order and the number of threads: all times in a tree come from the files,
//!    none from the clock.
//!
//! | entry point | what for |
//! |---|---|
//! | [`Location`] → [`Backend`] | restic's notation of a place, and the place itself |
//! | [`Repository`] | open, init, snapshots, reading, restoring, and what follows |
//! | [`Backup`], [`Worker`] | writing one snapshot |
//! | [`Policy`], [`Repository::forget`], [`Repository::prune`] | what stays, and the space of what does not |
//! | [`Repository::check`], [`Repository::repair_index`], [`Repository::stats`] | is it whole, and how large |
//! | [`Repository::diff`], [`Repository::find`] | what changed, and when something was there |
//! | [`Repository::keys`] | passwords |
//! | [`Lock`] | restic's lock, held and refreshed |
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use repository::{
//!     BackupOptions, ConnectOptions, Count, FinishOptions, ForgetOptions, InitOptions, Location, NewFile, Password, Policy,
//!     PruneOptions, PruneProgress, Repository,
//! };
//!
//! # let folder = tempfile::tempdir()?;
//! # let place = folder.path().join("repository").display().to_string();
//! let backend = Location::parse(&place)?.connect(&ConnectOptions::default())?;
//! let password = Password::new("correct horse");
//! let repository = Repository::open_or_init(backend, &password, InitOptions::default()).await?;
//!
//! let backup = repository.backup(BackupOptions::default()).await?;
//! let mut worker = backup.worker()?;
//! let modified = "2024-05-01T12:00:00Z".parse()?;
//! worker.add(NewFile { group: 0, path: "Pod/web.yaml", modified }, b"kind: Pod\n")?;
//! let saved = backup.finish(FinishOptions::default()).await?;
//! assert_eq!(saved.counts.files_new, 1);
//!
//! let content = repository.read_file(&saved.snapshot, "/tmp/resources/Pod/web.yaml").await?;
//! assert_eq!(content, b"kind: Pod\n");
//!
//! let policy = Policy { daily: Count::Of(7), ..Policy::default() };
//! let options = ForgetOptions { policy, ..ForgetOptions::default() };
//! for group in repository.forget(&options, jiff::Timestamp::now()).await? {
//!     println!("{}: {} removed", group.key, group.remove.len());
//! }
//! repository.prune(&PruneOptions::default(), &PruneProgress::default()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! **Invariant:** this crate knows nothing of Kubernetes, prints nothing and reads no environment variable.

mod backend;
mod backup;
mod check;
mod chunked;
mod chunker;
mod codec;
mod config;
mod crypto;
mod diff;
mod encode;
mod error;
mod fetch;
mod find;
mod forget;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod graph;
mod id;
mod index;
mod inventory;
mod key_cache;
mod key_file;
mod keys;
mod location;
mod lock;
mod mac;
mod moment;
mod mutex;
mod pack;
mod packer;
mod polynomial;
mod prune;
mod reach;
mod read;
mod repair_index;
mod repository;
mod restore;
mod retention;
mod secret;
mod snapshot;
mod stats;
mod tree;
mod unpacked;

pub use backend::{Backend, BackendError, FailureKind, File, FileKind, Listed, LocalBackend, ObjectBackend, Put};
pub use backup::{Added, Backup, BackupOptions, FinishOptions, NewFile, Prepared, Progress, Summary, Worker};
pub use check::{
    CheckLock, CheckOptions, CheckPhase, CheckProgress, CheckReport, Finding, HitPath, Hits, Object, ReadData,
};
pub use config::Version;
pub use diff::{BlobCounts, Change, DiffCounts, DiffOptions, DiffSummary, Modifier};
pub use error::Error;
pub use find::{FindQuery, FindSummary, Pattern, PatternError};
pub use forget::{ForgetGroup, ForgetOptions};
pub use id::Id;
pub use key_file::KdfParams;
pub use keys::{KeyInfo, NewKey};
pub use location::{
    AzureOptions, B2Options, ConnectOptions, ContainerIdentity, GcsOptions, Location, LocationError, Patience,
    RestOptions, S3Client, S3Options, WebIdentity,
};
pub use lock::{Lock, LockOwner, locks_released, set_lock_slot};
pub use moment::Moment;
pub use prune::{InvalidAmount, MaxUnused, PruneOptions, PruneProgress, PruneStep, PruneSummary, parse_bytes};
pub use read::Entry;
pub use repair_index::{RepairIndexOptions, RepairIndexProgress, RepairIndexSummary};
pub use repository::{InitOptions, Repository};
pub use restore::{DamagedPath, RestoreFilter, RestoreOptions, RestoreProgress, RestoreSummary};
pub use retention::{
    Choice, Count, CountError, GroupBy, GroupByError, GroupKey, Kept, PARTIAL_TAG, Policy, Span, SpanError,
};
pub use secret::{Password, Secret};
pub use snapshot::{Snapshot, SnapshotFilter, SnapshotSummary};
pub use stats::{ContentSize, RawSize, RestoreSize, SnapshotSize, Stats, StatsOptions};
pub use tree::{Node, NodeKind};
