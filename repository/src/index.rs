//! The index: which blob lies where. Read once when a backup or a restore begins, written as packs are finished.
//!
//! 1. Ids are stored once, 32 bytes each, and found through a table of 4-byte positions: about 40 bytes for a known blob.
//! 2. Where a data blob lies is kept only by who reads files; a backup needs to know that it exists. Trees are few, their places are
//!    always kept.
//! 3. `packs_to_delete` (written by rustic) never counts as known, as blobs there are about to go. Only a prune looks at it.
//! 4. Index files never change, so what was read of them stays true while they are listed. When one is gone, somebody has pruned, and
//!    everything is read again ([`Index::update`]).
//! 5. A blob may lie in several packs, after two backups beside each other for example. One place is tried first, the others when that
//!    one is damaged; they are few and kept apart, so that a blob that lies in one pack costs nothing for it.

mod ids;
mod json;

use std::collections::{HashMap, HashSet};

use futures::{Stream, StreamExt, stream};

pub(crate) use ids::IdTable;
pub(crate) use json::IndexWriter;

use crate::backend::{File, FileKind};
use crate::chunked::Chunked;
use crate::error::Error;
use crate::id::Id;
use crate::pack::{BlobKind, Pack, PackedBlob, SEALED_BYTES_MIN};
use crate::unpacked::Sealed;

/// Index files decoded at the same time; each takes about 15 MB meanwhile.
const FILES_AT_ONCE: usize = 2;

/// Places kept of one blob besides the first. More copies than this help nobody, and an index that names one blob a million times must
/// not cost memory and time in proportion to the square.
const OTHER_PLACES_MAX: usize = 7;

/// Where a blob lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Position in the list of packs.
    pub(crate) pack: u32,
    pub(crate) offset: u32,
    /// Bytes in the pack, sealed.
    pub(crate) bytes: u32,
    /// Bytes before compression, 0 when it is not compressed.
    pub(crate) raw_bytes: u32,
}

impl Place {
    /// The first byte behind it in the pack.
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.bytes)
    }

    /// Bytes of the blob's text. No index is accepted with a blob shorter than its seal.
    pub(crate) fn text_bytes(&self) -> u64 {
        match self.raw_bytes {
            0 => u64::from(self.bytes.saturating_sub(SEALED_BYTES_MIN)),
            raw => raw.into(),
        }
    }
}

/// Which blobs' places are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Places {
    /// Those of trees; of data only that they exist.
    Trees,
    /// Those of all blobs.
    All,
}

/// All blobs of a repository.
pub(crate) struct Index {
    kept: Places,
    pub(crate) data: IdTable,
    pub(crate) trees: IdTable,
    data_places: Chunked<Place>,
    tree_places: Chunked<Place>,
    /// Of blobs that lie in several packs, where they lie besides the first place.
    others: HashMap<(BlobKind, Id), Vec<Place>>,
    packs: Vec<Id>,
    /// The index files that it was read from.
    files: HashSet<Id>,
    /// An index file that could not be read: what it names is missing here.
    unreadable: Option<(Id, String)>,
}

/// What one index file says, in its order: a blob's [`Place::pack`] is a position in `packs`.
#[derive(Default)]
pub(crate) struct IndexFile {
    pub(crate) packs: Vec<Id>,
    /// All blobs, those of one pack beside each other.
    pub(crate) blobs: Vec<(BlobKind, Id, Place)>,
    /// What the file says of packs that rustic has marked for deletion, in the same form.
    pub(crate) to_delete: Option<Box<IndexFile>>,
}

/// All index files of a repository, in any order, each with what it says or why it cannot be read.
///
/// # Errors
/// Storage errors while listing. Those while reading stand beside the file's name.
pub(crate) async fn files(
    sealed: &Sealed,
) -> Result<impl Stream<Item = (Id, Result<IndexFile, Error>)> + use<'_>, Error> {
    Ok(load_files(sealed, names(sealed).await?))
}

async fn names(sealed: &Sealed) -> Result<HashSet<Id>, Error> {
    Ok(sealed.backend.list(FileKind::Index).await?.into_iter().map(|file| file.id).collect())
}

fn load_files(
    sealed: &Sealed,
    names: impl IntoIterator<Item = Id>,
) -> impl Stream<Item = (Id, Result<IndexFile, Error>)> {
    let loaded = names.into_iter().map(move |id| async move { (id, load_file(sealed.clone(), id).await) });
    stream::iter(loaded).buffer_unordered(FILES_AT_ONCE.min(sealed.backend.connections()))
}

/// What a backup has added to the index.
#[derive(Default)]
pub(crate) struct Written {
    /// The index files that it stored.
    pub(crate) files: Vec<Id>,
    /// The packs of trees in them.
    pub(crate) trees: IndexFile,
}

impl Written {
    /// Takes note of the places of trees; data packs leave nothing here.
    pub(crate) fn add(&mut self, pack: &Pack) -> Result<(), Error> {
        if pack.kind == BlobKind::Data {
            return Ok(());
        }
        let too_large = |_| Error::TooLarge { what: "the number of packs", limit: u32::MAX.into() };
        let position = u32::try_from(self.trees.packs.len()).map_err(too_large)?;
        let mut offset = 0;
        for PackedBlob { id, bytes, raw_bytes } in pack.blobs.iter().copied() {
            self.trees.blobs.push((BlobKind::Tree, id, Place { pack: position, offset, bytes, raw_bytes }));
            offset += bytes;
        }
        self.trees.packs.push(pack.id);
        Ok(())
    }
}

impl Index {
    pub(crate) fn new(kept: Places) -> Self {
        Self {
            kept,
            data: IdTable::new(),
            trees: IdTable::new(),
            data_places: Chunked::new(),
            tree_places: Chunked::new(),
            others: HashMap::new(),
            packs: Vec::new(),
            files: HashSet::new(),
            unreadable: None,
        }
    }

    /// Reads all index files of a repository, and passes over those that are damaged. For who only reads: what they know is missing
    /// then, and nothing else is.
    pub(crate) async fn load_readable(sealed: &Sealed) -> Result<Self, Error> {
        let mut files = std::pin::pin!(files(sealed).await?);
        let mut index = Self::new(Places::All);
        while let Some((id, file)) = files.next().await {
            index.files.insert(id);
            match file {
                Ok(file) => index.add(&file)?,
                Err(Error::Damaged { what, .. }) => index.unreadable = Some((id, what)),
                Err(storage) => return Err(storage),
            }
        }
        Ok(index)
    }

    /// The index as it is now, reading only the files that were added since.
    pub(crate) async fn update(self, sealed: &Sealed) -> Result<Self, Error> {
        let names = names(sealed).await?;
        let mut index = if self.files.is_subset(&names) { self } else { Self::new(self.kept) };
        let added: Vec<Id> = names.difference(&index.files).copied().collect();
        let mut files = std::pin::pin!(load_files(sealed, added));
        while let Some((id, file)) = files.next().await {
            index.add(&file?)?;
            index.files.insert(id);
        }
        Ok(index)
    }

    /// Whether it is the index as it is now. One request.
    pub(crate) async fn is_current(&self, sealed: &Sealed) -> Result<bool, Error> {
        Ok(names(sealed).await? == self.files)
    }

    /// Takes note of an index file that this process has stored, and of the trees in it. Their data blobs are entered by whoever
    /// stored them.
    pub(crate) fn note_stored(&mut self, written: &Written) -> Result<(), Error> {
        self.add(&written.trees)?;
        self.files.extend(&written.files);
        Ok(())
    }

    /// Adds what a file says. A blob that is known already keeps its place, and has another one.
    pub(crate) fn add(&mut self, file: &IndexFile) -> Result<(), Error> {
        let too_large = |_| Error::TooLarge { what: "the number of packs", limit: u32::MAX.into() };
        let first_pack = u32::try_from(self.packs.len() + file.packs.len())
            .map(|all| all - u32::try_from(file.packs.len()).expect("less than all"))
            .map_err(too_large)?;
        self.packs.extend_from_slice(&file.packs);
        for (kind, id, place) in &file.blobs {
            let place = Place { pack: first_pack + place.pack, ..*place };
            let (ids, places, keep) = match kind {
                BlobKind::Data => (&mut self.data, &mut self.data_places, self.kept == Places::All),
                BlobKind::Tree => (&mut self.trees, &mut self.tree_places, true),
            };
            match ids.insert(*id)? {
                _ if !keep => {}
                (_, true) => places.push(place),
                (position, false) => {
                    let first = places.get(position).copied();
                    self.note_other((*kind, *id), first, place);
                }
            }
        }
        Ok(())
    }

    /// Keeps another place of a blob, unless two index files say the same.
    fn note_other(&mut self, blob: (BlobKind, Id), first: Option<Place>, other: Place) {
        let named = |place: &Place| (self.packs[place.pack as usize], Place { pack: 0, ..*place });
        let others = self.others.get(&blob).map_or(&[][..], Vec::as_slice);
        let is_known = first.iter().chain(others).any(|known| named(known) == named(&other));
        if !is_known && others.len() < OTHER_PLACES_MAX {
            self.others.entry(blob).or_default().push(other);
        }
    }

    /// Where a blob lies, and the name of the pack; `None` when it is not in the index.
    ///
    /// For data, only if their places are kept.
    pub(crate) fn place(&self, kind: BlobKind, id: &Id) -> Option<(Id, Place)> {
        let place = match kind {
            BlobKind::Data => self.data_places.get(self.data.find(id)?),
            BlobKind::Tree => self.tree_places.get(self.trees.find(id)?),
        }?;
        Some((self.packs[place.pack as usize], *place))
    }

    /// Where else the same blob lies, and the names of the packs. Empty for nearly all blobs.
    pub(crate) fn other_places(&self, kind: BlobKind, id: &Id) -> impl Iterator<Item = (Id, Place)> + use<'_> {
        let others = self.others.get(&(kind, *id)).map_or(&[][..], Vec::as_slice);
        others.iter().map(|place| (self.packs[place.pack as usize], *place))
    }

    /// Bytes of a blob before compression and sealing; `None` when it is not in the index.
    pub(crate) fn text_bytes(&self, kind: BlobKind, id: &Id) -> Option<u64> {
        Some(self.place(kind, id)?.1.text_bytes())
    }

    /// Where the data blob at a position of [`Index::data`] lies; only if places of data are kept.
    pub(crate) fn data_place(&self, position: u32) -> Option<Place> {
        self.data_places.get(position).copied()
    }

    /// Distinct blobs.
    pub(crate) fn blobs(&self) -> usize {
        self.data.len() + self.trees.len()
    }

    /// What is damaged, and how, when a blob is not in the index. Where an index file could not be read, it is that file.
    pub(crate) fn missing(&self, kind: BlobKind, id: Id) -> (String, String) {
        match &self.unreadable {
            Some((file, why)) => (File::Named(FileKind::Index, *file).to_string(), why.clone()),
            None => (format!("{} {id}", kind.name()), "no index names it".to_owned()),
        }
    }

    /// The same as an error.
    pub(crate) fn not_indexed(&self, kind: BlobKind, id: Id) -> Error {
        let (file, what) = self.missing(kind, id);
        Error::Damaged { file, what }
    }

    /// The name of a pack.
    pub(crate) fn pack(&self, position: u32) -> Id {
        self.packs[position as usize]
    }
}

/// What the text of an index file says.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn decode(id: Id, json: &[u8]) -> Result<IndexFile, Error> {
    json::read(id, json)
}

async fn load_file(sealed: Sealed, id: Id) -> Result<IndexFile, Error> {
    let content = sealed.backend.get(File::Named(FileKind::Index, id)).await?;
    let decode = move || json::read(id, &sealed.open(FileKind::Index, id, &content)?);
    tokio::task::spawn_blocking(decode).await.map_err(Error::interrupted("reading an index"))?
}
