//! Diff: what changed from one snapshot to another.
//!
//! 1. Both trees are gone through side by side, in the order of names, a folder before what it holds. A folder that has the same tree
//!    on both sides is the same all the way down and is not read: the cost grows with what changed.
//! 2. What counts as which change is restic's rule: the content of a file, the type of an entry, and only on request the rest
//!    (times, owners, modes, attributes, the target of a link). Below an entry whose type changed nothing more is listed.
//! 3. Counting blobs is exact as in restic, and therefore dear: a blob that a changed folder lost may lie in an unchanged one. So the
//!    unchanged folders are read for it, at the end, until every blob in question was seen.

mod blobs;
mod walk;

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::error::Error;
use crate::id::Id;
use crate::index::Index;
use crate::pack::BlobKind;
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::tree::{self, Node, NodeKind};
use blobs::Blobs;
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

/// One side of an entry.
pub(super) enum Side {
    /// The folder that the comparison begins with.
    Root(Id),
    /// An entry, with its text unless it is the only one that is compared.
    Entry(Box<(Node, Option<Box<RawValue>>)>),
}

impl Side {
    fn node(&self) -> Option<&Node> {
        match self {
            Self::Root(_) => None,
            Self::Entry(entry) => Some(&entry.0),
        }
    }

    /// The tree of a folder.
    fn tree(&self) -> Option<Id> {
        match self {
            Self::Root(tree) => Some(*tree),
            Self::Entry(entry) => entry.0.subtree.filter(|_| entry.0.kind == NodeKind::Dir),
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Root(_) => None,
            Self::Entry(entry) => entry.1.as_ref().map(|text| text.get()),
        }
    }
}

/// A comparison under way.
struct Diff {
    summary: DiffSummary,
    blobs: Blobs,
    metadata: bool,
}

impl Diff {
    /// Begins: the folders at the wanted path say nothing of themselves, as with restic.
    async fn root(
        &mut self,
        folders: &mut Folders<'_>,
        path: Vec<u8>,
        pair: Pair,
        visit: &mut (impl FnMut(Change) -> Result<(), Error> + Send),
    ) -> Result<(), Error> {
        let is_root = |side: &Option<Side>| !matches!(side, Some(Side::Entry(_)));
        if is_root(&pair.before) && is_root(&pair.after) {
            self.note_blobs(&pair);
            return self.descend(folders, path, &pair).await;
        }
        self.entry(folders, path, pair, visit).await
    }

    async fn entry(
        &mut self,
        folders: &mut Folders<'_>,
        path: Vec<u8>,
        pair: Pair,
        visit: &mut (impl FnMut(Change) -> Result<(), Error> + Send),
    ) -> Result<(), Error> {
        self.note_blobs(&pair);
        if let Some(modifier) = self.judge(&pair) {
            self.count(modifier, &pair);
            let newer = pair.after.as_ref().or(pair.before.as_ref());
            let slash = if newer.and_then(Side::tree).is_some() { "/" } else { "" };
            let node = |side: &Option<Side>| side.as_ref().and_then(Side::node).cloned();
            let path = format!("{}{slash}", String::from_utf8_lossy(&path));
            visit(Change { path, modifier, before: node(&pair.before), after: node(&pair.after) })?;
        }
        self.descend(folders, path, &pair).await
    }

    async fn descend(&mut self, folders: &mut Folders<'_>, path: Vec<u8>, pair: &Pair) -> Result<(), Error> {
        let tree = |side: &Option<Side>| side.as_ref().map(Side::tree);
        match (tree(&pair.before), tree(&pair.after)) {
            (Some(Some(before)), Some(Some(after))) if before == after => self.blobs.note_common(before),
            (Some(Some(before)), Some(Some(after))) => folders.open(path, Some(before), Some(after)).await?,
            (Some(Some(before)), None) => folders.open(path, Some(before), None).await?,
            (None, Some(Some(after))) => folders.open(path, None, Some(after)).await?,
            // No folder on either side, or only on one of two.
            _ => {}
        }
        Ok(())
    }

    fn note_blobs(&mut self, pair: &Pair) {
        for (side, is_after) in [(&pair.before, false), (&pair.after, true)] {
            match side {
                Some(Side::Root(tree)) => self.blobs.note(BlobKind::Tree, *tree, is_after),
                Some(Side::Entry(entry)) => self.blobs.note_node(&entry.0, is_after),
                None => {}
            }
        }
    }

    /// How an entry changed; `None`: not at all, as far as it was asked for.
    fn judge(&self, pair: &Pair) -> Option<Modifier> {
        let (before, after) = match (&pair.before, &pair.after) {
            (None, _) => return Some(Modifier::Added),
            (_, None) => return Some(Modifier::Removed),
            (Some(before), Some(after)) => (before, after),
        };
        let kind = |side: &Side| side.node().map_or(NodeKind::Dir, |node| node.kind.clone());
        if std::mem::discriminant(&kind(before)) != std::mem::discriminant(&kind(after)) {
            return Some(if self.metadata { Modifier::TypeAndMetadata } else { Modifier::Type });
        }
        if let (Some(old), Some(new)) = (before.node(), after.node())
            && old.kind == NodeKind::File
            && old.content != new.content
        {
            return Some(if is_equal(before, after, true) { Modifier::ContentAlone } else { Modifier::Content });
        }
        (self.metadata && !is_equal(before, after, false)).then_some(Modifier::Metadata)
    }

    fn count(&mut self, modifier: Modifier, pair: &Pair) {
        let (counts, side) = match modifier {
            Modifier::Added => (&mut self.summary.added, &pair.after),
            Modifier::Removed => (&mut self.summary.removed, &pair.before),
            Modifier::Content | Modifier::ContentAlone => {
                self.summary.changed_files += 1;
                return;
            }
            Modifier::Type | Modifier::TypeAndMetadata | Modifier::Metadata => return,
        };
        match side.as_ref().and_then(Side::node).map(|node| &node.kind) {
            Some(NodeKind::File) => counts.files += 1,
            None | Some(NodeKind::Dir) => counts.dirs += 1,
            Some(NodeKind::Symlink { .. } | NodeKind::Other) => counts.others += 1,
        }
    }
}

/// Whether two entries have the same text, or the same values in it; `but_content` leaves their contents out.
fn is_equal(before: &Side, after: &Side, but_content: bool) -> bool {
    let (Some(before), Some(after)) = (before.text(), after.text()) else {
        return false;
    };
    let values = |text: &str| -> Option<BTreeMap<String, serde_json::Value>> {
        let mut values: BTreeMap<_, _> = serde_json::from_str(text).ok()?;
        if but_content {
            values.remove("content");
        }
        Some(values)
    };
    before == after || values(before).is_some_and(|before| Some(before) == values(after))
}

/// The entries of a folder by name, with their texts.
async fn entries(repository: &Repository, index: &Index, tree: Id) -> Result<BTreeMap<Vec<u8>, Side>, Error> {
    let json = repository.load_blob(index, BlobKind::Tree, tree).await?;
    let nodes = tree::decode_with_texts(tree, &json)?.into_iter();
    Ok(nodes.map(|(node, text)| (node.name.clone(), Side::Entry(Box::new((node, Some(text)))))).collect())
}
