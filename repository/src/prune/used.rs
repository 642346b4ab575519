//! Which blobs the snapshots need: all trees are walked, and every blob that they name is marked.
//!
//! What cannot be found or read is collected instead of ending the walk, so that the refusal can say which snapshots it hits.

use super::PruneProgress;
use super::inventory::Inventory;
use super::marks::{ByKind, Marks};
use crate::error::Error;
use crate::id::Id;
use crate::index::IdTable;
use crate::pack::BlobKind;
use crate::reach;
use crate::snapshot::Snapshot;
use crate::tree::{Node, NodeKind};
use crate::unpacked::Sealed;

/// What the snapshots need.
#[derive(Default)]
pub(super) struct Used {
    /// Positions of blobs in the inventory's tables of ids.
    pub(super) blobs: ByKind<Marks>,
    pub(super) broken: Broken,
}

/// Blobs that the snapshots need and that cannot be had.
#[derive(Default)]
pub(super) struct Broken {
    ids: ByKind<Option<IdTable>>,
    count: u64,
    /// What is wrong with the first.
    first: String,
}

impl Broken {
    pub(super) fn add(&mut self, kind: BlobKind, id: Id, what: impl ToString) -> Result<(), Error> {
        if self.ids.of_mut(kind).get_or_insert_with(IdTable::new).insert(id)?.1 {
            self.count += 1;
            if self.count == 1 {
                self.first = what.to_string();
            }
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn contains(&self, kind: BlobKind, id: &Id) -> bool {
        self.ids.of(kind).as_ref().is_some_and(|ids| ids.find(id).is_some())
    }

    /// The error that names the snapshots.
    ///
    /// All trees are walked once more, each once, and the damage is carried from the trees that name it up to the roots.
    pub(super) async fn into_error(
        self,
        sealed: &Sealed,
        inventory: &Inventory,
        snapshots: &[Snapshot],
    ) -> Result<Error, Error> {
        let (mut hit, mut open) = (IdTable::new(), Vec::new());
        let mut below: Vec<(Id, Id)> = Vec::new();
        let mut look = |id: Id, nodes: Result<Vec<Node>, Error>| {
            let nodes = nodes.unwrap_or_default();
            if self.contains(BlobKind::Tree, &id) || content(&nodes).any(|id| self.contains(BlobKind::Data, id)) {
                hit.insert(id)?;
                open.push(id);
            }
            below.extend(subtrees(&nodes).map(|subtree| (subtree, id)));
            Ok(())
        };
        reach::trees(sealed, &inventory.index, roots(snapshots), &mut look).await?;
        below.sort_unstable();
        while let Some(id) = open.pop() {
            let start = below.partition_point(|(subtree, _)| *subtree < id);
            for (_, parent) in below[start..].iter().take_while(|(subtree, _)| *subtree == id) {
                if hit.insert(*parent)?.1 {
                    open.push(*parent);
                }
            }
        }
        let snapshots = snapshots.iter().filter(|s| hit.find(&s.tree).is_some()).map(|s| s.id).collect();
        Ok(Error::Incomplete { blobs: self.count, first: self.first, snapshots })
    }
}

/// Marks all blobs that snapshots need.
///
/// # Errors
/// Storage errors.
pub(super) async fn find(
    sealed: &Sealed,
    inventory: &Inventory,
    snapshots: &[Snapshot],
    progress: &PruneProgress,
) -> Result<Used, Error> {
    let mut used = Used::default();
    let note = |used: &mut Used, kind, id: &Id| match inventory.ids(kind).find(id) {
        Some(position) => {
            used.blobs.of_mut(kind).insert(position as usize);
            Ok(())
        }
        None => used.broken.add(kind, *id, Error::damaged(format_args!("{} {id}", kind.name()), "no index names it")),
    };
    let visit = |id: Id, nodes: Result<Vec<Node>, Error>| {
        note(&mut used, BlobKind::Tree, &id)?;
        progress.add(1);
        match nodes {
            Ok(nodes) => content(&nodes).try_for_each(|id| note(&mut used, BlobKind::Data, id)),
            Err(damage) => used.broken.add(BlobKind::Tree, id, damage),
        }
    };
    reach::trees(sealed, &inventory.index, roots(snapshots), visit).await?;
    Ok(used)
}

fn roots(snapshots: &[Snapshot]) -> impl Iterator<Item = Id> {
    snapshots.iter().map(|snapshot| snapshot.tree)
}

fn content(nodes: &[Node]) -> impl Iterator<Item = &Id> {
    nodes.iter().flat_map(|node| &node.content)
}

fn subtrees(nodes: &[Node]) -> impl Iterator<Item = Id> {
    nodes.iter().filter(|node| node.kind == NodeKind::Dir).filter_map(|node| node.subtree)
}
