//! The comparison itself: what is said of a pair of entries, and where to go on.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::blobs::Blobs;
use super::walk::{Folders, Pair};
use super::{Change, DiffSummary, Modifier};
use crate::error::Error;
use crate::id::Id;
use crate::pack::BlobKind;
use crate::tree::{Node, NodeKind};

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
pub(super) struct Diff {
    pub(super) summary: DiffSummary,
    pub(super) blobs: Blobs,
    pub(super) metadata: bool,
}

impl Diff {
    /// Begins: the folders at the wanted path say nothing of themselves, as with restic.
    pub(super) async fn root(
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

    pub(super) async fn entry(
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
