//! Trees by numbers, and which tree holds which: for sums over snapshots that share most of their trees.

use crate::error::Error;
use crate::id::Id;
use crate::index::IdTable;

/// All trees of some snapshots.
pub(crate) struct Graph {
    trees: IdTable,
    children: Vec<Vec<u32>>,
}

impl Graph {
    pub(crate) fn new() -> Self {
        Self { trees: IdTable::new(), children: Vec::new() }
    }

    /// The number of a tree, the next one if it is new.
    pub(crate) fn number(&mut self, tree: Id) -> Result<u32, Error> {
        let (number, is_new) = self.trees.insert(tree)?;
        if is_new {
            self.children.push(Vec::new());
        }
        Ok(number)
    }

    /// The number of a tree that is known.
    pub(crate) fn find(&self, tree: &Id) -> Option<u32> {
        self.trees.find(tree)
    }

    /// How many trees there are.
    pub(crate) fn len(&self) -> usize {
        self.children.len()
    }

    /// Notes that a tree holds another one; once for each entry.
    pub(crate) fn hold(&mut self, tree: u32, child: Id) -> Result<(), Error> {
        let child = self.number(child)?;
        self.children[tree as usize].push(child);
        Ok(())
    }

    /// The trees that a tree holds, as often as it does.
    pub(crate) fn children(&self, tree: u32) -> &[u32] {
        &self.children[tree as usize]
    }

    /// All trees, each after those that it holds. (A tree's name is the hash of its content, so none holds itself.)
    pub(crate) fn bottom_up(&self) -> Vec<u32> {
        let mut order = Vec::with_capacity(self.len());
        let mut is_done = vec![false; self.len()];
        for start in 0..u32::try_from(self.len()).expect("positions fit 32 bits") {
            // A tree comes up twice: first what it holds is put above it, then it is its turn.
            let mut open = vec![(start, false)];
            while let Some((tree, is_its_turn)) = open.pop() {
                if is_done[tree as usize] {
                    continue;
                }
                if is_its_turn || self.children(tree).is_empty() {
                    is_done[tree as usize] = true;
                    order.push(tree);
                } else {
                    open.push((tree, true));
                    open.extend(self.children(tree).iter().map(|child| (*child, false)));
                }
            }
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_come_after_what_they_hold() {
        let mut graph = Graph::new();
        let id = |n: u8| Id::of(&[n]);
        let top = graph.number(id(0)).unwrap();
        graph.hold(top, id(1)).unwrap();
        graph.hold(top, id(2)).unwrap();
        let middle = graph.number(id(1)).unwrap();
        graph.hold(middle, id(2)).unwrap();
        graph.hold(middle, id(2)).unwrap();
        let bottom = graph.find(&id(2)).unwrap();
        assert_eq!(graph.bottom_up(), [bottom, middle, top]);
        assert_eq!((graph.children(middle), graph.find(&id(9)), graph.len()), (&[bottom, bottom][..], None, 3));
    }
}
