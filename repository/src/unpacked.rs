//! Files that hold one sealed JSON text: indexes, snapshots and locks.
//!
//! In format 2 the text is `0x02` and zstd, in format 1 the JSON itself; both are told apart by the first byte, as JSON begins with
//! `{` or `[`. The name is checked against the content before anything is believed.

use std::sync::Arc;

use crate::backend::{Backend, FILE_BYTES_MAX, File, FileKind};
use crate::codec::{self, COMPRESSED, FileText};
use crate::config::Version;
use crate::crypto::Key;
use crate::error::Error;
use crate::id::Id;

/// Largest text after decompression; an index of 50,000 blobs has 8 MB.
const TEXT_BYTES_MAX: usize = FILE_BYTES_MAX as usize;

/// A storage together with the key and the format of the repository in it.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) key: Key,
    pub(crate) version: Version,
}

impl Sealed {
    /// Stores a JSON text; afterwards it is durable. Returns its name.
    pub(crate) async fn save(&self, kind: FileKind, json: &[u8]) -> Result<Id, Error> {
        let mut text = FileText::new(self.version)?;
        text.append(json)?;
        self.save_text(kind, text).await
    }

    /// The same for a text that was written piece by piece.
    pub(crate) async fn save_text(&self, kind: FileKind, text: FileText) -> Result<Id, Error> {
        let sealed = self.key.seal(&text.finish()?)?;
        let id = Id::of(&sealed);
        self.backend.put(File::Named(kind, id), sealed.into()).await?;
        Ok(id)
    }

    /// Loads a JSON text.
    pub(crate) async fn load(&self, kind: FileKind, id: Id) -> Result<Vec<u8>, Error> {
        let sealed = self.backend.get(File::Named(kind, id)).await?;
        self.open(kind, id, &sealed)
    }

    /// The JSON text of a file's content.
    pub(crate) fn open(&self, kind: FileKind, id: Id, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        self.open_within(kind, id, sealed, TEXT_BYTES_MAX)
    }

    /// The same with another limit for a text that is compressed.
    pub(crate) fn open_within(
        &self,
        kind: FileKind,
        id: Id,
        sealed: &[u8],
        bytes_max: usize,
    ) -> Result<Vec<u8>, Error> {
        let damaged = |what: &str| Error::damaged_file(File::Named(kind, id), what);
        if Id::of(sealed) != id {
            return Err(damaged("its content does not have the hash that is its name"));
        }
        let text = self.key.open(sealed).map_err(|_| damaged("it is not sealed with the repository's key"))?;
        match text.first() {
            Some(b'{' | b'[') => Ok(text),
            Some(&COMPRESSED) => codec::decompress_file(&text[1..], bytes_max)
                .ok_or_else(|| damaged("its text does not decompress, or is too large")),
            _ => Err(damaged("its text is neither JSON nor compressed")),
        }
    }

    /// Loads a JSON text and reads it as `T`.
    pub(crate) async fn load_as<T: serde::de::DeserializeOwned>(&self, kind: FileKind, id: Id) -> Result<T, Error> {
        let json = self.load(kind, id).await?;
        serde_json::from_slice(&json).map_err(|e| Error::damaged_file(File::Named(kind, id), e))
    }
}
