//! Which snapshots and paths does damage hit? Only asked when something is damaged.
//!
//! 1. All trees are read once more, into a graph of numbers: which trees a tree holds, and how many of its entries each finding hits.
//! 2. Sums over the graph count each tree once, whatever the number of snapshots and paths that lead to it.
//! 3. Some paths are spelled out: from each snapshot, the newest first, down the trees that are hit, until every finding has its few.

use std::collections::BTreeMap;

use super::report::{Findings, HitPath};
use crate::error::Error;
use crate::graph::Graph;
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
    let mut damage = Damage { graph: Graph::new(), counts: Vec::new() };
    let visit = |id, nodes: Result<Vec<Node>, Error>| damage.add(id, &nodes.unwrap_or_default(), findings);
    reach::trees(sealed, index, roots.iter().map(|root| root.tree), visit).await?;
    damage.sum_up();
    for root in roots {
        count(*root, &damage, findings);
    }
    let mut speller = Speller { sealed, index, damage: &damage, read: IdTable::new(), trees_left: TREES_SPELLED_MAX };
    for root in roots {
        speller.spell(*root, findings).await?;
    }
    Ok(())
}

/// Counts what is hit in one snapshot.
fn count(root: Root, damage: &Damage, findings: &mut Findings) {
    let mut counts = damage.counts(root.tree).cloned().unwrap_or_default();
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

/// Which trees are hit.
struct Damage {
    graph: Graph,
    /// Of a tree's own entries; after `sum_up` of everything below it too.
    counts: Vec<Counts>,
}

impl Damage {
    fn add(&mut self, tree: Id, nodes: &[Node], findings: &Findings) -> Result<(), Error> {
        let number = self.graph.number(tree)?;
        for node in nodes {
            if let Some(subtree) = node.subtree.filter(|_| node.kind == NodeKind::Dir) {
                self.graph.hold(number, subtree)?;
            }
            self.counts.resize_with(self.graph.len(), Counts::new);
            for finding in direct(node, findings) {
                *self.counts[number as usize].entry(finding).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Adds the counts of trees to those that hold them.
    fn sum_up(&mut self) {
        self.counts.resize_with(self.graph.len(), Counts::new);
        for tree in self.graph.bottom_up() {
            let mut counts = std::mem::take(&mut self.counts[tree as usize]);
            for child in self.graph.children(tree) {
                for (finding, paths) in &self.counts[*child as usize] {
                    let sum = counts.entry(*finding).or_default();
                    *sum = sum.saturating_add(*paths);
                }
            }
            self.counts[tree as usize] = counts;
        }
    }

    fn counts(&self, tree: Id) -> Option<&Counts> {
        Some(&self.counts[self.graph.find(&tree)? as usize])
    }
}

/// Spells out paths.
struct Speller<'a> {
    sealed: &'a Sealed,
    index: &'a Index,
    damage: &'a Damage,
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
            let mut below = Vec::new();
            for node in nodes {
                let path = [&path[..], b"/", &node.name].concat();
                for finding in direct(&node, findings) {
                    push(finding, root.snapshot, &String::from_utf8_lossy(&path), findings);
                }
                below.extend(node.subtree.filter(|_| node.kind == NodeKind::Dir).map(|subtree| (subtree, path)));
            }
            open.extend(below.into_iter().rev());
        }
        Ok(())
    }

    /// Whether below a tree lies what a finding still wants a path of.
    fn is_worth_reading(&self, tree: Id, findings: &Findings) -> bool {
        let wants_more = |finding: &u32| findings.report.findings[*finding as usize].hits.paths.len() < PATHS_MAX;
        self.trees_left > 0 && self.damage.counts(tree).is_some_and(|counts| counts.keys().any(wants_more))
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
        let mut damage = Damage { graph: Graph::new(), counts: Vec::new() };
        let id = |n: u8| Id::of(&[n]);
        // 0 holds 1 and 2; 1 holds 2 twice; 2 has three damaged entries.
        let top = damage.graph.number(id(0)).unwrap();
        let middle = damage.graph.number(id(1)).unwrap();
        for (tree, child) in [(top, 1), (top, 2), (middle, 2), (middle, 2)] {
            damage.graph.hold(tree, id(child)).unwrap();
        }
        damage.counts = vec![Counts::new(), Counts::new(), Counts::from([(7, 3)])];
        damage.sum_up();
        let of = |n| damage.counts(id(n)).unwrap().get(&7).copied();
        assert_eq!((of(0), of(1), of(2), damage.counts(id(3)).is_none()), (Some(9), Some(6), Some(3), true));
    }
}
