//! Makes the index right again, from the packs.
//!
//! 1. What an index file says of a pack is believed when it fits the pack's size. All other packs' headers are read: those that no
//!    readable index file names, those with another size than the index gives them, and every one if that is asked for.
//! 2. Packs that are gone are dropped. A pack whose header cannot be read keeps what the index says of it, as far as that lies in the
//!    file: nothing else knows where its blobs are, and some of them may be whole.
//! 3. Index files of which everything is right stay. The rest is written anew, and only then the others are deleted: whoever stops in
//!    between leaves a repository in which packs are named twice, which harms nothing.
//! 4. What rustic marked for deletion stays marked as long as the index file that says so stays.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};

use crate::backend::{File, FileKind, Listed};
use crate::codec::FileText;
use crate::error::Error;
use crate::id::Id;
use crate::index::IndexWriter;
use crate::inventory::Inventory;
use crate::lock::Lock;
use crate::pack::header::{self, ListedBlob};
use crate::repository::Repository;
use crate::unpacked::Sealed;

/// Packs without a readable header that are listed by name; more are counted.
const UNREADABLE_MAX: usize = 1000;

/// How to repair the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairIndexOptions {
    /// Read the header of every pack, and believe no index file.
    pub read_all_packs: bool,
    /// How long to wait for the lock while others are in the way.
    pub retry_lock: Duration,
}

/// How far a repair of the index is; read it at any time.
#[derive(Debug, Default)]
pub struct RepairIndexProgress {
    total: AtomicU64,
    done: AtomicU64,
}

impl RepairIndexProgress {
    /// Packs whose header is to be read; 0 as long as that is not known.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Packs whose header was read.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

/// What a repair of the index did. All zero: the index was right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairIndexSummary {
    /// Packs whose header was read.
    pub packs_read: u64,
    /// Packs that no index file named, and one does now.
    pub packs_added: u64,
    /// Packs of which the index said something else than they do themselves.
    pub packs_corrected: u64,
    /// Packs that are gone and that the index named.
    pub packs_dropped: u64,
    /// Packs whose header cannot be read, and why; at most 1,000. What the index said of them stays.
    pub unreadable: Vec<(Id, String)>,
    /// Further ones, only counted.
    pub unreadable_more: u64,
    /// Index files that could not be read, and are deleted.
    pub indexes_damaged: u64,
    /// Index files that were written.
    pub indexes_written: u64,
    /// Index files that were deleted, damaged ones included.
    pub indexes_removed: u64,
}

impl Repository {
    /// Makes the index right again, alone in the repository. Blobs that lie in no readable pack stay lost: a check tells whom that
    /// hits.
    ///
    /// # Errors
    /// [`Error::Locked`]; [`Error::LockLost`]; storage errors. Whatever happens, the repository is no worse than before.
    pub async fn repair_index(
        &self,
        options: &RepairIndexOptions,
        progress: &RepairIndexProgress,
    ) -> Result<RepairIndexSummary, Error> {
        let lock = self.lock_exclusive(options.retry_lock).await?;
        let repaired = repair(&self.shared.sealed, &lock, options, progress).await;
        // What was done is done; a lock that could not be removed goes stale.
        let _ = lock.release().await;
        repaired
    }
}

async fn repair(
    sealed: &Sealed,
    lock: &Lock,
    options: &RepairIndexOptions,
    progress: &RepairIndexProgress,
) -> Result<RepairIndexSummary, Error> {
    let inventory = Inventory::load(sealed).await?;
    let stored = sealed.backend.list(FileKind::Pack).await?;
    let mut summary = RepairIndexSummary { indexes_damaged: inventory.damaged.len() as u64, ..Default::default() };
    let doubtful: Vec<Listed> =
        stored.iter().filter(|pack| options.read_all_packs || is_doubtful(&inventory, pack)).copied().collect();
    let news = read_headers(sealed, &inventory, doubtful, &mut summary, progress).await?;
    let plan = Plan::new(&inventory, &stored, news);
    summary.packs_dropped = plan.dropped;
    summary.indexes_written = plan.write(sealed, &inventory).await?;
    lock.check().await?;
    let obsolete = plan.obsolete.len() as u64;
    let deletes = stream::iter(plan.obsolete).map(|id| sealed.backend.delete(File::Named(FileKind::Index, id)));
    deletes.buffer_unordered(sealed.backend.connections()).try_collect::<()>().await?;
    summary.indexes_removed = obsolete;
    Ok(summary)
}

/// Whether the header of a pack has to tell what is in it.
fn is_doubtful(inventory: &Inventory, pack: &Listed) -> bool {
    match inventory.number(&pack.id) {
        Some(number) => inventory.layout(number) != Ok(pack.bytes),
        None => !inventory.is_marked(&pack.id),
    }
}

/// Packs of which something else is to be said than the index says, and what.
type News = HashMap<Id, Vec<ListedBlob>>;

async fn read_headers(
    sealed: &Sealed,
    inventory: &Inventory,
    packs: Vec<Listed>,
    summary: &mut RepairIndexSummary,
    progress: &RepairIndexProgress,
) -> Result<News, Error> {
    progress.total.store(packs.len() as u64, Ordering::Relaxed);
    let headers = stream::iter(packs).map(|pack| async move {
        let end_bytes = inventory.number(&pack.id).map_or(0, |number| inventory.end_bytes(number));
        match header::read(sealed, pack.id, pack.bytes, end_bytes).await {
            Ok(blobs) => Ok((pack, Ok(blobs))),
            Err(Error::Damaged { what, .. }) => Ok((pack, Err(what))),
            Err(storage) => Err(storage),
        }
    });
    let mut headers = headers.buffer_unordered(sealed.backend.connections());
    let mut news = News::new();
    while let Some((pack, header)) = headers.try_next().await? {
        progress.done.fetch_add(1, Ordering::Relaxed);
        summary.packs_read += 1;
        let known: Option<Vec<ListedBlob>> = inventory.number(&pack.id).map(|number| inventory.blobs(number).collect());
        let blobs = header.unwrap_or_else(|why| {
            summary.note_unreadable(pack.id, why);
            let known = known.clone().unwrap_or_default();
            known.into_iter().filter(|blob| blob.place().end() <= pack.bytes).collect()
        });
        match known {
            Some(known) if known == blobs => continue,
            Some(_) => summary.packs_corrected += 1,
            None if blobs.is_empty() => continue,
            None => summary.packs_added += 1,
        }
        news.insert(pack.id, blobs);
    }
    Ok(news)
}

impl RepairIndexSummary {
    fn note_unreadable(&mut self, pack: Id, why: String) {
        if self.unreadable.len() < UNREADABLE_MAX {
            self.unreadable.push((pack, why));
        } else {
            self.unreadable_more += 1;
        }
    }
}

/// What to write and what to delete.
struct Plan {
    /// Packs of which the index is right, but in a file that is not.
    moved: Vec<u32>,
    news: News,
    obsolete: Vec<Id>,
    /// Packs that are gone.
    dropped: u64,
}

impl Plan {
    fn new(inventory: &Inventory, stored: &[Listed], news: News) -> Self {
        let stored: HashSet<Id> = stored.iter().map(|pack| pack.id).collect();
        let is_there = |number: &u32| stored.contains(&inventory.pack(*number));
        let is_right = |number: &u32| is_there(number) && !news.contains_key(&inventory.pack(*number));
        let mut obsolete: Vec<Id> = inventory.damaged.iter().map(|(id, _)| *id).collect();
        let mut named = HashSet::<u32>::new();
        for file in &inventory.files {
            if file.packs.iter().all(|number| is_right(number) && !named.contains(number)) {
                named.extend(&file.packs);
            } else {
                obsolete.push(file.id);
            }
        }
        let moved = inventory.packs().filter(|number| is_right(number) && !named.contains(number)).collect();
        let dropped = inventory.packs().filter(|number| !is_there(number)).count() as u64;
        Self { moved, news, obsolete, dropped }
    }

    /// Writes the new index files; returns how many. Afterwards they are durable.
    async fn write(&self, sealed: &Sealed, inventory: &Inventory) -> Result<u64, Error> {
        let mut writer = IndexWriter::new(sealed.version);
        let mut written = 0;
        for number in &self.moved {
            let blobs = inventory.blobs(*number).map(|blob| (blob.kind, blob.id, blob.place()));
            written += save(sealed, writer.add_stored(&inventory.pack(*number), blobs)?).await?;
        }
        for (pack, blobs) in &self.news {
            let blobs = blobs.iter().map(|blob| (blob.kind, blob.id, blob.place()));
            written += save(sealed, writer.add_stored(pack, blobs)?).await?;
        }
        Ok(written + save(sealed, writer.take()?).await?)
    }
}

async fn save(sealed: &Sealed, text: Option<FileText>) -> Result<u64, Error> {
    match text {
        Some(text) => sealed.save_text(FileKind::Index, text).await.map(|_| 1),
        None => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{IndexFile, Place};
    use crate::pack::BlobKind;

    fn id(n: u8) -> Id {
        Id::of(&[n])
    }

    fn inventory(files: &[(u8, &[u8])]) -> Inventory {
        let file = |packs: &[u8]| {
            let place = |pack| Place { pack, offset: 0, bytes: 40, raw_bytes: 0 };
            let blob = |(at, n): (u32, &u8)| (BlobKind::Data, id(*n), place(at));
            IndexFile {
                packs: packs.iter().map(|n| id(*n)).collect(),
                blobs: (0..).zip(packs).map(blob).collect(),
                to_delete: None,
            }
        };
        Inventory::of(files.iter().map(|(name, packs)| (id(*name), file(packs)))).unwrap()
    }

    fn plan(files: &[(u8, &[u8])], stored: &[u8], news: &[u8]) -> (Vec<Id>, Vec<Id>, u64) {
        let inventory = inventory(files);
        let stored: Vec<Listed> = stored.iter().map(|n| Listed { id: id(*n), bytes: 113 }).collect();
        let news = news.iter().map(|n| (id(*n), Vec::new())).collect();
        let plan = Plan::new(&inventory, &stored, news);
        (plan.moved.iter().map(|number| inventory.pack(*number)).collect(), plan.obsolete, plan.dropped)
    }

    #[test]
    fn index_files_of_which_all_is_right_stay() {
        assert_eq!(plan(&[(101, &[1, 2]), (102, &[3])], &[1, 2, 3, 4], &[4]), (vec![], vec![], 0));
    }

    #[test]
    fn an_index_file_with_a_missing_or_corrected_pack_is_replaced_and_its_other_packs_move() {
        let files: &[(u8, &[u8])] = &[(101, &[1, 2]), (102, &[3, 4]), (103, &[5])];
        assert_eq!(plan(files, &[2, 3, 4, 5], &[3]), (vec![id(2), id(4)], vec![id(101), id(102)], 1));
    }

    #[test]
    fn a_pack_that_two_files_name_stays_in_one() {
        assert_eq!(plan(&[(101, &[1]), (102, &[1, 2])], &[1, 2], &[]), (vec![id(2)], vec![id(102)], 0));
    }
}
