//! Sets of positions, a bit each; and pairs of things, one for data and one for trees.

use crate::pack::BlobKind;

/// A set of positions.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    words: Vec<u64>,
}

impl Marks {
    /// Adds a position; whether it is new.
    pub(super) fn insert(&mut self, position: usize) -> bool {
        let (word, bit) = (position / 64, 1 << (position % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        is_new
    }

    pub(super) fn contains(&self, position: usize) -> bool {
        self.words.get(position / 64).is_some_and(|word| word & (1 << (position % 64)) != 0)
    }

    /// All positions, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        (0..self.words.len() * 64).filter(|position| self.contains(*position))
    }
}

/// One for data, one for trees.
#[derive(Clone, Debug, Default)]
pub(super) struct ByKind<T> {
    pub(super) data: T,
    pub(super) trees: T,
}

impl<T> ByKind<T> {
    pub(super) fn of(&self, kind: BlobKind) -> &T {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        }
    }

    pub(super) fn of_mut(&mut self, kind: BlobKind) -> &mut T {
        match kind {
            BlobKind::Data => &mut self.data,
            BlobKind::Tree => &mut self.trees,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_back_in_order_and_once() {
        let mut marks = Marks::default();
        let inserted = [700, 3, 64, 63, 3].map(|position| marks.insert(position));
        assert_eq!(inserted, [true, true, true, true, false]);
        assert_eq!(marks.iter().collect::<Vec<_>>(), [3, 63, 64, 700]);
        assert!(!marks.contains(100_000));
    }
}
