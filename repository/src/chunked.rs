//! A list that grows without moving: blocks of fixed size instead of one that doubles.
//!
//! The lists of a backup grow to tens of megabytes while packs are in flight. Doubling would need old and new block at the same time,
//! and leave half of the new one unused.

/// Elements of a block. 1,024 rows of 40 bytes are 40 KiB: little waste in a short list, few blocks in a long one.
const BLOCK: usize = 1024;

/// A list with positions of 32 bits.
#[derive(Clone)]
pub(crate) struct Chunked<T> {
    blocks: Vec<Vec<T>>,
}

impl<T> Chunked<T> {
    pub(crate) fn new() -> Self {
        Self { blocks: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        match self.blocks.split_last() {
            Some((last, full)) => full.len() * BLOCK + last.len(),
            None => 0,
        }
    }

    pub(crate) fn push(&mut self, element: T) {
        match self.blocks.last_mut() {
            Some(last) if last.len() < BLOCK => last.push(element),
            // The first block starts small and doubles: most lists are short.
            None => self.blocks.push(vec![element]),
            _ => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(element);
                self.blocks.push(block);
            }
        }
    }

    pub(crate) fn get(&self, position: u32) -> Option<&T> {
        let position = position as usize;
        self.blocks.get(position / BLOCK)?.get(position % BLOCK)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_keep_their_positions() {
        let mut list = Chunked::new();
        for n in 0..3000u32 {
            list.push(n);
            assert_eq!(list.len(), n as usize + 1);
        }
        assert!((0..3000).all(|n| list.get(n) == Some(&n)) && list.get(3000).is_none());
        assert!(list.iter().copied().eq(0..3000));
    }
}
