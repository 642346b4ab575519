//! Which snapshots and paths does damage hit? Only asked when something is damaged.
//!
//! 1. All trees are read once more, into a graph of numbers: which trees a tree holds, and how many of its entries each finding hits.
//! 2. Sums over the graph count each tree once, whatever the number of snapshots and paths that lead to it.
//! 3. Some paths are spelled out: from each snapshot, the newest first, down the trees that are hit, until every finding has its few.

use std::collections::BTreeMap;

use super::report::{Findings, HitPath};
use crate::error::Error;
use crate::id::Id;
use crate::index::{IdTable, Index};
use crate::pack::BlobKind;
use crate::reach;
use crate::read;
use crate::tree::{self, Node, NodeKind};
use crate::unpacked::Sealed;

/// Snapshots listed for a finding.
const SNAPSHOTS_MAX: usize = 10;

/// Paths listed for a finding.
const PATHS_MAX: usize = 5;

/// Trees read to spell out paths. Each finding needs a few, and findings share them; beyond it, paths are only counted.
const TREES_SPELLED_MAX: usize = 20_000;

/// A snapshot and its root.
#[derive(Clone, Copy)]
pub(super) struct Root {
    pub(super) snapshot: Id,
    pub(super) tree: Id,
}

/// How many entries at or below a tree each finding hits, by the number of the finding.
type Counts = BTreeMap<u32, u64>;

/// Fills the hits of all findings; `roots` with the newest first.
pub(super) async fn find(sealed: &Sealed, index: &Index, roots: &[Root], findings: &mut Findings) -> Result<(), Error> {
    let mut graph = Graph { trees: IdTable::new(), children: Vec::new(), counts: Vec::new() };
    let visit = |id, nodes: Result<Vec<Node>, Error>| graph.add(id, &nodes.unwrap_or_default(), findings);
    reach::trees(sealed, index, roots.iter().map(|root| root.tree), visit).await?;
    graph.sum_up();
    for root in roots {
        count(*root, &graph, findings);
    }
    let mut speller = Speller { sealed, index, graph: &graph, read: IdTable::new(), trees_left: TREES_SPELLED_MAX };
    for root in roots {
        speller.spell(*root, findings).await?;
    }
    Ok(())
}

/// Counts what is hit in one snapshot.
fn count(root: Root, graph: &Graph, findings: &mut Findings) {
    let mut counts = graph.counts(root.tree).cloned().unwrap_or_default();
    if let Some(finding) = findings.lost(BlobKind::Tree, root.tree) {
        *counts.entry(finding).or_default() += 1;
    }
    for (finding, paths) in counts {
        let hits = &mut findings.report.findings[finding as usize].hits;
        hits.snapshots_total += 1;
        hits.paths_total += paths;
        if hits.snapshots.len() < SNAPSHOTS_MAX {
            hits.snapshots.push(root.snapshot);
        }
    }
}

/// The findings that hit an entry itself, not what lies below it.
fn direct(node: &Node, findings: &Findings) -> Vec<u32> {
    let mut hit: Vec<u32> = match node.kind {
        NodeKind::File => node.content.iter().filter_map(|blob| findings.lost(BlobKind::Data, *blob)).collect(),
        NodeKind::Dir => node.subtree.and_then(|tree| findings.lost(BlobKind::Tree, tree)).into_iter().collect(),
        _ => Vec::new(),
    };
    hit.sort_unstable();
    hit.dedup();
    hit
}

/// All trees, by numbers.
struct Graph {
    trees: IdTable,
    children: Vec<Vec<u32>>,
    /// Of the tree's own entries; after `sum_up` of everything below it too.
    counts: Vec<Counts>,
}

impl Graph {
    fn number(&mut self, tree: Id) -> Result<u32, Error> {
        let (number, is_new) = self.trees.insert(tree)?;
        if is_new {
            self.children.push(Vec::new());
            self.counts.push(Counts::new());
        }
        Ok(number)
    }

    fn add(&mut self, tree: Id, nodes: &[Node], findings: &Findings) -> Result<(), Error> {
        let number = self.number(tree)? as usize;
        for node in nodes {
            for finding in direct(node, findings) {
                *self.counts[number].entry(finding).or_default() += 1;
            }
            if let Some(subtree) = node.subtree.filter(|_| node.kind == NodeKind::Dir) {
                let child = self.number(subtree)?;
                self.children[number].push(child);
            }
        }
        Ok(())
    }

    /// Adds the counts of children to their parents, from the bottom up.
    fn sum_up(&mut self) {
        let mut is_done = vec![false; self.children.len()];
        for start in 0..self.children.len() {
            // A tree comes up twice: first its children are put above it, then it is summed.
            let mut open = vec![(start, false)];
            while let Some((tree, are_children_done)) = open.pop() {
                if is_done[tree] {
                    continue;
                }
                if are_children_done || self.children[tree].is_empty() {
                    self.sum(tree);
                    is_done[tree] = true;
                    continue;
                }
                open.push((tree, true));
                open.extend(self.children[tree].iter().map(|child| (*child as usize, false)));
            }
        }
    }

    fn sum(&mut self, tree: usize) {
        for child in std::mem::take(&mut self.children[tree]) {
            let below = self.counts[child as usize].clone();
            for (finding, paths) in below {
                let sum = self.counts[tree].entry(finding).or_default();
                *sum = sum.saturating_add(paths);
            }
        }
    }

    fn counts(&self, tree: Id) -> Option<&Counts> {
        Some(&self.counts[self.trees.find(&tree)? as usize])
    }
}

/// Spells out paths.
struct Speller<'a> {
    sealed: &'a Sealed,
    index: &'a Index,
    graph: &'a Graph,
    /// Trees that were read: what they say in another snapshot is the same again.
    read: IdTable,
    trees_left: usize,
}

impl Speller<'_> {
    async fn spell(&mut self, root: Root, findings: &mut Findings) -> Result<(), Error> {
        if let Some(finding) = findings.lost(BlobKind::Tree, root.tree) {
            push(finding, root.snapshot, "/", findings);
        }
        let mut open = vec![(root.tree, Vec::new())];
        while let Some((tree, path)) = open.pop() {
            if !self.is_worth_reading(tree, findings) || !self.read.insert(tree)?.1 {
                continue;
            }
            self.trees_left -= 1;
            let text = match read::load_blob(self.sealed, self.index, BlobKind::Tree, tree).await {
                Ok(text) => text,
                Err(Error::Damaged { .. }) => continue,
                Err(storage) => return Err(storage),
            };
            let nodes = tree::decode(tree, &text).unwrap_or_default();
            for node in nodes.into_iter().rev() {
                let path = [&path[..], b"/", &node.name].concat();
                for finding in direct(&node, findings) {
                    push(finding, root.snapshot, &String::from_utf8_lossy(&path), findings);
                }
                if let Some(subtree) = node.subtree.filter(|_| node.kind == NodeKind::Dir) {
                    open.push((subtree, path));
                }
            }
        }
        Ok(())
    }

    /// Whether below a tree lies what a finding still wants a path of.
    fn is_worth_reading(&self, tree: Id, findings: &Findings) -> bool {
        let wants_more = |finding: &u32| findings.report.findings[*finding as usize].hits.paths.len() < PATHS_MAX;
        self.trees_left > 0 && self.graph.counts(tree).is_some_and(|counts| counts.keys().any(wants_more))
    }
}

fn push(finding: u32, snapshot: Id, path: &str, findings: &mut Findings) {
    let paths = &mut findings.report.findings[finding as usize].hits.paths;
    if paths.len() < PATHS_MAX && !paths.iter().any(|known| known.path == path) {
        paths.push(HitPath { snapshot, path: path.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_that_many_hold_is_summed_for_each() {
        let mut graph = Graph { trees: IdTable::new(), children: Vec::new(), counts: Vec::new() };
        let id = |n: u8| Id::of(&[n]);
        // 0 holds 1 and 2; 1 holds 2 twice; 2 has three damaged entries.
        let (top, middle, bottom) =
            (graph.number(id(0)).unwrap(), graph.number(id(1)).unwrap(), graph.number(id(2)).unwrap());
        graph.children[top as usize] = vec![middle, bottom];
        graph.children[middle as usize] = vec![bottom, bottom];
        graph.counts[bottom as usize].insert(7, 3);
        graph.sum_up();
        let of = |n| graph.counts(id(n)).unwrap().get(&7).copied();
        assert_eq!((of(0), of(1), of(2), graph.counts(id(3)).is_none()), (Some(9), Some(6), Some(3), true));
    }
}
