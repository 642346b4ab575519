//! Prune: removes what no snapshot needs.
//!
//! ```text
//!  lock ─► index files, list of packs ─► snapshots, trees: what is needed ─► plan (pure)
//!       ─► copy what is needed out of packs that go ─► new index files ─► delete old index files ─► delete packs
//! ```
//!
//! 1. **At every moment the repository is whole**, whenever the process dies. A copied blob lies in a new pack before an index names
//!    it there, and an index names it there before the old index goes; a pack goes after the last index that names it. What is left
//!    half done (packs that no index names, blobs or packs that are named twice) is what the next prune cleans.
//! 2. **It refuses rather than guesses.** A snapshot, a tree or an index that cannot be read, or a needed blob that lies nowhere, end
//!    it before anything is removed.
//! 3. **Alone.** The exclusive lock is held all the time, looked at before every deletion and every few seconds between. Without it
//!    nothing more is deleted.
//! 4. **rustic** marks packs for deletion in the index instead of deleting them at once, as it takes no locks. A marked pack from which
//!    something is needed that lies nowhere else is named again; the others go now. Whoever runs rustic's backups beside this prune
//!    loses the protection that the marks give.
//! 5. **Memory**: 60 bytes for each blob of the repository, and the packs in flight.

mod copy;
mod guard;
mod inventory;
mod marks;
mod options;
mod plan;
mod remove;
mod used;

use std::sync::Arc;

use futures::StreamExt;

use crate::backend::FileKind;
use crate::error::Error;
use crate::id::Id;
use crate::index;
use crate::lock::Lock;
use crate::pack;
use crate::packer::Packer;
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::unpacked::Sealed;
use guard::Guard;
use inventory::{Inventory, KINDS, in_pack};
use plan::{Fate, Plan};

pub use options::{InvalidAmount, MaxUnused, PruneOptions, PruneProgress, PruneStep, PruneSummary, parse_bytes};

impl Repository {
    /// Removes what no snapshot needs: packs without anything needed, and, as far as [`PruneOptions::max_unused`] asks for it, the rest
    /// of packs that are partly needed. What a killed prune or backup left behind goes too.
    ///
    /// # Errors
    /// [`Error::Locked`] when others still work on the repository after [`PruneOptions::lock_wait`]; [`Error::Incomplete`] when a
    /// snapshot needs what is not there, [`Error::Damaged`] when an index or a snapshot cannot be read or a blob is not what it must
    /// be: nothing was removed then; [`Error::LockLost`]; storage errors. After any error all snapshots are as readable as before, and
    /// another prune finishes what this one began.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(repository: repository::Repository) -> Result<(), repository::Error> {
    /// use repository::{MaxUnused, PruneOptions, PruneProgress};
    ///
    /// let options = PruneOptions { max_unused: MaxUnused::Percent(10.), ..PruneOptions::default() };
    /// let pruned = repository.prune(&options, &PruneProgress::default()).await?;
    /// println!("{} bytes remain of {}", pruned.bytes_after, pruned.bytes_before);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn prune(&self, options: &PruneOptions, progress: &PruneProgress) -> Result<PruneSummary, Error> {
        let lock = match options.dry_run {
            true => self.lock_shared_within(options.lock_wait).await?,
            false => self.lock_exclusive(options.lock_wait).await?,
        };
        let pruned = self.prune_locked(&lock, options, progress).await;
        // What it protected is done; a lock that could not be removed goes stale.
        let _ = lock.release().await;
        pruned
    }

    async fn prune_locked(
        &self,
        lock: &Lock,
        options: &PruneOptions,
        progress: &PruneProgress,
    ) -> Result<PruneSummary, Error> {
        let sealed = &self.shared.sealed;
        let inventory = take_inventory(sealed, progress).await?;
        let snapshots = self.snapshots().await?;
        progress.begin(PruneStep::FindingUsed, 0);
        let plan = decide(sealed, &inventory, &snapshots, options, progress).await?;
        let replaced = plan::replaced_files(&inventory, &plan);
        let mut summary = summarise(&inventory, &plan, &replaced, snapshots.len());
        if !options.dry_run {
            let mut guard = Guard::new(lock);
            summary.bytes_copied = store(sealed, &inventory, &plan, &replaced, &mut guard, progress).await?;
            remove(sealed, &inventory, &plan, &replaced, &mut guard, progress).await?;
        }
        progress.begin(PruneStep::Done, 0);
        Ok(summary)
    }
}

async fn take_inventory(sealed: &Sealed, progress: &PruneProgress) -> Result<Inventory, Error> {
    progress.begin(PruneStep::ReadingIndex, 0);
    let packs = sealed.backend.list(FileKind::Pack).await?;
    let mut inventory = Inventory::new(&packs)?;
    let mut files = std::pin::pin!(index::files(sealed).await?);
    while let Some((id, file)) = files.next().await {
        inventory.add(id, file?)?;
        progress.add(1);
    }
    inventory.finish()
}

/// Finds out what is needed, and decides.
async fn decide(
    sealed: &Sealed,
    inventory: &Inventory,
    snapshots: &[Snapshot],
    options: &PruneOptions,
    progress: &PruneProgress,
) -> Result<Plan, Error> {
    let used::Used { blobs, mut broken } = used::find(sealed, inventory, snapshots, progress).await?;
    let plan = plan::decide(&inventory.packs, inventory.copies(), &blobs, sealed.version, options);
    for (kind, blob) in &plan.lost {
        let id = *inventory.ids(*kind).id(*blob);
        broken.add(*kind, id, format_args!("{} {id}: its pack has not the size that the index says", kind.name()))?;
    }
    if broken.is_empty() { Ok(plan) } else { Err(broken.into_error(sealed, inventory, snapshots).await?) }
}

/// Stores what is to stay: new packs, then the index files that name them and the kept packs of the files that are replaced. Returns
/// the bytes copied.
async fn store(
    sealed: &Sealed,
    inventory: &Inventory,
    plan: &Plan,
    replaced: &[bool],
    guard: &mut Guard<'_>,
    progress: &PruneProgress,
) -> Result<u64, Error> {
    let packer = Arc::new(Packer::new(sealed.clone()));
    let stored = async {
        let bytes = copy::copy(sealed, inventory, plan, &packer, guard, progress).await?;
        let unnamed = unnamed_packs(inventory, plan, replaced);
        progress.begin(PruneStep::WritingIndex, unnamed.len() as u64);
        for pack in unnamed {
            let blobs = blobs_of(inventory, pack);
            packer.index_stored(&inventory.pack_id(pack), blobs.into_iter()).await?;
            progress.add(1);
        }
        Ok(bytes)
    };
    let stored = stored.await;
    // A writer that failed is the cause of whatever came after it.
    packer.finish().await?;
    stored
}

/// Packs that stay and that no index file names which stays.
fn unnamed_packs(inventory: &Inventory, plan: &Plan, replaced: &[bool]) -> Vec<u32> {
    let mut is_named = vec![false; inventory.packs.len()];
    for (file, _) in inventory.files.iter().zip(replaced).filter(|(_, replaced)| !**replaced) {
        file.packs.iter().for_each(|pack| is_named[*pack as usize] = true);
    }
    let mut kept = plan.packs(|fate| fate == Fate::Keep);
    kept.retain(|pack| !is_named[*pack as usize]);
    kept
}

/// Everything that lies in a pack, as an index says it.
fn blobs_of(inventory: &Inventory, pack: u32) -> Vec<(pack::BlobKind, Id, index::Place)> {
    let of_kind = |kind| {
        let (_, copies) = in_pack(inventory.copies().of(kind), pack);
        copies.iter().map(move |copy| (kind, *inventory.ids(kind).id(copy.blob), copy.place()))
    };
    let mut blobs: Vec<_> = KINDS.into_iter().flat_map(of_kind).collect();
    blobs.sort_unstable_by_key(|(_, _, place)| place.offset);
    blobs
}

/// Deletes what nothing needs any more: first the index files, then the packs that they named.
async fn remove(
    sealed: &Sealed,
    inventory: &Inventory,
    plan: &Plan,
    replaced: &[bool],
    guard: &mut Guard<'_>,
    progress: &PruneProgress,
) -> Result<(), Error> {
    let files = inventory.files.iter().zip(replaced).filter(|(_, replaced)| **replaced).map(|(file, _)| file.id);
    remove::files(sealed, FileKind::Index, files.collect(), guard, progress).await?;
    let packs = plan.packs(|fate| matches!(fate, Fate::Repack | Fate::Unused | Fate::Unindexed));
    let packs = packs.into_iter().map(|pack| inventory.pack_id(pack)).collect();
    remove::files(sealed, FileKind::Pack, packs, guard, progress).await
}

fn summarise(inventory: &Inventory, plan: &Plan, replaced: &[bool], snapshots: usize) -> PruneSummary {
    let count = |wanted: Fate| plan.fates.iter().filter(|fate| **fate == wanted).count() as u64;
    let mut summary = PruneSummary {
        snapshots: snapshots as u64,
        packs_kept: count(Fate::Keep),
        packs_repacked: count(Fate::Repack),
        packs_unused: count(Fate::Unused),
        packs_unindexed: count(Fate::Unindexed),
        packs_missing: count(Fate::Missing),
        bytes_unused_after: plan.unused_bytes_after,
        index_files_before: inventory.files.len() as u64,
        index_files_replaced: replaced.iter().filter(|replaced| **replaced).count() as u64,
        ..PruneSummary::default()
    };
    summary.packs_before = plan.fates.len() as u64 - summary.packs_missing;
    for kind in KINDS {
        let copies = inventory.copies().of(kind);
        for (position, copy) in copies.iter().enumerate() {
            let is_claimed = plan.claimed.of(kind).contains(position);
            summary.blobs_used += u64::from(is_claimed);
            let stays = is_claimed || plan.fates[copy.pack as usize] == Fate::Keep;
            summary.blobs_removed += u64::from(!stays);
            if is_claimed && plan.fates[copy.pack as usize] == Fate::Repack {
                summary.bytes_copied += u64::from(copy.bytes);
            }
        }
    }
    for ((fate, pack), used_bytes) in plan.fates.iter().zip(&inventory.packs).zip(&plan.used_bytes) {
        let bytes = pack.stored_bytes.unwrap_or(0);
        summary.bytes_before += bytes;
        match fate {
            Fate::Keep => summary.bytes_after += bytes,
            Fate::Repack => summary.bytes_after += used_bytes,
            Fate::Unused | Fate::Unindexed | Fate::Missing => {}
        }
        if *fate != Fate::Keep {
            summary.bytes_deleted += bytes;
        }
    }
    summary
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::backend::{File, LocalBackend};
    use crate::{BackupOptions, FinishOptions, InitOptions, KdfParams, NewFile, Password};

    async fn repository(folder: &Path) -> Repository {
        let options = InitOptions { kdf: KdfParams { n: 2, r: 1, p: 1 }, ..InitOptions::default() };
        Repository::init(Arc::new(LocalBackend::new(folder)), &Password::new("x"), options).await.unwrap()
    }

    /// A backup of one file under a host of its own.
    async fn back_up(repository: &Repository, name: &str) -> Snapshot {
        let options = BackupOptions { host: name.to_owned(), ..BackupOptions::default() };
        let backup = repository.backup(options).await.unwrap();
        let file = NewFile { group: 0, path: name, modified: jiff::Timestamp::UNIX_EPOCH };
        backup.worker().unwrap().add(file, name.repeat(100).as_bytes()).unwrap();
        backup.finish(FinishOptions::default()).await.unwrap().snapshot
    }

    /// Replaces all index files by one, in which the packs of all but one of them are marked for deletion.
    async fn mark_all_but(repository: &Repository, unmarked: Id) {
        let sealed = &repository.shared.sealed;
        let files: Vec<_> = index::files(sealed).await.unwrap().collect().await;
        let (mut packs, mut marked) = (Vec::new(), Vec::new());
        for (id, file) in files {
            let file = file.unwrap();
            for (number, pack) in (0..).zip(&file.packs) {
                let blobs = file.blobs.iter().filter(|(_, _, place)| place.pack == number).map(|(kind, id, place)| {
                    json!({
                        "id": id.to_string(), "type": kind.name(), "offset": place.offset, "length": place.bytes,
                        "uncompressed_length": place.raw_bytes
                    })
                });
                let json =
                    json!({"id": pack.to_string(), "blobs": blobs.collect::<Vec<_>>(), "time": "2024-01-01T00:00:00Z"});
                if id == unmarked { packs.push(json) } else { marked.push(json) }
            }
            sealed.backend.delete(File::Named(FileKind::Index, id)).await.unwrap();
        }
        let json = json!({"packs": packs, "packs_to_delete": marked}).to_string();
        sealed.save(FileKind::Index, json.as_bytes()).await.unwrap();
    }

    fn restic_check(folder: &Path) -> String {
        let mut restic = std::process::Command::new(testkit::tool("restic"));
        let restic =
            restic.args(["check", "--read-data", "--no-cache", "--repo"]).arg(folder).env("RESTIC_PASSWORD", "x");
        String::from_utf8(restic.output().unwrap().stdout).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn packs_that_rustic_marked_are_named_again_where_they_are_needed_and_go_where_not() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path()).await;
        back_up(&repository, "first").await;
        let unmarked = repository.backend().list(FileKind::Index).await.unwrap()[0].id;
        back_up(&repository, "second").await;
        let forgotten = back_up(&repository, "third").await;
        mark_all_but(&repository, unmarked).await;
        repository.backend().delete(File::Named(FileKind::Snapshot, forgotten.id)).await.unwrap();
        assert!(!restic_check(folder.path()).contains("no errors were found"), "what is marked does not count");
        let summary = repository.prune(&PruneOptions::default(), &PruneProgress::default()).await.unwrap();
        assert_eq!((summary.packs_unused, summary.packs_kept, summary.blobs_used), (2, 4, 8), "{summary:?}");
        assert!(restic_check(folder.path()).contains("no errors were found"));
        for snapshot in repository.snapshots().await.unwrap() {
            let content = repository.read_file(&snapshot, &format!("/tmp/resources/{}", snapshot.host)).await.unwrap();
            assert_eq!(content, snapshot.host.repeat(100).as_bytes());
        }
    }
}
