//! Reading: blobs, folders, files.
//!
//! 1. A blob counts only when it has the hash that is its name, whatever storage and seal say.
//! 2. Lengths come from an index, which may be damaged: they are checked before memory is given.
//! 3. The index is loaded once and kept. A blob that it does not know makes it load once more, as somebody may have added one since.

use std::sync::Arc;

use bytes::Bytes;

use crate::backend::{File, FileKind};
use crate::codec::Decoder;
use crate::crypto::Key;
use crate::error::Error;
use crate::id::Id;
use crate::index::{Index, Place, Places};
use crate::pack::BlobKind;
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::tree::{self, Node, NodeKind};
use crate::unpacked::Sealed;

/// Largest blob before compression. Data blobs have at most 8 MiB; the tree of a folder with a million entries has half of this.
const BLOB_BYTES_MAX: u32 = 1 << 30;

/// Folders within folders; file systems end far earlier, so this is a loop or an attack.
const DEPTH_MAX: usize = 4096;

/// One entry of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The absolute path, for example `/tmp/resources/Pod/web.yaml`; bytes that are no text are shown as `U+FFFD`.
    pub path: String,
    /// What lies there.
    pub node: Node,
}

impl Repository {
    /// Calls `visit` for every entry at or below `path`, folders before what they hold, names in ascending order. `path` is
    /// absolute as the snapshot shows it; `/` or nothing means all.
    ///
    /// # Errors
    /// [`Error::PathNotFound`] when there is nothing at `path`; [`Error::Damaged`]; storage errors; whatever `visit` returns.
    pub async fn walk(
        &self,
        snapshot: &Snapshot,
        path: &str,
        mut visit: impl FnMut(Entry) -> Result<(), Error> + Send,
    ) -> Result<(), Error> {
        let mut visit = |path: &[u8], node| visit(Entry { path: String::from_utf8_lossy(path).into_owned(), node });
        self.walk_bytes(snapshot, path, &mut visit).await
    }

    /// The same with paths as they are: names need not be text.
    pub(crate) async fn walk_bytes(
        &self,
        snapshot: &Snapshot,
        path: &str,
        visit: &mut (impl FnMut(&[u8], Node) -> Result<(), Error> + Send),
    ) -> Result<(), Error> {
        let index = self.index().await?;
        let Some((path, node)) = self.find(&index, snapshot, path).await? else {
            return self.walk_below(&index, snapshot.tree, Vec::new(), visit).await;
        };
        let subtree = node.subtree.filter(|_| node.kind == NodeKind::Dir);
        visit(path.as_bytes(), node)?;
        match subtree {
            Some(tree) => self.walk_below(&index, tree, path.into_bytes(), visit).await,
            None => Ok(()),
        }
    }

    async fn walk_below(
        &self,
        index: &Index,
        tree: Id,
        path: Vec<u8>,
        visit: &mut (impl FnMut(&[u8], Node) -> Result<(), Error> + Send),
    ) -> Result<(), Error> {
        let mut open = vec![(path, self.load_tree(index, tree).await?.into_iter())];
        while let Some((path, nodes)) = open.last_mut() {
            let Some(node) = nodes.next() else {
                open.pop();
                continue;
            };
            let path = [path, &b"/"[..], &node.name].concat();
            let subtree = node.subtree.filter(|_| node.kind == NodeKind::Dir);
            visit(&path, node)?;
            if let Some(subtree) = subtree {
                if open.len() == DEPTH_MAX {
                    return Err(Error::damaged(format_args!("tree {subtree}"), "folders are nested too deeply"));
                }
                open.push((path, self.load_tree(index, subtree).await?.into_iter()));
            }
        }
        Ok(())
    }

    /// All entries at or below `path`, in the order of [`Repository::walk`].
    ///
    /// # Errors
    /// Those of [`Repository::walk`].
    pub async fn list(&self, snapshot: &Snapshot, path: &str) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        self.walk(snapshot, path, |entry| {
            entries.push(entry);
            Ok(())
        })
        .await?;
        Ok(entries)
    }

    /// The content of the file at an absolute path.
    ///
    /// # Errors
    /// [`Error::PathNotFound`] when there is no file at `path`; [`Error::Damaged`]; storage errors.
    pub async fn read_file(&self, snapshot: &Snapshot, path: &str) -> Result<Vec<u8>, Error> {
        let index = self.index().await?;
        let node = self.find(&index, snapshot, path).await?.map(|(_, node)| node).filter(|n| n.kind == NodeKind::File);
        let node = node.ok_or_else(|| Error::PathNotFound { wanted: "file", path: path.to_owned() })?;
        let mut content = Vec::new();
        for id in &node.content {
            content.extend_from_slice(&self.load_blob(&index, BlobKind::Data, *id).await?);
        }
        Ok(content)
    }

    /// The node at a path, and the path in its plain form; `None` for the root itself.
    async fn find(&self, index: &Index, snapshot: &Snapshot, path: &str) -> Result<Option<(String, Node)>, Error> {
        let not_found = || Error::PathNotFound { wanted: "entry", path: path.to_owned() };
        let (mut tree, mut found) = (Some(snapshot.tree), None);
        let mut at = String::new();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let nodes = self.load_tree(index, tree.ok_or_else(not_found)?).await?;
            let node = nodes.into_iter().find(|node| node.name == name.as_bytes()).ok_or_else(not_found)?;
            at = format!("{at}/{name}");
            tree = node.subtree;
            found = Some((at.clone(), node));
        }
        Ok(found)
    }

    /// The index with all places, loaded at the first call.
    pub(crate) async fn index(&self) -> Result<Arc<Index>, Error> {
        let mut loaded = self.shared.index.lock().await;
        if let Some(index) = &*loaded {
            return Ok(Arc::clone(index));
        }
        let index = Arc::new(Index::load(&self.shared.sealed, Places::All).await?);
        *loaded = Some(Arc::clone(&index));
        Ok(index)
    }

    /// Forgets the index, so that the next read sees what was added since.
    pub(crate) async fn forget_index(&self) {
        *self.shared.index.lock().await = None;
    }

    async fn load_tree(&self, index: &Index, id: Id) -> Result<Vec<Node>, Error> {
        tree::decode(id, &self.load_blob(index, BlobKind::Tree, id).await?)
    }

    async fn load_blob(&self, index: &Index, kind: BlobKind, id: Id) -> Result<Vec<u8>, Error> {
        match load_blob(&self.shared.sealed, index, kind, id).await {
            Err(Error::Damaged { what, .. }) if what == NOT_INDEXED => {
                self.forget_index().await;
                load_blob(&self.shared.sealed, &*self.index().await?, kind, id).await
            }
            loaded => loaded,
        }
    }
}

/// What is said of a blob that no index names.
const NOT_INDEXED: &str = "no index names it";

/// Loads one blob.
pub(crate) async fn load_blob(sealed: &Sealed, index: &Index, kind: BlobKind, id: Id) -> Result<Vec<u8>, Error> {
    let (pack, place) = index.place(kind, &id).ok_or_else(|| not_indexed(kind, id))?;
    let file = File::Named(FileKind::Pack, pack);
    let content = sealed.backend.get_range(file, place.offset.into(), place.bytes).await?;
    let mut text = Vec::new();
    BlobDecoder::new(sealed.key.clone())?.decode(kind, id, pack, place, &content, &mut text)?;
    Ok(text)
}

pub(crate) fn not_indexed(kind: BlobKind, id: Id) -> Error {
    Error::damaged(format_args!("{} {id}", kind.name()), NOT_INDEXED)
}

/// Opens sealed blobs, with buffers that serve many.
pub(crate) struct BlobDecoder {
    key: Key,
    zstd: Decoder,
    opened: Vec<u8>,
}

impl BlobDecoder {
    pub(crate) fn new(key: Key) -> Result<Self, Error> {
        Ok(Self { key, zstd: Decoder::new()?, opened: Vec::new() })
    }

    /// Decodes a blob into `text`, which is overwritten.
    pub(crate) fn decode(
        &mut self,
        kind: BlobKind,
        id: Id,
        pack: Id,
        place: Place,
        sealed: &Bytes,
        text: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let damaged = |what: &str| {
            let file = File::Named(FileKind::Pack, pack);
            Error::damaged_file(file, format_args!("{} blob {id} at {}: {what}", kind.name(), place.offset))
        };
        if place.raw_bytes == 0 {
            self.key.open_into(sealed, text).map_err(|_| damaged("it is not sealed with the repository's key"))?;
        } else {
            if place.raw_bytes > BLOB_BYTES_MAX {
                return Err(damaged("the index gives it an impossible length"));
            }
            self.key
                .open_into(sealed, &mut self.opened)
                .map_err(|_| damaged("it is not sealed with the repository's key"))?;
            let decompressed = self.zstd.decompress_exact(&self.opened, text, place.raw_bytes as usize);
            decompressed.ok_or_else(|| damaged("it does not decompress to its length"))?;
        }
        if Id::of(text) == id { Ok(()) } else { Err(damaged("its content does not have the hash that is its name")) }
    }
}
