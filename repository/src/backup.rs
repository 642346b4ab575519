//! Writing one snapshot.
//!
//! ```text
//!  worker threads                                        tokio
//!  add(path, bytes): chunk → hash → known? ─ yes ─► row   ┌────────────────┐
//!                                     └─ no ─► compress, seal, verify ─► pack ─ full ─► │ write the pack │ ─► index
//!                                                                      (at most PACKS_IN_FLIGHT_MAX)  └────────────────┘
//!  finish: rows sorted → trees bottom-up → packs → index → compare with the parent → snapshot
//! ```
//!
//! 1. **Memory**: 41 bytes for each known blob, 40 and the length of the name for each file, 16 MiB for each pack in flight and one
//!    for each kind being filled. Nothing else grows with the number of objects.
//! 2. **Claim, then store**: a worker enters a new id into the table of known blobs before it encodes the blob, so two threads with
//!    the same content store it once. If the blob then cannot be stored, the whole backup fails; no snapshot can name it.
//! 3. **Trees at the end**: files come in any order; only when all are there are names sorted and trees built, each from its children.
//!    A file's time is given by the caller, a folder's is its newest child's, so the same files make the same trees.
//! 4. **Groups**: every file belongs to a group of the caller's, which can be discarded as a whole when its listing has to start again.
//! 5. **Without `finish` there is no snapshot**: a dropped backup leaves packs that nothing names, and removes its lock.

mod compare;
mod files;
mod trees;
mod worker;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use crate::backend::FileKind;
use crate::chunker::Chunker;
use crate::encode::EncodeOptions;
use crate::error::Error;
use crate::id::Id;
use crate::index::{IdTable, Index, Places};
use crate::lock::Lock;
use crate::mutex::locked;
use crate::pack::BlobKind;
use crate::packer::Packer;
use crate::repository::Repository;
use crate::snapshot::{self, Snapshot, SnapshotSummary};
use crate::tree::Meta;
use compare::Comparison;
use files::FileTable;

pub use worker::{Added, NewFile, Worker};

/// What the snapshot will say, and how the files are stored.
#[derive(Clone, Debug)]
pub struct BackupOptions {
    /// The host it is filed under; the parent is the newest snapshot with the same host and root.
    pub host: String,
    /// Absolute path of the folder that the files lie in.
    pub root: String,
    /// The moment that the backup shows; `None` = when it began.
    pub time: Option<Timestamp>,
    /// Labels. [`FinishOptions`] can add more.
    pub tags: Vec<String>,
    /// Decode each new blob and compare it before it is used: costs a quarter of the CPU of a first backup and turns faulty memory
    /// into an error instead of a damaged backup.
    pub verify: bool,
    /// Owner of all files and folders.
    pub uid: u32,
    /// Group of all files and folders.
    pub gid: u32,
    /// The program, as the snapshot names it.
    pub program_version: String,
    /// zstd level of new blobs in format 2.
    pub level: i32,
    /// How long to wait for the repository's lock while somebody prunes.
    pub retry_lock: Duration,
}

impl Default for BackupOptions {
    /// Stash's snapshots of Kubernetes resources: `host-0`, `/tmp/resources`, owner 65535:0.
    fn default() -> Self {
        Self {
            host: "host-0".to_owned(),
            root: "/tmp/resources".to_owned(),
            time: None,
            tags: Vec::new(),
            verify: true,
            uid: 65535,
            gid: 0,
            program_version: concat!("stowage ", env!("CARGO_PKG_VERSION")).to_owned(),
            level: crate::codec::LEVEL_BLOB,
            retry_lock: Duration::ZERO,
        }
    }
}

/// What is only known at the end.
#[derive(Clone, Debug, Default)]
pub struct FinishOptions {
    /// Labels besides those of [`BackupOptions`].
    pub tags: Vec<String>,
}

/// How far a backup is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Live files: added and not discarded.
    pub files: u64,
    /// Bytes of the live files.
    pub bytes: u64,
    /// Bytes of new blobs, as they are stored.
    pub stored_bytes: u64,
    /// Packs that the storage has confirmed.
    pub packs: u64,
}

/// What a backup did.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The snapshot as it is stored; [`Snapshot::summary`] has the counts.
    pub snapshot: Snapshot,
    /// The counts.
    pub counts: SnapshotSummary,
}

/// A backup under way. [`Backup::worker`] gives the handles that add files; [`Backup::finish`] makes the snapshot.
pub struct Backup {
    repository: Repository,
    shared: Arc<Shared>,
    lock: Lock,
    index: Index,
    parent: Option<Snapshot>,
    started: Timestamp,
    options: BackupOptions,
}

/// A backup whose data, trees and index are stored: only the snapshot is missing.
pub struct Prepared {
    repository: Repository,
    lock: Lock,
    index: Index,
    snapshot: Snapshot,
    summary: SnapshotSummary,
}

/// What all workers share.
struct Shared {
    chunker: Chunker,
    known_data: Mutex<IdTable>,
    known_trees: Mutex<IdTable>,
    files: Mutex<FileTable>,
    packer: Packer,
    counters: Counters,
    options: EncodeOptions,
}

#[derive(Default)]
struct Counters {
    files: AtomicU64,
    bytes: AtomicU64,
    data_blobs: AtomicU64,
    tree_blobs: AtomicU64,
    raw_bytes: AtomicU64,
    stored_bytes: AtomicU64,
}

impl Repository {
    /// Begins a backup: takes the shared lock, loads the ids of all known blobs, finds the parent.
    ///
    /// # Errors
    /// [`Error::Locked`]; [`Error::Damaged`] for an index or a snapshot that cannot be read; storage errors.
    pub async fn backup(&self, options: BackupOptions) -> Result<Backup, Error> {
        let started = Timestamp::now();
        let lock = self.lock_shared_within(options.retry_lock).await?;
        let sealed = self.shared.sealed.clone();
        let known = self.shared.known.lock().await.take().unwrap_or_else(|| Index::new(Places::Trees));
        let (index, snapshots) = futures::try_join!(known.update(&sealed), self.snapshots())?;
        let parent = snapshot::parent_of(&snapshots, &options.host, std::slice::from_ref(&options.root)).cloned();
        Ok(Backup::new(self.clone(), lock, index, parent, started, options))
    }
}

impl Backup {
    fn new(
        repository: Repository,
        lock: Lock,
        mut index: Index,
        parent: Option<Snapshot>,
        started: Timestamp,
        options: BackupOptions,
    ) -> Self {
        let sealed = repository.shared.sealed.clone();
        let shared = Shared {
            chunker: Chunker::new(repository.shared.config.polynomial),
            known_data: Mutex::new(std::mem::replace(&mut index.data, IdTable::new())),
            known_trees: Mutex::new(index.trees.clone()),
            files: Mutex::new(FileTable::new()),
            options: EncodeOptions {
                compress: sealed.version == crate::config::Version::V2,
                verify: options.verify,
                level: options.level,
            },
            packer: Packer::new(sealed),
            counters: Counters::default(),
        };
        Self { repository, shared: Arc::new(shared), lock, index, parent, started, options }
    }

    /// A handle for one thread. Workers may outlive [`Backup::finish`]; they then refuse files.
    ///
    /// # Errors
    /// [`Error::System`] when zstd cannot be set up.
    pub fn worker(&self) -> Result<Worker, Error> {
        Worker::new(Arc::clone(&self.shared))
    }

    /// Forgets every file that was added under this group so far; the group may be used again. What was stored for them stays in the
    /// repository until a prune, and is found again when the same content comes.
    pub fn discard(&self, group: u32) {
        let (files, bytes) = locked(&self.shared.files).discard(group);
        self.shared.counters.files.fetch_sub(files, Ordering::Relaxed);
        self.shared.counters.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// How far it is. Cheap: a few atomics.
    pub fn progress(&self) -> Progress {
        let counters = &self.shared.counters;
        Progress {
            files: counters.files.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
            stored_bytes: counters.stored_bytes.load(Ordering::Relaxed),
            packs: self.shared.packer.packs_written(),
        }
    }

    /// The snapshot that this one is compared with.
    pub fn parent(&self) -> Option<&Snapshot> {
        self.parent.as_ref()
    }

    /// [`Backup::prepare`], then [`Prepared::commit`].
    ///
    /// # Errors
    /// Those of both.
    pub async fn finish(self, options: FinishOptions) -> Result<Summary, Error> {
        self.prepare().await?.commit(options).await
    }

    /// Stores everything but the snapshot: the last packs, the trees, the index; counts what is new against the parent. Workers refuse
    /// files from here on.
    ///
    /// # Errors
    /// [`Error::DuplicatePath`]; the first failure of any worker or writer; [`Error::Damaged`] for a tree of the parent that cannot be
    /// read; storage errors. The lock is removed in the background then.
    pub async fn prepare(self) -> Result<Prepared, Error> {
        let Self { repository, shared, lock, mut index, parent, started, options } = self;
        let files = locked(&shared.files).close();
        let meta = Meta { uid: options.uid, gid: options.gid };
        let (building, root) = (Arc::clone(&shared), options.root.clone());
        let built = tokio::task::spawn_blocking(move || trees::build(&building, files, &root, meta)).await;
        let built = built.map_err(Error::interrupted("building the trees")).flatten();
        // A writer that failed is the cause of whatever came after it.
        let written = shared.packer.finish().await?;
        let built = built?;
        let against = parent.as_ref().map(|parent| parent.tree);
        let comparison = compare::compare(&repository.shared.sealed, &index, &shared, &built, against).await?;
        let summary = shared.summary(started, built.files(), built.bytes(), comparison);
        let snapshot = new_snapshot(built.root(), parent, started, options);
        index.note_stored(&written)?;
        index.data = std::mem::replace(&mut *locked(&shared.known_data), IdTable::new());
        Ok(Prepared { repository, lock, index, snapshot, summary })
    }

    /// Gives the backup up: no snapshot, the lock is removed, and what was stored gets an index, so that the next backup finds it.
    /// Dropping a backup does the first of the three for certain, the second in the background, and not the third.
    ///
    /// # Errors
    /// Storage errors; the lock then goes stale by itself.
    pub async fn abort(self) -> Result<(), Error> {
        drop(locked(&self.shared.files).close());
        let stored = self.shared.packer.finish().await;
        self.lock.release().await?;
        match stored {
            // A worker failed before: its caller knows.
            Err(Error::Ended) => Ok(()),
            stored => stored.map(drop),
        }
    }
}

impl Prepared {
    /// The tree of the snapshot to be.
    pub fn tree(&self) -> Id {
        self.snapshot.tree
    }

    /// Saves the snapshot if the lock still holds, and removes the lock.
    ///
    /// # Errors
    /// [`Error::LockLost`], and no snapshot; storage errors, after which the snapshot may or may not be there.
    pub async fn commit(self, options: FinishOptions) -> Result<Summary, Error> {
        let Self { repository, lock, index, mut snapshot, mut summary } = self;
        for tag in options.tags {
            if !snapshot.tags.contains(&tag) {
                snapshot.tags.push(tag);
            }
        }
        lock.check().await?;
        summary.backup_end = Timestamp::now();
        snapshot.summary = Some(summary.clone());
        let json = serde_json::to_vec(&snapshot).expect("a struct of texts, numbers and ids serialises");
        snapshot.id = repository.shared.sealed.save(FileKind::Snapshot, &json).await?;
        repository.remember(index, &snapshot).await;
        // The snapshot is there; a lock that could not be removed goes stale by itself.
        let _ = lock.release().await;
        Ok(Summary { snapshot, counts: summary })
    }
}

impl Shared {
    fn summary(&self, started: Timestamp, files: u64, bytes: u64, comparison: Comparison) -> SnapshotSummary {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SnapshotSummary {
            backup_start: started,
            backup_end: started,
            files_new: comparison.files_new,
            files_changed: comparison.files_changed,
            files_unmodified: comparison.files_unmodified,
            dirs_new: comparison.dirs_new,
            dirs_changed: comparison.dirs_changed,
            dirs_unmodified: comparison.dirs_unmodified,
            data_blobs: count(&self.counters.data_blobs),
            tree_blobs: count(&self.counters.tree_blobs),
            data_added: count(&self.counters.raw_bytes),
            data_added_packed: count(&self.counters.stored_bytes),
            total_files_processed: files,
            total_bytes_processed: bytes,
        }
    }

    /// Claims an id: its position, and whether the caller has to store the blob.
    fn claim(&self, kind: BlobKind, id: Id) -> Result<(u32, bool), Error> {
        match kind {
            BlobKind::Data => locked(&self.known_data).insert(id),
            BlobKind::Tree => locked(&self.known_trees).insert(id),
        }
    }
}

fn new_snapshot(tree: Id, parent: Option<Snapshot>, started: Timestamp, options: BackupOptions) -> Snapshot {
    Snapshot {
        id: Id::from_bytes([0; 32]),
        time: options.time.unwrap_or(started).into(),
        parent: parent.map(|parent| parent.id),
        tree,
        paths: vec![options.root],
        host: options.host,
        username: String::new(),
        uid: 0,
        gid: 0,
        excludes: Vec::new(),
        tags: options.tags,
        original: None,
        program_version: options.program_version,
        summary: None,
    }
}
