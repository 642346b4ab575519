//! Restore: a snapshot, or part of it, into a folder.
//!
//! 1. First the folders and the list of files, then the contents pack by pack: neighbouring blobs are read with one request, several
//!    requests run at once. Links come after all files, so that none can lead a file elsewhere; times of folders come last.
//! 2. Nothing leaves the destination: names were checked when the trees were read, and a link that is in the way is replaced, never
//!    followed.
//! 3. Owners are not restored; devices, sockets and pipes are counted and left out.
//! 4. Damage costs what it hits and no more: what is damaged is left out, named in the summary, and the rest is restored.

mod damage;
mod plan;
mod write;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};

use crate::error::Error;
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::tree::Node;
pub use damage::DamagedPath;
use damage::Damages;
use plan::{Plan, Request};

/// Which entries are restored: those for which the function says so, given the absolute path in the snapshot. Folders are made as far
/// as something in them is restored or they themselves are wanted.
pub type RestoreFilter<'a> = dyn Fn(&str) -> bool + Send + Sync + 'a;

/// How to restore.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// Only what lies at or below this absolute path of the snapshot. Empty: everything.
    pub path: String,
    /// The folder of the snapshot that becomes the destination, as an absolute path at or above [`path`](Self::path): with
    /// `/tmp/resources`, `/tmp/resources/Pod` becomes `<destination>/Pod`. Empty: nothing is left out of the paths.
    pub base: String,
    /// Take no lock, for a storage that cannot be written.
    pub no_lock: bool,
    /// How long to wait for the lock while somebody prunes.
    pub retry_lock: Duration,
}

/// How far a restore is; read it at any time.
#[derive(Debug, Default)]
pub struct RestoreProgress {
    files: AtomicU64,
    bytes: AtomicU64,
}

impl RestoreProgress {
    /// Files whose last part is written.
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// Bytes written.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// What a restore did. Ask [`RestoreSummary::is_complete`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it says what could not be restored"]
pub struct RestoreSummary {
    /// Files written.
    pub files: u64,
    /// Folders made or found.
    pub dirs: u64,
    /// Symbolic links made.
    pub symlinks: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Devices, sockets and pipes that were left out.
    pub left_out: u64,
    /// What could not be restored because the repository is damaged; at most 1,000.
    pub damaged: Vec<DamagedPath>,
    /// How much that is in all.
    pub damaged_total: u64,
}

impl RestoreSummary {
    /// Whether everything was restored that was wanted, but for what is [left out](Self::left_out) by its kind.
    pub fn is_complete(&self) -> bool {
        self.damaged_total == 0
    }
}

impl Repository {
    /// Writes entries of a snapshot below `destination`, replacing files that are in the way. Contents are verified as they are read;
    /// a file that cannot be read completely, and what lies in a folder that cannot be read, is left out and named in the summary.
    ///
    /// # Errors
    /// [`Error::PathNotFound`] when the snapshot has nothing at the wanted path; [`Error::Restore`] when the destination cannot be
    /// written; [`Error::Damaged`] for an index, or a tree on the way to the wanted path, that cannot be read; [`Error::Locked`];
    /// storage errors. After an error the destination holds a part.
    pub async fn restore(
        &self,
        snapshot: &Snapshot,
        filter: &RestoreFilter<'_>,
        options: &RestoreOptions,
        destination: &Path,
        progress: &RestoreProgress,
    ) -> Result<RestoreSummary, Error> {
        let lock = if options.no_lock { None } else { Some(self.lock_shared_within(options.retry_lock).await?) };
        let restored = self.restore_locked(snapshot, filter, options, destination, progress).await;
        if let Some(lock) = lock {
            // What was restored is verified; a lock that could not be removed goes stale.
            let _ = lock.release().await;
        }
        restored
    }

    async fn restore_locked(
        &self,
        snapshot: &Snapshot,
        filter: &RestoreFilter<'_>,
        options: &RestoreOptions,
        destination: &Path,
        progress: &RestoreProgress,
    ) -> Result<RestoreSummary, Error> {
        let base = options.base.trim_end_matches('/').as_bytes();
        let path = options.path.trim_end_matches('/').as_bytes();
        if !path.strip_prefix(base).is_some_and(|below| below.is_empty() || below.starts_with(b"/")) {
            return Err(Error::PathNotFound { wanted: "entry", path: options.path.clone() });
        }
        let mut plan = Plan::new(destination.to_owned());
        let mut damages = Damages::new(options.base.trim_end_matches('/'));
        let mut add = |path: &[u8], node: Result<Node, Error>| match path.strip_prefix(base) {
            Some(below) if below.starts_with(b"/") && filter(&String::from_utf8_lossy(path)) => match node {
                Ok(node) => plan.add(below, node),
                Err(damage) => damages.note(below, damage),
            },
            Some(_) => node.err().map_or(Ok(()), |damage| damages.note(b"/", damage)),
            None => Ok(()),
        };
        self.walk_bytes(snapshot, &options.path, &mut add).await?;
        let requests = plan.requests(&*self.index().await?);
        let plan = Arc::new(blocking(move || plan.make_folders().map(|()| plan)).await?);
        self.write_contents(&plan, requests, progress).await?;
        let mut summary = plan.summary();
        plan.damaged_files().into_iter().for_each(|(path, damage)| damages.note_file(path, damage));
        blocking(move || plan.finish()).await?;
        (summary.damaged, summary.damaged_total) = damages.finish();
        Ok(summary)
    }

    async fn write_contents(
        &self,
        plan: &Arc<Plan>,
        requests: Vec<Request>,
        progress: &RestoreProgress,
    ) -> Result<(), Error> {
        let connections = self.shared.sealed.backend.connections();
        let written = requests.into_iter().map(|request| self.write_request(plan, request, progress));
        stream::iter(written).buffer_unordered(connections).try_collect().await
    }

    /// Reads and writes what one request brings. Where it cannot be read as a whole, blob by blob, and what is damaged from the next
    /// pack that it lies in, so that damage costs only the blobs that are whole nowhere.
    async fn write_request(&self, plan: &Arc<Plan>, request: Request, progress: &RestoreProgress) -> Result<(), Error> {
        let sealed = &self.shared.sealed;
        let mut open = vec![request];
        while let Some(request) = open.pop() {
            let content = sealed.backend.get_range(request.file(), request.offset(), request.bytes()).await;
            let content = match content.map_err(Error::from) {
                Ok(content) => content,
                Err(Error::Damaged { .. }) if request.can_be_split() => {
                    open.extend(request.split());
                    continue;
                }
                Err(Error::Damaged { file, what }) => {
                    open.extend(plan.instead(request.pack, &request.wants, &file, &what));
                    continue;
                }
                Err(storage) => return Err(storage),
            };
            let (plan, key) = (Arc::clone(plan), sealed.key.clone());
            let done = blocking(move || plan.write(&request, &content, key)).await?;
            open.extend(done.instead);
            progress.files.fetch_add(done.files, Ordering::Relaxed);
            progress.bytes.fetch_add(done.bytes, Ordering::Relaxed);
        }
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(Error::interrupted("writing restored files"))?
}
