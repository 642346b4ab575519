//! Reading: blobs, folders, files.
//!
//! 1. A blob counts only when it has the hash that is its name, whatever storage and seal say.
//! 2. Lengths come from an index, which may be damaged: they are checked before memory is given.
//! 3. The index is loaded once and kept as long as its files are those of the repository. That is asked at the beginning of each call,
//!    and when a blob is not in it, as somebody may have added one since.
//! 4. A blob that lies in several packs is read from the next one where it is damaged.
//! 5. An index file that is damaged costs the blobs that only it names: they are reported as lost with that file, the others are read.
//! 6. A walk reads trees ahead, level by level, many with one request; how many is bounded ([`ENTRIES_AHEAD_MAX`]).

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;

use crate::backend::{File, FileKind};
use crate::codec::Decoder;
use crate::crypto::Key;
use crate::error::Error;
use crate::fetch;
use crate::id::Id;
use crate::index::{Index, Place};
use crate::pack::BlobKind;
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::tree::{self, Node, NodeKind};
use crate::unpacked::Sealed;

/// Largest blob before compression. Data blobs have at most 8 MiB; the tree of a folder with a million entries has half of this.
const BLOB_BYTES_MAX: u32 = 1 << 30;

/// Folders within folders; file systems end far earlier, so this is a loop or an attack.
pub(crate) const DEPTH_MAX: usize = 4096;

/// Entries of folders after which a walk reads no further ahead; with names and ids about 200 bytes each.
const ENTRIES_AHEAD_MAX: usize = 50_000;

/// Trees that a walk reads ahead at once: a folder with more folders than this is read in parts.
const TREES_AT_ONCE_MAX: usize = 2_000;

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
        let mut visit = |path: &[u8], node: Result<Node, Error>| {
            visit(Entry { path: String::from_utf8_lossy(path).into_owned(), node: node? })
        };
        self.walk_bytes(snapshot, path, &mut visit).await
    }

    /// The same with paths as they are: names need not be text. Of a folder whose tree is damaged `visit` is told after it was told of
    /// the folder itself; the walk goes on if it returns no error.
    pub(crate) async fn walk_bytes(
        &self,
        snapshot: &Snapshot,
        path: &str,
        visit: &mut (impl FnMut(&[u8], Result<Node, Error>) -> Result<(), Error> + Send),
    ) -> Result<(), Error> {
        let index = self.index().await?;
        let Some((path, node)) = self.locate(&index, snapshot, path).await? else {
            return self.walk_below(&index, snapshot.tree, Vec::new(), visit).await;
        };
        let subtree = node.subtree.filter(|_| node.kind == NodeKind::Dir);
        visit(path.as_bytes(), Ok(node))?;
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
        visit: &mut (impl FnMut(&[u8], Result<Node, Error>) -> Result<(), Error> + Send),
    ) -> Result<(), Error> {
        let (mut ahead, mut open) = (HashMap::new(), Vec::new());
        match self.tree_ahead(index, tree, &[], &mut ahead).await {
            Ok(nodes) => open.push((path, nodes.into_iter())),
            Err(damage @ Error::Damaged { .. }) => visit(&path, Err(damage))?,
            Err(storage) => return Err(storage),
        }
        while let Some((path, nodes)) = open.last_mut() {
            let Some(node) = nodes.next() else {
                open.pop();
                continue;
            };
            let path = [path, &b"/"[..], &node.name].concat();
            let subtree = node.subtree.filter(|_| node.kind == NodeKind::Dir);
            visit(&path, Ok(node))?;
            let Some(subtree) = subtree else {
                continue;
            };
            let nodes = self.tree_ahead(index, subtree, nodes.as_slice(), &mut ahead).await;
            if open.len() == DEPTH_MAX {
                return Err(too_deep(subtree));
            }
            match nodes {
                Ok(nodes) => open.push((path, nodes.into_iter())),
                Err(damage @ Error::Damaged { .. }) => visit(&path, Err(damage))?,
                Err(storage) => return Err(storage),
            }
        }
        Ok(())
    }

    /// The nodes of a tree: one that was read ahead, or else it is read together with the folders that will be visited next, those
    /// among its siblings `later` and those below all of them.
    async fn tree_ahead(
        &self,
        index: &Index,
        id: Id,
        later: &[Node],
        ahead: &mut HashMap<Id, Vec<Node>>,
    ) -> Result<Vec<Node>, Error> {
        if let Some(nodes) = ahead.remove(&id) {
            return Ok(nodes);
        }
        let mut entries: usize = ahead.values().map(Vec::len).sum();
        if entries >= ENTRIES_AHEAD_MAX / 2 {
            // What was read ahead comes later than what is missing now.
            ahead.clear();
            entries = 0;
        }
        let mut level = vec![id];
        level.extend(tree::subtrees(later).take(TREES_AT_ONCE_MAX));
        while !level.is_empty() && entries < ENTRIES_AHEAD_MAX {
            let mut next = Vec::new();
            level.sort_unstable();
            level.dedup();
            let blobs = fetch::blobs(&self.shared.sealed, index, BlobKind::Tree, std::mem::take(&mut level));
            let mut blobs = std::pin::pin!(blobs);
            while let Some((id, json)) = blobs.try_next().await? {
                // What is damaged or not indexed is reported when its turn comes, if it comes.
                let Ok(nodes) = json.and_then(|json| tree::decode(id, &json)) else { continue };
                entries += nodes.len();
                next.extend(tree::subtrees(&nodes).filter(|subtree| !ahead.contains_key(subtree)));
                ahead.insert(id, nodes);
                if entries >= ENTRIES_AHEAD_MAX {
                    break;
                }
            }
            next.truncate(TREES_AT_ONCE_MAX);
            level = next;
        }
        match ahead.remove(&id) {
            Some(nodes) => Ok(nodes),
            None => self.load_tree(index, id).await,
        }
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
        let node =
            self.locate(&index, snapshot, path).await?.map(|(_, node)| node).filter(|n| n.kind == NodeKind::File);
        let node = node.ok_or_else(|| Error::PathNotFound { wanted: "file", path: path.to_owned() })?;
        let mut content = Vec::new();
        for id in &node.content {
            content.extend_from_slice(&self.load_blob(&index, BlobKind::Data, *id).await?);
        }
        Ok(content)
    }

    /// The node at a path, and the path in its plain form; `None` for the root itself.
    pub(crate) async fn locate(
        &self,
        index: &Index,
        snapshot: &Snapshot,
        path: &str,
    ) -> Result<Option<(String, Node)>, Error> {
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

    /// The index with all places, as it is now: read only when it is not the one that was read before.
    pub(crate) async fn index(&self) -> Result<Arc<Index>, Error> {
        let sealed = &self.shared.sealed;
        let mut loaded = self.shared.index.lock().await;
        if let Some(index) = &*loaded
            && index.is_current(sealed).await?
        {
            return Ok(Arc::clone(index));
        }
        let index = Arc::new(Index::load_readable(sealed).await?);
        *loaded = Some(Arc::clone(&index));
        Ok(index)
    }

    pub(crate) async fn load_tree(&self, index: &Index, id: Id) -> Result<Vec<Node>, Error> {
        tree::decode(id, &self.load_blob(index, BlobKind::Tree, id).await?)
    }

    pub(crate) async fn load_blob(&self, index: &Index, kind: BlobKind, id: Id) -> Result<Vec<u8>, Error> {
        let sealed = &self.shared.sealed;
        if index.place(kind, &id).is_none() && !index.is_current(sealed).await? {
            return load_blob(sealed, &*self.index().await?, kind, id).await;
        }
        load_blob(sealed, index, kind, id).await
    }
}

/// A folder within [`DEPTH_MAX`] others.
pub(crate) fn too_deep(tree: Id) -> Error {
    Error::damaged(format_args!("tree {tree}"), "folders are nested too deeply")
}

/// Loads one blob, from wherever it is whole. Where it is damaged everywhere, the error is that of the first place.
pub(crate) async fn load_blob(sealed: &Sealed, index: &Index, kind: BlobKind, id: Id) -> Result<Vec<u8>, Error> {
    let (pack, place) = index.place(kind, &id).ok_or_else(|| index.not_indexed(kind, id))?;
    let damage = match load_from(sealed, kind, id, pack, place).await {
        Err(damage @ Error::Damaged { .. }) => damage,
        loaded => return loaded,
    };
    for (pack, place) in index.other_places(kind, &id) {
        match load_from(sealed, kind, id, pack, place).await {
            Err(Error::Damaged { .. }) => {}
            loaded => return loaded,
        }
    }
    Err(damage)
}

async fn load_from(sealed: &Sealed, kind: BlobKind, id: Id, pack: Id, place: Place) -> Result<Vec<u8>, Error> {
    let file = File::Named(FileKind::Pack, pack);
    let content = sealed.backend.get_range(file, place.offset.into(), place.bytes).await?;
    let mut text = Vec::new();
    BlobDecoder::new(sealed.key.clone())?.decode(kind, id, pack, place, &content, &mut text)?;
    Ok(text)
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
