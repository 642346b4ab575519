//! The index: which blob lies where. Read once when a backup or a restore begins, written as packs are finished.
//!
//! 1. Ids are stored once, 32 bytes each, and found through a table of 4-byte positions: about 40 bytes for a known blob.
//! 2. Where a data blob lies is kept only by who reads files; a backup needs to know that it exists. Trees are few, their places are
//!    always kept.
//! 3. `packs_to_delete` (written by rustic) is passed over: blobs there are about to go and never count as known.

mod ids;
mod json;

use futures::{Stream, StreamExt, stream};

pub(crate) use ids::IdTable;
pub(crate) use json::IndexWriter;

use crate::backend::FileKind;
use crate::chunked::Chunked;
use crate::error::Error;
use crate::id::Id;
use crate::pack::BlobKind;
use crate::unpacked::Sealed;

/// Index files decoded at the same time; each takes about 15 MB meanwhile.
const FILES_AT_ONCE: usize = 2;

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
    packs: Vec<Id>,
}

/// What one index file says, in its order: a blob's [`Place::pack`] is a position in `packs`.
#[derive(Default)]
pub(crate) struct IndexFile {
    pub(crate) packs: Vec<Id>,
    /// All blobs, those of one pack beside each other.
    pub(crate) blobs: Vec<(BlobKind, Id, Place)>,
}

/// All index files of a repository, in any order, each with what it says or why it cannot be read.
///
/// # Errors
/// Storage errors while listing. Those while reading stand beside the file's name.
pub(crate) async fn files(
    sealed: &Sealed,
) -> Result<impl Stream<Item = (Id, Result<IndexFile, Error>)> + use<'_>, Error> {
    let files = sealed.backend.list(FileKind::Index).await?;
    let loaded = files.into_iter().map(move |file| async move { (file.id, load_file(sealed.clone(), file.id).await) });
    Ok(stream::iter(loaded).buffer_unordered(FILES_AT_ONCE.min(sealed.backend.connections())))
}

impl Index {
    pub(crate) fn new(kept: Places) -> Self {
        Self {
            kept,
            data: IdTable::new(),
            trees: IdTable::new(),
            data_places: Chunked::new(),
            tree_places: Chunked::new(),
            packs: Vec::new(),
        }
    }

    /// Reads all index files of a repository.
    pub(crate) async fn load(sealed: &Sealed, kept: Places) -> Result<Self, Error> {
        let mut files = std::pin::pin!(files(sealed).await?);
        let mut index = Self::new(kept);
        while let Some((_, file)) = files.next().await {
            index.add(&file?)?;
        }
        Ok(index)
    }

    /// Adds what a file says. A blob that is known already keeps its place.
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
            if ids.insert(*id)?.1 && keep {
                places.push(place);
            }
        }
        Ok(())
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

    /// The name of a pack.
    pub(crate) fn pack(&self, position: u32) -> Id {
        self.packs[position as usize]
    }
}

async fn load_file(sealed: Sealed, id: Id) -> Result<IndexFile, Error> {
    let content = sealed.backend.get(crate::backend::File::Named(FileKind::Index, id)).await?;
    let decode = move || json::read(id, &sealed.open(FileKind::Index, id, &content)?);
    tokio::task::spawn_blocking(decode).await.map_err(Error::interrupted("reading an index"))?
}
