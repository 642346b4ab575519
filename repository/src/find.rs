//! Find: which snapshots have entries whose paths fit a pattern.
//!
//! Snapshots of the same thing share most of their folders. What was found in a folder is remembered by its tree and its path, so each
//! is read once however many snapshots have it; memory grows with the distinct folders and with what is found.

mod pattern;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

pub use pattern::{Pattern, PatternError};

use crate::error::Error;
use crate::id::Id;
use crate::index::Index;
use crate::read::{DEPTH_MAX, Entry, too_deep};
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::tree::{Node, NodeKind};

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub struct FindQuery {
    /// Entries that fit any of these.
    pub patterns: Vec<Pattern>,
    /// Paths are put in lower case before; the patterns must be too.
    pub ignore_case: bool,
    /// Only those that were changed last at this moment or later.
    pub oldest: Option<Timestamp>,
    /// Only those that were changed last at this moment or earlier.
    pub newest: Option<Timestamp>,
}

/// What a search cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FindSummary {
    /// Entries found, counted for each snapshot.
    pub hits: u64,
    /// Folders read.
    pub trees_read: u64,
}

impl Repository {
    /// Calls `visit` for every entry that fits: snapshot by snapshot as given, folders before what they hold, names ascending.
    ///
    /// # Errors
    /// [`Error::Damaged`]; storage errors; whatever `visit` returns.
    pub async fn find(
        &self,
        snapshots: &[Snapshot],
        query: &FindQuery,
        mut visit: impl FnMut(&Snapshot, &Entry) -> Result<(), Error> + Send,
    ) -> Result<FindSummary, Error> {
        let index = self.index().await?;
        let mut search =
            Search { repository: self, index: &index, query, known: HashMap::new(), summary: FindSummary::default() };
        for snapshot in snapshots {
            let found = search.tree(snapshot.tree).await?;
            search.summary.hits += each(&found, &mut |entry| visit(snapshot, entry))?;
        }
        Ok(search.summary)
    }
}

/// What was found in a folder, in order.
type Found = Vec<Item>;

enum Item {
    Entry(Entry),
    /// What was found in a folder of it, which is not empty.
    Below(Arc<Found>),
}

struct Search<'a> {
    repository: &'a Repository,
    index: &'a Index,
    query: &'a FindQuery,
    known: HashMap<(Id, Vec<u8>), Arc<Found>>,
    summary: FindSummary,
}

/// A folder that is being looked through.
struct Open {
    tree: Id,
    path: Vec<u8>,
    nodes: std::vec::IntoIter<Node>,
    found: Found,
}

impl Search<'_> {
    /// What is found in a snapshot.
    async fn tree(&mut self, root: Id) -> Result<Arc<Found>, Error> {
        let known = self.known.get(&(root, Vec::new())).cloned();
        let mut open = match known {
            Some(found) => return Ok(found),
            None => vec![self.open(root, Vec::new()).await?],
        };
        loop {
            let Some(folder) = open.last_mut() else {
                return Err(Error::Interrupted { action: "looking through a snapshot" });
            };
            let Some(node) = folder.nodes.next() else {
                let found = open.pop().map(|folder| self.close(folder)).unwrap_or_default();
                match open.last_mut() {
                    None => return Ok(found),
                    Some(parent) => add(parent, found),
                }
                continue;
            };
            let path = [&folder.path, &b"/"[..], &node.name].concat();
            let subtree = node.subtree.filter(|_| node.kind == NodeKind::Dir);
            if let Some(entry) = self.wanted(&path, node) {
                folder.found.push(Item::Entry(entry));
            }
            let Some(tree) = subtree else {
                continue;
            };
            if let Some(found) = self.known.get(&(tree, path.clone())) {
                add(folder, Arc::clone(found));
                continue;
            }
            if open.len() == DEPTH_MAX {
                return Err(too_deep(tree));
            }
            open.push(self.open(tree, path).await?);
        }
    }

    async fn open(&mut self, tree: Id, path: Vec<u8>) -> Result<Open, Error> {
        self.summary.trees_read += 1;
        let nodes = self.repository.load_tree(self.index, tree).await?.into_iter();
        Ok(Open { tree, path, nodes, found: Vec::new() })
    }

    fn close(&mut self, folder: Open) -> Arc<Found> {
        let found = Arc::new(folder.found);
        self.known.insert((folder.tree, folder.path), Arc::clone(&found));
        found
    }

    /// The entry, if it is looked for.
    fn wanted(&self, path: &[u8], node: Node) -> Option<Entry> {
        let FindQuery { patterns, ignore_case, oldest, newest } = self.query;
        if oldest.is_some_and(|oldest| node.modified < oldest) || newest.is_some_and(|newest| node.modified > newest) {
            return None;
        }
        let path = String::from_utf8_lossy(path).into_owned();
        let lowered = if *ignore_case { path.to_lowercase() } else { String::new() };
        let names: Vec<&str> = if *ignore_case { &lowered } else { &path }.split('/').skip(1).collect();
        patterns.iter().any(|pattern| pattern.matches(&names)).then(|| Entry { path: path.clone(), node })
    }
}

fn add(folder: &mut Open, found: Arc<Found>) {
    if !found.is_empty() {
        folder.found.push(Item::Below(found));
    }
}

/// Visits what was found, in order; returns how much it was.
fn each(found: &Found, visit: &mut dyn FnMut(&Entry) -> Result<(), Error>) -> Result<u64, Error> {
    let mut hits = 0;
    let mut open = vec![found.iter()];
    while let Some(items) = open.last_mut() {
        match items.next() {
            None => drop(open.pop()),
            Some(Item::Below(found)) => open.push(found.iter()),
            Some(Item::Entry(entry)) => {
                hits += 1;
                visit(entry)?;
            }
        }
    }
    Ok(hits)
}
