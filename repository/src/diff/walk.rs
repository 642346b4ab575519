//! Two folders side by side, and the folders in them.

use std::collections::BTreeMap;

use super::judge::Side;
use crate::error::Error;
use crate::id::Id;
use crate::index::Index;
use crate::pack::BlobKind;
use crate::read::{DEPTH_MAX, too_deep};
use crate::repository::Repository;
use crate::tree;

/// What lies at one path on either side; at least one of both.
pub(super) struct Pair {
    pub(super) before: Option<Side>,
    pub(super) after: Option<Side>,
}

/// The folders that are open: each with its path, and what of it is still to come.
pub(super) struct Folders<'a> {
    repository: &'a Repository,
    index: &'a Index,
    open: Vec<(Vec<u8>, Entries)>,
    /// Trees read so far.
    pub(super) read: u64,
}

/// Names and what lies there.
type Entries = std::collections::btree_map::IntoIter<Vec<u8>, Pair>;

impl<'a> Folders<'a> {
    pub(super) fn new(repository: &'a Repository, index: &'a Index) -> Self {
        Self { repository, index, open: Vec::new(), read: 0 }
    }

    /// Opens the folder at a path, which comes before what is left of the others.
    pub(super) async fn open(&mut self, path: Vec<u8>, before: Option<Id>, after: Option<Id>) -> Result<(), Error> {
        if let Some(tree) = before.or(after).filter(|_| self.open.len() == DEPTH_MAX) {
            return Err(too_deep(tree));
        }
        self.read += u64::from(before.is_some()) + u64::from(after.is_some());
        let mut pairs = BTreeMap::new();
        if let Some(tree) = before {
            let entries = entries(self.repository, self.index, tree).await?;
            pairs.extend(entries.into_iter().map(|(name, side)| (name, Pair { before: Some(side), after: None })));
        }
        if let Some(tree) = after {
            for (name, side) in entries(self.repository, self.index, tree).await? {
                pairs.entry(name).or_insert(Pair { before: None, after: None }).after = Some(side);
            }
        }
        self.open.push((path, pairs.into_iter()));
        Ok(())
    }

    /// The next entry and its path.
    pub(super) fn next(&mut self) -> Option<(Vec<u8>, Pair)> {
        while let Some((path, pairs)) = self.open.last_mut() {
            if let Some((name, pair)) = pairs.next() {
                return Some(([path, &b"/"[..], &name].concat(), pair));
            }
            self.open.pop();
        }
        None
    }
}

/// The entries of a folder by name, with their texts.
async fn entries(repository: &Repository, index: &Index, tree: Id) -> Result<BTreeMap<Vec<u8>, Side>, Error> {
    let json = repository.load_blob(index, BlobKind::Tree, tree).await?;
    let nodes = tree::decode_with_texts(tree, &json)?.into_iter();
    Ok(nodes.map(|(node, text)| (node.name.clone(), Side::Entry(Box::new((node, Some(text)))))).collect())
}
