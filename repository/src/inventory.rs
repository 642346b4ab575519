//! What all index files say, pack by pack: for those who look after packs (check, repair) rather than for blobs.
//!
//! 1. An index file that is damaged does not end the reading; it is named, and what it would have said is missing.
//! 2. A pack may stand in several index files. Equal entries count once; others stay beside each other, and the pack has no valid
//!    [`layout`](Inventory::layout) then.
//! 3. A blob may lie in several packs. The [`Index`] knows one place of it, the inventory all of them.
//! 4. What rustic marked for deletion (`packs_to_delete`) is only known by name.
//! 5. **Memory**: 24 bytes for each place of a blob, 60 for each pack, besides the index.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use futures::StreamExt;

use crate::error::Error;
use crate::id::Id;
use crate::index::{self, IdTable, Index, IndexFile, Place, Places};
use crate::pack::BlobKind;
use crate::pack::header::{self, ListedBlob};
use crate::unpacked::Sealed;

/// All index files of a repository.
pub(crate) struct Inventory {
    pub(crate) index: Index,
    /// The index files that could be read.
    pub(crate) files: Vec<IndexFileRow>,
    /// Those that could not, and why.
    pub(crate) damaged: Vec<(Id, String)>,
    /// Packs that rustic marked for deletion.
    marked: HashSet<Id>,
    packs: Vec<PackRow>,
    numbers: HashMap<Id, u32>,
    entries: Vec<Entry>,
}

/// One index file.
pub(crate) struct IndexFileRow {
    pub(crate) id: Id,
    /// The numbers of the packs that it names.
    pub(crate) packs: Vec<u32>,
}

struct PackRow {
    id: Id,
    entries: Range<usize>,
}

/// One blob in one pack.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    pack: u32,
    offset: u32,
    bytes: u32,
    raw_bytes: u32,
    /// Position in the index's table of this kind.
    blob: u32,
    kind: BlobKind,
}

impl Inventory {
    /// That of a repository without an index.
    pub(crate) fn empty() -> Self {
        Self {
            index: Index::new(Places::All),
            files: Vec::new(),
            damaged: Vec::new(),
            marked: HashSet::new(),
            packs: Vec::new(),
            numbers: HashMap::new(),
            entries: Vec::new(),
        }
    }

    /// Reads all index files.
    ///
    /// # Errors
    /// Storage errors. Damage stands in [`Inventory::damaged`].
    pub(crate) async fn load(sealed: &Sealed) -> Result<Self, Error> {
        let mut inventory = Self::empty();
        let mut files = std::pin::pin!(index::files(sealed).await?);
        while let Some((id, file)) = files.next().await {
            match file {
                Ok(file) => inventory.add(id, &file)?,
                Err(Error::Damaged { what, .. }) => inventory.damaged.push((id, what)),
                Err(storage) => return Err(storage),
            }
        }
        inventory.sort();
        Ok(inventory)
    }

    /// The inventory of these index files.
    #[cfg(test)]
    pub(crate) fn of(files: impl IntoIterator<Item = (Id, IndexFile)>) -> Result<Self, Error> {
        let mut inventory = Self::empty();
        for (id, file) in files {
            inventory.add(id, &file)?;
        }
        inventory.sort();
        Ok(inventory)
    }

    fn add(&mut self, id: Id, file: &IndexFile) -> Result<(), Error> {
        let mut numbers = Vec::with_capacity(file.packs.len());
        for pack in &file.packs {
            numbers.push(self.take_number(*pack)?);
        }
        self.index.add(file)?;
        for (kind, blob, place) in &file.blobs {
            let position = self.table(*kind).find(blob).expect("the index has just taken it");
            self.entries.push(Entry {
                pack: numbers[place.pack as usize],
                offset: place.offset,
                bytes: place.bytes,
                raw_bytes: place.raw_bytes,
                blob: position,
                kind: *kind,
            });
        }
        self.marked.extend(file.to_delete.iter().flat_map(|marked| &marked.packs));
        numbers.sort_unstable();
        numbers.dedup();
        self.files.push(IndexFileRow { id, packs: numbers });
        Ok(())
    }

    fn take_number(&mut self, pack: Id) -> Result<u32, Error> {
        let next = u32::try_from(self.packs.len())
            .map_err(|_| Error::TooLarge { what: "the number of packs", limit: u32::MAX.into() })?;
        let number = *self.numbers.entry(pack).or_insert(next);
        if number == next {
            self.packs.push(PackRow { id: pack, entries: 0..0 });
        }
        Ok(number)
    }

    fn sort(&mut self) {
        self.entries.sort_unstable();
        self.entries.dedup();
        let mut start = 0;
        for stretch in self.entries.chunk_by(|a, b| a.pack == b.pack) {
            let end = start + stretch.len();
            self.packs[stretch[0].pack as usize].entries = start..end;
            start = end;
        }
    }

    fn table(&self, kind: BlobKind) -> &IdTable {
        match kind {
            BlobKind::Data => &self.index.data,
            BlobKind::Tree => &self.index.trees,
        }
    }

    /// The numbers of all packs.
    pub(crate) fn packs(&self) -> Range<u32> {
        0..u32::try_from(self.packs.len()).expect("packs are counted when they are added")
    }

    /// The number of a pack, `None` when no index file names it.
    pub(crate) fn number(&self, pack: &Id) -> Option<u32> {
        self.numbers.get(pack).copied()
    }

    /// Whether rustic marked a pack for deletion.
    pub(crate) fn is_marked(&self, pack: &Id) -> bool {
        self.marked.contains(pack)
    }

    /// The name of a pack.
    pub(crate) fn pack(&self, number: u32) -> Id {
        self.packs[number as usize].id
    }

    /// The places of blobs, those of duplicates included.
    pub(crate) fn places(&self) -> usize {
        self.entries.len()
    }

    /// What the index files say of a pack, by offset.
    pub(crate) fn blobs(&self, number: u32) -> impl ExactSizeIterator<Item = ListedBlob> + '_ {
        self.entries[self.packs[number as usize].entries.clone()].iter().map(|entry| ListedBlob {
            offset: entry.offset,
            bytes: entry.bytes,
            raw_bytes: entry.raw_bytes,
            kind: entry.kind,
            id: *self.table(entry.kind).id(entry.blob),
        })
    }

    /// The size that a pack must have by what the index files say of it.
    ///
    /// # Errors
    /// Why that is no pack: its blobs do not follow each other without gap and overlap from its beginning.
    pub(crate) fn layout(&self, number: u32) -> Result<u64, &'static str> {
        let entries = &self.entries[self.packs[number as usize].entries.clone()];
        let mut end = 0_u64;
        for entry in entries {
            match u64::from(entry.offset).cmp(&end) {
                std::cmp::Ordering::Less => return Err("by the index, blobs in it overlap"),
                std::cmp::Ordering::Greater => return Err("the index does not name all blobs in it"),
                std::cmp::Ordering::Equal => end += u64::from(entry.bytes),
            }
        }
        Ok(end + self.end_bytes(number))
    }

    /// Bytes of a pack's header with its length, by what the index files say of it.
    pub(crate) fn end_bytes(&self, number: u32) -> u64 {
        let entries = &self.entries[self.packs[number as usize].entries.clone()];
        header::end_bytes(entries.iter().map(|entry| entry.raw_bytes != 0))
    }
}

impl ListedBlob {
    /// Where it lies, for who decodes it. The number of the pack means nothing there.
    pub(crate) fn place(&self) -> Place {
        Place { pack: 0, offset: self.offset, bytes: self.bytes, raw_bytes: self.raw_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Blobs<'a> = &'a [(u8, u32, u32)];
    type File<'a> = &'a [(&'a [u8], Blobs<'a>)];

    fn inventory(files: &[File<'_>]) -> Inventory {
        let place = |pack, offset, bytes| Place { pack, offset, bytes, raw_bytes: 0 };
        let file = |packs: File<'_>| {
            let blobs = |(at, (_, blobs)): (u32, &(&[u8], Blobs<'_>))| {
                let blob =
                    |(n, offset, bytes): &(u8, u32, u32)| (BlobKind::Data, Id::of(&[*n]), place(at, *offset, *bytes));
                blobs.iter().map(blob).collect::<Vec<_>>()
            };
            IndexFile {
                packs: packs.iter().map(|(pack, _)| Id::of(pack)).collect(),
                blobs: (0..).zip(packs).flat_map(blobs).collect(),
                to_delete: None,
            }
        };
        Inventory::of((0..).zip(files).map(|(n, packs): (u8, _)| (Id::of(&[n]), file(packs)))).unwrap()
    }

    #[test]
    fn packs_are_told_apart_and_duplicates_keep_both_places() {
        let found =
            inventory(&[&[(b"p", &[(2, 40, 50), (1, 0, 40)]), (b"q", &[(1, 0, 40)])], &[(b"r", &[(3, 0, 32)])]]);
        assert_eq!((found.packs(), found.places(), found.files[0].packs.as_slice()), (0..3, 4, &[0, 1][..]));
        let number = found.number(&Id::of(b"p")).unwrap();
        let ids: Vec<Id> = found.blobs(number).map(|blob| blob.id).collect();
        assert_eq!((found.pack(number), ids), (Id::of(b"p"), vec![Id::of(&[1]), Id::of(&[2])]));
        assert_eq!(found.layout(number), Ok(90 + 2 * 37 + 36));
        assert_eq!(found.layout(found.number(&Id::of(b"q")).unwrap()), Ok(40 + 37 + 36));
        assert_eq!(found.number(&Id::of(b"x")), None);
    }

    #[test]
    fn a_pack_in_two_files_counts_once_if_they_agree() {
        let same: File<'_> = &[(b"p", &[(1, 0, 40), (2, 40, 50)])];
        let agreed = inventory(&[same, same]);
        assert_eq!((agreed.packs(), agreed.places(), agreed.layout(0)), (0..1, 2, Ok(90 + 2 * 37 + 36)));
        let other: File<'_> = &[(b"p", &[(1, 0, 41)])];
        assert_eq!(inventory(&[same, other]).layout(0), Err("by the index, blobs in it overlap"));
        assert!(inventory(&[&[(b"p", &[(1, 1, 40)])]]).layout(0).is_err());
    }
}
