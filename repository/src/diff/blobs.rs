//! Which blobs one of two snapshots refers to and the other does not.

use std::collections::HashSet;

use super::BlobCounts;
use crate::error::Error;
use crate::id::Id;
use crate::index::Index;
use crate::pack::BlobKind;
use crate::repository::Repository;
use crate::tree::{Node, NodeKind};

/// Blobs that the differing folders refer to, and the folders that are the same on both sides.
#[derive(Default)]
pub(super) struct Blobs {
    before: Set,
    after: Set,
    common_trees: HashSet<Id>,
}

#[derive(Default)]
struct Set {
    data: HashSet<Id>,
    trees: HashSet<Id>,
}

impl Set {
    fn of(&mut self, kind: BlobKind) -> &mut HashSet<Id> {
        match kind {
            BlobKind::Data => &mut self.data,
            BlobKind::Tree => &mut self.trees,
        }
    }

    fn without(&self, other: &Self) -> Self {
        let without = |own: &HashSet<Id>, other| own.difference(other).copied().collect();
        Self { data: without(&self.data, &other.data), trees: without(&self.trees, &other.trees) }
    }

    fn is_empty(&self) -> bool {
        self.data.is_empty() && self.trees.is_empty()
    }

    fn remove(&mut self, kind: BlobKind, id: Id) {
        self.of(kind).remove(&id);
    }

    fn count(&self, index: &Index) -> BlobCounts {
        let bytes = |kind, ids: &HashSet<Id>| ids.iter().filter_map(|id| index.text_bytes(kind, id)).sum::<u64>();
        BlobCounts {
            data: self.data.len() as u64,
            trees: self.trees.len() as u64,
            bytes: bytes(BlobKind::Data, &self.data) + bytes(BlobKind::Tree, &self.trees),
        }
    }
}

impl Blobs {
    pub(super) fn note(&mut self, kind: BlobKind, id: Id, is_after: bool) {
        let side = if is_after { &mut self.after } else { &mut self.before };
        side.of(kind).insert(id);
    }

    pub(super) fn note_node(&mut self, node: &Node, is_after: bool) {
        for (kind, id) in blobs_of(node) {
            self.note(kind, id, is_after);
        }
    }

    pub(super) fn note_common(&mut self, tree: Id) {
        self.common_trees.insert(tree);
    }

    /// What only the second and only the first snapshot refers to.
    pub(super) async fn count(self, repository: &Repository, index: &Index) -> Result<(BlobCounts, BlobCounts), Error> {
        let (mut added, mut removed) = (self.after.without(&self.before), self.before.without(&self.after));
        let (mut open, mut seen): (Vec<Id>, _) = (self.common_trees.iter().copied().collect(), self.common_trees);
        while let Some(tree) = open.pop().filter(|_| !added.is_empty() || !removed.is_empty()) {
            for set in [&mut added, &mut removed] {
                set.remove(BlobKind::Tree, tree);
            }
            for node in repository.load_tree(index, tree).await? {
                for (kind, id) in blobs_of(&node) {
                    for set in [&mut added, &mut removed] {
                        set.remove(kind, id);
                    }
                    if kind == BlobKind::Tree && seen.insert(id) {
                        open.push(id);
                    }
                }
            }
        }
        Ok((added.count(index), removed.count(index)))
    }
}

fn blobs_of(node: &Node) -> impl Iterator<Item = (BlobKind, Id)> {
    let data = node.content.iter().filter(|_| node.kind == NodeKind::File).map(|id| (BlobKind::Data, *id));
    let tree = node.subtree.filter(|_| node.kind == NodeKind::Dir).map(|id| (BlobKind::Tree, id));
    data.chain(tree)
}
