//! What a prune decides about: every pack that is there or named by an index, and every copy of a blob in it.
//!
//! 1. Only copies in packs that are there count. A pack that an index names and that is gone has none.
//! 2. A pack may be named by several index files (one was about to replace another when its writer was killed): its blobs count once.
//! 3. What rustic marked for deletion comes last, so that a blob is taken from there only when it lies nowhere else.
//! 4. Memory: 40 bytes for each distinct blob, 20 for each copy, 16 more for a tree; a few for each pack.

use super::marks::ByKind;
use crate::backend::Listed;
use crate::error::Error;
use crate::id::Id;
use crate::index::{IdTable, Index, IndexFile, Place, Places};
use crate::pack::BlobKind;

/// The kinds of blobs.
pub(super) const KINDS: [BlobKind; 2] = [BlobKind::Data, BlobKind::Tree];

/// Everything that is there, and everything that the index files say of it.
pub(super) struct Inventory {
    /// The ids of all blobs that lie somewhere, and the places of the trees.
    pub(super) index: Index,
    pub(super) files: Vec<FileRow>,
    pub(super) packs: Vec<PackRow>,
    /// Names of `packs`.
    names: IdTable,
    /// Sorted by pack and offset.
    copies: ByKind<Vec<Copy>>,
    marked: Vec<IndexFile>,
}

/// One index file.
pub(super) struct FileRow {
    pub(super) id: Id,
    pub(super) blobs: usize,
    /// The packs that it names, without those marked for deletion.
    pub(super) packs: Vec<u32>,
    /// Whether it also names packs that rustic marked for deletion.
    pub(super) has_marked: bool,
}

/// One pack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PackRow {
    /// Its size; `None` when it is not there.
    pub(super) stored_bytes: Option<u64>,
    /// Whether an index names it, other than as marked for deletion.
    pub(super) is_indexed: bool,
    /// Whether rustic marked it for deletion.
    pub(super) is_marked: bool,
}

/// One blob in one pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Copy {
    pub(super) pack: u32,
    pub(super) offset: u32,
    /// Its position in the table of ids of its kind.
    pub(super) blob: u32,
    pub(super) bytes: u32,
    pub(super) raw_bytes: u32,
}

impl Copy {
    pub(super) fn place(&self) -> Place {
        Place { pack: self.pack, offset: self.offset, bytes: self.bytes, raw_bytes: self.raw_bytes }
    }
}

impl Inventory {
    /// Begins with the packs that are there.
    pub(super) fn new(listed: &[Listed]) -> Result<Self, Error> {
        let mut inventory = Self {
            index: Index::new(Places::Trees),
            files: Vec::new(),
            packs: Vec::new(),
            names: IdTable::new(),
            copies: ByKind::default(),
            marked: Vec::new(),
        };
        for pack in listed {
            let number = inventory.number(pack.id)?;
            inventory.packs[number as usize].stored_bytes = Some(pack.bytes);
        }
        Ok(inventory)
    }

    /// Adds what an index file says.
    pub(super) fn add(&mut self, id: Id, mut file: IndexFile) -> Result<(), Error> {
        let marked = file.to_delete.take();
        let mut row = FileRow { id, blobs: file.blobs.len(), packs: Vec::new(), has_marked: marked.is_some() };
        for pack in &file.packs {
            let number = self.number(*pack)?;
            self.packs[number as usize].is_indexed = true;
            row.packs.push(number);
        }
        self.files.push(row);
        self.marked.extend(marked.map(|marked| *marked));
        self.add_copies(file)
    }

    /// Ends the adding.
    pub(super) fn finish(mut self) -> Result<Self, Error> {
        for marked in std::mem::take(&mut self.marked) {
            for pack in &marked.packs {
                let number = self.number(*pack)?;
                self.packs[number as usize].is_marked = true;
            }
            self.add_copies(marked)?;
        }
        for kind in KINDS {
            let copies = self.copies.of_mut(kind);
            copies.sort_unstable();
            copies.dedup();
        }
        Ok(self)
    }

    fn add_copies(&mut self, mut file: IndexFile) -> Result<(), Error> {
        let numbers = file.packs.iter().map(|pack| self.number(*pack)).collect::<Result<Vec<u32>, _>>()?;
        let pack_of = |place: &Place| numbers[place.pack as usize];
        file.blobs.retain(|(_, _, place)| self.packs[pack_of(place) as usize].stored_bytes.is_some());
        self.index.add(&file)?;
        for (kind, id, place) in &file.blobs {
            let blob = self.ids(*kind).find(id).expect("it was added just now");
            let Place { offset, bytes, raw_bytes, .. } = *place;
            self.copies.of_mut(*kind).push(Copy { pack: pack_of(place), offset, blob, bytes, raw_bytes });
        }
        Ok(())
    }

    /// The number of a pack, which is new where it was not known.
    fn number(&mut self, pack: Id) -> Result<u32, Error> {
        let (number, is_new) = self.names.insert(pack)?;
        if is_new {
            self.packs.push(PackRow::default());
        }
        Ok(number)
    }

    /// The name of a pack.
    pub(super) fn pack_id(&self, pack: u32) -> Id {
        *self.names.id(pack)
    }

    /// The ids of the blobs of a kind, by their positions.
    pub(super) fn ids(&self, kind: BlobKind) -> &IdTable {
        match kind {
            BlobKind::Data => &self.index.data,
            BlobKind::Tree => &self.index.trees,
        }
    }

    /// All copies.
    pub(super) fn copies(&self) -> &ByKind<Vec<Copy>> {
        &self.copies
    }
}

/// The copies in one pack, and the position of the first.
pub(super) fn in_pack(copies: &[Copy], pack: u32) -> (usize, &[Copy]) {
    let start = copies.partition_point(|copy| copy.pack < pack);
    let rest = &copies[start..];
    (start, &rest[..rest.partition_point(|copy| copy.pack == pack)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> Id {
        Id::of(&[n])
    }

    fn file(packs: &[u8], blobs: &[(u32, u8)]) -> IndexFile {
        let place = |pack| Place { pack, offset: 0, bytes: 40, raw_bytes: 0 };
        IndexFile {
            packs: packs.iter().map(|n| id(*n)).collect(),
            blobs: blobs.iter().map(|(pack, n)| (BlobKind::Data, id(*n), place(*pack))).collect(),
            to_delete: None,
        }
    }

    #[test]
    fn a_pack_named_twice_counts_once_and_a_missing_one_holds_nothing() {
        let listed = [1, 9].map(|n| Listed { id: id(n), bytes: 100 });
        let mut inventory = Inventory::new(&listed).unwrap();
        inventory.add(id(100), file(&[1], &[(0, 50)])).unwrap();
        inventory.add(id(101), file(&[2, 1], &[(0, 51), (1, 50)])).unwrap();
        let inventory = inventory.finish().unwrap();
        assert_eq!(inventory.copies().data.len(), 1);
        assert!(inventory.index.data.find(&id(51)).is_none());
        let row = |stored_bytes, is_indexed| PackRow { stored_bytes, is_indexed, is_marked: false };
        assert_eq!(inventory.packs, [row(Some(100), true), row(Some(100), false), row(None, true)]);
        assert_eq!(inventory.files[1].packs, [2, 0]);
    }
}
