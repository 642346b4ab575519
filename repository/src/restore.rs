//! Restore: a snapshot, or part of it, into a folder.
//!
//! 1. First the folders and the list of files, then the contents pack by pack: neighbouring blobs are read with one request, several
//!    requests run at once. Links come after all files, so that none can lead a file elsewhere; times of folders come last.
//! 2. Nothing leaves the destination: names were checked when the trees were read, and a link that is in the way is replaced, never
//!    followed.
//! 3. Owners are not restored; devices, sockets and pipes are counted and left out.

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
use plan::Plan;

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

/// What a restore did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
}

impl Repository {
    /// Writes entries of a snapshot below `destination`, replacing files that are in the way. Contents are verified as they are read.
    ///
    /// # Errors
    /// [`Error::PathNotFound`] when the snapshot has nothing at the wanted path; [`Error::Restore`] when the destination cannot be
    /// written; [`Error::Damaged`]; [`Error::Locked`]; storage errors. After an error the destination holds a part.
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
        let mut add = |path: &[u8], node: Node| match path.strip_prefix(base) {
            Some(below) if below.starts_with(b"/") && filter(&String::from_utf8_lossy(path)) => plan.add(below, node),
            _ => Ok(()),
        };
        self.walk_bytes(snapshot, &options.path, &mut add).await?;
        let requests = plan.requests(&*self.index().await?)?;
        let mut summary = plan.summary();
        let plan = Arc::new(blocking(move || plan.make_folders().map(|()| plan)).await?);
        let sealed = &self.shared.sealed;
        let written = requests.into_iter().map(|request| {
            let (plan, key) = (Arc::clone(&plan), sealed.key.clone());
            async move {
                let content = sealed.backend.get_range(request.file(), request.offset(), request.bytes()).await?;
                blocking(move || plan.write(&request, &content, key)).await
            }
        });
        let mut written = stream::iter(written).buffer_unordered(sealed.backend.connections());
        while let Some(done) = written.try_next().await? {
            progress.files.fetch_add(done.files, Ordering::Relaxed);
            progress.bytes.fetch_add(done.bytes, Ordering::Relaxed);
            summary.bytes += done.bytes;
        }
        drop(written);
        blocking(move || plan.finish()).await?;
        Ok(summary)
    }
}

/// The absolute path of the folder that holds `path`, empty for the root.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(Error::interrupted("writing restored files"))?
}
