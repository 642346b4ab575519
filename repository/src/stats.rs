//! How large snapshots are: restored, by distinct contents, and as they are stored. The counts are those of restic's `stats`.
//!
//! All modes are counted in one walk that reads every distinct tree once, however many snapshots share it.

use std::collections::HashSet;
use std::time::Duration;

use crate::config::Version;
use crate::error::Error;
use crate::graph::Graph;
use crate::id::Id;
use crate::index::{IdTable, Index, Place};
use crate::pack::{BlobKind, SEALED_BYTES_MIN};
use crate::reach;
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::tree::{Node, NodeKind};

/// How to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsOptions {
    /// Take no lock, for a storage that cannot be written.
    pub no_lock: bool,
    /// How long to wait for the lock while somebody prunes.
    pub retry_lock: Duration,
}

/// The size of some snapshots together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// What restoring all of them would write: restic's `restore-size`.
    pub restore: RestoreSize,
    /// The same, every content counted once: restic's `files-by-contents`.
    pub contents: ContentSize,
    /// What they take in the repository: restic's `raw-data`.
    pub raw: RawSize,
    /// What restoring each of them would write, in the order in which they were given.
    pub by_snapshot: Vec<SnapshotSize>,
}

/// What a restore writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreSize {
    /// Files, folders, links and everything else; restic calls this the file count.
    pub entries: u64,
    /// Regular files.
    pub files: u64,
    /// Bytes of the files. Hard links to one file count once.
    pub bytes: u64,
}

impl RestoreSize {
    fn add(&mut self, other: Self) {
        self.entries = self.entries.saturating_add(other.entries);
        self.files = self.files.saturating_add(other.files);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// What restoring one snapshot writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotSize {
    /// The snapshot.
    pub id: Id,
    /// Its size.
    pub restore: RestoreSize,
}

/// Distinct contents of files. Everything without content is one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentSize {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Distinct blobs, data and trees, as they are stored. Sizes include the seal of 32 bytes, as restic's do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawSize {
    /// How many.
    pub blobs: u64,
    /// Bytes as they are stored.
    pub bytes: u64,
    /// Bytes if none were compressed. 0 in format 1, which knows no compression.
    pub uncompressed_bytes: u64,
    /// Stored bytes of the blobs that are compressed.
    pub compressed_bytes: u64,
    /// Bytes of these blobs before compression.
    pub compressed_raw_bytes: u64,
}

#[allow(clippy::cast_precision_loss, reason = "ratios for people")]
impl RawSize {
    /// By how much compressed blobs shrank: 3.5 when a third and a half of them is left. `None` when there are none.
    pub fn compression_ratio(&self) -> Option<f64> {
        (self.compressed_bytes > 0).then(|| self.compressed_raw_bytes as f64 / self.compressed_bytes as f64)
    }

    /// The percentage of bytes, before compression, that lie in compressed blobs. `None` in format 1.
    pub fn compression_progress(&self) -> Option<f64> {
        let all = self.uncompressed_bytes;
        (all > 0).then(|| self.compressed_raw_bytes as f64 / all as f64 * 100.)
    }

    /// The percentage that compression saved. `None` in format 1.
    pub fn compression_saving(&self) -> Option<f64> {
        let all = self.uncompressed_bytes;
        (all > 0).then(|| (1. - self.bytes as f64 / all as f64) * 100.)
    }

    fn add(&mut self, place: &Place, version: Version) {
        self.blobs += 1;
        self.bytes += u64::from(place.bytes);
        if version == Version::V2 {
            let raw_bytes = place.text_bytes() + u64::from(SEALED_BYTES_MIN);
            self.uncompressed_bytes += raw_bytes;
            if place.raw_bytes != 0 {
                self.compressed_bytes += u64::from(place.bytes);
                self.compressed_raw_bytes += raw_bytes;
            }
        }
    }
}

impl Repository {
    /// Counts these snapshots. Nothing but index and trees is read.
    ///
    /// ```
    /// # async fn example(repository: repository::Repository) -> Result<(), repository::Error> {
    /// let snapshots = repository.snapshots().await?;
    /// let stats = repository.stats(&snapshots, &repository::StatsOptions::default()).await?;
    /// println!("{} bytes stored for {} bytes of files", stats.raw.bytes, stats.restore.bytes);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Damaged`] for a tree that cannot be read or a blob that no index names; [`Error::Locked`]; storage errors.
    pub async fn stats(&self, snapshots: &[Snapshot], options: &StatsOptions) -> Result<Stats, Error> {
        let lock = if options.no_lock { None } else { Some(self.lock_shared_within(options.retry_lock).await?) };
        let counted = self.count(snapshots).await;
        if let Some(lock) = lock {
            // Nothing was changed; a lock that could not be removed goes stale.
            let _ = lock.release().await;
        }
        counted
    }

    async fn count(&self, snapshots: &[Snapshot]) -> Result<Stats, Error> {
        let index = self.index().await?;
        let mut counter = Counter::new(&index);
        let roots = snapshots.iter().map(|snapshot| snapshot.tree);
        let visit = |id, nodes: Result<Vec<Node>, Error>| counter.add(id, &nodes?);
        let trees = reach::trees(&self.shared.sealed, &index, roots, visit).await?;
        Ok(counter.finish(snapshots, &trees, self.version()))
    }
}

/// A file with several names: inode, device, bytes.
type Linked = (u64, u64, u64);

/// Counts trees as they come.
struct Counter<'a> {
    index: &'a Index,
    graph: Graph,
    /// Of a tree's own entries.
    own: Vec<RestoreSize>,
    /// Files with several names in a tree; hardly any tree has such.
    linked: Vec<Vec<Linked>>,
    is_used: Vec<bool>,
    contents_seen: IdTable,
    contents: ContentSize,
}

impl<'a> Counter<'a> {
    fn new(index: &'a Index) -> Self {
        Self {
            index,
            graph: Graph::new(),
            own: Vec::new(),
            linked: Vec::new(),
            is_used: vec![false; index.data.len()],
            contents_seen: IdTable::new(),
            contents: ContentSize::default(),
        }
    }

    fn add(&mut self, tree: Id, nodes: &[Node]) -> Result<(), Error> {
        let number = self.graph.number(tree)?;
        let (mut own, mut linked) = (RestoreSize::default(), Vec::new());
        for node in nodes {
            own.entries += 1;
            own.files += u64::from(node.kind == NodeKind::File);
            // restic's rule: what has one name, is a folder, or cannot be told apart counts as it is.
            if node.links == 1 || node.kind == NodeKind::Dir || node.inode == 0 {
                own.bytes = own.bytes.saturating_add(node.size);
            } else {
                linked.push((node.inode, node.device, node.size));
            }
            self.add_content(node)?;
            if let Some(subtree) = node.subtree.filter(|_| node.kind == NodeKind::Dir) {
                self.graph.hold(number, subtree)?;
            }
        }
        self.resize();
        self.own[number as usize] = own;
        self.linked[number as usize] = linked;
        Ok(())
    }

    fn add_content(&mut self, node: &Node) -> Result<(), Error> {
        for blob in &node.content {
            let position = self.index.data.find(blob).ok_or_else(|| self.index.not_indexed(BlobKind::Data, *blob))?;
            self.is_used[position as usize] = true;
        }
        let content = node.content.iter().flat_map(|blob| *blob.as_bytes()).collect::<Vec<u8>>();
        if self.contents_seen.insert(Id::of(&content))?.1 {
            self.contents.files += 1;
            self.contents.bytes = self.contents.bytes.saturating_add(node.size);
        }
        Ok(())
    }

    fn resize(&mut self) {
        self.own.resize(self.graph.len(), RestoreSize::default());
        self.linked.resize_with(self.graph.len(), Vec::new);
    }

    fn finish(mut self, snapshots: &[Snapshot], trees: &IdTable, version: Version) -> Stats {
        self.resize();
        let (sums, has_linked) = self.sums();
        let mut stats = Stats { contents: self.contents, raw: self.raw(trees, version), ..Stats::default() };
        for snapshot in snapshots {
            let root = self.graph.find(&snapshot.tree).expect("every root was visited");
            let mut restore = sums[root as usize];
            restore.bytes = restore.bytes.saturating_add(self.linked_bytes(root, &has_linked));
            stats.restore.add(restore);
            stats.by_snapshot.push(SnapshotSize { id: snapshot.id, restore });
        }
        stats
    }

    /// Of each tree with all below it: the size without linked files, and whether there are such.
    fn sums(&self) -> (Vec<RestoreSize>, Vec<bool>) {
        let mut sums = self.own.clone();
        let mut has_linked: Vec<bool> = self.linked.iter().map(|linked| !linked.is_empty()).collect();
        for tree in self.graph.bottom_up() {
            for child in self.graph.children(tree) {
                let below = sums[*child as usize];
                sums[tree as usize].add(below);
                has_linked[tree as usize] |= has_linked[*child as usize];
            }
        }
        (sums, has_linked)
    }

    /// Bytes of the linked files at or below a tree, each file once.
    fn linked_bytes(&self, root: u32, has_linked: &[bool]) -> u64 {
        let (mut seen, mut files, mut bytes) = (HashSet::new(), HashSet::new(), 0_u64);
        let mut open = vec![root];
        while let Some(tree) = open.pop() {
            if !has_linked[tree as usize] || !seen.insert(tree) {
                continue;
            }
            for (inode, device, size) in &self.linked[tree as usize] {
                if files.insert((inode, device)) {
                    bytes = bytes.saturating_add(*size);
                }
            }
            open.extend(self.graph.children(tree));
        }
        bytes
    }

    fn raw(&self, trees: &IdTable, version: Version) -> RawSize {
        let mut raw = RawSize::default();
        let used = (0..).zip(&self.is_used).filter(|(_, is_used)| **is_used);
        let data = used.filter_map(|(position, _)| self.index.data_place(position));
        data.for_each(|place| raw.add(&place, version));
        let trees = trees.iter().filter_map(|id| self.index.place(BlobKind::Tree, id));
        trees.for_each(|(_, place)| raw.add(&place, version));
        raw
    }
}
