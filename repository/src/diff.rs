//! Diff: what changed from one snapshot to another.
//!
//! 1. Both trees are gone through side by side, in the order of names, a folder before what it holds. A folder that has the same tree
//!    on both sides is the same all the way down and is not read: the cost grows with what changed.
//! 2. What counts as which change is restic's rule: the content of a file, the type of an entry, and only on request the rest
//!    (times, owners, modes, attributes, the target of a link). Below an entry whose type changed nothing more is listed.
//! 3. Counting blobs is exact as in restic, and therefore dear: a blob that a changed folder lost may lie in an unchanged one. So the
//!    unchanged folders are read for it, at the end, until every blob in question was seen.

mod blobs;
mod judge;
mod walk;

use crate::error::Error;
use crate::index::Index;
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::tree::{Node, NodeKind};
use blobs::Blobs;
use judge::{Diff, Side};
use walk::{Folders, Pair};

/// How to compare.
#[derive(Clone, Debug, Default)]
pub struct DiffOptions {
    /// Only what lies at or below this absolute path of both snapshots; `/` or nothing means all.
    pub path: String,
    /// Also tell of entries of which only times, owners, modes or attributes changed.
    pub metadata: bool,
    /// Count blobs, which reads unchanged folders too.
    pub blobs: bool,
}

/// How an entry changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modifier {
    /// It is only in the second snapshot.
    Added,
    /// It is only in the first.
    Removed,
    /// The content of a file.
    Content,
    /// The content of a file and nothing else, not even a time: what a failing disk looks like.
    ContentAlone,
    /// What it is: a file became a folder, for example.
    Type,
    /// The same, when metadata are compared: they differ too then.
    TypeAndMetadata,
    /// Times, owners, modes or attributes.
    Metadata,
}

impl Modifier {
    /// restic's letters: `+`, `-`, `M`, `M?`, `T`, `TU`, `U`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "+",
            Self::Removed => "-",
            Self::Content => "M",
            Self::ContentAlone => "M?",
            Self::Type => "T",
            Self::TypeAndMetadata => "TU",
            Self::Metadata => "U",
        }
    }
}

/// One entry that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The absolute path; that of a folder (as the second snapshot has it) ends with `/`.
    pub path: String,
    /// How it changed.
    pub modifier: Modifier,
    /// What the first snapshot has there.
    pub before: Option<Node>,
    /// What the second snapshot has there.
    pub after: Option<Node>,
}

/// Entries that are in one snapshot only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiffCounts {
    /// Files.
    pub files: u64,
    /// Folders.
    pub dirs: u64,
    /// Links, devices and the like.
    pub others: u64,
}

/// Blobs that one snapshot refers to and the other does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlobCounts {
    /// Pieces of files.
    pub data: u64,
    /// Folders.
    pub trees: u64,
    /// Their bytes before compression.
    pub bytes: u64,
}

/// What changed, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiffSummary {
    /// Files that are in both snapshots with another content.
    pub changed_files: u64,
    /// What only the second snapshot has.
    pub added: DiffCounts,
    /// What only the first has.
    pub removed: DiffCounts,
    /// Folders that were read to find the differences, counted for each side.
    pub trees_read: u64,
    /// Blobs that only the second and only the first refer to, if they were counted.
    pub blobs: Option<(BlobCounts, BlobCounts)>,
}

impl Repository {
    /// Calls `visit` for every entry that differs, in the order of paths, and returns the numbers.
    ///
    /// # Errors
    /// [`Error::PathNotFound`] when neither snapshot has anything at the wanted path; [`Error::Damaged`]; storage errors; whatever
    /// `visit` returns.
    pub async fn diff(
        &self,
        before: &Snapshot,
        after: &Snapshot,
        options: &DiffOptions,
        mut visit: impl FnMut(Change) -> Result<(), Error> + Send,
    ) -> Result<DiffSummary, Error> {
        let index = self.index().await?;
        let mut diff = Diff { summary: DiffSummary::default(), blobs: Blobs::default(), metadata: options.metadata };
        let root =
            Pair { before: self.side(&index, before, options).await?, after: self.side(&index, after, options).await? };
        let path = match (&root.before, &root.after) {
            (None, None) => return Err(Error::PathNotFound { wanted: "entry", path: options.path.clone() }),
            _ => {
                options.path.split('/').filter(|name| !name.is_empty()).flat_map(|name| ["/", name]).collect::<String>()
            }
        };
        let mut folders = Folders::new(self, &index);
        diff.root(&mut folders, path.into_bytes(), root, &mut visit).await?;
        while let Some((path, pair)) = folders.next() {
            diff.entry(&mut folders, path, pair, &mut visit).await?;
        }
        diff.summary.trees_read = folders.read;
        if options.blobs {
            diff.summary.blobs = Some(diff.blobs.count(self, &index).await?);
        }
        Ok(diff.summary)
    }

    /// What a snapshot has at the wanted path; the root is a folder without a name.
    async fn side(&self, index: &Index, snapshot: &Snapshot, options: &DiffOptions) -> Result<Option<Side>, Error> {
        match self.locate(index, snapshot, &options.path).await {
            Ok(None) => Ok(Some(Side::Root(snapshot.tree))),
            Ok(Some((_, node))) if node.kind == NodeKind::Dir => Ok(node.subtree.map(Side::Root)),
            Ok(Some((_, node))) => Ok(Some(Side::Entry(Box::new((node, None))))),
            Err(Error::PathNotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
