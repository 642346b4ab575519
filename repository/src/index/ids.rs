//! A set of ids with a position for each, in the order of insertion.
//!
//! Ids are SHA-256 sums, so their own bits serve as the hash. Collisions go to the next slot; three quarters of the slots are filled
//! at most.

use crate::chunked::Chunked;
use crate::error::Error;
use crate::id::Id;

/// Slots of a table with its first id.
const SLOTS_MIN: usize = 1024;

/// The set. Positions fit 32 bits: 4 billion blobs.
#[derive(Clone)]
pub(crate) struct IdTable {
    ids: Chunked<Id>,
    /// Position + 1, or 0 for an empty slot; a power of two of them.
    slots: Vec<u32>,
}

impl IdTable {
    pub(crate) fn new() -> Self {
        Self { ids: Chunked::new(), slots: Vec::new() }
    }

    /// Ids in it.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The position of an id.
    pub(crate) fn find(&self, id: &Id) -> Option<u32> {
        if self.slots.is_empty() { None } else { self.probe(id).ok() }
    }

    /// All ids, by their positions.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Id> {
        self.ids.iter()
    }

    /// The id at a position that `insert` or `find` gave.
    pub(crate) fn id(&self, position: u32) -> &Id {
        self.ids.get(position).expect("positions come from this table")
    }

    /// The position of an id, and whether it is new.
    pub(crate) fn insert(&mut self, id: Id) -> Result<(u32, bool), Error> {
        if self.ids.len() * 4 >= self.slots.len() * 3 {
            self.grow();
        }
        match self.probe(&id) {
            Ok(position) => Ok((position, false)),
            Err(slot) => {
                let too_many = |_| Error::TooLarge { what: "the number of blobs", limit: u32::MAX.into() };
                let next = u32::try_from(self.ids.len() + 1).map_err(too_many)?;
                self.slots[slot] = next;
                self.ids.push(id);
                Ok((next - 1, true))
            }
        }
    }

    /// The position of an id, or the slot where it belongs.
    fn probe(&self, id: &Id) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut slot = hash(id) & mask;
        loop {
            match self.slots[slot] {
                0 => return Err(slot),
                filled if self.id(filled - 1) == id => return Ok(filled - 1),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    fn grow(&mut self) {
        let slots = (self.slots.len() * 2).max(SLOTS_MIN);
        self.slots = vec![0; slots];
        for (id, next) in self.ids.iter().zip(1..) {
            let mut slot = hash(id) & (slots - 1);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (slots - 1);
            }
            self.slots[slot] = next;
        }
    }
}

fn hash(id: &Id) -> usize {
    let first = id.as_bytes().first_chunk().expect("an id has 32 bytes");
    usize::from_le_bytes(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_at_their_positions_after_growth() {
        let mut table = IdTable::new();
        let id = |n: u32| Id::of(&n.to_le_bytes());
        assert_eq!(table.find(&id(0)), None);
        for n in 0..5000 {
            assert_eq!(table.insert(id(n)).unwrap(), (n, true));
        }
        for n in 0..5000 {
            assert_eq!(table.insert(id(n)).unwrap(), (n, false));
            assert_eq!((table.find(&id(n)), *table.id(n)), (Some(n), id(n)));
        }
        assert_eq!((table.find(&id(5000)), table.len()), (None, 5000));
    }
}
